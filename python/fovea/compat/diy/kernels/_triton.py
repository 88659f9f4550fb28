# SPDX-License-Identifier: Apache-2.0
"""Whether Triton is there. Nothing here needs it."""

from __future__ import annotations

import importlib.util
from typing import Any, NoReturn


def _has_triton() -> bool:
    try:
        return importlib.util.find_spec("triton") is not None
    except ValueError:  # a module without a spec: made by hand, in Triton's place
        return True


TRITON_AVAILABLE = _has_triton()


def require_triton() -> None:
    """Raises ModuleNotFoundError without Triton: for scripts with Triton kernels of their own."""
    if not TRITON_AVAILABLE:
        raise ModuleNotFoundError(
            "Triton is required to run GPU kernels of your own; install it with: pip install triton>=2.1.0. "
            "Fovea's functions do not need it."
        )


class TritonKernelStub:
    """Stands where a Triton kernel would, and says so when it is launched."""

    def __init__(self, name: str = "kernel"):
        self.name = name

    def __getitem__(self, grid: Any) -> TritonKernelStub:
        return self

    def __call__(self, *arguments: Any) -> NoReturn:
        require_triton()
        raise NotImplementedError(f"{self.name} is a stand-in and computes nothing")
