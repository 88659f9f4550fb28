#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The first five minutes: what machine this is, attention and a matrix product, how right they are, who computed them.
Needs NumPy alone.

  python examples/python/quick_start.py
"""

import time

import numpy as np

import fovea


def best_of(call, runs=5):
    call()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def main():
    info = fovea.info()
    print(f"Fovea {info['version']} on {info['processor']['model_name']}, {info['threads']} threads, {info['isa']}")

    rng = np.random.default_rng(0)
    batch, seqlen, num_heads, head_dim = 2, 512, 8, 64
    q, k, v = (rng.standard_normal((batch, seqlen, num_heads, head_dim), dtype=np.float32) for _ in range(3))
    for causal in (False, True):
        o, lse = fovea.attention(q, k, v, causal=causal, return_lse=True)
        seconds = best_of(lambda causal=causal: fovea.attention(q, k, v, causal=causal))
        verdict = fovea.validate_attention(o, q, k, v, lse=lse, causal=causal, max_rows=300)
        name = "causal" if causal else "full"
        right = "right" if verdict else "WRONG"
        errors = f"{verdict.max_error:.1e} from float64, {verdict.plain_max_error:.1e} by the plain method"
        print(f"attention {name:6}: {seconds * 1e3:7.2f} ms, {right}: {errors}")
        assert verdict

    scores = batch * num_heads * seqlen * seqlen * 4
    print(f"memory besides inputs: {o.nbytes / 2**20:.1f} MiB; the matrix of scores alone: {scores / 2**20:.1f} MiB")

    a, b = rng.standard_normal((512, 768), dtype=np.float32), rng.standard_normal((768, 640), dtype=np.float32)
    d = fovea.matmul(a, b)
    seconds = best_of(lambda: fovea.matmul(a, b))
    verdict = fovea.validate_matmul(d, a, b, max_rows=100)
    speed = 2e-9 * d.size * a.shape[1] / seconds
    print(f"matmul          : {seconds * 1e3:7.2f} ms, {speed:.1f} GFLOP/s, {'right' if verdict else 'WRONG'}")
    assert verdict

    print("\nWho computed it, and why not the others:")
    print(fovea.explain(q, k, v, causal=True))


if __name__ == "__main__":
    main()
