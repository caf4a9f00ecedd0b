# SPDX-License-Identifier: Apache-2.0
"""CSV files, read by DuckDB. Lines that are not rows come as Malformed, after the rows of their file."""
from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, Iterator, Union

import duckdb
import pyarrow as pa

from pillion.build import csv_values
from pillion.build.csv_dialect import Dialect, Header, compression_of, open_bytes
from pillion.build.csv_lines import LINE_BYTES_MAX, WRONG_QUOTE, Lines, malformed, mixed_line_ends, read_header
from pillion.build.duck import connect, quoted, read, selection
from pillion.build.errors import BadInput
from pillion.build.files import FileSource
from pillion.build.project import Column, View
from pillion.build.source import Chunk, Malformed, Place, check_columns, failure

COPY_BYTES = 1 << 20


class Opened:
    """A file as DuckDB reads it: by its descriptor, since a name with brackets would be a pattern. What DuckDB cannot
    decompress goes into a file without a name in `temporary` first."""

    def __init__(self, path: Path, temporary: str) -> None:
        compression = compression_of(path)
        self.compression = compression if compression in ("gzip", "zstd") else "none"
        if self.compression == "none" and compression is not None:
            # pylint: disable-next=consider-using-with; close() does
            self._file: Any = tempfile.TemporaryFile(dir=temporary, buffering=0)
            with open_bytes(path, compression) as stream:
                while block := stream.read(COPY_BYTES):
                    self._file.write(block)
        else:
            self._file = open(path, "rb", buffering=0)  # pylint: disable=consider-using-with
        self.name = f"/proc/self/fd/{self._file.fileno()}"

    def close(self) -> None:
        self._file.close()


def csv_relation(connection: duckdb.DuckDBPyConnection, opened: Opened, header: Header) -> duckdb.DuckDBPyRelation:
    """All columns as text, named c0, c1, …. The table reject_errors gets one of the lines that DuckDB refuses: it only
    has to be known whether there are any. Comments before the header do not count as lines to skip."""
    dialect = header.dialect
    columns = ", ".join(f"c{number}: 'VARCHAR'" for number in range(len(header.names)))
    comment = f", comment = {quoted(dialect.comment)}" if dialect.comment else ""
    skip = header.blank + 1 if header.line > 0 else 0
    return connection.sql(
        f"FROM read_csv({quoted(opened.name)}, hive_partitioning = false, auto_detect = false, "
        f"columns = {{{columns}}}, header = false, "
        f"skip = {skip}, compression = '{opened.compression}', delim = {quoted(header.delimiter)}, "
        f"quote = {quoted(dialect.quote)}, escape = {quoted(dialect.escape)}{comment}, "
        f"nullstr = [{', '.join(map(quoted, dialect.nulls))}], allow_quoted_nulls = false, "
        f"strict_mode = true, store_rejects = true, rejects_limit = 1, max_line_size = {LINE_BYTES_MAX})")


class CsvSource(FileSource):
    """RFC 4180 with a header, delimited by comma, semicolon, tab or bar, if the source's options say nothing else.
    Nothing is guessed from the values, so that one wrong quote cannot change the meaning of others. Every column is
    read as text; the view defines its type. An empty unquoted field is null."""
    is_text = True

    def __init__(self, view: View, folder: Path, memory_bytes: int, temporary: str) -> None:
        super().__init__(view, folder)
        self._temporary = temporary
        self._dialect = Dialect.parse(view.source)
        self._headers = [self._header(path, name) for path, name in zip(self.paths, self.names)]
        self._connection = connect(memory_bytes, temporary)

    def _header(self, path: Path, name: str) -> Header:
        try:
            header = read_header(path, [column.source for column in self.view.columns], self._dialect)
        except ValueError as error:
            raise BadInput(f"{name}: {error}") from error
        except OSError as error:
            raise failure(name, error) from error
        if not header.names:
            raise BadInput(f"{name}: is empty; write a header line with the names of the columns"
                           if self._dialect.names is None else f"{name}: is empty; write rows or remove it")
        check_columns(self.view, header.names, name)
        return header

    def canonical(self, array: pa.Array, column: Column) -> pa.Array:
        return csv_values.canonical(array, column.target, self._dialect)

    def advice(self, value: str, column: Column, is_element: bool) -> str:
        return csv_values.advice(value, column.target, is_element, self._dialect)

    def chunks(self) -> Iterator[Union[Chunk, Malformed]]:
        for index, path, name in self.reading():
            header = self._headers[index]
            used = [header.names.index(column.source) for column in self.view.columns]
            place = Place(name, None, 1, Lines(path, header, used))
            opened = None
            try:
                opened = Opened(path, self._temporary)
                relation = csv_relation(self._connection, opened, header)
                for chunk in read(relation, selection(self.view, header.names), self.view, place):
                    self.rows[index] += chunk.batch.num_rows
                    yield chunk
                for line in self._malformed(path, name, header, used):
                    self.rows[index] += 1
                    yield line
            except duckdb.InvalidInputException as error:
                mixed = mixed_line_ends(path)
                if mixed is not None:
                    raise BadInput(f"{name}, line {mixed[0]}: ends in {mixed[1]}; write all lines alike") from error
                raise failure(name, error, opened.name if opened is not None else "") from error
            except (duckdb.Error, OSError, pa.ArrowException) as error:
                raise failure(name, error, opened.name if opened is not None else "") from error
            finally:
                if opened is not None:
                    opened.close()

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
            raise BadInput(f"{name}: cannot be read: {refused[0]}; fix or remove it")

    def close(self) -> None:
        super().close()
        self._connection.close()
