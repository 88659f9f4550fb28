# SPDX-License-Identifier: Apache-2.0
"""Outputs of PyTorch tensors: where they lie, who makes them, and that nothing else is made."""

import pytest
import torch
from conftest import assert_close, plain_attention
from test_torch import tensors

import fovea


def test_output_lies_in_memory_as_q_does():
    q, k, v = (x.transpose(1, 2) for x in tensors(layout="bhsd"))
    o = fovea.attention(q, k, v)
    assert o.stride() == q.stride() and o.transpose(1, 2).is_contiguous()
    expanded = q[:1].expand(q.shape)
    assert_close(fovea.attention(expanded, k, v), plain_attention(expanded, k, v)[0])


def test_outputs_are_made_as_pytorch_makes_them():
    q = torch.randn(2, 9, 4, 16)
    orders = [q, q.transpose(1, 2), q.transpose(0, 1), q[:1], q[:, :1], q[:0], q[:, ::2], q[..., :8], q.permute(2, 0, 1, 3)]
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        for x in orders:
            x = x if dtype == torch.float32 else x.to(dtype)
            o, lse = fovea.attention(x, x, x, return_lse=True)
            assert o.dtype == dtype and o.shape == x.shape and o.stride() == torch.empty_like(x).stride(), x.stride()
            assert lse.shape == (x.shape[0], x.shape[2], x.shape[1]) and lse.is_contiguous()
            assert lse.dtype == torch.float32 and not o.requires_grad
            wider = torch.cat((x, x), -1)
            assert fovea.attention(x, x, wider).is_contiguous()
    with torch.inference_mode():
        assert fovea.attention(q, q, q).is_inference()
    assert not fovea.attention(q, q, q).is_inference()


def test_outputs_given_by_the_caller():
    q, k, v = tensors()
    o, lse = torch.empty_like(q), torch.empty(2, 4, 9)
    result = fovea.attention(q, k, v, out=o, lse_out=lse, return_lse=True)
    assert result[0] is o and result[1] is lse
    assert torch.equal(o, fovea.attention(q, k, v))
    with pytest.raises(ValueError, match="without gradients"):
        fovea.attention(q.requires_grad_(), k, v, out=o)


def allocations(call):
    """Blocks of memory that PyTorch allocates during call, and what call returns."""
    with torch.profiler.profile(profile_memory=True) as profile:
        kept = call()
    events = profile.profiler.kineto_results.events()
    return sum(event.name() == "[memory]" and event.nbytes() > 0 for event in events), kept


def test_nothing_is_allocated_but_the_outputs():
    q, k, v = tensors()
    assert allocations(lambda: q.clone())[0] == 1
    assert allocations(lambda: fovea.attention(q, k, v))[0] == 1
    assert allocations(lambda: fovea.attention(q, k, v, return_lse=True))[0] == 2
    packed = torch.randn(2, 9, 3, 4, 16)
    assert allocations(lambda: fovea.attention(*packed.unbind(2)))[0] == 1
    heads_first = torch.randn(2, 4, 9, 16).transpose(1, 2)
    assert allocations(lambda: fovea.attention(heads_first, k, v))[0] == 1
    o, lse = torch.empty_like(q), torch.empty(2, 4, 9)
    assert allocations(lambda: fovea.attention(q, k, v, out=o, lse_out=lse, return_lse=True))[0] == 0
    a, b = torch.randn(6, 8), torch.randn(5, 8)
    assert allocations(lambda: fovea.matmul(a, b.mT))[0] == 1
    d = torch.empty(6, 5)
    assert allocations(lambda: fovea.matmul(a, b.mT, out=d))[0] == 0


def test_drop_ins_copy_nothing_that_lies_in_rows():
    from fovea.compat import flash_attn
    from fovea.compat.torch_sdpa import scaled_dot_product_attention

    qkv = torch.randn(2, 9, 3, 4, 16)
    assert allocations(lambda: flash_attn.flash_attn_qkvpacked_func(qkv))[0] == 2  # o, lse
    q, k, v = (x.transpose(1, 2) for x in qkv.unbind(2))
    assert allocations(lambda: scaled_dot_product_attention(q, k, v, is_causal=True))[0] == 1
