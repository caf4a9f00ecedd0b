#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares lists of scalars that no compiler sees with the table in src/schema/scalar.h: `scalars.py`, exit 1 when one
differs. They are what others read (schemas), what the Python package knows, and the types that tests go through.
"""
from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TABLE = "src/schema/scalar.h"
_ROW = re.compile(r'^    X\(\w+, +"(\w+)", +(\d+), +(\w+), +(PIL_USE_[A-Z_| ]+)\)', re.MULTILINE)


@dataclass(frozen=True)
class Scalar:
    name: str
    row_bytes: int
    kind: str
    uses: frozenset[str]  # VALUE, VECTOR, KEY


def read_table(text: str) -> list[Scalar]:
    """In the order of their numbers."""
    found = [Scalar(name, int(row_bytes), kind, frozenset(re.findall(r"PIL_USE_(\w+)", uses)))
             for name, row_bytes, kind, uses in _ROW.findall(text)]
    rows = len(re.findall(r"^    X\(", text, re.MULTILINE))
    if not found or len(found) != rows:
        raise ValueError(f"{TABLE}: {len(found)} rows of {rows} were understood")
    return found


def names(table: list[Scalar], use: str) -> list[str]:
    return [scalar.name for scalar in table if use in scalar.uses]


def types(table: list[Scalar]) -> set[str]:
    """Of every shape, vectors without their dimension."""
    values = names(table, "VALUE")
    return {*values, *(f"list<{name}>" for name in values), *(f"vector<{name}" for name in names(table, "VECTOR"))}


def part(path: str, begin: str, end: str) -> str:
    """The text of a file between two texts of which the first is there once."""
    text = (ROOT / path).read_text()
    if text.count(begin) != 1:
        raise ValueError(f"{path}: {begin!r} is there {text.count(begin)} times, must be once")
    return text.partition(begin)[2].partition(end)[0]


def quoted(path: str, begin: str, end: str, what: str = r"\w+") -> list[str]:
    return re.findall(rf'["`]({what})["`]', part(path, begin, end))


def quoted_types(path: str, begin: str, end: str) -> set[str]:
    """Vectors with or without their dimension."""
    return {re.sub(r"^(vector<\w+),.*", r"\1", text) for text in quoted(path, begin, end, r"[\w<>,]+")}


def project_schema(table: list[Scalar]) -> dict[str, tuple[Any, Any]]:
    path = "schemas/project.schema.json"
    defs = json.loads((ROOT / path).read_text())["$defs"]
    values, lists, vectors = defs["feature"]["properties"]["type"]["anyOf"]
    elements = re.findall(r"\((.*?)\)", vectors["pattern"])[0].split("|")
    return {
        f"{path}: entity": (defs["entity"]["properties"]["type"]["enum"], names(table, "KEY")),
        f"{path}: feature": (values["enum"], names(table, "VALUE")),
        f"{path}: list": (lists["enum"], [f"list<{name}>" for name in names(table, "VALUE")]),
        f"{path}: vector": (elements, names(table, "VECTOR")),
    }


def snapshot_layout(table: list[Scalar]) -> dict[str, tuple[Any, Any]]:
    """The rows `a`, `b` | bytes, bytes | of the table of types, and the widths of elements."""
    path = "schemas/snapshot.md"
    rows = part(path, "| type | bytes in the row |", "\n\n")
    found: dict[str, int] = {}
    for cells in (line.split("|") for line in rows.splitlines() if line.startswith("| `")):
        scalars = re.findall(r"`(\w+)`", cells[1])
        widths = re.findall(r"\d+", cells[2])
        if "<" not in cells[1] or "vector<" in cells[1]:
            found.update({name: int(widths[i if len(widths) > 1 else 0]) for i, name in enumerate(scalars)})
    return {
        f"{path}: bytes in the row": (found, {scalar.name: scalar.row_bytes for scalar in table}),
        f"{path}: entities": (set(quoted(path, "Entities are of type", ".")), set(names(table, "KEY"))),
    }


def places(table: list[Scalar]) -> dict[str, tuple[Any, Any]]:
    """Place → what it lists, what it should."""
    every, fixed = [scalar.name for scalar in table], [s.name for s in table if s.kind not in ("TEXT", "BYTES")]
    numbers = [f"{number} {name}" for number, name in enumerate(every)]
    keys = set(names(table, "KEY"))
    found: dict[str, tuple[Any, Any]] = {**project_schema(table), **snapshot_layout(table)}
    found["schemas/wire.md: scalar"] = (part("schemas/wire.md", "scalar: ", " |").split(", "), numbers)
    check = "src/python/pillion/build/scalar.py"
    found[f"{check}: ARROW"] = (set(re.findall(r'"(\w+)":', part(check, "ARROW = {", "\n}"))), set(every))
    reader, shards = "tests/python/vector_reader.py", "tests/python/shard_reader.py"
    found[f"{reader}: SCALARS"] = (re.findall(r'\("(\w+)",', part(reader, "SCALARS = (", "\n)")), every)
    found[f"{shards}: _WIDTHS"] = (set(quoted(shards, "_WIDTHS = {", "}")), set(fixed))
    feast, peer = "tests/system/feast_repo/definitions.py", "tests/system/feast_repo/peer.py"
    found[f"{feast}: SCALARS"] = (quoted(feast, "SCALARS = {", "}"), names(table, "VALUE"))
    found[f"{peer}: SCALARS"] = (quoted(peer, "SCALARS = (", ")"), names(table, "VALUE"))
    client = "tests/system/test_client_socket.py"
    found[f"{client}: TYPES"] = ({re.sub(r"^(vector<\w+),.*", r"\1", name) for name in
                                  re.findall(r'^    "([\w<>,]+)": \(', part(client, "\nTYPES", "\n}"), re.MULTILINE)},
                                 types(table))
    found[f"{client}: KEYS"] = (set(re.findall(r'": \("(\w+)"', part(client, "\nKEYS", "\n}"))), keys)
    for path, begin, end in (
            ("tests/system/synthetic.py", "\nTYPES = (", "\n)"),
            ("tests/support/make_release.c", "const types[] = {", "};"),
            ("tests/unit/schema/type_test.c", "const names[] = {\n        \"bool\"", "};"),
            ("tests/model/snapshot/roundtrip_test.c", "const feature_types[] = {", "};")):
        listed = quoted_types(path, begin, end)
        found[f"{path}: types"] = (listed | {"bool"} if '"bool"' in begin else listed, types(table))
    model = "tests/model/snapshot/roundtrip_test.c"
    found[f"{model}: entity_types"] = (set(quoted(model, "const entity_types[] = {", "};")), keys)
    return found


def difference(listed: Any, wanted: Any) -> str:
    lacks, more = (", ".join(str(item) for item in a if item not in b)
                   for a, b in ((list(wanted), listed), (list(listed), wanted)))
    said = [f"lacks {lacks}"] * bool(lacks) + [f"has {more}, which the table has not"] * bool(more)
    return "; ".join(said) or f"is {listed}, must be {wanted}"


def main() -> int:
    wrong = 0
    try:
        found = places(read_table((ROOT / TABLE).read_text()))
    except (OSError, ValueError, KeyError, IndexError) as error:
        print(error)
        return 1
    for place, (listed, wanted) in found.items():
        if listed != wanted:
            print(f"{place}: {difference(listed, wanted)}")
            wrong += 1
    print(f"{len(found)} lists of scalars, {wrong} that differ from {TABLE}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
