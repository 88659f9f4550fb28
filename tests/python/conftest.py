# SPDX-License-Identifier: Apache-2.0
"""What the tests share: inputs, a reference of their own, and how a result is judged."""

import sys

import numpy as np
import pytest


def pytest_collection_modifyitems(items):
    for item in items:
        if "/gpu/" in str(item.fspath):
            item.add_marker(pytest.mark.gpu)


@pytest.fixture(autouse=True)
def first_gpu_is_current(request):
    """JAX leaves the device of its last program current, and PyTorch captures graphs on the current one."""
    torch = sys.modules.get("torch")
    if request.node.get_closest_marker("gpu") and torch and torch.cuda.is_available():
        torch.cuda.set_device(0)


def heads_second(x, layout):
    return x if layout == "bhsd" else np.swapaxes(x, 1, 2)


def plain_attention(
    q,
    k,
    v,
    *,
    causal=False,
    window=None,
    softmax_scale=None,
    softcap=0.0,
    seq_lens_q=None,
    seq_lens_k=None,
    layout="bshd",
    alignment="bottom_right",
):
    """Attention in float64 as the textbook has it, with an explicit mask: written for the tests alone. (o, lse)."""
    q, k, v = (heads_second(np.asarray(x, np.float64), layout) for x in (q, k, v))
    group = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, group, 1), np.repeat(v, group, 1)
    s = q @ np.swapaxes(k, -1, -2) * (softmax_scale if softmax_scale is not None else q.shape[-1] ** -0.5)
    if softcap:
        s = softcap * np.tanh(s / softcap)
    batch, _, rows, keys = s.shape
    length_q = np.full(batch, rows) if seq_lens_q is None else np.asarray(seq_lens_q)
    length_k = np.full(batch, keys) if seq_lens_k is None else np.asarray(seq_lens_k)
    left, right = window or (None, None)
    right = 0 if causal else right
    seen = np.zeros((batch, 1, rows, keys), bool)
    for b in range(batch):
        diagonal = length_k[b] - length_q[b] if alignment == "bottom_right" else 0
        for i in range(length_q[b]):
            for j in range(length_k[b]):
                seen[b, 0, i, j] = (left is None or j >= i + diagonal - left) and (
                    right is None or j <= i + diagonal + right
                )
    s = np.where(seen, s, -np.inf)
    largest = s.max(-1, keepdims=True, initial=-np.inf)
    weights = np.exp(s - np.where(np.isinf(largest), 0, largest))
    total = weights.sum(-1, keepdims=True)
    o = (weights / np.where(total == 0, 1, total)) @ v
    with np.errstate(divide="ignore"):
        lse = (np.log(total) + np.where(np.isinf(largest), 0, largest))[..., 0]
    return heads_second(o, layout), lse


def inputs(
    batch=2,
    seqlen_q=9,
    seqlen_k=13,
    num_heads_q=4,
    num_heads_kv=2,
    head_dim=16,
    head_dim_v=None,
    layout="bshd",
    dtype=np.float32,
    seed=0,
):
    rng = np.random.default_rng(seed)

    def make(seqlen, heads, dim):
        shape = (batch, heads, seqlen, dim) if layout == "bhsd" else (batch, seqlen, heads, dim)
        return rng.standard_normal(shape).astype(np.float32).astype(dtype)

    return (
        make(seqlen_q, num_heads_q, head_dim),
        make(seqlen_k, num_heads_kv, head_dim),
        make(seqlen_k, num_heads_kv, head_dim_v or head_dim),
    )


UNIT_ROUNDOFF = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}


def assert_close(ours, expected, dtype="float32", factor=16.0):
    """Within some roundings of the dtype, relative to the largest number: for results whose exact value is known from a
    second implementation. fovea.validate_attention judges by the sharper rule of docs/numerics.md."""
    ours, expected = np.asarray(ours, np.float64), np.asarray(expected, np.float64)
    assert ours.shape == expected.shape
    assert np.array_equal(np.isfinite(ours), np.isfinite(expected))
    assert np.array_equal(ours[~np.isfinite(ours)], expected[~np.isfinite(expected)])
    finite = np.isfinite(expected)
    if not finite.any():
        return
    limit = factor * UNIT_ROUNDOFF[dtype] * max(1.0, np.abs(expected[finite]).max())
    errors = np.where(finite, np.abs(np.where(finite, ours, 0) - np.where(finite, expected, 0)), 0)
    place = np.unravel_index(errors.argmax(), errors.shape)
    assert errors.max() <= limit, f"at {place}: expected {expected[place]}, got {ours[place]}, limit {limit:.3g}"
