#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fovea's attention against PyTorch's flash (FA2) and cuDNN backends on a GPU, in one process.

All get the same memory (batch, seqlen, num_heads, head_dim), bf16, random. Their calls alternate; before each the L2 is
flushed; a figure is the median of CUDA event times, a ratio that of medians. Outputs are compared before they are timed.
The grid is that of FlashAttention's own benchmark: 16k tokens, num_heads * head_dim = 2048. Also the host time that the
first call of a new kernel takes, with an empty cache and with a warm one. Needs PyTorch with CUDA.

  python3 bench/attention_gpu_vs_torch.py --library build/src/libfovea.so --output bench/results/attention_gpu.json
"""

import argparse
import ctypes
import datetime
import json
import statistics
import subprocess
import sys
import tempfile
import time

from attention_cpu_vs_torch import (AttentionOptions, AttentionTensors, Fovea, RuntimeOptions, Tensor, geometric_mean,
                                    run_again_with_a_clean_environment)

CUDA = 1  # fovea_device_kind


class GpuFovea(Fovea):
    def __init__(self, library, cache_dir=""):
        super().__init__(library, 1)
        if cache_dir:  # a runtime of its own, that compiles into this folder
            options = RuntimeOptions(struct_size=ctypes.sizeof(RuntimeOptions), cache_dir=cache_dir.encode())
            self.check(self.library.fovea_runtime_create(ctypes.byref(options), ctypes.byref(self.runtime)))

    @staticmethod
    def view(tensor):
        view = Fovea.view(tensor)
        return Tensor(view.data, view.dtype, CUDA, tensor.device.index or 0, view.ndim, view.shape, view.strides)

    def prepared(self, torch, q, k, v, o, causal):
        """The call, with everything but the call itself done ahead."""
        tensors = AttentionTensors(struct_size=ctypes.sizeof(AttentionTensors))
        views = [self.view(t) for t in (q, k, v, o)]
        for name, view in zip("qkvo", views):
            setattr(tensors, name, ctypes.pointer(view))
        options = AttentionOptions(ctypes.sizeof(AttentionOptions), self.BHSD, int(causal))
        stream = torch.cuda.current_stream().cuda_stream

        def call():
            self.check(self.library.fovea_attention_forward(self.runtime, ctypes.addressof(tensors),
                                                            ctypes.addressof(options), stream))
            return o
        return call


def rows(torch, batch, seqlen, heads, dim):
    """(batch, heads, seqlen, dim) seen over (batch, seqlen, heads, dim) memory, as models have it."""
    return torch.randn(batch, seqlen, heads, dim, device="cuda", dtype=torch.bfloat16).transpose(1, 2)


def torch_calls(torch, q, k, v, causal, gqa):
    from torch.nn.attention import SDPBackend, sdpa_kernel
    calls = {}
    for name, backend in (("fa2", SDPBackend.FLASH_ATTENTION), ("cudnn", SDPBackend.CUDNN_ATTENTION)):
        def call(backend=backend):
            with sdpa_kernel(backend):
                return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=gqa)
        try:
            call()
            calls[name] = call
        except RuntimeError as error:
            print(f"{name} does not take this call: {str(error).splitlines()[0]}", file=sys.stderr)
    return calls


def measure_cell(torch, fovea, flush, rounds, batch, seqlen_q, seqlen_k, heads_q, heads_kv, dim, causal):
    q, k, v = (rows(torch, batch, s, h, dim) for s, h in ((seqlen_q, heads_q), (seqlen_k, heads_kv), (seqlen_k, heads_kv)))
    o = torch.full_like(q, float("nan"))
    calls = {"fovea": fovea.prepared(torch, q, k, v, o, causal)} | torch_calls(torch, q, k, v, causal, heads_q != heads_kv)
    outputs = {name: call().float() for name, call in calls.items()}
    for name, output in outputs.items():
        difference = (outputs["fovea"] - output).abs().max().item()
        if not difference <= 4e-2:  # a few roundings of bf16 to outputs of size 1; NaN fails
            raise RuntimeError(f"outputs of fovea and {name} differ by {difference}: not measured")
    times = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            flush.zero_()
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            call()
            end.record()
            torch.cuda.synchronize()
            times[name].append(begin.elapsed_time(end))
    pairs = seqlen_q * seqlen_k - (seqlen_q * (seqlen_q - 1) // 2 if causal else 0)
    tflop = 4e-12 * batch * heads_q * dim * pairs
    cell = {"batch": batch, "seqlen_q": seqlen_q, "seqlen_k": seqlen_k, "heads": [heads_q, heads_kv], "head_dim": dim,
            "causal": causal}
    for name, values in times.items():
        cell[name + "_us"] = statistics.median(values) * 1e3
        cell[name + "_tflops"] = tflop / statistics.median(values) * 1e3
    for name in ("fa2", "cudnn"):
        if name in times:
            cell["ratio_to_" + name] = cell[name + "_us"] / cell["fovea_us"]
    return cell


def first_call_seconds(torch, library, cache_dir):
    """Host time of the first call of a kernel, after another kernel's call has loaded driver and compiler."""
    fovea = GpuFovea(library, cache_dir)
    seconds = []
    for dim, causal in ((64, False), (128, True)):
        q, k, v, o = (rows(torch, 1, 1024, 4, dim) for _ in range(4))
        torch.cuda.synchronize()
        start = time.perf_counter()
        fovea.prepared(torch, q, k, v, o, causal)()
        seconds.append(time.perf_counter() - start)
        torch.cuda.synchronize()
    return seconds[-1]


def measure_first_calls(library):
    results = {}
    with tempfile.TemporaryDirectory() as cache_dir:
        for name in ("empty_cache_s", "warm_disk_cache_s"):  # a new process each
            out = subprocess.run([sys.executable, __file__, "--library", library, "--first-call", cache_dir], check=True,
                                 capture_output=True, text=True).stdout
            results[name] = float(out.split()[-1])
    return results


def grid():
    for dim in (64, 128, 256):
        for causal in (False, True):
            for seqlen in (512, 1024, 2048, 4096, 8192, 16384):
                yield 16384 // seqlen, seqlen, seqlen, 2048 // dim, 2048 // dim, dim, causal
    for batch, seqlen_k, heads_kv in ((1, 8192, 8), (16, 8192, 8), (64, 4096, 8), (1, 131072, 8), (16, 4096, 32)):
        yield batch, 1, seqlen_k, 32, heads_kv, 128, False


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", default="build/src/libfovea.so")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--output")
    parser.add_argument("--first-call", metavar="DIR", help="only print the seconds of one first call with this cache folder")
    args = parser.parse_args()
    run_again_with_a_clean_environment()
    import torch
    if not torch.cuda.is_available():
        sys.exit("PyTorch sees no GPU")
    if args.first_call:
        print(first_call_seconds(torch, args.library, args.first_call))
        return
    torch.manual_seed(0)
    fovea = GpuFovea(args.library)
    flush = torch.empty(1 << 28, dtype=torch.int8, device="cuda")
    cells = []
    print("    b     sq     sk     h    d   mask  fovea us   fa2 us cudnn us  TFLOP/s  /fa2 /cudnn")
    for shape in grid():
        c = measure_cell(torch, fovea, flush, args.rounds, *shape)
        cells.append(c)
        heads = "/".join(map(str, c["heads"]))
        print(f"{c['batch']:5} {c['seqlen_q']:6} {c['seqlen_k']:6} {heads:>5} {c['head_dim']:4} "
              f"{'causal' if c['causal'] else 'full':>6} {c['fovea_us']:9.1f} {c.get('fa2_us', 0):8.1f} "
              f"{c.get('cudnn_us', 0):8.1f} {c['fovea_tflops']:8.1f} {c.get('ratio_to_fa2', 0):5.2f} "
              f"{c.get('ratio_to_cudnn', 0):6.2f}", flush=True)
    first = measure_first_calls(args.library)
    square = [c["ratio_to_fa2"] for c in cells if c["seqlen_q"] > 1]
    print(f"grid: smallest ratio to FA2 {min(square):.2f}, geometric mean {geometric_mean(square):.2f}; first call of a kernel: "
          f"{first['empty_cache_s']:.2f} s with an empty cache, {first['warm_disk_cache_s'] * 1e3:.1f} ms with a warm one")
    if args.output:
        document = {"what": "attention forward, bf16", "date": datetime.datetime.now(datetime.timezone.utc).isoformat(),
                    "device": torch.cuda.get_device_name(), "torch": torch.__version__,
                    "cudnn": torch.backends.cudnn.version(), "rounds": args.rounds, "first_call": first, "cells": cells}
        with open(args.output, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
