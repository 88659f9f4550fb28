# SPDX-License-Identifier: Apache-2.0
"""The PyTorch operators fovea::attention_forward and fovea::attention_backward, with fake kernels and gradients:
torch.compile, torch.export and autograd see these."""

from __future__ import annotations

import torch

from fovea import _torch, _torch_plain
from fovea._options import AttentionConfig, Options
from fovea._torch import empty_outputs

_OPTIONS = (
    "Tensor? seq_lens_q, Tensor? seq_lens_k, Tensor? cu_seqlens_q, Tensor? cu_seqlens_k, SymInt? max_seqlen_q, "
    "SymInt? max_seqlen_k, bool causal, SymInt? window_left, SymInt? window_right, float? softmax_scale, "
    "float softcap, str layout, str alignment, str math, str config"
)
_NUM_OPTIONS = _OPTIONS.count(",") + 1

_library = torch.library.Library("fovea", "DEF")
_library.define(f"attention_forward(Tensor q, Tensor k, Tensor v, {_OPTIONS}) -> (Tensor o, Tensor lse)")
_library.define(
    "attention_backward(Tensor grad_o, Tensor? grad_lse, Tensor q, Tensor k, Tensor v, Tensor o, Tensor lse, "
    f"{_OPTIONS}) -> (Tensor grad_q, Tensor grad_k, Tensor grad_v)"
)


def pack(o: Options) -> tuple:
    """Options as the operators take them."""
    left, right = o.window if o.window is not None else (None, None)
    config = (
        ""
        if o.config is None
        else ",".join(
            str(part) for part in (o.config.block_q, o.config.block_k, o.config.stages, o.config.warps, o.config.kernel)
        )
    )
    return (
        o.seq_lens_q,
        o.seq_lens_k,
        o.cu_seqlens_q,
        o.cu_seqlens_k,
        o.max_seqlen_q,
        o.max_seqlen_k,
        o.causal,
        left,
        right,
        o.softmax_scale,
        o.softcap,
        o.layout,
        o.alignment,
        o.math,
        config,
    )


def _config(text: str) -> AttentionConfig | None:
    if not text:
        return None
    block_q, block_k, stages, warps, kernel = text.split(",")
    return AttentionConfig(int(block_q), int(block_k), int(stages), int(warps), kernel)


def unpack(packed: tuple) -> Options:
    (
        seq_lens_q,
        seq_lens_k,
        cu_seqlens_q,
        cu_seqlens_k,
        max_seqlen_q,
        max_seqlen_k,
        causal,
        left,
        right,
        scale,
        softcap,
        layout,
        alignment,
        math,
        config,
    ) = packed
    return Options(
        causal,
        None if left is None and right is None else (left, right),
        scale,
        softcap,
        seq_lens_q,
        seq_lens_k,
        cu_seqlens_q,
        cu_seqlens_k,
        max_seqlen_q,
        max_seqlen_k,
        layout,
        alignment,
        math,
        _config(config),
    )


def _forward(q, k, v, *packed):
    return _torch.forward(q, k, v, unpack(packed))


def _forward_fake(q, k, v, *packed):
    return empty_outputs(q, v, packed[-4])


def _backward(grad_o, grad_lse, q, k, v, o, lse, *packed):
    return _torch_plain.backward(grad_o, grad_lse, q, k, v, o, lse, unpack(packed))


def _backward_fake(grad_o, grad_lse, q, k, v, o, lse, *packed):
    return tuple(torch.empty_like(x, memory_format=torch.contiguous_format) for x in (q, k, v))


def _setup_context(ctx, inputs, output) -> None:
    q, k, v, *packed = inputs
    ctx.save_for_backward(q, k, v, *output, *packed[:4])
    ctx.packed = packed[4:]


def _gradients(ctx, grad_o, grad_lse):
    q, k, v, o, lse, *vectors = ctx.saved_tensors
    if grad_o is None:
        grad_o = torch.zeros_like(o)
    grads = torch.ops.fovea.attention_backward(grad_o, grad_lse, q, k, v, o, lse, *vectors, *ctx.packed)
    return (*grads, *(None,) * _NUM_OPTIONS)


def _no_second_gradients(ctx, *grads):
    raise NotImplementedError(
        "gradients of attention's gradients are not implemented; "
        "fovea.compat.torch_sdpa with an explicit attn_mask is differentiable any number of times"
    )


for _name, _real, _fake in (
    ("attention_forward", _forward, _forward_fake),
    ("attention_backward", _backward, _backward_fake),
):
    _library.impl(_name, _real, "CPU")
    _library.impl(_name, _real, "CUDA")
    torch.library.register_fake(f"fovea::{_name}", _fake, lib=_library)
torch.library.register_autograd("fovea::attention_forward", _gradients, setup_context=_setup_context, lib=_library)
torch.library.register_autograd("fovea::attention_backward", _no_second_gradients, lib=_library)


def attention(q, k, v, options: Options) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.ops.fovea.attention_forward(q, k, v, *pack(options))
