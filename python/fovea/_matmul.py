# SPDX-License-Identifier: Apache-2.0
"""matmul and its relatives, made as attention is (_attention.py)."""

from __future__ import annotations

import sys
from typing import Any

from fovea import _core, _frameworks
from fovea._options import Array, MatmulConfig, MatmulOptions
from fovea._validate import Validation
from fovea.errors import InvalidType, with_field

_modules = sys.modules
_DTYPES = ("float32", "float16", "bfloat16")


def matmul(
    a: Array,
    b: Array,
    *,
    c: Any = None,
    bias: Any = None,
    a_scale: Any = None,
    b_scale: Any = None,
    alpha: float = 1.0,
    beta: float | None = None,
    activation: str | None = None,
    out: Any = None,
    out_dtype: Any = None,
    math: str = "exact",
    config: MatmulConfig | None = None,
    stream: int | None = None,
) -> Array:
    """A matrix product, d = activation(alpha * a @ b + beta * c + bias), summed in float32 and rounded once.

    a (..., m, k), b (..., k, n): NumPy, PyTorch, JAX or CuPy arrays of one dtype (float32, float16, bfloat16,
        float8_e4m3fn) on one device; up to three leading dimensions, which broadcast. Any strides: a transposed matrix
        is not copied. Hopper's copy engine wants rows at multiples of 16 bytes, and float8_e4m3fn with k contiguous in
        both (b as w.mT of a weight w (n, k)): other operands are copied on the GPU, in memory of the library, where that
        is faster; explain_matmul says so. On other GPUs such float8_e4m3fn is slow.
    a_scale, b_scale: float32 arrays, factors of the elements of float8_e4m3fn operands: one number for each, or both per
        block of 128, a_scale (..., m, ceil(k / 128)) and b_scale (..., ceil(k / 128), ceil(n / 128)).
    c (..., m, n): added, times beta (default 1 if c is given). bias (n,): added to every row.
    activation: None, "relu", "gelu" (the exact one, with erf) or "silu".
    out: an array (..., m, n) to write into. out_dtype: the result's dtype, by name or as the framework's; default a's,
        bfloat16 for float8_e4m3fn.
    math: "exact", or "fast" to allow TF32 products of float32 (on GPUs from sm_80 on; elsewhere the same).
    config: tiles and kernel to insist on.
    stream: the handle of a CUDA stream; default the framework's current one.

    Returns d, of a's framework and device. PyTorch tensors have gradients, for activation None.
    Raises ValueError, TypeError (also as fovea.Error, with .field), NotImplementedError (with each kernel's reason).
    """
    compiler = _modules.get("torch.compiler")
    is_compiling = compiler is not None and compiler.is_compiling()
    if not is_compiling and out_dtype is None:
        d = _core.matmul(a, b, c, bias, alpha, beta, activation, math, config, a_scale, b_scale, out, stream)
        if d is not NotImplemented:
            return d
    options = MatmulOptions(alpha, beta, activation, math, config)
    if is_compiling:
        from fovea import _torch_matmul

        return _torch_matmul.matmul(a, b, c, bias, a_scale, b_scale, options, out, out_dtype, stream)
    if _frameworks.framework_of(a) == "torch":
        _check_one_framework(a, b, c, bias, a_scale, b_scale)
        from fovea import _torch_matmul

        return _torch_matmul.matmul(a, b, c, bias, a_scale, b_scale, options, out, out_dtype, stream)
    return _matmul_elsewhere((a, b, c, bias, a_scale, b_scale), options, out, out_dtype, stream)


def dtype_name(dtype: Any) -> str:
    """ "float16" of "float16", numpy.float16, numpy.dtype("float16"), torch.float16 …"""
    name = dtype if isinstance(dtype, str) else getattr(dtype, "__name__", None) or str(dtype)
    name = name.rpartition(".")[2]
    if name not in _DTYPES:
        raise with_field(InvalidType(f"out_dtype is {dtype!r}, must be float32, float16 or bfloat16"), "out_dtype")
    return name


def default_out_dtype(dtype: Any) -> Any:
    """Of a product of operands of this dtype: the same, but nothing is stored as fp8."""
    return "bfloat16" if str(dtype).rpartition(".")[2] == "float8_e4m3fn" else dtype


def output_shape(a: Any, b: Any) -> tuple[int, ...]:
    """Shape of d; what does not fit is for the compiled module to refuse."""
    ndim = max(len(a.shape), len(b.shape))
    of_a, of_b = (1,) * (ndim - len(a.shape)) + tuple(a.shape), (1,) * (ndim - len(b.shape)) + tuple(b.shape)
    return (*(y if x == 1 else x for x, y in zip(of_a[:-2], of_b[:-2])), of_a[-2], of_b[-1])


_NAMES = ("a", "b", "c", "bias", "a_scale", "b_scale")


def _check_one_framework(a: Any, *others: Any) -> None:
    wanted = _frameworks.framework_of(a)
    for name, array in zip(_NAMES[1:], others):
        if array is not None and _frameworks.framework_of(array) != wanted:
            raise with_field(
                InvalidType(f"{name} is a {type(array).__name__} but a is a {type(a).__name__}; convert one of them"),
                name,
            )


def _matmul_elsewhere(
    given: tuple[Any, ...], options: MatmulOptions, out: Any, out_dtype: Any, stream: int | None
) -> Any:
    a, b = given[:2]
    framework = _frameworks.adapter("a", a)
    _check_one_framework(*given)
    if _frameworks.framework_of(a) == "jax":
        return framework.matmul(given, options, out, out_dtype, stream)
    arrays = [None if x is None else framework.native(name, x, []) for name, x in zip(_NAMES, given)]
    if out is not None:
        d = framework.native("out", out, [])
    elif len(a.shape) >= 2 and len(b.shape) >= 2:
        d = framework.empty(a, output_shape(a, b), dtype_name(default_out_dtype(a.dtype) if out_dtype is None else out_dtype))
    else:
        d = None  # refused
    queue = framework.current_stream(a) if stream is None else stream
    target = d if out is not None or d is None else framework_native(framework, d)
    result = _core.matmul_plain(*arrays[:4], *options, *arrays[4:], target, queue)
    if result is NotImplemented:
        raise with_field(InvalidType(f"a is a {type(a).__name__} that cannot be read"), "a")
    return out if out is not None else framework.finished(a, d)


def framework_native(framework: Any, array: Any) -> Any:
    """What framework.empty gave, as the compiled module reads it."""
    return framework.native("out", array, []) if _frameworks.framework_of(array) == "cupy" else array


def explain_matmul(
    a: Any,
    b: Any,
    *,
    c: Any = None,
    bias: Any = None,
    a_scale: Any = None,
    b_scale: Any = None,
    alpha: float = 1.0,
    beta: float | None = None,
    activation: str | None = None,
    math: str = "exact",
    config: MatmulConfig | None = None,
    architecture: str = "",
    json: bool = False,
) -> Any:
    """How matmul would compute this call, and why each other kernel refused; nothing is computed. Text, or a dict.

    architecture: plan for a GPU that need not be here, such as "sm_90a".
    """
    given = (a, b, c, bias, a_scale, b_scale)
    framework = _frameworks.adapter("a", a)
    _check_one_framework(*given)
    arrays = [None if x is None else framework.native(name, x, []) for name, x in zip(_NAMES, given)]
    options = (alpha, beta, activation, math, config)
    text = _core.explain_matmul(*arrays[:4], *options, *arrays[4:], json, architecture)
    if json:
        import json as _json

        return _json.loads(text)
    return text


def validate_matmul(
    d: Any,
    a: Any,
    b: Any,
    *,
    c: Any = None,
    bias: Any = None,
    a_scale: Any = None,
    b_scale: Any = None,
    alpha: float = 1.0,
    beta: float | None = None,
    activation: str | None = None,
    math: str = "exact",
    max_rows: int = 0,
) -> Validation:
    """Judges d, as any method computed it, by the rule of docs/numerics.md, as validate_attention does.

    Other arguments as for matmul; c as it was before. math: "fast" allows the error of TF32 products of float32.
    max_rows: check about so many rows; 0 checks all.
    """
    named = zip((*_NAMES, "d"), (a, b, c, bias, a_scale, b_scale, d))
    *arrays, d = (None if x is None else _frameworks.framework_to_numpy(name, x) for name, x in named)
    options = (alpha, beta, activation, math, None)
    return Validation(**_core.matmul_verdict(*arrays[:4], *options, *arrays[4:], d, max_rows))
