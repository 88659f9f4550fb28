# SPDX-License-Identifier: Apache-2.0
"""Matrix products of PyTorch tensors on a GPU."""

import pytest
import torch

import fovea

if not torch.cuda.is_available():
    pytest.skip("no NVIDIA GPU, or PyTorch without CUDA", allow_module_level=True)

DEVICE = torch.device("cuda")


def matrices(m=200, k=136, n=264, dtype=torch.float16, requires_grad=False):
    generator = torch.Generator(DEVICE).manual_seed(0)
    shapes = ((m, k), (k, n))
    made = (torch.randn(shape, device=DEVICE, generator=generator).to(dtype) for shape in shapes)
    return [x.requires_grad_(requires_grad) for x in made]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_products_pass_the_rule_of_numerics(dtype):
    a, b = matrices(dtype=dtype)
    bias = torch.randn(264, device=DEVICE).to(dtype)
    d = fovea.matmul(a, b, bias=bias, activation="gelu")
    assert d.device == a.device and d.dtype == dtype
    verdict = fovea.validate_matmul(d, a, b, bias=bias, activation="gelu", max_rows=100)
    assert verdict, str(verdict)
    transposed = fovea.matmul(b.mT, a.mT)
    assert fovea.validate_matmul(transposed, b.mT, a.mT, max_rows=100)


def test_fast_math_is_tf32():
    a, b = matrices(dtype=torch.float32)
    d = fovea.matmul(a, b, math="fast")
    assert fovea.validate_matmul(d, a, b, math="fast", max_rows=100)
    if torch.cuda.get_device_capability() >= (8, 0):
        assert not fovea.validate_matmul(d, a, b, max_rows=100)


def test_nothing_is_allocated_but_the_output_and_the_stream_is_pytorchs():
    a, b = matrices()
    expected = fovea.matmul(a, b)
    before = torch.cuda.memory_stats()["allocation.all.allocated"]
    kept = fovea.matmul(a, b)
    assert torch.cuda.memory_stats()["allocation.all.allocated"] - before == 1 and torch.equal(kept, expected)
    stream = torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)
        late = torch.zeros_like(a)
        late.copy_(a)
        d = fovea.matmul(late, b)
    stream.synchronize()
    assert torch.equal(d, expected)


def test_captured_in_a_graph_and_replayed():
    a, b = matrices()
    fovea.matmul(a, b)  # compiles
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        d = fovea.matmul(a, b)
    for seed in range(3):
        a.copy_(torch.randn(a.shape, generator=torch.Generator().manual_seed(seed)))
        graph.replay()
        assert torch.equal(d, fovea.matmul(a, b))


def test_gradients():
    a, b = matrices(dtype=torch.bfloat16, requires_grad=True)
    ours = torch.autograd.grad(fovea.matmul(a, b).float().square().sum(), (a, b))
    theirs = torch.autograd.grad((a @ b).float().square().sum(), (a, b))
    for x, y in zip(ours, theirs):
        torch.testing.assert_close(x, y, rtol=3e-2, atol=3e-2 * y.abs().max().item())


@pytest.mark.parametrize("blocks", [(128, 256, 64), (64, 256, 32), (128, 128, 32), (64, 64, 32), (16, 16, 16)], ids=str)
def test_block_sizes_of_the_drop_ins(blocks):
    from fovea.compat.diy import kernels

    a, b = matrices()
    for function in (kernels.triton_matmul, kernels.persistent_matmul):
        assert fovea.validate_matmul(function(a, b, *blocks), a, b, max_rows=100)
