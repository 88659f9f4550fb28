# SPDX-License-Identifier: Apache-2.0
"""What `from kernels import …` gave: attention, matrix products, selection, block masks."""

from fovea.compat.diy.kernels._masks import BlockMask, compose_block_masks, create_block_mask
from fovea.compat.diy.kernels._selector import BackendSelector, KernelVariant, select_attention_kernel
from fovea.compat.diy.kernels._triton import TRITON_AVAILABLE, TritonKernelStub, require_triton
from fovea.compat.diy.kernels.flash_attn import flash_attention, flash_attention_v2, reference_attention
from fovea.compat.diy.kernels.matmul import persistent_matmul, triton_matmul
from fovea.compat.diy.kernels.modern_features import (
    AdaptiveKernelSelector,
    check_hopper_features,
    get_attention_config,
    get_matmul_config,
    get_optimal_attention,
    get_optimal_matmul,
    print_feature_status,
    supports_fp8,
    to_fp8_e4m3,
    to_fp8_e5m2,
)

__all__ = [
    "TRITON_AVAILABLE",
    "AdaptiveKernelSelector",
    "BackendSelector",
    "BlockMask",
    "KernelVariant",
    "TritonKernelStub",
    "check_hopper_features",
    "compose_block_masks",
    "create_block_mask",
    "flash_attention",
    "flash_attention_v2",
    "get_attention_config",
    "get_matmul_config",
    "get_optimal_attention",
    "get_optimal_matmul",
    "persistent_matmul",
    "print_feature_status",
    "reference_attention",
    "require_triton",
    "select_attention_kernel",
    "supports_fp8",
    "to_fp8_e4m3",
    "to_fp8_e5m2",
    "triton_matmul",
]
