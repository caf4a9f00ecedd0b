# SPDX-License-Identifier: Apache-2.0
"""The errors that end a build, classified by what the user must do, and their exit codes."""
from __future__ import annotations

EXIT_INTERRUPTED = 130
# As --help shows them; docs/operating.md has them as a table.
EXIT_CODES = {
    0: "built",
    1: "the project file or the data must be corrected, or the promotion was refused",
    2: "wrong usage, or a memory limit that is too small",
    3: "a disk, network or permission problem, not enough memory, a Python package that is missing, a full standard "
       "output, or a fault of this program",
    4: "an object of the store is damaged",
    5: "DuckDB needs an extension that is not installed or not loaded",
    EXIT_INTERRUPTED: "interrupted",
}


class BuildError(Exception):
    """A message for the user, and the exit code."""
    code = 1


class BadInput(BuildError):
    """The data or the project file must be corrected."""


class NoFiles(BadInput):
    """A path names no file of the kind that is read."""


class IoFailure(BuildError):
    """A disk, network or permission problem."""
    code = 3


class Damaged(BuildError):
    """An object of the store is damaged."""
    code = 4


class MissingExtension(BuildError):
    """DuckDB needs an extension that this machine does not have."""
    code = 5


# Codes of the C core that are not caused by the input.
_IO_CODES = frozenset(("IO", "NO_SPACE", "NO_MEMORY", "DENIED", "SYSTEM", "TIMEOUT", "CLOSED", "BUSY"))


def from_core(code: str, text: str) -> BuildError:
    if code == "CORRUPT":
        return Damaged(text)
    return IoFailure(text) if code in _IO_CODES else BadInput(text)
