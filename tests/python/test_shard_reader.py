# SPDX-License-Identifier: Apache-2.0
"""Goal: schemas/snapshot.md describes the shard file completely: a reader written from it sees what the C reader sees.

Method: the samples and random tables (every type, every shape of key; a new seed on each run unless PIL_SEED is set)
are written by the C writer, dumped by the C reader, and compared value by value with tests/python/shard_reader.py; so
are the golden files of every version.
"""
from __future__ import annotations

import json
import os
import random
import struct
import subprocess
from pathlib import Path
from typing import Any, Iterator

import pytest
from shard_reader import Raw, Refused, Shard, Type

ROOT = Path(__file__).resolve().parents[2]
TOOLS = Path(os.environ.get("PILLION_BIN_DIR", ROOT / "build" / "release" / "bin")).parent / "tests"
SEED = os.environ.get("PIL_SEED") or str(random.getrandbits(32))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("shards")
    print(f"PIL_SEED={SEED}")
    subprocess.run([TOOLS / "shard_samples", folder, SEED], check=True)
    return sorted(folder.iterdir()) + sorted((ROOT / "schemas" / "golden").glob("shard-*/*"))


def dump(path: Path) -> Iterator[dict[str, Any]]:
    out = subprocess.run([TOOLS / "shard_dump", path], check=True, stdout=subprocess.PIPE).stdout
    return map(json.loads, out.splitlines())


def unhex(value: Any) -> Raw:
    if isinstance(value, list):
        return [bytes.fromhex(part) for part in value]
    return None if value is None else bytes.fromhex(value)


def test_both_readers_agree_on_every_value(files: list[Path]) -> None:
    types_seen, rows_seen = set(), 0
    for path in files:
        shard, lines = Shard(path.read_bytes()), dump(path)
        assert next(lines) == {"id": shard.id, "rows": shard.row_count}, path.name
        theirs = list(lines)
        ours = list(shard.rows())
        assert len(ours) == len(theirs), path.name
        for mine, other in zip(ours, theirs):
            assert other["found"], path.name
            assert (mine.slot, mine.key.hex(), mine.event_ts_us) == (other["slot"], other["key"], other["event_ts_us"])
            assert mine.values == [unhex(value) for value in other["values"]], (path.name, mine.key)
        types_seen.update(shard.types)
        rows_seen += len(ours)
    assert {kind.element for kind in types_seen if kind.shape == "scalar"} == {
        "bool", "int32", "int64", "float32", "float64", "string", "bytes", "unix_timestamp"}
    assert {kind.element for kind in types_seen if kind.shape == "list"} == {
        "bool", "int32", "int64", "float32", "float64", "string", "bytes", "unix_timestamp"}
    assert {kind.element for kind in types_seen if kind.shape == "vector"} == {"float32", "float16", "bfloat16", "int8"}
    assert rows_seen > 300


def test_lookup_by_the_specified_hash_finds_every_row_and_no_other(files: list[Path]) -> None:
    for path in files:
        shard = Shard(path.read_bytes())
        keys = {row.key for row in shard.rows()}
        for row in shard.rows():
            assert shard.is_ours(row.key)
            assert shard.get(row.key) == row
        for number in range(200):
            absent = struct.pack("<QQ", number, 99)[:shard.layout["key_bytes"]]
            assert absent in keys or shard.get(absent) is None


def test_values_and_keys_decode(files: list[Path]) -> None:
    for path in files:
        shard = Shard(path.read_bytes())
        for row in shard.rows():
            assert list(shard.decode(row)) == shard.features
    by_name = {path.stem: Shard(path.read_bytes()) for path in files}
    assert by_name["composite_keys"].key(["é", -1, b""]).hex() == "02000000c3a9" + "ff" * 8 + "00000000"
    assert by_name["scalars"].key([258]).hex() == "0201000000000000"
    assert by_name["string_keys"].key(["ab"]) == b"ab"
    assert Type("bfloat16", "vector", 2).decode(bytes.fromhex("803f40c0")) == [1.0, -3.0]
    assert Type("string", "list").decode([b"a", b""]) == ["a", ""]
    assert Type("float64").decode(None) is None


def test_damage_is_refused(files: list[Path]) -> None:
    data = next(path for path in files if path.stem == "one_row").read_bytes()
    for at in range(0, len(data), 13):
        with pytest.raises(Refused):
            Shard(data[:at] + bytes([data[at] ^ 1]) + data[at + 1:])
        with pytest.raises(Refused):
            Shard(data[:at])
