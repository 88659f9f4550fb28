# SPDX-License-Identifier: Apache-2.0
"""JAX arrays on CPUs, as they are and inside compiled programs."""

import numpy as np
import pytest
from conftest import assert_close, inputs, plain_attention

import fovea

jax = pytest.importorskip("jax", reason="JAX is not installed")
jnp = jax.numpy


def jax_inputs(dtype="float32", **sizes):
    return [jnp.asarray(x).astype(dtype) for x in inputs(**sizes)]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_arrays_give_jax_arrays(dtype):
    q, k, v = jax_inputs(dtype, head_dim_v=24)
    o, lse = fovea.attention(q, k, v, causal=True, return_lse=True)
    assert isinstance(o, jax.Array) and o.dtype == q.dtype and lse.dtype == jnp.float32
    assert fovea.validate_attention(o, q, k, v, lse=lse, causal=True)
    copies = fovea.explain(q, k, v, json=True)["copies"]
    assert bool(copies) == (dtype == "bfloat16")


def test_lengths_lists_and_merge():
    q, k, v = jax_inputs(seqlen_q=9, seqlen_k=9)
    expected = plain_attention(q, k, v, seq_lens_q=[3, 9], seq_lens_k=[3, 9])[0]
    assert_close(fovea.attention(q, k, v, seq_lens=[3, 9]), expected)
    assert_close(fovea.attention(q, k, v, seq_lens=jnp.array([3, 9], jnp.int32)), expected)
    first = fovea.attention(q, k[:, :4], v[:, :4], return_lse=True)
    rest = fovea.attention(q, k[:, 4:], v[:, 4:], return_lse=True)
    assert_close(fovea.merge_states(*first, *rest)[0], fovea.attention(q, k, v))


def test_results_are_taken_over_without_a_copy():
    q, k, v = jax_inputs()
    o = fovea.attention(q, k, v)
    assert o.unsafe_buffer_pointer() % 64 == 0
    assert_close(fovea.reference_attention(q, k, v), plain_attention(q, k, v)[0])


def test_deleted_arrays_are_refused():
    q, k, v = jax_inputs()
    k.delete()
    with pytest.raises(ValueError, match="k was deleted") as caught:
        fovea.attention(q, k, v)
    assert caught.value.field == "k"


CALLS = [
    {},
    {"causal": True, "window": (4, None), "softcap": 2.0},
    {"softmax_scale": 0.3, "alignment": "top_left", "causal": True},
    {"seq_lens": [3, 9]},
    {"config": fovea.AttentionConfig(block_q=8, block_k=4, kernel="attention_forward_cpu")},
]


@pytest.mark.parametrize("call", CALLS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_compiled_programs_compute_what_calls_do(call, dtype):
    q, k, v = jax_inputs(dtype, seqlen_q=9, seqlen_k=9, head_dim_v=24)
    compiled = jax.jit(lambda q, k, v: fovea.attention(q * 2, k, v, return_lse=True, **call))
    for found, expected in zip(compiled(q, k, v), fovea.attention(q * 2, k, v, return_lse=True, **call)):
        assert found.dtype == expected.dtype and np.array_equal(found, expected)


def test_compiled_lengths_and_packed_sequences_come_when_the_program_runs():
    q, k, v = jax_inputs()
    compiled = jax.jit(lambda q, k, v, lens: fovea.attention(q, k, v, seq_lens_k=lens))
    for lens in ([13, 2], [0, 7]):
        assert np.array_equal(compiled(q, k, v, jnp.array(lens, jnp.int32)), fovea.attention(q, k, v, seq_lens_k=lens))
    packed = jax.jit(lambda q, cu: fovea.attention(q, q, q, layout="thd", cu_seqlens=cu, causal=True))
    flat, cu = q[0], jnp.array([0, 4, 9], jnp.int32)
    assert np.array_equal(packed(flat, cu), fovea.attention(flat, flat, flat, layout="thd", cu_seqlens=cu, causal=True))
    with pytest.raises(Exception, match="cu_seqlens_q ends at 8, but the tensor has 9 rows"):
        jax.block_until_ready(packed(flat, jnp.array([0, 4, 8], jnp.int32)))


def test_mapped_and_scanned():
    q, k, v = jax_inputs()
    each = jax.jit(jax.vmap(lambda q, k, v: fovea.attention(q[None], k[None], v[None])[0]))
    assert np.array_equal(each(q, k, v), fovea.attention(q, k, v))
    many, _ = jax.lax.scan(lambda x, _: (fovea.attention(x, k, v), None), q, None, length=3)
    expected = q
    for _ in range(3):
        expected = fovea.attention(expected, k, v)
    assert np.array_equal(many, expected)


def test_misuse_is_told_when_the_program_is_made():
    q, k, v = jax_inputs()
    attention = jax.jit(fovea.attention)
    for arguments, error, field in (
        ((q[0], k, v), ValueError, "q"),
        ((q, k[:1], v), ValueError, "k"),
        ((q, k, v.astype("float16")), TypeError, "v"),
        ((q.astype(jnp.int32), k, v), TypeError, "k"),
    ):
        with pytest.raises(error) as caught:
            attention(*arguments)
        assert isinstance(caught.value, fovea.Error) and caught.value.field == field, str(caught.value)
    with pytest.raises(NotImplementedError, match="gradients"):
        jax.grad(lambda q, k, v: fovea.attention(q, k, v).sum())(q, k, v)
    with pytest.raises(NotImplementedError, match="out"):
        fovea.attention(q, k, v, out=q)
    with pytest.raises(ValueError, match="dimensions"):
        fovea.attention(q[0], k, v)
    with pytest.raises(NotImplementedError, match="only fovea.attention"):
        jax.jit(fovea.matmul)(q[0, 0], q[0, 0].T)


def test_fp8_products_of_jax_arrays():
    a, w = (jnp.asarray(np.random.default_rng(i).standard_normal((4, 130)), jnp.float8_e4m3fn) for i in range(2))
    scale = jnp.full((4, 2), 0.5, jnp.float32)
    d = fovea.matmul(a, w.T, a_scale=scale, b_scale=jnp.ones((2, 1), jnp.float32))
    assert d.dtype == jnp.bfloat16
    expected = 0.5 * np.asarray(a, np.float64) @ np.asarray(w, np.float64).T
    np.testing.assert_allclose(np.asarray(d, np.float64), expected, rtol=8e-3, atol=1e-2)
