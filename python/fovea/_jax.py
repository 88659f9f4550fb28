# SPDX-License-Identifier: Apache-2.0
"""JAX arrays in CPU memory: read where they lie, results handed over without a copy but for bfloat16."""

from __future__ import annotations

import jax
import numpy as np

from fovea import _core, _numpy
from fovea._frameworks import lse_shape
from fovea._options import Options
from fovea.errors import InvalidType, Unsupported, with_field

_ALIGNMENT = 64  # JAX takes memory over only if it is aligned so


def native(name: str, array, copies: list) -> np.ndarray:
    if isinstance(array, jax.core.Tracer):
        raise with_field(
            Unsupported(
                f"{name} is a tracer of JAX: jax.jit, jax.grad and jax.vmap over fovea.attention are not implemented; "
                "call it with concrete arrays"
            ),
            name,
        )
    if not isinstance(array, jax.Array):
        raise with_field(InvalidType(f"{name} is a {type(array).__name__}, must be a jax.Array"), name)
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
    arrays = [native(name, array, []) for name, array in (("q", q), ("k", k), ("v", v))]
    options = options.with_arrays(lambda name, array: native_lengths(name, array, q))
    o = lse = None
    if arrays[0].ndim == (3 if options.layout == "thd" else 4) and arrays[2].ndim == arrays[0].ndim:  # else: refused
        o = _empty(arrays[0].shape[:-1] + arrays[2].shape[-1:], arrays[0].dtype)
        lse = _empty(lse_shape(arrays[0].shape, options.layout), np.dtype(np.float32)) if return_lse else None
    _core.attention_plain(*arrays, *options, return_lse, o, lse, stream)
    return (_taken_over(o), _taken_over(lse)) if lse is not None else _taken_over(o)
