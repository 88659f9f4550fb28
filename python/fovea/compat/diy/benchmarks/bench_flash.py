# SPDX-License-Identifier: Apache-2.0
"""bench-flash: flash_attention beside PyTorch's scaled_dot_product_attention, on the GPU if there is one."""

from __future__ import annotations

import argparse
import sys
from typing import Any, Callable, Sequence

from fovea.compat.diy.benchmarks import _common


def _parser() -> argparse.ArgumentParser:
    parser = _common.parser("bench-flash", "Times and memory of attention in float16 beside PyTorch's.")
    lengths = [128, 256, 512, 1024, 2048]
    parser.add_argument("--seq-lengths", type=_common.positive, nargs="+", default=lengths, help="one or more")
    parser.add_argument("--batch-size", type=_common.positive, default=4)
    parser.add_argument("--num-heads", type=_common.positive, default=8)
    parser.add_argument("--head-dim", type=int, choices=(32, 64), default=64)
    parser.add_argument("--causal", action="store_true", help="no query sees a later key")
    parser.add_argument(
        "--memory-test",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="memory beyond the inputs, beside attention that stores its scores",
    )
    return parser


def allocated(call: Callable[[], Any], device: Any) -> int:
    """Bytes that PyTorch allocates during call and are alive at once at most, its result included."""
    import torch

    if device.type == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(profile_memory=True) as profile:
        kept = call()
    now = most = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    del kept
    return most


def _print_memory(given: argparse.Namespace, device: Any) -> None:
    import torch

    from fovea.compat.diy.kernels import flash_attention
    from fovea.compat.diy.kernels.flash_attn import reference_attention

    print(f"\n{'seq_len':>8} {'flash MiB':>10} {'scores stored, MiB':>19} {'times less':>11}")
    for seqlen in given.seq_lengths:
        shape = (given.batch_size, given.num_heads, seqlen, given.head_dim)
        q, k, v = (torch.randn(shape, device=device).half() for _ in "qkv")
        ours = allocated(lambda: flash_attention(q, k, v, causal=given.causal), device)
        plain = allocated(lambda: reference_attention(q, k, v, causal=given.causal), device)
        print(f"{seqlen:>8} {ours / 2**20:>10.2f} {plain / 2**20:>19.2f} {plain / max(ours, 1):>11.1f}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 1 a result was wrong, 2 wrong usage or no PyTorch."""
    given = _parser().parse_args(arguments)
    if not _common.has_torch():
        return 2

    from fovea.compat.diy.kernels import flash_attention
    from fovea.compat.diy.utils import BenchmarkRunner, validate_attention

    sizes = (given.batch_size, given.num_heads)
    if given.validate and not _common.all_valid(
        (
            f"seq_len {seqlen}",
            validate_attention(flash_attention, *sizes, seqlen, given.head_dim, causal=given.causal),
        )
        for seqlen in given.seq_lengths
    ):
        return 1
    runner = BenchmarkRunner(warmup=given.warmup, rep=given.rep)
    runner.benchmark_attention(flash_attention, given.seq_lengths, *sizes, given.head_dim, given.causal)
    mask = "causal" if given.causal else "full"
    runner.print_comparison_table(title=f"Attention, float16, {mask}, on {runner.device}")
    if given.memory_test:
        _print_memory(given, runner.device)
    return 0


if __name__ == "__main__":
    sys.exit(main())
