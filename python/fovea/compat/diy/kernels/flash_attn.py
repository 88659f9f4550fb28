# SPDX-License-Identifier: Apache-2.0
"""flash_attention (V1, heads before tokens), flash_attention_v2 (tokens before heads), reference_attention."""

from __future__ import annotations

import math
from typing import Iterable, Sequence

import torch

import fovea
from fovea.compat._refuse import invalid, wrong_type

_HEAD_DIMS = (32, 64)
_DTYPES = (torch.float16, torch.float32, torch.bfloat16)


def _check(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, ranks: tuple[int, ...], text: str) -> None:
    for name, x in (("q", q), ("k", k), ("v", v)):
        if not isinstance(x, torch.Tensor):
            raise wrong_type(name, f"{name} is a {type(x).__name__}, must be a torch.Tensor")
        if x.dim() not in ranks:
            raise invalid(name, f"Expected {text}, got {x.dim()}D for {name}; use .reshape()")
        if x.dtype not in _DTYPES:
            raise wrong_type(name, f"Unsupported dtype {x.dtype} of {name}; use float16, bfloat16 or float32")
        if x.device != q.device:
            where = f"q is on {q.device}, {name} on {x.device}"
            raise invalid(name, f"Q, K and V must be on the same device: {where}; move one")
    if not q.dim() == k.dim() == v.dim():
        ranks_given = f"{q.dim()}D, {k.dim()}D and {v.dim()}D"
        raise invalid("k", f"Q, K, V must have the same rank, got {ranks_given}; use .reshape()")
    if not q.shape == k.shape == v.shape:
        shapes = f"Q={tuple(q.shape)}, K={tuple(k.shape)}, V={tuple(v.shape)}"
        raise invalid("k", f"Q, K, V shapes must match, got {shapes}; fovea.attention takes other lengths and heads")
    if not q.dtype == k.dtype == v.dtype:
        raise wrong_type("k", f"Q, K, V dtypes must match, got {q.dtype}, {k.dtype}, {v.dtype}; convert them")
    if q.shape[-1] not in _HEAD_DIMS:
        raise invalid("q", f"Unsupported head_dim {q.shape[-1]}; use 32 or 64, or fovea.attention, which takes any")
    if 0 in q.shape:
        raise invalid("q", f"q has shape {tuple(q.shape)}, sizes must be positive")


def _lengths(
    seq_lens: torch.Tensor | Sequence[int] | None, batch: int, seqlen: int, device: torch.device
) -> torch.Tensor | None:
    if seq_lens is None:
        return None
    lens = torch.as_tensor(seq_lens)
    if lens.dim() != 1:
        raise invalid("seq_lens", f"seq_lens must be a 1D tensor or list, got {lens.dim()}D; use .flatten()")
    if lens.shape[0] != batch:
        raise invalid("seq_lens", f"seq_lens length must match batch size, got {len(lens)} and {batch}; give each its own")
    if lens.is_floating_point():
        raise wrong_type("seq_lens", f"seq_lens has dtype {lens.dtype}, must hold integers; use .int()")
    if lens.device.type == "cpu":  # on a GPU looking would mean waiting for it; longer ones count as seq_len there
        if int(lens.min()) < 0 or int(lens.max()) > seqlen:
            raise invalid("seq_lens", f"seq_lens must be from 0 to seq_len ({seqlen}), got {lens.tolist()}")
    return lens.to(device=device, dtype=torch.int32)


def _compute(
    arrays: Iterable[torch.Tensor], causal: bool, scale: float | None, lens: torch.Tensor | None, layout: str
) -> torch.Tensor:
    q, k, v = (x if x.stride(-1) == 1 else x.contiguous() for x in arrays)
    return fovea.attention(q, k, v, causal=causal, softmax_scale=scale, seq_lens=lens, layout=layout)


def flash_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    causal: bool = False,
    sm_scale: float | None = None,
    seq_lens: torch.Tensor | Sequence[int] | None = None,
) -> torch.Tensor:
    """softmax(q @ k.T * sm_scale) @ v for (batch, heads, seq_len, head_dim) or (batch * heads, seq_len, head_dim).

    Computed in float16, returned in the inputs' dtype. head_dim 32 or 64. sm_scale: default 1 / sqrt(head_dim).
    causal: position i sees positions up to i. seq_lens (batch,): what lies beyond a sample's length is neither seen nor
    computed; those rows are 0. Raises ValueError (shapes, devices, lengths), TypeError (dtypes).
    """
    _check(q, k, v, (3, 4), "3D or 4D tensors")
    if q.dim() == 3 and seq_lens is not None and len(seq_lens) != 1:
        raise invalid("seq_lens", "seq_lens for 3D inputs must have length 1: it counts for all of batch * heads")
    shape = q.shape
    if q.dim() == 3:
        q, k, v = (x.unsqueeze(0) for x in (q, k, v))
    lens = _lengths(seq_lens, q.shape[0], q.shape[2], q.device)
    half = (x.to(torch.float16) for x in (q, k, v))
    return _compute(half, causal, sm_scale, lens, "bhsd").to(q.dtype).reshape(shape)


def flash_attention_v2(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    causal: bool = False,
    sm_scale: float | None = None,
    seq_lens: torch.Tensor | Sequence[int] | None = None,
) -> torch.Tensor:
    """The same for (batch, seq_len, heads, head_dim), computed in the inputs' dtype."""
    _check(q, k, v, (4,), "4D tensor (batch, seq_len, heads, head_dim)")
    return _compute((q, k, v), causal, sm_scale, _lengths(seq_lens, q.shape[0], q.shape[1], q.device), "bshd")


setattr(flash_attention, "layout", "bhsd")  # what validation and benchmarks go by
setattr(flash_attention_v2, "layout", "bshd")


def reference_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool = False) -> torch.Tensor:
    """Attention as the textbook has it, in float32 at least, for validation: (…, seq_len, head_dim), with the matrix of
    scores. Returned in q's dtype."""
    wide = torch.float64 if q.dtype == torch.float64 else torch.float32
    scores = q.to(wide) @ k.to(wide).transpose(-1, -2) / math.sqrt(q.shape[-1])
    if causal:
        rows, columns = scores.shape[-2:]
        hidden = torch.ones(rows, columns, dtype=torch.bool, device=q.device).triu(1)
        scores = scores.masked_fill(hidden, -torch.inf)
    return (torch.softmax(scores, -1) @ v.to(wide)).to(q.dtype)
