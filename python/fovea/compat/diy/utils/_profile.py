# SPDX-License-Identifier: Apache-2.0
"""Occupancy by CUDA's rules, and what is known of each generation's memory."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple, Sequence

from fovea.compat._refuse import invalid


@dataclasses.dataclass
class GPUMemoryProfile:
    """How a kernel uses the memories of a GPU."""

    occupancy_pct: float
    smem_used_bytes: int
    smem_available_bytes: int
    reg_per_thread: int
    l2_hit_rate: float
    estimated_stall_cycles: int

    def smem_pressure_pct(self) -> float:
        """Used shared memory in percent of the available; 100 if none is available."""
        if self.smem_available_bytes <= 0:
            return 100.0
        return 100.0 * self.smem_used_bytes / self.smem_available_bytes

    def can_increase_occupancy(self) -> bool:
        """Whether shared memory leaves room for another block (below 70 percent)."""
        return self.smem_pressure_pct() < 70.0


@dataclasses.dataclass
class KernelBenchmark:
    """Times of a kernel, beside how it uses memory."""

    kernel_name: str
    elapsed_ms: float
    tflops: float
    gbps: float
    memory_profile: GPUMemoryProfile


class _Limits(NamedTuple):
    """Of one SM, as the CUDA programming guide's table of compute capabilities has them; reserved: per block."""

    warps: int
    blocks: int
    shared_bytes: int
    shared_per_block_bytes: int
    reserved_bytes: int


_KIB = 1024
_LIMITS = {
    70: _Limits(64, 32, 96 * _KIB, 96 * _KIB, 0),
    75: _Limits(32, 16, 64 * _KIB, 64 * _KIB, 0),
    80: _Limits(64, 32, 164 * _KIB, 163 * _KIB, _KIB),
    86: _Limits(48, 16, 100 * _KIB, 99 * _KIB, _KIB),
    87: _Limits(48, 16, 164 * _KIB, 163 * _KIB, _KIB),
    89: _Limits(48, 24, 100 * _KIB, 99 * _KIB, _KIB),
    90: _Limits(64, 32, 228 * _KIB, 227 * _KIB, _KIB),
    100: _Limits(64, 32, 228 * _KIB, 227 * _KIB, _KIB),
    103: _Limits(64, 32, 228 * _KIB, 227 * _KIB, _KIB),
    120: _Limits(48, 24, 100 * _KIB, 99 * _KIB, _KIB),
}
_REGISTERS, _REGISTER_UNIT, _SHARED_UNIT, _WARP = 65536, 256, 128, 32

# A card of each generation: L1 KB, L2 MB, memory GB, GB/s, dense float16 TFLOPS of the tensor cores with float32 sums.
_CARDS = {
    70: (128, 6, 32, 900, 125),  # V100
    75: (96, 4, 16, 320, 65),  # T4
    80: (192, 40, 80, 2039, 312),  # A100 80 GB
    86: (128, 6, 24, 936, 71),  # RTX 3090
    87: (192, 4, 64, 205, 43),  # AGX Orin
    89: (128, 72, 24, 1008, 165),  # RTX 4090
    90: (256, 50, 80, 3352, 989),  # H100 SXM
    100: (256, 126, 180, 8000, 2250),  # B200
    103: (256, 126, 270, 8000, 2250),  # B300
    120: (128, 96, 32, 1792, 209),  # RTX 5090
}


def _known(gpu_capability: int | Sequence[int]) -> int:
    """8, 80, 86, (8, 6) … as 10 * major + minor; an unknown minor counts as its major's first."""
    if isinstance(gpu_capability, int):
        capability = gpu_capability * 10 if gpu_capability < 20 else gpu_capability
    else:
        capability = 10 * gpu_capability[0] + gpu_capability[1]
    if capability in _LIMITS:
        return capability
    if capability // 10 * 10 in _LIMITS:
        return capability // 10 * 10
    raise invalid("gpu_capability", f"gpu_capability is {gpu_capability}, must be one of {sorted(_LIMITS)}, or a major")


def _rounded_up(n: int, unit: int) -> int:
    return -(-n // unit) * unit


def estimate_occupancy(
    block_size: int, registers_per_thread: int, shared_memory_bytes: int, gpu_capability: int
) -> float:
    """Active warps in percent of the most that an SM holds, 0 if a block does not fit at all.

    Blocks per SM are limited by warps, blocks, registers (given out per warp in units of 256) and shared memory (in
    units of 128 bytes, 1 KiB of it reserved per block from compute capability 8.0 on), as in NVIDIA's calculator.
    """
    limits = _LIMITS[_known(gpu_capability)]
    for name, value, most in (("block_size", block_size, 1024), ("registers_per_thread", registers_per_thread, 255)):
        if not 1 <= value <= most:
            raise invalid(name, f"{name} is {value}, must be from 1 to {most}")
    if shared_memory_bytes < 0:
        raise invalid("shared_memory_bytes", f"shared_memory_bytes is {shared_memory_bytes}, must not be negative")
    warps = -(-block_size // _WARP)
    # Registers are given to warps, four schedulers' worth at a time.
    per_warp = _rounded_up(registers_per_thread * _WARP, _REGISTER_UNIT)
    by_registers = _REGISTERS // per_warp // 4 * 4 // warps
    if shared_memory_bytes > limits.shared_per_block_bytes:
        return 0.0
    shared = _rounded_up(shared_memory_bytes + limits.reserved_bytes, _SHARED_UNIT)
    by_shared = limits.shared_bytes // shared if shared else limits.blocks
    blocks = min(limits.blocks, limits.warps // warps, by_registers, by_shared)
    return 100.0 * blocks * warps / limits.warps


def get_gpu_memory_hierarchy(gpu_capability: int) -> dict[str, int]:
    """Sizes and peaks of a generation, of a typical card (A100 80 GB, H100 SXM, RTX 4090 …).

    registers_per_warp: a warp's share when the SM is full. peak_compute_tflops: dense float16, float32 sums.
    """
    known = _known(gpu_capability)
    limits, (l1, l2, memory, bandwidth, tflops) = _LIMITS[known], _CARDS[known]
    return {
        "smem_per_block": limits.shared_per_block_bytes,
        "registers_per_warp": _REGISTERS // limits.warps,
        "l1_cache_kb": l1,
        "l2_cache_mb": l2,
        "hbm_gb": memory,
        "peak_bandwidth_gbps": bandwidth,
        "peak_compute_tflops": tflops,
        "max_warps_per_sm": limits.warps,
        "max_threads_per_warp": _WARP,
    }
