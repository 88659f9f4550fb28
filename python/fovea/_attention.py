# SPDX-License-Identifier: Apache-2.0
"""attention and its relatives. A call of attention goes into the compiled module at once; what that leaves to Python
(tensor subclasses, gradients, autocast, JAX, CuPy …) goes on in _frameworks."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal, overload

from fovea import _core
from fovea._options import AttentionConfig, Options
from fovea.errors import InvalidArgument, with_field

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fovea._options import Array, AttentionKeywords, MaskKeywords

_modules = sys.modules


def _both(name: str, both: Any, q: Any, k: Any) -> Any:
    """One value for queries and keys, given by the name without _q and _k."""
    if q is not None or k is not None:
        raise with_field(
            InvalidArgument(
                f"{name} is given beside {name}_q or {name}_k; it stands for both, so give one or the other"
            ),
            name,
        )
    return both


@overload
def attention(
    q: Array, k: Array, v: Array, *, return_lse: Literal[False] = False, **keywords: Unpack[AttentionKeywords]
) -> Array: ...
@overload
def attention(
    q: Array, k: Array, v: Array, *, return_lse: Literal[True], **keywords: Unpack[AttentionKeywords]
) -> tuple[Array, Array]: ...
def attention(
    q: Any,
    k: Any,
    v: Any,
    *,
    causal: bool = False,
    window: tuple[int | None, int | None] | None = None,
    softmax_scale: float | None = None,
    softcap: float = 0.0,
    seq_lens: Any = None,
    seq_lens_q: Any = None,
    seq_lens_k: Any = None,
    cu_seqlens: Any = None,
    cu_seqlens_q: Any = None,
    cu_seqlens_k: Any = None,
    max_seqlen: int | None = None,
    max_seqlen_q: int | None = None,
    max_seqlen_k: int | None = None,
    layout: str = "bshd",
    alignment: str = "bottom_right",
    return_lse: bool = False,
    out: Any = None,
    lse_out: Any = None,
    math: str = "exact",
    config: AttentionConfig | None = None,
    stream: int | None = None,
) -> Any:
    """Exact attention, o = softmax(softmax_scale * q @ k.T + mask) @ v, in memory that grows with seqlen.

    q, k, v: NumPy, PyTorch, JAX or CuPy arrays of one dtype (float32, float16, bfloat16) on one device. Layouts:
        "bshd"  q (batch, seqlen_q, num_heads_q, head_dim_qk), k (batch, seqlen_k, num_heads_kv, head_dim_qk),
                v (batch, seqlen_k, num_heads_kv, head_dim_v)
        "bhsd"  (batch, num_heads, seqlen, head_dim)
        "thd"   (total, num_heads, head_dim): sequences one after the other, with cu_seqlens
        num_heads_q is a multiple of num_heads_kv. Any strides, the last one 1; nothing is copied.
    causal: a query sees no key after its own position.
    window: (left, right): a query at key position p sees keys p - left to p + right; None is an open side.
    alignment: where causal and window stand if seqlen_q != seqlen_k: "bottom_right", the last query at the last key, or
        "top_left", query i at key i.
    softmax_scale: default 1 / sqrt(head_dim_qk). softcap: s becomes softcap * tanh(s / softcap); 0 is off.
    seq_lens_q, seq_lens_k: (batch,) int32: only so many queries and keys of each sequence count; rows of o past the
        length are 0, their lse -inf. seq_lens sets both.
    cu_seqlens_q, cu_seqlens_k: (batch + 1,) int32, where each sequence of "thd" begins; cu_seqlens sets both. On a GPU
        max_seqlen_q and max_seqlen_k (or max_seqlen), bounds on the longest, must be given.
    return_lse: also the logarithm of the sum of exp(scores): float32, natural, (batch, num_heads_q, seqlen_q) or
        (num_heads_q, total_q); -inf for a row that sees no key.
    out, lse_out: arrays to write into. math: "exact", or "fast" for reduced-precision products of float32.
    config: tiles and kernel to insist on. stream: the handle of a CUDA stream; default the framework's current one.

    Returns o, of q's framework, device and dtype, in q's layout with head_dim_v; with return_lse (o, lse).
    A row that sees no key gives o = 0. PyTorch tensors have gradients (also through lse).
    Raises ValueError, TypeError (also as fovea.Error, with .field), NotImplementedError (the message has each kernel's
    reason). Source: arXiv 2205.14135, 2307.08691.
    """
    if seq_lens is not None:
        seq_lens_q = seq_lens_k = _both("seq_lens", seq_lens, seq_lens_q, seq_lens_k)
    if cu_seqlens is not None:
        cu_seqlens_q = cu_seqlens_k = _both("cu_seqlens", cu_seqlens, cu_seqlens_q, cu_seqlens_k)
    if max_seqlen is not None:
        max_seqlen_q = max_seqlen_k = _both("max_seqlen", max_seqlen, max_seqlen_q, max_seqlen_k)
    compiler = _modules.get("torch.compiler")
    is_compiling = compiler is not None and compiler.is_compiling()
    if not is_compiling:
        result = _core.attention(
            q,
            k,
            v,
            causal,
            window,
            softmax_scale,
            softcap,
            seq_lens_q,
            seq_lens_k,
            cu_seqlens_q,
            cu_seqlens_k,
            max_seqlen_q,
            max_seqlen_k,
            layout,
            alignment,
            math,
            config,
            return_lse,
            out,
            lse_out,
            stream,
        )
        if result is not NotImplemented:
            return result
    options = Options(
        causal,
        window,
        softmax_scale,
        softcap,
        seq_lens_q,
        seq_lens_k,
        cu_seqlens_q,
        cu_seqlens_k,
        max_seqlen_q,
        max_seqlen_k,
        layout,
        alignment,
        math,
        config,
    )
    if is_compiling:  # torch.compile follows Python into the operator
        from fovea import _torch

        return _torch.attention(q, k, v, options, return_lse, out, lse_out, stream)
    from fovea import _frameworks

    return _frameworks.attention(q, k, v, options, return_lse, out, lse_out, stream)


def _options(
    causal: bool,
    window: tuple[int | None, int | None] | None,
    softmax_scale: float | None,
    softcap: float,
    seq_lens: Any,
    seq_lens_q: Any,
    seq_lens_k: Any,
    cu_seqlens: Any,
    cu_seqlens_q: Any,
    cu_seqlens_k: Any,
    max_seqlen: int | None,
    max_seqlen_q: int | None,
    max_seqlen_k: int | None,
    layout: str,
    alignment: str,
    math: str = "exact",
    config: AttentionConfig | None = None,
) -> Options:
    if seq_lens is not None:
        seq_lens_q = seq_lens_k = _both("seq_lens", seq_lens, seq_lens_q, seq_lens_k)
    if cu_seqlens is not None:
        cu_seqlens_q = cu_seqlens_k = _both("cu_seqlens", cu_seqlens, cu_seqlens_q, cu_seqlens_k)
    if max_seqlen is not None:
        max_seqlen_q = max_seqlen_k = _both("max_seqlen", max_seqlen, max_seqlen_q, max_seqlen_k)
    return Options(
        causal,
        window,
        softmax_scale,
        softcap,
        seq_lens_q,
        seq_lens_k,
        cu_seqlens_q,
        cu_seqlens_k,
        max_seqlen_q,
        max_seqlen_k,
        layout,
        alignment,
        math,
        config,
    )


@overload
def reference_attention(
    q: Array, k: Array, v: Array, *, return_lse: Literal[False] = False, **keywords: Unpack[MaskKeywords]
) -> Array: ...
@overload
def reference_attention(
    q: Array, k: Array, v: Array, *, return_lse: Literal[True], **keywords: Unpack[MaskKeywords]
) -> tuple[Array, Array]: ...
def reference_attention(
    q: Any,
    k: Any,
    v: Any,
    *,
    causal: bool = False,
    window: tuple[int | None, int | None] | None = None,
    softmax_scale: float | None = None,
    softcap: float = 0.0,
    seq_lens: Any = None,
    seq_lens_q: Any = None,
    seq_lens_k: Any = None,
    cu_seqlens: Any = None,
    cu_seqlens_q: Any = None,
    cu_seqlens_k: Any = None,
    max_seqlen: int | None = None,
    max_seqlen_q: int | None = None,
    max_seqlen_k: int | None = None,
    layout: str = "bshd",
    alignment: str = "bottom_right",
    return_lse: bool = False,
) -> Any:
    """The definition of right: attention in float64 with plain loops, slow on purpose; every kernel is judged by it.

    Arguments as for attention. Arrays on a GPU are copied to the CPU. Returns float64 of q's framework, on a CPU
    (NumPy for JAX, which has no float64 as it comes); with return_lse also lse in float64.
    """
    from fovea import _frameworks

    options = _options(
        causal,
        window,
        softmax_scale,
        softcap,
        seq_lens,
        seq_lens_q,
        seq_lens_k,
        cu_seqlens,
        cu_seqlens_q,
        cu_seqlens_k,
        max_seqlen,
        max_seqlen_q,
        max_seqlen_k,
        layout,
        alignment,
    )
    return _frameworks.reference(q, k, v, options, return_lse)


def explain(
    q: Any,
    k: Any,
    v: Any,
    *,
    causal: bool = False,
    window: tuple[int | None, int | None] | None = None,
    softmax_scale: float | None = None,
    softcap: float = 0.0,
    seq_lens: Any = None,
    seq_lens_q: Any = None,
    seq_lens_k: Any = None,
    cu_seqlens: Any = None,
    cu_seqlens_q: Any = None,
    cu_seqlens_k: Any = None,
    max_seqlen: int | None = None,
    max_seqlen_q: int | None = None,
    max_seqlen_k: int | None = None,
    layout: str = "bshd",
    alignment: str = "bottom_right",
    return_lse: bool = False,
    math: str = "exact",
    config: AttentionConfig | None = None,
    architecture: str = "",
    json: bool = False,
) -> Any:
    """How attention would compute this call, and why each other kernel refused; nothing is computed.

    architecture: plan for a GPU that need not be here, such as "sm_90a"; default the arrays' own device.
    json: a dict instead of text. Its "copies" lists what would be copied on the way in or out: lengths and offsets that
    are given as lists. Of arrays there are none; what cannot be read where it lies is refused.
    """
    from fovea import _frameworks

    options = _options(
        causal,
        window,
        softmax_scale,
        softcap,
        seq_lens,
        seq_lens_q,
        seq_lens_k,
        cu_seqlens,
        cu_seqlens_q,
        cu_seqlens_k,
        max_seqlen,
        max_seqlen_q,
        max_seqlen_k,
        layout,
        alignment,
        math,
        config,
    )
    native = _frameworks.native_call(q, k, v, options)
    text = _core.explain(*native.arrays, *native.options, return_lse, json, architecture)
    if json:
        import json as _json

        return {**_json.loads(text), "copies": list(native.copies)}
    return text + f"copies   {', '.join(native.copies) or 'none'}\n"


@overload
def info(*, text: Literal[False] = False) -> dict[str, Any]: ...
@overload
def info(*, text: Literal[True]) -> str: ...
def info(*, text: bool = False) -> dict[str, Any] | str:
    """Processor, caches, instruction sets, threads, settings, GPUs, compiler: a dict, or text for people."""
    import json as _json

    described = _core.info(not text)
    return described if text else _json.loads(described)
