# SPDX-License-Identifier: Apache-2.0
"""The errors that end a build, by what the user must do."""
from __future__ import annotations


class BuildError(Exception):
    """A message for the user, and the exit code."""
    code = 1


class BadInput(BuildError):
    """The data or the project file must be corrected."""


class IoFailure(BuildError):
    """A disk, network or permission problem."""
    code = 3


class MissingExtension(BuildError):
    """DuckDB needs an extension that this machine does not have."""
    code = 4


# Codes of the C core that are not caused by the input.
_IO_CODES = frozenset(("IO", "NO_SPACE", "NO_MEMORY", "DENIED", "SYSTEM", "TIMEOUT", "CLOSED", "BUSY"))


def from_core(code: str, text: str) -> BuildError:
    return IoFailure(text) if code in _IO_CODES else BadInput(text)
