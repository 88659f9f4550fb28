# SPDX-License-Identifier: Apache-2.0
"""What `from utils import …` gave: GPU description, occupancy, benchmarks, validation."""

from fovea.compat.diy.utils._profile import (
    GPUMemoryProfile,
    KernelBenchmark,
    estimate_occupancy,
    get_gpu_memory_hierarchy,
)
from fovea.compat.diy.utils.benchmark import BenchmarkResult, BenchmarkRunner
from fovea.compat.diy.utils.gpu_detect import GPUArch, GPUCapabilities, detect_gpu, get_optimal_config, print_gpu_info
from fovea.compat.diy.utils.validation import (
    validate_attention,
    validate_attention_edge_cases,
    validate_matmul,
    validate_matmul_edge_cases,
)

__all__ = [
    "BenchmarkResult",
    "BenchmarkRunner",
    "GPUArch",
    "GPUCapabilities",
    "GPUMemoryProfile",
    "KernelBenchmark",
    "detect_gpu",
    "estimate_occupancy",
    "get_gpu_memory_hierarchy",
    "get_optimal_config",
    "print_gpu_info",
    "validate_attention",
    "validate_attention_edge_cases",
    "validate_matmul",
    "validate_matmul_edge_cases",
]
