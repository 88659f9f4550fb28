# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from conftest import assert_close, inputs, plain_attention
from torch.autograd import gradcheck, gradgradcheck

import fovea


def tensors(requires_grad=False, dtype=torch.float32, **sizes):
    return [torch.from_numpy(x).to(dtype).requires_grad_(requires_grad) for x in inputs(**sizes)]


def textbook(
    q, k, v, *, causal=False, window=None, softmax_scale=None, softcap=0.0, seq_lens=None, alignment="bottom_right"
):
    """(o, lse) of "bshd" tensors by PyTorch operations in the inputs' dtype, for autograd to differentiate."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    s = q @ k.mT * (softmax_scale or q.shape[-1] ** -0.5)
    if softcap:
        s = softcap * torch.tanh(s / softcap)
    batch, rows, keys = q.shape[0], q.shape[2], k.shape[2]
    length_q = torch.full((batch,), rows) if seq_lens is None else seq_lens
    length_k = torch.full((batch,), keys) if seq_lens is None else seq_lens
    i, j = torch.arange(rows)[None, :, None], torch.arange(keys)[None, None, :]
    at = i + ((length_k - length_q)[:, None, None] if alignment == "bottom_right" else 0)
    seen = (i < length_q[:, None, None]) & (j < length_k[:, None, None])
    left, right = window or (None, None)
    right = 0 if causal else right
    if left is not None:
        seen = seen & (j >= at - left)
    if right is not None:
        seen = seen & (j <= at + right)
    s = s.masked_fill(~seen[:, None], -torch.inf)
    none = ~seen.any(-1)[:, None, :, None]
    o = torch.softmax(s.masked_fill(none, 0.0), -1).masked_fill(none, 0.0) @ v
    return o.transpose(1, 2), torch.logsumexp(s.masked_fill(none, 0.0), -1).masked_fill(none[..., 0], -torch.inf)


def largest_error(a, b):
    return (a.double() - b.double()).abs().max().item()


def assert_gradients(call, dtype=torch.float32, **sizes):
    """Ours against float64 autograd, at most 3 times the error of autograd through the textbook in the same dtype."""
    generator = torch.Generator().manual_seed(3)
    given = tensors(**sizes)
    weights_o, weights_lse = None, None

    def gradients(function, to):
        nonlocal weights_o, weights_lse
        x = [t.detach().to(dtype).to(to).requires_grad_() for t in given]
        o, lse = function(*x)
        if weights_o is None:
            weights_o = torch.randn(o.shape, generator=generator)
            weights_lse = torch.randn(lse.shape, generator=generator)
        finite = torch.isfinite(lse)
        loss = (o.double() * weights_o).sum() + (lse.double() * weights_lse)[finite].sum()
        return torch.autograd.grad(loss, x)

    exact = gradients(lambda q, k, v: textbook(q, k, v, **call), torch.float64)
    plain = gradients(lambda q, k, v: textbook(q, k, v, **call), dtype)
    ours = gradients(lambda q, k, v: fovea.attention(q, k, v, return_lse=True, **call), dtype)
    for name, e, p, f in zip("qkv", exact, plain, ours):
        limit = 3 * largest_error(p, e) + 4 * torch.finfo(dtype).eps * e.abs().max().item()
        assert f.dtype == dtype
        assert largest_error(f, e) <= limit, f"gradient of {name}: {largest_error(f, e)}, limit {limit}"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_tensors_give_tensors_of_their_dtype(dtype):
    q, k, v = tensors(dtype=dtype)
    o, lse = fovea.attention(q, k, v, causal=True, return_lse=True)
    assert type(o) is torch.Tensor and o.dtype == dtype and lse.dtype == torch.float32 and not o.requires_grad
    assert fovea.validate_attention(o, q, k, v, lse=lse, causal=True)


GRADIENT_CALLS = [
    {},
    {"causal": True},
    {"causal": True, "alignment": "top_left"},
    {"window": (3, 2)},
    {"causal": True, "window": (2, None)},
    {"softmax_scale": 0.3},
    {"softcap": 1.5, "causal": True},
]


@pytest.mark.parametrize("call", GRADIENT_CALLS, ids=str)
def test_gradients_are_those_of_the_textbook(call):
    assert_gradients(call, seqlen_q=19, seqlen_k=15, head_dim_v=10)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_gradients_in_16_bits(dtype):
    assert_gradients({"causal": True}, dtype, seqlen_q=40, seqlen_k=40, head_dim=32)


def test_gradients_with_lengths():
    lens = torch.tensor([5, 0], dtype=torch.int32)
    assert_gradients({"seq_lens": lens, "causal": True}, seqlen_q=9, seqlen_k=9)


def test_gradients_over_several_steps_of_rows(monkeypatch):
    from fovea import _torch_plain

    monkeypatch.setattr(_torch_plain, "_SCORES", 1)  # 16 rows at a time
    assert_gradients({"causal": True}, seqlen_q=50, seqlen_k=70)
    assert_gradients({"window": (8, 3)}, seqlen_q=70, seqlen_k=50)


def test_gradients_of_packed_sequences():
    q, k, v = (x[0].detach().requires_grad_() for x in tensors(batch=1, seqlen_q=12, seqlen_k=12))
    cu = torch.tensor([0, 5, 5, 12], dtype=torch.int32)
    o = fovea.attention(q, k, v, layout="thd", cu_seqlens=cu, causal=True)
    ours = torch.autograd.grad((o * o).sum(), (q, k, v))
    parts = [textbook(*(x[None, cu[b] : cu[b + 1]] for x in (q, k, v)), causal=True)[0][0] for b in range(3)]
    expected = torch.autograd.grad((torch.cat(parts) ** 2).sum(), (q, k, v))
    for ours_x, expected_x in zip(ours, expected):
        assert_close(ours_x, expected_x, factor=64)


def test_gradcheck_by_finite_differences():
    q, k, v = (
        x.requires_grad_() for x in tensors(batch=1, seqlen_q=3, seqlen_k=4, num_heads_q=2, num_heads_kv=1, head_dim=4)
    )

    def call(q, k, v):
        return fovea.attention(q, k, v, causal=True)

    # The forward is float32: steps of 1e-2 leave differences of 1e-7 / 1e-2.
    assert gradcheck(call, (q, k, v), eps=1e-2, atol=2e-3, rtol=1e-2, nondet_tol=0.0)
    assert gradgradcheck(call, (q, k, v), eps=1e-2, atol=5e-3, rtol=2e-2)


def test_backward_memory_grows_with_seqlen_not_its_square():
    program = """
import resource, torch, fovea
q, k, v = (torch.randn(1, 12288, 1, 8, requires_grad=True) for _ in range(3))
fovea.attention(q[:, :64], k[:, :64], v[:, :64]).sum().backward()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
fovea.attention(q, k, v, causal=True).sum().backward()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    grown = int(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)
    assert grown * 1024 < 12288 * 12288 * 4 / 2  # half of one matrix of scores


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiled_whole_with_gradients(dynamic):
    torch._dynamo.reset()

    def step(q, k, v):
        o, lse = fovea.attention(q * 2, k, v, causal=True, window=(4, None), return_lse=True)
        return o.sin().sum() + lse.sum()

    compiled = torch.compile(step, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for seqlen in (9, 11) if dynamic else (9,):
        x = tensors(requires_grad=True, seqlen_q=seqlen, seqlen_k=seqlen)
        y = [t.detach().clone().requires_grad_() for t in x]
        ours, expected = compiled(*x), step(*y)
        assert_close(ours.detach(), expected.detach())
        ours.backward()
        expected.backward()
        for a, b in zip(x, y):
            assert_close(a.grad, b.grad, factor=64)


def test_compiled_by_inductor():
    torch._dynamo.reset()
    q, k, v = tensors()
    compiled = torch.compile(lambda q, k, v: fovea.attention(q, k, v, seq_lens=[3, 9]).relu() + 1, fullgraph=True)
    q, k, v = tensors(seqlen_q=9, seqlen_k=9)
    assert_close(compiled(q, k, v), fovea.attention(q, k, v, seq_lens=[3, 9]).relu() + 1)


class Layer(torch.nn.Module):
    def forward(self, q, k, v):
        return fovea.attention(q, k, v, causal=True, softcap=3.0, config=fovea.AttentionConfig(block_k=4))


def test_exported():
    q, k, v = tensors()
    program = torch.export.export(Layer(), (q, k, v))
    assert "fovea.attention_forward" in str(program.graph)
    assert torch.equal(program.module()(q, k, v), Layer()(q, k, v))


def test_operator_checks_of_pytorch():
    from fovea import _torch_ops
    from fovea._options import Options

    q, k, v = tensors(requires_grad=True, head_dim_v=6)
    for options in (Options(causal=True), Options(seq_lens_k=torch.tensor([3, 13], dtype=torch.int32), layout="bshd")):
        torch.library.opcheck(torch.ops.fovea.attention_forward.default, (q, k, v, *_torch_ops.pack(options)))


def test_autocast_computes_in_its_dtype():
    q, k, v = tensors(requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        o = fovea.attention(q, k, v)
    assert o.dtype == torch.bfloat16
    assert torch.equal(o, fovea.attention(*(x.detach().bfloat16() for x in (q, k, v)), return_lse=True)[0])
    o.float().sum().backward()
    assert q.grad.dtype == torch.float32
    with torch.autocast("cpu", enabled=False):
        assert fovea.attention(q, k, v).dtype == torch.float32


def test_states_of_pytorch_are_seen_when_they_come_and_go():
    q, k, v = tensors()
    operators = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
            operators.append(str(function))
            return function(*arguments, **(keywords or {}))

    def dtype():
        return fovea.attention(q, k, v).dtype

    for _ in range(3):  # what was found idle is remembered
        assert dtype() == torch.float32
        with torch.autocast("cpu", torch.bfloat16):
            assert dtype() == torch.bfloat16
            with ThreadPoolExecutor(1) as other:  # whose autocast is off
                assert other.submit(dtype).result() == torch.float32
        with torch.inference_mode():
            assert dtype() == torch.float32
            with torch.autocast("cpu", torch.bfloat16):
                assert dtype() == torch.bfloat16
        with Watch():
            dtype()
        assert any("fovea.attention_forward" in name for name in operators), operators
        operators.clear()
        with torch.enable_grad():
            assert fovea.attention(q.clone().requires_grad_(), k, v).requires_grad
        with torch.no_grad():
            assert not fovea.attention(q.clone().requires_grad_(), k, v).requires_grad


def test_fake_tensors_and_modes_see_an_operator():
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils._python_dispatch import TorchDispatchMode

    seen = []

    class Log(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
            seen.append(str(function))
            return function(*arguments, **(keywords or {}))

    q, k, v = tensors()
    with Log():
        fovea.attention(q, k, v)
    assert any("fovea.attention_forward" in name for name in seen)
    with FakeTensorMode() as mode:
        o = fovea.attention(*(mode.from_tensor(x) for x in (q, k, v)))
        assert tuple(o.shape) == tuple(q.shape) and type(o).__name__ == "FakeTensor"


def test_modules_parameters_are_taken():
    q, k, v = (torch.nn.Parameter(x) for x in tensors())
    fovea.attention(q, k, v).sum().backward()
    assert q.grad is not None
    with torch.no_grad():
        assert not fovea.attention(q, k, v).requires_grad


def test_calls_from_many_threads():
    q, k, v = tensors(seqlen_q=100, seqlen_k=100)
    expected, wrong = fovea.attention(q, k, v), []

    def work():
        for _ in range(50):
            if not torch.equal(fovea.attention(q, k, v), expected):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_reference_and_merge_take_tensors():
    q, k, v = tensors(seqlen_k=20)
    assert_close(fovea.reference_attention(q, k, v), plain_attention(q, k, v)[0])
    first = fovea.attention(q, k[:, :8], v[:, :8], return_lse=True)
    rest = fovea.attention(q, k[:, 8:], v[:, 8:], return_lse=True)
    o, lse = fovea.merge_states(*first, *rest)
    whole = fovea.attention(q, k, v, return_lse=True)
    assert_close(o, whole[0])
    assert_close(lse, whole[1])


def test_merged_parts_have_the_gradients_of_the_whole():
    given = tensors(requires_grad=True, seqlen_k=20)
    q, k, v = given
    parts = [fovea.attention(q, k[:, at], v[:, at], return_lse=True) for at in (slice(0, 8), slice(8, 20))]
    ours = torch.autograd.grad((fovea.merge_states(*parts[0], *parts[1])[0] ** 2).sum(), given)
    expected = torch.autograd.grad((fovea.attention(q, k, v) ** 2).sum(), given)
    for a, b in zip(ours, expected):
        assert_close(a, b, factor=64)


def test_bfloat16_reference_reads_exact_values():
    q, k, v = tensors(dtype=torch.bfloat16)
    as_float = [x.float().numpy() for x in (q, k, v)]
    np.testing.assert_allclose(
        fovea.reference_attention(q, k, v).numpy(), plain_attention(*as_float)[0], rtol=1e-6, atol=1e-7
    )


def test_function_transforms():
    q, k, v = tensors()
    ours = torch.func.grad(lambda q: fovea.attention(q, k, v, causal=True).square().sum())(q)
    q.requires_grad_()
    expected = torch.autograd.grad(fovea.attention(q, k, v, causal=True).square().sum(), q)[0]
    assert torch.equal(ours, expected)
    q = q.detach()
    each = torch.func.vmap(lambda q, k, v: fovea.attention(q[None], k[None], v[None])[0])(q, k, v)
    assert torch.equal(each, fovea.attention(q, k, v))


def test_places_to_write_are_not_for_compiled_calls():
    torch._dynamo.reset()
    q, k, v = tensors()
    with pytest.raises(Exception, match="not implemented under torch.compile"):
        torch.compile(lambda q, o: fovea.attention(q, k, v, out=o), fullgraph=True, backend="eager")(
            q, torch.empty_like(q)
        )
