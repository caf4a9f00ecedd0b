# SPDX-License-Identifier: Apache-2.0
"""The memory that the same rows take: the server or the files, and 8 processes that read at random. Measured when it no
longer grows, so that all pages have been touched."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import asdict
from typing import Callable

from fast_cases import READERS, Case
from fast_measure import Failed, Memory, memory_of
from fast_peers import Peers
from serve_servers import descendants

PROCESSES = 8
CASE = Case("memory", "50", 1000, 50, processes=PROCESSES)
WANTED = ("mapped", "lmdb", "rocksdb", "redis", "memcached")
READ_MAX_S, LOOK_S, STEADY = 40.0, 1.5, 1.003


def settled(reader: subprocess.Popen, servers: list[int], peers: Peers, name: str) -> Memory:
    began, last = time.monotonic(), 0
    while time.monotonic() - began < READ_MAX_S:
        time.sleep(LOOK_S)
        if reader.poll() is not None:
            raise Failed(f"{name}: the readers ended: exit {reader.returncode}")
        pids = descendants(reader.pid)
        memory = memory_of([*pids, *servers], peers.files(name))
        if len(pids) >= PROCESSES and 0 < memory.total < last * STEADY:
            return memory
        last = memory.total
    raise Failed(f"{name}: memory still grows after {READ_MAX_S:g} s")


def memory_with_readers(peers: Peers, name: str) -> Memory:
    peers.start(name, CASE)
    argv, _, servers = peers.command(name, CASE)
    argv = [*argv, "--duration", "3600", "--warmup", "0"]
    everywhere = set(range(os.cpu_count() or 1))
    with subprocess.Popen(
        argv, stdout=subprocess.DEVNULL, start_new_session=True, preexec_fn=lambda: os.sched_setaffinity(0, everywhere)
    ) as reader:
        try:
            return settled(reader, servers, peers, name)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(reader.pid, signal.SIGKILL)


def measure_memory(found: dict[str, dict], peers: Peers, say: Callable[[str], None]) -> None:
    """Measures one reader at a time; a failure of one does not stop the others."""
    failed = []
    for name in WANTED:
        try:
            memory = memory_with_readers(peers, name)
        except (Failed, SystemExit, OSError) as trouble:
            failed.append(str(trouble))
            continue
        found[name] = {**asdict(memory), "total": memory.total, "payload": peers.table.payload}
        per_byte = memory.total / peers.table.payload
        say(f"  {READERS[name][0]:<20} {per_byte:6.3f} bytes per byte  {memory.total / 2**20:8,.0f} MiB")
    if failed:
        raise Failed("; ".join(failed))
