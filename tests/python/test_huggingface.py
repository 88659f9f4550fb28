# SPDX-License-Identifier: Apache-2.0
"""Small models of random weights from transformers: fovea beside eager and SDPA."""

import pytest
import torch
import transformers

import fovea.huggingface

fovea.huggingface.register()


def llama(implementation, **settings):
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=97,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        attn_implementation=implementation,
        **settings,
    )
    return transformers.LlamaForCausalLM(config).eval()


def bert(implementation):
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=97,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        attention_probs_dropout_prob=0.0,
        hidden_dropout_prob=0.0,
        attn_implementation=implementation,
    )
    return transformers.BertModel(config).eval()


TOKENS = torch.randint(0, 97, (2, 23), generator=torch.Generator().manual_seed(0))
BEHIND = torch.ones(2, 23, dtype=torch.long)
BEHIND[0, 15:] = 0
BEFORE = BEHIND.flip(1)


def kernel_calls(monkeypatch):
    """Counts calls that run in Fovea's kernels."""
    seen, attention = [], fovea.attention
    monkeypatch.setattr(fovea, "attention", lambda *a, **k: (seen.append(k), attention(*a, **k))[1])
    return seen


@pytest.mark.parametrize("mask", [None, BEHIND, BEFORE], ids=["no padding", "padding behind", "padding before"])
@pytest.mark.parametrize("make", [llama, bert])
def test_outputs_are_those_of_eager_and_sdpa(make, mask, monkeypatch):
    seen = kernel_calls(monkeypatch)
    outputs = {}
    for implementation in ("eager", "sdpa", "fovea"):
        with torch.no_grad():
            result = make(implementation)(TOKENS, attention_mask=mask)
        x = result.logits if hasattr(result, "logits") else result.last_hidden_state
        outputs[implementation] = x if mask is None else x[mask.bool()]
    spread = (outputs["eager"] - outputs["sdpa"]).abs().max()
    error = (outputs["fovea"] - outputs["eager"]).abs().max()
    assert error <= 4 * spread + 1e-6
    assert len(seen) == (0 if mask is BEFORE else 2)  # one per layer


@pytest.mark.parametrize("mask", [None, BEFORE], ids=["no padding", "padding before"])
def test_llama_generates_what_eager_generates(mask):
    settings = dict(max_new_tokens=12, do_sample=False, pad_token_id=0)
    mask = torch.ones_like(TOKENS) if mask is None else mask
    texts = [llama(name).generate(TOKENS, attention_mask=mask, **settings) for name in ("eager", "fovea")]
    assert torch.equal(*texts)


def test_llama_trains_as_with_eager():
    losses = []
    for implementation in ("eager", "fovea"):
        model = llama(implementation).train()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        found = []
        for _ in range(8):
            loss = model(TOKENS, labels=TOKENS, attention_mask=BEHIND).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        losses.append(torch.tensor(found))
    assert losses[1][-1] < losses[1][0] - 0.1
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-4, atol=1e-4)


def test_mistral_with_a_sliding_window():
    outputs = []
    for implementation in ("eager", "fovea"):
        torch.manual_seed(0)
        config = transformers.MistralConfig(
            vocab_size=97,
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            sliding_window=6,
            attn_implementation=implementation,
        )
        with torch.no_grad():
            outputs.append(transformers.MistralForCausalLM(config).eval()(TOKENS).logits)
    torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-5)


def test_what_is_not_implemented_is_named():
    model = llama("fovea", attention_dropout=0.1).train()
    with pytest.raises(NotImplementedError, match="dropout"):
        model(TOKENS)
