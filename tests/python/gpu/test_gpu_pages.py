# SPDX-License-Identifier: Apache-2.0
"""The code blocks of the drop-ins' pages as they are, on a GPU."""

import pytest
import test_compat_pages
import torch
from test_compat_pages import triton  # noqa: F401, a fixture

if not torch.cuda.is_available():
    pytest.skip("no NVIDIA GPU, or PyTorch without CUDA", allow_module_level=True)


@pytest.mark.parametrize("name", test_compat_pages.BLOCKS)
def test_block_runs_on_the_gpu(name, triton):  # noqa: F811
    assert test_compat_pages.DEVICE == "cuda"
    test_compat_pages.run(name)
