# SPDX-License-Identifier: Apache-2.0
"""Other libraries' functions by their own names, orders and defaults: change the import, keep the script.

    from fovea.compat.torch_sdpa import scaled_dot_product_attention
    from fovea.compat.torch_varlen import varlen_attn
    from fovea.compat.flash_attn import flash_attn_func, flash_attn_varlen_func, flash_attn_with_kvcache
    from fovea.compat.flash_attention_triton import flash_attention_v2
    from fovea.compat.diy.kernels import flash_attention, triton_matmul

docs/compat.md says where a document and the code it describes disagreed, and which of the two is kept here.
"""
