# SPDX-License-Identifier: Apache-2.0
"""CuPy arrays, on their device and CuPy's current stream."""

import numpy as np
import pytest

import fovea

cupy = pytest.importorskip("cupy", reason="CuPy is not installed, or there is no GPU")
if not cupy.cuda.is_available():
    pytest.skip("no NVIDIA GPU", allow_module_level=True)


def arrays(dtype="float16", seqlen=65):
    rng = np.random.default_rng(0)
    return [cupy.asarray(rng.standard_normal((2, seqlen, 4, 64), dtype=np.float32).astype(dtype)) for _ in range(3)]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_cupy_arrays_give_cupy_arrays(dtype):
    q, k, v = arrays(dtype)
    o, lse = fovea.attention(q, k, v, causal=True, return_lse=True)
    assert isinstance(o, cupy.ndarray) and o.dtype == q.dtype and lse.shape == (2, 4, 65)
    assert fovea.validate_attention(o, q, k, v, lse=lse, causal=True, max_rows=200)
    assert "copies   none" in fovea.explain(q, k, v, causal=True)
    lens = fovea.attention(q, k, v, seq_lens=[30, 65])
    assert fovea.validate_attention(lens, q, k, v, seq_lens=[30, 65], max_rows=200)


def test_cupy_stream_out_and_merge():
    q, k, v = arrays(seqlen=512)
    expected = fovea.attention(q, k, v)
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        doubled = (q * 2) / 2
        out = cupy.empty_like(q)
        assert fovea.attention(doubled, k, v, out=out) is out
    stream.synchronize()
    assert cupy.array_equal(out, expected)
    parts = [fovea.attention(q, k[:, at], v[:, at], return_lse=True) for at in (slice(0, 100), slice(100, None))]
    o, _ = fovea.merge_states(*parts[0], *parts[1])
    np.testing.assert_allclose(cupy.asnumpy(o), cupy.asnumpy(expected), rtol=4e-3, atol=4e-3)


def test_cupy_products():
    rng = np.random.default_rng(0)
    a, b = (cupy.asarray(rng.standard_normal(shape, dtype=np.float32)) for shape in ((200, 136), (136, 264)))
    for x, y in ((a, b), (a.astype("float16"), b.astype("float16")), (b.T, a.T)):
        d = fovea.matmul(x, y, bias=y[0], activation="silu")
        assert isinstance(d, cupy.ndarray) and d.dtype == x.dtype
        assert fovea.validate_matmul(d, x, y, bias=y[0], activation="silu", max_rows=100)
    out = cupy.empty((200, 264), "float32")
    assert fovea.matmul(a, b, out=out) is out and fovea.validate_matmul(out, a, b, max_rows=100)


def test_cupy_misuse_is_named():
    q, k, v = arrays()
    with pytest.raises(TypeError, match="convert") as caught:
        fovea.attention(q, cupy.asnumpy(k), v)
    assert caught.value.field == "k"
    with pytest.raises(TypeError, match="float64"):
        fovea.attention(q.astype("float64"), k, v)
