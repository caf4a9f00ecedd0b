# SPDX-License-Identifier: Apache-2.0
"""Queries, run by DuckDB."""
from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any, Iterator

import duckdb
import pyarrow as pa

from pillion.build.duck import connect, quoted, read, selection
from pillion.build.errors import BadInput
from pillion.build.project import View
from pillion.build.source import Chunk, Place, Source, check_columns, failure
from pillion.build.terminal import printable


_QUERIES = (duckdb.StatementType.SELECT, duckdb.StatementType.MULTI, duckdb.StatementType.CALL,
            duckdb.StatementType.EXECUTE)  # MULTI: PIVOT
_ATTACH = re.compile(r"""(?P<begin>(?:\s|--[^\n]*\n|/\*.*?\*/)*ATTACH\s+(?:OR\s+REPLACE\s+)?(?:DATABASE\s+)?
    (?:IF\s+NOT\s+EXISTS\s+)?'(?P<path>(?:[^']|'')*)'(?:\s+AS\s+(?:"[^"]*"|\w+))?)\s*
    (?:\((?P<options>[^()]*)\))?(?:\s|;|--[^\n]*(?:\n|$)|/\*.*?\*/)*""", re.IGNORECASE | re.DOTALL | re.VERBOSE)
_OPTION = r"\w+(?:\s+(?:[\w.+-]+|'(?:[^']|'')*'))?"  # matches neither comments nor quoted names
_OPTIONS = re.compile(rf"(?:{_OPTION}(?:\s*,\s*{_OPTION})*)?")
_READ_ONLY = re.compile(r"read_only(?:\s+(?:true|1))?", re.IGNORECASE)
_NOT_READ_ONLY = re.compile(r"(?:read_only|read_write|access_mode)\b", re.IGNORECASE)


def read_only(statement: str) -> str:
    """The ATTACH statement, made read-only, so that it neither writes to a database nor creates one. Raises ValueError,
    which says what is wrong."""
    match = _ATTACH.fullmatch(statement)
    if match is None:
        raise ValueError("this form of ATTACH is not supported; write ATTACH 'path' AS name (options)")
    if match["path"] in ("", ":memory:"):
        return statement
    text = (match["options"] or "").strip()
    if not _OPTIONS.fullmatch(text):
        raise ValueError("these options of ATTACH are not supported; write (NAME value, READ_ONLY)")
    others = [option for option in re.findall(_OPTION, text) if not _READ_ONLY.fullmatch(option)]
    wrong = [option for option in others if _NOT_READ_ONLY.match(option)]
    if wrong:
        raise ValueError(f"a build attaches databases read-only; remove ({printable(', '.join(wrong))}) "
                         "or write (READ_ONLY)")
    return f"{match['begin']} ({', '.join([*others, 'READ_ONLY'])})"


class SqlSource(Source):
    """Any query that DuckDB runs. The text may contain secrets, so the lineage names only its hash."""

    def __init__(self, view: View, folder: Path, memory_bytes: int, temporary: str) -> None:
        self._view = view
        self._name = f"query of {view.name}"
        self._rows = 0
        self._connection = connect(memory_bytes, temporary)
        self._connection.execute(f"SET file_search_path = {quoted(str(folder))}")
        self._set_up(view.source.get("setup") or "", f"setup of {view.name}")
        try:
            self._relation = self._connection.sql(self._query(view.source["query"]))
            self._there = self._relation.columns
            check_columns(view, self._there, self._name)
            self._refuse_wrapping_types()
        except duckdb.Error as error:
            raise failure(self._name, error) from error

    def _set_up(self, text: str, name: str) -> None:
        try:
            for statement in duckdb.extract_statements(text):
                is_attach = statement.type == duckdb.StatementType.ATTACH
                self._connection.execute(read_only(statement.query) if is_attach else statement.query)
        except duckdb.Error as error:
            raise failure(name, error) from error
        except ValueError as error:
            raise BadInput(f"{name}: {error}") from None

    def _query(self, text: str) -> str:
        statements = duckdb.extract_statements(text)
        if len(statements) != 1:
            raise BadInput(f"{self._name}: it has {len(statements)} statements; write one, and those before it into "
                           "setup")
        if statements[0].type not in _QUERIES:
            raise BadInput(f"{self._name}: this kind of statement returns no rows; write a SELECT")
        return text

    def _refuse_wrapping_types(self) -> None:
        """DuckDB hands a UHUGEINT over as a decimal of 128 bits with a sign: 2^128 - 1 would arrive as -1."""
        for column in self._view.columns:
            kind = str(self._relation.types[self._there.index(column.source)])
            if "UHUGEINT" in kind:
                raise BadInput(f"{self._name}: column {column.source} is {kind}, which DuckDB cannot return "
                               "unchanged; cast it in the query, to HUGEINT for a number, to VARCHAR for a key")

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
