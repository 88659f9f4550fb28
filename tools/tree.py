# SPDX-License-Identifier: Apache-2.0
"""What the tools/check_* scripts share: the files of the tree, and how a finding is reported."""

import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CPP_SUFFIXES = (".h", ".cpp", ".c", ".inc", ".cuh", ".cu")


def files():
    """Paths from the root of all files that are or may be tracked: by git where it works, else by a walk."""
    try:
        out = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, check=True, text=True).stdout
        found = [path for path in out.split("\0") if path]
    except (OSError, subprocess.CalledProcessError):
        found = []
        for folder, names, leaves in os.walk(ROOT):
            names[:] = [n for n in names if not n.startswith((".git", ".venv", "build")) and n not in ("__pycache__", "demo-out")]
            found += [os.path.relpath(os.path.join(folder, leaf), ROOT) for leaf in leaves]
    return sorted({path for path in found if os.path.isfile(os.path.join(ROOT, path))})


def cpp_files():
    return [path for path in files() if path.endswith(CPP_SUFFIXES)]


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8", errors="replace") as file:
        return file.read()


def finish(tool, findings, looked_at):
    """Prints the findings and leaves: 0 when there are none, else 1."""
    for finding in findings:
        print(finding)
    verdict = f"{len(findings)} finding{'s' if len(findings) != 1 else ''}" if findings else "clean"
    print(f"{tool}: {looked_at}, {verdict}")
    sys.exit(1 if findings else 0)
