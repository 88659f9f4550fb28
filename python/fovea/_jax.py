# SPDX-License-Identifier: Apache-2.0
"""JAX arrays in CPU memory: read where they lie, results handed over without a copy but for bfloat16. Inside compiled
programs (jax.jit), attention is a function that XLA calls."""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np

from fovea import _core, _numpy
from fovea._frameworks import lengths, lse_shape
from fovea._options import Options
from fovea.errors import InvalidArgument, InvalidType, Unsupported, with_field

_ALIGNMENT = 64  # JAX takes memory over only if it is aligned so


def native(name: str, array, copies: list) -> np.ndarray:
    if isinstance(array, jax.core.Tracer):
        raise with_field(
            Unsupported(
                f"{name} is a tracer of JAX: only fovea.attention is implemented inside jax.jit and jax.vmap; call "
                "this with concrete arrays"
            ),
            name,
        )
    if not isinstance(array, jax.Array):
        raise with_field(InvalidType(f"{name} is a {type(array).__name__}, must be a jax.Array"), name)
    if array.is_deleted():
        raise with_field(
            InvalidArgument(f"{name} was deleted, perhaps donated to a compiled program; pass an array that lives"),
            name,
        )
    platform = next(iter(array.devices())).platform
    if platform != "cpu":
        raise with_field(
            Unsupported(f"{name} is on {platform}; of JAX's devices the CPU alone is implemented, move it there"), name
        )
    found = np.asarray(array)
    if name == "q" and found.dtype.name == "bfloat16":
        copies.append("o (NumPy cannot hand bfloat16 over to JAX)")
    return found


def native_lengths(name: str, given, q) -> np.ndarray:
    return _numpy.native_lengths(name, np.asarray(given) if isinstance(given, jax.Array) else given, q)


def to_numpy(name: str, array) -> np.ndarray:
    return native(name, array, [])


def from_float64(array: np.ndarray) -> np.ndarray:
    return array


def _empty(shape: tuple[int, ...], dtype) -> np.ndarray:
    """Aligned memory, which JAX takes over."""
    size = int(np.prod(shape)) * dtype.itemsize
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    first = -memory.ctypes.data % _ALIGNMENT
    return memory[first : first + size].view(dtype).reshape(shape)


def _taken_over(array):
    return jax.numpy.asarray(array) if array.dtype.name == "bfloat16" else jax.dlpack.from_dlpack(array)


def empty(like, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return _empty(shape, _numpy.dtype_named(dtype))


def finished(like, array: np.ndarray):
    return _taken_over(array)


current_stream = _numpy.current_stream


def attention(q, k, v, options: Options, return_lse, out, lse_out, stream):
    if out is not None or lse_out is not None:
        raise with_field(
            Unsupported("out and lse_out are not for JAX, whose arrays cannot be written; leave them out"), "out"
        )
    if any(isinstance(x, jax.core.Tracer) for x in (q, k, v, *options)):
        return _traced(q, k, v, options, return_lse)
    arrays = [native(name, array, []) for name, array in (("q", q), ("k", k), ("v", v))]
    options = options.with_arrays(lambda name, array: native_lengths(name, array, q))
    o = lse = None
    if arrays[0].ndim == (3 if options.layout == "thd" else 4) and arrays[2].ndim == arrays[0].ndim:  # else: refused
        o = _empty(arrays[0].shape[:-1] + arrays[2].shape[-1:], arrays[0].dtype)
        lse = _empty(lse_shape(arrays[0].shape, options.layout), np.dtype(np.float32)) if return_lse else None
    _core.attention_plain(*arrays, *options, return_lse, o, lse, stream)
    return (_taken_over(o), _taken_over(lse)) if lse is not None else _taken_over(o)


_TARGET = "fovea_attention_forward"
_VECTORS = ("seq_lens_q", "seq_lens_k", "cu_seqlens_q", "cu_seqlens_k")


@functools.cache
def _register() -> None:
    if not hasattr(jax, "ffi"):
        raise Unsupported(f"attention inside jax.jit needs jax.ffi, of JAX 0.5; this is JAX {jax.__version__}")
    jax.ffi.register_ffi_target(_TARGET, _core.jax_attention, platform="cpu")


def _shape_only(name: str, array) -> Any:
    """What the compiled module needs to know of an array whose numbers come later."""
    strides = np.cumprod((1, *array.shape[:0:-1]))[::-1].tolist() if array.ndim else []
    return _core.View.make(0, array.dtype.name, "cpu", 0, list(array.shape), strides, None)


def _traced(q, k, v, options: Options, return_lse):
    """A call that runs when the program does, on a CPU. What is wrong with shapes and options is told now."""
    _register()

    def vector(name: str, given):
        return jax.numpy.asarray(lengths(name, given, lambda values: np.array(values, np.int32)))

    arrays = [jax.numpy.asarray(x) for x in (q, k, v)]
    options = options.with_arrays(vector)
    described = options.with_arrays(_shape_only)
    views = [_shape_only(name, array) for name, array in zip("qkv", arrays)]
    bounded = described
    if options.layout == "thd":  # the longest sequence is known when the program runs; until then it may be all
        most = [array.shape[0] if array.ndim else 0 for array in arrays[:2]]
        bounded = described._replace(
            max_seqlen_q=described.max_seqlen_q or most[0], max_seqlen_k=described.max_seqlen_k or most[1]
        )
    _core.explain(*views, *bounded, return_lse, True, "")
    numbers, reals, kernel = _core.jax_options(*views, *described)
    results = [jax.ShapeDtypeStruct(arrays[0].shape[:-1] + arrays[2].shape[-1:], arrays[0].dtype)]
    if return_lse:
        results.append(jax.ShapeDtypeStruct(lse_shape(arrays[0].shape, options.layout), np.float32))
    call = jax.ffi.ffi_call(_TARGET, results, vmap_method="sequential")

    @jax.custom_jvp
    def forward(*given):
        return call(*given, numbers=np.array(numbers, np.int64), reals=np.array(reals, np.float64), kernel=kernel)

    @forward.defjvp
    def _(given, tangents):
        raise with_field(
            Unsupported("gradients of attention are not implemented for JAX; PyTorch tensors have them"), "q"
        )

    vectors = (getattr(options, name) for name in _VECTORS)
    found = forward(*arrays, *(x for x in vectors if x is not None))
    return tuple(found) if return_lse else found[0]
