# SPDX-License-Identifier: Apache-2.0
"""CSV files, read by DuckDB. Lines that are not rows come as Malformed, after the rows of their file."""
from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, Iterator, Union

import duckdb
import pyarrow as pa

from pillion.build.csv_lines import (LINE_BYTES_MAX, WRONG_QUOTE, Header, Lines, malformed, mixed_line_ends,
                                     read_header)
from pillion.build.duck import connect, quoted, read, selection
from pillion.build.errors import BadInput
from pillion.build.files import Files
from pillion.build.project import View
from pillion.build.source import Chunk, Malformed, Place, check_columns, failure


def csv_relation(connection: duckdb.DuckDBPyConnection, path: Path, header: Header) -> duckdb.DuckDBPyRelation:
    """All columns as text, named c0, c1, …. The table reject_errors gets one of the lines that DuckDB refuses: it only
    has to be known whether there are any."""
    columns = ", ".join(f"c{number}: 'VARCHAR'" for number in range(len(header.names)))
    return connection.sql(
        f"FROM read_csv({quoted(str(path))}, auto_detect = false, columns = {{{columns}}}, header = true, "
        f"delim = {quoted(header.delimiter)}, quote = '\"', escape = '\"', allow_quoted_nulls = false, "
        f"strict_mode = true, store_rejects = true, rejects_limit = 1, max_line_size = {LINE_BYTES_MAX})")


class CsvSource:
    """RFC 4180 with a header, delimited by comma, semicolon, tab or bar. Nothing is guessed from the values, so that
    one wrong quote cannot change the meaning of others. Every column is read as text; the view defines its type. An
    empty unquoted field is null."""
    is_text = True
    rows_expected = 0

    def __init__(self, view: View, folder: Path, memory_bytes: int, temporary: str) -> None:
        self._view = view
        self._files = Files(view, "csv", folder)
        self._headers = [self._header(path, name) for path, name in zip(self._files.paths, self._files.names)]
        self._connection = connect(memory_bytes, temporary, folder)

    def _header(self, path: Path, name: str) -> Header:
        try:
            header = read_header(path, [column.source for column in self._view.columns])
        except (OSError, ValueError, csv.Error) as error:
            raise failure(name, error) from error
        if not header.names:
            raise BadInput(f"{name}: is empty; write a header line with the names of the columns")
        check_columns(self._view, header.names, name)
        return header

    def chunks(self) -> Iterator[Union[Chunk, Malformed]]:
        for index, (path, name) in enumerate(zip(self._files.paths, self._files.names)):
            self._files.begin(index)
            header = self._headers[index]
            used = [header.names.index(column.source) for column in self._view.columns]
            place = Place(name, None, 1, Lines(path, header, used))
            try:
                relation = csv_relation(self._connection, path, header)
                for chunk in read(relation, selection(self._view, header.names), self._view, place):
                    self._files.rows[index] += chunk.batch.num_rows
                    yield chunk
                for line in self._malformed(path, name, header, used):
                    self._files.rows[index] += 1
                    yield line
            except duckdb.InvalidInputException as error:
                mixed = mixed_line_ends(path)
                if mixed is not None:
                    raise BadInput(f"{name}, line {mixed[0]}: ends in {mixed[1]}; write all lines alike") from error
                raise failure(name, error) from error
            except (duckdb.Error, OSError, pa.ArrowException) as error:
                raise failure(name, error) from error

    def _malformed(self, path: Path, name: str, header: Header, used: list[int]) -> Iterator[Malformed]:
        """The lines that DuckDB refused in the file that it has just read."""
        refused = self._connection.execute("SELECT error_message FROM reject_errors").fetchone()
        self._connection.execute("DROP TABLE reject_errors; DROP TABLE reject_scans")
        if refused is None:
            return
        found = 0
        for line, what, fix in malformed(path, header, used):
            found += 1
            if what == WRONG_QUOTE:  # DuckDB may have continued inside it and made rows of other text
                raise BadInput(f"{name}, line {line}: {what}, so the rest of the file is ambiguous; "
                               "write quotes within quotes twice")
            yield Malformed(f"{name}, line {line}", what, fix)
        if found == 0:
            raise BadInput(f"{name}: cannot be read: {refused[0]}; mend or remove it")

    def lineage(self) -> list[dict[str, Any]]:
        return self._files.lineage()

    def close(self) -> None:
        self._files.close()
        self._connection.close()
