# SPDX-License-Identifier: Apache-2.0
"""Arrays of other libraries in CPU memory, through __dlpack__: read without a copy, returned by their from_dlpack."""

from __future__ import annotations

import numpy as np

from fovea import _core, _numpy
from fovea._options import Options
from fovea.errors import InvalidType, Unsupported, with_field

_CPU = 1


def native(name: str, array, copies: list) -> np.ndarray:
    device, _ = array.__dlpack_device__()
    if device != _CPU:
        raise with_field(
            Unsupported(
                f"{name} is a {type(array).__name__} on a device of DLPack type {device}; on GPUs "
                "PyTorch and CuPy arrays are taken"
            ),
            name,
        )
    try:
        return np.from_dlpack(array)
    except (BufferError, TypeError, RuntimeError) as error:
        raise with_field(InvalidType(f"{name} cannot be read through DLPack: {error}"), name) from error


def native_lengths(name: str, given, q) -> np.ndarray:
    return _numpy.native_lengths(name, native(name, given, []) if hasattr(given, "__dlpack__") else given, q)


def to_numpy(name: str, array) -> np.ndarray:
    return native(name, array, [])


def from_float64(array: np.ndarray) -> np.ndarray:
    return array


def _returned(like, array: np.ndarray):
    """array as like's library has it; NumPy's where the library does not say how."""
    namespace = like.__array_namespace__() if hasattr(like, "__array_namespace__") else None
    return namespace.from_dlpack(array) if namespace is not None else array


def empty(like, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return _numpy.empty(None, shape, dtype)


finished = _returned
current_stream = _numpy.current_stream


def attention(q, k, v, options: Options, return_lse, out, lse_out, stream):
    arrays = (native(name, array, []) for name, array in (("q", q), ("k", k), ("v", v)))
    options = options.with_arrays(lambda name, array: native_lengths(name, array, q))
    places = (
        None if place is None else native(name, place, []) for name, place in (("out", out), ("lse_out", lse_out))
    )
    result = _core.attention_plain(*arrays, *options, return_lse, *places, stream)
    o, lse = result if return_lse else (result, result)
    o = _returned(q, o) if out is None else out
    return (o, _returned(q, lse) if lse_out is None else lse_out) if return_lse else o
