# SPDX-License-Identifier: Apache-2.0
"""Checks of a function against float32 arithmetic on random inputs, drawn without touching the global generator."""

from __future__ import annotations

from typing import Callable

import torch

from fovea.compat.diy.kernels.flash_attn import reference_attention

_SEED = 42


def _device(device: str) -> torch.device:
    """The CPU stands in where a GPU is asked for and there is none."""
    return torch.device("cpu" if str(device).startswith("cuda") and not torch.cuda.is_available() else device)


def _random(*shape: int, dtype: torch.dtype, device: torch.device, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(*shape, generator=generator).to(device=device, dtype=dtype)


def _judge(
    ours: torch.Tensor, exact: torch.Tensor, rtol: float, atol: float, verbose: bool, what: str
) -> tuple[bool, float]:
    """(within tolerance, largest difference). Rounding to ours' dtype, one unit of it, is not counted as an error."""
    rtol = max(rtol, torch.finfo(ours.dtype).eps)
    difference = (ours.double() - exact.double()).abs()
    largest = difference.max().item() if difference.numel() else 0.0
    is_valid = ours.shape == exact.shape and bool((difference <= atol + rtol * exact.double().abs()).all())
    if verbose:
        print(f"{what}: {'passed' if is_valid else 'FAILED'}, max diff {largest:.3e}")
    return is_valid, largest


def validate_matmul(
    fn: Callable,
    m: int,
    n: int,
    k: int,
    rtol: float = 1e-3,
    atol: float = 1e-3,
    dtype: torch.dtype = torch.float16,
    device: str = "cuda",
    verbose: bool = False,
) -> tuple[bool, float]:
    """fn(a, b) for random (m, k) and (k, n) against the product in float64: (valid, largest difference)."""
    place, generator = _device(device), torch.Generator().manual_seed(_SEED)
    a = _random(m, k, dtype=dtype, device=place, generator=generator)
    b = _random(k, n, dtype=dtype, device=place, generator=generator)
    d = fn(a, b)
    # float32 that comes back as float16 was rounded on the way in.
    given = (a.to(d.dtype), b.to(d.dtype))
    return _judge(d, given[0].double() @ given[1].double(), rtol, atol, verbose, f"matmul {m} x {n} x {k}")


def validate_attention(
    fn: Callable,
    batch: int,
    heads: int,
    seq_len: int,
    head_dim: int,
    causal: bool = False,
    rtol: float = 1e-3,
    atol: float = 1e-3,
    dtype: torch.dtype = torch.float16,
    device: str = "cuda",
    verbose: bool = False,
) -> tuple[bool, float]:
    """fn(q, k, v, causal=causal) against reference_attention in float32: (valid, largest difference).

    fn gets (batch, heads, seq_len, head_dim), or, if it is one of the functions here that want it so, (batch, seq_len,
    heads, head_dim).
    """
    place, generator = _device(device), torch.Generator().manual_seed(_SEED)
    q, k, v = (_random(batch, heads, seq_len, head_dim, dtype=dtype, device=place, generator=generator) for _ in "qkv")
    exact = reference_attention(q.float(), k.float(), v.float(), causal)
    is_swapped = getattr(fn, "layout", "bhsd") == "bshd"
    given = (x.transpose(1, 2).contiguous() if is_swapped else x for x in (q, k, v))
    o = fn(*given, causal=causal)
    name = f"attention b={batch} h={heads} s={seq_len} d={head_dim}{' causal' if causal else ''}"
    o = o.transpose(1, 2) if is_swapped else o
    # Computed in float16 where the function says so: the inputs' rounding counts.
    looser = 2.0**-10 if dtype == torch.float32 else 0.0
    return _judge(o, exact, max(rtol, looser), max(atol, looser), verbose, name)


def validate_matmul_edge_cases(fn: Callable, device: str = "cuda", verbose: bool = False) -> tuple[bool, dict]:
    """Odd, tiny, long and zero matrices: (all valid, {case: (valid, largest difference)})."""
    shapes = [(1, 1, 1), (2, 3, 4), (16, 16, 16), (127, 129, 65), (1, 512, 64), (512, 1, 64), (33, 1024, 17)]
    found = {f"{m}x{n}x{k}": validate_matmul(fn, m, n, k, device=device, verbose=verbose) for m, n, k in shapes}
    zero = torch.zeros(64, 64, dtype=torch.float16, device=_device(device))
    largest = fn(zero, zero).abs().max().item()
    found["zeros"] = (largest == 0.0, largest)
    return all(valid for valid, _ in found.values()), found


def validate_attention_edge_cases(fn: Callable, device: str = "cuda", verbose: bool = False) -> tuple[bool, dict]:
    """Short, odd and single sequences: (all valid, {case: (valid, largest difference)})."""
    shapes = [(1, 1, 1, 64), (1, 1, 16, 32), (2, 3, 65, 64), (1, 8, 127, 32), (3, 2, 256, 64)]
    found = {}
    for batch, heads, seq_len, head_dim in shapes:
        for causal in (False, True):
            key = f"b{batch}h{heads}s{seq_len}d{head_dim}{'-causal' if causal else ''}"
            found[key] = validate_attention(
                fn, batch, heads, seq_len, head_dim, causal=causal, device=device, verbose=verbose
            )
    return all(valid for valid, _ in found.values()), found
