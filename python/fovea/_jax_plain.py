# SPDX-License-Identifier: Apache-2.0
"""Attention's backward in plain JAX operations: some rows of queries at a time, so that memory grows with seqlen and not
with its square. Arithmetic is float32."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from fovea._options import Options

# Scores that are alive at once, over all heads and sequences: 16 MiB in float32, a handful of such arrays.
_SCORES = 1 << 22
_OPEN = 1 << 30


def _product(pattern: str, x, y):
    return jnp.einsum(pattern, x, y, precision=jax.lax.Precision.HIGHEST)


def _interval(options: Options, seqlen_q: int, seqlen_k: int, batch: int):
    """(begin, end), each (batch, seqlen_q): the keys that a row sees; both 0 for a row that sees none."""
    left, right = options.window or (None, None)
    left, right = _OPEN if left is None else left, _OPEN if right is None else right
    right = 0 if options.causal else right
    rows = jnp.arange(seqlen_q, dtype=jnp.int32)
    if options.layout == "thd":
        ends_q = options.cu_seqlens_q[1:]
        num_sequences = ends_q.shape[0]
        own = jnp.minimum(jnp.searchsorted(ends_q, rows, side="right"), max(num_sequences - 1, 0))
        begin_q, begin_k = options.cu_seqlens_q[:-1][own], options.cu_seqlens_k[:-1][own]
        length_q, length_k = ends_q[own] - begin_q, options.cu_seqlens_k[1:][own] - begin_k
        if options.seq_lens_q is not None:
            length_q = jnp.clip(options.seq_lens_q[own], 0, length_q)
        if options.seq_lens_k is not None:
            length_k = jnp.clip(options.seq_lens_k[own], 0, length_k)
        rows, first = rows - begin_q, begin_k
    else:
        length_q = jnp.full((1, 1), seqlen_q, jnp.int32)
        length_k = jnp.full((1, 1), seqlen_k, jnp.int32)
        if options.seq_lens_q is not None:
            length_q = jnp.clip(options.seq_lens_q, 0, seqlen_q)[:, None]
        if options.seq_lens_k is not None:
            length_k = jnp.clip(options.seq_lens_k, 0, seqlen_k)[:, None]
        first = 0
    position = rows + (length_k - length_q if options.alignment == "bottom_right" else 0)
    begin = jnp.maximum(position - left, 0)
    end = jnp.where(rows < length_q, jnp.minimum(position + right + 1, length_k), 0)
    return tuple(jnp.broadcast_to(x + first, (batch, seqlen_q)) for x in (begin, jnp.maximum(end, begin)))


def _heads_first(x, layout: str):
    """(batch, num_heads, seqlen, head_dim); for "thd" a batch of 1."""
    if layout == "thd":
        return jnp.swapaxes(x, 0, 1)[None]
    return jnp.swapaxes(x, 1, 2) if layout == "bshd" else x


def _as_given(x, layout: str):
    if layout == "thd":
        return jnp.swapaxes(x[0], 0, 1)
    return jnp.swapaxes(x, 1, 2) if layout == "bshd" else x


def backward(grad_o, grad_lse, q, k, v, o, lse, options: Options):
    """Gradients of q, k and v in their layout and dtype."""
    dtypes, layout = (q.dtype, k.dtype, v.dtype), options.layout
    if q.size == 0 or k.size == 0 or v.size == 0:
        return tuple(jnp.zeros_like(x) for x in (q, k, v))
    grad_o, q, k, v, o = (_heads_first(x, layout).astype(jnp.float32) for x in (grad_o, q, k, v, o))
    lse = lse[None] if layout == "thd" else lse
    grad_lse = jnp.zeros_like(lse) if grad_lse is None else grad_lse.reshape(lse.shape)
    batch, heads, seqlen_q, head_dim = q.shape
    kv, seqlen_k = k.shape[1], k.shape[2]
    scale = options.softmax_scale if options.softmax_scale is not None else 1.0 / math.sqrt(head_dim)
    begin, end = _interval(options, seqlen_q, seqlen_k, batch)
    step = min(seqlen_q, max(16, _SCORES // (batch * heads * seqlen_k)))
    steps = -(-seqlen_q // step)

    def in_steps(x, axis: int):
        """Rows in groups of step: (steps, …, step, …); those that are added see no key."""
        wide = jnp.pad(x, [(0, steps * step - seqlen_q if d == axis else 0) for d in range(x.ndim)])
        return jnp.moveaxis(wide.reshape(*x.shape[:axis], steps, step, *x.shape[axis + 1 :]), axis, 0)

    def grouped(x):
        return x.reshape(x.shape[0], batch, kv, heads // kv, *x.shape[3:])

    delta = (grad_o * o).sum(-1) - grad_lse
    by_rows = [grouped(in_steps(x, 2)) for x in (q, grad_o, lse, delta)] + [in_steps(x, 1) for x in (begin, end)]
    columns = jnp.arange(seqlen_k, dtype=jnp.int32)

    def one(sums, part):
        grad_k, grad_v = sums
        q_rows, go, row_lse, row_delta, first, past = part
        scores = _product("bhgnd,bhkd->bhgnk", q_rows, k) * scale
        capped = jnp.tanh(scores / options.softcap) if options.softcap else None
        scores = scores if capped is None else options.softcap * capped
        seen = (columns >= first[..., None]) & (columns < past[..., None])
        weights = jnp.exp(jnp.where(seen[:, None, None], scores - row_lse[..., None], -jnp.inf))
        grad_s = weights * (_product("bhgnd,bhkd->bhgnk", go, v) - row_delta[..., None])
        if capped is not None:
            grad_s = grad_s * (1 - capped * capped)
        grad_k = grad_k + _product("bhgnk,bhgnd->bhkd", grad_s, q_rows) * scale
        grad_v = grad_v + _product("bhgnk,bhgnd->bhkd", weights, go)
        return (grad_k, grad_v), _product("bhgnk,bhkd->bhgnd", grad_s, k) * scale

    (grad_k, grad_v), grad_q = jax.lax.scan(one, (jnp.zeros_like(k), jnp.zeros_like(v)), by_rows)
    grad_q = jnp.moveaxis(grad_q, 0, 3).reshape(batch, heads, steps * step, head_dim)[:, :, :seqlen_q]
    return tuple(_as_given(x, layout).astype(dtype) for x, dtype in zip((grad_q, grad_k, grad_v), dtypes))
