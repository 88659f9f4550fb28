#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What else a call can be told: shared heads, windows, lengths, packed sequences, a cache that grows token by token,
parts of the keys on different machines, precision, tiles. Each is checked against the definition. Needs NumPy and
ml_dtypes.

  python examples/python/advanced.py
"""

import ml_dtypes
import numpy as np

import fovea

rng = np.random.default_rng(0)


def random(*shape, dtype=np.float32):
    return rng.standard_normal(shape, dtype=np.float32).astype(dtype)


def check(title, o, q, k, v, **call):
    verdict = fovea.validate_attention(o, q, k, v, **call)
    print(
        f"{title:55} error {verdict.max_error:.1e} (limit {verdict.max_limit:.1e}): {'right' if verdict else 'WRONG'}"
    )
    assert verdict, str(verdict)


def shared_heads():
    q, k, v = random(2, 100, 8, 64), random(2, 100, 2, 64), random(2, 100, 2, 64)
    check("8 heads of queries share 2 of keys and values", fovea.attention(q, k, v, causal=True), q, k, v, causal=True)


def window():
    q, k, v = (random(1, 300, 4, 64) for _ in range(3))
    call = dict(window=(32, 0))
    check("each query sees 32 keys back", fovea.attention(q, k, v, **call), q, k, v, **call)


def lengths():
    q, k, v = (random(3, 50, 4, 32) for _ in range(3))
    call = dict(seq_lens=np.array([50, 7, 0], np.int32), causal=True)
    o = fovea.attention(q, k, v, **call)
    check("padded sequences of 50, 7 and 0 tokens", o, q, k, v, **call)
    assert not o[1, 7:].any() and not o[2].any()


def packed():
    lens = [30, 1, 69]
    cu = np.cumsum([0, *lens]).astype(np.int32)
    q, k, v = (random(sum(lens), 4, 32) for _ in range(3))
    call = dict(layout="thd", cu_seqlens=cu, causal=True)
    check("the same without padding, packed end to end", fovea.attention(q, k, v, **call), q, k, v, **call)


def growing_cache():
    """One new token at a time against a cache with room for 64, as a language model generates."""
    k_cache, v_cache = np.zeros((1, 64, 2, 32), np.float32), np.zeros((1, 64, 2, 32), np.float32)
    queries, outputs = [], []
    for step in range(20):
        k_cache[:, step], v_cache[:, step] = random(1, 2, 32), random(1, 2, 32)
        queries.append(random(1, 1, 8, 32))
        outputs.append(fovea.attention(queries[-1], k_cache, v_cache, seq_lens_k=[step + 1]))
    q, o = np.concatenate(queries, 1), np.concatenate(outputs, 1)
    check("20 tokens one by one are the causal whole", o, q, k_cache[:, :20], v_cache[:, :20], causal=True)


def parts_of_the_keys():
    q, k, v = random(1, 40, 4, 32), random(1, 200, 4, 32), random(1, 200, 4, 32)
    o, lse = fovea.attention(q, k[:, :80], v[:, :80], return_lse=True)
    for part in (slice(80, 150), slice(150, 200)):
        o, lse = fovea.merge_states(o, lse, *fovea.attention(q, k[:, part], v[:, part], return_lse=True))
    exact = fovea.reference_attention(q, k, v)
    print(f"{'three parts of the keys, merged':55} error {np.abs(o - exact).max():.1e}")
    assert np.abs(o - exact).max() < 1e-5


def precision():
    q, k, v = (random(1, 200, 4, 64, dtype=ml_dtypes.bfloat16) for _ in range(3))
    check("bfloat16", fovea.attention(q, k, v, softcap=20.0), q, k, v, softcap=20.0)


def tiles():
    q, k, v = (random(1, 300, 2, 64) for _ in range(3))
    for block_q, block_k in ((16, 16), (64, 32), (0, 0)):
        config = fovea.AttentionConfig(block_q=block_q, block_k=block_k)
        plan = fovea.explain(q, k, v, config=config, json=True)
        tile = f"{plan['config']['block_q']} x {plan['config']['block_k']}"
        check(f"tiles of {tile} ({plan['choice']})", fovea.attention(q, k, v, config=config), q, k, v)


def mistakes():
    q = random(1, 10, 3, 32)
    for call in (lambda: fovea.attention(q, q[:, :, :2], q[:, :, :2]), lambda: fovea.attention(q, q, q, window=4)):
        try:
            call()
        except (ValueError, TypeError) as error:
            print(f"  {type(error).__name__}, field {error.field}: {error}")


def main():
    for example in (shared_heads, window, lengths, packed, growing_cache, parts_of_the_keys, precision, tiles):
        example()
    print("An error names the field, what it got, what it wanted, the way out:")
    mistakes()


if __name__ == "__main__":
    main()
