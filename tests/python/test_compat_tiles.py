# SPDX-License-Identifier: Apache-2.0
"""Tile sizes given to the drop-ins: used where a kernel takes them, on GPUs that need not be here (plans and compiled
kernels of fovea.explain, which needs NVRTC) and on the CPU."""

import os

import pytest
import torch

import fovea
from fovea.compat import _tiles, flash_attention_triton
from fovea.compat.diy import kernels, utils
from fovea.errors import CompileError, InvalidArgument, with_field

HALF = torch.float16
# The sizes of DIY FlashAttention's cheat sheet and of its tuner.
SIZES = [(128, 256, 64), (64, 256, 32), (128, 128, 32), (64, 128, 32), (64, 64, 32), (32, 32, 32), (16, 16, 16)]


@pytest.fixture
def nvrtc():
    if os.environ.get("FOVEA_NVRTC", "none") == "none":
        pytest.skip("no NVRTC: tools/test_python sets FOVEA_NVRTC")


@pytest.fixture
def fresh(monkeypatch):
    monkeypatch.setattr(_tiles, "_taken", {})


@pytest.mark.parametrize("architecture", ["sm_75", "sm_80", "sm_89", "sm_90a", "sm_120"])
def test_tiles_of_products_are_taken(architecture, nvrtc, fresh):
    a = torch.empty(2048, 2048, dtype=HALF)
    for blocks in SIZES:
        call = lambda c: fovea.explain_matmul(a, a, config=c, architecture=architecture, json=True)  # noqa: E731
        plan, config = _tiles.with_first_taken(blocks, _tiles.matmul_configs(*blocks), call)
        if blocks == SIZES[0] and architecture == "sm_75":  # 48 KB for one stage of two
            assert config is None
            continue
        assert tuple(plan["config"][name] for name in ("block_m", "block_n", "block_k")) == blocks


@pytest.mark.parametrize(
    "architecture,rows,keys,kernel",
    [
        ("sm_75", 128, 128, "attention_forward_sm80"),
        ("sm_75", 256, 256, None),
        ("sm_80", 128, 128, "attention_forward_sm80"),
        ("sm_80", 256, 256, "attention_forward_sm80"),
        ("sm_89", 128, 64, "attention_forward_sm80"),
        ("sm_90a", 128, 128, "attention_forward_sm90"),
        ("sm_90a", 64, 64, "attention_forward_sm80"),
    ],
)
def test_tiles_of_attention_are_taken(architecture, rows, keys, kernel, nvrtc, fresh):
    q = torch.empty(16, 8, 512, 64, dtype=HALF)
    call = lambda c: fovea.explain(  # noqa: E731
        q, q, q, causal=True, layout="bhsd", config=c, architecture=architecture, json=True
    )
    plan, config = _tiles.with_first_taken((rows, keys), _tiles.attention_configs(rows, keys), call)
    if kernel is None:
        assert config is None
        return
    assert plan["kernel"] == kernel and (plan["config"]["block_q"], plan["config"]["block_k"]) == (rows, keys)


def test_what_was_taken_is_tried_first_and_other_errors_pass(fresh):
    tried = []

    def call(config):
        tried.append(config)
        if config in ("a", "b"):
            raise with_field(InvalidArgument("too large"), "tile.block_q")
        return config

    assert _tiles.with_first_taken("key", ["a", "b", "c"], call) == ("c", "c")
    assert _tiles.with_first_taken("key", ["a", "b", "c"], call) == ("c", "c")
    assert tried == ["a", "b", "c", "c"]
    assert _tiles.with_first_taken("none", ["a", "b"], call) == (None, None)

    def fail(config):
        raise with_field(CompileError("a bug"), "")

    with pytest.raises(CompileError):
        _tiles.with_first_taken("other", ["a"], fail)


def test_blocks_reach_the_products(monkeypatch, fresh):
    seen = []
    original = fovea.matmul

    def matmul(a, b, *, config=None):
        seen.append(config and (config.block_m, config.block_n, config.block_k, config.persistent))
        return original(a, b, config=config)

    monkeypatch.setattr(fovea, "matmul", matmul)
    a, b = torch.randn(70, 90).half(), torch.randn(90, 50).half()
    exact = a.double() @ b.double()
    for blocks in ((32, 16, 32), (128, 256, 64)):
        for function in (kernels.triton_matmul, kernels.persistent_matmul):
            assert (function(a, b, *blocks).double() - exact).abs().max() < 0.05
        assert seen[-2:] == [(*blocks, None)] * 2  # on a CPU no block of threads stays
    kernels.triton_matmul(a, b)
    kernels.persistent_matmul(a, b)  # nobody chose 64, 64, 32
    assert seen[-2:] == [None, None]


@pytest.fixture
def two_gpus(monkeypatch):
    """Tensors without data on GPUs that are not here: a T4 as cuda:0, the current one, and an H200 as cuda:1."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    capabilities = {0: (7, 5), 1: (9, 0)}
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capabilities[torch.device(device).index])
    given = []
    original = fovea.attention

    def attention(*arguments, **keywords):
        given.append(keywords["config"])
        return original(*arguments, **keywords)

    monkeypatch.setattr(fovea, "attention", attention)
    with FakeTensorMode():
        yield given


def test_configuration_is_that_of_the_tensors_gpu(two_gpus, fresh):
    def config(rows, most):
        return flash_attention_triton.KernelsConfigV2(rows, 64, 16, most, 32, 4, 8, 1, [])

    call = flash_attention_triton.flash_attention_v2_custom
    configs = {(7, 5): config(32, 128), (9, 0): config(128, 256)}
    for index, rows in ((1, 128), (0, 32), (1, 128)):
        q = torch.empty(2, 4, 128, 64, device=f"cuda:{index}")
        assert call(q, q, q, None, configs).device == q.device
        assert (two_gpus[-1].block_q, two_gpus[-1].block_k) == (rows, 64)
    with pytest.raises(ValueError, match=r"\(9, 0\)") as caught:
        call(q, q, q, None, {(7, 5): config(32, 128)})
    assert caught.value.field == "kernels_configs"
    q = torch.empty(2, 4, 128, 192, device="cuda:0")
    with pytest.raises(ValueError, match="max_headdim is 128"):
        call(q, q, q, None, configs)
    with pytest.raises(ValueError, match="k is on cuda:1 but q is on cuda:0"):
        call(q, q.to("cuda:1"), q, None, configs)


def test_configurations_without_sense_are_refused():
    good = dict(
        block_rows_size=128,
        block_cols_size=128,
        min_block_headdim=16,
        max_headdim=128,
        seqlen_cache_divisor=32,
        min_warps=4,
        max_warps=8,
        num_stages=1,
        backward_autotune_configs=[],
    )
    flash_attention_triton.KernelsConfigV2(**good)
    for wrong in ({"block_rows_size": 0}, {"min_block_headdim": 24}, {"min_warps": 16}, {"num_stages": 1.5}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            flash_attention_triton.KernelsConfigV2(**{**good, **wrong})


def test_misuse_of_the_triton_package_is_named():
    q = torch.randn(1, 2, 8, 64)
    for arguments, error, field in (
        ((q[0], q, q), ValueError, "q"),
        ((q, q, q.half()), TypeError, "v"),
        ((q, q.to("meta"), q), ValueError, "k"),
        ((q.int(), q.int(), q.int()), TypeError, "q"),
        ((q, q, [1.0]), TypeError, "v"),
        ((q, q[:, :, :, :32], q), ValueError, "k"),
    ):
        with pytest.raises(error) as caught:
            flash_attention_triton.flash_attention_v2(*arguments)
        assert isinstance(caught.value, fovea.Error) and caught.value.field == field, str(caught.value)


def test_optimal_config_is_a_plan_for_the_described_gpu(nvrtc):
    here = utils.get_optimal_config(utils.detect_gpu(), "flash_attention")
    card = utils.GPUCapabilities("H200", utils.GPUArch.HOPPER, (9, 0), True, True, True, 228 << 10, 132, 141.0)
    there = utils.get_optimal_config(card, "flash_attention")
    assert there["block_q"] >= 64 and there != here
    assert utils.get_optimal_config(card, "matmul")["block_m"] >= 64
