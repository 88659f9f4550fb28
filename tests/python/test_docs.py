# SPDX-License-Identifier: Apache-2.0
"""What the pages show works as pasted."""

import re
from pathlib import Path

import ml_dtypes
import numpy as np

import fovea

ROOT = Path(__file__).resolve().parents[2]


def blocks(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_blocks_of_the_readme_run_one_after_the_other(capsys):
    found, names = blocks("README.md"), {}
    assert found
    for block in found:
        exec(compile(block, "README.md", "exec"), names)
    assert "attention_forward_cpu" in capsys.readouterr().out


def quantised(name, rows, columns, lines):
    """An e4m3 matrix, a number for every `lines` rows of 128 columns, and what both together stand for."""
    generator = np.random.default_rng(rows)
    x = generator.standard_normal((rows, columns), dtype=np.float32).astype(ml_dtypes.float8_e4m3fn)
    scale = generator.uniform(0.5, 2.0, (rows // lines, columns // 128)).astype(np.float32)
    unscaled = x.astype(np.float32) * scale.repeat(lines, axis=0).repeat(128, axis=1)
    return {name: x, f"{name}_scale": scale, f"unscaled_{name}": unscaled}


def test_blocks_of_the_python_page_run():
    found = blocks("docs/python.md")
    assert len(found) >= 2
    q, k, v = (np.random.default_rng(i).standard_normal((2, 20, 4, 16), dtype=np.float32) for i in range(3))
    names = {"fovea": fovea, "q": q, "k": k, "v": v, "n": 7}
    names.update(quantised("x", 20, 256, 1), **quantised("w", 384, 256, 128))
    for block in found:
        exec(compile(block, "docs/python.md", "exec"), names)
    product = names["unscaled_x"] @ names["unscaled_w"].T
    np.testing.assert_allclose(names["d"].astype(np.float32), product, rtol=2**-7, atol=1e-3 * np.abs(product).max())
    np.testing.assert_allclose(names["o"], fovea.attention(q, k, v), rtol=1e-5, atol=1e-6)  # of the last, the merge
