#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fovea's matrix products against cuBLAS (torch.matmul) on a GPU, in one process.

Both get the same random memory and write to memory of their own. Their calls alternate; a figure is the median of CUDA
event times, a ratio that of medians. Before each call the L2 cache is filled with other data, which has been read only, so
that no call pays for writing it back. Outputs are compared with float64 sums of some rows before they are timed.
Products of few rows are bound by reading b: for them also the bandwidth, as a share of a large device copy's.
Needs PyTorch with CUDA.

  python3 bench/matmul_gpu_vs_torch.py --library build/src/libfovea.so --output bench/results/matmul_gpu.json
"""

import argparse
import ctypes
import datetime
import json
import statistics
import sys
import tempfile

from attention_cpu_vs_torch import Fovea, RuntimeOptions, Tensor, geometric_mean, run_again_with_a_clean_environment

CUDA = 1  # fovea_device_kind
SKINNY = [(m, n, n) for n in (4096, 8192) for m in (1, 16, 64)]
TABLE = [(256, 256, 256), (512, 512, 512), (1024, 1024, 1024), (2048, 2048, 2048), (4096, 4096, 4096), (8192, 8192, 8192),
         (16384, 16384, 16384), (4096, 4096, 11008), (128, 8192, 8192), (1000, 1000, 1000), (8192, 1024, 8192),
         (3000, 5000, 7000)]
TABLE_F16 = [(512, 512, 512), (1024, 1024, 1024), (2048, 2048, 2048), (4096, 4096, 4096), (8192, 8192, 8192),
             (4096, 4096, 11008), (8192, 1024, 8192)]


class MatmulTensors(ctypes.Structure):  # fovea_matmul_tensors
    _fields_ = [("struct_size", ctypes.c_size_t)] + [(name, ctypes.POINTER(Tensor)) for name in ("a", "b", "d", "c", "bias")]


class GpuMatmul(Fovea):
    def __init__(self, library, cache_dir):
        super().__init__(library, 1)
        self.library.fovea_matmul.argtypes = [ctypes.c_void_p] * 4
        self.library.fovea_matmul_explain.argtypes = [ctypes.c_void_p] * 3 + [
            ctypes.c_int32, ctypes.c_char_p, ctypes.POINTER(ctypes.c_void_p)]
        options = RuntimeOptions(struct_size=ctypes.sizeof(RuntimeOptions), cache_dir=cache_dir.encode())
        self.check(self.library.fovea_runtime_create(ctypes.byref(options), ctypes.byref(self.runtime)))

    def tensors(self, a, b, d):
        tensors = MatmulTensors(struct_size=ctypes.sizeof(MatmulTensors))
        for name, tensor in zip("abd", (a, b, d)):
            view = self.view(tensor)
            view = Tensor(view.data, view.dtype, CUDA, tensor.device.index or 0, view.ndim, view.shape, view.strides)
            setattr(tensors, name, ctypes.pointer(view))
        return tensors

    def prepared(self, torch, a, b, d):
        """The call, with everything but the call itself done ahead."""
        tensors = self.tensors(a, b, d)
        stream = torch.cuda.current_stream().cuda_stream
        return lambda: self.check(self.library.fovea_matmul(self.runtime, ctypes.addressof(tensors), None, stream))

    def plan(self, a, b, d):
        text, tensors = ctypes.c_void_p(), self.tensors(a, b, d)
        self.check(self.library.fovea_matmul_explain(self.runtime, ctypes.addressof(tensors), None, 1, None,
                                                     ctypes.byref(text)))
        plan = json.loads(ctypes.string_at(text))
        self.library.fovea_string_free(text)
        return plan


class ColdCache:
    """Fills the L2 cache with clean lines of other memory."""

    def __init__(self, torch):
        self.torch = torch
        self.other = torch.ones(1 << 26, dtype=torch.int32, device="cuda")

    def __call__(self):
        self.torch.amax(self.other)


def median_us(torch, calls, before, rounds):
    """The order changes from round to round: the first after a pause is some 0.4 us slower."""
    times, order = {name: [] for name in calls}, list(calls.items())
    for _ in range(rounds):
        events = []
        for name, call in order:
            before()
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            call()
            end.record()
            events.append((name, begin, end))
        torch.cuda.synchronize()
        for name, begin, end in events:
            times[name].append(begin.elapsed_time(end) * 1e3)
        order = order[1:] + order[:1]
    return {name: statistics.median(values) for name, values in times.items()}


def check_rows(torch, a, b, d, what):
    rows = sorted({*range(0, a.shape[0], max(1, a.shape[0] // 16)), a.shape[0] - 1})
    want = a[rows].double() @ b.double() if b.numel() <= 1 << 26 else a[rows].float() @ b.float()
    error = ((d[rows].double() - want).norm() / want.norm()).item()
    if not error <= 4e-3:  # one rounding to bf16; NaN fails
        raise RuntimeError(f"{what} of {tuple(a.shape)} x {tuple(b.shape)} is off by {error}: not measured")


def measure(torch, fovea, before, m, n, k, dtype, transposed_b, rounds):
    a = torch.randn(m, k, device="cuda").to(dtype)
    b = torch.randn(n, k, device="cuda").to(dtype).t() if transposed_b else torch.randn(k, n, device="cuda").to(dtype)
    d, theirs = (torch.full((m, n), float("nan"), device="cuda", dtype=dtype) for _ in range(2))
    calls = {"fovea": fovea.prepared(torch, a, b, d), "cublas": lambda: torch.matmul(a, b, out=theirs)}
    for call in calls.values():
        call()
    check_rows(torch, a, b, d, "fovea")
    check_rows(torch, a, b, theirs, "cublas")
    us = median_us(torch, calls, before, rounds)
    plan = fovea.plan(a, b, d)
    cell = {"m": m, "n": n, "k": k, "dtype": str(dtype).removeprefix("torch."), "transposed_b": transposed_b,
            "kernel": plan.get("kernel"), "config": plan.get("config")}
    for name in calls:
        cell[name + "_us"] = us[name]
        cell[name + "_tflops"] = 2e-6 * m * n * k / us[name]
    cell["ratio"] = us["cublas"] / us["fovea"]
    cell["fovea_gb_per_s"] = a.element_size() * (m * k + k * n + m * n) / us["fovea"] / 1e3
    return cell


def copy_gb_per_s(torch, before, megabytes):
    source = torch.ones(megabytes << 18, dtype=torch.int32, device="cuda")
    target = torch.empty_like(source)
    us = median_us(torch, {"copy": lambda: target.copy_(source)}, before, 11)["copy"]
    return 2 * (megabytes << 20) / us / 1e3


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", default="build/src/libfovea.so")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--cache", help="folder of compiled kernels; without it one that is removed at the end")
    parser.add_argument("--output")
    args = parser.parse_args()
    run_again_with_a_clean_environment()
    import torch
    if not torch.cuda.is_available():
        sys.exit("PyTorch sees no GPU")
    torch.manual_seed(0)
    before = ColdCache(torch)
    cells = []
    with tempfile.TemporaryDirectory() as cache_dir:
        fovea = GpuMatmul(args.library, args.cache or cache_dir)
        copies = {f"{mb}_mb": copy_gb_per_s(torch, before, mb) for mb in (16, 64, 1024)}
        print("copy (read + write), GB/s:", ", ".join(f"{name} {value:.0f}" for name, value in copies.items()))
        print("     m      n      k    dtype  b   fovea us cublas us TFLOP/s   ratio    GB/s  tile")
        rows = [(s, torch.bfloat16, False) for s in TABLE + SKINNY] + [(s, torch.float16, False) for s in TABLE_F16]
        rows += [((m, 4096, 4096), torch.bfloat16, True) for m in (16, 4096)]
        rows += [((s, s, s), torch.float32, False) for s in (1024, 4096)]
        for (m, n, k), dtype, transposed_b in rows:
            torch.backends.cuda.matmul.allow_tf32 = False
            c = measure(torch, fovea, before, m, n, k, dtype, transposed_b, args.rounds if m < 16384 else 7)
            cells.append(c)
            tile = c["config"] or {}
            print(f"{m:6} {n:6} {k:6} {c['dtype']:>8}  {'t' if transposed_b else 'n'} {c['fovea_us']:10.1f} {c['cublas_us']:9.1f} "
                  f"{c['fovea_tflops']:7.1f} {c['ratio']:7.3f} {c['fovea_gb_per_s']:7.0f}  {tile.get('block_m')}x{tile.get('block_n')}"
                  f" cluster {tile.get('cluster_m')}x{tile.get('cluster_n')} splits {tile.get('num_splits')}", flush=True)
    table = [c["ratio"] for c in cells if c["m"] > 64 and c["dtype"] != "float32"]
    print(f"table: smallest ratio {min(table):.3f}, geometric mean {geometric_mean(table):.3f}")
    if args.output:
        document = {"what": "d = a b", "date": datetime.datetime.now(datetime.timezone.utc).isoformat(),
                    "device": torch.cuda.get_device_name(), "torch": torch.__version__, "cuda": torch.version.cuda,
                    "rounds": args.rounds, "copy_gb_per_s": copies, "cells": cells}
        with open(args.output, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
