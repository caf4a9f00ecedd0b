# SPDX-License-Identifier: Apache-2.0
"""Shows the progress of a build: on a terminal a bar with rate and time left, elsewhere a line every ten seconds."""
from __future__ import annotations

import os
import time

from pillion.build.terminal import Messages

LINE_S = 10.0
COLUMNS = 80  # when the terminal's width is unknown
BAR_CHARS, BAR_CHARS_MIN = 16, 4
_WORDS = {"read": ("reading", "rows"), "merge": ("merging", "B"), "write": ("writing", "B")}


def amount(value: float, unit: str) -> str:
    """Formats an amount: 12,345 rows; 1.2 M rows; 34.5 MiB, as `pillion` does (pil_report_bytes)."""
    if unit == "rows" and value < 100_000:
        return f"{value:,.0f} rows"
    step = 1024 if unit == "B" else 1000
    for prefix in ("", "K", "M", "G", "T"):
        if abs(value) < step or prefix == "T":
            break
        value /= step
    number = f"{value:.0f}" if prefix == "" or (unit == "B" and value >= 100) else f"{value:.1f}"
    if unit == "B":
        return f"{number} {prefix}{'i' if prefix else ''}B"
    return f"{number} {'k' if prefix == 'K' else prefix} {unit}"


def duration(seconds: float) -> str:
    whole = int(seconds + 0.5)
    if whole >= 3600:
        return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
    return f"{whole // 60}:{whole % 60:02}"


class Progress:
    """Call with (phase, done, total); total 0 means unknown. close() ends the moving line."""

    def __init__(self, out: Messages, label: str, rows_expected: int = 0) -> None:
        self._out = out
        self._label = label
        self.rows_expected = rows_expected
        self._moving = out.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._phase = ""
        self._phase_started = self._called = self._shown = time.monotonic()
        self._drawn = False

    def __call__(self, phase: str, done: int, total: int) -> None:
        now = time.monotonic()
        if phase != self._phase:
            self._phase, self._phase_started = phase, self._called  # when the last phase ended; the first call is later
        self._called = now
        if phase == "read" and total == 0:
            total = self.rows_expected
        if now - self._shown < (0.1 if self._moving else LINE_S):
            return
        self._shown = now
        line = self._line(phase, done, total, max(now - self._phase_started, 1e-3))
        if self._moving:
            self._out.write("\r\x1b[K" + line[:self._columns() - 1])
            self._drawn = True
        else:
            self._out.say(line)

    def _columns(self) -> int:
        """Width of the terminal that is written to; standard output is often a pipe."""
        try:
            return os.get_terminal_size(self._out.fileno()).columns or COLUMNS
        except OSError:
            return COLUMNS

    def _line(self, phase: str, done: int, total: int, elapsed: float) -> str:
        word, unit = _WORDS[phase]
        rate = done / elapsed
        parts = [f"{self._label}: {word}"]
        if total > 0:
            share = min(done / total, 1.0)
            parts.append(f"{share * 100:3.0f} %")
            if 0 < done < total:
                parts.append(f"{duration((total - done) / rate)} left")
        if total == 0 or not self._moving:
            parts.append(amount(done, unit))
        parts.append(amount(rate, unit) + "/s")
        if total > 0 and self._moving:
            room = self._columns() - 1 - len("  ".join(parts)) - len("  []")
            chars = min(room, BAR_CHARS)
            full = int(share * chars)
            if chars >= BAR_CHARS_MIN:
                parts.insert(1, "[" + "█" * full + "·" * (chars - full) + "]")
        return "  ".join(parts)

    def message(self, text: str) -> None:
        """Writes the text on a separate line."""
        self.close()
        self._out.say(text)

    def close(self) -> None:
        if self._drawn:
            self._out.write("\r\x1b[K")
            self._drawn = False
