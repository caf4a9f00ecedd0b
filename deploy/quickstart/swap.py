# SPDX-License-Identifier: Apache-2.0
"""Keeps asking one view while its releases change, and checks every answer: `swap.py … -- PHASE=COMMAND...`.

One connection, one request at a time, random entities. Each answer must be, as a whole, the row of the release before
or of the one after; once the new one was seen, never the old one again until the next change. Each PHASE=COMMAND is run
by the shell while the load goes on, with quiet seconds around it; one that says PHASE!=COMMAND changes the release, and
lasts until that was seen. Prints for each phase: requests, errors, wrong values, latencies. Exit 1 on any error or
wrong value. Latencies include this client (Python), which shares the cores.
"""
from __future__ import annotations

import argparse
import random
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import truth

SETTLE_S = 1.0  # after a command, or the change that it set off
TURN_S = 60.0  # a change that takes longer is none: the machine may have other work than to fetch a release


class Client:
    """RESP2 over a Unix socket: a flat array of bulk strings is all that HMGET answers."""

    def __init__(self, path: str):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(5)
        self.socket.connect(path)
        self.buffer = b""
        self.socket.sendall(command("PING"))
        if self._line() != b"+PONG":
            raise ConnectionError("no answer to PING")

    def _line(self) -> bytes:
        while (end := self.buffer.find(b"\r\n")) < 0:
            self._more()
        line, self.buffer = self.buffer[:end], self.buffer[end + 2:]
        return line

    def _more(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("closed by the server")
        self.buffer += data

    def ask(self, request: bytes) -> list[str | None]:
        self.socket.sendall(request)
        head = self._line()
        if not head.startswith(b"*"):
            raise ValueError(head.decode(errors="replace"))
        values: list[str | None] = []
        for _ in range(int(head[1:])):
            size = int(self._line()[1:])
            if size < 0:
                values.append(None)
                continue
            while len(self.buffer) < size + 2:
                self._more()
            values.append(self.buffer[:size].decode())
            self.buffer = self.buffer[size + 2:]
        return values


def command(*parts: str) -> bytes:
    encoded = [part.encode() for part in parts]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in encoded)


@dataclass
class Phase:
    name: str
    latencies_us: list[float] = field(default_factory=list)
    errors: int = 0
    wrong: int = 0
    detail: str = ""

    def quantile(self, share: float) -> float:
        ordered = sorted(self.latencies_us)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


class Load:
    def __init__(self, options: argparse.Namespace):
        view = truth.view_of(options.store, options.release)
        self.view = view
        before = dict(truth.Truth(view, options.files, options.as_of).sample(options.sample))
        after = truth.Truth(view, options.files)
        self.entities = []
        names = [feature.name for feature in view.features]
        for key, new in after.sample(options.sample):
            if key in before:
                request = command("HMGET", f"{view.name}:{truth.key_text(key)}", *names)
                self.entities.append((key, request, before[key], new))
        self.changed = sum(old != new for _, _, old, new in self.entities)
        self.client = Client(options.socket)
        self.random = random.Random(1)
        self.newest = "old"
        self.turns = 0  # how often the other release was seen

    def check(self, old: dict[str, Any], new: dict[str, Any], values: list[str | None], phase: Phase,
              may_turn: bool) -> None:
        got = {feature.name: truth.value_of(value, feature) for feature, value in zip(self.view.features, values)}
        if old == new and got == old:
            return
        seen = "old" if got == old else "new" if got == new else None
        if seen is None or (seen != self.newest and not may_turn):
            phase.wrong += 1
            phase.detail = f"got {got}, old release has {old}, new one {new}, {self.newest} was served"
        elif seen != self.newest:
            self.newest = seen
            self.turns += 1

    def one(self, phase: Phase, may_turn: bool) -> None:
        _, request, old, new = self.entities[self.random.randrange(len(self.entities))]
        started = time.perf_counter_ns()
        try:
            values = self.client.ask(request)
        except (OSError, ValueError) as error:
            phase.errors += 1
            phase.detail = phase.detail or str(error)
            if isinstance(error, OSError):
                raise
            return
        phase.latencies_us.append((time.perf_counter_ns() - started) / 1000)
        self.check(old, new, values, phase, may_turn)

    def run_for(self, phase: Phase, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.one(phase, False)

    def run_while(self, phase: Phase, shell: str, must_turn: bool) -> None:
        """Until the command ended, and the release has turned where it must; and SETTLE_S longer."""
        served, turn_end = self.newest, time.monotonic() + TURN_S
        process = subprocess.Popen(["bash", "-c", shell], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        settle_end = None
        while settle_end is None or time.monotonic() < settle_end:
            self.one(phase, self.newest == served)
            is_due = not must_turn or self.newest != served or time.monotonic() > turn_end
            if settle_end is None and process.poll() is not None and (is_due or process.returncode != 0):
                settle_end = time.monotonic() + SETTLE_S
        if process.returncode != 0:
            phase.errors += 1
            phase.detail = f"{shell}: exit {process.returncode}: {process.stderr.read().decode().strip()}"


def report(phases: list[Phase]) -> int:
    print(f"    {'':26}{'requests':>10}{'errors':>8}{'wrong':>8}{'p50 µs':>10}{'p99 µs':>10}{'p99.9 µs':>10}")
    for phase in phases:
        print(f"    {phase.name:26}{len(phase.latencies_us):>10,}{phase.errors:>8}{phase.wrong:>8}"
              + "".join(f"{phase.quantile(share):>10.0f}" for share in (0.5, 0.99, 0.999)))
    bad = [phase for phase in phases if phase.errors or phase.wrong]
    for phase in bad:
        print(f"    {phase.name}: {phase.detail}", file=sys.stderr)
    return 1 if bad else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--release", required=True, help="project/view@release that is served")
    parser.add_argument("--files", required=True)
    parser.add_argument("--as-of", required=True, help="the release that is served has the events up to here")
    parser.add_argument("--socket", required=True)
    parser.add_argument("--sample", type=int, default=20000)
    parser.add_argument("--quiet", type=float, default=2.0, metavar="SECONDS", help="before and after each phase")
    parser.add_argument("--turns", type=int, default=0, help="how often the release must be seen to change, at least")
    parser.add_argument("phases", nargs="+", metavar="PHASE[!]=COMMAND")
    options = parser.parse_args()
    load = Load(options)
    if load.changed == 0:
        print("no entity differs between the two releases", file=sys.stderr)
        return 1
    print(f"    {len(load.entities):,} entities, {load.changed:,} of which the new release changes")
    quiet = Phase("nothing else going on")
    phases = [quiet]
    try:
        load.run_for(quiet, options.quiet)
        for name, _, shell in (text.partition("=") for text in options.phases):
            phases.append(Phase(name.removesuffix("!")))
            load.run_while(phases[-1], shell, name.endswith("!"))
            load.run_for(quiet, options.quiet)
    except OSError:
        pass  # counted; the connection is gone
    code = report(phases)
    print(f"    served at the end: the {'first' if load.newest == 'old' else 'second'} release")
    if load.turns < options.turns:
        print(f"    the release was seen to change {load.turns} times, not {options.turns}")
        return 1
    return code


if __name__ == "__main__":
    sys.exit(main())
