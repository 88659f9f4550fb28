# SPDX-License-Identifier: Apache-2.0
import ml_dtypes
import numpy as np
import pytest
import torch
from conftest import assert_close
from torch.autograd import gradcheck

import fovea

RNG = np.random.default_rng(0)


def random(*shape, dtype=np.float32):
    return RNG.standard_normal(shape).astype(np.float32).astype(dtype)


def assert_product(d, a, b, dtype="float32", add=0.0):
    expected = np.matmul(np.asarray(a, np.float64), np.asarray(b, np.float64)) + add
    assert_close(d, expected, dtype, factor=16 * np.sqrt(a.shape[-1]))


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16], ids=["float32", "float16", "bfloat16"])
def test_products_pass_the_rule_of_numerics(dtype):
    a, b = random(65, 130, dtype=dtype), random(130, 33, dtype=dtype)
    d = fovea.matmul(a, b)
    assert d.dtype == dtype and d.shape == (65, 33)
    assert fovea.validate_matmul(d, a, b)
    wrong = d.copy()
    wrong[3, 4] += 1
    assert not fovea.validate_matmul(wrong, a, b)


def test_fast_math_is_a_choice_that_explain_and_validation_know():
    a, b = random(65, 130), random(130, 33)
    assert fovea.validate_matmul(fovea.matmul(a, b, math="fast"), a, b, math="fast")
    assert "true fp32 although math = fast" in fovea.explain_matmul(a, b, math="fast")

    def tf32(x):  # to nearest, ties away from zero
        return ((x.view(np.uint32) + 0x1000) & 0xFFFFE000).view(np.float32)

    rounded = fovea.matmul(tf32(a), tf32(b))
    assert fovea.validate_matmul(rounded, a, b, math="fast")
    assert not fovea.validate_matmul(rounded, a, b)
    with pytest.raises(ValueError, match="math"):
        fovea.matmul(a, b, math="tf32")


@pytest.mark.parametrize(
    "shapes",
    [((2, 3, 5), (5, 4)), ((2, 3, 5), (2, 5, 4)), ((3, 5), (2, 5, 4)), ((2, 1, 3, 5), (4, 5, 6)), ((0, 5), (5, 4))],
)
def test_leading_dimensions_broadcast(shapes):
    a, b = (random(*shape) for shape in shapes)
    assert_product(fovea.matmul(a, b), a, b)


def test_transposed_and_sliced_operands_are_read_where_they_lie():
    a, b = random(40, 30), random(20, 80)
    assert_product(fovea.matmul(a.T, b.T[::2]), a.T, b.T[::2])


def test_what_is_added_and_applied():
    a, b, c, bias = random(7, 9), random(9, 5), random(7, 5), random(5)
    product = a.astype(np.float64) @ b
    assert_close(fovea.matmul(a, b, c=c, bias=bias), product + c + bias, factor=64)
    assert_close(fovea.matmul(a, b, c=c, alpha=0.5, beta=-2.0), 0.5 * product - 2 * c, factor=64)
    assert_close(fovea.matmul(a, b, activation="relu"), np.maximum(product, 0), factor=64)
    assert_close(fovea.matmul(a, b, activation="silu"), product / (1 + np.exp(-product)), factor=64)
    d = fovea.matmul(a, b, bias=bias, activation="gelu", c=c)
    assert fovea.validate_matmul(d, a, b, bias=bias, activation="gelu", c=c)
    out = c.copy()
    assert fovea.matmul(a, b, c=out, out=out) is out
    assert_close(out, product + c, factor=64)


def test_output_dtype_is_a_choice():
    a, b = random(7, 9, dtype=np.float16), random(9, 5, dtype=np.float16)
    d = fovea.matmul(a, b, out_dtype="float32")
    assert d.dtype == np.float32
    assert_product(d, a, b)
    assert fovea.matmul(a, b, out_dtype=np.float32).dtype == np.float32
    x = torch.from_numpy(a)
    assert fovea.matmul(x, torch.from_numpy(b), out_dtype=torch.bfloat16).dtype == torch.bfloat16


def test_every_framework_gets_its_own():
    a, b = random(7, 9), random(9, 5)
    t = fovea.matmul(torch.from_numpy(a), torch.from_numpy(b))
    assert type(t) is torch.Tensor
    assert np.array_equal(t.numpy(), fovea.matmul(a, b))


def test_jax_arrays_give_jax_arrays():
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    jnp = jax.numpy
    a, b = random(7, 9), random(9, 5)
    d = fovea.matmul(jnp.asarray(a), jnp.asarray(b), bias=jnp.ones(5))
    assert isinstance(d, jax.Array)
    assert_product(d, a, b, add=1.0)
    half = fovea.matmul(jnp.asarray(a, jnp.bfloat16), jnp.asarray(b, jnp.bfloat16))
    assert half.dtype == jnp.bfloat16


E4M3 = ml_dtypes.float8_e4m3fn


def blocks(size):
    return -(-size // 128)


def test_fp8_operands_with_scales_of_each_kind():
    m, n, k = 70, 200, 300
    a, w = random(m, k, dtype=E4M3), random(n, k, dtype=E4M3)
    product = a.astype(np.float64) @ w.astype(np.float64).T
    d = fovea.matmul(a, w.T)
    assert d.dtype == ml_dtypes.bfloat16
    assert_product(fovea.matmul(a, w.T, out_dtype="float32"), a.astype(np.float32), w.T.astype(np.float32))
    one = [np.array(x, np.float32) for x in (0.5, 3.0)]
    for scales in (one, [x.reshape(1) for x in one]):
        d = fovea.matmul(a, w.T, a_scale=scales[0], b_scale=scales[1], out_dtype="float32")
        np.testing.assert_allclose(d, 1.5 * product, rtol=1e-4, atol=1e-3)
    a_scale, w_scale = random(m, blocks(k)), random(blocks(n), blocks(k))
    wide = [np.repeat(a_scale, 128, 1)[:, :k], np.repeat(np.repeat(w_scale, 128, 0)[:n], 128, 1)[:, :k]]
    expected = (a.astype(np.float64) * wide[0]) @ (w.astype(np.float64) * wide[1]).T
    d = fovea.matmul(a, w.T, a_scale=a_scale, b_scale=w_scale.T, out_dtype="float32")
    np.testing.assert_allclose(d, expected, rtol=1e-4, atol=1e-3)
    assert fovea.validate_matmul(d, a, w.T, a_scale=a_scale, b_scale=w_scale.T)
    assert not fovea.validate_matmul(d, a, w.T, a_scale=a_scale, b_scale=2 * w_scale.T)
    t = [torch.from_numpy(x.view(np.uint8)).view(torch.float8_e4m3fn) for x in (a, w)]
    scales = {"a_scale": torch.from_numpy(a_scale), "b_scale": torch.from_numpy(w_scale).T}
    of_torch = fovea.matmul(t[0], t[1].T, **scales)
    assert of_torch.dtype == torch.bfloat16
    assert torch.equal(of_torch, torch.from_numpy(d).bfloat16())
    assert torch.equal(fovea.matmul(t[0], t[1].T, **scales, out_dtype=torch.float32), torch.from_numpy(d))
    assert fovea.validate_matmul(of_torch, t[0], t[1].T, **scales)
    scaled = fovea.matmul(t[0], t[1].T, a_scale=torch.tensor(0.5))  # torch's scales have no dimension
    torch.testing.assert_close(scaled, torch.from_numpy(0.5 * product).bfloat16(), rtol=8e-3, atol=1e-3)
    assert "block-scaled" in fovea.explain_matmul(a, w.T, a_scale=a_scale, b_scale=w_scale.T)


def test_every_fp8_number_is_read_as_ml_dtypes_reads_it():
    every = np.arange(256, dtype=np.uint8).view(E4M3).reshape(256, 1)
    one = np.ones((1, 1), E4M3)
    np.testing.assert_array_equal(fovea.matmul(every, one, out_dtype="float32"), every.astype(np.float32))
    np.testing.assert_array_equal(fovea.matmul(one, every.T, out_dtype="float32"), every.T.astype(np.float32))


def test_compiled_fp8():
    torch._dynamo.reset()
    a, w = (torch.randn(s).to(torch.float8_e4m3fn) for s in ((8, 32), (16, 32)))
    scale = torch.tensor([2.0])
    compiled = torch.compile(lambda a, w: fovea.matmul(a, w.T, a_scale=scale), fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(a, w), fovea.matmul(a, w.T, a_scale=scale))


def test_gradients_of_everything_that_goes_in():
    a, b, c, bias = (torch.from_numpy(random(*s)).requires_grad_() for s in ((2, 4, 3), (3, 5), (2, 4, 5), (5,)))

    def call(a, b, c, bias):
        return fovea.matmul(a, b, c=c, bias=bias, alpha=0.5, beta=2.0)

    assert gradcheck(call, (a, b, c, bias), eps=1e-1, atol=2e-3, rtol=1e-2)
    ours = torch.autograd.grad(call(a, b, c, bias).square().sum(), (a, b, c, bias), create_graph=True)
    theirs = torch.autograd.grad((0.5 * a @ b + 2 * c + bias).square().sum(), (a, b, c, bias), create_graph=True)
    for x, y in zip(ours, theirs):
        assert_close(x.detach(), y.detach(), factor=64)
    with pytest.raises(NotImplementedError, match="activation"):
        fovea.matmul(a, b, activation="relu")


def test_compiled_and_exported():
    torch._dynamo.reset()
    a, b = (torch.from_numpy(random(*s)).requires_grad_() for s in ((4, 3), (3, 5)))
    config = fovea.MatmulConfig(kernel="matmul_cpu")
    compiled = torch.compile(lambda a, b: fovea.matmul(a, b, config=config) + 1, fullgraph=True, backend="aot_eager")
    compiled(a, b).sum().backward()
    assert_close(compiled(a, b).detach(), (a @ b + 1).detach(), factor=64)
    assert_close(a.grad, torch.ones(4, 5) @ b.detach().T, factor=64)
    torch.library.opcheck(
        torch.ops.fovea.matmul.default, (a, b, None, None, None, None, 1.0, None, None, "exact", "", torch.float32)
    )


A, B = random(4, 3), random(3, 5)
A8, B8, BLOCK = A.astype(E4M3), B.astype(E4M3), np.ones((1, 1), np.float32)
WRONG = [
    ((1.0, B), {}, TypeError, "a", "float"),
    ((A, torch.from_numpy(B)), {}, TypeError, "b", "Tensor"),
    ((A[0], B), {}, ValueError, "a", "1 dimensions"),
    ((A, B[:2]), {}, ValueError, "b", "rows"),
    ((A, B.astype(np.float16)), {}, ValueError, "b", "fp16"),
    ((A.astype(np.float64), B), {}, TypeError, "a", "float64"),
    ((A, B), {"c": random(4, 4)}, ValueError, "c", "(4, 4)"),
    ((A, B), {"bias": random(4)}, ValueError, "bias", "(4)"),
    ((A, B), {"activation": "tanh"}, ValueError, "activation", "gelu"),
    ((A, B), {"beta": 1.0}, ValueError, "c", "beta"),
    ((A, B), {"out": np.empty((4, 4), np.float32)}, ValueError, "d", "(4, 4)"),
    ((A, B), {"out_dtype": "int8"}, TypeError, "out_dtype", "int8"),
    ((A, B), {"a_scale": np.ones(1, np.float32)}, ValueError, "a_scale", "e4m3"),
    ((A8, B8), {"a_scale": np.ones(1)}, TypeError, "a_scale", "float64"),
    ((A8, B8), {"a_scale": np.ones((4, 2), np.float32), "b_scale": BLOCK}, ValueError, "a_scale", "(4, 1)"),
    ((A8, B8), {"b_scale": BLOCK}, ValueError, "a_scale", "missing"),
    ((A8, B8), {"a_scale": torch.ones(1)}, TypeError, "a_scale", "Tensor"),
    ((A8, B8), {"out": np.empty((4, 5), E4M3)}, ValueError, "d", "e4m3"),
    ((A8, B), {}, ValueError, "b", "fp32"),
    ((A, B), {"config": 64}, TypeError, "config", "MatmulConfig"),
    ((A, B), {"config": fovea.MatmulConfig(block_m=32)}, ValueError, "tile", "block"),
]


@pytest.mark.parametrize(
    "arguments,keywords,error,field,words", WRONG, ids=lambda x: str(x)[:24] if isinstance(x, str) else ""
)
def test_misuse_is_named(arguments, keywords, error, field, words):
    with pytest.raises(error) as caught:
        fovea.matmul(*arguments, **keywords)
    assert isinstance(caught.value, fovea.Error)
    assert caught.value.field == field, f"{caught.value.field}: {caught.value}"
    assert words in str(caught.value)


def test_explain_tells_the_kernel():
    assert fovea.explain_matmul(A, B, json=True)["kernel"] == "matmul_cpu"
    assert "matmul_cpu" in fovea.explain_matmul(torch.from_numpy(A), torch.from_numpy(B))
