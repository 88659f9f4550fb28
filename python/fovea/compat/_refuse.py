# SPDX-License-Identifier: Apache-2.0
"""What the drop-ins say about arguments that nothing here computes."""

from __future__ import annotations

from typing import Any

from fovea.errors import InvalidArgument, InvalidType, Unsupported, with_field


def unsupported(field: str, message: str) -> Unsupported:
    return with_field(Unsupported(message), field)


def invalid(field: str, message: str) -> InvalidArgument:
    return with_field(InvalidArgument(message), field)


def wrong_type(field: str, message: str) -> InvalidType:
    return with_field(InvalidType(message), field)


def require_default(**given: tuple[Any, Any, str]) -> None:
    """Each keyword is (value, default, why not): anything but the default is refused by name."""
    for field, (value, default, reason) in given.items():
        if value is not default and value != default:
            raise unsupported(field, f"{field} is not implemented: {reason}")
