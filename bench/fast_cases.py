# SPDX-License-Identifier: Apache-2.0
"""The measurements of run_fast.py: tables, cases, readers, and the samples of a case."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, field
from typing import Dict, List

from fast_measure import Reading
from serve_measure import Ratio, ratio

ZIPF = 0.99
KEY_BYTES = 8


@dataclass(frozen=True)
class Table:
    """Features of float32, or a single vector of another type."""

    name: str
    rows: int
    values: int  # in a row
    type: str
    value_bytes: int

    @property
    def features(self) -> tuple[int, str]:
        """Number and type of the features, as make_release expects them."""
        return (self.values, self.type) if self.type == "float32" else (1, f"vector<{self.type},{self.values}>")

    @property
    def payload(self) -> int:
        """Bytes of all rows: the values and an int64 key for each."""
        return self.rows * (self.values * self.value_bytes + KEY_BYTES)


def tables(rows: int) -> dict[str, Table]:
    return {
        "50": Table("50", rows, 50, "float32", 4),
        "150": Table("150", rows // 2, 150, "float32", 4),
        "float16": Table("float16", rows, 128, "float16", 2),
        "int8": Table("int8", rows, 128, "int8", 1),
    }


# The name of a reader in reports, and its kind: Pillion, a peer that one would use instead, or a bound.
READERS = {
    "array": ("array (limit)", "limit"),
    "mapped": ("Pillion, mapped", "ours"),
    "lmdb": ("LMDB", "peer"),
    "rocksdb": ("RocksDB", "peer"),
    "null": ("null server (limit)", "limit"),
    "socket": ("Pillion, socket", "ours"),
    "redis": ("Redis", "peer"),
    "memcached": ("memcached", "peer"),
    "pillion": ("pillion, mapped", "ours"),
    "pillion-socket": ("pillion, socket", "ours"),
    "pillion-online": ("pillion, as Feast", "ours"),
    "redis-py": ("redis-py + hiredis", "peer"),
    "py-lmdb": ("lmdb", "peer"),
    "pymemcache": ("pymemcache", "peer"),
    "feast": ("Feast SDK on Redis", "peer"),
}
C_READERS = ("mapped", "array", "lmdb", "rocksdb", "socket", "redis", "memcached", "null")
PYTHON_READERS = ("pillion", "py-lmdb", "pillion-socket", "redis-py", "pymemcache")
FEAST_READERS = ("pillion-online", "feast")


@dataclass(frozen=True)
class Case:
    """A call of `batch` vectors of `width` values. Ratios are relative to the first reader."""

    key: str
    table: str
    batch: int
    width: int
    readers: tuple[str, ...] = C_READERS
    zipf: float = 0.0
    processes: int = 1

    @property
    def title(self) -> str:
        what = {"float16": "float16 to float32", "int8": "int8 to float32"}.get(self.table, "float32")
        of_more = f" of {self.table}" if self.table == "150" else ""
        language = "C" if self.readers == C_READERS else "Python"
        keys = f"Zipf {self.zipf:g}" if self.zipf else "uniform"
        processes = f", {self.processes} processes" if self.processes > 1 else ""
        return f"{language}: {self.batch:,} x {self.width}{of_more} {what}, {keys}{processes}"


def cases() -> list[Case]:
    found = [Case(f"{batch}x50", "50", batch, 50) for batch in (1, 100, 1000)]
    found += [Case(f"{batch}x50 zipf", "50", batch, 50, zipf=ZIPF) for batch in (1, 100, 1000)]
    found += [Case(f"{batch}x50 p{n}", "50", batch, 50, processes=n) for batch in (1, 100) for n in (2, 4)]
    found += [Case(f"python {batch}x50", "50", batch, 50, PYTHON_READERS) for batch in (1, 100, 1000)]
    found += [Case(f"feast {batch}x50", "50", batch, 50, FEAST_READERS) for batch in (1, 100)]
    found.append(Case("100x10 of 150", "150", 100, 10))
    found += [Case(f"100x128 {name}", name, 100, 128) for name in ("float16", "int8")]
    return found


Round = Dict[str, List[Reading]]  # by reader


@dataclass
class Result:
    """The result of a case. Readers' samples are paired: the n-th of each were taken in the same round."""

    case: Case
    samples: Round = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    rounds: int = 0  # measured; the quietest ones count
    noise: float = 0.0  # of the rounds that count, the worst

    def median(self, reader: str, what: str) -> float | None:
        values = [getattr(sample, what) for sample in self.samples.get(reader, [])]
        return statistics.median(values) if values and None not in values else None

    def per_core(self, reader: str) -> float | None:
        """Vectors per second and core, by the CPU time of client and server together."""
        cpu_us = self.median(reader, "cpu_us")
        return self.case.batch / cpu_us * 1e6 if cpu_us else None

    def ratio(self, reader: str, other: str, what: str = "p50_us") -> Ratio | None:
        ours, theirs = self.samples.get(reader), self.samples.get(other)
        if not ours or not theirs:
            return None
        return ratio([getattr(s, what) for s in ours], [getattr(s, what) for s in theirs])

    def to_json(self) -> dict:
        return {
            "case": asdict(self.case),
            "title": self.case.title,
            "rounds": self.rounds,
            "noise": self.noise,
            "failures": self.failures,
            "samples": {name: [asdict(sample) for sample in samples] for name, samples in self.samples.items()},
        }

    @staticmethod
    def from_json(found: dict) -> "Result":
        case = Case(**{**found["case"], "readers": tuple(found["case"]["readers"])})
        samples = {name: [Reading(**sample) for sample in samples] for name, samples in found["samples"].items()}
        return Result(case, samples, found["failures"], found["rounds"], found["noise"])
