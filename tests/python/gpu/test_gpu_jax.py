# SPDX-License-Identifier: Apache-2.0
"""JAX arrays on a GPU: as they are, inside compiled programs, with gradients."""

import os

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # other tests of this process want memory too

import numpy as np
import pytest

import fovea

jax = pytest.importorskip("jax", reason="JAX is not installed")
if jax.default_backend() != "gpu":
    pytest.skip("no NVIDIA GPU, or JAX without CUDA", allow_module_level=True)
jnp = jax.numpy


def arrays(dtype="float16", seqlen_q=65, seqlen_k=65, heads=4, heads_kv=2, head_dim=64):
    rng = np.random.default_rng(0)
    shapes = (seqlen_q, heads), (seqlen_k, heads_kv), (seqlen_k, heads_kv)
    return [jnp.asarray(rng.standard_normal((2, s, h, head_dim), np.float32)).astype(dtype) for s, h in shapes]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_arrays_give_arrays_on_their_device(dtype):
    q, k, v = arrays(dtype)
    o, lse = fovea.attention(q, k, v, causal=True, return_lse=True)
    assert o.devices() == q.devices() and o.dtype == q.dtype and lse.shape == (2, 4, 65)
    verdict = fovea.validate_attention(o, q, k, v, lse=lse, causal=True, max_rows=200)
    assert verdict, str(verdict)
    plan = fovea.explain(q, k, v, causal=True, json=True)
    assert plan["kernel"].startswith("attention_forward_fp32" if dtype == "float32" else "attention_forward_sm")
    assert plan["copies"] == []


def test_lengths_and_packed_sequences():
    q, k, v = arrays()
    o = fovea.attention(q, k, v, seq_lens=[30, 65])
    assert fovea.validate_attention(o, q, k, v, seq_lens=[30, 65], max_rows=200)
    assert np.array_equal(o, fovea.attention(q, k, v, seq_lens=jnp.array([30, 65], jnp.int32)))
    flat, cu = [x[0] for x in (q, k, v)], jnp.array([0, 25, 65], jnp.int32)
    packed = fovea.attention(*flat, layout="thd", cu_seqlens=cu, max_seqlen=40)
    assert fovea.validate_attention(packed, *flat, layout="thd", cu_seqlens=cu, max_seqlen=40)
    with pytest.raises(ValueError, match="max_seqlen"):
        fovea.attention(*flat, layout="thd", cu_seqlens=cu)


@pytest.mark.parametrize("call", [{}, {"causal": True}, {"window": (20, 3), "softcap": 3.0}], ids=str)
def test_compiled_programs_compute_what_calls_do(call):
    q, k, v = arrays(seqlen_q=512, seqlen_k=512)
    compiled = jax.jit(lambda q, k, v: fovea.attention(q * 2, k, v, return_lse=True, **call))
    for found, expected in zip(compiled(q, k, v), fovea.attention(q * 2, k, v, return_lse=True, **call)):
        assert np.array_equal(found, expected)


def test_results_are_on_the_programs_stream():
    q, k, v = arrays(seqlen_q=1024, seqlen_k=1024)
    a = jnp.asarray(np.random.default_rng(0).standard_normal((4096, 4096), np.float32))

    @jax.jit
    def late(q, k, v, a):
        for _ in range(20):  # milliseconds of work that q waits for
            a = jnp.tanh(a @ a / 4096)
        return fovea.attention(q + 0 * a[0, 0].astype(q.dtype), k, v) * 1

    expected = fovea.attention(q, k, v)
    for _ in range(5):
        assert np.array_equal(late(q, k, v, a), expected)


def test_many_layers_in_a_scan():
    q, k, v = arrays(heads_kv=4)
    many, _ = jax.jit(lambda q: jax.lax.scan(lambda x, _: (fovea.attention(x, k, v), None), q, None, length=3))(q)
    expected = q
    for _ in range(3):
        expected = fovea.attention(expected, k, v)
    assert np.array_equal(many, expected)


def plain(q, k, v):
    k, v = jnp.repeat(k, q.shape[2] // k.shape[2], 2), jnp.repeat(v, q.shape[2] // v.shape[2], 2)
    s = jnp.einsum("bihd,bjhd->bhij", q, k, precision="highest") * q.shape[-1] ** -0.5
    p = jax.nn.softmax(jnp.where(np.tri(q.shape[1], k.shape[1], dtype=bool), s, -jnp.inf), -1)
    return jnp.einsum("bhij,bjhd->bihd", p, v, precision="highest")


def test_gradients():
    q, k, v = arrays("float32")
    weights = jnp.cos(jnp.arange(q.size)).reshape(q.shape)
    ours = jax.jit(jax.grad(lambda *x: (fovea.attention(*x, causal=True) * weights).sum(), (0, 1, 2)))(q, k, v)
    expected = jax.grad(lambda *x: (plain(*x) * weights).sum(), (0, 1, 2))(q, k, v)
    for a, b in zip(ours, expected):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_products():
    rng = np.random.default_rng(0)
    a, b = (jnp.asarray(rng.standard_normal(shape), "float16") for shape in ((200, 136), (136, 264)))
    d = fovea.matmul(a, b, bias=b[0], activation="gelu")
    assert d.devices() == a.devices()
    assert fovea.validate_matmul(d, a, b, bias=b[0], activation="gelu", max_rows=100)
    assert np.array_equal(d, jax.jit(lambda a, b: fovea.matmul(a, b, bias=b[0], activation="gelu"))(a, b))
    grad = jax.jit(jax.grad(lambda a: (fovea.matmul(a, b).astype("float32") ** 2).sum()))(a)
    wanted = jax.grad(lambda a: ((a.astype("float32") @ b.astype("float32")) ** 2).sum())(a)
    limit = 0.02 * float(abs(wanted).max())
    np.testing.assert_allclose(grad.astype("float32"), wanted.astype("float32"), rtol=2e-2, atol=limit)


def test_misuse_is_named():
    q, k, v = arrays()
    here = jax.device_put(k, jax.devices("cpu")[0])
    with pytest.raises(ValueError, match="device"):
        fovea.attention(q, here, v)
    with pytest.raises(TypeError, match="dtype"):
        fovea.attention(q, k.astype("float32"), v)
    with pytest.raises(NotImplementedError, match="stream"):
        fovea.attention(q, k, v, stream=0)


@pytest.mark.skipif(len(jax.devices()) < 2, reason="one GPU")
def test_arrays_choose_the_device():
    q, k, v = arrays()
    there = [jax.device_put(x, jax.devices()[1]) for x in (q, k, v)]
    o = fovea.attention(*there, causal=True)
    assert o.devices() == there[0].devices()
    assert np.array_equal(o, fovea.attention(q, k, v, causal=True))
    spread = jax.sharding.NamedSharding(jax.make_mesh((2,), ("b",)), jax.sharding.PartitionSpec("b"))
    parts = [jax.device_put(x, spread) for x in (q, k, v)]
    with pytest.raises(NotImplementedError, match="2 devices"):
        fovea.attention(*parts)
