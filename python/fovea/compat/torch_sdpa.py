# SPDX-License-Identifier: Apache-2.0
"""torch.nn.functional.scaled_dot_product_attention, same arguments, same meaning. Calls without mask and dropout run in
Fovea's kernels; an explicit mask, dropout and float64 run exactly in PyTorch operations, some rows at a time."""

from __future__ import annotations

import math

import torch

import fovea
from fovea import _torch_plain
from fovea.compat._refuse import invalid

_IN_KERNELS = (torch.float32, torch.float16, torch.bfloat16)


def _as_four(x: torch.Tensor, leading: tuple[int, ...]) -> torch.Tensor:
    """(leading…, num_heads, seqlen, head_dim) as (batch, num_heads, seqlen, head_dim)."""
    x = x.expand(*leading, *x.shape[-3:]) if x.shape[:-3] != leading else x
    return x if x.dim() == 4 else x.reshape(-1, *x.shape[-3:])


def scaled_dot_product_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """softmax(scale * query @ key.T + mask) @ value.

    query (..., num_heads_q, L, E), key (..., num_heads, S, E), value (..., num_heads, S, Ev); without heads, (N, L, E)
    and so on. attn_mask: boolean (True takes part) or additive, broadcast to (..., num_heads_q, L, S). is_causal: query
    i sees keys up to i (top-left), and excludes attn_mask. dropout_p applies whenever it is not 0, as in PyTorch.
    enable_gqa: heads of key and value serve equal groups of heads of query. A row that sees nothing gives 0.
    """
    if attn_mask is not None and is_causal:
        raise invalid(
            "attn_mask", "attn_mask is given with is_causal=True; put the causal mask into attn_mask, or drop it"
        )
    for name, x in (("query", query), ("key", key), ("value", value)):
        if x.dim() < 2:
            raise invalid(name, f"{name} has {x.dim()} dimensions, must have at least 2: (..., seqlen, head_dim)")
    dims = query.dim()
    heads = 1 if dims < 3 else max(x.shape[-3] for x in (query, key, value) if x.dim() >= 3)
    query, key, value = (x.reshape((1,) * max(0, 3 - x.dim()) + tuple(x.shape)) for x in (query, key, value))
    if not enable_gqa:  # heads broadcast as any other dimension
        query, key, value = (
            x.expand(*x.shape[:-3], heads, *x.shape[-2:]) if x.shape[-3] == 1 and heads > 1 else x
            for x in (query, key, value)
        )
        if not query.shape[-3] == key.shape[-3] == value.shape[-3]:
            raise invalid(
                "key",
                f"query, key and value have {query.shape[-3]}, {key.shape[-3]} and {value.shape[-3]} heads; set "
                "enable_gqa=True if heads of key and value are shared",
            )
    leading = tuple(torch.broadcast_shapes(query.shape[:-3], key.shape[:-3], value.shape[:-3]))
    q, k, v = (_as_four(x, leading) for x in (query, key, value))
    scale = 1.0 / math.sqrt(query.shape[-1]) if scale is None else scale
    if attn_mask is None and not dropout_p and q.dtype in _IN_KERNELS:
        q, k, v = (x if x.stride(-1) == 1 or x.shape[-1] <= 1 else x.contiguous() for x in (q, k, v))
        o = fovea.attention(q, k, v, causal=is_causal, alignment="top_left", softmax_scale=scale, layout="bhsd")
    else:
        mask = attn_mask
        if mask is not None:
            wanted = (*leading, q.shape[1], q.shape[2], k.shape[2])
            mask = mask.reshape((1,) * max(0, len(wanted) - mask.dim()) + tuple(mask.shape))
            mask = _as_four(mask, leading) if len(wanted) != 4 else mask
        o = _torch_plain.masked_attention(q, k, v, mask, scale, causal=is_causal, dropout=dropout_p)
    o = o.reshape(*leading, *o.shape[1:])
    return o if dims >= 3 else o.reshape(o.shape[-2:])
