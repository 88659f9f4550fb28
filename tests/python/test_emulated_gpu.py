# SPDX-License-Identifier: Apache-2.0
"""Arrays on two GPUs that are not here: the emulated GPU computes (docs/decisions/0009), through CuPy's adapter."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "emulated"
LIBRARY = os.environ.get("FOVEA_EMULATED_GPU_LIBRARY", "")


@pytest.mark.skipif(not LIBRARY, reason="the emulated GPU is not built: make build")
def test_results_on_two_emulated_gpus():
    paths = [str(Path(LIBRARY).parent), os.environ.get("LD_LIBRARY_PATH", "")]
    settings = dict(
        os.environ,
        LD_LIBRARY_PATH=":".join(filter(None, paths)),
        FOVEA_NVRTC=LIBRARY,
        FOVEA_CACHE_DIR=os.environ.get("FOVEA_CACHE_DIR", "") + "-emulated",
        FOVEA_EMULATED_GPU="sm_75,sm_90",
    )
    command = [sys.executable, str(FOLDER / "program.py")]
    done = subprocess.run(command, capture_output=True, text=True, env=settings, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["device", "lengths", "misuse", "xla", "tiles"]
