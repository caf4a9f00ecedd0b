# SPDX-License-Identifier: Apache-2.0
"""Goal: a build stays under --memory-limit or is refused, before if its needs are known, and names the limit as it was
given.

Method: rows that are much wider or longer than usual, built under a low limit from a small parent process (exec keeps
the peak that rusage counts); the kernel's own count of the builder, of a run in a shell.
"""
from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from build_project import START, Project

MIB = 1 << 20
LIMIT_MIB = 320
# Starts the builder and prints the peak of its resident memory in KiB, as the kernel counts it for a child.
MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


def measured(project: Project, *options: str) -> tuple[int, str, int]:
    """Exit code, standard error, peak in MiB."""
    project.write()
    done = subprocess.run([sys.executable, "-c", MEASURE, *project.command("--dry-run", *options)], text=True,
                          capture_output=True, check=False, timeout=300)
    return done.returncode, done.stderr, int(done.stdout.split()[-1]) // 1024


def table_of(count: int, columns: dict[str, pa.Array]) -> pa.Table:
    times = pa.array(np.full(count, int(START.timestamp()) * 1_000_000), pa.timestamp("us", "UTC"))
    return pa.table({"driver_id": pa.array(range(count)), "ts": times, **columns})


def long_values(project: Project) -> None:
    project.features = {"s": "string"}
    texts = pa.array([os.urandom(200_000).hex() for _ in range(1100)])
    pq.write_table(table_of(1100, {"s": texts}), project.data / "a.parquet")


def wide_rows(project: Project) -> None:
    project.features = {f"f{number}": "float32" for number in range(2000)}
    rng = np.random.default_rng(1)
    columns = {name: pa.array(rng.random(15000, dtype=np.float32)) for name in project.features}
    pq.write_table(table_of(15000, columns), project.data / "a.parquet")


@pytest.mark.parametrize("make", [long_values, wide_rows])
def test_pages_that_do_not_fit_are_refused_before_they_are_read(project: Project, make: object) -> None:
    project.source = "{type: parquet, path: data, timestamp_field: ts}"
    make(project)  # type: ignore[operator]
    code, said, peak = measured(project, "--memory-limit", f"{LIMIT_MIB}M")
    assert code == 2 and f"a memory limit of {LIMIT_MIB} MiB is too small for " in said and "at least " in said
    assert peak <= LIMIT_MIB and said.count("\n") == 1
    code, said, peak = measured(project, "--memory-limit", "2G")
    assert code == 0 and peak <= 2048


def test_a_limit_that_is_said_to_suffice_does(project: Project) -> None:
    project.source = "{type: parquet, path: data, timestamp_field: ts}"
    project.features = {"s": "string"}
    texts = pa.array([f"{number:400000}" for number in range(1100)])
    pq.write_table(table_of(1100, {"s": texts}), project.data / "a.parquet", compression="zstd", use_dictionary=False)
    limit, peak = 400, 0
    for _ in range(3):  # reading; then, once the rows are known, the largest shard
        code, said, peak = measured(project, "--memory-limit", f"{limit}M")
        needed = re.search(r"(?:at least|needs a memory limit of) (\d+) MiB", said)
        if needed is None:
            break
        limit = int(needed[1]) + 1
    assert code == 0 and peak <= limit, said


@pytest.mark.parametrize("kind", ["sql", "csv"])
def test_what_cannot_be_known_before_ends_at_the_limit(project: Project, kind: str) -> None:
    project.features = {"x": "list<int64>" if kind == "sql" else "string"}
    if kind == "sql":
        project.source = ("{type: sql, timestamp_field: ts, query: \"SELECT i driver_id, TIMESTAMP '2025-01-01' ts, "
                          "range(100000) x FROM range(2000) r(i)\"}")
    else:
        project.source = "{type: csv, path: data/a.csv, timestamp_field: ts}"
        with open(project.data / "a.csv", "w", encoding="ascii") as file:
            file.write("driver_id,ts,x\n")
            file.writelines(f"{row},2025-01-01,{os.urandom(200_000).hex()}\n" for row in range(1500))
    code, said, peak = measured(project, "--memory-limit", "500M")
    if code != 0 or kind == "sql":  # DuckDB may read the CSV in pieces that fit
        assert code == 3 and "the memory limit of 500 MiB is too low: " in said and "raise it" in said
    assert "Traceback" not in said and peak < 1000  # the values of the query are 1,600 MB


def test_messages_name_the_limit_that_was_given(project: Project) -> None:
    project.source = "{type: parquet, path: data, timestamp_field: ts}"
    project.features = {f"f{number}": "float32" for number in range(20)}
    rng = np.random.default_rng(1)
    columns = {name: pa.array(rng.random(1_000_000, dtype=np.float32)) for name in project.features}
    pq.write_table(table_of(1_000_000, columns), project.data / "a.parquet", row_group_size=2000)
    code, said, peak = measured(project, "--memory-limit", f"{LIMIT_MIB}M")
    assert code == 3 and f"it is {LIMIT_MIB} MiB" in said and peak <= LIMIT_MIB
    needed = int(said.partition("needs a memory limit of ")[2].split()[0])
    code, said, peak = measured(project, "--memory-limit", f"{needed + 16}M")
    assert code == 0 and peak <= needed + 16, said


def test_the_peak_is_that_of_the_builder_and_not_of_its_parent(project: Project) -> None:
    project.source = "{type: parquet, path: data, timestamp_field: ts}"
    project.features = {"x": "int64"}
    pq.write_table(table_of(1, {"x": pa.array([1])}), project.data / "a.parquet")
    project.write()
    ballast = "import os, sys; b = bytearray(b'1' * (600 << 20)); os.execv(sys.argv[1], sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", ballast, *project.command("--dry-run")], capture_output=True,
                          text=True, check=False, timeout=300)
    peak = int(done.stderr.partition("peak memory ")[2].split()[0])
    assert done.returncode == 0 and peak < 400


@pytest.mark.parametrize("size", ["0", "0G"])
def test_no_memory_is_no_limit(project: Project, size: str) -> None:
    assert "is not a usable limit" in project.build("--memory-limit", size, code=2).err


def test_needs_come_from_the_widest_row_group(folder: Path) -> None:
    from pillion.build import parquet_memory

    path = folder / "a.parquet"
    schema = pa.schema([("a", pa.string()), ("b", pa.list_(pa.int64())), ("c", pa.int64())])
    with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
        for size in (10, 100_000):
            writer.write_table(pa.table([["x" * size] * 20, [[1, 2]] * 20, [1] * 20], schema=schema))
    metadata = pq.read_metadata(path)
    whole = parquet_memory.needs(metadata, [0, 1])
    assert 100_000 < whole.row < 100_100 and whole.reader > 2 * 20 * 100_000
    assert parquet_memory.needs(metadata, [2]).row < 20
