# SPDX-License-Identifier: Apache-2.0
"""The functions of the package flash_attn, version 2: same names, argument order and defaults.

Tensors are (batch, seqlen, num_heads, head_dim); causal is aligned bottom-right; a window of -1 is open. Beside float16
and bfloat16, float32 is taken, and CPUs compute as GPUs do. `deterministic` and `num_splits` are hints that change no
result here: forward always gives the same bits, and backward is made of deterministic products.
"""

from __future__ import annotations

from typing import Any, Sequence

import torch

import fovea
from fovea.compat._refuse import invalid, require_default, unsupported


def _window(window_size: Sequence[int | None]) -> tuple[int | None, int | None] | None:
    left, right = (None if size is None or size < 0 else size for size in window_size)
    return None if left is None and right is None else (left, right)


def _refuse(dropout_p: float, alibi_slopes: torch.Tensor | None) -> None:
    require_default(
        dropout_p=(dropout_p, 0.0, "attention computes without dropout; pass 0.0"),
        alibi_slopes=(alibi_slopes, None, "no kernel adds ALiBi; fovea.compat.torch_sdpa takes the bias as attn_mask"),
    )


def _readable(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """As flash_attn does: a tensor whose last dimension is not contiguous is copied."""
    return tuple(x if x.stride(-1) == 1 or x.shape[-1] <= 1 else x.contiguous() for x in tensors)


def _returned(o: torch.Tensor, lse: torch.Tensor, return_attn_probs: bool) -> Any:
    # The third of flash_attn's results is for tests with dropout; without dropout there is nothing in it.
    return (o, lse, None) if return_attn_probs else o


def flash_attn_func(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: Sequence[int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: torch.Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
) -> Any:
    """o (batch, seqlen_q, num_heads, head_dim); with return_attn_probs (o, lse, None)."""
    _refuse(dropout_p, alibi_slopes)
    o, lse = fovea.attention(
        *_readable(q, k, v),
        causal=causal,
        window=_window(window_size),
        softmax_scale=softmax_scale,
        softcap=softcap,
        return_lse=True,
    )
    return _returned(o, lse, return_attn_probs)


def flash_attn_qkvpacked_func(
    qkv: torch.Tensor,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: Sequence[int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: torch.Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
) -> Any:
    """qkv (batch, seqlen, 3, num_heads, head_dim), read where it lies."""
    q, k, v = qkv.unbind(2)
    return flash_attn_func(
        q, k, v, dropout_p, softmax_scale, causal, window_size, softcap, alibi_slopes, deterministic, return_attn_probs
    )


def flash_attn_kvpacked_func(
    q: torch.Tensor,
    kv: torch.Tensor,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: Sequence[int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: torch.Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
) -> Any:
    """kv (batch, seqlen, 2, num_heads_kv, head_dim), read where it lies."""
    k, v = kv.unbind(2)
    return flash_attn_func(
        q, k, v, dropout_p, softmax_scale, causal, window_size, softcap, alibi_slopes, deterministic, return_attn_probs
    )


def flash_attn_varlen_func(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    cu_seqlens_q: torch.Tensor,
    cu_seqlens_k: torch.Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: Sequence[int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: torch.Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
    block_table: torch.Tensor | None = None,
) -> Any:
    """q (total_q, num_heads, head_dim), k and v (total_k, num_heads_kv, head_dim), cu_seqlens (batch + 1,) int32."""
    _refuse(dropout_p, alibi_slopes)
    if block_table is not None:
        raise unsupported("block_table", "block_table is not implemented: no kernel reads paged keys and values yet")
    o, lse = fovea.attention(
        *_readable(q, k, v),
        layout="thd",
        cu_seqlens_q=cu_seqlens_q,
        cu_seqlens_k=cu_seqlens_k,
        max_seqlen_q=int(max_seqlen_q),
        max_seqlen_k=int(max_seqlen_k),
        causal=causal,
        window=_window(window_size),
        softmax_scale=softmax_scale,
        softcap=softcap,
        return_lse=True,
    )
    return _returned(o, lse, return_attn_probs)


def flash_attn_varlen_qkvpacked_func(
    qkv: torch.Tensor,
    cu_seqlens: torch.Tensor,
    max_seqlen: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: Sequence[int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: torch.Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
) -> Any:
    """qkv (total, 3, num_heads, head_dim)."""
    q, k, v = qkv.unbind(1)
    return flash_attn_varlen_func(
        q,
        k,
        v,
        cu_seqlens,
        cu_seqlens,
        max_seqlen,
        max_seqlen,
        dropout_p,
        softmax_scale,
        causal,
        window_size,
        softcap,
        alibi_slopes,
        deterministic,
        return_attn_probs,
    )


def flash_attn_varlen_kvpacked_func(
    q: torch.Tensor,
    kv: torch.Tensor,
    cu_seqlens_q: torch.Tensor,
    cu_seqlens_k: torch.Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: Sequence[int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: torch.Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
) -> Any:
    """kv (total_k, 2, num_heads_kv, head_dim)."""
    k, v = kv.unbind(1)
    return flash_attn_varlen_func(
        q,
        k,
        v,
        cu_seqlens_q,
        cu_seqlens_k,
        max_seqlen_q,
        max_seqlen_k,
        dropout_p,
        softmax_scale,
        causal,
        window_size,
        softcap,
        alibi_slopes,
        deterministic,
        return_attn_probs,
    )


def _rotated(
    x: torch.Tensor, positions: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, interleaved: bool
) -> torch.Tensor:
    """Rotary embedding of x (batch, seqlen, num_heads, head_dim) at positions (batch, seqlen); cos and sin (positions,
    rotary_dim / 2). Pairs are neighbours if interleaved, else the halves of the first rotary_dim elements."""
    half = cos.shape[-1]
    c, s = cos[positions].unsqueeze(2).float(), sin[positions].unsqueeze(2).float()
    turned, rest = x[..., : 2 * half].float(), x[..., 2 * half :]
    a, b = (turned[..., 0::2], turned[..., 1::2]) if interleaved else (turned[..., :half], turned[..., half:])
    a, b = a * c - b * s, a * s + b * c
    turned = torch.stack((a, b), -1).flatten(-2) if interleaved else torch.cat((a, b), -1)
    return torch.cat((turned.to(x.dtype), rest), -1)


def flash_attn_with_kvcache(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    k: torch.Tensor | None = None,
    v: torch.Tensor | None = None,
    rotary_cos: torch.Tensor | None = None,
    rotary_sin: torch.Tensor | None = None,
    cache_seqlens: int | torch.Tensor | None = None,
    cache_batch_idx: torch.Tensor | None = None,
    cache_leftpad: torch.Tensor | None = None,
    block_table: torch.Tensor | None = None,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: Sequence[int] = (-1, -1),
    softcap: float = 0.0,
    rotary_interleaved: bool = True,
    alibi_slopes: torch.Tensor | None = None,
    num_splits: int = 0,
    return_softmax_lse: bool = False,
) -> Any:
    """Attention of q (batch, seqlen_q, num_heads, head_dim) over the first cache_seqlens keys of k_cache, v_cache
    (batch_cache, seqlen_cache, num_heads_kv, head_dim), after k and v (batch, seqlen_new, …), if given, were written
    into the caches there, rotated if rotary_cos and rotary_sin are given. cache_seqlens: a number or (batch,) int32.
    With cache_batch_idx (batch,), sequence b uses that row of the caches; its rows are gathered, a copy.
    """
    _refuse(0.0, alibi_slopes)
    require_default(
        cache_leftpad=(cache_leftpad, None, "no kernel skips the first keys of a sequence yet"),
        block_table=(block_table, None, "no kernel reads paged keys and values yet"),
    )
    if (k is None) != (v is None):
        raise invalid("v", "k and v must be given together")
    if (rotary_cos is None) != (rotary_sin is None):
        raise invalid("rotary_sin", "rotary_cos and rotary_sin must be given together")
    batch, seqlen_q = q.shape[:2]
    if cache_seqlens is None:
        lens = torch.full((batch,), k_cache.shape[1] if k is None else 0, dtype=torch.int32, device=q.device)
    elif isinstance(cache_seqlens, int):
        lens = torch.full((batch,), cache_seqlens, dtype=torch.int32, device=q.device)
    else:
        lens = cache_seqlens.to(torch.int32)
    if rotary_cos is not None and rotary_sin is not None:
        if k is None:
            raise invalid("rotary_cos", "rotary_cos needs k and v: what is in the cache is rotated already")
        steps = torch.arange(seqlen_q, device=q.device)
        is_local = causal or any(size is not None and size >= 0 for size in window_size)
        at = lens[:, None].long() + (steps if is_local else torch.zeros_like(steps))
        q = _rotated(q, at, rotary_cos, rotary_sin, rotary_interleaved)
    if k is not None and v is not None:
        at = lens[:, None].long() + torch.arange(k.shape[1], device=q.device)
        if rotary_cos is not None and rotary_sin is not None:
            k = _rotated(k, at, rotary_cos, rotary_sin, rotary_interleaved)
        row = torch.arange(batch, device=q.device) if cache_batch_idx is None else cache_batch_idx.long()
        k_cache[row[:, None], at] = k.to(k_cache.dtype)
        v_cache[row[:, None], at] = v.to(v_cache.dtype)
        lens = lens + k.shape[1]
    if cache_batch_idx is not None:
        k_cache, v_cache = k_cache[cache_batch_idx.long()], v_cache[cache_batch_idx.long()]
    o, lse = fovea.attention(
        *_readable(q, k_cache, v_cache),
        seq_lens_k=lens,
        causal=causal,
        window=_window(window_size),
        softmax_scale=softmax_scale,
        softcap=softcap,
        return_lse=True,
    )
    return (o, lse) if return_softmax_lse else o
