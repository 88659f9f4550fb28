# SPDX-License-Identifier: Apache-2.0
"""Every misuse is a ValueError, TypeError or NotImplementedError that names the field, what it got, what it wanted."""

import multiprocessing
import re

import numpy as np
import pytest
import torch
from conftest import inputs

import fovea

Q, K, V = inputs()
CU = np.array([0, 4, 9], np.int32)
FLAT = [x[0] for x in inputs(batch=1, seqlen_q=9, seqlen_k=9)]

WRONG = [
    # arguments, keywords, error, field, words of the message
    ((1.5, K, V), {}, TypeError, "q", "float"),
    (([[1.0]], K, V), {}, TypeError, "q", "list"),
    ((Q, torch.from_numpy(K), V), {}, TypeError, "k", "Tensor"),
    ((Q.astype(np.float64), K, V), {}, TypeError, "q", "float64"),
    ((Q.astype(">f4"), K, V), {}, TypeError, "q", ">f4"),
    ((Q, K.astype(np.float16), V), {}, TypeError, "k", "float16"),
    ((Q.astype(np.int32), K.astype(np.int32), V.astype(np.int32)), {}, TypeError, "q", "int32"),
    ((Q[0], K, V), {}, ValueError, "q", "3 dimensions"),
    ((Q[None], K, V), {}, ValueError, "q", "5 dimensions"),
    ((Q[None, None], K, V), {}, ValueError, "q", "6 dimensions"),
    ((Q, K[:, :, :, :8], V), {}, ValueError, "k", "head_dim"),
    ((Q, K[:1], V), {}, ValueError, "k", "batch"),
    ((Q, K, V[:, :5]), {}, ValueError, "v", "agree"),
    ((Q[:, :, :3], K, V), {}, ValueError, "k", "multiple"),
    ((np.asfortranarray(Q), K, V), {}, ValueError, "q", "last dimension"),
    ((Q[:, :, :, ::-1], K, V), {}, ValueError, "q", "negative stride"),
    ((Q, K, V), {"causal": 0.125}, TypeError, "causal", "0.125"),
    ((Q, K, V), {"causal": None}, TypeError, "causal", "None"),
    ((Q, K, V), {"window": 4}, TypeError, "window", "pair"),
    ((Q, K, V), {"window": (1, 2, 3)}, TypeError, "window", "pair"),
    ((Q, K, V), {"window": (-1, 0)}, ValueError, "window_left", "-1"),
    ((Q, K, V), {"window": (1.5, 0)}, TypeError, "window_left", "1.5"),
    ((Q, K, V), {"window": (2**40, 0)}, ValueError, "window_left", "32 bits"),
    ((Q, K, V), {"softmax_scale": float("nan")}, ValueError, "softmax_scale", "finite"),
    ((Q, K, V), {"softmax_scale": "1"}, TypeError, "softmax_scale", "number"),
    ((Q, K, V), {"softcap": -1.0}, ValueError, "softcap", "positive"),
    ((Q, K, V), {"layout": "sbhd"}, ValueError, "layout", "bhsd"),
    ((Q, K, V), {"layout": 3}, TypeError, "layout", "3"),
    ((Q, K, V), {"alignment": "left"}, ValueError, "alignment", "top_left"),
    ((Q, K, V), {"math": "tf32"}, ValueError, "math", "exact"),
    ((Q, K, V), {"config": {"block_q": 3}}, TypeError, "config", "AttentionConfig"),
    ((Q, K, V), {"config": fovea.AttentionConfig(block_q=-1)}, ValueError, "tile", "negative"),
    ((Q, K, V), {"config": fovea.AttentionConfig(kernel="none")}, ValueError, "kernel", "none"),
    ((Q, K, V), {"seq_lens": np.array([1, 2, 3], np.int32)}, ValueError, "seq_lens_q", "(2,)"),
    ((Q, K, V), {"seq_lens_k": np.array([1, 2])}, TypeError, "seq_lens_k", "int64"),
    ((Q, K, V), {"seq_lens": [1.5, 2]}, TypeError, "seq_lens_q", "integers"),
    ((Q, K, V), {"seq_lens": [1, 2], "seq_lens_k": [1, 2]}, ValueError, "seq_lens", "both"),
    ((Q, K, V), {"cu_seqlens": CU}, ValueError, "cu_seqlens_q", "thd"),
    (FLAT, {"layout": "thd"}, ValueError, "cu_seqlens_q", "missing"),
    (FLAT, {"layout": "thd", "cu_seqlens": CU[:2]}, ValueError, "cu_seqlens_q", "ends at 4"),
    (FLAT, {"layout": "thd", "cu_seqlens": CU + 1}, ValueError, "cu_seqlens_q", "must be 0"),
    (FLAT, {"layout": "thd", "cu_seqlens": np.array([0, 7, 4, 9], np.int32)}, ValueError, "cu_seqlens_q", "less than"),
    (FLAT, {"layout": "thd", "cu_seqlens": CU.astype(np.int64)}, TypeError, "cu_seqlens_q", "int64"),
    (FLAT, {"layout": "thd", "cu_seqlens": CU[None]}, ValueError, "cu_seqlens_q", "(1, 3)"),
    (FLAT, {"layout": "thd", "cu_seqlens": CU, "max_seqlen": 3}, ValueError, "max_seqlen_q", "3"),
    ((Q, K, V), {"out": np.empty_like(Q)[:, :4]}, ValueError, "o", "shape"),
    ((Q, K, V), {"out": Q}, ValueError, "o", "overlaps"),
    ((Q, K, V), {"return_lse": True, "lse_out": np.empty((2, 4, 9))}, TypeError, "lse", "float64"),
    ((np.ma.masked_array(Q), K, V), {}, TypeError, "q", "masked"),
]


@pytest.mark.parametrize(
    "arguments,keywords,error,field,words", WRONG, ids=lambda x: str(x)[:24] if isinstance(x, dict) else ""
)
def test_misuse_is_named(arguments, keywords, error, field, words):
    with pytest.raises(error) as caught:
        fovea.attention(*arguments, **keywords)
    assert isinstance(caught.value, fovea.Error)
    assert caught.value.field == field, str(caught.value)
    assert words in str(caught.value)
    assert re.search("; |must |there are ", str(caught.value)), "no way out"


def test_outputs_that_cannot_be_written_are_refused():
    frozen = np.empty_like(Q)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        fovea.attention(Q, K, V, out=frozen)


def test_freed_storage_is_refused():
    q, k, v = (torch.randn(x.shape) for x in (Q, K, V))
    k.untyped_storage().resize_(0)
    with pytest.raises(ValueError, match="k has null data"):
        fovea.attention(q, k, v)


def test_last_dimension_of_tensors_must_be_contiguous():
    q, k, v = (torch.from_numpy(x) for x in (Q, K, V))
    turned = k.transpose(1, 3).contiguous().transpose(1, 3)
    for keywords in ({}, {"out": torch.empty_like(q)}):
        with pytest.raises(ValueError, match="last dimension") as caught:
            fovea.attention(q, turned, v, **keywords)
        assert caught.value.field == "k"
    with pytest.raises(ValueError, match="last dimension"):
        fovea.attention(q.requires_grad_(), turned, v)


def test_tensors_on_other_devices_are_refused():
    q, k, v = (torch.from_numpy(x) for x in (Q, K, V))
    with pytest.raises(NotImplementedError, match="q is on meta"):
        fovea.attention(q.to("meta"), k.to("meta"), v)
    with pytest.raises(NotImplementedError, match="k is on meta"):
        fovea.attention(q, k.to("meta"), v)
    with pytest.raises(TypeError, match="v cannot be read"):
        fovea.attention(q, k, v.to_sparse())


def test_unsupported_dtypes_with_gradients_are_refused():
    q, k, v = (torch.from_numpy(x).double().requires_grad_() for x in (Q, K, V))
    with pytest.raises(TypeError, match="float64"):
        fovea.attention(q, k, v)
    with pytest.raises(TypeError, match="bool|int"):
        fovea.attention(*(torch.zeros(1, 2, 1, 8, dtype=torch.bool) for _ in range(3)))


def _child(queue):
    queue.put(fovea.attention(Q, K, V))


def test_a_forked_child_computes_after_its_parent_did():
    expected = fovea.attention(Q, K, V)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_child, args=(queue,))
    child.start()
    assert np.array_equal(queue.get(timeout=60), expected)
    child.join(60)
    assert child.exitcode == 0
