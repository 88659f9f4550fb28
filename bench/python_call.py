#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What one call of fovea.attention costs the host: a problem without work (batch 0), and the smallest one, beside
PyTorch's scaled_dot_product_attention in the same loop. Medians of 15 runs of 5000 calls, in microseconds; on a GPU
calls are enqueued and waited for after each run.

  python bench/python_call.py [--json]
"""

import json
import statistics
import sys
import time

import numpy as np
import torch

import fovea

CALLS, RUNS = 5000, 15


def microseconds(functions, wait):
    """Medians per name; runs of all functions take turns, so that drift of the machine meets all."""
    times = {name: [] for name in functions}
    for function in functions.values():
        for _ in range(200):
            function()
    for _ in range(RUNS):
        for name, function in functions.items():
            wait()
            start = time.perf_counter()
            for _ in range(CALLS):
                function()
            times[name].append((time.perf_counter() - start) / CALLS * 1e6)
            wait()
    return {name: round(statistics.median(found), 2) for name, found in times.items()}


def cases(device):
    def make(batch):
        return torch.zeros(batch, 16, 2, 64, device=device, dtype=torch.float16 if device == "cuda" else torch.float32)

    tiny, none = make(1), make(0)
    heads_first = tiny.transpose(1, 2)
    sdpa = torch.nn.functional.scaled_dot_product_attention
    found = {
        "fovea, no work": lambda: fovea.attention(none, none, none),
        "fovea": lambda: fovea.attention(tiny, tiny, tiny),
        "fovea, lse": lambda: fovea.attention(tiny, tiny, tiny, return_lse=True),
        "fovea, out given": lambda out=torch.empty_like(tiny): fovea.attention(tiny, tiny, tiny, out=out),
        "sdpa": lambda: sdpa(heads_first, heads_first, heads_first),
        "torch.empty_like": lambda: torch.empty_like(tiny),
    }
    if device == "cpu":
        array, empty = tiny.numpy(), none.numpy()
        found["fovea, NumPy, no work"] = lambda: fovea.attention(empty, empty, empty)
        found["fovea, NumPy"] = lambda: fovea.attention(array, array, array)
        found["numpy.empty_like"] = lambda: np.empty_like(array)
    return found


def main():
    result = {"fovea": fovea.__version__, "torch": torch.__version__, "python": sys.version.split()[0]}
    with torch.no_grad():
        result["cpu"] = microseconds(cases("cpu"), lambda: None)
        if torch.cuda.is_available():
            result["gpu"] = torch.cuda.get_device_name()
            result["cuda"] = microseconds(cases("cuda"), torch.cuda.synchronize)
    if "--json" in sys.argv:
        print(json.dumps(result, indent=2))
        return
    for device in ("cpu", "cuda"):
        for name, value in result.get(device, {}).items():
            print(f"{device:5} {name:24} {value:8.2f} us")


if __name__ == "__main__":
    main()
