# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys
import tracemalloc

import ml_dtypes
import numpy as np
import pytest
from conftest import assert_close, inputs, plain_attention

import fovea

CALLS = [
    {},
    {"causal": True},
    {"causal": True, "alignment": "top_left"},
    {"window": (3, 2)},
    {"window": (4, None)},
    {"window": (None, 1)},
    {"causal": True, "window": (5, None)},
    {"softmax_scale": 0.3},
    {"softcap": 2.0, "causal": True},
    {"seq_lens_q": [5, 0], "seq_lens_k": [13, 7]},
    {"seq_lens_k": [0, 4], "causal": True},
]


@pytest.mark.parametrize("layout", ["bshd", "bhsd"])
@pytest.mark.parametrize("call", CALLS, ids=str)
def test_result_is_that_of_the_textbook(call, layout):
    q, k, v = inputs(layout=layout)
    o, lse = fovea.attention(q, k, v, layout=layout, return_lse=True, **call)
    expected_o, expected_lse = plain_attention(q, k, v, layout=layout, **call)
    assert_close(o, expected_o)
    assert_close(lse, expected_lse)
    assert o.dtype == np.float32 and lse.dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16], ids=["float32", "float16", "bfloat16"])
def test_dtype_of_the_input_is_that_of_the_output(dtype):
    q, k, v = inputs(dtype=dtype, head_dim=64, head_dim_v=40)
    o, lse = fovea.attention(q, k, v, causal=True, return_lse=True)
    assert o.dtype == dtype and type(o) is np.ndarray
    assert fovea.validate_attention(o, q, k, v, lse=lse, causal=True)


def test_packed_sequences_are_computed_one_by_one():
    q, k, v = (x[0] for x in inputs(batch=1, seqlen_q=12, seqlen_k=15))
    cu_q, cu_k = np.array([0, 5, 5, 12], np.int32), np.array([0, 8, 9, 15], np.int32)
    o, lse = fovea.attention(q, k, v, layout="thd", cu_seqlens_q=cu_q, cu_seqlens_k=cu_k, causal=True, return_lse=True)
    for b in range(3):
        rows, keys = slice(cu_q[b], cu_q[b + 1]), slice(cu_k[b], cu_k[b + 1])
        expected_o, expected_lse = plain_attention(q[None, rows], k[None, keys], v[None, keys], causal=True)
        assert_close(o[rows], expected_o[0])
        assert_close(lse[:, rows], expected_lse[0])


def test_one_argument_may_stand_for_queries_and_keys():
    q, k, v = inputs(seqlen_q=9, seqlen_k=9)
    lens = np.array([4, 9], np.int32)
    assert np.array_equal(
        fovea.attention(q, k, v, seq_lens=lens), fovea.attention(q, k, v, seq_lens_q=lens, seq_lens_k=lens)
    )
    assert np.array_equal(fovea.attention(q, k, v, seq_lens=[4, 9]), fovea.attention(q, k, v, seq_lens=lens))
    flat, cu = [x.reshape(-1, *x.shape[2:]) for x in (q, k, v)], np.array([0, 9, 18], np.int32)
    packed = fovea.attention(*flat, layout="thd", cu_seqlens=cu, max_seqlen=9)
    assert_close(packed.reshape(q.shape), fovea.attention(q, k, v))


def test_strided_views_are_read_where_they_lie():
    packed = np.random.default_rng(1).standard_normal((2, 9, 3, 4, 16), dtype=np.float32)
    q, k, v = (packed[:, :, i] for i in range(3))
    assert_close(fovea.attention(q, k, v), plain_attention(q, k, v)[0])
    every_other = packed[:, ::2, 0]
    assert_close(fovea.attention(every_other, k, v), plain_attention(every_other, k, v)[0])
    one = np.broadcast_to(q[:1], q.shape)
    assert_close(fovea.attention(one, k, v), plain_attention(one, k, v)[0])


def test_read_only_and_mapped_memory_are_taken(tmp_path):
    q, k, v = inputs()
    expected = fovea.attention(q, k, v)
    q.flags.writeable = False
    assert np.array_equal(fovea.attention(q, k, v), expected)
    np.save(tmp_path / "k.npy", k)
    assert np.array_equal(fovea.attention(q, np.load(tmp_path / "k.npy", mmap_mode="r"), v), expected)


def test_nothing_is_allocated_but_the_outputs():
    q, k, v = inputs(seqlen_q=256, seqlen_k=256, head_dim=64)
    fovea.attention(q, k, v, return_lse=True)
    tracemalloc.start()
    kept = fovea.attention(q, k, v, return_lse=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak <= sum(x.nbytes for x in kept) + 4096
    assert fovea.explain(q, k, v, json=True)["copies"] == []
    o, lse = np.empty_like(kept[0]), np.empty_like(kept[1])
    tracemalloc.start()
    again = fovea.attention(q, k, v, return_lse=True, out=o, lse_out=lse)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak <= 4096 and again[0] is o and again[1] is lse
    assert np.array_equal(o, kept[0]) and np.array_equal(lse, kept[1])


def test_empty_batches_and_sequences_are_legal():
    q, k, v = inputs(batch=0)
    assert fovea.attention(q, k, v).shape == q.shape
    q, k, v = inputs(seqlen_k=0)
    o, lse = fovea.attention(q, k, v, return_lse=True)
    assert not o.any() and np.all(lse == -np.inf)


def test_merge_of_two_halves_is_the_whole():
    q, k, v = inputs(seqlen_k=20)
    for layout in ("bshd", "bhsd"):
        x = (q, k, v) if layout == "bshd" else tuple(np.ascontiguousarray(np.swapaxes(y, 1, 2)) for y in (q, k, v))
        keys = 1 if layout == "bshd" else 2
        parts = [
            fovea.attention(x[0], np.take(x[1], at, keys), np.take(x[2], at, keys), layout=layout, return_lse=True)
            for at in (np.arange(0, 7), np.arange(7, 20))
        ]
        o, lse = fovea.merge_states(*parts[0], *parts[1], layout=layout)
        whole = fovea.attention(*x, layout=layout, return_lse=True)
        assert_close(o, whole[0])
        assert_close(lse, whole[1])


def test_merge_of_empty_parts_is_empty():
    q, k, v = inputs(seqlen_k=0)
    o, lse = fovea.attention(q, k, v, return_lse=True)
    merged_o, merged_lse = fovea.merge_states(o, lse, o, lse)
    assert not merged_o.any() and np.all(merged_lse == -np.inf)
    full = fovea.attention(q, *inputs()[1:], return_lse=True)
    assert np.array_equal(fovea.merge_states(o, lse, *full)[0], full[0])


def test_reference_is_float64_and_right():
    q, k, v = inputs()
    for call in CALLS[:9]:
        o, lse = fovea.reference_attention(q, k, v, return_lse=True, **call)
        expected_o, expected_lse = plain_attention(q, k, v, **call)
        assert o.dtype == np.float64
        np.testing.assert_allclose(o, expected_o, rtol=1e-6, atol=1e-7)  # softmax_scale is a float32 in both
        np.testing.assert_allclose(lse, expected_lse, rtol=1e-6, atol=1e-7)


def test_validation_tells_right_from_wrong():
    q, k, v = inputs(seqlen_q=64, seqlen_k=64, head_dim=64, dtype=np.float16)
    o = fovea.attention(q, k, v, causal=True)
    good = fovea.validate_attention(o, q, k, v, causal=True)
    assert good and good.rows_checked == 2 * 4 * 64 and "pass" in str(good)
    bad = o.copy()
    bad[1, 5, 2, 3] += 0.01
    verdict = fovea.validate_attention(bad, q, k, v, causal=True)
    assert not verdict and verdict.max_error > verdict.max_limit
    assert not fovea.validate_attention(o, q, k, v, causal=False)


def test_explain_plans_for_this_machine_and_for_others():
    q, k, v = inputs(dtype=np.float16, head_dim=64)
    text = fovea.explain(q, k, v, causal=True)
    assert "attention_forward_cpu" in text and "copies   none" in text
    plan = fovea.explain(q, k, v, causal=True, json=True)
    assert plan["kernel"] == "attention_forward_cpu" and {r["kernel"] for r in plan["refused"]} >= {
        "attention_forward_sm80"
    }


def test_explain_tells_what_is_copied():
    q, k, v = inputs(seqlen_q=9, seqlen_k=9)
    assert fovea.explain(q, k, v, json=True)["copies"] == []
    lens = np.array([3, 9], np.int32)
    assert fovea.explain(q, k, v, seq_lens=lens, json=True)["copies"] == []
    assert fovea.explain(q, k, v, seq_lens_k=[3, 9], json=True)["copies"] == ["seq_lens_k (from a list)"]
    assert "copies   seq_lens_k (from a list)" in fovea.explain(q, k, v, seq_lens_k=[3, 9])


def test_config_is_obeyed_or_refused():
    q, k, v = inputs()
    config = fovea.AttentionConfig(block_q=8, block_k=4, kernel="attention_forward_cpu")
    assert_close(fovea.attention(q, k, v, config=config), plain_attention(q, k, v)[0])
    assert fovea.explain(q, k, v, config=config, json=True)["config"]["block_k"] == 4
    with pytest.raises(NotImplementedError, match="attention_forward_sm80"):
        fovea.attention(q, k, v, config=fovea.AttentionConfig(kernel="attention_forward_sm80"))


def test_import_is_quick_and_brings_no_framework():
    # The processor's time, which other programs do not stretch; nothing is waited for here.
    program = (
        "import sys, time; t = time.process_time(); import fovea; t = time.process_time() - t;"
        "print(t, *[m for m in ('numpy', 'torch', 'jax', 'cupy') if m in sys.modules])"
    )
    runs = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
        for _ in range(5)
    ]
    assert all(len(run) == 1 for run in runs)
    assert min(float(run[0]) for run in runs) < 0.060


def test_info_describes_the_machine():
    assert fovea.info()["version"] == fovea.__version__
    assert fovea.__version__ in fovea.info(text=True)
