# SPDX-License-Identifier: Apache-2.0
"""CuPy arrays, on the GPU they are on and CuPy's current stream of it."""

from __future__ import annotations

import cupy

from fovea import _core
from fovea._frameworks import lengths, lse_shape
from fovea._options import Options
from fovea.errors import InvalidType, with_field

_TAKEN = ("float32", "float16", "bfloat16", "int32")


def native(name: str, array, copies: list):
    if not isinstance(array, cupy.ndarray):
        raise with_field(InvalidType(f"{name} is a {type(array).__name__}, must be a cupy.ndarray"), name)
    if array.dtype.name not in _TAKEN:
        raise with_field(
            InvalidType(
                f"{name} has dtype {array.dtype}; arrays are float32, float16 or bfloat16, lengths and offsets int32; "
                "convert it"
            ),
            name,
        )
    strides = [stride // array.dtype.itemsize for stride in array.strides]
    return _core.View.make(array.data.ptr, array.dtype.name, "cuda", array.device.id, list(array.shape), strides, array)


def native_lengths(name: str, given, q):
    def convert(values):
        with q.device:
            return cupy.asarray(values, dtype="int32")

    return native(name, lengths(name, given, convert), [])


def to_numpy(name: str, array):
    return cupy.asnumpy(array)


def from_float64(array):
    return array


def empty(like, shape: tuple[int, ...], dtype: str):
    with like.device:
        return cupy.empty(shape, dtype=dtype)


def finished(like, array):
    return array


def current_stream(like) -> int:
    with like.device:
        return cupy.cuda.get_current_stream().ptr


def attention(q, k, v, options: Options, return_lse, out, lse_out, stream):
    arrays = [native(name, array, []) for name, array in (("q", q), ("k", k), ("v", v))]
    options = options.with_arrays(lambda name, array: native_lengths(name, array, q))
    with q.device:
        stream = current_stream(q) if stream is None else stream
        o = cupy.empty(q.shape[:-1] + v.shape[-1:], dtype=q.dtype) if out is None else out
        lse = lse_out
        if return_lse and lse is None:
            lse = cupy.empty(lse_shape(q.shape, options.layout), dtype="float32")
    native_lse = None if lse is None else native("lse_out", lse, [])
    _core.attention_plain(*arrays, *options, return_lse, native("out", o, []), native_lse, stream)
    return (o, lse) if return_lse else o
