# SPDX-License-Identifier: Apache-2.0
"""Proof of correctness: readers in several processes check every value that they get, while releases are promoted every
100 ms, rolled back, pinned and unpinned, and the daemon, its server and its fetcher are killed, stopped and reloaded.

    build/venv/bin/python tests/soak/soak.py [--reads 1e8] [--protocols] [--engine NAME] [--json FILE]

A value follows from its key, its feature and its release (tests/support/make_release.c), so that each reader
(pillion-soak, through libpillion's public header) can tell wrong values, values of another release than the answer's,
and releases that were replaced for longer than the bound. The bound: a call that begins 250 ms after the server first
answered with a release answers with it or a later one, unless its staleness says otherwise; 4 s after a server was
killed, which is what finding that out and connecting anew may take (heartbeat 2 s, an attempt each second). Beside them
pillion-load checks HMGET over plain RESP.

With --protocols all other ways in are checked, too (ask.py): plain RESP with pipelines, MULTI, PIL.VECTOR and
PIL.COLUMNS; Feast; OIP as JSON and binary; the Python client, mapped and over the socket. Then there are fewer readers
of libpillion, so that all get a processor.

Under sanitizers: PILLION_BIN_DIR=build/tsan/bin tests/soak/soak.py --reads 1e7 --slowness 10, and so with build/dev; a
report ends its process, and the run fails.

Exit status: 0 when the reads were reached and nothing was wrong, 1 otherwise.
"""
from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "system"))
import harness  # noqa: E402
from truth import RESULTS, VIEWS, Truth  # noqa: E402

SEEDS = (11, 222_222, 333_333, 444_444, 555_555, 666_666)
READERS, READERS_BESIDE = 4, 2  # processes that map; with --protocols
PROTOCOLS = ("resp", "feast", "oip", "python-mapped", "python-socket")  # of ask.py
LAGGARD_US, RESTART_US = 250_000, 4_000_000
POLL_S, LOAD_S = 0.004, 4
ALLOWED = {"ok", "unavailable", "not ready"}  # while the daemon is down


class Asker:
    """What the server answers with, over plain RESP; None while it does not."""

    def __init__(self, path: str):
        self.path = path
        self.socket: socket.socket | None = None

    def seed(self, view: int) -> int | None:
        key = "soak/plain:0" if view == 0 else "pairs/zones:0|z0"
        try:
            if self.socket is None:
                self.socket = harness.connect(f"unix:{self.path}", 1)
            self.socket.sendall(f"HGET {key} f0\r\n".encode())
            answer = self.socket.recv(4096)
            return int(float(answer.split(b"\r\n")[1])) if answer.startswith(b"$") else None
        except (OSError, IndexError, ValueError):
            if self.socket is not None:
                self.socket.close()
            self.socket = None
            return None


class Soak:
    def __init__(self, options: argparse.Namespace, folder: Path):
        self.options, self.folder = options, folder
        self.store = harness.Store(folder / "store")
        self.truth = Truth.create(folder / "truth", options.rows, options.features)
        self.mapping = READERS_BESIDE if options.protocols else READERS
        self.references: list[list[str]] = [[], []]
        self.random = random.Random(options.seed)
        self.counts = {"promotions": 0, "rollbacks": 0, "pins": 0, "swaps seen": 0, "daemon killed": 0,
                       "server killed": 0, "server stopped": 0, "fetcher killed": 0, "fetcher stopped": 0,
                       "supervisor stopped": 0, "daemon reloaded": 0}
        self.bound_until = 0.0
        self.live: list[int] = [0, 0]
        self.seen: list[int | None] = [None, None]  # seeds, by asking the server
        self.load: dict[str, int] = {"requests": 0, "wrong": 0, "mixed": 0, "missing": 0}
        self.load_process: subprocess.Popen[str] | None = None
        self.readers: list[harness.Process] = []
        self.failures: list[str] = []
        self.complaints: list[str] = []  # of the readers; some are about a daemon that was killed
        self.disturbances: list[tuple[str, Callable[[], None]]] = [
            ("server killed", self.kill_server),
            ("fetcher stopped", lambda: self.stop_for(self.daemon.child("fetcher"), 0.5)),
            ("server stopped", lambda: self.stop_for(self.daemon.child("server"), 0.5)),
            ("fetcher killed", self.kill_fetcher),
            ("supervisor stopped", lambda: self.stop_for(self.daemon.pid, 0.5)),
            ("daemon reloaded", lambda: self.daemon.signal(signal.SIGHUP)),
            ("daemon killed", self.kill_daemon),
        ]

    # ---- Before.

    def make_releases(self) -> None:
        for view, (project, name, key) in enumerate(VIEWS):
            for number, seed in enumerate(SEEDS):
                reference = self.store.make_release(
                    project, name, self.options.rows, self.options.features, seed, channel=None, args=("--key", key))
                self.references[view].append(reference)
                self.truth.add_release(view, number, reference.rpartition("@")[2], seed)
            self.promote(view, 0)

    def start_daemon(self) -> None:
        self.daemon = harness.Pilliond(
            self.folder, self.store, [f"{project}/{name}@production" for project, name, _ in VIEWS],
            engine=self.options.engine,
            listen={name: f"unix:{self.folder}/{name}.sock" for name in ("resp", "mapped", "feast", "oip")},
            args=("--mapped-generations", "16", "--fetch-priority", "normal"))  # readers leave no processor idle

    def start_readers(self) -> None:
        mapped, resp = f"unix:{self.folder}/mapped.sock", f"unix:{self.folder}/resp.sock"
        ways = [(mapped, "-", 2)] + [(mapped, resp, 1)] * (self.mapping - 1) + [("-", resp, 1)]
        for number, (maps, asks, threads) in enumerate(ways):
            argv = [harness.program("pillion-soak"), self.truth.path, number, threads, maps, asks]
            name = "socket" if maps == "-" else f"mapped-{number}"
            self.readers.append(harness.Process(name, argv, self.folder))
        for kind in PROTOCOLS if self.options.protocols else ():
            argv = [sys.executable, str(Path(__file__).with_name("ask.py")), str(self.truth.path),
                    str(len(self.readers)), kind, str(self.folder)]
            self.readers.append(harness.Process(kind, argv, self.folder))

    # ---- Meanwhile.

    def channel(self, command: str, view: int, number: int) -> int:
        project, name, _ = VIEWS[view]
        bound_us = RESTART_US if time.monotonic() < self.bound_until else LAGGARD_US
        at = self.truth.promote(view, number, int(bound_us * self.options.slowness))
        subject = self.references[view][number] if command in ("promote", "pin") else f"{project}/{name}"
        done = self.store.pillion(command, subject, "--channel", "production")
        if self.references[view][number].rpartition("@")[2] not in done.stdout:
            self.failures.append(f"{command}: expected {self.references[view][number]}: {done.stdout}")
        self.live[view] = number
        return at

    def promote(self, view: int, number: int) -> int:
        self.counts["promotions"] += 1
        return self.channel("promote", view, number)

    def wait_served(self, asker: Asker, view: int, at: int, until: float) -> None:
        while time.monotonic() < until:
            if asker.seed(view) == SEEDS[self.live[view]]:
                # A release that is back before the one between was served may give way to that yet.
                if self.seen[view] != SEEDS[self.live[view]]:
                    self.truth.served(at)
                    self.counts["swaps seen"] += 1
                self.seen[view] = SEEDS[self.live[view]]
                return
            time.sleep(POLL_S)

    def swap(self, asker: Asker) -> None:
        """Another release of one of the views; now and then back again, or to a third one for a while."""
        view = self.random.randrange(len(VIEWS))
        before = self.live[view]
        number = self.random.choice([i for i in range(len(SEEDS)) if i != before])
        begin = time.monotonic()
        until = begin + 3 * self.options.slowness
        self.wait_served(asker, view, self.promote(view, number), until)
        dice = self.random.random()
        if dice < 0.1:
            self.counts["rollbacks"] += 1
            self.wait_served(asker, view, self.channel("rollback", view, before), until)
        elif dice < 0.2:
            self.counts["pins"] += 1
            pinned = self.random.choice([i for i in range(len(SEEDS)) if i != number])
            self.wait_served(asker, view, self.channel("pin", view, pinned), until)
            self.wait_served(asker, view, self.channel("unpin", view, number), until)
        time.sleep(max(0.0, begin + self.options.period - time.monotonic()))

    def restarted(self) -> None:
        self.bound_until = time.monotonic() + 6 * self.options.slowness

    def read_log(self) -> None:
        """A child that ends by itself is started anew: only the log tells. All daemons of the run write to it."""
        try:
            self.daemon.check_log()
        except AssertionError as error:
            self.failures.append(str(error))

    def kill_daemon(self) -> None:
        supervisor, children = self.daemon.pid, harness.children_of(self.daemon.pid)
        self.daemon.signal(signal.SIGKILL)
        self.daemon.wait()
        harness.wait_until("the children end", lambda: all(harness.gone(pid) for pid in children.values()))
        assert supervisor not in children.values()
        self.daemon.destroy()
        self.start_daemon()
        self.restarted()

    def kill_server(self) -> None:
        os.kill(self.daemon.child("server"), signal.SIGKILL)
        self.restarted()

    def kill_fetcher(self) -> None:
        os.kill(self.daemon.child("fetcher"), signal.SIGKILL)

    def stop_for(self, pid: int, seconds: float) -> None:
        os.kill(pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(pid, signal.SIGCONT)
        self.restarted()

    def disturb(self, turn: int) -> None:
        name, action = self.disturbances[turn % len(self.disturbances)]
        if name in ("server killed", "daemon killed"):
            self.truth.server_ends(self.counts["server killed"] + self.counts["daemon killed"] + 1)
        action()
        self.counts[name] += 1

    def run_load(self) -> None:
        """pillion-load, again and again: it ends when the server does."""
        if self.load_process is not None and self.load_process.poll() is None:
            return
        if self.load_process is not None:
            lines = self.load_process.communicate()[0].splitlines()
            result = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
            self.load["requests"] += result.get("ok", 0)
            for name in ("wrong", "mixed", "missing"):
                self.load[name] += result.get(name, 0)
        argv = [harness.program("pillion-load"), "--address", f"unix:{self.folder}/resp.sock", "--command", "hmget",
                "--key-prefix", "soak/plain:", "--keys", str(self.options.rows), "--features",
                str(self.options.features), "--verify", ",".join(map(str, SEEDS)), "--rate", "2000", "--allow-late",
                "--duration", str(LOAD_S), "--warmup", "0", "--json"]
        self.load_process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def progress(self, begin: float) -> int:
        scores = self.truth.scores()
        total = {name: sum(score[name] for score in scores) for name in Truth.FIELDS}
        bad = total["wrong"] + total["mixed"] + total["stale"] + self.load["wrong"] + self.load["mixed"]
        share = min(1.0, total["reads"] / self.options.reads)
        line = (f"  [{'█' * int(30 * share):30}] {total['reads'] / 1e6:8.1f} M reads, "
                f"{self.counts['swaps seen']:5} swaps, {bad} wrong, {time.monotonic() - begin:4.0f} s")
        print(line, end="\r" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True)
        return total["reads"]

    def run(self) -> float:
        self.make_releases()
        self.start_daemon()
        self.start_readers()
        asker = Asker(f"{self.folder}/resp.sock")
        begin = shown = disturbed = time.monotonic()
        turn = 0
        while True:
            self.swap(asker)
            self.run_load()
            now = time.monotonic()
            if now - disturbed > self.options.disturbance * self.options.slowness:
                self.disturb(turn)
                turn, disturbed = turn + 1, time.monotonic()
            if now - shown > 2:
                shown = now
                reads = self.progress(begin)
                if (reads >= self.options.reads and all(self.counts.values())
                        and self.counts["swaps seen"] >= self.options.swaps):
                    break
                if now - begin > self.options.seconds:
                    break
            dead = [reader for reader in self.readers if not reader.alive()]
            if dead:
                self.failures += [f"{reader.name} ended: {reader.log}" for reader in dead]
                break
        self.truth.end()
        codes = {reader: reader.wait() for reader in self.readers}
        self.complaints = [f"{reader.name}: {line}" for reader in self.readers for line in reader.log.splitlines()]
        self.failures += [f"{reader.name} ended with {code}" for reader, code in codes.items() if code != 0]
        if self.load_process is not None:
            self.load_process.wait()
            self.run_load()
            self.load_process.kill()
            self.load_process.wait()
        code = self.daemon.stop()
        self.read_log()
        if code != 0:
            self.failures.append(f"pilliond: {self.daemon.log[-2000:]}")
        return time.monotonic() - begin

    def close(self) -> None:
        for process in [*self.readers, getattr(self, "daemon", None)]:
            if process is not None:
                process.destroy()
        if self.load_process is not None and self.load_process.poll() is None:
            self.load_process.kill()

    # ---- After.

    def judge(self, scores: list[dict[str, int]]) -> None:
        total = {name: sum(score[name] for score in scores) for name in Truth.FIELDS}
        for name in ("wrong", "mixed", "stale"):
            if total[name] > 0:
                self.failures.append(f"{total[name]} {name}")
        for name in RESULTS:
            if total[f"failed {name}"] > 0 and name not in ALLOWED:
                self.failures.append(f"{total[f'failed {name}']} calls failed: {name}")
        for name in ("wrong", "mixed", "missing"):
            if self.load[name] > 0:
                self.failures.append(f"HMGET: {self.load[name]} {name}")
        self.failures += [f"never happened: {name}" for name, count in self.counts.items() if count == 0]
        if total["reads"] < self.options.reads:
            self.failures.append(f"{total['reads']:,} of {self.options.reads:,} reads in {self.options.seconds:g} s")
        if self.counts["swaps seen"] < self.options.swaps:
            self.failures.append(f"{self.counts['swaps seen']} of {self.options.swaps} swaps")
        failed = sum(score[f"failed {name}"] for score in scores[: self.mapping] for name in RESULTS)
        if failed > 0:
            self.failures.append(f"{failed} calls of readers that map failed")
        if self.load["requests"] == 0:
            self.failures.append("HMGET: no answers")
        self.failures += [f"{reader.name}: no answers" for reader, score in zip(self.readers, scores)
                          if score["values"] == 0]
        self.failures += [f"{reader.name}: nothing was read mapped" for reader, score in zip(self.readers, scores)
                          if "mapped" in reader.name and score["mapped_calls"] == 0]

    def report(self, scores: list[dict[str, int]], elapsed_s: float) -> dict[str, Any]:
        used = scores[: len(self.readers)]
        print(f"\n{'reader':14}{'vectors':>14}{'numbers':>15}{'calls':>12}{'mapped':>8}{'wrong':>7}{'mixed':>7}"
              f"{'stale':>7}{'unavail.':>10}{'maps':>7}{'lag ms':>8}")
        for number, score in enumerate(used):
            print(f"{self.readers[number].name:14}{score['reads']:>14,}"
                  f"{score['values']:>15,}{score['calls']:>12,}{score['mapped_calls'] / max(1, score['calls']):>8.1%}"
                  f"{score['wrong']:>7}{score['mixed']:>7}{score['stale']:>7}{score['failed unavailable']:>10,}"
                  f"{score['refreshes']:>7,}{score['stale_us_max'] / 1000:>8.0f}")
        print(f"{'HMGET':14}{self.load['requests']:>14,}{self.load['requests'] * self.options.features:>15,}"
              f"{self.load['requests']:>12,}{'':8}{self.load['wrong']:>7}{self.load['mixed']:>7}")
        print(", ".join(f"{count} {name}" for name, count in self.counts.items()) + f"; {elapsed_s:.0f} s")
        return {"readers": used, "hmget": self.load, "events": self.counts, "elapsed_s": elapsed_s,
                "failures": self.failures}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reads", type=lambda text: int(float(text)), default=100_000_000, help="vectors (1e8)")
    parser.add_argument("--swaps", type=int, default=100, help="changes seen in what is served (100)")
    parser.add_argument("--seconds", type=float, default=3600, help="give up after so long (3600)")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--features", type=int, default=10)
    parser.add_argument("--protocols", action="store_true", help="check all protocols and clients, too")
    parser.add_argument("--engine", default="auto", help="auto, io_uring or epoll (auto)")
    parser.add_argument("--disturbance", type=float, default=2, help="seconds between kills and stops, at least (2)")
    parser.add_argument("--period", type=float, default=0.1, help="seconds between promotions, at least (0.1)")
    parser.add_argument("--slowness", type=float, default=1, help="bounds times this: sanitizers (1)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the result to this file")
    parser.add_argument("--folder", type=Path, help="an empty folder for all that the run makes, which stays (a "
                        "temporary one, which is removed)")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = options.folder
        if folder is None:
            folder = Path(tempfile.mkdtemp(prefix="pil-soak-"))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        soak = Soak(options, folder)
        stack.callback(soak.close)
        elapsed_s = soak.run()
        scores = soak.truth.scores()
        soak.judge(scores)
        result = soak.report(scores, elapsed_s)
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    for failure in soak.failures + soak.complaints * (len(soak.failures) > 0):
        print(f"FAILED {failure}", file=sys.stderr)
    print("nothing wrong" if not soak.failures else f"{len(soak.failures)} failures")
    return 1 if soak.failures else 0


if __name__ == "__main__":
    sys.exit(main())
