# SPDX-License-Identifier: Apache-2.0
"""The packages `kernels` and `utils` of DIY FlashAttention by their own names:

    from fovea.compat.diy.kernels import flash_attention, triton_matmul
    from fovea.compat.diy.utils import detect_gpu, validate_attention

Everything runs on GPUs and on CPUs; neither Triton nor a GPU is needed. docs/compat.md lists where the promise of its
documentation is kept rather than what its code did.
"""
