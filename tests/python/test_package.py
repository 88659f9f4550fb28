# SPDX-License-Identifier: Apache-2.0
"""What is installed, and what its public functions look like."""

import inspect
import subprocess
import sysconfig
from importlib import metadata
from pathlib import Path

import pytest

import fovea

LENGTHS = {
    name: None for name in ("seq_lens", "seq_lens_q", "seq_lens_k", "cu_seqlens", "cu_seqlens_q", "cu_seqlens_k")
}
MASK = {
    "causal": False,
    "window": None,
    "softmax_scale": None,
    "softcap": 0.0,
    **LENGTHS,
    "max_seqlen": None,
    "max_seqlen_q": None,
    "max_seqlen_k": None,
    "layout": "bshd",
    "alignment": "bottom_right",
}
PRODUCT = {"a_scale": None, "b_scale": None, "c": None, "bias": None, "alpha": 1.0, "beta": None, "activation": None}
COMMANDS = ("bench-matmul", "bench-flash")
SIGNATURES = {
    "attention": (
        "q k v",
        {**MASK, "return_lse": False, "out": None, "lse_out": None, "math": "exact", "config": None, "stream": None},
    ),
    "reference_attention": ("q k v", {**MASK, "return_lse": False}),
    "explain": (
        "q k v",
        {**MASK, "return_lse": False, "math": "exact", "config": None, "architecture": "", "json": False},
    ),
    "validate_attention": ("o q k v", {"lse": None, **MASK, "max_rows": 0}),
    "merge_states": ("o_a lse_a o_b lse_b", {"layout": "bshd"}),
    "matmul": ("a b", {**PRODUCT, "out": None, "out_dtype": None, "math": "exact", "config": None, "stream": None}),
    "explain_matmul": ("a b", {**PRODUCT, "math": "exact", "config": None, "architecture": "", "json": False}),
    "validate_matmul": ("d a b", {**PRODUCT, "math": "exact", "max_rows": 0}),
    "info": ("", {"text": False}),
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_arrays_are_positional_and_all_else_is_by_name(name):
    positional, keywords = SIGNATURES[name]
    parameters = inspect.signature(getattr(fovea, name)).parameters.values()
    assert [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD] == positional.split()
    assert {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY} == keywords
    assert len(parameters) == len(positional.split()) + len(keywords)


@pytest.mark.parametrize("name", fovea.__all__)
def test_everything_public_is_documented(name):
    assert inspect.getdoc(getattr(fovea, name))
    if name in ("attention", "matmul"):
        words = inspect.getdoc(getattr(fovea, name))
        assert all(part in words for part in ("Returns", "Raises ValueError", "float32", "default"))


def test_what_is_installed():
    about = metadata.distribution("fovea")
    assert about.version == fovea.__version__ and about.metadata["Requires-Python"] == ">=3.10"
    assert {"cuda", "torch", "dev"} <= set(about.metadata.get_all("Provides-Extra"))
    needed = [text for text in about.requires if "extra" not in text]
    assert len(needed) == 1 and needed[0].startswith("numpy")  # no toolkit, no framework
    files = {str(path): path for path in about.files}
    assert "fovea/py.typed" in files and "fovea/_core.pyi" in files
    foreign = [
        path for path in files if path.startswith("fovea/") and not path.endswith((".py", ".pyi", "py.typed", ".pyc"))
    ]
    assert len(foreign) == 1 and foreign[0].startswith("fovea/_core.")  # no GPU binaries beside the module
    assert files[foreign[0]].locate().stat().st_size < 20 << 20


def test_commands_are_installed():
    scripts = {entry.name: entry.value for entry in metadata.distribution("fovea").entry_points}
    assert scripts == {name: f"fovea.compat.diy.benchmarks.{name.replace('-', '_')}:main" for name in COMMANDS}
    for name in COMMANDS:
        program = Path(sysconfig.get_path("scripts")) / name
        told = subprocess.run([program, "--help"], capture_output=True, text=True)
        assert told.returncode == 0 and told.stdout.startswith(f"usage: {name}")
