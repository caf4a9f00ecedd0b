# SPDX-License-Identifier: Apache-2.0
"""Queries, run by DuckDB."""
from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Iterator

import duckdb
import pyarrow as pa

from pillion.build.duck import connect, read, selection
from pillion.build.errors import BadInput
from pillion.build.project import View
from pillion.build.source import Chunk, Place, check_columns, failure


class SqlSource:
    """Any query that DuckDB runs. The text may contain secrets, so the lineage names only its hash."""
    is_text = False
    rows_expected = 0

    def __init__(self, view: View, folder: Path, memory_bytes: int, temporary: str) -> None:
        self._view = view
        self._name = f"query of {view.name}"
        self._rows = 0
        self._connection = connect(memory_bytes, temporary, folder)
        try:
            if view.source.get("setup"):
                self._connection.execute(view.source["setup"])
            self._relation = self._connection.sql(view.source["query"])
            if self._relation is None:
                raise BadInput(f"{self._name}: it returns no rows by its nature; write a SELECT")
            self._there = self._relation.columns
            check_columns(view, self._there, self._name)
            self._refuse_wrapping_types()
        except duckdb.Error as error:
            raise failure(self._name, error) from error

    def _refuse_wrapping_types(self) -> None:
        """DuckDB hands a UHUGEINT over as a decimal of 128 bits with a sign: 2^128 - 1 would arrive as -1."""
        for column in self._view.columns:
            kind = str(self._relation.types[self._there.index(column.source)])
            if "UHUGEINT" in kind:
                raise BadInput(f"{self._name}: column {column.source} is {kind}, which DuckDB cannot hand over as it "
                               "is; cast it in the query, to HUGEINT if it is a number, to VARCHAR if it is a key")

    def chunks(self) -> Iterator[Chunk]:
        try:
            columns = selection(self._view, self._there)
            for chunk in read(self._relation, columns, self._view, Place(self._name, None, 1)):
                self._rows += chunk.batch.num_rows
                yield chunk
        except (duckdb.Error, OSError, pa.ArrowException) as error:
            raise failure(self._name, error) from error

    def lineage(self) -> list[dict[str, Any]]:
        digest = hashlib.sha256(self._view.source["query"].encode()).hexdigest()
        return [{"query_sha256": digest, "rows": self._rows}]

    def close(self) -> None:
        self._connection.close()
