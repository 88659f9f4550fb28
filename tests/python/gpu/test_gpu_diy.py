# SPDX-License-Identifier: Apache-2.0
"""The promises of DIY FlashAttention's pages on a GPU: those tests of test_compat_diy.py that compute there, and more."""

import pytest
import torch

if not torch.cuda.is_available():
    pytest.skip("no NVIDIA GPU, or PyTorch without CUDA", allow_module_level=True)

from test_compat_diy import (  # noqa: E402, F401
    kernels,
    random,
    test_benchmark_counts_and_clears,
    test_command_for_attention,
    test_command_for_matrix_products,
    test_commands_do_not_time_what_is_wrong,
    test_documented_errors,
    test_dtypes_that_come_back,
    test_layouts_of_v1_and_v2,
    test_modern_features,
    test_validation_finds_what_is_wrong,
    test_validation_takes_every_dtype,
    test_what_the_original_refused_without_need,
    utils,
)


def test_the_gpu_is_described():
    found, caps = torch.cuda.get_device_properties(0), utils.detect_gpu()
    assert caps.name == found.name and caps.compute_capability == (found.major, found.minor)
    assert caps.num_sms == found.multi_processor_count and caps.total_memory_gb == found.total_memory / 2**30
    assert (caps.arch is utils.GPUArch.HOPPER) == (found.major == 9) and caps.has_tma == (found.major >= 9)
    assert utils.get_optimal_config(caps, "matmul")["block_m"] > 0
    assert 0 < utils.estimate_occupancy(128, 64, 16384, found.major) <= 100


def test_lengths_are_not_waited_for():
    q, k, v = (random(2, 4, 256, 64) for _ in range(3))
    lens = torch.tensor([100, 256], dtype=torch.int32, device="cuda")
    expected = kernels.flash_attention(q, k, v, seq_lens=lens)  # compiles
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):  # in which waiting is an error
        o = kernels.flash_attention(q, k, v, seq_lens=lens)
    graph.replay()
    assert torch.equal(o, expected) and not o[0, :, 100:].any()
    lens.copy_(torch.tensor([256, 7]))
    graph.replay()
    assert o[0, :, 255].any() and not o[1, :, 7:].any()
