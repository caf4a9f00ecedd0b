# SPDX-License-Identifier: Apache-2.0
"""How much memory a build may take: of the machine, of the cgroup, and which part of it is the C core's."""
from __future__ import annotations

import os
import re
import resource
from pathlib import Path
from typing import Iterator, Optional

from pillion import _core
from pillion.build.errors import BuildError

MIB = 1 << 20
# Batches on their way from the reader to the core (one is read, one waits, one is encoded), pages being decoded, and
# what allocators keep for later.
READER_BYTES = 96 * MIB
DUCKDB_BYTES_MIN = 64 * MIB
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


class LimitTooSmall(BuildError):
    code = 2


def parse_bytes(text: str) -> int:
    """"512M", "1.5GiB", "100000000"; ValueError says what is possible."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", text.strip().lower())
    if match is None:
        raise ValueError(f"{text!r} is no size; write 512M or 2G")
    return int(float(match.group(1)) * _UNITS[match.group(2)])


def _read_number(path: Path) -> Optional[int]:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None  # "max" is no limit


def _limits(memberships: str, mount: Path) -> Iterator[int]:
    """Limits of the own cgroup and of those above it, version 2 and version 1."""
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
    """What the cgroup allows, and never more than what the machine has to spare."""
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
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Shares:
    """How the cap is shared out; what the interpreter and its libraries take already is off the top."""

    def __init__(self, cap: int, uses_duckdb: bool) -> None:
        self.cap = cap
        rest = cap - resident_bytes() - READER_BYTES
        self.duckdb = max(DUCKDB_BYTES_MIN, rest // 4) if uses_duckdb else 0
        self.core = rest - self.duckdb
        if self.core < _core.MEMORY_MIN:
            needed = cap + _core.MEMORY_MIN - self.core
            raise LimitTooSmall(f"a memory limit of {cap // MIB} MiB is too small; at least "
                                f"{-(-needed // MIB // 16) * 16} MiB are needed (--memory-limit)")
