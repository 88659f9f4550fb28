# SPDX-License-Identifier: Apache-2.0
"""Arrays of libraries that Fovea has never heard of."""

import numpy as np
import pytest
from conftest import assert_close, inputs, plain_attention

import fovea


class Foreign:
    """An array with the protocol and nothing else."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **keywords):
        return self.array.__dlpack__(**keywords)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class Named(Foreign):
    """One that tells its library."""

    def __array_namespace__(self):
        class Namespace:
            from_dlpack = staticmethod(lambda array: Named(np.from_dlpack(array)))

        return Namespace


def test_arrays_of_other_libraries_are_read_by_dlpack():
    given = inputs()
    expected = plain_attention(*given)[0]
    o = fovea.attention(*(Foreign(x) for x in given))
    assert type(o) is np.ndarray
    assert_close(o, expected)
    named = fovea.attention(*(Named(x) for x in given))
    assert type(named) is Named
    assert_close(named.array, expected)
    with pytest.raises(TypeError, match="Foreign"):
        fovea.attention(Foreign(given[0]), given[1], given[2])
