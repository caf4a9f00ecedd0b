# SPDX-License-Identifier: Apache-2.0
"""The machine and the versions that were measured, without a name or anything else that tells where the machine is."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Sequence

from serve_measure import Perf, machine

HUGE = Path("/sys/kernel/mm/transparent_hugepage")


def _first(argv: Sequence[str], pattern: str) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except OSError:
        return "-"
    found = re.search(pattern, done.stdout + done.stderr)
    return found.group(1) if found else "-"


def _package(name: str) -> str:
    return _first(["dpkg-query", "-W", "-f", "${Version}\n", name], r"^(\S+)")


def _caches() -> str:
    folder = Path("/sys/devices/system/cpu/cpu0/cache")
    found = []
    for index in sorted(folder.glob("index*")):
        level, kind = ((index / name).read_text().strip() for name in ("level", "type"))
        if kind != "Instruction":
            found.append(f"L{level} {(index / 'size').read_text().strip()}")
    return ", ".join(found) or "-"


def _huge_pages() -> str:
    chosen = {}
    for name in ("enabled", "shmem_enabled"):
        found = re.search(r"\[(\w+)\]", (HUGE / name).read_text()) if (HUGE / name).exists() else None
        chosen[name] = found.group(1) if found else "-"
    return f"transparent: {chosen['enabled']}; of shared memory: {chosen['shmem_enabled']}"


def _clients() -> list[str]:
    lines = Path(__file__).with_name("requirements.txt").read_text().splitlines()
    return [line.replace("==", " ") for line in lines if line and not line.startswith("#")]


def machine_rows(python: Path | None) -> dict[str, str]:
    memory = re.search(r"^MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)
    peers = {
        "Redis": _first(["redis-server", "--version"], r"v=(\S+)"),
        "memcached": _first(["memcached", "--version"], r"memcached (\S+)"),
        "LMDB": _package("liblmdb0"),
        "RocksDB": _package("librocksdb7.8"),
    }
    reason = Perf("cache-misses").reason
    return {
        "machine": machine(),
        "memory": f"{int(memory.group(1)) / 2**20:.0f} GiB" if memory else "-",
        "caches of a core": _caches(),
        "pages": f"{os.sysconf('SC_PAGE_SIZE') // 1024} KiB; huge: {_huge_pages()}",
        "counters": reason or "cache misses by perf stat",
        "peers": ", ".join(f"{name} {version}" for name, version in peers.items()),
        "Python": ", ".join([_first([str(python or "python3"), "--version"], r"Python (\S+)"), *_clients()]),
    }
