# SPDX-License-Identifier: Apache-2.0
"""Joining attention over parts of the keys, by their lse."""

from __future__ import annotations

from typing import Any

from fovea._options import Array
from fovea.errors import InvalidArgument, InvalidType, with_field


def _namespace(o: Any) -> Any:
    from fovea._frameworks import framework_of

    framework = framework_of(o)
    if framework == "numpy":
        import numpy

        return numpy
    if framework == "torch":
        import torch

        return torch
    if framework == "jax":
        import jax.numpy

        return jax.numpy
    if framework == "cupy":
        import cupy

        return cupy
    raise with_field(InvalidType(f"o is a {type(o).__name__}; pass NumPy, PyTorch, JAX or CuPy arrays"), "o")


def merge_states(o_a: Array, lse_a: Array, o_b: Array, lse_b: Array, *, layout: str = "bshd") -> tuple[Array, Array]:
    """Attention over two disjoint sets of keys, from the results over each: the exact result over their union.

    o_a, o_b: outputs of one shape in the layout ("bshd", "bhsd", "thd"). lse_a, lse_b: their lse, (batch, num_heads,
    seqlen) or (num_heads, total), natural logarithm. Sums are in float32 or, if an input has it, float64.
    Returns (o, lse): o in the dtype of o_a. A row that neither part sees gives o = 0, lse = -inf. For many parts, fold
    with float32 outputs: each merge rounds to the outputs' dtype. Differentiable in PyTorch and JAX.
    """
    xp = _namespace(o_a)
    if o_a.shape != o_b.shape:
        raise with_field(
            InvalidArgument(f"o_b has shape {tuple(o_b.shape)}, must be that of o_a {tuple(o_a.shape)}"), "o_b"
        )
    if layout not in ("bshd", "bhsd", "thd"):
        raise with_field(InvalidArgument(f'layout is "{layout}", must be "bshd", "bhsd" or "thd"'), "layout")
    heads = 1 if layout in ("bhsd", "thd") else 2
    rows = 0 if layout == "thd" else 3 - heads
    wanted = ((o_a.shape[0],) if layout != "thd" else ()) + (o_a.shape[heads], o_a.shape[rows])
    for name, lse in (("lse_a", lse_a), ("lse_b", lse_b)):
        if tuple(lse.shape) != wanted:
            raise with_field(InvalidArgument(f"{name} has shape {tuple(lse.shape)}, must be {wanted}"), name)
    largest = xp.maximum(lse_a, lse_b)
    shift = xp.where(largest == -float("inf"), xp.zeros_like(largest), largest)  # both parts empty: no inf - inf
    weight_a, weight_b = xp.exp(lse_a - shift), xp.exp(lse_b - shift)
    total = weight_a + weight_b
    safe = xp.where(total == 0, xp.ones_like(total), total)
    lse = xp.where(total == 0, xp.full_like(total, -float("inf")), shift + xp.log(safe))

    def as_rows(weight: Any) -> Any:
        weight = weight / safe
        return (weight if layout == "bhsd" else xp.swapaxes(weight, -1, -2))[..., None]

    o = as_rows(weight_a) * o_a + as_rows(weight_b) * o_b
    return (o.to(o_a.dtype) if hasattr(o, "to") else o.astype(o_a.dtype)), lse
