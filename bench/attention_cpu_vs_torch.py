#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fovea's attention against torch.nn.functional.scaled_dot_product_attention on a CPU, in one process.

Both get the same tensors (batch, num_heads, seqlen, head_dim), the same number of threads, and allocate their output in
every call. Their calls alternate, so that drift of the machine meets both; a cell is the ratio of the medians. Each
cell's outputs are compared before they are timed. Environment variables that would change OpenMP or a BLAS are removed
first. Needs PyTorch; Fovea comes through its C ABI from libfovea.so.

  python3 bench/attention_cpu_vs_torch.py --library build/src/libfovea.so
"""

import argparse
import ctypes
import datetime
import fcntl
import json
import math
import os
import platform
import statistics
import sys
import time

UNWANTED = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "GOTO_", "BLIS_", "DNNL_", "ONEDNN_", "ATEN_", "FOVEA_", "MALLOC_")


def run_again_with_a_clean_environment():
    clean = {name: value for name, value in os.environ.items() if not name.startswith(UNWANTED)}
    if len(clean) != len(os.environ):
        os.execve(sys.executable, [sys.executable, *sys.argv], clean)


class Tensor(ctypes.Structure):  # fovea_tensor
    _fields_ = [("data", ctypes.c_void_p), ("dtype", ctypes.c_int32), ("device_kind", ctypes.c_int32),
                ("device_index", ctypes.c_int32), ("ndim", ctypes.c_int32),
                ("shape", ctypes.c_int64 * 5), ("strides", ctypes.c_int64 * 5)]


class RuntimeOptions(ctypes.Structure):  # fovea_runtime_options
    _fields_ = [("struct_size", ctypes.c_size_t), ("num_threads", ctypes.c_int32), ("reserved", ctypes.c_int32),
                ("cpu_isa", ctypes.c_char_p), ("cache_dir", ctypes.c_char_p), ("kernel_dir", ctypes.c_char_p)]


class AttentionTensors(ctypes.Structure):  # fovea_attention_tensors
    _fields_ = [("struct_size", ctypes.c_size_t)] + [
        (name, ctypes.POINTER(Tensor)) for name in
        ("q", "k", "v", "o", "lse", "seq_lens_q", "seq_lens_k", "cu_seqlens_q", "cu_seqlens_k", "page_table")]


class AttentionOptions(ctypes.Structure):  # the first fields of fovea_attention_options; the rest are the defaults
    _fields_ = [("struct_size", ctypes.c_size_t), ("layout", ctypes.c_int32), ("causal", ctypes.c_int32)]


class ErrorDetail(ctypes.Structure):  # fovea_error_detail
    _fields_ = [("code", ctypes.c_int32), ("field", ctypes.c_char_p), ("message", ctypes.c_char_p)]


class Fovea:
    BHSD = 1

    def __init__(self, library, num_threads):
        self.library = ctypes.CDLL(library)
        self.library.fovea_version.restype = ctypes.c_char_p
        self.library.fovea_last_error.restype = ctypes.POINTER(ErrorDetail)
        self.library.fovea_string_free.argtypes = [ctypes.c_void_p]
        self.library.fovea_attention_forward.argtypes = [ctypes.c_void_p] * 4
        self.library.fovea_runtime_info.argtypes = [ctypes.c_void_p, ctypes.c_int32, ctypes.POINTER(ctypes.c_void_p)]
        options = RuntimeOptions(struct_size=ctypes.sizeof(RuntimeOptions), num_threads=num_threads)
        self.runtime = ctypes.c_void_p()
        self.check(self.library.fovea_runtime_create(ctypes.byref(options), ctypes.byref(self.runtime)))

    def check(self, status):
        if status != 0:
            raise RuntimeError(self.library.fovea_last_error().contents.message.decode())

    def info(self):
        text = ctypes.c_void_p()
        self.check(self.library.fovea_runtime_info(self.runtime, 1, ctypes.byref(text)))
        described = json.loads(ctypes.string_at(text).replace(os.path.expanduser("~").encode(), b"~"))
        described.pop("settings", None)  # folders of whoever measured
        self.library.fovea_string_free(text)
        return described

    @staticmethod
    def view(tensor):
        dtype = {"float32": 0, "float16": 1, "bfloat16": 2, "float8_e4m3fn": 4}[str(tensor.dtype).removeprefix("torch.")]
        five = ctypes.c_int64 * 5
        return Tensor(tensor.data_ptr(), dtype, 0, 0, tensor.dim(), five(*tensor.shape), five(*tensor.stride()))

    def attention(self, torch, q, k, v, causal):
        o = torch.empty_like(q)
        tensors = AttentionTensors(struct_size=ctypes.sizeof(AttentionTensors))
        views = [self.view(t) for t in (q, k, v, o)]
        for name, view in zip("qkvo", views):
            setattr(tensors, name, ctypes.pointer(view))
        options = AttentionOptions(ctypes.sizeof(AttentionOptions), self.BHSD, int(causal))
        self.check(self.library.fovea_attention_forward(self.runtime, ctypes.addressof(tensors), ctypes.addressof(options), None))
        return o


def timed(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def measure(ours, theirs, seconds):
    """Medians of alternating calls, at least five of each."""
    ours(), theirs()
    a, b = [], []
    until = time.perf_counter() + seconds
    while len(a) < 5 or (time.perf_counter() < until and len(a) < 200):
        # A pause ends the spinning of the other's threads.
        time.sleep(0.005)
        a.append(timed(ours))
        time.sleep(0.005)
        b.append(timed(theirs))
    return statistics.median(a), statistics.median(b), len(a)


def measure_cell(torch, fovea, dtype, head_dim, seqlen, causal, heads, seconds):
    generator = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(1, heads, seqlen, head_dim, generator=generator).to(dtype) for _ in range(3))

    def ours():
        return fovea.attention(torch, q, k, v, causal)

    def theirs():
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)

    difference = (ours().float() - theirs().float()).abs().max().item()
    allowed = {torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}[dtype]
    if not difference <= allowed:
        raise RuntimeError(f"outputs differ by {difference}, more than {allowed}: not measured")
    ours_s, theirs_s, calls = measure(ours, theirs, seconds)
    pairs = seqlen * (seqlen + 1) // 2 if causal else seqlen * seqlen
    gflop = 4e-9 * head_dim * heads * pairs
    return {"fovea_ms": ours_s * 1e3, "torch_ms": theirs_s * 1e3, "ratio": theirs_s / ours_s, "calls": calls,
            "fovea_gflops": gflop / ours_s, "torch_gflops": gflop / theirs_s, "max_difference": difference}


def machine():
    def field(name):
        try:
            with open("/proc/cpuinfo", encoding="utf-8") as file:
                return next((line.split(":", 1)[1].strip() for line in file if line.startswith(name)), "")
        except OSError:
            return ""
    wanted = ("avx2", "fma", "f16c", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_tile")
    flags = field("flags").split()
    return {"processor": field("model name") or platform.processor(), "family": field("cpu family"), "model": field("model"),
            "processors": len(os.sched_getaffinity(0)), "flags": [f for f in wanted if f in flags],
            "system": f"{platform.system()} {platform.machine()}"}


def geometric_mean(values):
    return math.exp(statistics.fmean(math.log(x) for x in values))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", default="build/src/libfovea.so", help="path of libfovea.so")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--dtype", nargs="+", default=["fp32", "bf16", "fp16"], choices=["fp32", "bf16", "fp16"])
    parser.add_argument("--head-dim", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--seqlen", type=int, nargs="+", default=[512, 2048, 4096])
    parser.add_argument("--heads", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=3.0, help="of measuring in each cell")
    parser.add_argument("--output", help="write the results as JSON to this file")
    parser.add_argument("--lock", help="hold this file's lock while a cell is measured, to take turns with other benchmarks")
    return parser.parse_args()


def main():
    run_again_with_a_clean_environment()
    args = arguments()
    try:
        import torch
    except ImportError:
        print("PyTorch cannot be imported; pip install torch", file=sys.stderr)
        return 2
    torch.set_grad_enabled(False)
    dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    rows, info = [], {}
    lock = open(args.lock, "w", encoding="utf-8") if args.lock else None  # closed with the process
    print(f"{'threads':>7} {'dtype':>5} {'d':>4} {'seqlen':>6} {'mask':>6} {'fovea ms':>9} {'torch ms':>9} {'GFLOP/s':>8} {'ratio':>6}")
    for threads in args.threads:
        torch.set_num_threads(threads)
        fovea = Fovea(os.path.abspath(args.library), threads)
        info = {"version": fovea.library.fovea_version().decode(), "info": fovea.info()}
        for cell in ((t, d, s, c) for t in args.dtype for d in args.head_dim for s in args.seqlen for c in (False, True)):
            dtype, head_dim, seqlen, causal = cell
            if lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
            found = measure_cell(torch, fovea, dtypes[dtype], head_dim, seqlen, causal, args.heads, args.seconds)
            if lock:
                fcntl.flock(lock, fcntl.LOCK_UN)
            mask = "causal" if causal else "full"
            rows.append({"threads": threads, "dtype": dtype, "head_dim": head_dim, "seqlen": seqlen, "mask": mask, **found})
            print(f"{threads:7} {dtype:>5} {head_dim:4} {seqlen:6} {mask:>6} {found['fovea_ms']:9.2f} {found['torch_ms']:9.2f} "
                  f"{found['fovea_gflops']:8.1f} {found['ratio']:6.2f}", flush=True)
    ratios = [row["ratio"] for row in rows]
    summary = {"cells": len(rows), "smallest_ratio": min(ratios), "geometric_mean": geometric_mean(ratios)}
    print(f"{len(rows)} cells: smallest ratio {min(ratios):.2f}, geometric mean {summary['geometric_mean']:.2f} "
          f"(Fovea {info['version']}, PyTorch {torch.__version__}, {machine()['processor']})")
    if args.output:
        result = {"benchmark": "attention_cpu_vs_torch", "date": datetime.date.today().isoformat(), "machine": machine(),
                  "torch": torch.__version__, "fovea": info, "batch": 1, "num_heads": args.heads, "summary": summary, "rows": rows}
        with open(args.output + ".part", "w", encoding="utf-8") as file:
            json.dump(result, file, indent=1)
            file.write("\n")
        os.replace(args.output + ".part", args.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
