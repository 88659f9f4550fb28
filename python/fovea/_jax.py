# SPDX-License-Identifier: Apache-2.0
"""JAX arrays in CPU memory: read where they lie, results handed over without a copy but for bfloat16. Arrays on a GPU,
and arrays inside compiled programs or with gradients, go through functions that XLA calls (_jax_programs)."""

from __future__ import annotations

import jax
import numpy as np

from fovea import _core, _numpy
from fovea._frameworks import lengths, lse_shape
from fovea._options import Options
from fovea.errors import InvalidArgument, InvalidType, Unsupported, with_field

_ALIGNMENT = 64  # JAX takes memory over only if it is aligned so


def check(name: str, array) -> None:
    """Raises for what is no array, for a deleted one, and for one on other devices than a CPU or an NVIDIA GPU."""
    if not isinstance(array, jax.Array):
        raise with_field(InvalidType(f"{name} is a {type(array).__name__}, must be a jax.Array"), name)
    if isinstance(array, jax.core.Tracer):
        return
    if array.is_deleted():
        raise with_field(
            InvalidArgument(f"{name} was deleted, perhaps donated to a compiled program; pass an array that lives"),
            name,
        )
    if len(array.devices()) > 1:
        raise with_field(
            Unsupported(
                f"{name} is spread over {len(array.devices())} devices; call inside jax.shard_map, which gives each "
                "device its part"
            ),
            name,
        )
    platform = device_of(array).platform
    if platform not in ("cpu", "gpu", "cuda"):
        raise with_field(Unsupported(f"{name} is on {platform}; Fovea has kernels for CPUs and NVIDIA GPUs"), name)


def device_of(array):
    return next(iter(array.devices()))


def is_for_programs(*arrays) -> bool:
    """Whether XLA must call: gradients, compilation, or a GPU."""
    return any(
        isinstance(x, jax.Array) and (isinstance(x, jax.core.Tracer) or device_of(x).platform != "cpu") for x in arrays
    )


def _check_concrete(name: str, array) -> None:
    check(name, array)
    if isinstance(array, jax.core.Tracer):
        raise with_field(
            Unsupported(
                f"{name} is a tracer of JAX: inside jax.jit and jax.grad there are fovea.attention and fovea.matmul; "
                "call this with concrete arrays"
            ),
            name,
        )


def native(name: str, array, copies: list):
    """NumPy's view of an array in CPU memory; a View without data, for explain, of one on a GPU."""
    _check_concrete(name, array)
    if device_of(array).platform != "cpu":
        from fovea import _jax_programs

        return _jax_programs.shape_only(name, array)
    found = np.asarray(array)
    if name == "q" and found.dtype.name == "bfloat16":
        copies.append("o (NumPy cannot hand bfloat16 over to JAX)")
    return found


def native_lengths(name: str, given, q):
    if is_for_programs(q):
        return native(name, lengths(name, given, lambda values: jax.numpy.array(values, np.int32)), [])
    return _numpy.native_lengths(name, np.asarray(given) if isinstance(given, jax.Array) else given, q)


def to_numpy(name: str, array) -> np.ndarray:
    _check_concrete(name, array)
    return np.asarray(array)


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
    for name, array in (("q", q), ("k", k), ("v", v)):
        check(name, array)
    if is_for_programs(q, k, v, *options):
        if stream is not None:
            raise with_field(Unsupported("stream is not for JAX, whose programs have their own; leave it out"), "stream")
        from fovea import _jax_programs

        return _jax_programs.attention(q, k, v, options, return_lse)
    arrays = [native(name, array, []) for name, array in (("q", q), ("k", k), ("v", v))]
    options = options.with_arrays(lambda name, array: native_lengths(name, array, q))
    o = lse = None
    if arrays[0].ndim == (3 if options.layout == "thd" else 4) and arrays[2].ndim == arrays[0].ndim:  # else: refused
        o = _empty(arrays[0].shape[:-1] + arrays[2].shape[-1:], arrays[0].dtype)
        lse = _empty(lse_shape(arrays[0].shape, options.layout), np.dtype(np.float32)) if return_lse else None
    _core.attention_plain(*arrays, *options, return_lse, o, lse, stream)
    return (_taken_over(o), _taken_over(lse)) if lse is not None else _taken_over(o)
