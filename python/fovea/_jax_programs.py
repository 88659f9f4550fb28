# SPDX-License-Identifier: Apache-2.0
"""Attention as a function that XLA calls: in compiled JAX programs, under transformations, and for arrays on a GPU,
where it runs on the stream of the program. Gradients come from plain operations (_jax_plain)."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import numpy as np

from fovea import _core, _jax_plain
from fovea._frameworks import lengths, lse_shape
from fovea._options import Options
from fovea.errors import Error, InvalidType, Unsupported, with_field

_VECTORS = ("seq_lens_q", "seq_lens_k", "cu_seqlens_q", "cu_seqlens_k")


@functools.cache
def register() -> None:
    if not hasattr(jax, "ffi"):
        raise Unsupported(f"compiled programs and GPUs need jax.ffi, of JAX 0.5; this is JAX {jax.__version__}")
    for name, platform, target in _core.jax_targets:
        jax.ffi.register_ffi_target(name, target, platform=platform)


def shape_only(name: str, array, device: str | None = None) -> Any:
    """What the compiled module needs to know of an array to plan a call. device: default the array's own."""
    index, shape = 0, array.shape or (1,)
    if device is None:
        own = next(iter(array.devices()))
        device, index = ("cpu", 0) if own.platform == "cpu" else ("cuda", own.local_hardware_id or 0)
    strides = np.cumprod((1, *shape[:0:-1]))[::-1].tolist()
    return _core.View.make(0, array.dtype.name, device, index, list(shape), strides, None)


def check_plan(plan, arrays) -> None:
    """plan(describe) on the device of the arrays; inside a program that is not known, and any device will do."""
    if not any(isinstance(x, jax.core.Tracer) for x in arrays):
        plan(shape_only)
        return
    first = None
    for device in ("cuda", "cpu") if jax.default_backend() == "gpu" else ("cpu",):
        try:
            plan(functools.partial(shape_only, device=device))
            return
        except Error as error:
            first = first or error
    raise first  # type: ignore[misc]


class Call(NamedTuple):
    """All of a call but its arrays; JAX compiles once for each."""

    options: Options  # without arrays
    return_lse: bool
    given: tuple[str, ...]  # lengths and offsets that come after q, k and v
    numbers: tuple[int, ...]
    reals: tuple[float, ...]
    kernel: str


def _call(q, k, v, options: Options, return_lse) -> Call:
    """What is wrong with shapes and options is told here, before a program runs."""
    arrays = (q, k, v, *(x for x in (getattr(options, name) for name in _VECTORS) if x is not None))

    def plan(describe) -> None:
        described = options.with_arrays(describe)
        if options.layout == "thd" and any(isinstance(x, jax.core.Tracer) for x in arrays):
            # The longest sequence is known when the program runs; until then it may be all.
            most = [x.shape[0] if x.ndim else 0 for x in (q, k)]
            described = described._replace(
                max_seqlen_q=described.max_seqlen_q or most[0], max_seqlen_k=described.max_seqlen_k or most[1]
            )
        _core.explain(*(describe(name, x) for name, x in zip("qkv", (q, k, v))), *described, return_lse, True, "")

    check_plan(plan, arrays)
    views = [shape_only(name, x, "cpu") for name, x in zip("qkv", (q, k, v))]
    described = options.with_arrays(functools.partial(shape_only, device="cpu"))
    numbers, reals, kernel = _core.jax_options(*views, *described)
    given = tuple(name for name in _VECTORS if getattr(options, name) is not None)
    left, right = options.window or (None, None)
    plain = options.with_arrays(lambda name, given: None)._replace(
        window=None if options.window is None else (left, right),
        softmax_scale=None if options.softmax_scale is None else float(options.softmax_scale),
        softcap=float(options.softcap),
        causal=bool(options.causal),
    )
    return Call(plain, bool(return_lse), given, tuple(numbers), tuple(reals), kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _forward(call: Call, q, k, v, vectors):
    """(o,) or (o, lse)."""
    results = [jax.ShapeDtypeStruct(q.shape[:-1] + v.shape[-1:], q.dtype)]
    if call.return_lse:
        results.append(jax.ShapeDtypeStruct(lse_shape(q.shape, call.options.layout), np.float32))
    return tuple(
        jax.ffi.ffi_call("fovea_attention_forward", results, vmap_method="sequential")(
            q,
            k,
            v,
            *vectors,
            numbers=np.array(call.numbers, np.int64),
            reals=np.array(call.reals, np.float64),
            kernel=call.kernel,
        )
    )


def _forward_kept(call: Call, q, k, v, vectors):
    o, lse = _forward(call._replace(return_lse=True), q, k, v, vectors)  # differentiable itself
    return ((o, lse) if call.return_lse else (o,)), (q, k, v, o, lse, vectors)


def _gradients(call: Call, kept, grads):
    q, k, v, o, lse, vectors = kept
    options = call.options._replace(**dict(zip(call.given, vectors)))
    found = _jax_plain.backward(grads[0], grads[1] if call.return_lse else None, q, k, v, o, lse, options)
    return (*found, tuple(None for _ in vectors))


_forward.defvjp(_forward_kept, _gradients)
_compiled = jax.jit(_forward, static_argnums=0)


def attention(q, k, v, options: Options, return_lse):
    register()

    def vector(name: str, given):
        given = lengths(name, given, lambda values: np.array(values, np.int32))
        if isinstance(given, (jax.Array, np.ndarray)):
            return jax.numpy.asarray(given)
        raise with_field(InvalidType(f"{name} is a {type(given).__name__}, must be a jax.Array or a list"), name)

    options = options.with_arrays(vector)
    call = _call(q, k, v, options, return_lse)
    vectors = tuple(getattr(options, name) for name in call.given)
    found = _compiled(call, q, k, v, _beside(q, vectors))
    return found if return_lse else found[0]


def _beside(q, vectors):
    """Lists and NumPy's vectors on the device of q."""
    if isinstance(q, jax.core.Tracer):
        return vectors
    own = next(iter(q.devices()))
    return tuple(x if isinstance(x, jax.core.Tracer) or x.devices() == q.devices() else jax.device_put(x, own) for x in vectors)
