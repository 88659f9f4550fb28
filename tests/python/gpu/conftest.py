# SPDX-License-Identifier: Apache-2.0
"""What all tests on a GPU share."""

import sys

import pytest


@pytest.fixture(autouse=True)
def first_device_is_current():
    """JAX leaves the device of its last program current, and PyTorch captures graphs on the current one."""
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available():
        torch.cuda.set_device(0)
