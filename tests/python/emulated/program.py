# SPDX-License-Identifier: Apache-2.0
"""What test_emulated_gpu.py runs, in a process of its own that finds the emulated driver: two GPUs, a T4 as 0, an H200
as 1, and arrays of CuPy's stand-in. Prints a line for each thing that it has checked."""

import cupy
import numpy as np
import xla

import fovea
from fovea import _core
from fovea._options import MatmulOptions, Options
from fovea.compat import _tiles

RNG = np.random.default_rng(0)


def random(device, *shape, dtype=np.float16):
    with cupy.Device(device):
        return cupy.asarray(RNG.standard_normal(shape).astype(dtype))


def device_of_the_arrays_decides():
    for device, kernel in ((1, "attention_forward_sm90"), (0, "attention_forward_sm80")):
        q, k, v = (random(device, 2, 70, 4, 64) for _ in range(3))
        o, lse = fovea.attention(q, k, v, causal=True, return_lse=True)
        assert isinstance(o, cupy.ndarray) and o.device.id == lse.device.id == device
        assert fovea.validate_attention(o, q, k, v, lse=lse, causal=True)
        plan = fovea.explain(q, k, v, causal=True, json=True)
        assert plan["kernel"] == kernel and plan["copies"] == [], plan["kernel"]
    print("device")


def lengths_outputs_and_strides():
    q, k, v = (random(1, 2, 70, 4, 64) for _ in range(3))
    o = fovea.attention(q, k, v, seq_lens=[30, 70])
    assert fovea.validate_attention(o, q, k, v, seq_lens=[30, 70]) and not cupy.asnumpy(o)[0, 30:].any()
    out = random(1, 2, 70, 4, 64)
    assert fovea.attention(q, k, v, out=out) is out
    packed = random(1, 2, 70, 3, 4, 64)
    q, k, v = (packed[:, :, i] for i in range(3))
    assert fovea.validate_attention(fovea.attention(q, k, v), q, k, v)
    print("lengths")


def misuse_is_named():
    q, k, v = (random(device, 1, 9, 2, 64) for device in (0, 1, 0))
    for arguments, error, field in (
        ((q, k, v), ValueError, "k"),
        ((q, cupy.asnumpy(q), v), TypeError, "k"),
        ((random(0, 1, 9, 2, 64, dtype=np.float64),) * 3, TypeError, "q"),
        ((random(0, 1, 9, 2, 520),) * 3, NotImplementedError, "kernel"),
    ):
        try:
            fovea.attention(*arguments)
            raise AssertionError("no error")
        except error as caught:
            assert isinstance(caught, fovea.Error) and caught.field == field, (caught.field, str(caught))
            assert field != "k" or error is TypeError or "(cuda:1) than q (cuda:0)" in str(caught), str(caught)
    flat = random(0, 9, 2, 64)
    with cupy.Device(0):
        offsets = cupy.asarray([0, 9], "int32")
    try:
        fovea.attention(flat, flat, flat, layout="thd", cu_seqlens=offsets)
        raise AssertionError("no error")
    except ValueError as caught:
        assert caught.field == "max_seqlen_q", caught.field
    print("misuse")


def programs_of_xla():
    """What a compiled JAX program calls on a GPU. Memory of the emulated GPUs is the processor's."""
    targets = {(name, platform): capsule for name, platform, capsule in _core.jax_targets}
    q, k, v = (RNG.standard_normal((2, 70, 4, 64)).astype(np.float16) for _ in range(3))
    lens = np.array([30, 70], np.int32)
    options = _core.jax_options(q, k, v, *Options(causal=True, seq_lens_k=lens))
    for device in (0, 1):
        o, lse = np.zeros_like(q), np.zeros((2, 4, 70), np.float32)
        attention = targets["fovea_attention_forward", "CUDA"]
        assert xla.call(attention, (q, k, v, lens), (o, lse), *options, device) == ""
        assert fovea.validate_attention(o, q, k, v, lse=lse, causal=True, seq_lens_k=lens)
        said = xla.call(attention, (q, k, v, lens), (o, lse), *options[:2], "attention_forward_sm90", device)
        assert ("attention_forward_sm90" in said) if device == 0 else said == "", said  # Hopper's alone
    a, b = (RNG.standard_normal(shape).astype(np.float16) for shape in ((150, 200), (200, 136)))
    d, bias = np.zeros((150, 136), np.float32), b[0].copy()
    numbers = _core.jax_matmul_options(a, b, None, bias, *MatmulOptions(activation="gelu"), None, None)
    for device in (0, 1):
        d[:] = 0
        assert xla.call(targets["fovea_matmul", "CUDA"], (a, b, bias), (d,), *numbers, device) == ""
        assert fovea.validate_matmul(d, a, b, bias=bias, activation="gelu")
    print("xla")


def tiles_of_the_drop_ins():
    a, b = (RNG.standard_normal(shape).astype(np.float16) for shape in ((150, 200), (200, 136)))
    for device, blocks in ((0, (64, 256, 32)), (0, (16, 16, 16)), (1, (128, 256, 64)), (1, (64, 64, 32))):
        with cupy.Device(device):
            x, y = cupy.asarray(a), cupy.asarray(b)
        call = lambda config: fovea.matmul(x, y, config=config)  # noqa: B023, E731
        d, config = _tiles.with_first_taken((device, blocks), _tiles.matmul_configs(*blocks), call)
        assert config is not None and fovea.validate_matmul(d, x, y), (device, blocks)
    for device, tile in ((0, (128, 128)), (1, (128, 128)), (1, (64, 64)), (1, (256, 256))):
        q, k, v = (random(device, 1, 300, 2, 64) for _ in range(3))
        call = lambda config: fovea.attention(q, k, v, causal=True, config=config)  # noqa: B023, E731
        o, config = _tiles.with_first_taken((device, tile), _tiles.attention_configs(*tile), call)
        assert config is not None and fovea.validate_attention(o, q, k, v, causal=True), (device, tile)
    print("tiles")


if __name__ == "__main__":
    device_of_the_arrays_decides()
    lengths_outputs_and_strides()
    misuse_is_named()
    programs_of_xla()
    tiles_of_the_drop_ins()
