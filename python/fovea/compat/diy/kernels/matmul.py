# SPDX-License-Identifier: Apache-2.0
"""triton_matmul and persistent_matmul. Block sizes are the tile of the product where a kernel takes them."""

from __future__ import annotations

import torch

import fovea
from fovea.compat._refuse import invalid, wrong_type
from fovea.compat._tiles import matmul_configs, with_first_taken

_DTYPES = (torch.float16, torch.float32, torch.bfloat16)


def _check(a: torch.Tensor, b: torch.Tensor, blocks: tuple[int | None, ...]) -> None:
    for name, x in (("a", a), ("b", b)):
        if not isinstance(x, torch.Tensor):
            raise wrong_type(name, f"{name} is a {type(x).__name__}, must be a torch.Tensor")
    if a.dim() != 2 or b.dim() != 2:
        raise invalid("a", f"Expected 2D tensors, got a.dim()={a.dim()}, b.dim()={b.dim()}; use .view() or .reshape()")
    if a.dtype not in _DTYPES or b.dtype not in _DTYPES:
        raise wrong_type("a", f"Unsupported dtype: a is {a.dtype}, b is {b.dtype}; use float16, bfloat16 or float32")
    if a.dtype != b.dtype:
        raise wrong_type("b", f"Input dtypes must match, got {a.dtype} and {b.dtype}; convert one of them")
    if a.device != b.device:
        raise invalid("b", f"Input tensors must be on the same device, got {a.device} and {b.device}; move one")
    if a.shape[1] != b.shape[0]:
        raise invalid(
            "b", f"Incompatible dimensions: A is {tuple(a.shape)}, B is {tuple(b.shape)}; A's second must be B's first"
        )
    given = [block for block in blocks if block is not None]
    if given and len(given) < 3:
        raise invalid("block_m", f"All block sizes (block_m, block_n, block_k) must be given, or none; got {blocks}")
    if any(block <= 0 for block in given):
        raise invalid("block_m", f"Block sizes must be positive, got {blocks}")


_DEFAULT_BLOCKS = (64, 64, 32)  # of persistent_matmul: nobody chose them, so the library may choose better


def _product(
    a: torch.Tensor, b: torch.Tensor, blocks: tuple[int, int, int] | None, persistent: bool = False
) -> torch.Tensor:
    if blocks is None:
        return fovea.matmul(a, b)
    # Each shape has its plan, and a plan decides which kernel it is.
    key = ("matmul", a.device, a.dtype, a.shape, b.shape, a.stride(), b.stride(), blocks, persistent)
    persistent = persistent and a.device.type == "cuda"
    return with_first_taken(key, matmul_configs(*blocks, persistent), lambda c: fovea.matmul(a, b, config=c))[0]


def triton_matmul(
    a: torch.Tensor,
    b: torch.Tensor,
    block_m: int | None = None,
    block_n: int | None = None,
    block_k: int | None = None,
    use_autotune: bool = True,
) -> torch.Tensor:
    """C = A @ B of (M, K) and (K, N). float16 and bfloat16 stay; float32 is converted, and the result is float16.

    block_m, block_n, block_k: the tile of C that a block of threads (on a CPU, a task) computes, and its step along K.
    Where no kernel takes the three, and without them, the library chooses, so use_autotune changes nothing then.
    Raises ValueError (dimensions, devices, block sizes), TypeError (dtypes).
    """
    _check(a, b, (block_m, block_n, block_k))
    if not use_autotune and block_m is None:
        raise invalid("block_m", "Manual block sizes are required when use_autotune=False; pass block_m, block_n and block_k")
    if a.dtype == torch.float32:
        a, b = a.to(torch.float16), b.to(torch.float16)
    blocks = None if block_m is None or block_n is None or block_k is None else (block_m, block_n, block_k)
    return _product(a, b, blocks)


def persistent_matmul(
    a: torch.Tensor, b: torch.Tensor, block_m: int = 64, block_n: int = 64, block_k: int = 32
) -> torch.Tensor:
    """C = A @ B of (M, K) and (K, N), in the inputs' dtype; float32 is computed with float32 accuracy.

    Block sizes as for triton_matmul, with blocks of threads that stay for several tiles where a kernel has such; with
    the default sizes the library chooses.
    """
    _check(a, b, (block_m, block_n, block_k))
    blocks = (block_m, block_n, block_k)
    return _product(a, b, None if blocks == _DEFAULT_BLOCKS else blocks, persistent=True)
