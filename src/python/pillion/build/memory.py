# SPDX-License-Identifier: Apache-2.0
"""The memory that a build may use: what the machine and the cgroup have left, and the C core's share."""
from __future__ import annotations

import os
import re
import threading
from pathlib import Path
from typing import Callable, Iterator, Optional

from pillion import _core
from pillion.build.errors import BuildError, IoFailure

MIB = 1 << 20
# What the libraries and their allocators keep, whatever is read. What a source does not know beforehand is in it, too:
# batches on their way to the core (one is read, one waits, one is encoded).
KEPT_BYTES = 96 * MIB
DUCKDB_BYTES_MIN = 64 * MIB
WATCH_S = 0.01
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


class LimitTooSmall(BuildError):
    code = 2


def parse_bytes(text: str) -> int:
    """Parses "512M", "1.5GiB", "100000000"; the ValueError names the accepted forms."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", text.strip().lower())
    if match is None:
        raise ValueError(f"{text!r} is not a size; write 512M or 2G")
    size = int(float(match.group(1)) * _UNITS[match.group(2)])
    if size == 0:
        raise ValueError(f"{text!r} is not a usable limit; leave the option out for the default")
    return size


def _read_number(path: Path) -> Optional[int]:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None  # "max": no limit


def _limits(memberships: str, mount: Path) -> Iterator[int]:
    """Limits of this process's cgroup and of those above it, in versions 1 and 2."""
    for line in memberships.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, name = mount, "memory.max"
        elif "memory" in controllers.split(","):
            root, name = mount / "memory", "memory.limit_in_bytes"
        else:
            continue
        folder = root / path.lstrip("/")
        while True:
            limit = _read_number(folder / name)
            if limit is not None:
                yield limit
            if folder == root:
                break
            folder = folder.parent


def available_bytes(proc: Path = Path("/proc"), mount: Path = Path("/sys/fs/cgroup")) -> int:
    """What the cgroup allows, but no more than the machine has available."""
    match = re.search(r"^MemAvailable:\s+(\d+) kB", (proc / "meminfo").read_text(), re.MULTILINE)
    spare = int(match.group(1)) * 1024 if match else os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        memberships = (proc / "self" / "cgroup").read_text()
    except OSError:
        memberships = ""
    return min([spare, *_limits(memberships, mount)])


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peak_bytes() -> int:
    """Of this program: rusage also counts what its parent had when it started it."""
    match = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(match.group(1)) * 1024 if match else resident_bytes()


def too_small(cap: int, needed: int, why: str) -> LimitTooSmall:
    return LimitTooSmall(f"a memory limit of {-(-cap // MIB)} MiB is too small{why}; at least "
                         f"{-(-needed // MIB // 16) * 16} MiB are needed (--memory-limit)")


class Shares:
    """The distribution of the cap, after subtracting the memory that the interpreter and its libraries use already."""

    def __init__(self, cap: int, uses_duckdb: bool) -> None:
        self.cap = cap
        self._used = resident_bytes()
        rest = cap - self._used - KEPT_BYTES
        self.duckdb = max(DUCKDB_BYTES_MIN, rest // 4) if uses_duckdb else 0
        self.core = rest - self.duckdb
        self._check("")

    def give_reader(self, needed: int, why: str) -> None:
        """Once the source is known: it takes `needed` beside KEPT_BYTES. Raises LimitTooSmall, with the reason."""
        grown = needed + max(0, resident_bytes() - self._used)
        self.core -= grown
        self._check(f" for {why}" if grown > 0 else "")

    def _check(self, why: str) -> None:
        if self.core < _core.MEMORY_MIN:
            raise too_small(self.cap, self.cap + _core.MEMORY_MIN - self.core, why)


class Watch:
    """Ends the process when it exceeds the cap, before the kernel kills it, or another process, without a message. It
    covers needs that cannot be known beforehand: values much longer than those before them, memory that DuckDB and
    Arrow keep. A build that is ended leaves nothing visible of the view that it was building."""

    def __init__(self, cap: int, fail: Callable[[str, int], int], outcome: Callable[[], str]) -> None:
        """`fail` tells the user and returns the exit code; `outcome` says what was published."""
        self._cap = cap
        self._fail = fail
        self._outcome = outcome
        self._done = threading.Event()
        threading.Thread(target=self._run, name="memory", daemon=True).start()

    def _run(self) -> None:
        while not self._done.wait(WATCH_S):
            used = resident_bytes()
            if used > self._cap:
                os._exit(self._fail(f"the memory limit of {-(-self._cap // MIB)} MiB is too low: "
                                    f"{-(-used // MIB)} MiB are in use, and more is needed; raise it "
                                    f"(--memory-limit); {self._outcome()}", IoFailure.code))

    def stop(self) -> None:
        self._done.set()
