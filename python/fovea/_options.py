# SPDX-License-Identifier: Apache-2.0
"""What a call of attention may be told, in the order in which the compiled module takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, NamedTuple, TypeVar

if TYPE_CHECKING:
    from typing_extensions import Protocol, TypedDict

Array = TypeVar("Array", bound="Shaped")  # of NumPy, PyTorch, JAX, CuPy: what comes in is what goes out


class AttentionConfig(NamedTuple):
    """How to compute, for those who insist; 0 and "" leave the choice to the library.

    block_q, block_k: rows and keys of a tile. stages, warps: on GPUs, buffers of keys and warps per block.
    kernel: the name of a kernel, as `explain` prints it; it runs or the call fails.
    """

    block_q: int = 0
    block_k: int = 0
    stages: int = 0
    warps: int = 0
    kernel: str = ""


class MatmulConfig(NamedTuple):
    """How to compute a matrix product, for those who insist; 0, None and "" leave the choice to the library.

    block_m, block_n, block_k: a tile, all three or none. num_splits: parts of k that are computed apart. stages, warps,
    cluster_m, cluster_n, persistent: on GPUs. kernel: the name of a kernel, as `explain_matmul` prints it.
    """

    block_m: int = 0
    block_n: int = 0
    block_k: int = 0
    stages: int = 0
    warps: int = 0
    cluster_m: int = 0
    cluster_n: int = 0
    num_splits: int = 0
    persistent: bool | None = None
    kernel: str = ""


class MatmulOptions(NamedTuple):
    """In the order in which the compiled module takes them after the arrays."""

    alpha: float = 1.0
    beta: float | None = None
    activation: str | None = None
    math: str = "exact"
    config: MatmulConfig | None = None


class Options(NamedTuple):
    causal: bool = False
    window: tuple[int | None, int | None] | None = None
    softmax_scale: float | None = None
    softcap: float = 0.0
    seq_lens_q: Any = None
    seq_lens_k: Any = None
    cu_seqlens_q: Any = None
    cu_seqlens_k: Any = None
    max_seqlen_q: int | None = None
    max_seqlen_k: int | None = None
    layout: str = "bshd"
    alignment: str = "bottom_right"
    math: str = "exact"
    config: AttentionConfig | None = None

    def with_arrays(self, convert: Callable[[str, Any], Any]) -> Options:
        """The same with lengths and offsets that are given passed through convert(name, array)."""
        return self._replace(
            **{
                name: convert(name, getattr(self, name))
                for name in ("seq_lens_q", "seq_lens_k", "cu_seqlens_q", "cu_seqlens_k")
                if getattr(self, name) is not None
            }
        )


if TYPE_CHECKING:

    class Shaped(Protocol):
        """What every framework's array has."""

        @property
        def shape(self) -> Any: ...
        @property
        def dtype(self) -> Any: ...

    class MaskKeywords(TypedDict, total=False):
        """What attention and its relatives have in common."""

        causal: bool
        window: tuple[int | None, int | None] | None
        softmax_scale: float | None
        softcap: float
        seq_lens: Any
        seq_lens_q: Any
        seq_lens_k: Any
        cu_seqlens: Any
        cu_seqlens_q: Any
        cu_seqlens_k: Any
        max_seqlen: int | None
        max_seqlen_q: int | None
        max_seqlen_k: int | None
        layout: str
        alignment: str

    class AttentionKeywords(MaskKeywords, total=False):
        """What attention takes besides."""

        out: Any
        lse_out: Any
        math: str
        config: AttentionConfig | None
        stream: int | None
