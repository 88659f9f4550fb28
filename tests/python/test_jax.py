# SPDX-License-Identifier: Apache-2.0
"""JAX arrays on CPUs, as they are and inside compiled programs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

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
    assert fovea.explain(q, k, v, json=True)["copies"] == []


def test_lengths_lists_and_merge():
    q, k, v = jax_inputs(seqlen_q=9, seqlen_k=9)
    expected = plain_attention(q, k, v, seq_lens_q=[3, 9], seq_lens_k=[3, 9])[0]
    assert_close(fovea.attention(q, k, v, seq_lens=[3, 9]), expected)
    assert_close(fovea.attention(q, k, v, seq_lens=jnp.array([3, 9], jnp.int32)), expected)
    first = fovea.attention(q, k[:, :4], v[:, :4], return_lse=True)
    rest = fovea.attention(q, k[:, 4:], v[:, 4:], return_lse=True)
    assert_close(fovea.merge_states(*first, *rest)[0], fovea.attention(q, k, v))


def test_reference_and_misuse_of_lengths():
    q, k, v = jax_inputs(seqlen_q=9, seqlen_k=9)
    assert_close(fovea.reference_attention(q, k, v), plain_attention(q, k, v)[0])
    flat = q[0]
    for cu, words in (([0, 4, 8], "ends at 8"), ([1, 4, 9], "must be 0"), ([0, 7, 4, 9], "less than")):
        for given in (cu, jnp.array(cu, jnp.int32)):
            with pytest.raises(ValueError, match=words) as caught:
                fovea.attention(flat, flat, flat, layout="thd", cu_seqlens=given)
            assert caught.value.field == "cu_seqlens_q"
    with pytest.raises(TypeError, match="cu_seqlens_q"):
        fovea.attention(flat, flat, flat, layout="thd", cu_seqlens=(0.5, 9))


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


TWO_DEVICES = """
import jax, numpy as np, fovea
P = jax.sharding.PartitionSpec
mesh = jax.make_mesh((2,), ("b",))
q = jax.random.normal(jax.random.key(0), (4, 9, 2, 16))
parts = jax.device_put(q, jax.sharding.NamedSharding(mesh, P("b")))
try:
    fovea.attention(parts, parts, parts)
    raise SystemExit("no error")
except NotImplementedError as error:
    assert error.field == "q" and "2 devices" in str(error), error
each = jax.shard_map(fovea.attention, mesh=mesh, in_specs=P("b"), out_specs=P("b"))
o = jax.jit(each)(parts, parts, parts)
assert len(o.devices()) == 2 and np.array_equal(o, fovea.attention(q, q, q))
"""


def test_each_of_several_devices_computes_its_part():
    if not hasattr(jax, "shard_map"):
        pytest.skip("jax.shard_map is of JAX 0.6")
    settings = dict(os.environ, XLA_FLAGS="--xla_force_host_platform_device_count=2", JAX_PLATFORMS="cpu")
    done = subprocess.run([sys.executable, "-c", TWO_DEVICES], capture_output=True, text=True, env=settings, timeout=200)
    assert done.returncode == 0, done.stderr


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
    with pytest.raises(NotImplementedError, match="out"):
        fovea.attention(q, k, v, out=q)
    with pytest.raises(ValueError, match="dimensions"):
        fovea.attention(q[0], k, v)
    with pytest.raises(NotImplementedError, match="stream"):
        jax.jit(lambda q: fovea.attention(q, q, q, stream=0))(q)
    with pytest.raises(NotImplementedError, match="tracer"):
        jax.jit(fovea.reference_attention)(q, k, v)
    with pytest.raises(ValueError, match="k") as caught:
        jax.jit(fovea.matmul)(q[0, 0], q[0, 0])
    assert caught.value.field == "b"
    with pytest.raises(NotImplementedError, match="activation"):
        jax.grad(lambda a: fovea.matmul(a, a.T, activation="relu").sum())(q[0, 0])


def plain(q, k, v, *, seen=None, softcap=0.0, scale=None):
    """(o, lse) of "bshd" arrays in JAX's own operations; seen broadcasts to (batch, heads, seqlen_q, seqlen_k)."""
    group = q.shape[2] // k.shape[2]
    k, v = jnp.repeat(k, group, 2), jnp.repeat(v, group, 2)
    s = jnp.einsum("bihd,bjhd->bhij", q, k) * (q.shape[-1] ** -0.5 if scale is None else scale)
    s = softcap * jnp.tanh(s / softcap) if softcap else s
    s = s if seen is None else jnp.where(seen, s, -1e30)
    p = jax.nn.softmax(s, -1) * (1.0 if seen is None else seen.any(-1, keepdims=True))
    return jnp.einsum("bhij,bjhd->bihd", p, v), jax.nn.logsumexp(s, -1)


def gradients(function, q, k, v):
    """Of a sum that weighs o and lse; function gives both."""

    def waves(x):
        return np.cos(np.arange(x.size)).reshape(x.shape)

    def loss(q, k, v):
        o, lse = function(q, k, v)
        return (o * waves(o)).sum() + (jnp.where(lse > -1e20, lse, 0.0) * waves(lse)).sum()

    return jax.jit(jax.grad(loss, (0, 1, 2)))(q, k, v)


I, J = np.arange(9)[:, None], np.arange(13)[None]
BANDS = [
    ({}, None),
    ({"causal": True}, I + 4 >= J),
    ({"causal": True, "alignment": "top_left", "softcap": 1.5, "softmax_scale": 0.4}, I >= J),
    ({"window": (3, 1)}, (J >= I + 4 - 3) & (J <= I + 4 + 1)),
    (
        {"seq_lens_k": [13, 5]},
        np.stack([np.ones((9, 13), bool), np.broadcast_to(J < 5, (9, 13))])[:, None],
    ),
    (
        {"seq_lens_q": [9, 0], "seq_lens_k": [2, 13], "causal": True},
        np.stack([(I + 2 - 9 >= J) & (J < 2), np.zeros((9, 13), bool)])[:, None],
    ),
]


@pytest.mark.parametrize("call,seen", BANDS, ids=[str(call) for call, _ in BANDS])
def test_gradients_are_those_of_the_textbook(call, seen):
    q, k, v = jax_inputs(head_dim_v=24)
    settings = {"softcap": call.get("softcap", 0.0), "scale": call.get("softmax_scale")}
    ours = gradients(lambda *x: fovea.attention(*x, return_lse=True, **call), q, k, v)
    expected = gradients(lambda *x: plain(*x, seen=seen, **settings), q, k, v)
    for a, b in zip(ours, expected):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


def test_gradients_of_long_sequences_take_several_steps(monkeypatch):
    from fovea import _jax_plain

    q, k, v = jax_inputs(batch=1, seqlen_q=70, seqlen_k=70)
    whole = gradients(lambda *x: fovea.attention(*x, causal=True, return_lse=True), q, k, v)
    monkeypatch.setattr(_jax_plain, "_SCORES", 1)  # 16 rows at a time
    seen, scan = [], jax.lax.scan
    monkeypatch.setattr(jax.lax, "scan", lambda f, init, xs: (seen.append(xs[0].shape[0]), scan(f, init, xs))[1])
    jax.clear_caches()
    steps = gradients(lambda *x: fovea.attention(*x, causal=True, return_lse=True), q, k, v)
    for a, b in zip(whole, steps):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    assert set(seen) == {5}


def test_gradients_of_packed_sequences():
    q, k, v = (x[0] for x in jax_inputs(batch=1, seqlen_q=9, seqlen_k=9))
    cu = jnp.array([0, 4, 4, 9], jnp.int32)

    def packed(q, k, v):
        return fovea.attention(q, k, v, layout="thd", cu_seqlens=cu, causal=True, return_lse=True)

    def one_by_one(q, k, v):
        parts = []
        for a, b in ((0, 4), (4, 9)):
            parts.append(plain(q[None, a:b], k[None, a:b], v[None, a:b], seen=np.tri(b - a, dtype=bool)))
        return jnp.concatenate([o[0] for o, _ in parts]), jnp.concatenate([lse[0] for _, lse in parts], -1)

    for a, b in zip(gradients(packed, q, k, v), gradients(one_by_one, q, k, v)):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_gradients_in_16_bits(dtype):
    x = jax_inputs(dtype)
    ours = gradients(lambda *x: fovea.attention(*x, return_lse=True), *x)
    expected = gradients(plain, *(y.astype("float32") for y in x))
    for a, b in zip(ours, expected):
        assert a.dtype == dtype
        np.testing.assert_allclose(a.astype("float32"), b, rtol=5e-2, atol=3e-2)


def test_gradients_of_gradients_and_of_mapped_calls():
    q, k, v = jax_inputs()

    def twice(function):
        once = jax.grad(lambda q: (function(q, k, v)[0] ** 2).sum())
        return jax.jit(jax.grad(lambda q: (once(q) ** 2).sum()))(q)

    ours = twice(lambda *x: fovea.attention(*x, causal=True, return_lse=True))
    expected = twice(lambda *x: plain(*x, seen=I + 4 >= J))
    np.testing.assert_allclose(ours, expected, rtol=2e-3, atol=2e-4)
    each = jax.vmap(lambda q, k, v: jax.grad(lambda q: fovea.attention(q[None], k[None], v[None]).sum())(q))
    whole = jax.grad(lambda q: fovea.attention(q, k, v).sum())(q)
    np.testing.assert_allclose(jax.jit(each)(q, k, v), whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("call", [{}, {"alpha": 0.5, "activation": "gelu"}, {"out_dtype": "float32"}], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_compiled_products_are_those_of_calls(call, dtype):
    rng = np.random.default_rng(0)
    a, b, c = (jnp.asarray(rng.standard_normal(shape), dtype) for shape in ((3, 5, 7), (7, 4), (3, 5, 4)))
    ours = jax.jit(lambda a, b, c: fovea.matmul(a, b, c=c, beta=2.0, bias=c[0, 0], **call))(a, b, c)
    expected = fovea.matmul(a, b, c=c, beta=2.0, bias=c[0, 0], **call)
    assert ours.dtype == expected.dtype and np.array_equal(ours, expected)


def test_gradients_of_products():
    rng = np.random.default_rng(0)
    shapes = {"a": (3, 5, 7), "b": (7, 4), "c": (1, 5, 4), "bias": (4,)}
    x = {name: jnp.asarray(rng.standard_normal(shape), "float32") for name, shape in shapes.items()}

    def ours(x):
        d = fovea.matmul(x["a"], x["b"], c=x["c"], bias=x["bias"], alpha=0.5, beta=3.0)
        return (d**2).sum()

    def theirs(x):
        return ((0.5 * (x["a"] @ x["b"]) + 3.0 * x["c"] + x["bias"]) ** 2).sum()

    found, expected = jax.jit(jax.grad(ours))(x), jax.grad(theirs)(x)
    for name in shapes:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-5)
    again = jax.grad(lambda a: (jax.grad(ours)({**x, "a": a})["b"] ** 2).sum())(x["a"])
    wanted = jax.grad(lambda a: (jax.grad(theirs)({**x, "a": a})["b"] ** 2).sum())(x["a"])
    np.testing.assert_allclose(again, wanted, rtol=1e-4)


def test_fp8_products_inside_programs():
    a, w = (jnp.asarray(np.random.default_rng(i).standard_normal((4, 130)), jnp.float8_e4m3fn) for i in range(2))
    one = jnp.float32(0.5)
    expected = fovea.matmul(a, w.T, a_scale=jnp.full((1,), 0.5), b_scale=jnp.ones((1,)))
    d = jax.jit(lambda a, w, s: fovea.matmul(a, w.T, a_scale=s, b_scale=jnp.ones((1,))))(a, w, one)
    assert d.dtype == jnp.bfloat16 and np.array_equal(d, expected)


LAYOUT = """
#include <cstddef>
#include "xla/ffi/api/c_api.h"
#include "python/xla_ffi.h"
using namespace fovea::python::xla;
#define SAME(theirs, their_field, ours, field) \\
  static_assert(offsetof(theirs, their_field) == offsetof(ours, field), #theirs "." #their_field)
SAME(XLA_FFI_Api, XLA_FFI_Error_Create, Api, create_failure);
SAME(XLA_FFI_Api, XLA_FFI_Error_Destroy, Api, end_failure);
SAME(XLA_FFI_Api, XLA_FFI_Stream_Get, Api, stream);
SAME(XLA_FFI_Api, XLA_FFI_DeviceOrdinal_Get, Api, device);
SAME(XLA_FFI_Error_Create_Args, errc, FailureArgs, code);
SAME(XLA_FFI_Stream_Get_Args, stream, StreamArgs, stream);
SAME(XLA_FFI_DeviceOrdinal_Get_Args, device_ordinal, DeviceArgs, device);
SAME(XLA_FFI_Buffer, dims, Buffer, dims);
SAME(XLA_FFI_Args, args, Buffers, values);
SAME(XLA_FFI_Rets, rets, Buffers, values);
SAME(XLA_FFI_Attrs, attrs, Attributes, values);
SAME(XLA_FFI_Array, data, Numbers, data);
SAME(XLA_FFI_ByteSpan, len, Text, size);
SAME(XLA_FFI_CallFrame, stage, CallFrame, stage);
SAME(XLA_FFI_CallFrame, attrs, CallFrame, attributes);
SAME(XLA_FFI_Metadata, traits, Metadata, traits);
SAME(XLA_FFI_Metadata_Extension, metadata, MetadataExtension, metadata);
static_assert(XLA_FFI_DataType_BF16 == kBF16 && XLA_FFI_DataType_F8E4M3FN == kE4M3);
static_assert(XLA_FFI_ExecutionStage_EXECUTE == kExecute && XLA_FFI_Error_Code_UNIMPLEMENTED == kUnimplemented);
static_assert(XLA_FFI_AttrType_ARRAY == kNumbersAttribute && XLA_FFI_AttrType_STRING == kTextAttribute);
"""


@pytest.mark.skipif(not shutil.which("c++"), reason="no C++ compiler")
def test_records_are_laid_out_as_jaxlibs_header_says(tmp_path):
    import jaxlib

    root = Path(__file__).resolve().parents[2]
    folders = [f"-I{Path(jaxlib.__file__).parent / 'include'}", f"-I{root}"]
    (tmp_path / "layout.cpp").write_text(LAYOUT, encoding="utf-8")
    command = ["c++", "-std=c++20", "-fsyntax-only", *folders, str(tmp_path / "layout.cpp")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_fp8_products_of_jax_arrays():
    a, w = (jnp.asarray(np.random.default_rng(i).standard_normal((4, 130)), jnp.float8_e4m3fn) for i in range(2))
    scale = jnp.full((4, 2), 0.5, jnp.float32)
    d = fovea.matmul(a, w.T, a_scale=scale, b_scale=jnp.ones((2, 1), jnp.float32))
    assert d.dtype == jnp.bfloat16
    expected = 0.5 * np.asarray(a, np.float64) @ np.asarray(w, np.float64).T
    np.testing.assert_allclose(np.asarray(d, np.float64), expected, rtol=8e-3, atol=1e-2)
