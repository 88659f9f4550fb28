# SPDX-License-Identifier: Apache-2.0
"""Times of matrix products and attention beside PyTorch's."""

from __future__ import annotations

import dataclasses
import statistics
import time
from typing import Callable, Sequence

import torch
import torch.nn.functional as F

from fovea.compat._refuse import invalid
from fovea.compat.diy.utils.validation import _device


@dataclasses.dataclass
class BenchmarkResult:
    """Medians of one size. tflops counts the work that must be done: half of it for causal attention."""

    name: str
    size: tuple
    time_ms: float
    tflops: float
    baseline_ms: float
    baseline_tflops: float
    p20_ms: float
    p80_ms: float

    @property
    def speedup(self) -> float:
        return self.baseline_ms / self.time_ms


class BenchmarkRunner:
    """warmup and rep count calls. Without a GPU, device "cuda" means the CPU."""

    def __init__(self, device: str = "cuda", warmup: int = 25, rep: int = 100):
        if warmup < 0 or rep < 1:
            raise invalid("rep", f"warmup is {warmup} and rep {rep}; warmup must not be negative, rep at least 1")
        self.device, self.warmup, self.rep = _device(device), warmup, rep
        self.results: list[BenchmarkResult] = []

    def _milliseconds(self, call: Callable) -> list[float]:
        wait = torch.cuda.synchronize if self.device.type == "cuda" else (lambda: None)
        for _ in range(self.warmup):
            call()
        wait()
        if self.device.type == "cuda":
            events = [
                (torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(self.rep)
            ]
            for begin, end in events:
                begin.record()
                call()
                end.record()
            wait()
            return [begin.elapsed_time(end) for begin, end in events]
        found = []
        for _ in range(self.rep):
            start = time.perf_counter()
            call()
            found.append((time.perf_counter() - start) * 1e3)
        return found

    def _measure(self, name: str, size: tuple, ours: Callable, theirs: Callable, flops: float) -> BenchmarkResult:
        times, baseline = sorted(self._milliseconds(ours)), statistics.median(self._milliseconds(theirs))
        median = statistics.median(times)
        result = BenchmarkResult(
            name,
            size,
            median,
            flops / median / 1e9,
            baseline,
            flops / baseline / 1e9,
            times[len(times) // 5],
            times[len(times) * 4 // 5],
        )
        self.results.append(result)
        return result

    def benchmark_matmul(
        self,
        triton_fn: Callable,
        sizes: Sequence[tuple[int, int, int]],
        block_configs: Sequence[tuple[int, int, int]] | None = None,
        dtype: torch.dtype = torch.float16,
    ) -> list[BenchmarkResult]:
        """Each (m, n, k) beside torch.matmul; with block_configs, once for each (block_m, block_n, block_k)."""
        found = []
        configs: Sequence[tuple[int, int, int] | None] = block_configs or [None]
        for m, n, k in sizes:
            a = torch.randn(m, k, device=self.device).to(dtype)
            b = torch.randn(k, n, device=self.device).to(dtype)
            for blocks in configs:
                keywords = {} if blocks is None else dict(zip(("block_m", "block_n", "block_k"), blocks))
                name = "matmul" if blocks is None else "matmul " + "x".join(map(str, blocks))
                ours = lambda a=a, b=b, keywords=keywords: triton_fn(a, b, **keywords)  # noqa: E731
                theirs = lambda a=a, b=b: torch.matmul(a, b)  # noqa: E731
                found.append(self._measure(name, (m, n, k), ours, theirs, 2.0 * m * n * k))
        return found

    def benchmark_attention(
        self,
        flash_fn: Callable,
        seq_lengths: Sequence[int],
        batch_size: int = 4,
        num_heads: int = 8,
        head_dim: int = 64,
        causal: bool = False,
        dtype: torch.dtype = torch.float16,
    ) -> list[BenchmarkResult]:
        """Each length beside scaled_dot_product_attention. Functions of this package get the layout they want."""
        found = []
        for seqlen in seq_lengths:
            shape = (batch_size, num_heads, seqlen, head_dim)
            q, k, v = (torch.randn(shape, device=self.device).to(dtype) for _ in "qkv")
            is_swapped = getattr(flash_fn, "layout", "bhsd") == "bshd"
            given = [x.transpose(1, 2).contiguous() if is_swapped else x for x in (q, k, v)]
            ours = lambda given=given: flash_fn(*given, causal=causal)  # noqa: E731
            theirs = lambda q=q, k=k, v=v: F.scaled_dot_product_attention(q, k, v, is_causal=causal)  # noqa: E731
            flops = 4.0 * batch_size * num_heads * head_dim * (seqlen * (seqlen + 1) / 2 if causal else seqlen**2)
            found.append(self._measure("attention", shape, ours, theirs, flops))
        return found

    def print_comparison_table(
        self, results: Sequence[BenchmarkResult] | None = None, title: str = "Benchmark Results"
    ) -> None:
        print(title)
        print(f"{'name':<22} {'size':<22} {'ms':>9} {'TFLOPS':>8} {'PyTorch ms':>11} {'TFLOPS':>8} {'times':>6}")
        for r in self.results if results is None else results:
            size = "x".join(map(str, r.size))
            print(
                f"{r.name:<22} {size:<22} {r.time_ms:>9.3f} {r.tflops:>8.2f} {r.baseline_ms:>11.3f} "
                f"{r.baseline_tflops:>8.2f} {r.speedup:>6.2f}"
            )

    def clear_results(self) -> None:
        self.results.clear()
