# SPDX-License-Identifier: Apache-2.0
"""Features of recent GPUs, and the choice of functions that follows from them."""

from __future__ import annotations

from typing import Callable

import torch

from fovea.compat._refuse import unsupported, wrong_type
from fovea.compat.diy.kernels._selector import BackendSelector
from fovea.compat.diy.kernels.flash_attn import flash_attention
from fovea.compat.diy.kernels.matmul import triton_matmul
from fovea.compat.diy.utils.gpu_detect import detect_gpu, get_optimal_config


def check_hopper_features() -> dict[str, bool]:
    caps = detect_gpu()
    return {"tma": caps.has_tma, "fp8": caps.has_fp8, "warpgroup_mma": caps.has_warpgroup_mma}


def supports_fp8() -> bool:
    """Whether this GPU multiplies fp8 numbers."""
    return detect_gpu().has_fp8


def _to_fp8(x: torch.Tensor, name: str) -> torch.Tensor:
    if not x.is_floating_point():
        raise wrong_type("x", f"x has dtype {x.dtype}, must be floating")
    if not hasattr(torch, name):
        raise unsupported("x", f"this PyTorch has no torch.{name}; use 2.1 or newer")
    return x.to(getattr(torch, name))


def to_fp8_e4m3(x: torch.Tensor) -> torch.Tensor:
    """x in 8 bits, 4 of exponent, on any device; fovea.matmul multiplies such matrices."""
    return _to_fp8(x, "float8_e4m3fn")


def to_fp8_e5m2(x: torch.Tensor) -> torch.Tensor:
    """x in 8 bits, 5 of exponent, on any device."""
    return _to_fp8(x, "float8_e5m2")


class AdaptiveKernelSelector:
    """The functions for this machine. Fovea chooses the kernel anew for each call (fovea.explain tells which)."""

    def __init__(self) -> None:
        self.caps = detect_gpu()

    def get_matmul_kernel(self) -> Callable:
        return triton_matmul

    def get_attention_kernel(self, q_shape: tuple[int, int, int, int] | None = None) -> Callable:
        major, minor = self.caps.compute_capability
        return BackendSelector.select_attention(q_shape=q_shape, gpu_capability=10 * major + minor)

    def get_matmul_config(self) -> dict:
        return get_matmul_config()

    def get_attention_config(self) -> dict:
        return get_attention_config()


def get_optimal_matmul() -> Callable:
    return triton_matmul


def get_optimal_attention() -> Callable:
    return flash_attention


def get_matmul_config() -> dict:
    return get_optimal_config(detect_gpu(), "matmul")


def get_attention_config() -> dict:
    return get_optimal_config(detect_gpu(), "flash_attention")


def print_feature_status() -> None:
    print(f"GPU: {detect_gpu().name}")
    for name, there in check_hopper_features().items():
        print(f"{name}: {'yes' if there else 'no'}")
