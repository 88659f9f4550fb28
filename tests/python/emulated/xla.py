# SPDX-License-Identifier: Apache-2.0
"""As much of XLA as calls a function of its foreign function interface, by ctypes: arrays, attributes, a stream, a device.
The emulated GPU has no JAX; what JAX would call is called from here."""

import ctypes

import numpy as np

DTYPES = {"float16": 10, "float32": 11, "int32": 4}
_EXECUTE = 3
_ARRAY, _STRING = 1, 4
_S64, _F64 = 5, 12


class Record(ctypes.Structure):
    """A record of XLA's: its size and a null pointer come first."""

    _fields_ = [("struct_size", ctypes.c_size_t), ("extensions", ctypes.c_void_p)]

    @classmethod
    def of(cls, **values):
        return cls(struct_size=ctypes.sizeof(cls), **values)


def record(name, **fields):
    return type(name, (Record,), {"_fields_": list(fields.items())})


P, I32, I64 = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64
Version = record("Version", major=I32, minor=I32)
FailureArgs = record("FailureArgs", message=ctypes.c_char_p, code=I32)
StreamArgs = record("StreamArgs", context=P, stream=P)
DeviceArgs = record("DeviceArgs", context=P, device=I32)
Buffer = record("Buffer", dtype=I32, data=P, rank=I64, dims=P)
Buffers = record("Buffers", size=I64, types=P, values=P)
Attributes = record("Attributes", size=I64, types=P, names=P, values=P)


class Text(ctypes.Structure):
    _fields_ = [("data", ctypes.c_char_p), ("size", ctypes.c_size_t)]


class Numbers(ctypes.Structure):
    _fields_ = [("dtype", I32), ("size", ctypes.c_size_t), ("data", P)]


Function = ctypes.CFUNCTYPE(P, P)
Api = record(
    "Api", version=Version, internal=P, create_failure=Function, text=P, end=P, register=P, stream=Function,
    others=P * 11, run=P, device=Function,
)  # fmt: skip
Frame = record(
    "Frame", api=P, context=P, stage=I32, arguments=Buffers, results=Buffers, attributes=Attributes
)


def _addresses(items):
    return (P * len(items))(*(ctypes.addressof(item) for item in items))


def _buffers(arrays, alive):
    found = []
    for x in arrays:
        dims = (I64 * x.ndim)(*x.shape)
        found.append(Buffer.of(dtype=DTYPES[x.dtype.name], data=x.ctypes.data, rank=x.ndim, dims=ctypes.addressof(dims)))
        alive.append(dims)
    types, values = (I32 * len(found))(*[1] * len(found)), _addresses(found)
    alive += [found, types, values]
    return Buffers.of(size=len(found), types=ctypes.addressof(types), values=ctypes.addressof(values))


def call(capsule, arguments, results, numbers, reals, kernel, device):
    """Calls the function of a capsule for arrays on a device; writes results. The text of its failure, or ""."""
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = P, [ctypes.py_object, ctypes.c_char_p]
    function = Function(pointer(capsule, None))
    failures, alive = [], []

    def fail(args):
        failures.append(ctypes.cast(args, ctypes.POINTER(FailureArgs)).contents.message.decode())
        return 1

    def tell_stream(args):
        ctypes.cast(args, ctypes.POINTER(StreamArgs)).contents.stream = None  # the device's default
        return 0

    def tell_device(args):
        ctypes.cast(args, ctypes.POINTER(DeviceArgs)).contents.device = device
        return 0

    api = Api.of(
        version=Version.of(major=0, minor=3),
        create_failure=Function(fail),
        stream=Function(tell_stream),
        device=Function(tell_device),
    )
    integers, floats = np.array(numbers, np.int64), np.array(reals, np.float64)
    texts = [Text(name, len(name)) for name in (b"kernel", b"numbers", b"reals")]
    values = [
        Text(kernel.encode(), len(kernel)),
        Numbers(_S64, len(integers), integers.ctypes.data),
        Numbers(_F64, len(floats), floats.ctypes.data),
    ]
    types, names, places = (I32 * 3)(_STRING, _ARRAY, _ARRAY), _addresses(texts), _addresses(values)
    frame = Frame.of(
        api=ctypes.addressof(api),
        stage=_EXECUTE,
        arguments=_buffers(arguments, alive),
        results=_buffers(results, alive),
        attributes=Attributes.of(
            size=3, types=ctypes.addressof(types), names=ctypes.addressof(names), values=ctypes.addressof(places)
        ),
    )
    failed = function(ctypes.addressof(frame))
    assert bool(failed) == bool(failures)
    return failures[0] if failures else ""
