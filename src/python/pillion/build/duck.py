# SPDX-License-Identifier: Apache-2.0
"""DuckDB, with a memory limit: it reads CSV and runs queries."""
from __future__ import annotations

from dataclasses import replace
from typing import Iterator

import duckdb

from pillion.build.project import View
from pillion.build.source import Chunk, Place, batch_rows


def connect(memory_bytes: int, temporary: str) -> duckdb.DuckDBPyConnection:
    """SQL sees files and the tables that it makes, not the variables of this program."""
    connection = duckdb.connect(config={"memory_limit": f"{memory_bytes}B", "temp_directory": temporary,
                                        "python_enable_replacements": "false"})
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def selection(view: View, there: list[str]) -> str:
    """Selects the wanted columns of `there` by position: names may differ only in case, or equal a name
    (c0, c1, …) that csv_relation has given to another column."""
    names = dict.fromkeys(column.source for column in view.columns)
    return ", ".join(f'#{there.index(name) + 1} AS "' + name.replace('"', '""') + '"' for name in names)


def read(relation: duckdb.DuckDBPyRelation, selection: str, view: View, place: Place) -> Iterator[Chunk]:
    for batch in relation.select(selection).to_arrow_reader(batch_rows(view)):
        yield Chunk(place, batch)
        place = replace(place, first_row=place.first_row + batch.num_rows)
