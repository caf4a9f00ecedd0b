#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Pillion's fast path beside what one would use instead: the same rows, from C and from Python, in turns in one run.

Goal: ratios that hold on a shared machine. Method: bench/README.md. Usage: bash bench/run.sh fast [option...].
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable, Iterator

sys.path.insert(0, str(Path(__file__).resolve().parent))
import fast_docs  # noqa: E402
import run_serve  # noqa: E402
from fast_cases import C_READERS, FEAST_READERS, READERS, Case, Result, Round, Table, cases, tables  # noqa: E402
from fast_machine import machine_rows  # noqa: E402
from fast_measure import Failed, measure, run_reader  # noqa: E402
from fast_memory import measure_memory  # noqa: E402
from fast_peers import Peers  # noqa: E402
from fast_report import GOAL_COLUMNS, Results, case_text, goal_rows, text_table  # noqa: E402
from fast_swap import run_swaps  # noqa: E402
from serve_servers import SEED  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
SERVER_CASES = "^VECTOR 100|^GET packed"
TROUBLE = (Failed, SystemExit, OSError, ValueError, LookupError, subprocess.SubprocessError)
PARTS = ("cases", "memory", "server", "swap")


def say(text: str = "") -> None:
    print(text, flush=True)


class Fast:
    def __init__(self, options: argparse.Namespace, folder: Path, results: Results):
        self.options = options
        self.folder = folder
        self.results = results
        self.began = time.monotonic()

    # ---- Parts of a run

    def attempt(self, part: str, what: Callable[[], None]) -> None:
        """Runs a part; a failure is reported and recorded, and the other parts go on."""
        try:
            what()
            self.results.failures.pop(part, None)
        except TROUBLE as trouble:
            self.results.failures[part] = short(trouble)
            say(f"  {part}: failed: {self.results.failures[part]}")
        self.save()

    def save(self) -> None:
        partial = self.options.json.with_suffix(".partial")
        partial.write_text(json.dumps(self.results.to_json(), indent=1) + "\n")
        partial.replace(self.options.json)

    def section(self, title: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - self.began), 60)
        say(f"\n[{minutes:2}:{seconds:02}] {title}")

    def wanted_cases(self, table: str) -> list[Case]:
        pattern = re.compile(self.options.cases, re.IGNORECASE)
        done = self.results.cases if self.options.resume else {}
        chosen = [case for case in cases() if case.table == table and pattern.search(case.key) and case.key not in done]
        if not self.options.feast:
            chosen = [case for case in chosen if case.readers != FEAST_READERS]
        if self.options.quick:
            chosen = [case for case in chosen if not re.search(r"1000x50|p2|1x50 p|1x50 zipf|feast 1x", case.key)]
        return chosen

    def run_table(self, table: Table) -> None:
        """One table at a time: all peers of a table are stopped before the next one."""
        chosen = self.wanted_cases(table.name) if "cases" in self.options.parts else []
        has_memory = table.name == "50" and "memory" in self.options.parts
        if not chosen and not has_memory:
            return
        self.section(f"table {table.name}: {table.rows:,} rows, {table.payload / 2**20:,.0f} MiB of values and keys")
        with Peers(self.options, self.folder, table, say) as peers:
            for case in chosen:
                self.attempt(case.key, functools.partial(self.run_case, case, peers))
            if has_memory:
                self.section("memory of 8 readers")
                self.attempt("memory", lambda: measure_memory(self.results.memory, peers, say))

    # ---- One case

    def run_case(self, case: Case, peers: Peers) -> None:
        result = Result(case)
        names = []
        for name in case.readers:
            try:
                peers.start(name, case)
                self.check(case, name, peers)
                names.append(name)
            except TROUBLE as trouble:
                result.failures[name] = short(trouble)
        wanted = max(1, self.options.pairs // 2)
        rounds: list[Round] = []
        most = wanted + max(1, wanted // 2)
        while sum(self.is_quiet(found) for found in rounds) < wanted and len(rounds) < most and names:
            rounds.append(self.run_round(case, names, peers, result.failures))
        result.rounds = len(rounds)
        for found in sorted(rounds, key=noise_of)[:wanted]:
            result.noise = max(result.noise, noise_of(found))
            for name in names:
                result.samples.setdefault(name, []).extend(found[name])
        self.results.cases[case.key] = result
        say("\n" + case_text(result))

    @staticmethod
    def check(case: Case, name: str, peers: Peers) -> None:
        """A result counts only if all values are right. Python programs check by themselves, and null's answers have no
        meaning."""
        if case.readers == C_READERS and name != "null":
            argv, cores, _ = peers.command(name, case)
            run_reader([*argv, "--verify", str(SEED), "--duration", "0.05", "--warmup", "0"], cores)

    def is_quiet(self, found: Round) -> bool:
        return noise_of(found) <= self.options.noise_max / 100

    def run_round(self, case: Case, names: list[str], peers: Peers, failures: dict[str, str]) -> Round:
        """Runs the readers forwards and backwards (ABBA), so that a slow change of the machine affects all equally. A
        reader that fails is excluded."""
        found: Round = {name: [] for name in names}
        for name in [*names, *reversed(names)]:
            if name in failures:
                continue
            try:
                argv, cores, pids = peers.command(name, case)
                found[name].append(measure(argv, cores, pids, self.options.duration, self.options.warmup))
            except TROUBLE as trouble:
                failures[name] = short(trouble)
        names[:] = [name for name in names if name not in failures]
        return {name: found[name] for name in names}

    # ---- Server CPU

    def run_server(self) -> None:
        options = self.options
        argv = ["--bin", str(options.bin), "--data", str(options.data), "--rows", str(options.rows)]
        argv += ["--cases", SERVER_CASES, "--transports", "unix", "--depths", "1", "--connections", "32"]
        argv += ["--pairs", str(options.pairs), "--noise-max", str(options.noise_max), "--no-swap"]
        bench = run_serve.Bench(run_serve.parse(argv), self.folder)
        try:
            bench.run()
        finally:
            bench.stop()
            self.results.server = [combination.result() for combination in bench.done]

    def run(self) -> None:
        parts = self.options.parts
        for table in tables(self.options.rows).values():
            self.attempt(f"table {table.name}", functools.partial(self.run_table, table))
        if "server" in parts and not (self.options.resume and self.results.server):
            self.section("server CPU over a Unix socket, beside Redis and a server that does nothing")
            self.attempt("server", self.run_server)
        if "swap" in parts and not (self.options.resume and self.results.swaps):
            self.section("latency while releases are swapped")
            self.attempt("swap", lambda: run_swaps(self.results.swaps, self.options, self.folder, say))


def short(trouble: BaseException) -> str:
    return ((str(trouble) or type(trouble).__name__).splitlines() or [""])[0][:400]


def noise_of(found: Round) -> float:
    return max((sample.noise for samples in found.values() for sample in samples), default=0.0)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/run.sh fast", description=__doc__.splitlines()[0])
    add = parser.add_argument
    folder = run_serve.folder
    add("--quick", action="store_true", help="small tables, one round of each: some minutes, not to be quoted")
    add("--cases", default=".", help="only cases whose key matches, as '^100x50$', 'python', 'zipf', '128'")
    add("--parts", type=run_serve.words, default=list(PARTS), help=f"of {','.join(PARTS)}; default: all")
    add("--rows", type=int, help="of the table of 50 (default 5000000, quick 300000)")
    add("--pairs", type=int, help="measurements of each reader in each case (default 6, quick 2)")
    add("--duration", type=float, help="seconds of each (default 0.5, quick 0.3)")
    add("--warmup", type=float, help="(default 0.2)")
    add("--noise-max", type=float, default=2.0, help="percent of the machine that others may take (default 2)")
    add("--swaps", type=int, help="(default 5, quick 2)")
    add("--resume", action="store_true", help="leave out what the JSON file of an interrupted run has already")
    add("--json", type=folder, default=ROOT / "build/bench/fast.json", help="all samples; written after each case")
    add("--no-docs", action="store_true", help="do not write docs/benchmarks.md and its charts")
    add("--only-docs", action="store_true", help="write them from the JSON file, measure nothing")
    add("--bin", type=folder, default=ROOT / "build/release/bin", help="folder with the programs")
    add("--data", type=folder, default=ROOT / "build/bench", help="folder for stores and files of peers, kept")
    add("--python", type=folder, metavar="PYTHON", help="with pillion and bench/requirements.txt (run.sh fills it in)")
    add("--feast", type=folder, metavar="PYTHON", help="with feast[redis] (run.sh fills it in)")
    options = parser.parse_args()
    for name, full, quick in (
        ("rows", 5_000_000, 300_000),
        ("pairs", 6, 2),
        ("duration", 0.5, 0.3),
        ("warmup", 0.2, 0.2),
        ("swaps", 5, 2),
    ):
        if getattr(options, name) is None:
            setattr(options, name, quick if options.quick else full)
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"--parts: {', '.join(sorted(unknown))}: not one of {', '.join(PARTS)}")
    return options


def results_for(options: argparse.Namespace) -> Results:
    """New results, or those of the run that is resumed."""
    kept = {name: getattr(options, name) for name in ("rows", "pairs", "duration", "quick", "swaps")}
    if options.only_docs or options.resume:
        results = Results.from_json(json.loads(options.json.read_text()))
        if options.resume and results.options != kept:
            sys.exit(f"--resume: {options.json} is of a run with other options: {results.options}")
        return results
    return Results(machine_rows(options.python), kept)


def main() -> None:
    options = parse()
    options.data.mkdir(parents=True, exist_ok=True)
    results = results_for(options)
    if not options.only_docs:
        for name, value in results.machine.items():
            say(f"  {name}: {value}")
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that SIGTERM stops the servers, too
        try:
            with tempfile.TemporaryDirectory(prefix="pil") as folder:
                Fast(options, Path(folder), results).run()
        except KeyboardInterrupt:
            sys.exit(f"\ninterrupted; what is done is in {options.json}, --resume goes on from there")
    say("\n" + text_table(goal_rows(results), GOAL_COLUMNS))
    for part, why in results.failures.items():
        say(f"  failed: {part}: {why}")
    if not options.no_docs:
        fast_docs.write(results, ROOT)
        say(f"\nwritten: {fast_docs.PAGE}, {fast_docs.IMAGES}/benchmarks-*.svg; samples: {options.json}")
    sys.exit(1 if results.failures else 0)


if __name__ == "__main__":
    main()
