# SPDX-License-Identifier: Apache-2.0
"""What ends a build, by what the user has to do about it."""
from __future__ import annotations


class BuildError(Exception):
    """A message for the user, and the exit code."""
    code = 1


class BadInput(BuildError):
    """The data or the project file has to be mended."""


class IoFailure(BuildError):
    """A disk, a network, a permission."""
    code = 3


# Codes of the C core that are no fault of the input.
_IO_CODES = frozenset(("IO", "NO_SPACE", "NO_MEMORY", "DENIED", "SYSTEM", "TIMEOUT", "CLOSED", "BUSY"))


def from_core(code: str, text: str) -> BuildError:
    return IoFailure(text) if code in _IO_CODES else BadInput(text)
