# SPDX-License-Identifier: Apache-2.0
"""Which of the two attention functions suits a problem, by the documented rules."""

from __future__ import annotations

from enum import Enum
from typing import Callable

import torch

from fovea.compat._refuse import invalid, unsupported
from fovea.compat.diy.kernels.flash_attn import flash_attention, flash_attention_v2


class KernelVariant(str, Enum):
    """Kernel implementation variant."""

    V1 = "v1"
    V2 = "v2"
    PERSISTENT = "persistent"
    AUTO = "auto"


def _capability() -> int:
    """Of the current GPU as 10 * major + minor; 0 without one."""
    if not torch.cuda.is_available():
        return 0
    major, minor = torch.cuda.get_device_capability()
    return 10 * major + minor


def _v1_of_tokens_first(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    causal: bool = False,
    sm_scale: float | None = None,
    seq_lens: torch.Tensor | None = None,
) -> torch.Tensor:
    """V1 for tensors as q_shape describes them, (batch, seq_len, heads, head_dim)."""
    o = flash_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), causal, sm_scale, seq_lens)
    return o.transpose(1, 2)


setattr(_v1_of_tokens_first, "layout", "bshd")


class BackendSelector:
    """Dispatch by compute capability, problem size and preference.

    V2 from compute capability 8.0 on; batch < 2 or seq_len < 512 → V1; batch >= 4 and seq_len >= 4096 → V2; else V1.
    """

    @staticmethod
    def select_attention(
        variant: KernelVariant | str = KernelVariant.AUTO,
        q_shape: tuple[int, int, int, int] | None = None,
        gpu_capability: int | None = None,
    ) -> Callable:
        """A function (q, k, v, causal, sm_scale, seq_lens).

        q_shape (batch, seq_len, heads, head_dim): with it, the function takes tensors of that order, whichever variant
        it is. Without it, V1 takes (batch, heads, seq_len, head_dim) and V2 (batch, seq_len, heads, head_dim).
        gpu_capability: 8, 80, 86 …; default the current GPU's.
        """
        try:
            variant = KernelVariant(variant)
        except ValueError:
            names = ", ".join(v.value for v in KernelVariant)
            raise invalid("variant", f"variant is {variant!r}, must be one of {names}") from None
        if variant == KernelVariant.PERSISTENT:
            raise unsupported("variant", "persistent attention is not implemented; use v1, v2 or auto")
        if q_shape is not None and len(q_shape) != 4:
            raise invalid("q_shape", f"q_shape is {q_shape}, must be (batch, seq_len, heads, head_dim)")
        if variant == KernelVariant.AUTO:
            capability = _capability() if gpu_capability is None else gpu_capability
            capability = capability * 10 if capability < 20 else capability
            is_large = q_shape is not None and q_shape[0] >= 4 and q_shape[1] >= 4096
            variant = KernelVariant.V2 if is_large and capability >= 80 else KernelVariant.V1
        if variant == KernelVariant.V2:
            return flash_attention_v2
        return flash_attention if q_shape is None else _v1_of_tokens_first


def select_attention_kernel(
    variant: str = "auto", q_shape: tuple[int, int, int, int] | None = None, gpu_capability: int | None = None
) -> Callable:
    """BackendSelector.select_attention with the variant's name: "v1", "v2", "persistent", "auto"."""
    return BackendSelector.select_attention(variant, q_shape, gpu_capability)
