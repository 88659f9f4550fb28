# SPDX-License-Identifier: Apache-2.0
"""PyTorch tensors that need PyTorch's own machinery: gradients, autocast, compilation, subclasses."""

from __future__ import annotations

import torch

from fovea import _core
from fovea._frameworks import lengths, lse_shape
from fovea._options import Options
from fovea.errors import InvalidArgument, InvalidType, Unsupported, with_field

_HAS_TABLE = hasattr(torch.Tensor, "__dlpack_c_exchange_api__")  # PyTorch 2.10
_TAKEN = (torch.float32, torch.float16, torch.bfloat16)


def native(name: str, array, copies: list):
    """A tensor that the compiled module reads: plain, or described by a View where PyTorch is too old for its table."""
    if not isinstance(array, torch.Tensor):
        raise with_field(InvalidType(f"{name} is a {type(array).__name__}, must be a torch.Tensor"), name)
    if array.dtype not in (*_TAKEN, torch.int32, torch.float8_e4m3fn):
        raise with_field(
            InvalidType(
                f"{name} has dtype {array.dtype}; arrays are float32, float16 or bfloat16 (of matrix "
                "products also float8_e4m3fn), lengths and offsets int32; convert it"
            ),
            name,
        )
    if _HAS_TABLE:
        return array.detach() if type(array) is not torch.Tensor or array.requires_grad else array
    return _core.View.make(
        array.data_ptr(),
        str(array.dtype).rpartition(".")[2],
        array.device.type,
        array.device.index or 0,
        list(array.shape),
        list(array.stride()),
        array,
    )


def native_lengths(name: str, given, q):
    return native(name, _lengths(name, given, q), [])


def _lengths(name: str, given, q) -> torch.Tensor:
    given = lengths(name, given, lambda values: torch.tensor(values, dtype=torch.int32, device=q.device))
    if isinstance(given, torch.Tensor):
        return given
    raise with_field(
        InvalidType(f"{name} is a {type(given).__name__}, must be a torch.Tensor on {q.device}, or a list"), name
    )


def to_numpy(name: str, array):
    array = array.detach().cpu()
    if array.dtype == torch.bfloat16:
        import ml_dtypes

        return array.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    if array.dtype == torch.float8_e4m3fn:
        import ml_dtypes

        return array.view(torch.uint8).numpy().view(ml_dtypes.float8_e4m3fn)
    return array.numpy()


def from_float64(array):
    return torch.from_numpy(array)


def _cast_for_autocast(tensors):
    """Autocast's rule for matrix products: floating tensors take the dtype of the autocast region."""
    kind = tensors[0].device.type
    if not torch.is_autocast_enabled(kind):
        return tensors
    dtype = torch.get_autocast_dtype(kind)
    return tuple(x.to(dtype) if x.dtype in _TAKEN else x for x in tensors)


def refuse_forked() -> None:
    """Raises in a child that was forked after CUDA was initialised, where PyTorch's errors tell nothing of it."""
    if hasattr(torch._C, "_cuda_isInBadFork") and torch._C._cuda_isInBadFork():
        raise Unsupported(
            "this process was forked after CUDA was initialised, and CUDA does not work in such a child: start workers "
            'by spawn (multiprocessing.get_context("spawn")), or fork before the first use of a GPU'
        )


def empty_output(q, v) -> torch.Tensor:
    """o, as q lies in memory."""
    is_spread = q.stride(-1) == 1 and all(n <= 1 or s >= q.shape[-1] for n, s in zip(q.shape[:-1], q.stride()[:-1]))
    if is_spread and v.shape[-1] == q.shape[-1]:
        return torch.empty_like(q)
    # As in the compiled module: an expanded q gives an order of strides that o cannot have.
    return q.new_empty((*q.shape[:-1], v.shape[-1]))


def empty_lse(q, layout: str) -> torch.Tensor:
    return q.new_empty(lse_shape(q.shape, layout), dtype=torch.float32)


def empty_outputs(q, v, layout: str):
    return empty_output(q, v), empty_lse(q, layout)


def _check(q, k, v) -> None:
    for name, x in (("q", q), ("k", k), ("v", v)):
        if x.dtype not in _TAKEN:
            raise with_field(
                InvalidType(f"{name} has dtype {x.dtype}; attention takes float32, float16 and bfloat16; convert it"),
                name,
            )
        if x.dtype != q.dtype:
            raise with_field(InvalidType(f"{name} has dtype {x.dtype} but q has {q.dtype}; convert one of them"), name)
        if x.device != q.device:
            raise with_field(InvalidArgument(f"{name} is on {x.device} but q is on {q.device}; move it there"), name)


def empty(like, shape: tuple[int, ...], dtype: str) -> torch.Tensor:
    return torch.empty(shape, dtype=getattr(torch, dtype), device=like.device)


def finished(like, array: torch.Tensor) -> torch.Tensor:
    return array


def current_stream(like) -> int | None:
    return torch.cuda.current_stream(like.device).cuda_stream if like.device.type == "cuda" else None


def attention(q, k, v, options: Options, return_lse, out, lse_out, stream):
    if torch.compiler.is_compiling() and not (out is None and lse_out is None and stream is None):
        raise with_field(
            Unsupported("out, lse_out and stream are not implemented under torch.compile; leave them out"), "out"
        )
    if not torch.compiler.is_compiling():
        refuse_forked()
    options = options.with_arrays(lambda name, given: _lengths(name, given, q))
    q, k, v = _cast_for_autocast((q, k, v))
    _check(q, k, v)
    if out is not None or lse_out is not None or stream is not None:
        return _attention_into(q, k, v, options, return_lse, out, lse_out, stream)
    if torch.compiler.is_compiling() or (_is_traced(q, k, v) and not _is_differentiated()):
        from fovea import _torch_ops

        o, lse = _torch_ops.attention(q, k, v, options)
    elif _is_differentiated():
        o, lse = _TransformedAttention.apply(q, k, v, options)
    elif torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v)):
        o, lse = _Attention.apply(q, k, v, options)
    else:
        o, lse = forward(q, k, v, options)
    return (o, lse) if return_lse else o


def forward(q, k, v, options: Options):
    if _HAS_TABLE:
        return _core.attention_plain(q, k, v, *options, True, None, None, None)
    return _attention_into(q, k, v, options, True, None, None, None)


class _Attention(torch.autograd.Function):
    """Eager gradients; differentiable again, as backward is made of PyTorch's own operations."""

    @staticmethod
    def forward(ctx, q, k, v, options: Options):
        output = forward(q, k, v, options)
        _Attention.keep(ctx, (q, k, v, options), output)
        return output

    @staticmethod
    def keep(ctx, inputs, output) -> None:
        q, k, v, ctx.options = inputs
        ctx.save_for_backward(q, k, v, *output)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx, grad_o, grad_lse):
        from fovea import _torch_plain

        q, k, v, o, lse = ctx.saved_tensors
        grad_o = torch.zeros_like(o) if grad_o is None else grad_o
        return (*_torch_plain.backward(grad_o, grad_lse, q, k, v, o, lse, ctx.options), None)


class _TransformedAttention(torch.autograd.Function):
    """The same for torch.func.grad, which wants forward and context apart: 25 us more per call."""

    @staticmethod
    def forward(q, k, v, options: Options):
        from fovea import _torch_ops

        return _torch_ops.attention(q, k, v, options) if _is_traced(q, k, v) else forward(q, k, v, options)

    setup_context = staticmethod(_Attention.keep)
    backward = staticmethod(_Attention.backward)


def _is_traced(*tensors) -> bool:
    """Whether a mode, a transform or a subclass must see an operator."""
    return (
        any(type(x) not in (torch.Tensor, torch.nn.Parameter) for x in tensors)
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._functorch.peek_interpreter_stack() is not None
    )


def _is_differentiated() -> bool:
    """Whether the innermost transform is torch.func.grad or vjp: those take autograd functions, not operators'."""
    innermost = torch._C._functorch.peek_interpreter_stack()
    return innermost is not None and innermost.key() == torch._C._functorch.TransformType.Grad


def _attention_into(q, k, v, options: Options, return_lse, out, lse_out, stream):
    if (out is not None or lse_out is not None) and torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v)):
        raise with_field(
            InvalidArgument("out and lse_out are for calls without gradients; leave them out, or use torch.no_grad()"),
            "out",
        )
    arrays = [native(name, x, []) for name, x in (("q", q), ("k", k), ("v", v))]
    native_options = options.with_arrays(lambda name, given: native(name, given, []))
    o = empty_output(q, v) if out is None else out
    if return_lse:
        lse = empty_lse(q, options.layout) if lse_out is None else lse_out
    native_lse = native("lse_out", lse, []) if return_lse else None
    stream = current_stream(q) if stream is None else stream
    _core.attention_plain(*arrays, *native_options, return_lse, native("out", o, []), native_lse, stream)
    return (o, lse) if return_lse else o
