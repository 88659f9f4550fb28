# SPDX-License-Identifier: Apache-2.0
"""The functions of the package flash_attention_triton: same names, argument order and defaults.

Tensors are (batch, nheads, seqlen, headdim); attention is always causal, query i seeing keys up to i. As that package's
documentation says, computation is in float16 and the output has the inputs' dtype. Neither Triton nor a GPU is needed.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Callable

import torch

import fovea
from fovea.compat._refuse import invalid


@dataclasses.dataclass(frozen=True)
class KernelsConfigV2:
    """How a Triton kernel is compiled and tuned for one compute capability.

    Here max_headdim is a limit that is checked; the other numbers are Triton's and are checked for sense only: Fovea's
    kernels have tiles of their own. backward_autotune_configs may hold anything.
    """

    block_rows_size: int
    block_cols_size: int
    min_block_headdim: int
    max_headdim: int
    seqlen_cache_divisor: int
    min_warps: int
    max_warps: int
    num_stages: int
    backward_autotune_configs: list[Any]

    def __post_init__(self):
        for field in dataclasses.fields(self)[:8]:
            value = getattr(self, field.name)
            if not isinstance(value, int) or value <= 0:
                raise invalid(field.name, f"{field.name} is {value!r}, must be a positive integer")
        if self.min_block_headdim < 16 or self.min_block_headdim & (self.min_block_headdim - 1):
            raise invalid(
                "min_block_headdim", f"min_block_headdim is {self.min_block_headdim}, must be a power of 2, at least 16"
            )
        if self.min_warps > self.max_warps:
            raise invalid("min_warps", f"min_warps is {self.min_warps}, must be at most max_warps ({self.max_warps})")


def init_to_zero_v2(name: str) -> Callable[[dict[str, torch.Tensor]], torch.Tensor]:
    """A hook that fills the tensor of that name among a kernel's arguments with zeros and returns it."""

    def zero(arguments: dict[str, torch.Tensor]) -> torch.Tensor:
        return arguments[name].zero_()

    return zero


def flash_attention_v2(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, softmax_scale: float | None = None, deterministic: bool = False
) -> torch.Tensor:
    """Causal attention of q (batch, nheads, seqlen_q, headdim) with k, v (batch, nheads, seqlen_k, headdim).

    softmax_scale: default 1 / sqrt(headdim). deterministic: forward and backward always are.
    """
    half = (x.to(torch.float16) for x in (q, k, v))
    half = (x if x.stride(-1) == 1 or x.shape[-1] <= 1 else x.contiguous() for x in half)
    o = fovea.attention(*half, causal=True, alignment="top_left", softmax_scale=softmax_scale, layout="bhsd")
    return o.to(q.dtype).contiguous()


def flash_attention_v2_custom(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    softmax_scale: float | None,
    kernels_configs: dict[tuple[int, int], KernelsConfigV2],
) -> torch.Tensor:
    """The same, with a configuration for the compute capability of the GPU that q is on; a CPU needs none."""
    if q.device.type == "cuda":
        capability = tuple(torch.cuda.get_device_capability(q.device))
        if capability not in kernels_configs:
            raise invalid(
                "kernels_configs",
                f"Missing kernel configuration for compute capability {capability}; kernels_configs has "
                f"{sorted(kernels_configs)}, add one for {q.device}",
            )
        config = kernels_configs[capability]
        if q.shape[-1] > config.max_headdim:
            raise invalid("q", f"q has headdim {q.shape[-1]}, the configuration's max_headdim is {config.max_headdim}")
    return flash_attention_v2(q, k, v, softmax_scale, deterministic=True)
