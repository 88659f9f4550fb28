# SPDX-License-Identifier: Apache-2.0
"""Exact attention and matrix products on CPUs and NVIDIA GPUs, for NumPy, PyTorch, JAX and CuPy arrays.

    o = fovea.attention(q, k, v, causal=True)        # (batch, seqlen, num_heads, head_dim)
    d = fovea.matmul(a, b)                           # (..., m, k) times (..., k, n)

Importing this imports no framework and touches no GPU.
"""

from fovea import _core
from fovea._attention import attention, explain, info, reference_attention
from fovea._matmul import explain_matmul, matmul, validate_matmul
from fovea._merge import merge_states
from fovea._options import AttentionConfig, MatmulConfig
from fovea._validate import Validation, validate_attention
from fovea.errors import CompileError, CudaError, Error, InternalError, InvalidArgument, InvalidType, Unsupported

__version__ = _core.version
__all__ = [
    "AttentionConfig",
    "CompileError",
    "CudaError",
    "Error",
    "InternalError",
    "InvalidArgument",
    "InvalidType",
    "MatmulConfig",
    "Unsupported",
    "Validation",
    "attention",
    "explain",
    "explain_matmul",
    "info",
    "matmul",
    "merge_states",
    "reference_attention",
    "validate_attention",
    "validate_matmul",
]
