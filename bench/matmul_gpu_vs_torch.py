#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fovea's matrix products against cuBLAS (torch.matmul) on a GPU, in one process.

Both get the same random memory and write to memory of their own. Their calls alternate; a figure is the median of CUDA
event times, a ratio that of medians. Before each call the L2 cache is filled with other data, which has been read only, so
that no call pays for writing it back. Outputs are compared with float64 sums of some rows before they are timed.
Products of few rows are bound by reading b: for them also the bandwidth, as a share of a large device copy's.
--more measures other tables: sizes whose rows are no multiples of 16 bytes, true fp32, TF32 (math="fast") beside cuBLAS with
TF32, e4m3 (b transposed, scales of 1, bf16 out) beside torch._scaled_mm without its fast accumulation. Needs PyTorch with CUDA.

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
ODD = [(1023, 1025, 1021), (2047, 2047, 2047), (4095, 4095, 4095), (3061, 1139, 965), (114, 879, 640), (555, 4000, 2700),
       (2047, 50257, 769), (2047, 769, 50257), (16, 4095, 4095), (64, 8191, 8191)]
FP32 = [(s, s, s) for s in (512, 1000, 1024, 2048, 3072, 4096, 8192)] + [
    (1023, 1025, 1021), (3000, 5000, 7000), (16, 4096, 4096), (64, 4096, 4096), (512, 4096, 4096)]
TF32 = [(s, s, s) for s in (512, 1024, 2048, 3072, 4096, 8192)] + [
    (16, 4096, 4096), (64, 4096, 4096), (512, 4096, 4096), (128, 8192, 8192), (3000, 5000, 7000)]
FP8 = [(s, s, s) for s in (512, 1024, 2048, 3072, 4096, 8192)] + [
    (16, 4096, 4096), (64, 4096, 4096), (512, 4096, 4096), (128, 8192, 8192), (4096, 4096, 11008), (8192, 1024, 8192)]


class MatmulTensors(ctypes.Structure):  # fovea_matmul_tensors
    _fields_ = [("struct_size", ctypes.c_size_t)] + [(name, ctypes.POINTER(Tensor)) for name in ("a", "b", "d", "c", "bias")]


class MatmulOptions(ctypes.Structure):  # fovea_matmul_options
    _fields_ = [("struct_size", ctypes.c_size_t), ("has_alpha", ctypes.c_int32), ("alpha", ctypes.c_float),
                ("beta", ctypes.c_float), ("activation", ctypes.c_int32), ("math", ctypes.c_int32),
                ("block_m", ctypes.c_int32), ("block_n", ctypes.c_int32), ("block_k", ctypes.c_int32),
                ("persistent", ctypes.c_int32), ("reserved", ctypes.c_int32), ("kernel", ctypes.c_char_p)]


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

    def math(self, is_fast):
        options = MatmulOptions()
        self.library.fovea_matmul_options_init(ctypes.byref(options))
        options.math = int(is_fast)
        return options

    def prepared(self, torch, a, b, d, is_fast=False):
        """The call, with everything but the call itself done ahead."""
        tensors, options = self.tensors(a, b, d), self.math(is_fast)
        stream = torch.cuda.current_stream().cuda_stream
        return lambda: self.check(self.library.fovea_matmul(self.runtime, ctypes.addressof(tensors),
                                                            ctypes.addressof(options), stream))

    def plan(self, a, b, d, is_fast=False):
        text, tensors, options = ctypes.c_void_p(), self.tensors(a, b, d), self.math(is_fast)
        self.check(self.library.fovea_matmul_explain(self.runtime, ctypes.addressof(tensors), ctypes.addressof(options), 1, None,
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
    wide = torch.double if b.numel() <= 1 << 26 else torch.float
    want = a.to(wide)[rows] @ b.to(wide)
    error = ((d[rows].double() - want).norm() / want.norm()).item()
    if not error <= 4e-3:  # one rounding to bf16; NaN fails
        raise RuntimeError(f"{what} of {tuple(a.shape)} x {tuple(b.shape)} is off by {error}: not measured")


def measure(torch, fovea, before, m, n, k, dtype, transposed_b, rounds, is_fast=False):
    is_fp8 = dtype == torch.float8_e4m3fn
    a = torch.randn(m, k, device="cuda").to(dtype)
    b = torch.randn(n, k, device="cuda").to(dtype).t() if transposed_b else torch.randn(k, n, device="cuda").to(dtype)
    d, theirs = (torch.full((m, n), float("nan"), device="cuda", dtype=torch.bfloat16 if is_fp8 else dtype) for _ in range(2))
    one = torch.ones((), device="cuda")
    scaled = {"scale_a": one, "scale_b": one, "out_dtype": torch.bfloat16, "out": theirs}
    calls = {"fovea": fovea.prepared(torch, a, b, d, is_fast),
             "cublas": (lambda: torch._scaled_mm(a, b, **scaled)) if is_fp8 else lambda: torch.matmul(a, b, out=theirs)}
    for call in calls.values():
        call()
    check_rows(torch, a, b, d, "fovea")
    check_rows(torch, a, b, theirs, "cublas")
    us = median_us(torch, calls, before, rounds)
    plan = fovea.plan(a, b, d, is_fast)
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


def issue(torch):
    """The rows that the goals name: (table, (m, n, k), dtype, b is transposed)."""
    yield from (("16 bits", s, torch.bfloat16, False) for s in TABLE)
    yield from (("few rows", s, torch.bfloat16, False) for s in SKINNY)
    yield from (("16 bits", s, torch.float16, False) for s in TABLE_F16)
    yield "few rows", (16, 4096, 4096), torch.bfloat16, True
    yield "16 bits", (4096, 4096, 4096), torch.bfloat16, True


def more(torch):
    yield from (("odd sizes", s, torch.bfloat16, transposed_b) for s in ODD for transposed_b in (False, True))
    yield from (("fp32", s, torch.float32, False) for s in FP32)
    yield from (("TF32", s, torch.float32, transposed_b) for s in TF32 for transposed_b in (False, True))
    yield from (("e4m3", s, torch.float8_e4m3fn, True) for s in FP8)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", default="build/src/libfovea.so")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--cache", help="folder of compiled kernels; without it one that is removed at the end")
    parser.add_argument("--more", action="store_true", help="odd sizes, fp32, TF32 and e4m3 instead")
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
        for table, (m, n, k), dtype, transposed_b in more(torch) if args.more else issue(torch):
            torch.backends.cuda.matmul.allow_tf32 = is_fast = table == "TF32"
            rounds = args.rounds if m < 16384 else 7
            c = {"table": table, **measure(torch, fovea, before, m, n, k, dtype, transposed_b, rounds, is_fast)}
            cells.append(c)
            tile = c["config"] or {}
            print(f"{m:6} {n:6} {k:6} {c['dtype']:>8}  {'t' if transposed_b else 'n'} {c['fovea_us']:10.1f} {c['cublas_us']:9.1f} "
                  f"{c['fovea_tflops']:7.1f} {c['ratio']:7.3f} {c['fovea_gb_per_s']:7.0f}  {tile.get('block_m')}x{tile.get('block_n')}"
                  f" cluster {tile.get('cluster_m')}x{tile.get('cluster_n')} splits {tile.get('num_splits')}", flush=True)
    for table in dict.fromkeys(c["table"] for c in cells):
        ratios = [c["ratio"] for c in cells if c["table"] == table]
        print(f"{table}: smallest ratio {min(ratios):.3f}, geometric mean {geometric_mean(ratios):.3f}")
    if args.output:
        document = {"what": "d = a b", "date": datetime.datetime.now(datetime.timezone.utc).isoformat(),
                    "device": torch.cuda.get_device_name(), "torch": torch.__version__, "cuda": torch.version.cuda,
                    "rounds": args.rounds, "copy_gb_per_s": copies, "cells": cells}
        with open(args.output, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
