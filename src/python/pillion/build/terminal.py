# SPDX-License-Identifier: Apache-2.0
"""Shows text from outside (names, values): it cannot control the terminal, and a failure to encode or print it never
ends a build."""
from __future__ import annotations

import json
import unicodedata
from typing import Optional, Sequence, TextIO

SHOWN_NAMES_MAX = 30


def _escaped(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))


def _is_printable(character: str) -> bool:
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


def printable(text: str, lines: bool = False) -> str:
    """Every character that is a control, invisible, changes the direction of the text, or is not UTF-8 becomes \\xNN
    for each of its bytes, as pil_text_append_printable (src/base/text.h) does. `lines`: line ends stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if _is_printable(c) or (lines and c == "\n") else _escaped(c) for c in text)


def names(all_names: Sequence[str]) -> str:
    some = ", ".join(printable(name) for name in all_names[:SHOWN_NAMES_MAX])
    more = len(all_names) - SHOWN_NAMES_MAX
    return f"{some} and {more:,} more" if more > 0 else some


class Messages:
    """Standard error, which may be full or closed: then messages are lost, not the work. `as_json`: each message is an
    object on a line, as those of `pillion` are (schemas/cli/message.schema.json)."""

    def __init__(self, out: Optional[TextIO], as_json: bool = False, program: str = "pillion build") -> None:
        self._out = out
        self._as_json = as_json
        self._program = program

    def write(self, text: str) -> None:
        """Writes the builder's own text, which may move the cursor."""
        try:
            if self._out is not None:
                self._out.write(text)
                self._out.flush()
        except (OSError, ValueError):
            self._out = None

    def say(self, text: str) -> None:
        """Writes lines that may contain text from outside."""
        self.write((json.dumps({"note": printable(text)}) if self._as_json else printable(text, lines=True)) + "\n")

    def fail(self, text: str, code: int) -> int:
        """Writes why the program ends with that exit code, and returns it."""
        self.write((json.dumps({"error": printable(text), "exit_code": code}) if self._as_json
                    else f"{self._program}: {printable(text, lines=True)}") + "\n")
        return code

    def isatty(self) -> bool:
        """Whether a line may move; lines of JSON do not."""
        return not self._as_json and self._out is not None and self._out.isatty()

    def fileno(self) -> int:
        return -1 if self._out is None else self._out.fileno()
