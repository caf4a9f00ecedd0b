# SPDX-License-Identifier: Apache-2.0
"""Proof of correctness: readers in several processes check every value that they get, while releases are promoted every
100 ms and rolled back, and the daemon, its server and its fetcher are killed and stopped.

    build/venv/bin/python tests/soak/soak.py [--reads 1e8] [--json FILE]

A value follows from its key, its feature and its release (tests/support/make_release.c), so that each reader
(pillion-soak, through libpillion's public header) can tell wrong values, values of another release than the answer's,
and releases that were replaced for longer than the bound. The bound: a call that begins 250 ms after the server first
answered with a release answers with it or a later one, unless its staleness says otherwise; 4 s after a server was
killed, which is what finding that out and connecting anew may take (heartbeat 2 s, an attempt each second). Beside them
pillion-load checks HMGET over plain RESP.

Under sanitizers: PILLION_BIN_DIR=build/tsan/bin tests/soak/soak.py --reads 1e7 --slowness 10, and so with build/dev; a
report ends its process, and the run fails.

Exit status: 0 when the reads were reached and nothing was wrong, 1 otherwise.
"""
from __future__ import annotations

import argparse
import json
import mmap
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

VIEWS = (("soak", "plain", "int64"), ("pairs", "zones", "pair"))
SEEDS = (11, 222_222, 333_333, 444_444, 555_555, 666_666)
READERS = 4  # processes that map
LAGGARD_US, RESTART_US = 250_000, 4_000_000
DISTURBANCE_S, POLL_S, LOAD_S = 2.0, 0.004, 4
RESULTS = ("ok", "invalid", "not found", "denied", "unsupported", "too large", "not ready", "unavailable", "corrupt",
           "system")
ALLOWED = {"ok", "unavailable", "not ready"}  # while the daemon is down


class Truth:
    """The file of truth.h."""

    RELEASES, PROMOTIONS, CHECKERS = 16, 1 << 16, 16
    FIELDS = ("calls", "mapped_calls", "reads", "values", "wrong", "mixed", "stale", "stale_us_max",
              *(f"failed {name}" for name in RESULTS), "refreshes", "reconnects")
    RELEASE_AT = 32 + 8 * len(VIEWS)
    COUNT_AT = RELEASE_AT + len(VIEWS) * RELEASES * 24
    PROMOTION_AT = COUNT_AT + 8 * len(VIEWS)
    SCORE_AT = PROMOTION_AT + len(VIEWS) * PROMOTIONS * 24
    BYTES = SCORE_AT + CHECKERS * 8 * len(FIELDS)

    def __init__(self, path: Path, rows: int, features: int):
        self.path = path
        path.write_bytes(bytes(self.BYTES))
        with path.open("r+b") as file:
            self.memory = mmap.mmap(file.fileno(), self.BYTES)
        # A word in one store: struct.pack_into zeroes it first, which the checkers would see.
        self.words = memoryview(self.memory).cast("Q")
        self.counts = [0] * len(VIEWS)
        self.put(8, rows)
        self.put(16, features)

    def put(self, offset: int, word: int) -> None:
        self.words[offset // 8] = word

    def add_release(self, view: int, number: int, release: str, seed: int) -> None:
        at = self.RELEASE_AT + (view * self.RELEASES + number) * 24
        self.memory[at : at + 16] = release.encode()
        self.put(at + 16, seed)
        self.put(32 + 8 * view, number + 1)

    def promote(self, view: int, number: int, bound_us: int) -> int:
        """Before the channel is changed; the entry's offset, for served()."""
        at = self.PROMOTION_AT + (view * self.PROMOTIONS + self.counts[view]) * 24
        self.put(at, number)
        self.put(at + 16, bound_us)
        self.counts[view] += 1
        self.put(self.COUNT_AT + 8 * view, self.counts[view])
        return at

    def served(self, at: int) -> None:
        self.put(at + 8, time.monotonic_ns() // 1000)

    def server_ends(self, count: int) -> None:
        """Before it is killed."""
        self.put(24, count)

    def end(self) -> None:
        self.put(0, 1)

    def scores(self) -> list[dict[str, int]]:
        first, size = self.SCORE_AT // 8, len(self.FIELDS)
        words = [self.words[first + i * size : first + (i + 1) * size] for i in range(self.CHECKERS)]
        return [dict(zip(self.FIELDS, of_one)) for of_one in words]


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
        self.truth = Truth(folder / "truth", options.rows, options.features)
        self.references: list[list[str]] = [[], []]
        self.random = random.Random(options.seed)
        self.counts = {"promotions": 0, "rollbacks": 0, "swaps seen": 0, "daemon killed": 0, "server killed": 0,
                       "server stopped": 0, "fetcher killed": 0, "fetcher stopped": 0}
        self.bound_until = 0.0
        self.live: list[int] = [0, 0]
        self.seen: list[int | None] = [None, None]  # seeds, by asking the server
        self.load: dict[str, int] = {"requests": 0, "wrong": 0, "mixed": 0, "missing": 0}
        self.load_process: subprocess.Popen[str] | None = None
        self.readers: list[harness.Process] = []
        self.failures: list[str] = []

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
            listen={"resp": f"unix:{self.folder}/resp.sock", "mapped": f"unix:{self.folder}/mapped.sock"},
            args=("--mapped-generations", "16", "--fetch-priority", "normal"))  # readers leave no processor idle

    def start_readers(self) -> None:
        mapped, resp = f"unix:{self.folder}/mapped.sock", f"unix:{self.folder}/resp.sock"
        ways = [(mapped, "-", 2)] + [(mapped, resp, 1)] * (READERS - 1) + [("-", resp, 1)]
        for number, (maps, asks, threads) in enumerate(ways):
            argv = [harness.program("pillion-soak"), self.truth.path, number, threads, maps, asks]
            self.readers.append(harness.Process(f"reader-{number}", argv, self.folder))

    # ---- Meanwhile.

    def channel(self, command: str, view: int, number: int) -> int:
        project, name, _ = VIEWS[view]
        bound_us = RESTART_US if time.monotonic() < self.bound_until else LAGGARD_US
        at = self.truth.promote(view, number, int(bound_us * self.options.slowness))
        subject = self.references[view][number] if command == "promote" else f"{project}/{name}"
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
        """Another release of one of the views; now and then back again."""
        view = self.random.randrange(len(VIEWS))
        before = self.live[view]
        number = self.random.choice([i for i in range(len(SEEDS)) if i != before])
        begin = time.monotonic()
        until = begin + 3 * self.options.slowness
        self.wait_served(asker, view, self.promote(view, number), until)
        if self.random.random() < 0.1:
            self.counts["rollbacks"] += 1
            self.wait_served(asker, view, self.channel("rollback", view, before), until)
        time.sleep(max(0.0, begin + self.options.period - time.monotonic()))

    def restarted(self) -> None:
        self.bound_until = time.monotonic() + 6 * self.options.slowness

    def read_log(self) -> None:
        """A server that a sanitizer ends is started anew: only the log tells. All daemons of the run write to it."""
        log = self.daemon.log
        for sign in ("Sanitizer", "runtime error:"):
            if sign in log:
                self.failures.append(f"pilliond: {log[max(0, log.index(sign) - 100) :][:4000]}")

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

    def stop_for(self, name: str, seconds: float) -> None:
        pid = self.daemon.child(name)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(pid, signal.SIGCONT)
        self.restarted()

    def disturb(self, turn: int) -> None:
        kinds: list[tuple[str, Callable[[], None]]] = [
            ("server killed", self.kill_server),
            ("fetcher stopped", lambda: self.stop_for("fetcher", 0.5)),
            ("server stopped", lambda: self.stop_for("server", 0.5)),
            ("fetcher killed", self.kill_fetcher),
            ("daemon killed", self.kill_daemon),
        ]
        name, action = kinds[turn % len(kinds)]
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
            if now - disturbed > DISTURBANCE_S * self.options.slowness:
                self.disturb(turn)
                turn, disturbed = turn + 1, time.monotonic()
            if now - shown > 2:
                shown = now
                reads = self.progress(begin)
                if reads >= self.options.reads and turn >= 5 and self.counts["swaps seen"] >= self.options.swaps:
                    break
                if now - begin > self.options.seconds:
                    break
            dead = [reader for reader in self.readers if not reader.alive()]
            if dead:
                self.failures += [f"{reader.name} ended: {reader.log}" for reader in dead]
                break
        self.truth.end()
        self.failures += [f"{reader.name}: {reader.log.strip()}" for reader in self.readers if reader.wait() != 0]
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
        failed = sum(score[f"failed {name}"] for score in scores[:READERS] for name in RESULTS)
        if failed > 0:
            self.failures.append(f"{failed} calls of readers that map failed")
        if self.load["requests"] == 0:
            self.failures.append("HMGET: no answers")

    def report(self, scores: list[dict[str, int]], elapsed_s: float) -> dict[str, Any]:
        used = scores[: len(self.readers)]
        print(f"\n{'reader':10}{'vectors':>14}{'numbers':>15}{'calls':>12}{'mapped':>8}{'wrong':>7}{'mixed':>7}"
              f"{'stale':>7}{'unavail.':>10}{'maps':>7}{'lag ms':>8}")
        for number, score in enumerate(used):
            print(f"{'socket' if number == len(used) - 1 else f'mapped {number}':10}{score['reads']:>14,}"
                  f"{score['values']:>15,}{score['calls']:>12,}{score['mapped_calls'] / max(1, score['calls']):>8.1%}"
                  f"{score['wrong']:>7}{score['mixed']:>7}{score['stale']:>7}{score['failed unavailable']:>10,}"
                  f"{score['refreshes']:>7,}{score['stale_us_max'] / 1000:>8.0f}")
        print(f"{'HMGET':10}{self.load['requests']:>14,}{self.load['requests'] * self.options.features:>15,}"
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
    parser.add_argument("--period", type=float, default=0.1, help="seconds between promotions, at least (0.1)")
    parser.add_argument("--slowness", type=float, default=1, help="bounds times this: sanitizers (1)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the result to this file")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="pil-soak-"))
    soak = Soak(options, folder)
    try:
        elapsed_s = soak.run()
        scores = soak.truth.scores()
        soak.judge(scores)
        result = soak.report(scores, elapsed_s)
    finally:
        soak.close()
        shutil.rmtree(folder, ignore_errors=True)
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    for failure in soak.failures:
        print(f"FAILED {failure}", file=sys.stderr)
    print("nothing wrong" if not soak.failures else f"{len(soak.failures)} failures")
    return 1 if soak.failures else 0


if __name__ == "__main__":
    sys.exit(main())
