# SPDX-License-Identifier: Apache-2.0
"""A program on a terminal of some size: its pictures, keys for it, and what it leaves behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from typing import Any, Callable

import harness

CLEAR = "\x1b[H\x1b[2J"
SHOW, HIDE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
SEQUENCE = re.compile(r"\x1b\[[?0-9;]*[A-Za-z]")


class Screen:
    """`argv` on a new terminal. Colours are off unless `env` says otherwise."""

    def __init__(self, argv: list[str], rows: int = 24, columns: int = 80, env: dict[str, str] | None = None):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.execve(argv[0], argv, {**os.environ, "NO_COLOR": "1", "TERM": "xterm", **(env or {})})
        self.rows, self.columns, self.output = rows, columns, b""
        self.status: int | None = None

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: Any) -> None:
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)

    @property
    def text(self) -> str:
        return self.output.decode(errors="replace").replace("\r\n", "\n")

    def pictures(self) -> list[list[str]]:
        """The lines of each whole picture, without escape sequences."""
        return [SEQUENCE.sub("", part).split("\n") for part in self.text.split(CLEAR)[1:]]

    def is_raw(self) -> bool:
        return not termios.tcgetattr(self.fd)[3] & (termios.ICANON | termios.ECHO)

    def read(self, seconds: float) -> bool:
        """Takes what comes. Returns whether the terminal is still open."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return True
        with contextlib.suppress(OSError):  # EIO: the other end is closed
            piece = os.read(self.fd, 65536)
            self.output += piece
            return bool(piece)
        return False

    def wait(self, what: str, check: Callable[[list[str]], Any]) -> list[str]:
        """Waits for a picture of which `check` holds, among those that begin from now on."""
        seen, end = len(self.pictures()), time.monotonic() + harness.DEADLINE_S
        while time.monotonic() < end:
            assert self.read(0.1), (what, self.text[-4000:])
            for picture in self.pictures()[seen:]:
                if check(picture):
                    return picture
        raise AssertionError((what, self.pictures()[-1:]))

    def press(self, keys: str) -> None:
        os.write(self.fd, keys.encode())

    def resize(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def end(self) -> int:
        """Waits for the end of the program. Returns its exit code, or minus the signal that ended it."""
        end = time.monotonic() + harness.DEADLINE_S
        while self.status is None:
            assert time.monotonic() < end, self.text[-4000:]
            self.read(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(status) if pid else None
        while select.select([self.fd], [], [], 0)[0] and self.read(0):
            pass
        return self.status
