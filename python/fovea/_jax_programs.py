# SPDX-License-Identifier: Apache-2.0
"""Attention as a function that XLA calls: in compiled JAX programs, under transformations, and for arrays on a GPU,
where it runs on the stream of the program. Gradients come from plain operations (_jax_plain)."""

from __future__ import annotations

import functools
import re
from typing import Any, NamedTuple

import jax
import numpy as np

from fovea import _core, _jax_plain
from fovea._frameworks import lse_shape
from fovea._jax import device_of
from fovea._options import Options
from fovea.errors import Error, InvalidArgument, Unsupported, with_field

_VECTORS = ("seq_lens_q", "seq_lens_k", "cu_seqlens_q", "cu_seqlens_k")


@functools.cache
def register() -> None:
    if not hasattr(jax, "ffi"):
        raise Unsupported(f"compiled programs and GPUs need jax.ffi, of JAX 0.5; this is JAX {jax.__version__}")
    for name, platform, target in _core.jax_targets:
        jax.ffi.register_ffi_target(name, target, platform=platform)


class Described(NamedTuple):
    """What a plan needs to know of an array."""

    shape: tuple[int, ...]
    dtype: str
    device: str | None  # None inside a program
    device_index: int

    def view(self, device: str = "cpu") -> Any:
        """As the compiled module takes it; device stands in where none is known."""
        shape = self.shape or (1,)
        strides = np.cumprod((1, *shape[:0:-1]))[::-1].tolist()
        return _core.View.make(0, self.dtype, self.device or device, self.device_index, list(shape), strides, None)


def is_inside(arrays) -> bool:
    """Whether a call is part of a program: one tracer is enough."""
    return any(isinstance(x, jax.core.Tracer) for x in arrays)


def described(array, inside: bool = False) -> Described:
    """inside: of a program, whose device is known when it runs."""
    if inside:
        return Described(array.shape, array.dtype.name, None, 0)
    own = device_of(array)
    device, index = ("cpu", 0) if own.platform == "cpu" else ("cuda", own.local_hardware_id or 0)
    return Described(array.shape, array.dtype.name, device, index)


def check_plan(plan) -> None:
    """plan(device), where device stands for what is not known inside a program: any will do."""
    first = None
    for device in ("cuda", "cpu") if jax.default_backend() == "gpu" else ("cpu",):
        try:
            plan(device)
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


def hashable(options):
    """Options with windows as tuples and NumPy's numbers as Python's."""
    return options._replace(
        **{
            name: tuple(value) if isinstance(value, list) else value.item()
            for name, value in options._asdict().items()
            if isinstance(value, list) or (hasattr(value, "item") and not isinstance(value, Described))
        }
    )


@functools.lru_cache(maxsize=1024)
def _call(q: Described, k: Described, v: Described, options: Options, return_lse) -> Call:
    """What is wrong with shapes and options is told here, before a program runs."""

    def views(device: str, among: Options) -> tuple:
        return (
            *(x.view(device) for x in (q, k, v)),
            *among.with_arrays(lambda name, given: given.view(device)),
        )

    bounded = options
    if options.layout == "thd" and q.device != "cuda":
        # The longest sequence is known when the kernel runs; until then it may be all.
        most = [x.shape[0] if x.shape else 0 for x in (q, k)]
        bounded = options._replace(
            max_seqlen_q=options.max_seqlen_q or most[0], max_seqlen_k=options.max_seqlen_k or most[1]
        )
    check_plan(lambda device: _core.explain(*views(device, bounded), return_lse, True, ""))
    numbers, reals, kernel = _core.jax_options(*views("cpu", options))
    given = tuple(name for name in _VECTORS if getattr(options, name) is not None)
    plain = options.with_arrays(lambda name, given: None)
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
    """options with JAX's vectors."""
    register()
    vectors = [x for x in (getattr(options, name) for name in _VECTORS) if x is not None]
    vectors = _beside(q, vectors)
    inside = is_inside((q, k, v, *vectors))
    call = _call(
        *(described(x, inside) for x in (q, k, v)),
        hashable(options.with_arrays(lambda name, given: described(given, inside))),
        return_lse,
    )
    run = _run_at_once if vectors and not inside else _compiled
    found = run(call, q, k, v, tuple(vectors))
    return found if return_lse else found[0]


def _beside(q, vectors: list) -> list:
    """Lists and NumPy's vectors are made on JAX's first device: on that of q."""
    if isinstance(q, jax.core.Tracer):
        return vectors
    return [
        x if isinstance(x, jax.core.Tracer) or x.devices() == q.devices() else jax.device_put(x, device_of(q))
        for x in vectors
    ]


def _run_at_once(call: Call, *arrays):
    """On a CPU, lengths and offsets are looked at by the kernel, whose error comes through XLA."""
    try:
        found = _compiled(call, *arrays)
        return jax.block_until_ready(found) if device_of(found[0]).platform == "cpu" else found
    except RuntimeError as error:
        told = re.search(r"INVALID_ARGUMENT: ((\w+).*)", str(error))
        if told is None:
            raise
        raise with_field(InvalidArgument(told[1]), told[2]) from None
