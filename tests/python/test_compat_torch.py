# SPDX-License-Identifier: Apache-2.0
"""The drop-ins for PyTorch's SDPA, flash_attn and flash_attention_triton."""

import inspect
import types

import pytest
import torch
import torch.nn.functional as F
from conftest import assert_close, plain_attention

from fovea.compat import flash_attention_triton, flash_attn
from fovea.compat.torch_sdpa import scaled_dot_product_attention
from fovea.compat.torch_varlen import varlen_attn

torch.manual_seed(0)


def random(*shape, **keywords):
    return torch.randn(*shape, **keywords)


SDPA_CALLS = [
    ((2, 4, 7, 16), (2, 4, 9, 16), (2, 4, 9, 16), {}),
    ((2, 4, 7, 16), (2, 4, 9, 16), (2, 4, 9, 24), {"is_causal": True}),
    ((2, 4, 9, 16), (2, 4, 7, 16), (2, 4, 7, 16), {"is_causal": True}),
    ((2, 4, 7, 16), (2, 2, 9, 16), (2, 2, 9, 16), {"enable_gqa": True, "scale": 0.5}),
    ((2, 4, 7, 16), (1, 1, 9, 16), (2, 4, 9, 16), {}),
    ((3, 7, 16), (3, 9, 16), (3, 9, 16), {"is_causal": True}),
    ((7, 16), (9, 16), (9, 16), {}),
    ((2, 3, 4, 7, 16), (2, 3, 4, 9, 16), (1, 3, 4, 9, 16), {}),
    ((2, 4, 7, 16), (2, 4, 9, 16), (2, 4, 9, 16), {"attn_mask": torch.rand(7, 9) > 0.3}),
    ((2, 4, 7, 16), (2, 4, 9, 16), (2, 4, 9, 16), {"attn_mask": random(2, 1, 7, 9)}),
    ((2, 4, 7, 16), (2, 2, 9, 16), (2, 2, 9, 16), {"attn_mask": random(4, 7, 9), "enable_gqa": True}),
    ((2, 4, 7, 16), (2, 4, 9, 16), (2, 4, 9, 16), {"attn_mask": torch.rand(2, 1, 1, 9) > 0.3}),
    ((2, 3, 4, 7, 16), (2, 3, 4, 9, 16), (2, 3, 4, 9, 16), {"attn_mask": random(3, 1, 7, 9)}),
    ((3, 7, 16), (3, 9, 16), (3, 9, 16), {"attn_mask": torch.rand(3, 7, 9) > 0.3}),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("call", SDPA_CALLS, ids=lambda call: str(call[:1]) + ",".join(call[3]))
def test_sdpa_gives_what_pytorch_gives(call, dtype):
    *shapes, keywords = call
    tensors = [random(*shape, dtype=dtype).requires_grad_() for shape in shapes]
    mask = keywords.get("attn_mask")
    if mask is not None and mask.dtype != torch.bool:
        keywords = dict(keywords, attn_mask=mask.to(dtype))
    ours = scaled_dot_product_attention(*tensors, **keywords)
    theirs = F.scaled_dot_product_attention(*tensors, **keywords)
    assert ours.dtype == dtype
    assert_close(ours.detach(), theirs.detach())
    weights = torch.randn_like(ours)
    for a, b in zip(
        torch.autograd.grad((ours * weights).sum(), tensors), torch.autograd.grad((theirs * weights).sum(), tensors)
    ):
        assert_close(a, b, factor=64)


def test_sdpa_gradient_of_an_additive_mask():
    q, k, v = (random(2, 4, 5, 8) for _ in range(3))
    mask = random(1, 4, 5, 5, requires_grad=True)
    ours = torch.autograd.grad(scaled_dot_product_attention(q, k, v, mask).square().sum(), mask)[0]
    theirs = torch.autograd.grad(F.scaled_dot_product_attention(q, k, v, mask).square().sum(), mask)[0]
    assert_close(ours, theirs, factor=64)


def test_sdpa_dropout_drops_the_share_it_is_told():
    torch.manual_seed(1)
    q, k, v = torch.zeros(1, 1, 64, 8), torch.zeros(1, 1, 512, 8), torch.ones(1, 1, 512, 8)
    o = scaled_dot_product_attention(q, k, v, dropout_p=0.25)  # each is (kept keys) / 512 / 0.75
    assert 0.97 < o.mean() < 1.03 and o.std() > 0.01


def test_sdpa_signature_and_misuse():
    names = ["query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa"]
    signature = inspect.signature(scaled_dot_product_attention)
    assert list(signature.parameters) == names
    assert [p.default for p in signature.parameters.values()][3:] == [None, 0.0, False, None, False]
    q = random(2, 4, 7, 16)
    with pytest.raises(ValueError, match="is_causal"):
        scaled_dot_product_attention(q, q, q, torch.ones(7, 7, dtype=torch.bool), is_causal=True)
    with pytest.raises(ValueError, match="enable_gqa"):
        scaled_dot_product_attention(q, q[:, :2], q[:, :2])
    nothing = torch.zeros(7, 7, dtype=torch.bool)
    assert not scaled_dot_product_attention(q, q, q, nothing).any()


def test_sdpa_compiles_whole():
    torch._dynamo.reset()
    q = random(2, 4, 7, 16)
    mask = torch.rand(7, 7) > 0.3
    compiled = torch.compile(
        lambda q: scaled_dot_product_attention(q, q, q, is_causal=True) + scaled_dot_product_attention(q, q, q, mask),
        fullgraph=True,
        backend="aot_eager",
    )
    expected = F.scaled_dot_product_attention(q, q, q, is_causal=True) + F.scaled_dot_product_attention(q, q, q, mask)
    assert_close(compiled(q), expected)


def test_varlen_attn_is_pytorchs():
    varlen = pytest.importorskip("torch.nn.attention.varlen", reason="this PyTorch has no varlen_attn")
    theirs, ours = (
        [(p.name, p.kind, p.default) for p in inspect.signature(f).parameters.values()]
        for f in (varlen.varlen_attn, varlen_attn)
    )
    assert theirs == ours[: len(theirs)]  # older versions of PyTorch have fewer
    assert len(theirs) == len(ours) or torch.__version__ < "2.13"


def test_varlen_attn_computes_each_sequence():
    q, k, v = random(12, 4, 16), random(15, 2, 16), random(15, 2, 16)
    cu_q, cu_k = torch.tensor([0, 5, 12], dtype=torch.int32), torch.tensor([0, 8, 15], dtype=torch.int32)
    aux = types.SimpleNamespace(lse=True)
    used = torch.tensor([8, 4], dtype=torch.int32)
    for window, keywords in (((-1, -1), {}), ((-1, 0), {"seqused_k": used}), ((3, 1), {"scale": 0.3})):
        o, lse = varlen_attn(q, k, v, cu_q, cu_k, 7, 8, return_aux=aux, window_size=window, enable_gqa=True, **keywords)
        for b in range(2):
            rows, past = slice(cu_q[b], cu_q[b + 1]), used[b] if "seqused_k" in keywords else cu_k[b + 1] - cu_k[b]
            keys = slice(cu_k[b], cu_k[b] + past)
            expected = plain_attention(
                q[None, rows],
                k[None, keys],
                v[None, keys],
                window=tuple(None if size < 0 else size for size in window),
                softmax_scale=keywords.get("scale"),
            )
            assert_close(o[rows], expected[0][0])
            assert_close(lse[:, rows], expected[1][0])
    with pytest.raises(ValueError, match="enable_gqa"):
        varlen_attn(q, k, v, cu_q, cu_k, 7, 8)
    with pytest.raises(NotImplementedError, match="block_table"):
        varlen_attn(q, k, v, cu_q, cu_k, 7, 8, enable_gqa=True, block_table=cu_q)


FLASH_ARGUMENTS = [
    ("dropout_p", 0.0),
    ("softmax_scale", None),
    ("causal", False),
    ("window_size", (-1, -1)),
    ("softcap", 0.0),
    ("alibi_slopes", None),
    ("deterministic", False),
    ("return_attn_probs", False),
]
FLASH_SIGNATURES = {
    "flash_attn_func": ["q", "k", "v"],
    "flash_attn_qkvpacked_func": ["qkv"],
    "flash_attn_kvpacked_func": ["q", "kv"],
    "flash_attn_varlen_func": ["q", "k", "v", "cu_seqlens_q", "cu_seqlens_k", "max_seqlen_q", "max_seqlen_k"],
    "flash_attn_varlen_qkvpacked_func": ["qkv", "cu_seqlens", "max_seqlen"],
    "flash_attn_varlen_kvpacked_func": ["q", "kv", "cu_seqlens_q", "cu_seqlens_k", "max_seqlen_q", "max_seqlen_k"],
}


@pytest.mark.parametrize("name", FLASH_SIGNATURES)
def test_flash_attn_signatures(name):
    parameters = inspect.signature(getattr(flash_attn, name)).parameters
    expected = FLASH_SIGNATURES[name] + [argument for argument, _ in FLASH_ARGUMENTS]
    expected += ["block_table"] if name == "flash_attn_varlen_func" else []
    assert list(parameters) == expected
    assert {n: parameters[n].default for n, _ in FLASH_ARGUMENTS} == dict(FLASH_ARGUMENTS)


def test_flash_attn_functions_agree_with_the_textbook():
    q, k, v = random(2, 7, 4, 16), random(2, 9, 2, 16), random(2, 9, 2, 16)
    expected, lse = plain_attention(q, k, v, causal=True, window=(4, 0), softcap=2.0, softmax_scale=0.3)
    o, got_lse, nothing = flash_attn.flash_attn_func(q, k, v, 0.0, 0.3, True, (4, -1), 2.0, return_attn_probs=True)
    assert_close(o, expected)
    assert_close(got_lse, lse)
    assert nothing is None
    qkv = random(2, 7, 3, 4, 16)
    assert_close(
        flash_attn.flash_attn_qkvpacked_func(qkv, causal=True), plain_attention(*qkv.unbind(2), causal=True)[0]
    )
    kv = torch.stack((k, v), 2)
    assert_close(
        flash_attn.flash_attn_kvpacked_func(q, kv, window_size=(2, 1)), plain_attention(q, k, v, window=(2, 1))[0]
    )
    turned = q.transpose(1, 3).contiguous().transpose(1, 3)
    assert_close(flash_attn.flash_attn_func(turned, k, v), plain_attention(q, k, v)[0])


def test_flash_attn_packed_sequences():
    q, k, v = random(12, 4, 16), random(15, 2, 16), random(15, 2, 16)
    cu_q, cu_k = torch.tensor([0, 5, 12], dtype=torch.int32), torch.tensor([0, 8, 15], dtype=torch.int32)
    o = flash_attn.flash_attn_varlen_func(q, k, v, cu_q, cu_k, 7, 8, causal=True)
    assert torch.equal(
        o, flash_attn.flash_attn_varlen_kvpacked_func(q, torch.stack((k, v), 1), cu_q, cu_k, 7, 8, causal=True)
    )
    for b in range(2):
        rows, keys = slice(cu_q[b], cu_q[b + 1]), slice(cu_k[b], cu_k[b + 1])
        assert_close(o[rows], plain_attention(q[None, rows], k[None, keys], v[None, keys], causal=True)[0][0])
    qkv = random(12, 3, 4, 16)
    packed = flash_attn.flash_attn_varlen_qkvpacked_func(qkv, cu_q, 7)
    assert torch.equal(packed, flash_attn.flash_attn_varlen_func(*qkv.unbind(1), cu_q, cu_q, 7, 7))


def rotate(x, at, cos, sin, interleaved):
    """Rotary embedding as a product of complex numbers."""
    half = cos.shape[1]
    turned = x[..., : 2 * half]
    pairs = turned.reshape(*turned.shape[:-1], half, 2) if interleaved else torch.stack(turned.split(half, -1), -1)
    turn = torch.complex(cos, sin)[at][:, :, None]
    pairs = torch.view_as_real(torch.view_as_complex(pairs.contiguous()) * turn)
    turned = pairs.flatten(-2) if interleaved else torch.cat(pairs.unbind(-1), -1)
    return torch.cat((turned, x[..., 2 * half :]), -1)


@pytest.mark.parametrize("interleaved", [True, False])
@pytest.mark.parametrize("rotary", [True, False])
def test_flash_attn_cache_is_appended_to_and_read(rotary, interleaved):
    q, k, v = random(2, 3, 4, 16), random(2, 3, 2, 16), random(2, 3, 2, 16)
    k_cache, v_cache = random(3, 20, 2, 16), random(3, 20, 2, 16)
    lens, rows = torch.tensor([5, 9], dtype=torch.int32), torch.tensor([2, 0], dtype=torch.int32)
    angles = torch.outer(torch.arange(20.0), torch.rand(4))
    cos, sin = (angles.cos(), angles.sin()) if rotary else (None, None)
    before_k, before_v = k_cache.clone(), v_cache.clone()
    o, lse = flash_attn.flash_attn_with_kvcache(
        q,
        k_cache,
        v_cache,
        k,
        v,
        cos,
        sin,
        lens,
        rows,
        causal=True,
        rotary_interleaved=interleaved,
        return_softmax_lse=True,
    )
    at = lens[:, None].long() + torch.arange(3)
    if rotary:
        q, k = rotate(q, at, cos, sin, interleaved), rotate(k, at, cos, sin, interleaved)
    for b in range(2):
        before_k[rows[b], at[b]], before_v[rows[b], at[b]] = k[b], v[b]
        keys = slice(0, int(lens[b]) + 3)
        expected, expected_lse = plain_attention(
            q[b : b + 1], before_k[rows[b], keys][None], before_v[rows[b], keys][None], causal=True
        )
        assert_close(o[b], expected[0])
        assert_close(lse[b], expected_lse[0])
    assert_close(k_cache, before_k)
    assert torch.equal(v_cache, before_v)


def test_flash_attn_decodes_one_token():
    q, cache = random(2, 1, 4, 16), random(2, 20, 2, 16)
    o = flash_attn.flash_attn_with_kvcache(q, cache, cache, cache_seqlens=7)
    assert_close(o, plain_attention(q, cache[:, :7], cache[:, :7])[0])
    assert_close(flash_attn.flash_attn_with_kvcache(q, cache, cache), plain_attention(q, cache, cache)[0])


@pytest.mark.parametrize(
    "call",
    [
        lambda q: flash_attn.flash_attn_func(q, q, q, dropout_p=0.1),
        lambda q: flash_attn.flash_attn_func(q, q, q, alibi_slopes=torch.ones(4)),
        lambda q: flash_attn.flash_attn_with_kvcache(q, q, q, block_table=torch.zeros(2, 2, dtype=torch.int32)),
        lambda q: flash_attn.flash_attn_with_kvcache(q, q, q, cache_leftpad=torch.zeros(2, dtype=torch.int32)),
    ],
    ids=["dropout_p", "alibi_slopes", "block_table", "cache_leftpad"],
)
def test_flash_attn_names_what_is_not_there(call, request):
    with pytest.raises(NotImplementedError, match=request.node.callspec.id):
        call(random(2, 7, 4, 16))


def test_triton_package_is_causal_from_the_top_left_in_float16():
    q, k, v = random(2, 4, 9, 32), random(2, 4, 7, 32), random(2, 4, 7, 32)
    o = flash_attention_triton.flash_attention_v2(q, k, v, softmax_scale=None, deterministic=True)
    assert o.dtype == torch.float32 and o.is_contiguous()
    half = [x.half().float() for x in (q, k, v)]
    assert_close(o, plain_attention(*half, causal=True, alignment="top_left", layout="bhsd")[0], "float16")
    assert torch.equal(o, o.half().float())


def test_triton_package_has_gradients():
    tensors = [random(2, 2, 9, 32, requires_grad=True) for _ in range(3)]
    ours = torch.autograd.grad(flash_attention_triton.flash_attention_v2(*tensors).sum(), tensors)
    theirs = torch.autograd.grad(F.scaled_dot_product_attention(*tensors, is_causal=True).sum(), tensors)
    for a, b in zip(ours, theirs):
        assert a.dtype == torch.float32
        assert_close(a, b, "float16", factor=16)


def test_triton_package_hook_zeroes_the_tensor_it_names():
    arguments = {"DQ": torch.ones(3), "DK": torch.ones(3)}
    assert flash_attention_triton.init_to_zero_v2("DQ")(arguments) is arguments["DQ"]
    assert not arguments["DQ"].any() and arguments["DK"].all()
