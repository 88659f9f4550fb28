# SPDX-License-Identifier: Apache-2.0
"""Tile sizes that were made for another library's kernels, as configs of ours where one of our kernels takes them."""

from __future__ import annotations

from typing import Any, Callable, Hashable, Iterable, Iterator, TypeVar

import torch

from fovea._options import AttentionConfig, MatmulConfig
from fovea.errors import Error

_Result = TypeVar("_Result")
_Config = TypeVar("_Config", AttentionConfig, MatmulConfig)

_MOST_KEPT = 4096
_taken: dict[Hashable, Any] = {}


def matmul_configs(block_m: int, block_n: int, block_k: int, persistent: bool = False) -> Iterator[MatmulConfig]:
    """Best first: the kernel that the GPU is made for, then the one whose tiles are free, with as many warps as the
    tile's sums need registers and as many stages as fit."""
    tile = MatmulConfig(block_m=block_m, block_n=block_n, block_k=block_k)
    if persistent:
        yield tile._replace(persistent=True)
    yield tile
    for warps, stages in ((0, 0), (8, 3), (8, 2), (1, 0)):
        yield tile._replace(warps=warps, stages=stages, kernel="matmul_sm80")


def attention_configs(block_q: int, block_k: int) -> Iterator[AttentionConfig]:
    """The same. More than 32 rows of a tile per warp do not fit in registers; one stage takes least shared memory."""
    tile = AttentionConfig(block_q=block_q, block_k=block_k)
    if block_q <= 128:
        yield tile
    free = tile._replace(kernel="attention_forward_sm80")
    yield free._replace(warps=max(1, block_q // (16 if block_q <= 64 else 32)))
    yield free._replace(warps=max(1, block_q // 16), stages=1)


def with_first_taken(
    key: Hashable, configs: Iterable[_Config], call: Callable[[_Config | None], _Result]
) -> tuple[_Result, _Config | None]:
    """call(config) with the first config whose tile a kernel takes, and that config; None, the library's own choice, if
    there is none. What was taken for a key is tried first the next time."""
    if torch.compiler.is_compiling():  # a plan is made when the operator runs, too late to try another
        return call(None), None
    if len(_taken) > _MOST_KEPT:
        _taken.clear()
    if key in _taken:
        return call(_taken[key]), _taken[key]
    for config in configs:
        try:
            result = call(config)
        except Error as error:
            if not (error.field.startswith("tile") or error.field == "kernel"):
                raise
            continue
        _taken[key] = config
        return result, config
    _taken[key] = None
    return call(None), None
