# SPDX-License-Identifier: Apache-2.0
"""Attention's backward, and attention under an arbitrary mask, in plain PyTorch operations: some rows of queries at a
time, so that memory grows with seqlen and not with its square. Arithmetic is float32 (float64 for float64 inputs)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from fovea._options import Options

# Scores that are alive at once, over all heads and sequences: 16 MiB in float32, a handful of such tensors.
_SCORES = 1 << 22
_OPEN = 1 << 30


class Rule(NamedTuple):
    """A mask as intervals of keys, for one call: diagonal is the key position of query 0."""

    left: int
    right: int
    is_bottom_right: bool

    @staticmethod
    def of(options: Options) -> Rule:
        left, right = options.window or (None, None)
        right = 0 if options.causal else right
        return Rule(
            _OPEN if left is None else int(left),
            _OPEN if right is None else int(right),
            options.alignment == "bottom_right",
        )

    def is_open(self) -> bool:
        return self.left >= _OPEN and self.right >= _OPEN


def rows_per_step(batch_heads: int, seqlen_k: int) -> int:
    return max(16, min(4096, _SCORES // max(1, batch_heads * seqlen_k)))


def key_range(rule: Rule, first: int, past: int, seqlen_q: int, seqlen_k: int, has_lengths: bool) -> tuple[int, int]:
    """Keys that some row of [first, past) sees; all of them where lengths move the diagonal."""
    if has_lengths:
        return 0, seqlen_k
    diagonal = seqlen_k - seqlen_q if rule.is_bottom_right else 0
    begin = min(max(0, first + diagonal - rule.left), seqlen_k)
    return begin, max(begin, min(seqlen_k, past + diagonal + rule.right))


def visible(rule: Rule, rows: torch.Tensor, keys: torch.Tensor, lengths_q, lengths_k) -> torch.Tensor:
    """(batch or 1, rows, keys): which keys each row sees. lengths are numbers, or (batch, 1, 1) tensors."""
    rows, keys = rows[None, :, None], keys[None, None, :]
    position = rows + (lengths_k - lengths_q if rule.is_bottom_right else 0)
    return (rows < lengths_q) & (keys < lengths_k) & (keys >= position - rule.left) & (keys <= position + rule.right)


def grouped(x: torch.Tensor, num_heads_kv: int) -> torch.Tensor:
    """(batch, num_heads_q, seqlen, head_dim) -> (batch, num_heads_kv, group, seqlen, head_dim)."""
    b, h, s, d = x.shape
    return x.reshape(b, num_heads_kv, h // num_heads_kv if num_heads_kv else 0, s, d)


def wide(x: torch.Tensor) -> torch.Tensor:
    return x if x.dtype == torch.float64 else x.float()


def scores_of(
    q: torch.Tensor, k: torch.Tensor, scale: float, softcap: float
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Scores of (batch, kv, group, rows, d) with (batch, kv, keys, d), and tanh of what softcap capped."""
    b, kv, group, rows, d = q.shape
    scores = (q.reshape(b, kv, group * rows, d) @ k.transpose(-1, -2)).view(b, kv, group, rows, k.shape[2]) * scale
    if not softcap:
        return scores, None
    capped = torch.tanh(scores / softcap)
    return softcap * capped, capped


def backward_padded(grad_o, grad_lse, q, k, v, o, lse, options: Options, lengths_q=None, lengths_k=None):
    """Gradients of (batch, num_heads, seqlen, head_dim) tensors; lse and its gradient (batch, num_heads_q, rows)."""
    batch, _, seqlen_q, head_dim = q.shape
    kv, seqlen_k = k.shape[1], k.shape[2]
    scale = options.softmax_scale if options.softmax_scale is not None else 1.0 / math.sqrt(head_dim)
    rule, has_lengths = Rule.of(options), lengths_q is not None or lengths_k is not None
    length_q = seqlen_q if lengths_q is None else lengths_q.clamp(0, seqlen_q).view(-1, 1, 1)
    length_k = seqlen_k if lengths_k is None else lengths_k.clamp(0, seqlen_k).view(-1, 1, 1)
    key_wide, value_wide = wide(k), wide(v)
    grad_k, grad_v = torch.zeros_like(key_wide), torch.zeros_like(value_wide)
    grad_q = torch.zeros(q.shape, dtype=key_wide.dtype, device=q.device)
    step = rows_per_step(batch * q.shape[1], seqlen_k)
    for first in range(0, seqlen_q, step):
        past = min(first + step, seqlen_q)
        begin, end = key_range(rule, first, past, seqlen_q, seqlen_k, has_lengths)
        if begin == end:
            continue
        rows = slice(first, past)
        keys, values = key_wide[:, :, begin:end], value_wide[:, :, begin:end]
        q_rows, go = grouped(wide(q[:, :, rows]), kv), grouped(wide(grad_o[:, :, rows]), kv)
        scores, capped = scores_of(q_rows, keys, scale, options.softcap)
        row_lse = grouped(lse[:, :, rows, None].to(scores.dtype), kv)
        probabilities = torch.exp(scores - torch.where(torch.isneginf(row_lse), torch.inf, row_lse))
        if has_lengths or not rule.is_open():
            seen = visible(
                rule,
                torch.arange(first, past, device=q.device),
                torch.arange(begin, end, device=q.device),
                length_q,
                length_k,
            )
            probabilities = torch.where(seen[:, None, None], probabilities, 0.0)
        n, group = past - first, q_rows.shape[2]
        flat = (batch, kv, group * n, -1)
        delta = (go * grouped(wide(o[:, :, rows]), kv)).sum(-1, keepdim=True)
        if grad_lse is not None:
            delta = delta - grouped(grad_lse[:, :, rows, None].to(scores.dtype), kv)
        grad_p = (go.reshape(flat) @ values.transpose(-1, -2)).view(scores.shape)
        grad_s = probabilities * (grad_p - delta)
        if capped is not None:
            grad_s = grad_s * (1 - capped * capped)
        grad_v[:, :, begin:end] += probabilities.reshape(flat).transpose(-1, -2) @ go.reshape(flat)
        grad_q[:, :, rows] = ((grad_s.reshape(flat) @ keys) * scale).view(batch, kv * group, n, head_dim)
        grad_k[:, :, begin:end] += (grad_s.reshape(flat).transpose(-1, -2) @ q_rows.reshape(flat)) * scale
    return grad_q.to(q.dtype), grad_k.to(k.dtype), grad_v.to(v.dtype)


def _heads_first(x: torch.Tensor, layout: str) -> torch.Tensor:
    return x.transpose(1, 2) if layout == "bshd" else x


def backward(grad_o, grad_lse, q, k, v, o, lse, options: Options):
    """Gradients of q, k and v in their layout."""
    if options.layout != "thd":
        layout = options.layout
        grad, q, k, v, o = (_heads_first(x, layout) for x in (grad_o, q, k, v, o))
        found = backward_padded(grad, grad_lse, q, k, v, o, lse, options, options.seq_lens_q, options.seq_lens_k)
        return tuple(_heads_first(x, layout).contiguous() for x in found)
    grads = tuple(torch.zeros_like(x, memory_format=torch.contiguous_format) for x in (q, k, v))
    offsets_q, offsets_k = options.cu_seqlens_q.tolist(), options.cu_seqlens_k.tolist()
    lengths_q = None if options.seq_lens_q is None else options.seq_lens_q.tolist()
    lengths_k = None if options.seq_lens_k is None else options.seq_lens_k.tolist()
    for b in range(len(offsets_q) - 1):
        in_q, in_k = slice(offsets_q[b], offsets_q[b + 1]), slice(offsets_k[b], offsets_k[b + 1])
        if lengths_q is not None:
            in_q = slice(in_q.start, min(in_q.stop, in_q.start + max(0, lengths_q[b])))
        if lengths_k is not None:
            in_k = slice(in_k.start, min(in_k.stop, in_k.start + max(0, lengths_k[b])))

        def one(x, rows):
            return x[rows].transpose(0, 1)[None]

        found = backward_padded(
            one(grad_o, in_q),
            None if grad_lse is None else grad_lse[None, :, in_q],
            one(q, in_q),
            one(k, in_k),
            one(v, in_k),
            one(o, in_q),
            lse[None, :, in_q],
            options,
        )
        for grad, rows, part in zip(grads, (in_q, in_k, in_k), found):
            grad[rows] = part[0].transpose(0, 1)
    return grads


def masked_attention(q, k, v, mask, scale: float, *, causal: bool = False, softcap: float = 0.0, dropout: float = 0.0):
    """softmax(scale * q @ k.T + mask) @ v for (batch, num_heads, seqlen, head_dim) tensors.

    mask: None, or what broadcasts to (batch, num_heads_q, seqlen_q, seqlen_k), boolean (True is seen) or additive.
    causal: query i sees keys up to i besides. dropout: the share of weights that is set to 0, others grow.
    Differentiable any number of times; rows that see nothing give 0. Scores exist for some rows at a time (for all,
    where a graph for backward is made).
    """
    batch, heads, seqlen_q, _ = q.shape
    kv, seqlen_k = k.shape[1], k.shape[2]
    if mask is not None:
        mask = mask.expand(torch.broadcast_shapes(mask.shape, (1, 1, seqlen_q, seqlen_k)))
    keys, values = wide(k), wide(v)
    parts, step = [], rows_per_step(batch * heads, seqlen_k)
    for first in range(0, seqlen_q, step):
        past = min(first + step, seqlen_q)
        scores, _ = scores_of(grouped(wide(q[:, :, first:past]), kv), keys, scale, softcap)
        scores = scores.view(batch, heads, -1, seqlen_k)
        if mask is not None:
            part = mask[:, :, first:past]
            is_bool = part.dtype == torch.bool
            scores = scores.masked_fill(~part, -torch.inf) if is_bool else scores + part.to(scores.dtype)
        if causal:
            rows, columns = torch.arange(first, past, device=q.device), torch.arange(seqlen_k, device=q.device)
            scores = scores.masked_fill(columns > rows[:, None], -torch.inf)
        is_empty = torch.isneginf(scores).all(-1, keepdim=True)
        weights = torch.softmax(scores.masked_fill(is_empty, 0.0), -1).masked_fill(is_empty, 0.0)
        if dropout:
            weights = torch.dropout(weights, dropout, True)
        o = grouped(weights, kv).reshape(batch, kv, -1, seqlen_k) @ values
        parts.append(o.view(batch, heads, -1, v.shape[-1]).to(q.dtype))
    return torch.cat(parts, 2) if parts else q.new_zeros(batch, heads, 0, v.shape[-1])
