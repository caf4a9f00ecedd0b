# SPDX-License-Identifier: Apache-2.0
"""Goal: `pillion build` makes exactly the release that the data says, names what is wrong with bad data, and leaves
nothing behind when it fails or is killed.

Method: small files written with pyarrow, the builder run as a user runs it (a process of its own), the shards read back
by the independent reader in tests/python and compared with what DuckDB answers from the same files.
"""
from __future__ import annotations

import datetime
import fcntl
import hashlib
import io
import json
import os
import pty
import random
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any, Callable, Sequence

import duckdb
import harness
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from build_project import (AS_NOBODY, BUILDER, FEATURES, FUTURE, PARQUET, START, Project, expect, release_of, rows,
                           truth, us)

# ---- The release is what the data says

def test_parquet_agrees_with_duckdb(project: Project) -> None:
    table = rows(6000, 1500)
    for number in range(4):
        pq.write_table(table.slice(number * 1600, 1600), project.data / f"{number}.parquet", row_group_size=500)
    release = release_of(project.build())
    expect(project, release, table)
    manifest = project.manifest(release)
    counts = manifest["counts"]
    assert counts["rows_in"] == table.num_rows
    assert counts["rows_out"] == manifest["row_count"] == len(truth(table))
    assert counts["rows_in"] == sum(counts[name] for name in (
        "rows_out", "duplicates", "conflicts", "late", "after_as_of", "null_keys", "bad_rows"))
    sources = manifest["sources"]
    assert [source["path"] for source in sources] == [f"data/{number}.parquet" for number in range(4)]
    for source in sources:
        data = (project.folder / source["path"]).read_bytes()
        assert source["bytes"] == len(data) and source["sha256"] == hashlib.sha256(data).hexdigest()
    assert sum(source["rows"] for source in sources) == table.num_rows
    assert manifest["builder"]["name"] == "pillion-build" and manifest["as_of_us"] is None


def test_profile_agrees_with_duckdb(project: Project) -> None:
    table = rows(4000, 1000)
    pq.write_table(table, project.data / "a.parquet")
    features = project.manifest(release_of(project.build()))["profile"]["features"]
    latest = [values for _, values in truth(table).values()]
    for name in ("conv_rate", "score", "trips", "total"):
        numbers = [values[name] for values in latest if values[name] is not None]
        mean = sum(numbers) / len(numbers)
        profile = features[name]
        assert (profile["count"], profile["nulls"]) == (len(numbers), len(latest) - len(numbers))
        assert (profile["min"], profile["max"]) == (min(numbers), max(numbers))
        assert profile["mean"] == pytest.approx(mean, rel=1e-12)
        variance = sum((number - mean) ** 2 for number in numbers) / len(numbers)
        assert profile["stddev"] == pytest.approx(variance ** 0.5, rel=1e-9)
        assert profile["distinct"] == pytest.approx(len(set(numbers)), rel=0.07)
        assert sum(profile["histogram"]["counts"]) == len(numbers)
    cities = [values["city"] for values in latest]
    assert {top["value"]: top["count"] for top in features["city"]["top"]} == {
        city: cities.count(city) for city in set(cities) - {None}}


def test_order_of_files_decides_nothing(project: Project) -> None:
    table = rows(3000, 700)
    halves = [table.slice(0, 1000), table.slice(1000)]
    for number, half in enumerate(halves):
        pq.write_table(half, project.data / f"{number}.parquet")
    first = release_of(project.build())
    for number, half in enumerate(reversed(halves)):
        pq.write_table(half, project.data / f"{number}.parquet", row_group_size=77)
    assert release_of(project.build()) == first


def test_a_folder_a_file_and_a_glob_are_the_same(project: Project) -> None:
    table = rows(500, 100)
    (project.data / "deep").mkdir()
    pq.write_table(table, project.data / "deep" / "a.parquet")
    (project.data / "_SUCCESS").write_text("")
    for hidden in ("_temporary", ".hidden"):
        (project.data / hidden).mkdir()
        (project.data / hidden / "b.parquet").write_text("no Parquet at all")
    releases = set()
    for path in ("data", "data/deep/a.parquet", "data/**/*.parquet"):
        project.source = PARQUET.replace("data/*.parquet", path)
        releases.add(release_of(project.build()))
    assert len(releases) == 1


def test_as_of_is_inclusive(project: Project) -> None:
    table = rows(2000, 300)
    pq.write_table(table, project.data / "a.parquet")
    release = release_of(project.build("--as-of", "2025-01-01T00:03:00Z"))
    expect(project, release, table, "event_timestamp <= TIMESTAMPTZ '2025-01-01 00:03:00Z'")
    manifest = project.manifest(release)
    assert manifest["as_of_us"] == us(START + datetime.timedelta(minutes=3))
    assert manifest["counts"]["after_as_of"] > 0


CSV_TYPES = {name: kind for name, kind in FEATURES.items() if name not in ("token",)}


def test_csv_agrees_with_duckdb(project: Project) -> None:
    table = rows(2000, 400)
    project.features = CSV_TYPES
    project.source = PARQUET.replace("parquet", "csv")
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.register("history", table)
    lists = ", ".join(f"to_json({name})::VARCHAR AS {name}" for name in ("cars", "hours", "taste", "small"))
    connection.execute(f"COPY (SELECT * EXCLUDE token REPLACE ({lists}) FROM history) TO "
                       f"'{project.data / 'a.csv'}' (HEADER, FORCE_QUOTE (city, cars))")
    # A quoted empty text is a text, an unquoted one is null: DuckDB quotes what is there only.
    release = release_of(project.build())
    found = project.content(release)
    for key, (event, values) in truth(table).items():
        del values["token"]
        assert found[key] == (event, values)


def test_sql_agrees_with_duckdb(project: Project) -> None:
    table = rows(1000, 200)
    pq.write_table(table, project.data / "a.parquet")
    project.source = ('{type: sql, setup: "CREATE VIEW d AS FROM \'data/a.parquet\'", query: "SELECT * FROM d", '
                      "timestamp_field: event_timestamp, created_timestamp_column: created}")
    release = release_of(project.build())
    expect(project, release, table)
    sources = project.manifest(release)["sources"]
    assert sources == [{"query_sha256": hashlib.sha256(b"SELECT * FROM d").hexdigest(), "rows": table.num_rows}]


def test_composite_keys_mapping_and_naive_times(project: Project) -> None:
    project.keys = {"city": "string", "driver_id": "int32"}
    project.features = {"trips": "int32"}
    project.source = ("{type: parquet, path: data, timestamp_field: at, "
                      "field_mapping: {n: trips, driver: driver_id}}")
    at = pa.array([datetime.datetime(2025, 1, 1), datetime.datetime(2025, 1, 2)], pa.timestamp("ns"))
    pq.write_table(pa.table({"driver": pa.array([7, 8], pa.int64()), "city": ["a city with a long name", ""],
                             "n": pa.array([1, 2], pa.int8()), "at": at}), project.data / "a.parquet")
    release = release_of(project.build())
    shard = next(project.shards(release))
    row = shard.get(shard.key(["a city with a long name", 7]))
    assert row is not None and shard.decode(row) == {"trips": 1} and row.event_ts_us == us(START)
    assert shard.get(shard.key(["", 8])) is not None


def test_two_shards_and_a_cap_that_makes_it_spill(project: Project) -> None:
    count = 1_300_000
    project.features = {"x": "float32"}
    project.source = "{type: parquet, path: data, timestamp_field: ts}"
    duckdb.connect().execute(
        f"COPY (SELECT i AS driver_id, (i % 1000)::FLOAT AS x, to_timestamp(1700000000 + i % 1000) AS ts "
        f"FROM range({count}) r(i)) TO '{project.data / 'a.parquet'}'")
    roomy = project.build("--json", "--memory-limit", "2G").result
    tight = project.build("--json", "--memory-limit", "400M", "--tmp", str(project.folder))
    assert tight.result["release"] == roomy["release"] and tight.result["shards"] == 2
    assert roomy["bytes_spilled"] == 0 and tight.result["bytes_spilled"] > 0
    peak, limit = [int(word) for word in tight.err.splitlines()[-1].replace(",", "").split() if word.isdigit()]
    assert peak <= limit == 400
    for shard in project.manifest(roomy["release"])["shards"]:
        data = (project.store / "shards" / shard["id"][:2] / f"{shard['id']}.shard").read_bytes()
        assert abs(shard["row_count"] - count / 2) < 5000 and len(data) == shard["bytes"]


# ---- Again, and dry

def test_a_second_build_puts_nothing(project: Project) -> None:
    pq.write_table(rows(500, 100), project.data / "a.parquet")
    first = project.build("--json").result
    files = sorted((path, path.stat().st_ino) for path in project.store.rglob("*.*"))
    second = project.build("--json").result
    assert (first["shards_uploaded"], first["existed"]) == (1, False)
    assert (second["shards_uploaded"], second["bytes_uploaded"], second["existed"]) == (0, 0, True)
    assert second["release"] == first["release"]
    assert files == sorted((path, path.stat().st_ino) for path in project.store.rglob("*.*"))


def test_a_new_release_names_the_one_that_was_made_before(project: Project) -> None:
    table = rows(500, 100)
    releases: list[str] = []
    for part in range(3):
        pq.write_table(table.slice(part * 100, 100), project.data / f"{part}.parquet")
        releases.append(release_of(project.build()))
        assert project.manifest(releases[-1])["previous"] == (releases[-2] if part > 0 else None)
        for path in project.manifests():  # whatever the times of the files say
            os.utime(path, (2**31, 2**31) if path.stem == releases[0] else None)
    assert project.build("--json").result["previous"] == releases[1]  # as its manifest has it
    damaged = next(path for path in project.manifests() if path.stem == releases[2])
    damaged.write_text("{")
    pq.write_table(table.slice(300), project.data / "3.parquet")
    assert project.manifest(release_of(project.build()))["previous"] == releases[1]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be two users")
def test_a_shard_of_another_user_serves_or_is_explained(project: Project) -> None:
    pq.write_table(rows(500, 100), project.data / "a.parquet")
    first = project.build("--json").result
    shard = next((project.store / "shards").rglob("*.shard"))
    os.utime(shard, (1, 1))
    for path in project.manifests():
        path.unlink()  # the shard is an orphan, and old: what a collector removes
    os.chmod(project.folder, 0o755)
    for path in [project.store, *project.store.rglob("*")]:
        os.chmod(path, 0o777 if path.is_dir() else 0o666 if path.name == ".lock" else 0o644)

    def build_as_nobody() -> subprocess.CompletedProcess[str]:
        return subprocess.run([*AS_NOBODY, *project.command("--json")[len(BUILDER):]], capture_output=True, text=True,
                              check=False)

    leases = project.store / "leases"  # a build that cannot lease what it relies on does not rely on it
    os.chmod(leases, 0o755)
    refused = build_as_nobody()
    assert refused.returncode == 3 and "all who write have to be able to write to all of it" in refused.stderr
    assert "/leases: Permission denied" in refused.stderr and project.manifests() == []
    os.chmod(leases, 0o777)
    before = shard.stat()
    done = build_as_nobody()
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["release"] == first["release"]
    assert (shard.stat().st_ino, shard.stat().st_uid) == (before.st_ino, before.st_uid)
    assert list(leases.iterdir()) == []


def test_a_dry_run_puts_nothing(project: Project) -> None:
    pq.write_table(rows(500, 100), project.data / "a.parquet")
    dry = release_of(project.build("--dry-run"))
    assert not project.store.exists()
    assert release_of(project.build()) == dry


# ---- Bad input: one message, exit code 1, nothing published

def changed(table: pa.Table, name: str, array: Any) -> pa.Table:
    index = table.schema.get_field_index(name)
    if array is None:
        return table.remove_column(index)
    return table.set_column(index, name, array)


def at_row(table: pa.Table, name: str, row: int, value: Any, kind: Any = None) -> pa.Table:
    values = table[name].to_pylist()
    values[row] = value
    return changed(table, name, pa.array(values, kind or table.schema.field(name).type))


Change = Callable[[pa.Table], pa.Table]
BAD: dict[str, tuple[Change, Sequence[str]]] = {
    "missing_column": (lambda t: changed(t, "trips", None), ("column trips is missing", "int32", "field_mapping")),
    "missing_timestamp": (lambda t: changed(t, "event_timestamp", None), ("column event_timestamp is missing",)),
    "wrong_type": (lambda t: changed(t, "trips", pa.array(["x"] * t.num_rows)),
                   ("column trips is string where the view has int32", "declare string")),
    "wrong_key_type": (lambda t: changed(t, "driver_id", pa.array([1.5] * t.num_rows)),
                       ("row 1:", "column driver_id holds 1.5 (double), which does not fit int64",
                        "as text and declare string")),
    "number_as_time": (lambda t: changed(t, "event_timestamp", pa.array([1] * t.num_rows)),
                       ("column event_timestamp is int64", "as a timestamp")),
    "fraction": (lambda t: at_row(t, "trips", 123, 1.5, pa.float64()),
                 ("row group 1, row 124:", "trips holds 1.5 (double), which does not fit int32", "declare float64")),
    "overflow": (lambda t: at_row(t, "trips", 99, 2**31, pa.int64()),
                 ("row group 0, row 100:", "column trips holds 2147483648 (int64), which", "declare int64")),
    "beyond_float32": (lambda t: at_row(t, "conv_rate", 5, 1e300, pa.float64()),
                       ("row 6:", "conv_rate holds 1e+300 (double), which", "declare float64")),
    "null_key": (lambda t: at_row(t, "driver_id", 150, None),
                 ("row group 1, row 151:", "column driver_id (int64) is null", "--on-bad-row=skip")),
    "null_timestamp": (lambda t: at_row(t, "event_timestamp", 0, None), ("row 1:", "event_timestamp", "is null")),
    "future": (lambda t: at_row(t, "event_timestamp", 7, FUTURE),
               ("row 8:", "event_timestamp", "in the future", "unit")),
    "null_element": (lambda t: at_row(t, "hours", 3, [1, None]), ("row 4:", "column hours", "null as element 2")),
    "vector_length": (lambda t: at_row(t, "taste", 2, [1.0], pa.list_(pa.float32())),
                      ("row 3:", "column taste", "has 1 elements where vector<float32,4> needs 4")),
    "half_range": (lambda t: at_row(t, "small", 2, [1e6, 1.0]),
                   ("row 3:", "column small holds 1000000.0 (float) as element 1 of vector<float16,2>, which does")),
    "time_overflow": (lambda t: changed(t, "seen", pa.array([2**62] * t.num_rows, pa.timestamp("ms"))),
                      ("row 1:", "column seen", "does not fit unix_timestamp")),
    "no_rows": (lambda t: t.slice(0, 0), ("the source is empty",)),
    "twice": (lambda t: t.append_column("trips", t["trips"]), ("column trips occurs 2 times",)),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named_and_nothing_published(project: Project, name: str) -> None:
    change, says = BAD[name]
    pq.write_table(change(rows(190, 50).slice(0, 190)), project.data / "a.parquet", row_group_size=100)
    done = project.build(code=1)
    message = done.err.strip().splitlines()
    assert len(message) == 1 and message[0].startswith("pillion build: ") and done.out == ""
    assert "data/a.parquet" in message[0] or "data/*.parquet" in message[0]
    for part in says:
        assert part in message[0]
    assert project.manifests() == []


def test_text_that_is_not_utf8_is_named(project: Project) -> None:
    table = rows(20, 10)
    broken = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")])
    cities = pa.chunked_array([broken, table["city"].slice(1).combine_chunks()])
    pq.write_table(changed(table, "city", cities), project.data / "a.parquet", store_schema=False)
    done = project.build(code=1)
    assert "row 1: column city (string) is not UTF-8" in done.err and "declare bytes" in done.err


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not a parquet file at all, by any measure"])
def test_unreadable_files_are_named(project: Project, content: bytes) -> None:
    (project.data / "a.parquet").write_bytes(content)
    done = project.build(code=1)
    assert "data/a.parquet: cannot be read" in done.err and project.manifests() == []


def test_a_damaged_page_is_bad_input(project: Project) -> None:
    path = project.data / "a.parquet"
    pq.write_table(rows(3000, 500), path, compression="zstd")
    data = bytearray(path.read_bytes())
    data[2000:6000] = bytes(4000)
    path.write_bytes(data)
    done = project.build(code=1)
    assert "data/a.parquet: cannot be read" in done.err and project.manifests() == []


def test_no_file_is_bad_input(project: Project) -> None:
    done = project.build(code=1)
    assert "data/*.parquet: no such file" in done.err


def test_sql_errors_keep_duckdbs_words(project: Project) -> None:
    project.source = '{type: sql, query: "SELECT * FROM nowhere", timestamp_field: event_timestamp}'
    done = project.build(code=1)
    assert "query of stats" in done.err and "nowhere" in done.err


def test_skipped_rows_are_counted_and_reported(project: Project) -> None:
    table = rows(300, 50)
    table = at_row(table, "driver_id", 10, None)
    table = at_row(table, "event_timestamp", 20, FUTURE)
    table = at_row(table, "hours", 30, [None])
    table = at_row(table, "trips", 40, 1.5, pa.float64())
    table = at_row(table, "trips", 250, 2.5, pa.float64())
    pq.write_table(table, project.data / "a.parquet", row_group_size=100)
    done = project.build("--on-bad-row=skip", "--json")
    counts = done.result["counts"]
    assert counts["rows_in"] == table.num_rows
    assert (counts["null_keys"], counts["bad_rows"]) == (1, 4)
    assert counts == project.manifest(done.result["release"])["counts"]
    notes = [json.loads(line)["note"] for line in done.err.splitlines()]
    skipped = [note for note in notes if note.startswith("skipped: ")]
    assert len(skipped) == 5
    for row in (11, 21, 31, 41, 251):
        assert any(f"row {row}:" in line for line in skipped)
    good = table.take(pa.array([i for i in range(table.num_rows) if i not in (10, 20, 30, 40, 250)]))
    good = changed(good, "trips", good["trips"].cast(pa.int32()))
    expect(project, done.result["release"], good)
    more = project.build("--on-bad-row=skip", "--max-bad-rows", "4", code=1)
    assert "more than 4 bad rows" in more.err


@pytest.mark.parametrize("as_of, left", [("00.123456499", 1), ("00.1234565", 2), ("00,123456501Z", 3),
                                         ("01.123456500+00:00:01", 2), ("00.123456", 0), ("00.123457", 3)])
def test_as_of_counts_nanoseconds(project: Project, as_of: str, left: int) -> None:
    project.features, project.source = {"x": "int32"}, "{type: parquet, path: data, timestamp_field: t}"
    start = 1735689600 * 10**9 + 123456000
    times = pa.array([start + nanoseconds for nanoseconds in (400, 500, 501)], pa.timestamp("ns", "UTC"))
    pq.write_table(pa.table({"driver_id": [1, 2, 3], "t": times, "x": [1, 2, 3]}), project.data / "a.parquet")
    done = project.build("--json", "--as-of", f"2025-01-01T00:00:{as_of}", code=0 if left else 1)
    assert left == 0 or done.result["counts"]["rows_out"] == left and done.result["counts"]["after_as_of"] == 3 - left


def test_rounding_is_counted(project: Project) -> None:
    table = rows(50, 50)
    table = changed(table, "conv_rate", pa.array([0.1] * 25 + [0.5] * (table.num_rows - 25), pa.float64()))
    pq.write_table(table, project.data / "a.parquet")
    assert project.build("--json").result["counts"]["rounded"] == {"conv_rate": 25}


def test_mistakes_of_the_project_come_all_at_once(project: Project) -> None:
    project.features = {"a": "float33", "b": "vector<float32>"}
    done = project.build(code=1)
    assert len([line for line in done.err.splitlines() if "p.yaml:" in line]) == 2


def test_usage_is_checked_before_anything(project: Project) -> None:
    project.write()
    path = str(project.folder / "p.yaml")
    wrong = (["--memory-limit", "much"], ["--as-of", "x"], ["--as-of", "2025-01-01T00:00:00.1234567890"],
             ["--tmp", "/nowhere"], ["--on-bad-row=hope"])
    for options in ([], [path], *([path, "--store", "dir:x", *more] for more in wrong)):
        done = subprocess.run([*BUILDER, *options], capture_output=True, text=True, check=False)
        assert done.returncode == 2, done.stderr


def run_builder(project: Project, *options: str, code: int = 0, store: str | None = None) -> str:
    """Without --store."""
    project.write()
    env = {name: value for name, value in os.environ.items() if name != "PILLION_STORE"}
    done = subprocess.run([*BUILDER, str(project.folder / "p.yaml"), *options], capture_output=True, text=True,
                          check=False, env=env if store is None else {**env, "PILLION_STORE": store})
    assert done.returncode == code, done.stderr
    return done.stderr


def test_a_store_comes_from_the_environment_and_only_a_release_makes_it(project: Project) -> None:
    store = project.folder / "deep" / "new-store"
    (project.data / "a.parquet").write_text("no Parquet at all")
    run_builder(project, store=f"dir:{store}", code=1)
    assert not (project.folder / "deep").exists()
    said = run_builder(project, store=f"dir:{project.folder}/p.yaml/x", code=1)
    assert "p.yaml/x" in said and "a.parquet" not in said, "the store is tried before the data is read"
    pq.write_table(rows(50, 50), project.data / "a.parquet")
    assert "--store is missing" in run_builder(project, code=2)
    run_builder(project, store=f"dir:{store}")
    assert list(store.glob("views/p/*/releases/*.json"))


def test_what_was_built_is_promoted_unless_it_breaks_a_service(project: Project) -> None:
    pq.write_table(rows(50, 50), project.data / "a.parquet")
    store = project.folder / "other"
    said = run_builder(project, "--promote", "staging", store=f"dir:{store}")
    [channel] = store.glob("views/p/*/channels/staging.json")
    release = json.loads(channel.read_text())["release"]
    assert f"@{release}: promoted to staging" in said
    [manifest] = store.glob("views/p/*/releases/*.json")
    assert manifest.stem == release
    # The applied project has a feature of another type: what is built from this file does not answer it.
    applied = project.folder / "applied.yaml"
    applied.write_text((project.folder / "p.yaml").read_text().replace('"int32"', '"int64"', 1))
    harness.run([harness.program("pillion"), "apply", str(applied), "--force", "--store", f"dir:{store}"])
    before = channel.read_bytes()
    pq.write_table(rows(60, 50, seed=2), project.data / "a.parquet")
    said = run_builder(project, "--promote", "staging", "--json", store=f"dir:{store}", code=1)
    message = json.loads(said.splitlines()[-1])
    assert message["exit_code"] == 1 and "is int32, and int64 in the project" in message["error"]
    assert channel.read_bytes() == before


def test_a_limit_that_is_too_small_says_what_is_needed(project: Project) -> None:
    pq.write_table(rows(50, 50), project.data / "a.parquet")
    done = project.build("--memory-limit", "100M", code=2)
    needed = int(done.err.partition("at least ")[2].split()[0])
    project.build("--memory-limit", f"{needed + 16}M")


def test_a_store_that_cannot_be_written_is_no_bad_input(project: Project) -> None:
    pq.write_table(rows(50, 50), project.data / "a.parquet")
    project.store.write_text("a file where the folder should be")
    done = project.build(code=None)
    assert done.code in (1, 3) and "store" in done.err and done.out == ""


# ---- Killed

@pytest.fixture(name="large")
def _large(project: Project) -> Project:
    project.features = {f"f{i}": "float32" for i in range(10)}
    project.source = "{type: parquet, path: data, timestamp_field: ts}"
    features = ", ".join(f"(r.i % {i + 7})::FLOAT AS f{i}" for i in range(10))
    duckdb.connect().execute(f"COPY (SELECT i AS driver_id, to_timestamp(1700000000 + i % 1000) AS ts, {features} "
                             f"FROM range(400000) r(i)) TO '{project.data / 'a.parquet'}'")
    return project


def test_kill_9_leaves_nothing_visible(large: Project) -> None:
    seed = int(os.environ.get("PIL_SEED", time.time_ns()))
    print(f"PIL_SEED={seed}")
    rng = random.Random(seed)
    temporary = large.folder / "tmp"
    temporary.mkdir()
    options = ("--memory-limit", "300M", "--tmp", str(temporary))
    started = time.monotonic()
    wanted = release_of(large.build("--dry-run", *options))
    whole_s = time.monotonic() - started
    killed = 0
    for _ in range(20):
        process = subprocess.Popen(large.command(*options), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                   text=True)
        time.sleep(rng.uniform(0.3, 1.0) * whole_s)
        process.kill()
        out, _ = process.communicate()
        assert list(temporary.iterdir()) == []
        for path in large.manifests():  # all or nothing
            assert path.stem == wanted
            for shard in large.manifest(wanted)["shards"]:
                name = large.store / "shards" / shard["id"][:2] / f"{shard['id']}.shard"
                assert name.stat().st_size == shard["bytes"]
        killed += process.returncode == -signal.SIGKILL
        if out:
            assert out == f"p/stats@{wanted}\n"
    assert killed > 0
    assert release_of(large.build(*options)) == wanted
    assert sum(shard.row_count for shard in large.shards(wanted)) == 400000
    stored = [path for path in (large.store / "shards").rglob("*") if path.is_file()]
    assert len(stored) == len(large.manifest(wanted)["shards"])


@pytest.mark.parametrize("delay_s", [0.0, 0.05, 0.1, 0.2])
def test_an_interrupt_is_told_and_leaves_nothing(large: Project, delay_s: float) -> None:
    large.write()
    process = subprocess.Popen(large.command(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def reads() -> bool:  # then it is past the start of the interpreter
        try:
            return any(os.readlink(link).endswith("a.parquet") for link in Path(f"/proc/{process.pid}/fd").iterdir())
        except OSError:
            return False
    while process.poll() is None and not reads():
        pass
    time.sleep(delay_s)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    if process.returncode != 0:  # a machine may be so fast that it is over
        assert process.returncode == 130 and "interrupted" in err and out == "" and large.manifests() == []


# ---- What people see

def test_progress_has_rate_and_time_left() -> None:
    from pillion.build.progress import Progress, amount, duration
    from pillion.build.terminal import Messages

    assert [amount(999, "rows"), amount(1_234_567, "rows")] == ["999 rows", "1.2 M rows"]
    assert [amount(size, "B") for size in (999, 34_500_000, 200 << 20)] == ["999 B", "32.9 MiB", "200 MiB"]
    assert (duration(5), duration(75), duration(3700)) == ("0:05", "1:15", "1:01:40")
    plain = io.StringIO()
    progress = Progress(Messages(plain), "p/v", rows_expected=1000)
    progress("read", 500, 0)
    assert plain.getvalue() == ""  # not before ten seconds are over
    progress._shown -= 60  # pylint: disable=protected-access
    progress("read", 600, 0)
    assert plain.getvalue().count("\n") == 1 and "\r" not in plain.getvalue()


def test_rates_count_from_where_the_last_phase_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    from pillion.build import progress as module
    from pillion.build.terminal import Messages

    clock = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    out = io.StringIO()
    progress = module.Progress(Messages(out), "p/v")
    for seconds, phase, done in ((20.0, "read", 100), (22.0, "merge", 1), (40.0, "merge", 10_000_000),
                                 (60.0, "write", 40_000_000)):  # of which the only call is the last one
        clock[0] = seconds
        progress(phase, done, done)
    assert [line.split("  ")[-1] for line in out.getvalue().splitlines()] == ["5 rows/s", "488 KiB/s", "1.9 MiB/s"]


@pytest.mark.parametrize("columns", [30, 80])
def test_the_moving_line_fits_the_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    from pillion.build.progress import Progress
    from pillion.build.terminal import Messages

    monkeypatch.setenv("TERM", "xterm")
    primary, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with open(terminal, "w", encoding="utf-8") as out, open(primary, "rb", buffering=0) as screen:
        progress = Progress(Messages(out), "rides/driver_stats", rows_expected=12_000_000)
        progress._shown = progress._called = progress._called - 5  # pylint: disable=protected-access
        progress("read", 6_000_000, 0)
        line = screen.read(1000).decode().replace("\r\x1b[K", "")
        progress.close()
        assert screen.read(1000) == b"\r\x1b[K"
    assert len(line) < columns and line.startswith("rides/driver_stats: reading  ")
    assert columns < 80 or ("[████████········]   50 %  0:05 left  1.2 M rows/s" in line)


def test_memory_is_what_the_cgroup_allows(folder: Path) -> None:
    from pillion.build import memory

    proc, mount = folder / "proc", folder / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal: 9000000 kB\nMemAvailable: 8000000 kB\n")
    (mount / "a" / "b").mkdir(parents=True)
    (proc / "self" / "cgroup").write_text("0::/a/b\n")
    (mount / "a" / "b" / "memory.max").write_text("max\n")
    assert memory.available_bytes(proc, mount) == 8000000 * 1024
    (mount / "a" / "memory.max").write_text(f"{1 << 30}\n")  # the limit of a parent counts
    assert memory.available_bytes(proc, mount) == 1 << 30
    (proc / "self" / "cgroup").write_text("4:cpu,memory:/c\n")  # version 1
    (mount / "memory" / "c").mkdir(parents=True)
    (mount / "memory" / "c" / "memory.limit_in_bytes").write_text(f"{1 << 29}\n")
    assert memory.available_bytes(proc, mount) == 1 << 29
    assert [memory.parse_bytes(text) for text in ("512M", "1.5GiB", "1000", "2 kb")] == [512 << 20, 3 << 29, 1000, 2048]
    with pytest.raises(ValueError, match="not a size"):
        memory.parse_bytes("many")
