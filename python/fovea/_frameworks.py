# SPDX-License-Identifier: Apache-2.0
"""Calls that the compiled module leaves to Python: each framework's arrays become NumPy arrays, plain PyTorch tensors
or Views, and results become that framework's again. A framework is imported only when one of its arrays comes in."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

from fovea import _core
from fovea._options import Options
from fovea.errors import InvalidArgument, InvalidType, with_field

_ROOTS = {"numpy": "numpy", "torch": "torch", "jax": "jax", "jaxlib": "jax", "cupy": "cupy"}


def framework_of(array: Any) -> str:
    """ "numpy", "torch", "jax", "cupy", "dlpack" for other arrays, or "" for what is none."""
    for base in type(array).__mro__:
        name = _ROOTS.get(base.__module__.partition(".")[0])
        if name:
            return name
    return "dlpack" if hasattr(array, "__dlpack__") else ""


def adapter(name: str, array: Any):
    """The module that knows the framework: native(name, array) and what else it needs."""
    framework = framework_of(array)
    if not framework:
        raise with_field(
            InvalidType(
                f"{name} is a {type(array).__name__}; pass a NumPy array, a PyTorch tensor, or another array with "
                "__dlpack__"
            ),
            name,
        )
    return importlib.import_module("fovea._dlpack" if framework == "dlpack" else f"fovea._{framework}")


class NativeCall(NamedTuple):
    """A call as the compiled module takes it."""

    arrays: tuple[Any, Any, Any]
    options: Options
    copies: tuple[str, ...]


def _check_one_framework(q, k, v) -> None:
    wanted = framework_of(q)
    for name, array in (("k", k), ("v", v)):
        if framework_of(array) != wanted:
            raise with_field(
                InvalidType(f"{name} is a {type(array).__name__} but q is a {type(q).__name__}; convert one of them"),
                name,
            )


def lengths(name: str, given: Any, convert: Any) -> Any:
    """Lengths and offsets: a list is made an array of the framework on the device of q by convert; others pass."""
    if isinstance(given, (list, tuple)):
        if not all(isinstance(value, int) for value in given):
            raise with_field(InvalidType(f"{name} is {given}, must hold integers, or be an int32 array"), name)
        return convert(given)
    return given


def native_call(q, k, v, options: Options) -> NativeCall:
    framework = adapter("q", q)
    _check_one_framework(q, k, v)
    copies: list = []
    arrays = tuple(framework.native(name, array, copies) for name, array in (("q", q), ("k", k), ("v", v)))
    copies += [
        f"{name} (from a list)"
        for name in ("seq_lens_q", "seq_lens_k", "cu_seqlens_q", "cu_seqlens_k")
        if isinstance(getattr(options, name), (list, tuple))
    ]
    options = options.with_arrays(lambda name, array: framework.native_lengths(name, array, q))
    return NativeCall(arrays, options, tuple(copies))


def attention(q, k, v, options: Options, return_lse, out, lse_out, stream):
    framework = adapter("q", q)
    _check_one_framework(q, k, v)
    return framework.attention(q, k, v, options, return_lse, out, lse_out, stream)


def reference(q, k, v, options: Options, return_lse: bool):
    import numpy as np

    framework = adapter("q", q)
    _check_one_framework(q, k, v)
    arrays = [framework.to_numpy(name, array) for name, array in (("q", q), ("k", k), ("v", v))]
    given = options.with_arrays(int32_vector)
    shape = arrays[0].shape[:-1] + arrays[2].shape[-1:]
    o = np.empty(shape, np.float64)
    lse = np.empty(lse_shape(arrays[0].shape, options.layout), np.float64) if return_lse else None
    _core.reference(*arrays, *given, o, lse)
    o, lse = framework.from_float64(o), None if lse is None else framework.from_float64(lse)
    return (o, lse) if return_lse else o


def framework_to_numpy(name: str, array: Any):
    return adapter(name, array).to_numpy(name, array)


def int32_vector(name: str, array: Any):
    """Lengths or offsets of any framework, or a list, as NumPy's."""
    import numpy as np

    return np.asarray(array, np.int32) if isinstance(array, (list, tuple)) else framework_to_numpy(name, array)


def lse_shape(q_shape: tuple[int, ...], layout: str) -> tuple[int, ...]:
    if layout == "thd":
        return (q_shape[1], q_shape[0])
    if len(q_shape) != 4:
        raise with_field(InvalidArgument(f"q has {len(q_shape)} dimensions, must have 4"), "q")
    b, first, second, _ = q_shape
    return (b, first, second) if layout == "bhsd" else (b, second, first)
