# SPDX-License-Identifier: Apache-2.0
"""bench-matmul: triton_matmul beside torch.matmul, on the GPU if there is one."""

from __future__ import annotations

import sys
from typing import Sequence

from fovea.compat.diy.benchmarks import _common

# Those of the cheat sheet, and two between them.
_BLOCKS = ((32, 32, 32), (64, 64, 32), (64, 128, 32), (128, 128, 32), (128, 256, 64))


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 1 a result was wrong, 2 wrong usage or no PyTorch."""
    parser = _common.parser("bench-matmul", "Times of matrix products in float16 beside PyTorch's.")
    parser.add_argument(
        "--sizes", type=_common.positive, nargs="+", default=[512, 1024, 2048, 4096], help="m = n = k, one or more"
    )
    parser.add_argument("--test-block-sizes", action="store_true", help="also each size with each of some block sizes")
    given = parser.parse_args(arguments)
    if not _common.has_torch():
        return 2

    from fovea.compat.diy.kernels import triton_matmul
    from fovea.compat.diy.utils import BenchmarkRunner, validate_matmul

    sizes = [(size, size, size) for size in given.sizes]
    if given.validate and not _common.all_valid(
        (f"{m} x {n} x {k}", validate_matmul(triton_matmul, m, n, k)) for m, n, k in sizes
    ):
        return 1
    runner = BenchmarkRunner(warmup=given.warmup, rep=given.rep)
    runner.benchmark_matmul(triton_matmul, sizes)
    if given.test_block_sizes:
        runner.benchmark_matmul(triton_matmul, sizes, _BLOCKS)
    runner.print_comparison_table(title=f"Matrix products, float16, on {runner.device}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
