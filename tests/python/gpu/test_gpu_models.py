# SPDX-License-Identifier: Apache-2.0
"""Small models of random weights from transformers on a GPU: fovea beside eager and SDPA."""

import pytest
import torch

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
if not torch.cuda.is_available():
    pytest.skip("no NVIDIA GPU, or PyTorch without CUDA", allow_module_level=True)

from test_huggingface import BEFORE, BEHIND, TOKENS, bert, kernel_calls, llama  # noqa: E402

DEVICE = torch.device("cuda")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("mask", [None, BEHIND, BEFORE], ids=["no padding", "padding behind", "padding before"])
@pytest.mark.parametrize("make", [llama, bert])
def test_outputs_are_those_of_eager_and_sdpa(make, mask, dtype, monkeypatch):
    seen = kernel_calls(monkeypatch)
    where = None if mask is None else mask.to(DEVICE)
    outputs = {}
    for implementation in ("eager", "sdpa", "fovea"):
        with torch.no_grad():
            result = make(implementation).to(DEVICE, dtype)(TOKENS.to(DEVICE), attention_mask=where)
        x = result.logits if hasattr(result, "logits") else result.last_hidden_state
        outputs[implementation] = (x if mask is None else x[where.bool()]).float()
    assert len(seen) == (0 if mask is BEFORE else 2)  # one per layer
    spread = (outputs["eager"] - outputs["sdpa"]).abs().max()
    error = (outputs["fovea"] - outputs["eager"]).abs().max()
    assert error <= 4 * spread + 8 * torch.finfo(dtype).eps * outputs["eager"].abs().max(), (error, spread)


def test_llama_generates_what_eager_generates():
    settings = dict(max_new_tokens=12, do_sample=False, pad_token_id=0)
    tokens = TOKENS.to(DEVICE)
    mask = torch.ones_like(tokens)
    eager, ours = (
        llama(name).to(DEVICE).generate(tokens, attention_mask=mask, **settings) for name in ("eager", "fovea")
    )
    assert torch.equal(eager, ours)


def test_llama_trains_as_with_eager():
    losses = []
    for implementation in ("eager", "fovea"):
        model = llama(implementation).to(DEVICE).train()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        tokens, found = TOKENS.to(DEVICE), []
        for _ in range(8):
            loss = model(tokens, labels=tokens, attention_mask=BEHIND.to(DEVICE)).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        losses.append(torch.tensor(found))
    assert losses[1][-1] < losses[1][0] - 0.1
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-3, atol=1e-3)
