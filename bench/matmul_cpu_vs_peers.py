#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fovea's matrix product on a CPU against OpenBLAS (NumPy), oneDNN and MKL (PyTorch), in one process.

All get the same row-major operands and a place for the result, and the same number of threads. Calls alternate, so that
drift of the machine meets all; a ratio is that of the medians, a row's ratio that against the fastest of the others.
Outputs are compared before they are timed. Environment variables that would change OpenMP or a BLAS are removed first.
fp32: OpenBLAS by numpy.matmul, MKL by torch.matmul, oneDNN by torch's linear, which takes b transposed (n, k). bf16 and
fp16: oneDNN by torch.matmul. Needs NumPy and PyTorch; Fovea comes through its C ABI from libfovea.so.

  python3 bench/matmul_cpu_vs_peers.py --library build/src/libfovea.so --threads 1
"""

import argparse
import ctypes
import datetime
import fcntl
import json
import os
import statistics
import sys
import time

from attention_cpu_vs_torch import UNWANTED, Fovea, Tensor, geometric_mean, machine, timed

SHAPES = ["64x64x64", "128x128x128", "256x256x256", "512x512x512", "1024x1024x1024", "2048x2048x2048", "4096x4096x4096",
          "257x255x259", "1000x1000x1000", "1023x1025x1021", "64x4096x4096", "16x4096x4096", "1x4096x4096", "4096x64x4096",
          "2048x2048x64", "1x4096x4096t", "16x4096x4096t"]


class MatmulTensors(ctypes.Structure):  # fovea_matmul_tensors
    _fields_ = [("struct_size", ctypes.c_size_t)] + [(name, ctypes.POINTER(Tensor)) for name in ("a", "b", "d", "c", "bias")]


class FoveaMatmul(Fovea):
    def __init__(self, library, num_threads):
        super().__init__(library, num_threads)
        self.library.fovea_matmul.argtypes = [ctypes.c_void_p] * 4

    def prepare(self, a, b, d):
        """A call without the cost of describing tensors to ctypes."""
        tensors = MatmulTensors(struct_size=ctypes.sizeof(MatmulTensors))
        views = [self.view(t) for t in (a, b, d)]
        for name, view in zip("abd", views):
            setattr(tensors, name, ctypes.pointer(view))
        address = ctypes.addressof(tensors)

        def call(keep=(tensors, views, a, b, d), function=self.library.fovea_matmul, runtime=self.runtime):
            if function(runtime, address, None, None):
                self.check(1)
        return call


def run_again_with_a_clean_environment(threads):
    """OpenBLAS reads its number of threads when it is loaded."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(UNWANTED)}
    clean["OPENBLAS_NUM_THREADS"] = str(threads)
    if clean != dict(os.environ):
        os.execve(sys.executable, [sys.executable, *sys.argv], clean)


def shape_of(text):
    """m, n, k, and whether b lies in memory as (n, k), as the weights of a layer do ("1x4096x4096t")."""
    return (*(int(x) for x in text.removesuffix("t").split("x")), text.endswith("t"))


def calls_of(torch, numpy, fovea, dtype, shape):
    """Name -> call and its output."""
    m, n, k, is_transposed = shape
    generator = torch.Generator().manual_seed(1)
    a = torch.randn(m, k, generator=generator).to(dtype)
    b = torch.randn(k, n, generator=generator).to(dtype)
    if is_transposed:
        b = b.t().contiguous().t()
    outputs = {name: torch.empty(m, n, dtype=dtype) for name in ("fovea", "torch", "openblas")}
    calls = {"fovea": (fovea.prepare(a, b, outputs["fovea"]), lambda: outputs["fovea"])}
    library = "mkl" if dtype == torch.float32 else "onednn"
    calls[library] = (lambda: torch.mm(a, b, out=outputs["torch"]), lambda: outputs["torch"])
    if dtype == torch.float32:
        calls["openblas"] = (lambda x=a.numpy(), y=b.numpy(), z=outputs["openblas"].numpy(): numpy.matmul(x, y, out=z),
                             lambda: outputs["openblas"])
        transposed = b.t().contiguous()
        linear = torch.ops.mkldnn._linear_pointwise
        calls["onednn"] = (lambda: linear(a, transposed, None, "none", [], ""),
                           lambda: linear(a, transposed, None, "none", [], ""))
    return calls


def measure(calls, seconds):
    """Medians of alternating repetitions, at least five of each; a repetition lasts 2 ms or one call."""
    count = {}
    for name, (call, _) in calls.items():
        call()
        count[name] = max(1, int(2e-3 / max(timed(call), 1e-7)))
    times = {name: [] for name in calls}
    until = time.perf_counter() + seconds
    while len(times["fovea"]) < 5 or (time.perf_counter() < until and len(times["fovea"]) < 200):
        for name, (call, _) in calls.items():
            time.sleep(0.002)  # ends the spinning of another library's threads
            call()
            start = time.perf_counter()
            for _ in range(count[name]):
                call()
            times[name].append((time.perf_counter() - start) / count[name])
    return {name: statistics.median(values) for name, values in times.items()}


def measure_row(torch, numpy, fovea, dtype, shape, seconds):
    calls = calls_of(torch, numpy, fovea, dtype, shape)
    for call, _ in calls.values():
        call()
    ours = calls["fovea"][1]().float()
    scale = shape[2] ** 0.5
    allowed = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}[dtype] * scale * 5
    for name, (_, output) in calls.items():
        difference = (ours - output().float()).abs().max().item()
        if not difference <= allowed:
            raise RuntimeError(f"{shape}: {name} differs by {difference}, more than {allowed}: not measured")
    found = measure(calls, seconds)
    flops = 2.0 * shape[0] * shape[1] * shape[2]
    ratios = {name: found[name] / found["fovea"] for name in found if name != "fovea"}
    return {"gflops": {name: flops / s / 1e9 for name, s in found.items()}, "ratios": ratios, "ratio": min(ratios.values())}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", default="build/src/libfovea.so", help="path of libfovea.so")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", nargs="+", default=["fp32", "bf16", "fp16"], choices=["fp32", "bf16", "fp16"])
    parser.add_argument("--shapes", nargs="+", default=SHAPES, help="m x n x k, with a t behind it: b transposed")
    parser.add_argument("--seconds", type=float, default=2.0, help="of measuring in each row")
    parser.add_argument("--output", help="write the results as JSON to this file")
    parser.add_argument("--lock", help="hold this file's lock while a row is measured, to take turns with other benchmarks")
    return parser.parse_args()


def main():
    args = arguments()
    run_again_with_a_clean_environment(args.threads)
    try:
        import numpy
        import torch
    except ImportError as error:
        print(f"{error}; pip install numpy torch", file=sys.stderr)
        return 2
    torch.set_grad_enabled(False)
    torch.set_num_threads(args.threads)
    dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    fovea = FoveaMatmul(os.path.abspath(args.library), args.threads)
    info = {"version": fovea.library.fovea_version().decode(), "info": fovea.info()}
    rows = []
    lock = open(args.lock, "w", encoding="utf-8") if args.lock else None  # closed with the process
    print(f"{args.threads} threads; GFLOP/s\n{'dtype':>5} {'m x n x k':>16} {'fovea':>8}  others, and the ratio to each")
    for name, text in ((d, s) for d in args.dtype for s in args.shapes):
        if lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
        found = measure_row(torch, numpy, fovea, dtypes[name], shape_of(text), args.seconds)
        if lock:
            fcntl.flock(lock, fcntl.LOCK_UN)
        rows.append({"dtype": name, "shape": text, **found})
        others = "  ".join(f"{peer} {found['gflops'][peer]:7.1f} ({ratio:.2f})" for peer, ratio in found["ratios"].items())
        print(f"{name:>5} {text:>16} {found['gflops']['fovea']:8.1f}  {others}", flush=True)
    ratios = [row["ratio"] for row in rows]
    summary = {"rows": len(rows), "smallest_ratio": min(ratios), "geometric_mean": geometric_mean(ratios)}
    print(f"{len(rows)} rows: smallest ratio to the fastest other {min(ratios):.2f}, geometric mean "
          f"{summary['geometric_mean']:.2f} (Fovea {info['version']}, NumPy {numpy.__version__}, PyTorch {torch.__version__}, "
          f"{machine()['processor']})")
    if args.output:
        blas = numpy.show_config(mode="dicts")["Build Dependencies"]["blas"]
        result = {"benchmark": "matmul_cpu_vs_peers", "date": datetime.date.today().isoformat(), "machine": machine(),
                  "threads": args.threads, "torch": torch.__version__, "openblas": blas.get("version", ""), "fovea": info,
                  "summary": summary, "rows": rows}
        with open(args.output + ".part", "w", encoding="utf-8") as file:
            json.dump(result, file, indent=1)
            file.write("\n")
        os.replace(args.output + ".part", args.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
