# SPDX-License-Identifier: Apache-2.0
"""Measuring for run_serve.py: one run of pillion-load and the other load of the machine during it; statistics of
pairs."""

from __future__ import annotations

import json
import os
import platform
import random
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

TICKS = os.sysconf("SC_CLK_TCK")
ATTEMPTS = 5


@dataclass
class Sample:
    """One measurement of one server."""

    cpu_us: float  # of the server, per request
    rate: float  # requests per second
    p50_us: float
    p99_us: float
    p999_us: float
    noise: float  # share of the machine that other processes took, including stolen time
    instructions: float | None


def _cpu_ticks() -> tuple[int, int]:
    """Busy and stolen ticks, over all cores."""
    fields = [int(x) for x in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    user, nice, system, _idle, _wait, irq, softirq, steal = fields
    return user + nice + system + irq + softirq, steal


def _children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _processes_s(pids: Sequence[int]) -> float:
    total = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


class Watch:
    """Measures what others take of the machine from now on, excluding the children of this process and `pids`."""

    def __init__(self, pids: Sequence[int]):
        self.pids = pids
        self.began = time.monotonic()
        self.busy, self.steal = _cpu_ticks()
        self.ours = _children_s() + _processes_s(pids)

    def noise(self) -> float:
        """The share of others until now, including stolen time."""
        busy, steal = _cpu_ticks()
        ours = _children_s() + _processes_s(self.pids) - self.ours
        others = max(0.0, (busy - self.busy) / TICKS - ours) + (steal - self.steal) / TICKS
        return others / ((time.monotonic() - self.began) * (os.cpu_count() or 1))


class Perf:
    """Counts events with `perf stat`, if the machine has them."""

    def __init__(self, event: str = "instructions") -> None:
        self.event = event
        self.reason = ""
        if shutil.which("perf") is None:
            self.reason = "perf is not installed"
            return
        done = subprocess.run(["perf", "stat", "-x,", "-e", event, "true"], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            self.reason = "perf stat is refused: " + (done.stderr.strip() or "it does not say why").splitlines()[0]
        elif "<not supported>" in done.stderr:
            self.reason = f"the (virtual) CPU does not count {event}: perf stat says <not supported>"

    def prefix(self, pids: Sequence[int], out: Path) -> list[str]:
        """The prefix for a command, so that the events of `pids` are counted while it runs."""
        if self.reason:
            return []
        return ["perf", "stat", "-x,", "-e", self.event, "-p", ",".join(map(str, pids)), "-o", str(out), "--"]

    def read(self, out: Path) -> float | None:
        found = re.search(r"^(\d+),", out.read_text(), re.MULTILINE) if not self.reason else None
        return float(found.group(1)) if found else None


class Loader:
    """Runs pillion-load."""

    def __init__(self, binaries: Path, cores: set[int], folder: Path):
        self.program = str(binaries / "pillion-load")
        self.cores = cores
        self.folder = folder
        self.perf = Perf()

    def run(self, argv: Sequence[str], prefix: Sequence[str] = ()) -> dict:
        done = subprocess.run(
            [*prefix, self.program, *argv, "--json"],
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=lambda: os.sched_setaffinity(0, self.cores),
        )
        if done.returncode != 0:
            sys.exit(f"pillion-load {' '.join(argv)}\nexit {done.returncode}: {done.stderr}{done.stdout}")
        sys.stderr.write(done.stderr)
        lines = done.stdout.splitlines()
        return json.loads(lines[-1]) if lines else {}

    def capture(self, argv: Sequence[str], path: Path) -> bytes:
        self.run([*argv, "--capture", str(path)])
        return path.read_bytes()

    def measure(self, argv: Sequence[str], pids: Sequence[int]) -> Sample:
        """Repeats a measurement without answers: a busy machine can starve a process for a fifth of a second."""
        for _ in range(ATTEMPTS):
            sample = self.try_to_measure(argv, pids)
            if sample is not None:
                return sample
        sys.exit(f"pillion-load {' '.join(argv)}: no answers in {ATTEMPTS} attempts")

    def try_to_measure(self, argv: Sequence[str], pids: Sequence[int]) -> Sample | None:
        out = Path(tempfile.mkstemp(dir=self.folder)[1])
        pid_flags = [part for pid in pids for part in ("--cpu-of", str(pid))]
        prefix = self.perf.prefix(pids, out)
        watch = Watch(pids)
        result = self.run([*argv, *pid_flags], prefix)
        noise = watch.noise()
        if result["count"] == 0 or "server_cpu_us" not in result:
            return None
        answers = sum(result[name] for name in ("ok", "errors", "missing", "wrong", "mixed"))
        instructions = self.perf.read(out)
        out.unlink()
        return Sample(
            result["server_cpu_us"],
            result["rate"],
            result["p50_us"],
            result["p99_us"],
            result["p999_us"],
            noise,
            instructions / answers if instructions is not None else None,
        )


@dataclass
class Ratio:
    median: float
    low: float
    high: float

    def __str__(self) -> str:
        digits = 4 if self.median < 0.1 else 3 if self.median < 1 else 2
        return f"{self.median:.{digits}f} [{self.low:.{digits}f}–{self.high:.{digits}f}]"


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Ratio:
    """The median of the pairs' ratios, and the middle 95 % of the medians of 2,000 resamples (fixed seed)."""
    pairs = [a / b for a, b in zip(numerators, denominators)]
    chance = random.Random(1)
    medians = sorted(statistics.median(chance.choices(pairs, k=len(pairs))) for _ in range(2000))
    return Ratio(statistics.median(pairs), medians[50], medians[1949])


def machine() -> str:
    cpu = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    name = cpu.group(1) if cpu else platform.processor() or platform.machine()
    virtual = " hypervisor " in Path("/proc/cpuinfo").read_text().replace("\n", " ")
    return f"{name}, {os.cpu_count()} cores, Linux {platform.release()}, {'virtualised' if virtual else 'bare metal'}"
