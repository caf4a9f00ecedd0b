#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Time and memory of `pillion build`, phase by phase: N rows of int64 keys and float32 features from Parquet files.

Goal: the rows per second of each phase, and the peak resident memory against its cap. The phases are source (the core
waits for reading and converting, which run in another thread), read (encoding and spilling), merge (winners and
profile) and write (shards and upload).
Method: DuckDB writes deterministic files once (they are kept and reused). The build runs in a separate process, with
the Python that runs this file, into a fresh store. Usage: build/venv/bin/python bench/build_bench.py [--rows N] …
"""
from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import duckdb

FILES = 8
ROOT = Path(__file__).resolve().parents[1]


def write_data(folder: Path, rows: int, keys: int, features: int) -> None:
    """Writes hashes instead of random numbers, so that all machines get the same files."""
    connection = duckdb.connect()
    columns = ", ".join(f"(hash(i * {features} + {f}) % 1000003 / 1000003.0)::FLOAT AS f{f}" for f in range(features))
    key = f"hash(i) % {keys}" if keys < rows else "i"
    for number in range(FILES):
        first, last = rows * number // FILES, rows * (number + 1) // FILES
        connection.execute(
            f"COPY (SELECT ({key})::BIGINT AS id, to_timestamp(1700000000 + i % 864000) AS ts, {columns} "
            f"FROM range({first}, {last}) t(i)) TO '{folder / f'part-{number}.parquet'}' (FORMAT parquet)")


def write_project(folder: Path, features: int) -> None:
    lines = ["project: bench", "entities:", "  - {name: entity, join_key: id, type: int64}", "feature_views:",
             "  - name: wide", "    entities: [entity]", "    ttl: 30d",
             '    source: {type: parquet, path: "part-*.parquet", timestamp_field: ts}', "    features:"]
    lines += [f"      - {{name: f{f}, type: float32}}" for f in range(features)]
    (folder / "bench.yaml").write_text("\n".join(lines) + "\n")


def prepare(folder: Path, rows: int, keys: int, features: int) -> None:
    if (folder / "bench.yaml").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    write_data(folder, rows, keys, features)
    write_project(folder, features)
    print(f"data written in {time.monotonic() - started:.1f} s: {folder}", file=sys.stderr)


def build(folder: Path, limit: str) -> tuple[dict, str]:
    store = folder / "store"
    shutil.rmtree(store, ignore_errors=True)
    done = subprocess.run([sys.executable, "-m", "pillion.build", str(folder / "bench.yaml"), "--store", f"dir:{store}",
                           "--json", "--memory-limit", limit, "--tmp", str(folder)],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    shutil.rmtree(store, ignore_errors=True)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout), done.stderr.strip().splitlines()[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--keys", type=int, help="distinct keys (default: one for each row)")
    parser.add_argument("--features", type=int, default=10)
    parser.add_argument("--memory-limit", default="1G")
    options = parser.parse_args()
    keys = options.keys or options.rows
    folder = ROOT / "build" / "bench" / f"build-{options.rows}-{keys}-{options.features}"
    prepare(folder, options.rows, keys, options.features)
    result, memory = build(folder, options.memory_limit)
    counts, seconds = result["counts"], result["seconds"]
    print(f"{counts['rows_in']:,} rows in, {counts['rows_out']:,} out, {options.features} float32, "
          f"{result['shards']} shards, {result['bytes'] / 1e6:,.0f} MB, "
          f"{result['bytes_spilled'] / 1e6:,.0f} MB spilled, "
          f"{len(os.sched_getaffinity(0))} cores")
    for phase in ("source", "read", "merge", "write", "total"):
        rate = counts["rows_in"] / max(seconds[phase], 1e-9) / 1e6
        print(f"  {phase:7} {seconds[phase]:7.2f} s  {rate:7.2f} M rows/s")
    print(f"  {memory}")


if __name__ == "__main__":
    main()
