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
from fovea._options import AttentionConfig
from fovea.compat._refuse import invalid, wrong_type
from fovea.compat._tiles import attention_configs, with_first_taken


@dataclasses.dataclass(frozen=True)
class KernelsConfigV2:
    """How a Triton kernel is compiled and tuned for one compute capability.

    Here block_rows_size and block_cols_size are the tile of the forward kernel where one takes them, and max_headdim is
    a limit; the other numbers are about Triton's compiler and are checked for sense only. backward_autotune_configs may
    hold anything: backward is made of PyTorch's matrix products.
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

    def __post_init__(self) -> None:
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


def _check(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> None:
    for name, x in (("q", q), ("k", k), ("v", v)):
        if not isinstance(x, torch.Tensor):
            raise wrong_type(name, f"{name} is a {type(x).__name__}, must be a torch.Tensor")
        if x.dim() != 4:
            raise invalid(name, f"{name} has {x.dim()} dimensions, must have 4: (batch, nheads, seqlen, headdim)")
        if x.device != q.device:
            raise invalid(name, f"{name} is on {x.device} but q is on {q.device}; all tensors must be on one device")
        if x.dtype != q.dtype:
            raise wrong_type(name, f"{name} has dtype {x.dtype} but q has {q.dtype}; all tensors must be of one type")
    if not q.dtype.is_floating_point:
        raise wrong_type("q", f"q has dtype {q.dtype}, must be floating; it is computed in float16")


def _forward(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, softmax_scale: float | None, tile: tuple[int, int] | None
) -> torch.Tensor:
    half = (x.to(torch.float16) for x in (q, k, v))
    rows = tuple(x if x.stride(-1) == 1 or x.shape[-1] <= 1 else x.contiguous() for x in half)

    def call(config: AttentionConfig | None) -> torch.Tensor:
        return fovea.attention(
            *rows, causal=True, alignment="top_left", softmax_scale=softmax_scale, layout="bhsd", config=config
        )

    if tile is None:
        o = call(None)
    else:
        key = ("attention", q.device, q.shape, k.shape, v.shape, tile)
        o, _ = with_first_taken(key, attention_configs(*tile), call)
    return o.to(q.dtype).contiguous()


def flash_attention_v2(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, softmax_scale: float | None = None, deterministic: bool = False
) -> torch.Tensor:
    """Causal attention of q (batch, nheads, seqlen_q, headdim) with k, v (batch, nheads, seqlen_k, headdim).

    softmax_scale: default 1 / sqrt(headdim). deterministic: forward and backward always are.
    Raises ValueError (shapes, devices), TypeError (dtypes), NotImplementedError (GPUs older than Turing).
    """
    _check(q, k, v)
    return _forward(q, k, v, softmax_scale, None)


def flash_attention_v2_custom(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    softmax_scale: float | None,
    kernels_configs: dict[tuple[int, int], KernelsConfigV2],
) -> torch.Tensor:
    """The same, with the configuration for the compute capability of the GPU that q is on; a CPU needs none."""
    _check(q, k, v)
    if q.device.type != "cuda":
        return _forward(q, k, v, softmax_scale, None)
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
    return _forward(q, k, v, softmax_scale, (config.block_rows_size, config.block_cols_size))
