# SPDX-License-Identifier: Apache-2.0
"""What both commands do: their common options, and a check before anything is timed."""

from __future__ import annotations

import argparse
from typing import Iterable


def parser(name: str, description: str) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog=name, description=description)
    made.add_argument("--warmup", type=int, default=25, metavar="CALLS", help="calls before those that are timed (25)")
    made.add_argument("--rep", type=int, default=100, metavar="CALLS", help="calls that are timed (100)")
    made.add_argument(
        "--validate",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="compare results with float64 first; a wrong one ends the command with exit code 1",
    )
    return made


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is no size, must be at least 1")
    return number


def has_torch() -> bool:
    try:
        import torch  # noqa: F401
    except ImportError:
        print("PyTorch cannot be imported; it is what is compared with: pip install fovea[torch]")
        return False
    return True


def all_valid(checks: Iterable[tuple[str, tuple[bool, float]]]) -> bool:
    """Prints each check; says at the end whether all passed."""
    valid = True
    for name, (passed, difference) in checks:
        print(f"{name}: {'right' if passed else 'WRONG'}, largest difference {difference:.2e}")
        valid = valid and passed
    return valid
