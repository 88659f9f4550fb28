# SPDX-License-Identifier: Apache-2.0
"""NumPy: subclasses (memory maps among them) as plain arrays, lists of lengths as int32."""

from __future__ import annotations

import numpy as np

from fovea import _core
from fovea._frameworks import lengths
from fovea._options import Options
from fovea.errors import InvalidType, with_field


def native(name: str, array, copies: list) -> np.ndarray:
    if isinstance(array, np.ma.MaskedArray):
        raise with_field(
            InvalidType(f"{name} is a masked array, whose mask would be lost; pass seq_lens, or its .data"), name
        )
    return np.asarray(array)


def native_lengths(name: str, given, q) -> np.ndarray:
    given = lengths(name, given, lambda values: np.array(values, dtype=np.int32))
    return native(name, given, [])


def to_numpy(name: str, array) -> np.ndarray:
    return native(name, array, [])


def from_float64(array: np.ndarray) -> np.ndarray:
    return array


def empty(like, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return np.empty(shape, dtype_named(dtype))


def dtype_named(dtype: str) -> np.dtype:
    if dtype == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(dtype)


def finished(like, array: np.ndarray) -> np.ndarray:
    return array


def current_stream(like) -> None:
    return None


def attention(q, k, v, options: Options, return_lse, out, lse_out, stream):
    arrays = (native(name, array, []) for name, array in (("q", q), ("k", k), ("v", v)))
    options = options.with_arrays(lambda name, array: native_lengths(name, array, q))
    o = None if out is None else native("out", out, [])
    lse = None if lse_out is None else native("lse_out", lse_out, [])
    result = _core.attention_plain(*arrays, *options, return_lse, o, lse, stream)
    if result is NotImplemented:
        raise with_field(
            InvalidType("lengths and offsets must be NumPy arrays or lists, as q is a NumPy array"), "seq_lens"
        )
    if out is None:
        return result
    return (out, result[1] if lse_out is None else lse_out) if return_lse else out
