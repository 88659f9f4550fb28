# SPDX-License-Identifier: Apache-2.0
"""Matrix products as functions that XLA calls, as _jax_programs has attention."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fovea import _core
from fovea._jax_programs import Described, check_plan, described, hashable, is_inside, register
from fovea._matmul import default_out_dtype, dtype_name, output_shape
from fovea._options import MatmulOptions
from fovea.errors import Unsupported, with_field

_NAMES = ("a", "b", "c", "bias", "a_scale", "b_scale")


class Call(NamedTuple):
    """All of a call but its arrays; JAX compiles once for each."""

    options: MatmulOptions
    dtype: str
    given: tuple[str, ...]  # of _NAMES
    numbers: tuple[int, ...]
    reals: tuple[float, ...]
    kernel: str


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _product(call: Call, arrays):
    result = jax.ShapeDtypeStruct(output_shape(*arrays[:2]), jnp.dtype(call.dtype))
    return jax.ffi.ffi_call("fovea_matmul", result, vmap_method="sequential")(
        *arrays,
        numbers=np.array(call.numbers, np.int64),
        reals=np.array(call.reals, np.float64),
        kernel=call.kernel,
    )


def _product_kept(call: Call, arrays):
    if call.options.activation not in (None, "none"):
        raise with_field(
            Unsupported("gradients with an activation are not implemented; apply it to the result"), "activation"
        )
    if arrays[0].dtype.name.startswith("float8") or {"a_scale", "b_scale"} & set(call.given):
        raise with_field(Unsupported("gradients of float8_e4m3fn products are not implemented"), "a")
    return _product(call, arrays), arrays


def _summed_to(x, like):
    """x summed over the dimensions along which an array like this was shared, in its dtype."""
    added = x.ndim - like.ndim
    shared = [d + added for d, extent in enumerate(like.shape) if extent == 1 and x.shape[d + added] != 1]
    return x.sum((*range(added), *shared)).reshape(like.shape).astype(like.dtype)


def _gradients(call: Call, arrays, grad):
    """By matmul itself, differentiable again."""
    named, options = dict(zip(call.given, arrays)), call.options
    a, b = named["a"], named["b"]
    moved = grad.astype(a.dtype)
    plain = MatmulOptions(alpha=options.alpha, math=options.math)
    found = {
        "a": _summed_to(_run((moved, jnp.swapaxes(b, -1, -2)), plain, None), a),
        "b": _summed_to(_run((jnp.swapaxes(a, -1, -2), moved), plain, None), b),
    }
    wide = grad.astype(jnp.float32)
    if "c" in named:
        found["c"] = _summed_to(wide * (1.0 if options.beta is None else options.beta), named["c"])
    if "bias" in named:
        found["bias"] = _summed_to(wide, named["bias"])
    return (tuple(found[name] for name in call.given),)


_product.defvjp(_product_kept, _gradients)
_compiled = jax.jit(_product, static_argnums=0)


@functools.lru_cache(maxsize=1024)
def _call(arrays: tuple[Described | None, ...], options: MatmulOptions, dtype: str) -> Call:
    """What is wrong with shapes and options is told here, before a program runs."""

    def arguments(device: str) -> tuple:
        views = [None if x is None else x.view(device) for x in arrays]
        return (*views[:4], *options, *views[4:])

    check_plan(lambda device: _core.explain_matmul(*arguments(device), True, ""))
    numbers, reals, kernel = _core.jax_matmul_options(*arguments("cpu"))
    given = tuple(name for name, x in zip(_NAMES, arrays) if x is not None)
    return Call(options, dtype, given, tuple(numbers), tuple(reals), kernel)


def _run(arrays, options: MatmulOptions, out_dtype):
    arrays = (*arrays, *(None,) * (len(_NAMES) - len(arrays)))
    dtype = dtype_name(default_out_dtype(arrays[0].dtype) if out_dtype is None else out_dtype)
    present = tuple(x for x in arrays if x is not None)
    inside = is_inside(present)
    told = [None if x is None else described(x, inside) for x in arrays]
    return _compiled(_call(tuple(told), hashable(options), dtype), present)


def matmul(arrays, options: MatmulOptions, out_dtype):
    """arrays: a, b, c, bias, a_scale, b_scale."""
    register()
    return _run(arrays, options, out_dtype)
