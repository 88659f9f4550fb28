# SPDX-License-Identifier: Apache-2.0
"""Matrix products of PyTorch tensors that need PyTorch's own machinery, and the operator fovea::matmul."""

from __future__ import annotations

import torch

from fovea import _core, _torch
from fovea._matmul import default_out_dtype, dtype_name, output_shape
from fovea._options import MatmulConfig, MatmulOptions
from fovea.errors import InvalidArgument, Unsupported, with_field

_E4M3 = torch.float8_e4m3fn
_library = torch.library.Library("fovea", "FRAGMENT")
_library.define(
    "matmul(Tensor a, Tensor b, Tensor? c, Tensor? bias, Tensor? a_scale, Tensor? b_scale, float alpha, float? beta, "
    "str? activation, str math, str config, ScalarType out_dtype) -> Tensor"
)


def matmul(a, b, c, bias, a_scale, b_scale, options: MatmulOptions, out, out_dtype, stream):
    a, b = _torch._cast_for_autocast((a, b))
    dtype = getattr(torch, dtype_name(default_out_dtype(a.dtype) if out_dtype is None else out_dtype))
    needs_gradients = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in (a, b, c, bias))
    if out is not None or stream is not None:
        if needs_gradients:
            raise with_field(InvalidArgument("out and stream are for calls without gradients; leave them out"), "out")
        return _into((a, b, c, bias, a_scale, b_scale), options, out, dtype, stream)
    if needs_gradients and (a.dtype == _E4M3 or a_scale is not None or b_scale is not None):
        raise with_field(Unsupported("gradients of float8_e4m3fn products are not implemented; detach a and b"), "a")
    if needs_gradients and options.activation not in (None, "none"):
        raise with_field(
            Unsupported("gradients with an activation are not implemented; apply it to the result"), "activation"
        )
    given = [x for x in (a, b, c, bias, a_scale, b_scale) if x is not None]
    if torch.compiler.is_compiling() or _torch._is_traced(*given):
        return torch.ops.fovea.matmul(a, b, c, bias, a_scale, b_scale, *options[:4], _packed(options.config), dtype)
    if needs_gradients:
        return _Matmul.apply(a, b, c, bias, options, dtype)
    return _into((a, b, c, bias, a_scale, b_scale), options, None, dtype, None)


def _packed(config: MatmulConfig | None) -> str:
    return "" if config is None else ",".join("" if part is None else str(part) for part in config)


def _unpacked(config: str) -> MatmulConfig | None:
    if not config:
        return None
    *sizes, persistent, kernel = config.split(",")
    numbers = dict(zip(MatmulConfig._fields, map(int, sizes)))
    return MatmulConfig(**numbers, persistent=None if not persistent else persistent == "True", kernel=kernel)


def _into(given, options: MatmulOptions, out, dtype, stream):
    """given: a, b, c, bias, a_scale, b_scale."""
    a, b = given[:2]
    names = ("a", "b", "c", "bias", "a_scale", "b_scale")
    arrays = [None if x is None else _torch.native(name, x, []) for name, x in zip(names, given)]
    _torch.refuse_forked()
    if out is None and a.dim() >= 2 and b.dim() >= 2:
        out = torch.empty(output_shape(a, b), dtype=dtype, device=a.device)
    target = None if out is None else _torch.native("out", out, [])
    queue = _torch.current_stream(a) if stream is None else stream
    _core.matmul_plain(*arrays[:4], *options, *arrays[4:], target, queue)
    return out


def _summed_to(x: torch.Tensor, shape) -> torch.Tensor:
    """x summed over the dimensions along which a tensor of this shape was shared."""
    return x if x.shape == shape else x.sum_to_size(shape)


def _gradients(grad, a, b, c, bias, needed, alpha: float, beta: float | None):
    """Of a, b, c and bias: products by matmul itself, differentiable again."""
    from fovea._matmul import matmul as product

    moved = grad.to(a.dtype)
    grad_a = _summed_to(product(moved, b.mT, alpha=alpha), a.shape) if needed[0] else None
    grad_b = _summed_to(product(a.mT, moved, alpha=alpha), b.shape) if needed[1] else None
    factor = 1.0 if beta is None else beta
    grad_c = _summed_to(grad.float() * factor, c.shape).to(c.dtype) if c is not None and needed[2] else None
    grad_bias = grad.float().sum_to_size(bias.shape).to(bias.dtype) if bias is not None and needed[3] else None
    return grad_a, grad_b, grad_c, grad_bias


class _Matmul(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, b, c, bias, options: MatmulOptions, dtype):
        ctx.save_for_backward(a, b, c, bias)
        ctx.options = options
        return _into((a, b, c, bias, None, None), options, None, dtype, None)

    @staticmethod
    def backward(ctx, grad):
        options = ctx.options
        a, b, c, bias = ctx.saved_tensors
        return (*_gradients(grad, a, b, c, bias, ctx.needs_input_grad, options.alpha, options.beta), None, None)


def _real(a, b, c, bias, a_scale, b_scale, alpha, beta, activation, math, config, dtype):
    options = MatmulOptions(alpha, beta, activation, math, _unpacked(config))
    return _into((a, b, c, bias, a_scale, b_scale), options, None, dtype, None)


def _fake(a, b, c, bias, a_scale, b_scale, alpha, beta, activation, math, config, dtype):
    return a.new_empty(output_shape(a, b), dtype=dtype)


def _setup_context(ctx, inputs, output) -> None:
    a, b, c, bias, _, _, ctx.alpha, ctx.beta, *_ = inputs
    ctx.save_for_backward(a, b, c, bias)


def _operator_gradients(ctx, grad):
    a, b, c, bias = ctx.saved_tensors
    return (*_gradients(grad, a, b, c, bias, ctx.needs_input_grad, ctx.alpha, ctx.beta), *(None,) * 8)


_library.impl("matmul", _real, "CPU")
_library.impl("matmul", _real, "CUDA")
torch.library.register_fake("fovea::matmul", _fake, lib=_library)
torch.library.register_autograd("fovea::matmul", _operator_gradients, setup_context=_setup_context, lib=_library)
