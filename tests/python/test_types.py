# SPDX-License-Identifier: Apache-2.0
"""The types that the package tells: of the compiled module as it is, of results as users' checkers see them."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import fovea
from fovea import _core

pytest.importorskip("mypy", reason="mypy is not installed")
PACKAGE = Path(fovea.__file__).parent


def stub():
    """{name: line of its signature} of the functions in _core.pyi, and the names of all that it declares."""
    tree = ast.parse((PACKAGE / "_core.pyi").read_text(encoding="utf-8"))
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    names = {getattr(node, "name", None) or node.target.id for node in tree.body[2:]}
    signatures = {
        name: f"{name}({ast.unparse(node.args)}) -> {ast.unparse(node.returns)}" for name, node in functions.items()
    }
    return signatures, names


def test_stub_of_the_compiled_module_matches_it():
    signatures, names = stub()
    assert names == {name for name in dir(_core) if not name.startswith("_")}
    for function in (_core.info, _core.View.make):  # these tell their types; the others take what Python hands them
        told = function.__doc__.splitlines()[0].replace("fovea._core.", "").replace("collections.abc.Sequence", "list")
        wanted = signatures[function.__name__].replace("Any", "object | None")
        assert told == wanted
    for name in names - {"View", "info", "jax_targets", "version"}:
        assert callable(getattr(_core, name)) and "*arguments: Any" in signatures[name]


def declared(name):
    """Keys of a TypedDict of _options.py with those that it inherits, in their order."""
    classes = {
        node.name: node
        for node in ast.walk(ast.parse((PACKAGE / "_options.py").read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    }
    bases = [base.id for base in classes[name].bases if base.id in classes]
    own = [node.target.id for node in classes[name].body if isinstance(node, ast.AnnAssign)]
    return [key for base in bases for key in declared(base)] + own


@pytest.mark.parametrize(
    "function,keywords", [(fovea.attention, "AttentionKeywords"), (fovea.reference_attention, "MaskKeywords")]
)
def test_declared_keywords_are_those_that_are_taken(function, keywords):
    taken = [p.name for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
    assert sorted([*declared(keywords), "return_lse"]) == sorted(taken)


PROGRAM = """
import fovea

class Array:
    shape: tuple[int, ...] = (1, 2, 1, 8)
    dtype: str = "float32"

a = Array()
reveal_type(fovea.attention(a, a, a, causal=True))
reveal_type(fovea.attention(a, a, a, return_lse=True))
reveal_type(fovea.reference_attention(a, a, a))
reveal_type(fovea.matmul(a, a))
reveal_type(fovea.merge_states(a, a, a, a))
reveal_type(fovea.info(text=True))
fovea.attention(a, a, a, casual=True)
fovea.attention(1.5, a, a)
"""
# The frameworks' own types take a minute to read.
SETTINGS = """
[mypy]
cache_dir = .mypy_cache
[mypy-torch.*,numpy.*,jax.*,transformers.*,cupy.*,ml_dtypes.*]
follow_imports = skip
ignore_missing_imports = true
"""


def test_checkers_of_users_see_that_what_comes_in_goes_out(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    (tmp_path / "mypy.ini").write_text(SETTINGS, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "program.py"]
    lines = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path).stdout.splitlines()
    revealed = [line.split('"')[1].replace("program.", "") for line in lines if "Revealed type" in line]
    assert revealed == ["Array", "tuple[Array, Array]", "Array", "Array", "tuple[Array, Array]", "str"], lines
    wrong = [line.partition(": error: ")[2] for line in lines if ": error: " in line]
    assert "casual" in wrong[0] and "float" in wrong[-1] and len(wrong) <= 3, lines
