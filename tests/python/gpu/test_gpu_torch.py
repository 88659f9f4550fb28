# SPDX-License-Identifier: Apache-2.0
"""PyTorch tensors on a GPU: right, on the right stream, without copies, in graphs, with gradients."""

import statistics
import subprocess
import sys
import time

import pytest
import torch
import torch.nn.functional as F

import fovea

if not torch.cuda.is_available():
    pytest.skip("no NVIDIA GPU, or PyTorch without CUDA", allow_module_level=True)

DEVICE = torch.device("cuda")


def tensors(
    batch=2, seqlen_q=65, seqlen_k=65, heads=4, heads_kv=2, head_dim=64, dtype=torch.float16, requires_grad=False
):
    generator = torch.Generator(DEVICE).manual_seed(0)
    shapes = (seqlen_q, heads), (seqlen_k, heads_kv), (seqlen_k, heads_kv)
    return [
        torch.randn(batch, s, h, head_dim, device=DEVICE, generator=generator).to(dtype).requires_grad_(requires_grad)
        for s, h in shapes
    ]


def sdpa(q, k, v, **keywords):
    o = F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (q, k, v)), enable_gqa=True, **keywords)
    return o.transpose(1, 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("call", [{}, {"causal": True}, {"window": (20, 3)}, {"softcap": 3.0}], ids=str)
def test_results_pass_the_rule_of_numerics(dtype, call):
    q, k, v = tensors(dtype=dtype)
    o, lse = fovea.attention(q, k, v, return_lse=True, **call)
    assert o.device == q.device and o.dtype == dtype
    verdict = fovea.validate_attention(o, q, k, v, lse=lse, max_rows=200, **call)
    assert verdict, str(verdict)


def test_lengths_and_packed_sequences():
    q, k, v = tensors()
    lens = torch.tensor([30, 65], dtype=torch.int32, device=DEVICE)
    o = fovea.attention(q, k, v, seq_lens=lens, causal=True)
    assert fovea.validate_attention(o, q, k, v, seq_lens=lens, causal=True)
    assert torch.equal(o, fovea.attention(q, k, v, seq_lens=[30, 65], causal=True))
    flat, cu = [x[0] for x in (q, k, v)], torch.tensor([0, 25, 65], dtype=torch.int32, device=DEVICE)
    packed = fovea.attention(*flat, layout="thd", cu_seqlens=cu, max_seqlen=40)
    assert fovea.validate_attention(packed, *flat, layout="thd", cu_seqlens=cu, max_seqlen=40)
    with pytest.raises(ValueError, match="max_seqlen"):
        fovea.attention(*flat, layout="thd", cu_seqlens=cu)


def test_work_is_enqueued_on_the_current_stream():
    q, k, v = tensors(seqlen_q=2048, seqlen_k=2048)
    expected = fovea.attention(q, k, v, causal=True)
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)  # some 25 ms: what is not behind it reads zeros
        late = torch.zeros_like(q)
        late.copy_(q)
        o = fovea.attention(late, k, v, causal=True)
        is_enqueued = not stream.query()
    stream.synchronize()
    assert is_enqueued and torch.equal(o, expected)
    by_handle = torch.empty_like(q)
    fovea.attention(q, k, v, causal=True, out=by_handle, stream=stream.cuda_stream)
    stream.synchronize()
    assert torch.equal(by_handle, expected)


def test_nothing_is_allocated_but_the_outputs():
    q, k, v = tensors()
    o, lse = torch.empty_like(q), torch.empty(2, 4, 65, device=DEVICE)
    fovea.attention(q, k, v, out=o, lse_out=lse, return_lse=True)

    def allocations(call):
        before = torch.cuda.memory_stats()["allocation.all.allocated"]
        kept = call()
        return torch.cuda.memory_stats()["allocation.all.allocated"] - before, kept

    assert allocations(lambda: fovea.attention(q, k, v, out=o, lse_out=lse, return_lse=True))[0] == 0
    assert allocations(lambda: fovea.attention(q, k, v, return_lse=True))[0] == 2
    strided = q.transpose(1, 2).contiguous().transpose(1, 2)
    assert allocations(lambda: fovea.attention(strided, k, v))[0] == 1


def test_outputs_are_made_as_pytorch_makes_them():
    q = tensors(heads_kv=4)[0]
    for x in (q, q.transpose(1, 2), q[:, :1], q[:0], q[:, ::2], q[..., :32]):
        o, lse = fovea.attention(x, x, x, return_lse=True)
        assert o.device == x.device and o.dtype == x.dtype and o.stride() == torch.empty_like(x).stride()
        assert lse.shape == (x.shape[0], x.shape[2], x.shape[1]) and lse.dtype == torch.float32
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        o = fovea.attention(q, q, q)
    o.record_stream(torch.cuda.current_stream())
    with torch.inference_mode():
        assert fovea.attention(q, q, q).is_inference()


@pytest.mark.parametrize("seqlen_q", [65, 1], ids=["prefill", "decode"])
def test_captured_in_a_graph_and_replayed(seqlen_q):
    q, k, v = tensors(seqlen_q=seqlen_q, seqlen_k=8192)
    fovea.attention(q, k, v, causal=True)  # compiles
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        o = fovea.attention(q, k, v, causal=True)
    for seed in range(3):
        q.copy_(torch.randn(q.shape, generator=torch.Generator().manual_seed(seed)))
        graph.replay()
        assert torch.equal(o, fovea.attention(q, k, v, causal=True))


def test_lengths_of_a_captured_graph_may_change():
    q, k, v = tensors()
    lens = torch.tensor([65, 65], dtype=torch.int32, device=DEVICE)
    fovea.attention(q, k, v, seq_lens_k=lens)  # compiles
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        o = fovea.attention(q, k, v, seq_lens_k=lens)
    for values in ([3, 65], [0, 17], [64, 1]):
        lens.copy_(torch.tensor(values))
        graph.replay()
        assert torch.equal(o, fovea.attention(q, k, v, seq_lens_k=values))


def test_streams_at_the_same_time():
    inputs = [tensors(seqlen_q=512, seqlen_k=512) for _ in range(4)]
    expected = fovea.attention(*inputs[0], causal=True)
    torch.cuda.synchronize()
    streams = [torch.cuda.Stream() for _ in inputs]
    results = []
    for _ in range(5):
        for stream, x in zip(streams, inputs):
            with torch.cuda.stream(stream):
                results.append(fovea.attention(*x, causal=True))
    torch.cuda.synchronize()
    assert all(torch.equal(o, expected) for o in results)


def test_the_same_bits_every_time():
    q, k, v = tensors(seqlen_q=1, seqlen_k=8192)
    first = fovea.attention(q, k, v)
    assert all(torch.equal(first, fovea.attention(q, k, v)) for _ in range(50))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_gradients(dtype):
    x = tensors(dtype=dtype, requires_grad=True)
    weights = torch.randn(x[0].shape, device=DEVICE)
    ours = torch.autograd.grad((fovea.attention(*x, causal=True).float() * weights).sum(), x)
    exact = [t.detach().double().requires_grad_() for t in x]
    wanted = torch.autograd.grad((sdpa(*exact, is_causal=True) * weights).sum(), exact)
    plain = torch.autograd.grad((sdpa(*x, is_causal=True).float() * weights).sum(), x)
    for a, b, p in zip(ours, wanted, plain):
        limit = 3 * (p.double() - b).abs().max() + 4 * torch.finfo(dtype).eps * b.abs().max()
        assert (a.double() - b).abs().max() <= limit


def test_compiled_whole_with_gradients():
    x = tensors(requires_grad=True)
    compiled = torch.compile(lambda q, k, v: fovea.attention(q, k, v, causal=True).relu(), fullgraph=True)
    o = compiled(*x)
    assert torch.equal(o, fovea.attention(*x, causal=True).relu())
    ours = torch.autograd.grad(o.float().sum(), x)
    expected = torch.autograd.grad(fovea.attention(*x, causal=True).relu().float().sum(), x)
    for a, b in zip(ours, expected):
        torch.testing.assert_close(a, b)


def test_exported():
    class Attention(torch.nn.Module):
        def forward(self, q, k, v):
            return fovea.attention(q, k, v, causal=True, return_lse=True)

    q, k, v = tensors()
    program = torch.export.export(Attention(), (q, k, v))
    assert any("fovea.attention_forward" in str(node.target) for node in program.graph.nodes)
    for ours, expected in zip(program.module()(q, k, v), fovea.attention(q, k, v, causal=True, return_lse=True)):
        assert torch.equal(ours, expected)


def test_explain_names_the_kernel_and_no_copies():
    q, k, v = tensors()
    plan = fovea.explain(q, k, v, causal=True, json=True)
    assert plan["kernel"].startswith("attention_forward_sm") and plan["copies"] == []


def test_processor_and_gpu_in_one_process():
    q, k, v = tensors(dtype=torch.float32)
    there = fovea.attention(q, k, v, causal=True)
    here = fovea.attention(*(x.cpu() for x in (q, k, v)), causal=True)
    assert here.device.type == "cpu"
    torch.testing.assert_close(there.cpu(), here, rtol=1e-5, atol=1e-5)


def test_autocast():
    q, k, v = tensors(dtype=torch.float32)
    with torch.autocast("cuda", torch.bfloat16):
        assert fovea.attention(q, k, v).dtype == torch.bfloat16


def test_devices_are_not_mixed():
    q, k, v = tensors()
    with pytest.raises(ValueError, match="device"):
        fovea.attention(q, k.cpu(), v)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one GPU")
def test_tensors_choose_the_device():
    x = tensors(requires_grad=True)
    there = [t.detach().to("cuda:1").requires_grad_() for t in x]
    o = fovea.attention(*there, causal=True)  # the current device is 0
    expected = fovea.attention(*x, causal=True)
    assert o.device == there[0].device and torch.equal(o.cpu(), expected.cpu())
    for ours, wanted in zip(torch.autograd.grad(o.sum(), there), torch.autograd.grad(expected.sum(), x)):
        torch.testing.assert_close(ours.cpu(), wanted.cpu())
    a = torch.randn(70, 64, device="cuda:1")
    assert fovea.validate_matmul(fovea.matmul(a, a.mT), a, a.mT)
    stream = torch.cuda.Stream("cuda:1")
    torch.cuda.synchronize("cuda:1")
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)
        late = torch.zeros_like(there[0])
        late.copy_(there[0])
        behind = fovea.attention(late.detach(), *(t.detach() for t in there[1:]), causal=True)
    stream.synchronize()
    assert torch.equal(behind, o) and torch.cuda.current_device() == 0
    with pytest.raises(ValueError, match="device"):
        fovea.attention(x[0].detach(), there[1].detach(), there[2].detach())


FORK = """
import multiprocessing, torch, fovea

q = torch.randn(1, 9, 2, 64, device="cuda", dtype=torch.float16)
fovea.attention(q, q, q)

def child(queue):
    for keywords in ({}, {"seq_lens": [4]}):
        try:
            queue.put(str(fovea.attention(q, q, q, **keywords).shape))
        except Exception as error:
            queue.put(f"{type(error).__name__}: {error}")

context = multiprocessing.get_context("fork")
queue = context.Queue()
process = context.Process(target=child, args=(queue,))
process.start()
for _ in range(2):
    print(queue.get(timeout=60).replace("\\n", " "))
process.join(60)
"""


def test_a_forked_child_is_refused_not_hung():
    # In a process of its own: this one may have JAX's threads, which a fork loses.
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=120)
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and len(lines) == 2, done.stderr
    assert all("fork" in line and "spawn" in line for line in lines), lines


def test_drop_ins_run_on_the_gpu():
    from fovea.compat import flash_attention_triton, flash_attn
    from fovea.compat.torch_sdpa import scaled_dot_product_attention

    q, k, v = tensors(heads_kv=4)
    expected = sdpa(q, k, v, is_causal=True)
    torch.testing.assert_close(flash_attn.flash_attn_func(q, k, v, causal=True), expected, rtol=2e-3, atol=2e-3)
    heads_first = [x.transpose(1, 2) for x in (q, k, v)]
    ours = scaled_dot_product_attention(*heads_first, is_causal=True)
    torch.testing.assert_close(ours.transpose(1, 2), expected, rtol=2e-3, atol=2e-3)
    capability = torch.cuda.get_device_capability()
    config = flash_attention_triton.KernelsConfigV2(128, 128, 16, 128, 32, 4, 8, 1, [])
    call = flash_attention_triton.flash_attention_v2_custom
    torch.testing.assert_close(
        call(*heads_first, None, {capability: config}).transpose(1, 2), expected, rtol=2e-3, atol=2e-3
    )
    for rows, columns in ((256, 256), (64, 64), (128, 32)):
        config = flash_attention_triton.KernelsConfigV2(rows, columns, 16, 128, 32, 4, 8, 1, [])
        ours = call(*heads_first, None, {capability: config}).transpose(1, 2)
        torch.testing.assert_close(ours, expected, rtol=2e-3, atol=2e-3)
    with pytest.raises(ValueError, match="Missing kernel configuration"):
        call(*heads_first, None, {(1, 0): config})


def test_host_time_of_a_call_is_less_than_sdpas(capsys):
    q, k, v = tensors(batch=1, seqlen_q=16, seqlen_k=16)
    heads_first = [x.transpose(1, 2) for x in (q, k, v)]

    def microseconds(call):
        found = []
        for _ in range(9):
            torch.cuda.synchronize()
            start = time.perf_counter()
            for _ in range(500):
                call()
            found.append((time.perf_counter() - start) / 500 * 1e6)
        return statistics.median(found)

    with torch.no_grad():
        ours = microseconds(lambda: fovea.attention(q, k, v))
        theirs = microseconds(lambda: F.scaled_dot_product_attention(*heads_first, enable_gqa=True))
    with capsys.disabled():
        print(f"\nhost time of a call: fovea {ours:.2f} us, sdpa {theirs:.2f} us")
    assert ours < theirs
