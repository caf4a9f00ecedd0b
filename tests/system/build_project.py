# SPDX-License-Identifier: Apache-2.0
"""Projects that tests of `pillion build` build: their data, the builder run as a user runs it (a process of its own),
and what DuckDB says that the release must hold, compared through the independent reader in tests/python."""
from __future__ import annotations

import datetime
import json
import os
import random
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterator, Optional

import duckdb
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))
import shard_reader  # noqa: E402

BUILDER = (sys.executable, "-m", "pillion.build")
NOBODY = 65534
# Imports come first: the checkout may be in a folder that is closed to others.
AS_NOBODY = (sys.executable, "-c", f"import os, sys; from pillion.build.cli import main; os.setgroups([]); "
             f"os.setgid({NOBODY}); os.setuid({NOBODY}); sys.exit(main())")
UTC = datetime.timezone.utc
START = datetime.datetime(2025, 1, 1, tzinfo=UTC)
FUTURE = datetime.datetime.now(UTC) + datetime.timedelta(minutes=30)

FEATURES = {
    "conv_rate": "float32", "score": "float64", "trips": "int32", "total": "int64", "active": "bool", "city": "string",
    "token": "bytes", "seen": "unix_timestamp", "cars": "list<string>", "hours": "list<int32>",
    "taste": "vector<float32,4>", "small": "vector<float16,2>",
}
ARROW = {
    "driver_id": pa.int64(), "event_timestamp": pa.timestamp("us", "UTC"), "created": pa.timestamp("us", "UTC"),
    "conv_rate": pa.float32(), "score": pa.float64(), "trips": pa.int32(), "total": pa.int64(), "active": pa.bool_(),
    "city": pa.string(), "token": pa.binary(), "seen": pa.timestamp("us", "UTC"), "cars": pa.list_(pa.string()),
    "hours": pa.list_(pa.int32()), "taste": pa.list_(pa.float32(), 4), "small": pa.list_(pa.float32()),
}
PARQUET = '{type: parquet, path: "data/*.parquet", timestamp_field: event_timestamp, created_timestamp_column: created}'


# ---- Data and project

def rows(count: int, keys: int, seed: int = 1) -> pa.Table:
    """Rows of all types with nulls, late ones, copies and corrections."""
    rng = random.Random(seed)

    def maybe(value: Any) -> Any:
        return None if rng.random() < 0.1 else value

    made = []
    for number in range(count):
        event = START + datetime.timedelta(seconds=rng.randrange(count // 4 + 1))
        made.append({
            "driver_id": rng.randrange(keys), "event_timestamp": event,
            "created": event + datetime.timedelta(microseconds=number), "conv_rate": maybe(rng.randrange(1000) / 1000),
            "score": maybe(rng.random()), "trips": maybe(rng.randrange(-5, 100)), "total": maybe(rng.getrandbits(62)),
            "active": maybe(rng.random() < 0.5), "city": maybe(rng.choice(["", "köln", "a city with a long name"])),
            "token": maybe(rng.randbytes(rng.randrange(20))), "seen": maybe(event),
            "cars": maybe([rng.choice(["van", "", "a very long car"]) for _ in range(rng.randrange(4))]),
            "hours": maybe([rng.randrange(24) for _ in range(rng.randrange(5))]),
            "taste": maybe([rng.randrange(256) / 256 for _ in range(4)]),
            "small": maybe([rng.randrange(16) / 4, -1.5])})
    made += rng.sample(made, count // 20)
    return pa.Table.from_pylist(made, schema=pa.schema(list(ARROW.items())))


@dataclass
class Done:
    code: int
    out: str
    err: str

    @property
    def result(self) -> dict[str, Any]:
        """Of --json."""
        return json.loads(self.out.splitlines()[-1])


@dataclass
class Project:
    """A folder with a project file, its data and a store."""
    folder: Path
    name: str = "p"
    features: dict[str, str] = field(default_factory=lambda: dict(FEATURES))
    source: str = PARQUET
    keys: dict[str, str] = field(default_factory=lambda: {"driver_id": "int64"})

    @property
    def data(self) -> Path:
        path = self.folder / "data"
        path.mkdir(exist_ok=True)
        return path

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def write(self) -> None:
        lines = [f"project: {self.name}", "entities:"]
        lines += [f"  - {{name: of_{key}, join_key: {key}, type: {kind}}}" for key, kind in self.keys.items()]
        entities = ", ".join(f"of_{key}" for key in self.keys)
        lines += ["feature_views:", "  - name: stats", f"    entities: [{entities}]", "    ttl: 7d",
                  f"    source: {self.source}", "    features:"]
        lines += [f'      - {{name: {name}, type: "{kind}"}}' for name, kind in self.features.items()]
        (self.folder / "p.yaml").write_text("\n".join(lines) + "\n")

    def command(self, *options: str) -> list[str]:
        return [*BUILDER, str(self.folder / "p.yaml"), "--store", f"dir:{self.store}", *options]

    def build(self, *options: str, code: Optional[int] = 0, **environment: str) -> Done:
        self.write()
        return self.run(*options, code=code, **environment)

    def run(self, *options: str, code: Optional[int] = None, **environment: str) -> Done:
        """Builds the project file that is there."""
        done = subprocess.run(self.command(*options), capture_output=True, text=True, timeout=300, check=False,
                              env={**os.environ, **environment})
        assert code is None or done.returncode == code, done.stdout + done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def manifests(self) -> list[Path]:
        return sorted((self.store / "views").glob("*/*/releases/*.json"))

    def manifest(self, release: str) -> dict[str, Any]:
        return json.loads((self.store / "views" / self.name / "stats" / "releases" / f"{release}.json").read_text())

    def shards(self, release: str) -> Iterator[shard_reader.Shard]:
        for shard in self.manifest(release)["shards"]:
            yield shard_reader.Shard((self.store / "shards" / shard["id"][:2] / f"{shard['id']}.shard").read_bytes())

    def content(self, release: str) -> dict[bytes, tuple[int, dict[str, Any]]]:
        """Canonical key → event time and values, as the independent reader finds them."""
        found = {}
        for shard in self.shards(release):
            for row in shard.rows():
                found[row.key] = (row.event_ts_us, shard.decode(row))
        return found


def us(moment: datetime.datetime) -> int:
    return (moment - datetime.datetime(1970, 1, 1, tzinfo=UTC)) // datetime.timedelta(microseconds=1)


def truth(table: pa.Table, where: str = "true") -> dict[bytes, tuple[int, dict[str, Any]]]:
    """The latest row of each driver, by DuckDB."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.register("history", table)
    latest = connection.sql(f"SELECT * FROM history WHERE {where} QUALIFY row_number() OVER (PARTITION BY driver_id "
                            "ORDER BY event_timestamp DESC, created DESC) = 1")
    found = {}
    for row in latest.to_arrow_table().to_pylist():
        values = {name: row[name] for name in FEATURES}
        values["seen"] = us(values["seen"]) if values["seen"] is not None else None
        found[row["driver_id"].to_bytes(8, "little", signed=True)] = (us(row["event_timestamp"]), values)
    return found


def expect(project: Project, release: str, table: pa.Table, where: str = "true") -> None:
    wanted, found = truth(table, where), project.content(release)
    assert found.keys() == wanted.keys()
    for key, answer in wanted.items():
        assert found[key] == answer


def release_of(done: Done) -> str:
    view, _, release = done.out.splitlines()[-1].partition("@")
    assert view == "p/stats" and len(release) == 16
    return release
