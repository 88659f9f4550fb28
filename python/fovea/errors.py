# SPDX-License-Identifier: Apache-2.0
"""The errors of a call. Each is also the built-in type that one would catch, tells the field at fault in `.field`, and
says what it got, what it wanted and the way out."""

from typing import TypeVar


class Error(Exception):
    """Base of all errors of Fovea. field: the argument at fault ("q", "window_left"), or ""."""

    field: str = ""


class InvalidArgument(Error, ValueError):
    """The call is wrong: a shape, a size, a value."""


class InvalidType(Error, TypeError):
    """The call is wrong: something is no array, or has a dtype that cannot be taken."""


class Unsupported(Error, NotImplementedError):
    """The call is legal, but nothing here computes it; the message lists each kernel's reason."""


class CompileError(Error, RuntimeError):
    """Compiling a kernel at run time failed; the message has the compiler's log."""


class CudaError(Error, RuntimeError):
    """The CUDA driver failed."""


class InternalError(Error, RuntimeError):
    """A bug in Fovea, or a failure of the machine such as no memory."""


_AnyError = TypeVar("_AnyError", bound=Error)


def with_field(error: _AnyError, field: str) -> _AnyError:
    error.field = field
    return error
