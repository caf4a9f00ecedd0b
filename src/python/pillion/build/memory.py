# SPDX-License-Identifier: Apache-2.0
"""The memory that a build may use: what the machine and the cgroup have left, and the C core's share."""
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
# memory that allocators keep.
READER_BYTES = 96 * MIB
DUCKDB_BYTES_MIN = 64 * MIB
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


class LimitTooSmall(BuildError):
    code = 2


def parse_bytes(text: str) -> int:
    """Parses "512M", "1.5GiB", "100000000"; the ValueError names the accepted forms."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", text.strip().lower())
    if match is None:
        raise ValueError(f"{text!r} is not a size; write 512M or 2G")
    return int(float(match.group(1)) * _UNITS[match.group(2)])


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
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Shares:
    """The distribution of the cap, after subtracting the memory that the interpreter and its libraries use already."""

    def __init__(self, cap: int, uses_duckdb: bool) -> None:
        self.cap = cap
        rest = cap - resident_bytes() - READER_BYTES
        self.duckdb = max(DUCKDB_BYTES_MIN, rest // 4) if uses_duckdb else 0
        self.core = rest - self.duckdb
        if self.core < _core.MEMORY_MIN:
            needed = cap + _core.MEMORY_MIN - self.core
            raise LimitTooSmall(f"a memory limit of {cap // MIB} MiB is too small; at least "
                                f"{-(-needed // MIB // 16) * 16} MiB are needed (--memory-limit)")
