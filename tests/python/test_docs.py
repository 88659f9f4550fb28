# SPDX-License-Identifier: Apache-2.0
"""What the pages show works as pasted."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def blocks(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", ["README.md"])
def test_blocks_of_the_page_run_one_after_the_other(page, capsys):
    found, names = blocks(page), {}
    assert found
    for block in found:
        exec(compile(block, page, "exec"), names)
    assert "attention_forward_cpu" in capsys.readouterr().out
