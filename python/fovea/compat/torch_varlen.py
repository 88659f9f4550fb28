# SPDX-License-Identifier: Apache-2.0
"""torch.nn.attention.varlen.varlen_attn, same arguments, same meaning: sequences packed one after the other. It also
runs on CPUs, in float32, and with PyTorch versions that do not have it yet."""

from __future__ import annotations

from typing import Any

import torch

import fovea
from fovea.compat._refuse import invalid, unsupported


def varlen_attn(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cu_seq_q: torch.Tensor,
    cu_seq_k: torch.Tensor | None,
    max_q: int,
    max_k: int,
    *,
    return_aux: Any = None,
    scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
    enable_gqa: bool = False,
    seqused_k: torch.Tensor | None = None,
    block_table: torch.Tensor | None = None,
    num_splits: int | None = None,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """query (total_q, num_heads_q, head_dim), key and value (total_k, num_heads, head_dim); cu_seq_q and cu_seq_k
    (batch + 1,) int32, where each sequence begins; max_q and max_k bounds on the longest.

    window_size: (left, right), -1 is open; (-1, 0) is causal, aligned bottom-right. seqused_k (batch,) int32: only so
    many keys of each sequence count. return_aux: with .lse, also lse (num_heads_q, total_q). num_splits changes no
    result: the same sequence gives the same bits whenever the plan is the same.
    Raises NotImplementedError for block_table, ValueError and TypeError as fovea.attention.
    """
    if block_table is not None:
        raise unsupported("block_table", "block_table is not implemented: no kernel reads paged keys and values yet")
    if cu_seq_k is None:
        raise invalid("cu_seq_k", "cu_seq_k is None, must be given: (batch + 1,) int32")
    if not enable_gqa and query.dim() == key.dim() == 3 and query.shape[1] != key.shape[1]:
        raise invalid(
            "key",
            f"query has {query.shape[1]} heads and key {key.shape[1]}; set enable_gqa=True if heads of key and value "
            "are shared",
        )
    left, right = (None if size < 0 else size for size in window_size)
    o, lse = fovea.attention(
        query,
        key,
        value,
        layout="thd",
        cu_seqlens_q=cu_seq_q,
        cu_seqlens_k=cu_seq_k,
        max_seqlen_q=int(max_q),
        max_seqlen_k=int(max_k),
        window=(left, right),
        softmax_scale=scale,
        seq_lens_k=seqused_k,
        return_lse=True,
    )
    return (o, lse) if return_aux is not None and return_aux.lse else o
