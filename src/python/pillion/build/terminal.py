# SPDX-License-Identifier: Apache-2.0
"""Text that comes from elsewhere, shown: it never steers a terminal, and never ends a build because it cannot be
encoded or written."""
from __future__ import annotations

import unicodedata
from typing import Optional, Sequence, TextIO

SHOWN_NAMES_MAX = 30


def _escaped(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))


def _is_printable(character: str) -> bool:
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


def printable(text: str, lines: bool = False) -> str:
    """Every character that is a control, invisible, changes the direction of what follows, or is no UTF-8 becomes \\xNN
    for each of its bytes, as pil_text_append_printable (src/base/text.h) does. `lines`: line ends stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if _is_printable(c) or (lines and c == "\n") else _escaped(c) for c in text)


def names(all_names: Sequence[str]) -> str:
    some = ", ".join(printable(name) for name in all_names[:SHOWN_NAMES_MAX])
    more = len(all_names) - SHOWN_NAMES_MAX
    return f"{some} and {more:,} more" if more > 0 else some


class Messages:
    """Standard error, which may be full or closed: then messages are lost, not the build."""

    def __init__(self, out: Optional[TextIO]) -> None:
        self._out = out

    def write(self, text: str) -> None:
        """Writes text of our own, which may move the cursor."""
        try:
            if self._out is not None:
                self._out.write(text)
                self._out.flush()
        except (OSError, ValueError):
            self._out = None

    def say(self, text: str) -> None:
        """Writes lines in which there may be text of others."""
        self.write(printable(text, lines=True) + "\n")

    def isatty(self) -> bool:
        return self._out is not None and self._out.isatty()

    def fileno(self) -> int:
        return -1 if self._out is None else self._out.fileno()
