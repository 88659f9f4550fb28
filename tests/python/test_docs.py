# SPDX-License-Identifier: Apache-2.0
"""What the pages show works as pasted."""

import re
from pathlib import Path

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


def test_blocks_of_the_python_page_run():
    found = blocks("docs/python.md")
    assert len(found) >= 2
    q, k, v = (np.random.default_rng(i).standard_normal((2, 20, 4, 16), dtype=np.float32) for i in range(3))
    names = {"fovea": fovea, "q": q, "k": k, "v": v, "n": 7}
    for block in found:
        exec(compile(block, "docs/python.md", "exec"), names)
    np.testing.assert_allclose(names["o"], fovea.attention(q, k, v), rtol=1e-5, atol=1e-6)  # of the last, the merge
