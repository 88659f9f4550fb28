# SPDX-License-Identifier: Apache-2.0
"""The promises of DIY FlashAttention's API page and cheat sheet, on whatever device there is."""

import dataclasses
import inspect
import re

import pytest
import torch
from conftest import assert_close, plain_attention

import fovea
from fovea.compat.diy import kernels, utils
from fovea.compat.diy.benchmarks import bench_flash, bench_matmul
from fovea.compat.diy.kernels import BlockMask, compose_block_masks, create_block_mask

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
torch.manual_seed(0)


def random(*shape, dtype=torch.float16):
    return torch.randn(*shape).to(device=DEVICE, dtype=dtype)


SIGNATURES = {
    "triton_matmul": "a, b, block_m=None, block_n=None, block_k=None, use_autotune=True",
    "persistent_matmul": "a, b, block_m=64, block_n=64, block_k=32",
    "flash_attention": "q, k, v, causal=False, sm_scale=None, seq_lens=None",
    "flash_attention_v2": "q, k, v, causal=False, sm_scale=None, seq_lens=None",
    "reference_attention": "q, k, v, causal=False",
    "select_attention_kernel": "variant='auto', q_shape=None, gpu_capability=None",
    "create_block_mask": "pattern, query_len, key_len, block_size=128, causal=False, sliding_window=None, "
    "prefix_len=None",
    "compose_block_masks": "mask1, mask2, operation='intersect'",
    "detect_gpu": "device_id=0",
    "print_gpu_info": "caps=None",
    "estimate_occupancy": "block_size, registers_per_thread, shared_memory_bytes, gpu_capability",
    "get_gpu_memory_hierarchy": "gpu_capability",
    "BenchmarkRunner": "device='cuda', warmup=25, rep=100",
    "validate_attention": "fn, batch, heads, seq_len, head_dim, causal=False, rtol=0.001, atol=0.001, "
    "dtype=torch.float16, device='cuda', verbose=False",
    "validate_matmul": "fn, m, n, k, rtol=0.001, atol=0.001, dtype=torch.float16, device='cuda', verbose=False",
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature(name):
    signature = inspect.signature(getattr(kernels, name, None) or getattr(utils, name))
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    assert str(inspect.Signature(plain)) == f"({SIGNATURES[name]})"


def test_fields_of_the_records():
    names = [field.name for field in dataclasses.fields(utils.GPUCapabilities)]
    features = ["has_tma", "has_fp8", "has_warpgroup_mma", "sram_per_sm", "num_sms", "total_memory_gb"]
    assert names == ["name", "arch", "compute_capability", *features]
    assert {arch.value for arch in utils.GPUArch} == {"sm_70", "sm_75", "sm_80", "sm_89", "sm_90", "sm_100", "unknown"}
    assert [v.value for v in kernels.KernelVariant] == ["v1", "v2", "persistent", "auto"]
    profile = utils.GPUMemoryProfile(50.0, 70, 100, 64, 0.5, 10)
    assert profile.smem_pressure_pct() == 70.0 and not profile.can_increase_occupancy()
    bench = utils.KernelBenchmark("k", 1.0, 2.0, 3.0, profile)
    assert bench.memory_profile is profile


ERRORS = [
    (lambda: kernels.triton_matmul(random(2, 2, 2), random(2, 2)), ValueError, "Expected 2D tensors"),
    (lambda: kernels.triton_matmul(random(2, 3), random(2, 3)), ValueError, "Incompatible dimensions"),
    (lambda: kernels.triton_matmul(random(2, 2), random(2, 2), 0, 32, 32), ValueError, "Block sizes must be positive"),
    (lambda: kernels.triton_matmul(random(2, 2), random(2, 2), block_m=32), ValueError, "All block sizes"),
    (lambda: kernels.triton_matmul(random(2, 2), random(2, 2), use_autotune=False), ValueError, "required"),
    (lambda: kernels.triton_matmul(random(2, 2).double(), random(2, 2).double()), TypeError, "Unsupported dtype"),
    (lambda: kernels.triton_matmul(random(2, 2), random(2, 2).float()), TypeError, "dtypes must match"),
    (lambda: kernels.flash_attention(*[random(2, 64)] * 3), ValueError, "Expected 3D or 4D tensors"),
    (lambda: kernels.flash_attention_v2(*[random(4, 8, 64)] * 3), ValueError, "batch, seq_len, heads, head_dim"),
    (
        lambda: kernels.flash_attention(random(1, 2, 8, 64), random(1, 2, 9, 64), random(1, 2, 9, 64)),
        ValueError,
        "Q, K, V shapes must match",
    ),
    (lambda: kernels.flash_attention(*[random(1, 2, 8, 48)] * 3), ValueError, "Unsupported head_dim"),
    (lambda: kernels.flash_attention(*[random(1, 2, 8, 64).double()] * 3), TypeError, "Unsupported dtype"),
    (lambda: kernels.flash_attention(*[random(2, 2, 8, 64)] * 3, seq_lens=[4]), ValueError, "match batch size"),
    (lambda: kernels.flash_attention(*[random(2, 2, 8, 64)] * 3, seq_lens=[-1, 4]), ValueError, "from 0 to seq_len"),
    (lambda: kernels.flash_attention(*[random(2, 2, 8, 64)] * 3, seq_lens=[4, 9]), ValueError, "from 0 to seq_len"),
    (lambda: kernels.flash_attention(*[random(2, 2, 8, 64)] * 3, seq_lens=[[4, 9]]), ValueError, "1D tensor or list"),
    (lambda: kernels.flash_attention(*[random(2, 2, 8, 64)] * 3, seq_lens=[1.5, 2]), TypeError, "hold integers"),
    (lambda: kernels.flash_attention(*[random(4, 8, 64)] * 3, seq_lens=[4, 9]), ValueError, "3D inputs"),
    (
        lambda: kernels.flash_attention(random(1, 2, 8, 64), *[random(2, 8, 64)] * 2),
        ValueError,
        "must have the same rank",
    ),
    (
        lambda: kernels.flash_attention(random(1, 2, 8, 64), *[random(1, 2, 8, 64).float()] * 2),
        TypeError,
        "Q, K, V dtypes must match",
    ),
    (
        lambda: kernels.flash_attention(random(1, 2, 8, 64), *[random(1, 2, 8, 64).to("meta")] * 2),
        ValueError,
        "Q, K and V must be on the same device",
    ),
    (lambda: kernels.triton_matmul(random(2, 2), random(2, 2).to("meta")), ValueError, "tensors must be on the same"),
    (lambda: kernels.triton_matmul([[1.0]], random(2, 2)), TypeError, "must be a torch.Tensor"),
    (lambda: kernels.persistent_matmul(random(2), random(2, 2)), ValueError, "Expected 2D tensors, got"),
    (lambda: kernels.persistent_matmul(random(2, 3), random(2, 3)), ValueError, "Incompatible dimensions: A is"),
    (lambda: kernels.persistent_matmul(random(2, 2), random(2, 2), -1), ValueError, "must be positive, got"),
    (lambda: kernels.select_attention_kernel("v3"), ValueError, "v1"),
    (lambda: kernels.select_attention_kernel("persistent"), NotImplementedError, "persistent"),
    (lambda: create_block_mask("diagonal", 8, 8), ValueError, "Unknown pattern"),
    (lambda: create_block_mask("sliding_window", 8, 8), ValueError, "requires sliding_window"),
    (lambda: create_block_mask("prefix_lm", 8, 8), ValueError, "requires prefix_len"),
    (lambda: compose_block_masks(*[create_block_mask("full", 8, 8)] * 2, "xor"), ValueError, "Unknown operation"),
    (
        lambda: compose_block_masks(create_block_mask("full", 8, 8, 4), create_block_mask("full", 8, 8, 2)),
        ValueError,
        "shapes",
    ),
    (lambda: utils.estimate_occupancy(128, 64, 0, 55), ValueError, "gpu_capability"),
    (lambda: utils.get_optimal_config(utils.detect_gpu(), "sort"), ValueError, "Unknown operation: sort"),
    (lambda: utils.detect_gpu(99), ValueError, "device_id is 99"),
]


@pytest.mark.parametrize("call,error,words", ERRORS, ids=[words for _, _, words in ERRORS])
def test_documented_errors(call, error, words):
    with pytest.raises(error, match=words) as caught:
        call()
    assert isinstance(caught.value, fovea.Error) and caught.value.field
    assert re.search("; |must |requires |Use |there is no GPU", str(caught.value)), "no way out"


def test_what_the_original_refused_without_need():
    a, b = random(20, 24), random(24, 28)
    exact = a.double() @ b.double()
    assert (kernels.triton_matmul(a, b, 128, 128, 64).double() - exact).abs().max() < 0.05  # blocks beyond the matrix
    x = random(2, 2, 8, 64)
    o = kernels.flash_attention(x, x, x, seq_lens=[0, 8])
    assert not o[0].any() and torch.equal(o[1], kernels.flash_attention(x, x, x)[1])


def test_layouts_of_v1_and_v2():
    q, k, v = (random(2, 3, 17, 32) for _ in range(3))
    expected = plain_attention(*(x.float().cpu() for x in (q, k, v)), causal=True, layout="bhsd")[0]
    assert_close(kernels.flash_attention(q, k, v, causal=True).float().cpu(), expected, "float16")
    swapped = [x.transpose(1, 2) for x in (q, k, v)]
    assert_close(kernels.flash_attention_v2(*swapped, causal=True).transpose(1, 2).float().cpu(), expected, "float16")
    flat = [x.reshape(6, 17, 32) for x in (q, k, v)]
    assert_close(kernels.flash_attention(*flat, causal=True).reshape(q.shape).float().cpu(), expected, "float16")
    for variant in ("v1", "v2", "auto"):  # with q_shape all take tokens before heads
        kernel = kernels.select_attention_kernel(variant, q_shape=(2, 17, 3, 32))
        assert_close(kernel(*swapped, causal=True).transpose(1, 2).float().cpu(), expected, "float16")


def test_dtypes_that_come_back():
    a, b = random(8, 8, dtype=torch.float32), random(8, 8, dtype=torch.float32)
    assert kernels.triton_matmul(a, b).dtype == torch.float16
    assert kernels.persistent_matmul(a, b).dtype == torch.float32
    assert_close(kernels.persistent_matmul(a, b).cpu(), (a.double() @ b.double()).cpu(), factor=64)
    q = random(1, 2, 8, 32, dtype=torch.float32)
    o = kernels.flash_attention(q, q, q)
    assert o.dtype == torch.float32 and torch.equal(o, o.half().float())


def test_selection_follows_the_documented_rules():
    select = kernels.BackendSelector.select_attention
    large, small = (4, 4096, 8, 64), (1, 256, 8, 64)
    assert select(q_shape=large, gpu_capability=80) is kernels.flash_attention_v2
    assert select(q_shape=large, gpu_capability=9) is kernels.flash_attention_v2
    assert select(q_shape=large, gpu_capability=75) is not kernels.flash_attention_v2
    assert select(q_shape=small, gpu_capability=80) is not kernels.flash_attention_v2
    assert select() is kernels.flash_attention and select(kernels.KernelVariant.V2) is kernels.flash_attention_v2


def tokens(mask, rows, keys):
    return mask.apply_to_scores(torch.zeros(rows, keys)) == 0


@pytest.mark.parametrize("block_size", [1, 4, 128])
def test_masks_are_exact_to_the_token(block_size):
    i, j = torch.arange(10)[:, None], torch.arange(13)[None, :]
    patterns = {
        "causal": ({}, j <= i),
        "full": ({}, (i >= 0) & (j >= 0)),
        "sliding_window": ({"sliding_window": 3}, (i - j).abs() <= 3),
        "prefix_lm": ({"prefix_len": 5}, (j < 5) | (j <= i)),
    }
    for pattern, (keywords, expected) in patterns.items():
        mask = create_block_mask(pattern, 10, 13, block_size, **keywords)
        assert torch.equal(tokens(mask, 10, 13), expected), pattern
        both = create_block_mask(pattern, 10, 13, block_size, causal=True, **keywords)
        assert torch.equal(tokens(both, 10, 13), expected & (j <= i)), pattern
        blocks = mask.get_mask_matrix()
        assert blocks.shape == (-(-10 // block_size), -(-13 // block_size))
        for row in range(blocks.shape[0]):
            for column in range(blocks.shape[1]):
                part = expected[
                    row * block_size : (row + 1) * block_size, column * block_size : (column + 1) * block_size
                ]
                assert blocks[row, column] == part.any()


def test_masks_are_composed_and_applied():
    window = create_block_mask("sliding_window", 16, 16, 4, sliding_window=2)
    causal = create_block_mask("causal", 16, 16, 4)
    both, either = compose_block_masks(window, causal), compose_block_masks(window, causal, "union")
    a, b = tokens(window, 16, 16), tokens(causal, 16, 16)
    assert torch.equal(tokens(both, 16, 16), a & b) and torch.equal(tokens(either, 16, 16), a | b)
    assert both.mask_type == "composed"
    by_hand = BlockMask(torch.eye(4, dtype=torch.bool), 4, 4, "diagonal")
    assert tokens(by_hand, 16, 16).sum() == 4 * 16
    scores = torch.ones(2, 16, 16)
    assert (by_hand.apply_to_scores(scores, score_mod=lambda s: s * 3)[0, 0, :4] == 3).all()
    with pytest.raises(ValueError, match="covers"):
        by_hand.apply_to_scores(torch.zeros(20, 20))


def test_occupancy_follows_cudas_rules():
    # Known answers of NVIDIA's occupancy calculator.
    assert utils.estimate_occupancy(1024, 64, 0, 80) == 50.0
    assert utils.estimate_occupancy(256, 32, 0, 80) == 100.0
    assert utils.estimate_occupancy(128, 255, 0, 90) == 12.5
    assert utils.estimate_occupancy(128, 32, 100 * 1024, 90) == 12.5
    assert utils.estimate_occupancy(128, 32, 200 * 1024, 80) == 0.0
    assert utils.estimate_occupancy(256, 32, 0, 75) == 100.0
    assert utils.estimate_occupancy(32, 32, 0, 86) == pytest.approx(100 * 16 / 48)


def test_validation_finds_what_is_wrong():
    wrong = lambda a, b: kernels.triton_matmul(a, b) * 1.01  # noqa: E731
    assert not utils.validate_matmul(wrong, 64, 64, 64)[0]
    assert not utils.validate_attention(lambda q, k, v, causal: kernels.flash_attention(q, k, v), 1, 2, 64, 32, True)[0]
    state = torch.random.get_rng_state()
    for fn in (kernels.flash_attention, kernels.flash_attention_v2):
        assert utils.validate_attention_edge_cases(fn)[0]
    assert utils.validate_matmul_edge_cases(kernels.triton_matmul)[0]
    assert utils.validate_matmul_edge_cases(kernels.persistent_matmul)[0]
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_validation_takes_every_dtype(dtype):
    assert utils.validate_attention(kernels.flash_attention, 1, 2, 64, 64, dtype=dtype)[0]
    assert utils.validate_attention(kernels.flash_attention_v2, 1, 2, 64, 64, dtype=dtype)[0]
    assert utils.validate_matmul(kernels.triton_matmul, 64, 64, 64, dtype=dtype)[0]


def test_reference_is_wider_than_its_inputs():
    q = random(1, 2, 33, 64)
    assert_close(
        kernels.reference_attention(q, q, q, causal=True).float().cpu(),
        plain_attention(*[q.float().cpu()] * 3, causal=True, layout="bhsd")[0],
        "float16",
        factor=2,
    )


def test_modern_features():
    assert set(kernels.check_hopper_features()) == {"tma", "fp8", "warpgroup_mma"}
    x = torch.linspace(-4, 4, 9)
    assert kernels.to_fp8_e4m3(x).dtype == torch.float8_e4m3fn and kernels.to_fp8_e5m2(x).dtype == torch.float8_e5m2
    assert kernels.supports_fp8() == utils.detect_gpu().has_fp8
    assert kernels.get_optimal_matmul() is kernels.triton_matmul
    assert kernels.AdaptiveKernelSelector().get_attention_kernel() is kernels.flash_attention
    assert kernels.get_attention_config()["block_q"] > 0 and kernels.get_matmul_config()["block_m"] > 0
    if not kernels.TRITON_AVAILABLE:
        with pytest.raises(ModuleNotFoundError, match="Triton"):
            kernels.require_triton()
        with pytest.raises(ModuleNotFoundError, match="Triton"):
            kernels.TritonKernelStub()[(1,)](1)


def test_benchmark_counts_and_clears(capsys):
    runner = utils.BenchmarkRunner(warmup=0, rep=5)
    full, causal = (
        runner.benchmark_attention(kernels.flash_attention_v2, [64], 1, 2, 32, causal=causal)[0]
        for causal in (False, True)
    )
    assert full.tflops * full.time_ms / (causal.tflops * causal.time_ms) == pytest.approx(64 * 2 / 65)
    assert full.p20_ms <= full.time_ms <= full.p80_ms and full.speedup > 0
    runner.benchmark_matmul(kernels.triton_matmul, [(32, 32, 32)], block_configs=[(16, 16, 16), (32, 32, 32)])
    assert len(runner.results) == 4
    runner.print_comparison_table(title="All")
    assert capsys.readouterr().out.startswith("All\n")
    runner.clear_results()
    assert not runner.results


def test_command_for_matrix_products(capsys):
    arguments = "--sizes 48 64 --test-block-sizes --warmup 1 --rep 2".split()
    assert bench_matmul.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "48 x 48 x 48: right" in printed and "matmul 128x256x64" in printed and "64x64x64" in printed
    assert printed.count("64x64x64") == 1 + 5
    assert bench_matmul.main(["--sizes", "48", "--no-validate", "--warmup", "0", "--rep", "1"]) == 0
    assert "right" not in capsys.readouterr().out


def test_command_for_attention(capsys):
    arguments = "--seq-lengths 64 512 --batch-size 1 --num-heads 2 --head-dim 32 --causal --warmup 1 --rep 2".split()
    assert bench_flash.main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("seq_len 64: right") and any("1x2x512x32" in line for line in lines)
    (long,) = [line.split() for line in lines if line.split()[:1] == ["512"]]
    assert float(long[3]) > 10  # times less memory than what stores 512 x 512 scores
    with pytest.raises(SystemExit) as caught:
        bench_flash.main(["--head-dim", "48"])
    assert caught.value.code == 2


def test_commands_do_not_time_what_is_wrong(monkeypatch, capsys):
    monkeypatch.setattr(kernels, "triton_matmul", lambda a, b: a @ b + 1)
    monkeypatch.setattr(kernels, "flash_attention", lambda q, k, v, causal: v)
    assert bench_matmul.main(["--sizes", "32"]) == 1
    assert bench_flash.main(["--seq-lengths", "32"]) == 1
    printed = capsys.readouterr().out
    assert printed.count("WRONG") == 2 and "PyTorch ms" not in printed
