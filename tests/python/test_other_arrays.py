# SPDX-License-Identifier: Apache-2.0
"""JAX, and arrays of libraries that Fovea has never heard of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import assert_close, inputs, plain_attention

import fovea


def jax_inputs(dtype="float32", **sizes):
    return [jnp.asarray(x).astype(dtype) for x in inputs(**sizes)]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_jax_arrays_give_jax_arrays(dtype):
    q, k, v = jax_inputs(dtype, head_dim_v=24)
    o, lse = fovea.attention(q, k, v, causal=True, return_lse=True)
    assert isinstance(o, jax.Array) and o.dtype == q.dtype and lse.dtype == jnp.float32
    assert fovea.validate_attention(o, q, k, v, lse=lse, causal=True)
    copies = fovea.explain(q, k, v, json=True)["copies"]
    assert bool(copies) == (dtype == "bfloat16")


def test_jax_lengths_lists_and_merge():
    q, k, v = jax_inputs(seqlen_q=9, seqlen_k=9)
    expected = plain_attention(q, k, v, seq_lens_q=[3, 9], seq_lens_k=[3, 9])[0]
    assert_close(fovea.attention(q, k, v, seq_lens=[3, 9]), expected)
    assert_close(fovea.attention(q, k, v, seq_lens=jnp.array([3, 9], jnp.int32)), expected)
    first = fovea.attention(q, k[:, :4], v[:, :4], return_lse=True)
    rest = fovea.attention(q, k[:, 4:], v[:, 4:], return_lse=True)
    assert_close(fovea.merge_states(*first, *rest)[0], fovea.attention(q, k, v))


def test_jax_results_are_taken_over_without_a_copy():
    q, k, v = jax_inputs()
    o = fovea.attention(q, k, v)
    assert o.unsafe_buffer_pointer() % 64 == 0
    assert_close(fovea.reference_attention(q, k, v), plain_attention(q, k, v)[0])


def test_jax_transformations_are_refused_by_name():
    q, k, v = jax_inputs()
    for transformed in (jax.jit(fovea.attention), jax.grad(lambda q, k, v: fovea.attention(q, k, v).sum())):
        with pytest.raises(NotImplementedError, match="jax.jit"):
            transformed(q, k, v)
    with pytest.raises(NotImplementedError, match="out"):
        fovea.attention(q, k, v, out=q)
    with pytest.raises(ValueError, match="dimensions"):
        fovea.attention(q[0], k, v)


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
