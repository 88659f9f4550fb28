#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fovea's attention against PyTorch's flash (FA2) and cuDNN backends on a GPU, in one process.

All get the same memory (batch, seqlen, num_heads, head_dim), bf16, random. Their calls alternate; before each the L2 is
flushed; a figure is the median of CUDA event times, a ratio that of medians. Outputs are compared before they are timed.
FlashAttention-3 is not measured here: its time is that of a peer in the same run over the ratio of the two that
bench/results/attention_h200_fa3.json holds for the cell. Also the host time that the first call of a new kernel takes, with
an empty cache and with a warm one. Needs PyTorch with CUDA.

Tables: grid (that of FlashAttention's own benchmark: 16k tokens, num_heads * head_dim = 2048), small (and odd) shapes, other
head dimensions and groups, chunk (a few hundred new rows after many keys), tokens (1 to 16 new ones), window.

  python3 bench/attention_gpu_vs_torch.py --library build/src/libfovea.so --output bench/results/attention_gpu.json
"""

import argparse
import ctypes
import dataclasses
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from attention_cpu_vs_torch import (AttentionTensors, Fovea, RuntimeOptions, Tensor, geometric_mean,
                                    run_again_with_a_clean_environment)

CUDA = 1  # fovea_device_kind


PEERS = ("fa2", "cudnn", "fa3", "flex")
RATIOS_OF_FA3 = os.path.join(os.path.dirname(os.path.abspath(__file__)), "results", "attention_h200_fa3.json")


class AttentionOptions(ctypes.Structure):  # fovea_attention_options
    _fields_ = [("struct_size", ctypes.c_size_t)] + [(name, ctypes.c_int32) for name in (
        "layout", "causal", "alignment", "has_window_left", "has_window_right", "window_left", "window_right",
        "has_softmax_scale")] + [("softmax_scale", ctypes.c_float), ("softcap", ctypes.c_float)] + [
            (name, ctypes.c_int32) for name in ("math", "max_seqlen_q", "max_seqlen_k", "block_q", "block_k", "stages", "warps",
                                                "reserved")] + [("kernel", ctypes.c_char_p)]


@dataclasses.dataclass(frozen=True)
class Shape:
    table: str
    batch: int
    seqlen_q: int
    seqlen_k: int
    heads_q: int
    heads_kv: int
    head_dim: int
    causal: bool  # bottom-right
    window_left: int = 0  # 0: none
    head_dim_v: int = 0  # 0: head_dim

    def pairs(self):
        """Scores that a head's queries see."""
        pairs = self.seqlen_q * self.seqlen_k
        if self.window_left:
            outside = self.window_left * (self.window_left + 1) // 2
            return self.seqlen_q * (self.window_left + 1) - outside  # of a causal window with seqlen_q == seqlen_k
        return pairs - (self.seqlen_q * (self.seqlen_q - 1) // 2 if self.causal else 0)

    def tflop(self):
        return 2e-12 * self.batch * self.heads_q * (self.head_dim + (self.head_dim_v or self.head_dim)) * self.pairs()


class GpuFovea(Fovea):
    def __init__(self, library, cache_dir="", kernel=""):
        super().__init__(library, 1)
        self.kernel = kernel.encode() or None
        self.library.fovea_attention_options_init.argtypes = [ctypes.c_void_p]
        if cache_dir:  # a runtime of its own, that compiles into this folder
            options = RuntimeOptions(struct_size=ctypes.sizeof(RuntimeOptions), cache_dir=cache_dir.encode())
            self.check(self.library.fovea_runtime_create(ctypes.byref(options), ctypes.byref(self.runtime)))

    @staticmethod
    def view(tensor):
        view = Fovea.view(tensor)
        return Tensor(view.data, view.dtype, CUDA, tensor.device.index or 0, view.ndim, view.shape, view.strides)

    def prepared(self, torch, q, k, v, o, causal, window_left=0):
        """The call, with everything but the call itself done ahead."""
        tensors = AttentionTensors(struct_size=ctypes.sizeof(AttentionTensors))
        views = [self.view(t) for t in (q, k, v, o)]
        for name, view in zip("qkvo", views):
            setattr(tensors, name, ctypes.pointer(view))
        options = AttentionOptions()
        self.library.fovea_attention_options_init(ctypes.byref(options))
        options.layout, options.causal, options.kernel = self.BHSD, int(causal), self.kernel
        options.has_window_left, options.window_left = int(window_left > 0), window_left
        stream = torch.cuda.current_stream().cuda_stream

        def call():
            self.check(self.library.fovea_attention_forward(self.runtime, ctypes.addressof(tensors),
                                                            ctypes.addressof(options), stream))
            return o
        return call


def rows(torch, batch, seqlen, heads, dim):
    """(batch, heads, seqlen, dim) seen over (batch, seqlen, heads, dim) memory, as models have it."""
    return torch.randn(batch, seqlen, heads, dim, device="cuda", dtype=torch.bfloat16).transpose(1, 2)


def sdpa_call(torch, q, k, v, shape, backend):
    from torch.nn.attention import sdpa_kernel
    from torch.nn.attention.bias import causal_lower_right
    mask = {"is_causal": shape.causal}
    if shape.causal and shape.seqlen_q != shape.seqlen_k:
        mask = {"attn_mask": causal_lower_right(shape.seqlen_q, shape.seqlen_k)}
    gqa = {"enable_gqa": True} if shape.heads_q != shape.heads_kv else {}

    def call():
        with sdpa_kernel(backend):
            return torch.nn.functional.scaled_dot_product_attention(q, k, v, **mask, **gqa)
    return call


def flex_call(torch, q, k, v, shape):
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    def visible(batch, head, row, column):
        return (row >= column) & (row - column <= shape.window_left)

    mask = create_block_mask(visible, None, None, shape.seqlen_q, shape.seqlen_k, device="cuda")
    compiled = torch.compile(flex_attention)
    return lambda: compiled(q, k, v, block_mask=mask)


def peer_calls(torch, q, k, v, shape):
    from torch.nn.attention import SDPBackend
    if shape.window_left:
        calls = {"flex": flex_call(torch, q, k, v, shape)}
    else:
        calls = {"fa2": sdpa_call(torch, q, k, v, shape, SDPBackend.FLASH_ATTENTION)}
        if not shape.causal or shape.seqlen_q == shape.seqlen_k:  # its diagonal begins top-left
            calls["cudnn"] = sdpa_call(torch, q, k, v, shape, SDPBackend.CUDNN_ATTENTION)
    for name in list(calls):
        try:
            calls[name]()
        except RuntimeError as error:
            print(f"{name} does not take this call: {str(error).splitlines()[0]}", file=sys.stderr)
            del calls[name]
    return calls


def median_times(torch, calls, flush, rounds):
    times = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            for _ in range(4):  # 0.3 ms: a busy host has enqueued the call by then, and its own time is not measured
                flush.zero_()
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            call()
            end.record()
            torch.cuda.synchronize()
            times[name].append(begin.elapsed_time(end))
    return {name: statistics.median(values) * 1e3 for name, values in times.items()}


def fa3_us(shape, us, ratios):
    key = [shape.batch, shape.seqlen_q, shape.seqlen_k, [shape.heads_q, shape.heads_kv], shape.head_dim, shape.causal]
    row = next((r for r in ratios if [r[name] for name in ("batch", "seqlen_q", "seqlen_k", "heads", "head_dim", "causal")] == key),
               None)
    if row and not shape.window_left:
        for peer in ("cudnn", "fa2"):
            if peer in us and row["fa3_over_" + peer]:
                return us[peer] / row["fa3_over_" + peer]
    return None


def measure_cell(torch, fovea, flush, rounds, shape, ratios):
    dim_v = shape.head_dim_v or shape.head_dim
    q = rows(torch, shape.batch, shape.seqlen_q, shape.heads_q, shape.head_dim)
    k = rows(torch, shape.batch, shape.seqlen_k, shape.heads_kv, shape.head_dim)
    v = rows(torch, shape.batch, shape.seqlen_k, shape.heads_kv, dim_v)
    o = torch.full((shape.batch, shape.seqlen_q, shape.heads_q, dim_v), float("nan"), device="cuda",
                   dtype=torch.bfloat16).transpose(1, 2)
    calls = {"fovea": fovea.prepared(torch, q, k, v, o, shape.causal, shape.window_left)} | peer_calls(torch, q, k, v, shape)
    outputs = {name: call().float() for name, call in calls.items()}
    for name, output in outputs.items():
        difference = (outputs["fovea"] - output).abs().max().item()
        if not difference <= 4e-2:  # a few roundings of bf16 to outputs of size 1; NaN fails
            raise RuntimeError(f"outputs of fovea and {name} differ by {difference}: not measured")
    del outputs
    us = median_times(torch, calls, flush, rounds)
    estimate = fa3_us(shape, us, ratios)
    if estimate:
        us["fa3"] = estimate
    cell = {"table": shape.table, "batch": shape.batch, "seqlen_q": shape.seqlen_q, "seqlen_k": shape.seqlen_k,
            "heads": [shape.heads_q, shape.heads_kv], "head_dim": shape.head_dim, "head_dim_v": dim_v, "causal": shape.causal,
            "window_left": shape.window_left or None}
    for name, value in us.items():
        cell[name + "_us"], cell[name + "_tflops"] = value, shape.tflop() / value * 1e6
    for name in PEERS:
        if name in us:
            cell["ratio_to_" + name] = us[name] / us["fovea"]
    cell["ratio_to_best"] = min(us[name] for name in PEERS if name in us) / us["fovea"]
    return cell


def first_call_seconds(torch, library, cache_dir, kernel):
    """Host time of the first call of a kernel, after another kernel's call has loaded driver and compiler."""
    fovea = GpuFovea(library, cache_dir, kernel)
    seconds = []
    for dim, causal in ((64, False), (128, True)):
        q, k, v, o = (rows(torch, 1, 1024, 4, dim) for _ in range(4))
        torch.cuda.synchronize()
        start = time.perf_counter()
        fovea.prepared(torch, q, k, v, o, causal)()
        seconds.append(time.perf_counter() - start)
        torch.cuda.synchronize()
    return seconds[-1]


def measure_first_calls(library, kernel):
    results = {}
    with tempfile.TemporaryDirectory() as cache_dir:
        for name in ("empty_cache_s", "warm_disk_cache_s"):  # a new process each
            out = subprocess.run([sys.executable, __file__, "--library", library, "--kernel", kernel, "--first-call", cache_dir], check=True,
                                 capture_output=True, text=True).stdout
            results[name] = float(out.split()[-1])
    return results


def shapes():
    for dim in (64, 128, 256):
        for causal in (False, True):
            for seqlen in (512, 1024, 2048, 4096, 8192, 16384):
                yield Shape("grid", 16384 // seqlen, seqlen, seqlen, 2048 // dim, 2048 // dim, dim, causal)
    for batch, heads, seqlen, dim in ((1, 16, 256, 128), (1, 16, 512, 128), (1, 16, 1024, 128), (1, 32, 2048, 64),
                                      (2, 32, 1000, 128), (8, 12, 197, 64), (64, 12, 128, 64), (1, 8, 4096, 128)):
        for causal in (False, True):
            yield Shape("small", batch, seqlen, seqlen, heads, heads, dim, causal)
    for causal in (False, True):
        for dim, dim_v, batch, seqlen, heads_q, heads_kv in (
                (96, 96, 8, 2048, 16, 16), (96, 96, 1, 16384, 16, 16), (192, 192, 8, 2048, 8, 8), (192, 192, 1, 16384, 8, 8),
                (192, 128, 4, 4096, 8, 8), (128, 128, 4, 4096, 64, 8)):
            yield Shape("other", batch, seqlen, seqlen, heads_q, heads_kv, dim, causal, head_dim_v=dim_v)
    for seqlen_q in (256, 512, 1024, 2048):
        yield Shape("chunk", 1, seqlen_q, 32768, 8, 1, 128, True)
    for seqlen_q in (1, 2, 4, 8, 16):
        for batch, seqlen_k in ((1, 8192), (8, 8192), (32, 4096)):
            yield Shape("tokens", batch, seqlen_q, seqlen_k, 32, 8, 128, False)
    for batch, seqlen_k, heads_kv in ((16, 8192, 8), (64, 4096, 8), (1, 131072, 8), (16, 4096, 32)):
        yield Shape("tokens", batch, 1, seqlen_k, 32, heads_kv, 128, False)
    yield Shape("window", 1, 16384, 16384, 16, 16, 128, True, window_left=1023)


def print_cell(cell):
    heads, us = "/".join(map(str, cell["heads"])), [cell.get(name + "_us") for name in PEERS]
    mask = f"w{cell['window_left']}" if cell["window_left"] else "causal" if cell["causal"] else "full"
    print(f"{cell['table']:6} {cell['batch']:3} {cell['seqlen_q']:6} {cell['seqlen_k']:6} {heads:>5} {cell['head_dim']:4} {mask:>6} "
          f"{cell['fovea_us']:9.1f} {' '.join(f'{t:8.1f}' if t else '       -' for t in us)} {cell['fovea_tflops']:8.1f} "
          f"{cell['ratio_to_best']:6.2f}", flush=True)


def print_summary(cells, first):
    for table in dict.fromkeys(cell["table"] for cell in cells):
        for peer in ("best", *PEERS):
            ratios = [cell["ratio_to_" + peer] for cell in cells if cell["table"] == table and "ratio_to_" + peer in cell]
            if ratios:
                print(f"{table:6} beside {peer:5}: {sum(r >= 1 for r in ratios)} of {len(ratios)} at 1.00 or more, smallest "
                      f"{min(ratios):.2f}, geometric mean {geometric_mean(ratios):.2f}")
    if first:
        print(f"first call of a kernel: {first['empty_cache_s']:.2f} s with an empty cache, "
              f"{first['warm_disk_cache_s'] * 1e3:.1f} ms with a warm one")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", default="build/src/libfovea.so")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--tables", nargs="+", help="only these; default: all", metavar="NAME")
    parser.add_argument("--kernel", default="", help="this kernel of the library, not its choice")
    parser.add_argument("--output")
    parser.add_argument("--first-call", metavar="DIR", help="only print the seconds of one first call with this cache folder")
    args = parser.parse_args()
    run_again_with_a_clean_environment()
    import torch
    if not torch.cuda.is_available():
        sys.exit("PyTorch sees no GPU")
    if args.first_call:
        print(first_call_seconds(torch, args.library, args.first_call, args.kernel))
        return
    torch.manual_seed(0)
    first = measure_first_calls(args.library, args.kernel)
    flush = torch.empty(1 << 28, dtype=torch.int8, device="cuda")
    with open(RATIOS_OF_FA3, encoding="utf-8") as file:
        ratios = json.load(file)["rows"]
    cells = []
    print("table    b     sq     sk     h    d   mask  fovea us   fa2 us cudnn us   fa3 us  flex us  TFLOP/s  /best")
    with tempfile.TemporaryDirectory() as cache_dir:
        fovea = GpuFovea(args.library, cache_dir, args.kernel)
        for shape in shapes():
            if not args.tables or shape.table in args.tables:
                cells.append(measure_cell(torch, fovea, flush, args.rounds, shape, ratios))
                print_cell(cells[-1])
    print_summary(cells, first)
    if args.output:
        document = {"what": "attention forward, bf16", "date": datetime.datetime.now(datetime.timezone.utc).isoformat(),
                    "device": torch.cuda.get_device_name(), "torch": torch.__version__,
                    "cudnn": torch.backends.cudnn.version(), "kernel": args.kernel or None, "rounds": args.rounds,
                    "first_call": first, "cells": cells}
        with open(args.output, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
