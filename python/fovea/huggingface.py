# SPDX-License-Identifier: Apache-2.0
"""Fovea as an attention implementation of the transformers library.

    import fovea.huggingface

    fovea.huggingface.register()
    model = AutoModelForCausalLM.from_pretrained(…, attn_implementation="fovea")

Without padding, and with padding behind the tokens, attention runs in Fovea's kernels; every other mask (padding before
the tokens, static caches, position biases) is honoured too, exactly, by PyTorch operations.
"""

from __future__ import annotations

from typing import Any, Callable

import torch

import fovea
from fovea import _torch_plain
from fovea.errors import Unsupported, with_field


def register(name: str = "fovea") -> None:
    """Makes attn_implementation=name known to transformers (4.53 or newer)."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(name, attention_forward)
    AttentionMaskInterface.register(name, attention_mask)


def attention_mask(
    batch_size: int,
    q_length: int | None = None,
    kv_length: int | None = None,
    q_offset: int = 0,
    kv_offset: int = 0,
    mask_function: Callable[..., Any] | None = None,
    attention_mask: torch.Tensor | None = None,
    **kwargs: Any,  # of the caller's version of transformers
) -> torch.Tensor | None:
    """None where causal or no mask is all there is, (batch, 1) int32 lengths where keys are padded behind, else the
    boolean mask (batch, 1, q_length, kv_length) as for SDPA."""
    from transformers import masking_utils

    known: dict[str, Any] = {
        "batch_size": batch_size,
        "q_length": q_length,
        "kv_length": kv_length,
        "attention_mask": attention_mask,
    }
    offsets: dict[str, Any] = {"q_offset": q_offset, "kv_offset": kv_offset}
    if mask_function is not None:
        known["mask_function"] = mask_function
    mask = masking_utils.sdpa_mask(**known, **offsets, **kwargs)
    plain = (masking_utils.causal_mask_function, getattr(masking_utils, "bidirectional_mask_function", None))
    is_plain = mask_function is None or mask_function in plain
    same = q_length == kv_length and q_offset == 0 and kv_offset == 0
    if mask is None or attention_mask is None or not (is_plain and same) or attention_mask.shape[-1] != kv_length:
        return mask
    if attention_mask.dim() != 2 or torch.compiler.is_compiling():
        return mask
    padding = attention_mask.bool()
    lens = padding.sum(-1, dtype=torch.int32)
    behind = torch.arange(kv_length, device=padding.device) < lens[:, None]
    return lens[:, None] if torch.equal(padding, behind) else mask


def attention_forward(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    is_causal: bool | None = None,
    softcap: float | None = None,
    position_bias: torch.Tensor | None = None,
    s_aux: torch.Tensor | None = None,
    output_attentions: bool = False,
    **kwargs: Any,  # what models pass to every implementation: positions, caches, windows that the mask has already
) -> tuple[torch.Tensor, None]:
    """query (batch, num_heads, seqlen_q, head_dim), key and value with num_heads_kv; returns (o, None), o (batch,
    seqlen_q, num_heads, head_dim)."""
    if dropout and module.training:
        raise with_field(
            Unsupported('dropout is not implemented; train with attention dropout 0, or "sdpa"'), "dropout"
        )
    if s_aux is not None:
        raise with_field(Unsupported('attention sinks (s_aux) are not implemented; use "eager"'), "s_aux")
    if output_attentions:
        raise with_field(Unsupported('output_attentions needs the weights, which are never made; use "eager"'), "")
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    lengths = None
    if attention_mask is not None and attention_mask.dtype == torch.int32 and attention_mask.dim() == 2:
        lengths = attention_mask
    if position_bias is None and (attention_mask is None or lengths is not None):
        o = fovea.attention(
            query.transpose(1, 2),
            key.transpose(1, 2),
            value.transpose(1, 2),
            causal=bool(causal) and query.shape[2] > 1,
            alignment="top_left",
            seq_lens_k=None if lengths is None else lengths[:, 0].contiguous(),
            softmax_scale=scaling,
            softcap=softcap or 0.0,
        )
        return o, None
    mask = attention_mask
    if lengths is not None:
        keys = torch.arange(key.shape[2], device=key.device)
        mask = (keys < lengths)[:, None, None, :]
    if position_bias is not None:
        mask = position_bias if mask is None else _added(position_bias, mask)
    hides_future = bool(causal) and query.shape[2] > 1 and (attention_mask is None or lengths is not None)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    o = _torch_plain.masked_attention(query, key, value, mask, scale, causal=hides_future, softcap=softcap or 0.0)
    return o.transpose(1, 2).contiguous(), None


def _added(bias: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return bias.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else bias + mask
