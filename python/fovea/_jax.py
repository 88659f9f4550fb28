# SPDX-License-Identifier: Apache-2.0
"""JAX arrays. XLA calls Fovea for them (_jax_programs), inside compiled programs and outside; what only describes or
judges a call reads those in CPU memory where they lie."""

from __future__ import annotations

import jax
import numpy as np

from fovea._frameworks import lengths
from fovea._options import Options
from fovea.errors import InvalidArgument, InvalidType, Unsupported, with_field


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

        return _jax_programs.described(array).view()
    return np.asarray(array)


def native_lengths(name: str, given, q):
    return native(name, vector(name, given), [])


def vector(name: str, given):
    """Lengths or offsets as JAX has them."""
    given = lengths(name, given, lambda values: np.array(values, np.int32))
    if isinstance(given, (jax.Array, np.ndarray)):
        return jax.numpy.asarray(given)
    raise with_field(InvalidType(f"{name} is a {type(given).__name__}, must be a jax.Array or a list"), name)


def to_numpy(name: str, array) -> np.ndarray:
    _check_concrete(name, array)
    return np.asarray(array)


def from_float64(array: np.ndarray) -> np.ndarray:
    return array


def _refuse(**given) -> None:
    for name, value in given.items():
        if value is not None:
            raise with_field(
                Unsupported(
                    f"{name} is not for JAX, whose arrays cannot be written and whose programs have their own streams; "
                    "leave it out"
                ),
                name,
            )


def attention(q, k, v, options: Options, return_lse, out, lse_out, stream):
    _refuse(out=out, lse_out=lse_out, stream=stream)
    for name, array in (("q", q), ("k", k), ("v", v)):
        check(name, array)
    from fovea import _jax_programs

    return _jax_programs.attention(q, k, v, options.with_arrays(vector), return_lse)


def matmul(arrays, options, out, out_dtype, stream):
    """arrays: a, b, c, bias, a_scale, b_scale."""
    _refuse(out=out, stream=stream)
    for name, array in zip(("a", "b", "c", "bias", "a_scale", "b_scale"), arrays):
        if array is not None:
            check(name, array)
    from fovea import _jax_matmul

    return _jax_matmul.matmul(arrays, options, out_dtype)
