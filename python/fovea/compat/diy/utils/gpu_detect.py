# SPDX-License-Identifier: Apache-2.0
"""What machine this is: a GPU, or without one the processor."""

from __future__ import annotations

import dataclasses
import os
from enum import Enum

import torch

import fovea
from fovea.compat._refuse import invalid


class GPUArch(Enum):
    """GPU architecture."""

    VOLTA = "sm_70"
    TURING = "sm_75"
    AMPERE = "sm_80"
    ADA = "sm_89"
    HOPPER = "sm_90"
    BLACKWELL = "sm_100"
    UNKNOWN = "unknown"


@dataclasses.dataclass
class GPUCapabilities:
    """What a GPU is; of a processor the name, the cores as num_sms, and the memory are told."""

    name: str
    arch: GPUArch
    compute_capability: tuple
    has_tma: bool
    has_fp8: bool
    has_warpgroup_mma: bool
    sram_per_sm: int
    num_sms: int
    total_memory_gb: float


def arch_of(major: int, minor: int) -> GPUArch:
    if (major, minor) == (7, 5):
        return GPUArch.TURING
    if (major, minor) == (8, 9):
        return GPUArch.ADA
    by_major = {7: GPUArch.VOLTA, 8: GPUArch.AMPERE, 9: GPUArch.HOPPER}
    return by_major.get(major, GPUArch.BLACKWELL if major >= 10 else GPUArch.UNKNOWN)


def _processor() -> GPUCapabilities:
    name = fovea.info()["processor"]["model_name"]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    return GPUCapabilities(f"{name} (no GPU)", GPUArch.UNKNOWN, (0, 0), False, False, False, 0, cores, memory)


def detect_gpu(device_id: int = 0) -> GPUCapabilities:
    """Describes GPU device_id; without any GPU, the processor, with compute_capability (0, 0)."""
    if not torch.cuda.is_available():
        if device_id != 0:
            raise invalid("device_id", f"device_id is {device_id}, but there is no GPU")
        return _processor()
    if not 0 <= device_id < torch.cuda.device_count():
        raise invalid("device_id", f"device_id is {device_id}, must be from 0 to {torch.cuda.device_count() - 1}")
    found = torch.cuda.get_device_properties(device_id)
    capability = (found.major, found.minor)
    return GPUCapabilities(
        name=found.name,
        arch=arch_of(*capability),
        compute_capability=capability,
        has_tma=capability >= (9, 0),
        has_fp8=capability >= (8, 9),
        has_warpgroup_mma=capability == (9, 0),
        sram_per_sm=found.shared_memory_per_multiprocessor,
        num_sms=found.multi_processor_count,
        total_memory_gb=found.total_memory / 2**30,
    )


def print_gpu_info(caps: GPUCapabilities | None = None) -> None:
    caps = detect_gpu() if caps is None else caps
    print(f"GPU: {caps.name}")
    print(f"Architecture: {caps.arch.value}")
    print(f"Compute Capability: {caps.compute_capability[0]}.{caps.compute_capability[1]}")
    print(f"SMs: {caps.num_sms}")
    print(f"Shared memory per SM: {caps.sram_per_sm / 1024:.0f} KB")
    print(f"Total memory: {caps.total_memory_gb:.1f} GB")
    print(f"TMA: {caps.has_tma}")
    print(f"FP8: {caps.has_fp8}")
    print(f"Warpgroup MMA: {caps.has_warpgroup_mma}")


def get_optimal_config(caps: GPUCapabilities, operation: str = "matmul") -> dict:
    """The tile that Fovea's plan has for a usual problem ("matmul" or "flash_attention") on the machine described. For
    a GPU, which need not be here, planning compiles the kernel."""
    major, minor = caps.compute_capability
    architecture = f"sm_{major}{minor}" if major else ""
    if operation == "matmul":
        a = torch.empty(2048, 2048, dtype=torch.float16)
        return fovea.explain_matmul(a, a, json=True, architecture=architecture)["config"]
    if operation == "flash_attention":
        q = torch.empty(4, 2048, 8, 64, dtype=torch.float16)
        return fovea.explain(q, q, q, causal=True, json=True, architecture=architecture)["config"]
    raise invalid("operation", f"Unknown operation: {operation}. Use 'matmul' or 'flash_attention'.")
