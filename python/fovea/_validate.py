# SPDX-License-Identifier: Apache-2.0
"""Judging a computed output by the rule of docs/numerics.md."""

from __future__ import annotations

from typing import Any, NamedTuple

from fovea import _core, _frameworks
from fovea._attention import _options


class Validation(NamedTuple):
    """Errors against float64. bool() of it is passed; str() is a report for people."""

    passed: bool
    max_error: float
    plain_max_error: float
    max_limit: float
    rms_error: float
    plain_rms_error: float
    rms_limit: float
    rows_checked: int
    report: str

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        return self.report


def validate_attention(
    o: Any,
    q: Any,
    k: Any,
    v: Any,
    *,
    lse: Any = None,
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
    max_rows: int = 0,
) -> Validation:
    """Judges o (and lse), as any method computed it from q, k, v, by the rule of docs/numerics.md: against float64, the
    largest error is at most 2 times, the RMS error at most 1.1 times that of the plain method in the same precision.

    Other arguments as for attention. max_rows: check about so many rows, spread evenly; 0 checks all.
    """
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
    to_numpy = _frameworks.framework_to_numpy
    arrays = [to_numpy(name, array) for name, array in (("q", q), ("k", k), ("v", v))]
    given = options.with_arrays(_frameworks.int32_vector)
    return Validation(
        **_core.verdict(*arrays, *given, to_numpy("o", o), None if lse is None else to_numpy("lse", lse), max_rows)
    )
