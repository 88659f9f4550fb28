# SPDX-License-Identifier: Apache-2.0
"""As much of CuPy as Fovea uses, over the emulated GPU, whose memory is the processor's: imported in CuPy's place."""

import contextlib
import types

import numpy as np

_current = [0]


class Device:
    def __init__(self, index):
        self.id = index

    def __enter__(self):
        _current.append(self.id)

    def __exit__(self, *error):
        _current.pop()


class ndarray:
    def __init__(self, values, device):
        self.values, self.device = values, Device(device)
        self.data = types.SimpleNamespace(ptr=values.ctypes.data)
        self.shape, self.strides, self.dtype = values.shape, values.strides, values.dtype

    def __getitem__(self, key):
        return ndarray(self.values[key], self.device.id)


def asarray(values, dtype=None):
    return ndarray(np.array(values, dtype), _current[-1])


def asnumpy(array):
    return array.values if isinstance(array, ndarray) else np.asarray(array)


def empty(shape, dtype):
    return ndarray(np.empty(shape, dtype), _current[-1])


cuda = types.SimpleNamespace(
    get_current_stream=lambda: types.SimpleNamespace(ptr=0), is_available=lambda: True, Stream=contextlib.nullcontext
)
