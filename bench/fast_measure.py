# SPDX-License-Identifier: Apache-2.0
"""Measuring for run_fast.py: one run of a reader process (pillion-embed, fast_python.py) with the CPU time of its
server, and the memory of processes and files."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable, Sequence

from serve_measure import Watch

RUN_MAX_S = 300.0


class Failed(Exception):
    """A reader, a server or a fill failed; the text says which and why."""


def reason_of(output: str) -> str:
    """The line of a program's output that gives the reason: the last of a Python traceback, else the first."""
    lines = [line for line in output.splitlines() if line.strip()] or ["it does not say why"]
    return lines[-1 if any(line.startswith("Traceback") for line in lines) else 0][:300]


@dataclass
class Reading:
    """One run of a reader, over all its processes."""

    p50_us: float
    p99_us: float
    p999_us: float
    rate: float  # vectors per second, all processes together
    client_cpu_us: float  # per call
    server_cpu_us: float  # per call; 0 when there is no server
    noise: float  # share of the machine that other processes took
    misses: float | None  # cache misses per vector in the client, if the machine counts them

    @property
    def cpu_us(self) -> float:
        return self.client_cpu_us + self.server_cpu_us


def cpu_ns(pids: Iterable[int]) -> int:
    """CPU time of all threads, from the scheduler's nanoseconds."""
    total = 0
    for pid in pids:
        try:
            for task in Path(f"/proc/{pid}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
        except OSError:
            continue
    return total


def run_reader(argv: Sequence[str], cores: set[int]) -> dict:
    """Runs a reader program on the given cores; returns its line of JSON."""
    try:
        done = subprocess.run(
            [*argv, "--json"],
            capture_output=True,
            text=True,
            check=False,
            timeout=RUN_MAX_S,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
    except subprocess.TimeoutExpired as late:
        raise Failed(f"{' '.join(argv)}: no end after {late.timeout:g} s") from late
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0 or not lines:
        raise Failed(f"{' '.join(argv)}: exit {done.returncode}: {reason_of(done.stderr + done.stdout)}")
    return json.loads(lines[-1])


def measure(argv: Sequence[str], cores: set[int], pids: Sequence[int], duration_s: float, warmup_s: float) -> Reading:
    argv = [*argv, "--duration", str(duration_s), "--warmup", str(warmup_s)]
    watch, before = Watch(pids), cpu_ns(pids)
    found = run_reader(argv, cores)
    server_ns, noise = cpu_ns(pids) - before, watch.noise()
    if found["calls"] == 0 or found["wrong"] + found["failed"] > 0:
        raise Failed(f"{' '.join(argv)}: {found['calls']} calls, {found['wrong']} wrong, {found['failed']} failed")
    calls_with_warmup = found["calls"] * (duration_s + warmup_s) / duration_s
    return Reading(
        found["p50_us"],
        found["p99_us"],
        found["p999_us"],
        found["vectors_per_s"],
        found["cpu_us_per_call"],
        server_ns / 1000 / calls_with_warmup,
        noise,
        found.get("cache_misses_per_vector"),
    )


@dataclass
class Memory:
    """The resident memory of processes, in bytes; each shared page counts once."""

    anonymous: int
    shared: int  # memfds, tmpfs
    files: int  # mapped files, or the page cache of files that are read instead, if that is more

    @property
    def total(self) -> int:
        return self.anonymous + self.shared + self.files


def memory_of(pids: Iterable[int], files: Sequence[Path]) -> Memory:
    """PSS of the processes, and the pages of `files` (files that are read instead of mapped) in the page cache."""
    sums = {"Pss_Anon": 0, "Pss_Shmem": 0, "Pss_File": 0}
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        for line in text.splitlines():
            name, _, rest = line.partition(":")
            if name in sums:
                sums[name] += int(rest.split()[0]) * 1024
    return Memory(sums["Pss_Anon"], sums["Pss_Shmem"], max(sums["Pss_File"], cached_bytes(files)))


def cached_bytes(files: Sequence[Path]) -> int:
    if not files:
        return 0
    done = subprocess.run(
        ["fincore", "--bytes", "--noheadings", "--output", "RES", *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
    )
    return sum(int(word) for word in done.stdout.split())
