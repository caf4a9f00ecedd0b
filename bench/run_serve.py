#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Pillion beside Redis, Feast's Python server and a server that does nothing: the same requests on the same data.

Goal: ratios that hold on a shared machine. Method: bench/README.md. Usage: bash bench/run.sh serve [option...].
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Dict, Iterator, List, Sequence

sys.path.insert(0, str(Path(__file__).resolve().parent))
from serve_measure import Loader, Ratio, Sample, machine, ratio  # noqa: E402
from serve_servers import (
    HASH_PREFIX,
    PACKED_PREFIX,
    SEED,
    SERVICE,
    VIEW,
    Feast,
    Null,
    Pilliond,
    Redis,
    Server,  # noqa: E402
    make_store,
)
from serve_swap import run_swap  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
FEAST_ROWS = 1000
FEAST_DURATION_S = 3.0


@dataclass(frozen=True)
class Case:
    """A kind of request. Redis keeps hashes and packed rows under different prefixes; the bytes are the same."""

    name: str
    flags: tuple[str, ...]
    is_feast: bool = False
    redis_prefix: str = HASH_PREFIX
    redis_flags: tuple[str, ...] = ()  # another command for the same values; then answers differ in form


def cases(features: int) -> list[Case]:
    wide, few = ("--features", str(features)), ("--features", str(min(10, features)))
    feast = ("--command", "feast", "--view", VIEW, *wide)
    return [
        Case(f"HMGET {few[1]}", ("--command", "hmget", *few)),
        Case(f"HMGET {features}", ("--command", "hmget", *wide)),
        Case(f"GET packed {features}", ("--command", "get", *wide), redis_prefix=PACKED_PREFIX),
        Case(
            f"MGET 100 packed {features}", ("--command", "mget", "--entities", "100", *wide), redis_prefix=PACKED_PREFIX
        ),
        Case(
            f"VECTOR 1 x {features}",
            ("--command", "vector", "--service", SERVICE, *wide),
            redis_prefix=PACKED_PREFIX,
            redis_flags=("--command", "get", *wide),
        ),
        Case(
            f"VECTOR 100 x {features}",
            ("--command", "vector", "--service", SERVICE, "--entities", "100", *wide),
            redis_prefix=PACKED_PREFIX,
            redis_flags=("--command", "mget", "--entities", "100", *wide),
        ),
        Case(f"Feast 1 x {features}", (*feast, "--entities", "1"), is_feast=True),
        Case(f"Feast 100 x {features}", (*feast, "--entities", "100"), is_feast=True),
    ]


@dataclass
class Combination:
    case: Case
    engine: str
    kind: str  # unix, tcp
    connections: int
    depth: int
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    rounds: int = 0  # measured; the quietest ones count
    noise: float = 0.0  # of the rounds that count, the worst

    @property
    def title(self) -> str:
        return f"{self.case.name:<18} {self.kind:<4} c={self.connections:<2} depth={self.depth:<2} {self.engine:<8}"

    def medians(self, name: str, what: str) -> float | None:
        values = [getattr(sample, what) for sample in self.samples.get(name, [])]
        return statistics.median(values) if values and None not in values else None

    def ratio(self, other: str, what: str = "cpu_us") -> Ratio | None:
        if other not in self.samples or not self.samples[other]:
            return None
        return ratio(
            [getattr(s, what) for s in self.samples["pillion"]], [getattr(s, what) for s in self.samples[other]]
        )

    def result(self) -> dict:
        return {
            "case": self.case.name,
            "engine": self.engine,
            "transport": self.kind,
            "connections": self.connections,
            "depth": self.depth,
            "rounds": self.rounds,
            "noise": self.noise,
            "samples": {name: [asdict(sample) for sample in samples] for name, samples in self.samples.items()},
            "cpu_ratio": {
                name: asdict(found)
                for name in self.samples
                if name != "pillion" and (found := self.ratio(name)) is not None
            },
        }


Round = Dict[str, List[Sample]]  # by server


def noise_of(found: Round) -> float:
    return max(sample.noise for samples in found.values() for sample in samples)


class Bench:
    def __init__(self, options: argparse.Namespace, folder: Path):
        self.options = options
        self.folder = folder
        cores = sorted(os.sched_getaffinity(0))
        self.server_cores, load_cores = ({cores[0]}, set(cores[1:])) if len(cores) > 1 else (set(cores), set(cores))
        self.loader = Loader(options.bin, load_cores, folder)
        self.store = options.data / f"store-{options.rows}-{options.features}"
        self.redis: Redis | None = None
        self.feast: Feast | None = None
        self.done: list[Combination] = []

    # ---- The run

    def prepare(self) -> None:
        options = self.options
        if not self.store.exists():
            say(f"data: {options.rows:,} rows x {options.features} float32, seed {SEED}")
            make_store(options.bin, self.store, options.rows, options.features)
        if any(not case.is_feast for case in self.chosen_cases()) and not options.no_redis:
            self.redis = Redis(self.folder, self.server_cores)
            has_hashes = any(case.redis_prefix == HASH_PREFIX for case in self.chosen_cases())
            say(f"redis-server: filling it with {'hashes and ' if has_hashes else ''}packed rows")
            self.redis.fill(options.bin, options.rows, options.features, has_hashes)
        if options.feast is not None and any(case.is_feast for case in self.chosen_cases()):
            say(f"Feast's Python server: {FEAST_ROWS:,} rows")
            self.feast = Feast(options.feast, self.folder, FEAST_ROWS, options.features, self.server_cores)

    def chosen_cases(self) -> list[Case]:
        pattern = re.compile(self.options.cases, re.IGNORECASE)
        return [case for case in cases(self.options.features) if pattern.search(case.name)]

    def combinations(self, engine: str) -> Iterator[Combination]:
        for case in self.chosen_cases():
            for kind in self.options.transports:
                for connections in self.options.connections:
                    for depth in self.options.depths:
                        if not case.is_feast or depth == 1:
                            yield Combination(case, engine, kind, connections, depth)

    # ---- Requests

    def flags(self, combination: Combination, server: Server) -> list[str]:
        """Flags for pillion-load, without the duration."""
        case, rows = combination.case, self.options.rows
        kind = f"feast-{combination.kind}" if case.is_feast and not isinstance(server, Null) else combination.kind
        prefix = case.redis_prefix if isinstance(server, Redis) else HASH_PREFIX
        keys = FEAST_ROWS if isinstance(server, Feast) else rows
        flags = case.redis_flags if case.redis_flags and isinstance(server, Redis) else case.flags
        return ["--address", server.addresses[kind], *flags, "--key-prefix", prefix, "--keys", str(keys)]

    def check_same_work(self, combination: Combination, servers: Sequence[Server]) -> Path:
        """Checks that all values are right and that the first answer is the same from all servers; returns the file
        with Pillion's answer."""
        path = self.folder / "answer"
        answers = {}
        for server in servers:
            flags = self.flags(combination, server)
            self.loader.run([*flags, "--verify", str(SEED), "--requests", "50", "--warmup", "0"])
            if combination.case.is_feast:
                flags += ["--keys", str(FEAST_ROWS)]
            answers[server.name] = self.loader.capture(flags, path)
        if combination.case.is_feast:
            texts = {name: columns_of(answer) for name, answer in answers.items()}
        else:
            texts = {name: answer.decode("latin-1") for name, answer in answers.items()}
        if not combination.case.redis_flags and any(text != texts["pillion"] for text in texts.values()):
            sys.exit(f"{combination.title}: the servers answer different things: not the same work")
        path.write_bytes(answers["pillion"])
        return path

    def measure(self, combination: Combination, server: Server) -> Sample:
        duration, warmup = self.options.duration, self.options.warmup
        if isinstance(server, Feast):
            duration, warmup = max(duration, FEAST_DURATION_S), max(warmup, 1.0)
        return self.loader.measure(
            [
                *self.flags(combination, server),
                "--connections",
                str(combination.connections),
                "--depth",
                str(combination.depth),
                "--duration",
                str(duration),
                "--warmup",
                str(warmup),
                "--spin-us",
                str(self.options.load_spin_us),
            ],
            server.pids(),
        )

    def run_round(self, combination: Combination, servers: Sequence[Server]) -> Round:
        """Runs the servers forwards and backwards (ABBA), so that a slow change of the machine affects all equally."""
        found: Round = {server.name: [] for server in servers}
        for server in [*servers, *reversed(servers)]:
            found[server.name].append(self.measure(combination, server))
        return found

    def run_rounds(self, combination: Combination, servers: Sequence[Server]) -> None:
        """Measures until there are enough quiet rounds, but at most twice the number needed; then the quietest ones
        count."""
        wanted = max(1, self.options.pairs // 2)
        rounds: list[Round] = []
        while (
            sum(noise_of(found) <= self.options.noise_max / 100 for found in rounds) < wanted
            and len(rounds) < 2 * wanted
        ):
            rounds.append(self.run_round(combination, servers))
        combination.rounds = len(rounds)
        for found in sorted(rounds, key=noise_of)[:wanted]:
            combination.noise = max(combination.noise, noise_of(found))
            for name, samples in found.items():
                combination.samples.setdefault(name, []).extend(samples)

    def run_combination(self, combination: Combination, pillion: Pilliond) -> None:
        servers: list[Server] = [pillion]
        if not combination.case.is_feast and self.redis is not None:
            servers.append(self.redis)
        if combination.case.is_feast and self.feast is not None and combination.kind == "tcp":
            servers.append(self.feast)
        answer = self.check_same_work(combination, servers)
        null = Null(
            self.options.bin,
            self.folder,
            combination.kind,
            "http" if combination.case.is_feast else "resp",
            answer,
            combination.engine,
            self.options.spin_us,
            self.server_cores,
        )
        try:
            self.run_rounds(combination, [*servers, null])
        finally:
            null.stop()
        self.done.append(combination)
        say(text_of(combination, self.options.noise_max / 100))

    def run(self) -> None:
        self.prepare()
        for engine in self.options.engines:
            pillion = Pilliond(
                self.options.bin, self.folder, self.store, engine, self.options.spin_us, self.server_cores
            )
            try:
                for combination in self.combinations(engine):
                    self.run_combination(combination, pillion)
            finally:
                pillion.stop()

    def stop(self) -> None:
        for server in (self.redis, self.feast):
            if server is not None:
                server.stop()


def columns_of(answer: bytes) -> dict:
    """The values of a Feast answer by feature, because their order is not part of the contract."""
    body = json.loads(answer.partition(b"\r\n\r\n")[2])
    return {name: column["values"] for name, column in zip(body["metadata"]["feature_names"], body["results"])}


def say(text: str) -> None:
    print(text, flush=True)


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}" if value < 1000 else f"{value:,.0f}"


def text_of(combination: Combination, noise_max: float) -> str:
    """Two lines: the cost on the server; the view of the client."""
    names = list(combination.samples)
    cpu = "  ".join(f"{name} {number(combination.medians(name, 'cpu_us'))}" for name in names)
    ratios = "  ".join(f"/{name} {combination.ratio(name)}" for name in names if name != "pillion")
    loud = f"  (noisy: others took up to {combination.noise:.0%})" if combination.noise > noise_max else ""
    rates = "  ".join(f"{name} {number(combination.medians(name, 'rate'))}" for name in names)
    tails = "  ".join(
        f"{name} {number(combination.medians(name, 'p50_us'))} / " f"{number(combination.medians(name, 'p99_us'))}"
        for name in names
    )
    text = f"{combination.title} CPU µs: {cpu}   {ratios}{loud}\n    requests/s: {rates}   p50 / p99 µs: {tails}"
    if combination.medians("pillion", "instructions") is not None:
        text += "   instructions: " + "  ".join(
            f"{name} {number(combination.medians(name, 'instructions'))}" for name in names
        )
    return text


def head(bench: Bench) -> str:
    options = bench.options
    lines = [
        f"machine: {machine()}",
        f"data: {options.rows:,} rows x {options.features} float32, int64 key; keys uniform",
        f"servers: one worker on core {sorted(bench.server_cores)}, spin {options.spin_us} µs; load: other cores, "
        f"closed loop, spin {options.load_spin_us} µs, {options.duration:g} s each",
        "figures: µs of server CPU per request, medians; ratios pillion / other of CPU per request, median of the "
        "pairs [95 % bootstrap interval]",
        "instructions per request: " + (bench.loader.perf.reason or "by perf stat"),
        f"noise: rounds in which others took over {options.noise_max:g} % of the machine are repeated; where none "
        "are quiet, the quietest count and are marked",
    ]
    return "\n".join(lines)


def words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def numbers(text: str) -> list[int]:
    return [int(word) for word in words(text)]


def folder(text: str) -> Path:
    return Path(text).absolute()


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/run.sh serve", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--bin", type=folder, default=ROOT / "build/release/bin", help="folder with the programs")
    add("--data", type=folder, default=ROOT / "build/bench", help="folder for stores, kept and reused")
    add("--rows", type=int, default=1_000_000)
    add("--features", type=int, default=50)
    add("--cases", default=".", help="only cases whose name matches: 'HMGET 50', 'MGET', 'Feast'")
    add("--engines", type=words, default=["io_uring", "epoll"])
    add("--transports", type=words, default=["unix", "tcp"])
    add("--connections", type=numbers, default=[1, 32])
    add("--depths", type=numbers, default=[1, 32])
    add("--pairs", type=int, default=6, help="measurements of each server in each combination (default 6, ABBA)")
    add("--duration", type=float, default=0.5, help="seconds of each (default 0.5)")
    add("--warmup", type=float, default=0.2)
    add("--spin-us", type=int, default=0, help="of Pillion's and the null server's workers (default 0)")
    add("--load-spin-us", type=int, default=100, help="of the load generator (default 100)")
    add("--noise-max", type=float, default=2.0, help="percent of the machine that others may take (default 2)")
    add("--no-redis", action="store_true")
    add("--feast", type=folder, metavar="VENV_BIN", help="Feast's server, too, from this venv (run.sh fills it in)")
    add("--no-swap", action="store_true", help="leave out latency during swaps")
    add("--only-swap", action="store_true")
    add("--swap-rows", type=int, default=1_000_000)
    add("--swap-rate", type=float, default=5000)
    add("--json", type=Path, help="write all samples to this file")
    return parser.parse_args(argv)


def main() -> None:
    options = parse()
    options.data.mkdir(parents=True, exist_ok=True)
    results: dict = {"machine": machine(), "combinations": [], "swaps": []}
    with tempfile.TemporaryDirectory(prefix="pil") as folder:
        bench = Bench(options, Path(folder))
        say(head(bench) + "\n")
        try:
            if not options.only_swap:
                bench.run()
        finally:
            bench.stop()
        results["combinations"] = [combination.result() for combination in bench.done]
        if not options.no_swap:
            for engine in options.engines:
                found = run_swap(options, Path(folder), engine)
                results["swaps"].append(found)
                say(found["line"])
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
