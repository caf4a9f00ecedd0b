# SPDX-License-Identifier: Apache-2.0
"""Files and queries to Arrow record batches, each with the place of its rows.

Parquet is read by pyarrow, row group by row group, through a small buffer; CSV and SQL by DuckDB with a memory limit.
All files are opened once before any is read, for their columns and rows, and are hashed while they are read. Lines of a
CSV file that are not rows come as Malformed, after the rows of their file.
"""
from __future__ import annotations

import csv
import glob
import hashlib
import itertools
import os
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Iterator, Optional, Union

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from pillion.build.csv_lines import (LINE_BYTES_MAX, WRONG_QUOTE, Header, Lines, malformed, mixed_line_ends,
                                     read_header)
from pillion.build.errors import BadInput, BuildError, IoFailure
from pillion.build.project import View

BATCH_BYTES = 8 << 20
BATCH_ROWS_MAX = 65536
BATCH_ROWS_MIN = 256
_SUFFIXES = {"parquet": (".parquet", ".parq", ".pq"), "csv": (".csv", ".csv.gz", ".tsv")}


@dataclass(frozen=True)
class Place:
    source: str                # file, relative to the project file; or "query"
    row_group: Optional[int]
    first_row: int             # number in the file of the batch's first row, counted from 1 without malformed lines
    lines: Optional[Lines] = None

    def text(self, index: int) -> str:
        line = self.lines.of(self.first_row + index) if self.lines is not None else None
        if line is not None:
            return f"{self.source}, line {line}"
        group = f", row group {self.row_group}" if self.row_group is not None else ""
        return f"{self.source}{group}, row {self.first_row + index}"


@dataclass(frozen=True)
class Chunk:
    place: Place
    batch: pa.RecordBatch


@dataclass(frozen=True)
class Malformed:
    """A line that is not a row."""
    place: str
    what: str
    fix: str  # ends in a comma


def _failure(name: str, error: Exception) -> BuildError:
    """The error for a failure to read `name`: with an errno the machine is at fault, without one the content."""
    if isinstance(error, (duckdb.OutOfMemoryException, MemoryError)):
        return IoFailure(f"{name}: the memory limit does not suffice ({error}); raise it (--memory-limit)")
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, FileNotFoundError):
        return IoFailure(f"{name}: {error.strerror or error}")
    text = str(error).strip().split("\n\n")[0].replace("\n", " ")
    return BadInput(f"{name}: cannot be read: {text}; mend or remove it")


def _check_columns(view: View, there: list[str], name: str) -> None:
    for column in view.columns:
        count = there.count(column.source)
        if count == 0:
            raise BadInput(f"{name}: column {column.source} is missing ({column.target.text} of {view.name}); "
                           f"there are: {', '.join(there)}; write it, or name its column in field_mapping")
        if count > 1:
            raise BadInput(f"{name}: column {column.source} is there {count} times; rename the others")


def _batch_rows(view: View) -> int:
    return max(BATCH_ROWS_MIN, min(BATCH_ROWS_MAX, BATCH_BYTES // view.row_bytes_guess))


def find_files(pattern: str, kind: str, folder: Path) -> list[Path]:
    """The files of a path, which is a file, a folder (all files of the kind below it) or a glob; sorted. Leaves out
    hidden files, markers, and what a search at all depths finds in folders such as "_temporary" and "_delta_log"."""
    path = folder / pattern
    searched: Optional[Path] = None
    if path.is_dir():
        searched = path
        found = [p for p in path.rglob("*") if p.name.endswith(_SUFFIXES[kind])]
        wanted = f"{pattern} (a folder without {' or '.join(_SUFFIXES[kind])} files)"
    elif glob.has_magic(pattern) and not path.exists():
        found = [Path(p) for p in glob.glob(str(path), recursive=True)]
        wanted = pattern
        parts = Path(pattern).parts
        if "**" in parts:
            searched = folder.joinpath(*itertools.takewhile(lambda part: not glob.has_magic(part), parts))
    else:
        found, wanted = [path], pattern

    def is_shown(file: Path) -> bool:
        parts = file.relative_to(searched).parts if searched is not None else (file.name,)
        return not any(part.startswith((".", "_")) for part in parts)

    files = sorted(p for p in found if p.is_file() and is_shown(p))
    if not files:
        raise BadInput(f"{wanted}: no such file (paths are relative to {folder}); mend source.path or write the data")
    return files


class _Files:
    """Lineage of the files of a source: their size and hash when they were read."""

    def __init__(self, view: View, kind: str, folder: Path) -> None:
        self.paths = find_files(view.source["path"], kind, folder)
        self.names = [os.path.relpath(path, folder) for path in self.paths]
        self.rows = [0] * len(self.paths)
        self._stats: dict[int, os.stat_result] = {}
        self._hashes: dict[int, Future[str]] = {}
        self._pool = ThreadPoolExecutor(1, "hash")

    @staticmethod
    def _sha256(path: Path) -> str:
        digest = hashlib.sha256()
        with open(path, "rb", buffering=0) as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
        return digest.hexdigest()

    def begin(self, index: int) -> None:
        self._stats[index] = os.stat(self.paths[index])
        self._hashes[index] = self._pool.submit(self._sha256, self.paths[index])

    def lineage(self) -> list[dict[str, Any]]:
        result = []
        for index, (path, name) in enumerate(zip(self.paths, self.names)):
            digest, before, after = self._hashes[index].result(), self._stats[index], os.stat(path)
            if (before.st_size, before.st_mtime_ns, before.st_ino) != (after.st_size, after.st_mtime_ns, after.st_ino):
                raise BadInput(f"{name}: changed while it was read; build again when it is complete")
            result.append({"path": name, "bytes": after.st_size, "sha256": digest, "rows": self.rows[index]})
        return result

    def close(self) -> None:
        self._pool.shutdown(wait=True)


class ParquetSource:
    is_text = False

    def __init__(self, view: View, folder: Path) -> None:
        self._view = view
        self._files = _Files(view, "parquet", folder)
        self.rows_expected = sum(self._inspect(path, name) for path, name in zip(self._files.paths, self._files.names))

    def _open(self, path: Path) -> pq.ParquetFile:
        return pq.ParquetFile(path, memory_map=False, buffer_size=1 << 20, pre_buffer=False)

    def _inspect(self, path: Path, name: str) -> int:
        try:
            with self._open(path) as file:
                _check_columns(self._view, file.schema_arrow.names, name)
                return file.metadata.num_rows
        except (OSError, pa.ArrowException) as error:
            raise _failure(name, error) from error

    def chunks(self) -> Iterator[Chunk]:
        for index, (path, name) in enumerate(zip(self._files.paths, self._files.names)):
            self._files.begin(index)
            try:
                with self._open(path) as file:
                    yield from self._row_groups(file, name)
                    self._files.rows[index] = file.metadata.num_rows
            except (OSError, pa.ArrowException) as error:
                raise _failure(name, error) from error

    def _row_groups(self, file: pq.ParquetFile, name: str) -> Iterator[Chunk]:
        columns = [column.source for column in self._view.columns]
        row = 1
        for group in range(file.num_row_groups):
            for batch in file.iter_batches(_batch_rows(self._view), row_groups=[group], columns=columns):
                yield Chunk(Place(name, group, row), batch)
                row += batch.num_rows

    def lineage(self) -> list[dict[str, Any]]:
        return self._files.lineage()

    def close(self) -> None:
        self._files.close()


def _connect(memory_bytes: int, temporary: str, folder: Path) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"memory_limit": f"{memory_bytes}B", "temp_directory": temporary})
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"SET file_search_path = {_quoted(str(folder))}")
    return connection


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _selection(view: View, there: list[str]) -> str:
    """Selects the wanted columns of `there` by position: names may differ only in case, or equal a name
    (c0, c1, …) that csv_relation has given to another column."""
    names = dict.fromkeys(column.source for column in view.columns)
    return ", ".join(f'#{there.index(name) + 1} AS "' + name.replace('"', '""') + '"' for name in names)


def _read(relation: duckdb.DuckDBPyRelation, selection: str, view: View, place: Place) -> Iterator[Chunk]:
    for batch in relation.select(selection).to_arrow_reader(_batch_rows(view)):
        yield Chunk(place, batch)
        place = replace(place, first_row=place.first_row + batch.num_rows)


def csv_relation(connection: duckdb.DuckDBPyConnection, path: Path, header: Header) -> duckdb.DuckDBPyRelation:
    """All columns as text, named c0, c1, …. The table reject_errors gets one of the lines that DuckDB refuses: it only
    has to be known whether there are any."""
    columns = ", ".join(f"c{number}: 'VARCHAR'" for number in range(len(header.names)))
    return connection.sql(
        f"FROM read_csv({_quoted(str(path))}, auto_detect = false, columns = {{{columns}}}, header = true, "
        f"delim = {_quoted(header.delimiter)}, quote = '\"', escape = '\"', allow_quoted_nulls = false, "
        f"strict_mode = true, store_rejects = true, rejects_limit = 1, max_line_size = {LINE_BYTES_MAX})")


class CsvSource:
    """RFC 4180 with a header, delimited by comma, semicolon, tab or bar. Nothing is guessed from the values, so that
    one wrong quote cannot change the meaning of others. Every column is read as text; the view defines its type. An
    empty unquoted field is null."""
    is_text = True
    rows_expected = 0

    def __init__(self, view: View, folder: Path, memory_bytes: int, temporary: str) -> None:
        self._view = view
        self._files = _Files(view, "csv", folder)
        self._headers = [self._header(path, name) for path, name in zip(self._files.paths, self._files.names)]
        self._connection = _connect(memory_bytes, temporary, folder)

    def _header(self, path: Path, name: str) -> Header:
        try:
            header = read_header(path, [column.source for column in self._view.columns])
        except (OSError, ValueError, csv.Error) as error:
            raise _failure(name, error) from error
        if not header.names:
            raise BadInput(f"{name}: is empty; write a header line with the names of the columns")
        _check_columns(self._view, header.names, name)
        return header

    def chunks(self) -> Iterator[Union[Chunk, Malformed]]:
        for index, (path, name) in enumerate(zip(self._files.paths, self._files.names)):
            self._files.begin(index)
            header = self._headers[index]
            used = [header.names.index(column.source) for column in self._view.columns]
            place = Place(name, None, 1, Lines(path, header, used))
            try:
                relation = csv_relation(self._connection, path, header)
                for chunk in _read(relation, _selection(self._view, header.names), self._view, place):
                    self._files.rows[index] += chunk.batch.num_rows
                    yield chunk
                for line in self._malformed(path, name, header, used):
                    self._files.rows[index] += 1
                    yield line
            except duckdb.InvalidInputException as error:
                mixed = mixed_line_ends(path)
                if mixed is not None:
                    raise BadInput(f"{name}, line {mixed[0]}: ends in {mixed[1]}; write all lines alike") from error
                raise _failure(name, error) from error
            except (duckdb.Error, OSError, pa.ArrowException) as error:
                raise _failure(name, error) from error

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


class SqlSource:
    """Any query that DuckDB runs. The text may contain secrets, so the lineage names only its hash."""
    is_text = False
    rows_expected = 0

    def __init__(self, view: View, folder: Path, memory_bytes: int, temporary: str) -> None:
        self._view = view
        self._name = f"query of {view.name}"
        self._rows = 0
        self._connection = _connect(memory_bytes, temporary, folder)
        try:
            if view.source.get("setup"):
                self._connection.execute(view.source["setup"])
            self._relation = self._connection.sql(view.source["query"])
            if self._relation is None:
                raise BadInput(f"{self._name}: it returns no rows by its nature; write a SELECT")
            self._there = self._relation.columns
            _check_columns(view, self._there, self._name)
        except duckdb.Error as error:
            raise _failure(self._name, error) from error

    def chunks(self) -> Iterator[Chunk]:
        try:
            selection = _selection(self._view, self._there)
            for chunk in _read(self._relation, selection, self._view, Place(self._name, None, 1)):
                self._rows += chunk.batch.num_rows
                yield chunk
        except (duckdb.Error, OSError, pa.ArrowException) as error:
            raise _failure(self._name, error) from error

    def lineage(self) -> list[dict[str, Any]]:
        digest = hashlib.sha256(self._view.source["query"].encode()).hexdigest()
        return [{"query_sha256": digest, "rows": self._rows}]

    def close(self) -> None:
        self._connection.close()


def open_source(view: View, folder: Path, duckdb_bytes: int,
                temporary: str) -> Union[ParquetSource, CsvSource, SqlSource]:
    kind = view.source["type"]
    if kind == "parquet":
        return ParquetSource(view, folder)
    return (CsvSource if kind == "csv" else SqlSource)(view, folder, duckdb_bytes, temporary)
