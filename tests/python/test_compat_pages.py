# SPDX-License-Identifier: Apache-2.0
"""Each code block of the pages that the drop-ins stand for, as a script that has it would run it: DIY FlashAttention's
API page and cheat sheet, and flash_attention_triton's page. Only the imports are changed, "cuda" is the CPU where there
is no GPU, and there the largest benchmarks are made smaller."""

import dataclasses
import importlib.util
import sys
import types

import pytest
import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
IMPORTS = {
    "from kernels": "from fovea.compat.diy.kernels",
    "from utils": "from fovea.compat.diy.utils",
    "from flash_attention_triton": "from fovea.compat.flash_attention_triton",
}
SMALLER = {  # on a CPU
    "warmup=10, rep=50": "warmup=1, rep=3",
    "BenchmarkRunner()": "BenchmarkRunner(warmup=1, rep=3)",
    "(1024, 1024, 1024), (2048, 2048, 2048)": "(128, 128, 128), (256, 256, 256)",
    "(1024, 1024, 1024)": "(256, 256, 256)",
    "[512, 1024, 2048]": "[64, 128]",
}


@dataclasses.dataclass
class Block:
    """code as the page has it; given comes before it, what the page takes for granted; then is what must hold after."""

    code: str
    given: str = ""
    then: str = ""


TENSORS = """
import torch
def randn(*shape, dtype=torch.float16):
    return torch.randn(*shape, device="cuda", dtype=dtype)
"""
ATTENTION = TENSORS + "q, k, v = (randn(2, 8, 512, 64) for _ in range(3))\n"
CONFIG = """
turing_backward_autotune_config_non_deterministic = [
    triton.Config(
        {"BLOCK_Q_ROWS_SIZE": 64, "BLOCK_KV_COLS_SIZE": 64, "SEQUENCE_PARALLEL": False},
        num_warps=4,
        num_stages=1,
        pre_hook=init_to_zero_v2("DQ"),
    ),
    triton.Config(
        {"BLOCK_Q_ROWS_SIZE": 64, "BLOCK_KV_COLS_SIZE": 64, "SEQUENCE_PARALLEL": True},
        num_warps=4,
        num_stages=1,
        pre_hook=init_to_zero_v2("DQ"),
    ),
]
turing_kernel_config_non_deterministic = KernelsConfigV2(
    block_rows_size=128,
    block_cols_size=128,
    min_block_headdim=16,
    max_headdim=128,
    seqlen_cache_divisor=32,
    min_warps=4,
    max_warps=8,
    num_stages=1,
    backward_autotune_configs=turing_backward_autotune_config_non_deterministic
)
non_deterministic_configs = {
    (7, 5): turing_kernel_config_non_deterministic
}
"""
HERE = """
if q.is_cuda:
    non_deterministic_configs[torch.cuda.get_device_capability()] = turing_kernel_config_non_deterministic
"""
CUSTOM = """
output = flash_attention_v2_custom(
    q, k, v, softmax_scale=None, kernels_configs=non_deterministic_configs
)
"""
IS_CAUSAL = """
exact = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
assert output.dtype == torch.float32 and (output - exact).abs().max() < 1e-2
"""

BLOCKS = {
    "triton_matmul": Block(
        """
import torch
from kernels import triton_matmul
a = torch.randn(1024, 512, device="cuda", dtype=torch.float16)
b = torch.randn(512, 2048, device="cuda", dtype=torch.float16)
c = triton_matmul(a, b)
c = triton_matmul(a, b, block_m=128, block_n=256, block_k=64)
a_bf16 = torch.randn(1024, 512, device="cuda", dtype=torch.bfloat16)
c_bf16 = triton_matmul(a_bf16, b_bf16)
""",
        TENSORS + "b_bf16 = randn(512, 2048, dtype=torch.bfloat16)",
        """
assert c.dtype == torch.float16 and (c.double() - a.double() @ b.double()).abs().max() < 0.1
assert c_bf16.dtype == torch.bfloat16
""",
    ),
    "flash_attention": Block(
        """
from kernels import flash_attention
q = torch.randn(2, 8, 512, 64, device="cuda", dtype=torch.float16)
k = torch.randn(2, 8, 512, 64, device="cuda", dtype=torch.float16)
v = torch.randn(2, 8, 512, 64, device="cuda", dtype=torch.float16)
out = flash_attention(q, k, v)
out = flash_attention(q, k, v, causal=True)
assert (out[:, :, 0] == v[:, :, 0]).all()
seq_lens = torch.tensor([256, 512], device="cuda", dtype=torch.int32)
out = flash_attention(q, k, v, seq_lens=seq_lens)
""",
        "import torch",
        "assert not out[0, :, 256:].any() and out[0, :, :256].any() and out[1, :, 511].any()",
    ),
    "flash_attention_v2": Block(
        """
import torch
from kernels import flash_attention_v2
batch, seq_len, heads, head_dim = 2, 512, 8, 64
q = torch.randn(batch, seq_len, heads, head_dim, device="cuda", dtype=torch.float16)
k = torch.randn(batch, seq_len, heads, head_dim, device="cuda", dtype=torch.float16)
v = torch.randn(batch, seq_len, heads, head_dim, device="cuda", dtype=torch.float16)
out = flash_attention_v2(q, k, v, causal=True)
""",
        then="assert (out[:, 0] == v[:, 0]).all() and out.shape == q.shape",
    ),
    "persistent_matmul": Block(
        """
import torch
from kernels import persistent_matmul
a = torch.randn(512, 512, device="cuda", dtype=torch.float16)
b = torch.randn(512, 512, device="cuda", dtype=torch.float16)
c = persistent_matmul(a, b)
""",
        then="assert (c.double() - a.double() @ b.double()).abs().max() < 0.1",
    ),
    "reference_attention": Block(
        "from kernels.flash_attn import reference_attention",
        ATTENTION,
        "assert (reference_attention(q, k, v, causal=True)[:, :, 0] == v[:, :, 0]).all()",
    ),
    "BackendSelector": Block(
        """
from kernels import BackendSelector
selector = BackendSelector()
kernel = selector.select_attention(
    q_shape=(4, 2048, 8, 64),
    gpu_capability=80
)
out = kernel(q, k, v, causal=True)
""",
        TENSORS + "q, k, v = (randn(4, 2048, 8, 64) for _ in range(3))",
        "assert (out[:, 0] == v[:, 0]).all() and not (out[:, 1] == v[:, 1]).all()",  # over tokens, not over heads
    ),
    "KernelVariant": Block(
        "from kernels import KernelVariant",
        then='assert [v.value for v in KernelVariant] == ["v1", "v2", "persistent", "auto"]',
    ),
    "select_attention_kernel": Block(
        """
from kernels import select_attention_kernel
kernel = select_attention_kernel("auto", q_shape=(4, 2048, 8, 64))
""",
        then="assert callable(kernel)",
    ),
    "BlockMask alone": Block("from kernels import BlockMask"),
    "BlockMask": Block(
        """
from kernels import BlockMask, create_block_mask
mask = create_block_mask("causal", query_len=256, key_len=256)
masked_scores = mask.apply_to_scores(scores)
""",
        "import torch; scores = torch.zeros(2, 256, 256)",
        "assert torch.isinf(masked_scores[0, 0, 1]) and masked_scores[0, 1, 1] == 0",
    ),
    "create_block_mask": Block(
        """
from kernels import create_block_mask
causal = create_block_mask("causal", 256, 256, block_size=32)
sliding = create_block_mask("sliding_window", 256, 256, sliding_window=64)
prefix = create_block_mask("prefix_lm", 256, 256, prefix_len=64)
""",
        then="assert causal.mask_matrix.shape == (8, 8) and causal.mask_matrix.sum() == 36",
    ),
    "compose_block_masks": Block("from kernels import compose_block_masks"),
    "detect_gpu": Block(
        """
from utils import detect_gpu
caps = detect_gpu()
print(f"GPU: {caps.name}")
print(f"Architecture: {caps.arch.value}")
print(f"Compute Capability: {caps.compute_capability}")
print(f"TMA: {caps.has_tma}")
print(f"FP8: {caps.has_fp8}")
"""
    ),
    "print_gpu_info": Block(
        """
from utils import detect_gpu, print_gpu_info
caps = detect_gpu()
print_gpu_info(caps)
"""
    ),
    "records": Block(
        """
from utils import GPUCapabilities
from utils import GPUArch
from utils import GPUMemoryProfile
from utils import KernelBenchmark
"""
    ),
    "estimate_occupancy": Block(
        """
from utils import estimate_occupancy
occ = estimate_occupancy(
    block_size=128,
    registers_per_thread=64,
    shared_memory_bytes=16384,
    gpu_capability=80
)
print(f"Occupancy: {occ:.1f}%")
""",
        then="assert occ == 50.0",
    ),
    "get_gpu_memory_hierarchy": Block(
        """
from utils import get_gpu_memory_hierarchy
specs = get_gpu_memory_hierarchy(80)
print(f"SMEM per block: {specs['smem_per_block'] // 1024}KB")
print(f"Peak bandwidth: {specs['peak_bandwidth_gbps']} GB/s")
""",
        then="assert specs['smem_per_block'] == 163 * 1024",
    ),
    "BenchmarkRunner": Block(
        """
from utils import BenchmarkRunner
runner = BenchmarkRunner(warmup=10, rep=50)
results = runner.benchmark_matmul(
    triton_matmul,
    sizes=[(1024, 1024, 1024), (2048, 2048, 2048)],
)
runner.print_comparison_table(results)
results = runner.benchmark_attention(
    flash_attention,
    seq_lengths=[512, 1024, 2048],
)
""",
        "from kernels import flash_attention, triton_matmul",
        "assert len(runner.results) > 3 and all(r.tflops > 0 for r in runner.results)",
    ),
    "BenchmarkRunner of the cheat sheet": Block(
        """
from utils import BenchmarkRunner
runner = BenchmarkRunner()
results = runner.benchmark_matmul(triton_matmul, sizes=[(1024, 1024, 1024)])
runner.print_comparison_table(results)
""",
        "from kernels import triton_matmul",
    ),
    "validate_attention": Block(
        """
from utils import validate_attention
is_valid, max_diff = validate_attention(
    flash_attention,
    batch=2,
    heads=8,
    seq_len=512,
    head_dim=64,
    causal=True,
)
print(f"Validation {'passed' if is_valid else 'failed'}, max diff: {max_diff:.2e}")
""",
        "from kernels import flash_attention",
        "assert is_valid and 0 < max_diff < 1e-2",
    ),
    "validation of the cheat sheet": Block(
        """
from utils import validate_matmul, validate_attention
is_valid, max_diff = validate_matmul(triton_matmul, m=512, n=512, k=512)
assert is_valid
is_valid, max_diff = validate_attention(flash_attention, batch=2, heads=4, seq_len=128, head_dim=64)
assert is_valid
""",
        "from kernels import flash_attention, triton_matmul",
    ),
    "flash_attention_triton, basic": Block(
        """
import torch
from flash_attention_triton import flash_attention_v2
q = torch.randn(16, 8, 512, 64, device="cuda")
k = torch.randn(16, 8, 512, 64, device="cuda")
v = torch.randn(16, 8, 512, 64, device="cuda")
output = flash_attention_v2(q, k, v, softmax_scale=None, deterministic=True)
""",
        then=IS_CAUSAL,
    ),
    "flash_attention_triton, advanced": Block(
        """
import torch
import triton
from flash_attention_triton import KernelsConfigV2, flash_attention_v2_custom, init_to_zero_v2
q = torch.randn(16, 8, 512, 64, device="cuda")
k = torch.randn(16, 8, 512, 64, device="cuda")
v = torch.randn(16, 8, 512, 64, device="cuda")
"""
        + CONFIG
        + HERE
        + CUSTOM,
        then=IS_CAUSAL,
    ),
}


@pytest.fixture
def triton(monkeypatch):
    """The page's Config where there is no Triton: what it holds is not looked at."""
    if importlib.util.find_spec("triton") is None:
        stand_in = types.ModuleType("triton")
        stand_in.Config = lambda meta, num_warps=4, num_stages=1, pre_hook=None: (meta, num_warps, num_stages, pre_hook)
        monkeypatch.setitem(sys.modules, "triton", stand_in)


def run(name):
    block = BLOCKS[name]
    text = "\n".join((block.given, block.code, block.then)).replace('"cuda"', f'"{DEVICE}"')
    for theirs, ours in IMPORTS.items():
        text = text.replace(theirs, ours)
    if DEVICE == "cpu":
        for page, smaller in SMALLER.items():
            text = text.replace(page, smaller)
    exec(compile(text, name, "exec"), {"__name__": name})


@pytest.mark.parametrize("name", BLOCKS)
def test_block_runs_as_the_page_has_it(name, triton):
    run(name)
