# SPDX-License-Identifier: Apache-2.0
"""What a feature view must answer, computed by DuckDB from the Parquet files alone: no code of Pillion takes part.

Also how the texts of the protocols are read back into values, so that they can be compared without rounding.
"""
from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Iterable, Sequence

import duckdb


@dataclass(frozen=True)
class Feature:
    name: str
    type: str  # "float32", "list<string>", "vector<float32,32>"

    @property
    def element(self) -> str:
        return self.type.partition("<")[2].rstrip(">").partition(",")[0] if "<" in self.type else self.type

    @property
    def is_list(self) -> bool:
        return "<" in self.type


@dataclass(frozen=True)
class View:
    project: str
    name: str
    keys: tuple[Feature, ...]
    features: tuple[Feature, ...]


def view_of(store: Path, reference: str) -> View:
    """The schema of "project/view@release", from its manifest in a directory store (schemas/store.md)."""
    name, _, release = reference.partition("@")
    project, _, view = name.partition("/")
    manifest = json.loads((store / "views" / project / view / "releases" / f"{release}.json").read_text())
    schema = manifest["schema"]
    return View(project, view, tuple(Feature(e["join_key"], e["type"]) for e in schema["entities"]),
                tuple(Feature(f["name"], f["type"]) for f in schema["features"]))


def scalar(value: Any, kind: str) -> Any:
    """One comparable value: floats by their bits (NaN equals NaN), timestamps in whole microseconds."""
    if value is None:
        return None
    if kind == "bool":
        return value if isinstance(value, bool) else str(value) in ("1", "true")
    if kind in ("float32", "float64", "float16", "bfloat16"):
        number = float(value)
        width = "<f" if kind == "float32" else "<d"
        return "nan" if math.isnan(number) else struct.unpack(width, struct.pack(width, number))[0]
    if kind == "unix_timestamp":
        return int(Decimal(str(value)) * 1_000_000)
    if kind in ("int32", "int64", "int8"):
        return int(value)
    return value


def value_of(value: Any, feature: Feature) -> Any:
    """A value as a protocol gave it (text, or what JSON made of it)."""
    if value is None or not feature.is_list:
        return scalar(value, feature.type)
    items = json.loads(value) if isinstance(value, (str, bytes)) else value
    return tuple(scalar(item, feature.element) for item in items)


class Truth:
    """The latest row of each key by (event_timestamp, created), of the events up to `as_of`."""

    def __init__(self, view: View, files: str, as_of: str | None = None):
        self.view = view
        self.connection = duckdb.connect()
        keys = ", ".join(f'"{key.name}"' for key in view.keys)
        bound = "WHERE event_timestamp <= CAST(? AS TIMESTAMPTZ)" if as_of else ""
        self.connection.execute("SET TimeZone = 'UTC'")
        self.connection.execute(
            f"CREATE TABLE latest AS SELECT * FROM read_parquet(?) {bound} QUALIFY row_number() OVER "
            f"(PARTITION BY {keys} ORDER BY event_timestamp DESC, created DESC) = 1",
            [files] + ([as_of] if as_of else []))

    @property
    def rows(self) -> int:
        return self.connection.execute("SELECT count(*) FROM latest").fetchone()[0]

    def _select(self) -> str:
        columns = [f'"{key.name}"' for key in self.view.keys]
        for feature in self.view.features:
            name = f'"{feature.name}"'
            columns.append(f"epoch_us({name}) / 1000000::DECIMAL(20, 6)" if feature.type == "unix_timestamp" else name)
        return ", ".join(columns)

    def sample(self, count: int) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
        """`count` entities, the same ones in every run: (key, feature → value)."""
        keys = ", ".join(f'"{key.name}"' for key in self.view.keys)
        found = self.connection.execute(
            f"SELECT {self._select()} FROM latest ORDER BY hash({keys}), {keys} LIMIT ?", [count]).fetchall()
        width = len(self.view.keys)
        return [(row[:width], {feature.name: value_of(value, feature)
                               for feature, value in zip(self.view.features, row[width:])}) for row in found]


def key_text(key: Iterable[Any]) -> str:
    """The key as Redis clients write it: "1001", "munich|7"; of several parts, each escaped."""
    parts: Sequence[str] = [str(part) for part in key]
    if len(parts) == 1:
        return parts[0]
    return "|".join(part.replace("\\", "\\\\").replace("|", "\\|") for part in parts)
