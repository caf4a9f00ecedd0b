# SPDX-License-Identifier: Apache-2.0
"""Parquet files, read by pyarrow, row group by row group, through a small buffer."""
from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Collection, Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from pillion.build import parquet_memory
from pillion.build.errors import BadInput
from pillion.build.files import FileSource
from pillion.build.project import View
from pillion.build.source import Chunk, Place, batch_rows, check_columns, failure


def _legacy_calendar(metadata: dict[bytes, bytes]) -> str:
    """The mark by which a file says that its old times are in the calendar of Spark 2; "" if it has none."""
    for mark in (b"org.apache.spark.legacyDateTime", b"org.apache.spark.legacyINT96"):
        if mark in metadata:
            return mark.decode()
    version = metadata.get(b"org.apache.spark.version", b"")
    return f"org.apache.spark.version {version.decode()}" if version.startswith((b"1.", b"2.")) else ""


def _leaf_count(kind: pa.DataType) -> int:
    """How many columns of the file a column of this type has."""
    if isinstance(kind, pa.BaseExtensionType):
        return _leaf_count(kind.storage_type)
    return sum(_leaf_count(kind.field(index).type) for index in range(kind.num_fields)) or 1


def _leaves(schema: pa.Schema, wanted: Collection[str]) -> list[int]:
    """The indices of the file's columns in which these columns are. Names do not tell: "a.b" may be a column, or b of
    the struct a."""
    ends = list(itertools.accumulate(_leaf_count(field.type) for field in schema))
    spans = zip(schema.names, [0, *ends], ends)
    return [leaf for name, begin, end in spans if name in wanted for leaf in range(begin, end)]


def _refuse_fields(view: View, schema: pa.Schema, name: str) -> None:
    """Raises BadInput if a column that the view wants is a field of a struct."""
    for column in view.columns:
        head, dot, rest = column.source.partition(".")
        if dot and column.source not in schema.names and schema.names.count(head) == 1 and pa.types.is_struct(
                schema.field(head).type):
            raise BadInput(f"{name}: column {column.source} is missing ({column.target.text} of {view.name}); there is "
                           f"a struct {head}, whose fields are not columns; write {rest} as a column, or use a query: "
                           f"{{type: sql, query: \"SELECT {head}.{rest} AS {column.name}, … FROM '{name}'\"}}")


class ParquetSource(FileSource):
    def __init__(self, view: View, folder: Path) -> None:
        super().__init__(view, folder)
        self._columns = {column.source for column in view.columns}
        self._needs = parquet_memory.Needs()
        self.rows_expected = sum(self._inspect(path, name) for path, name in zip(self.paths, self.names))

    @property
    def _batch_rows(self) -> int:
        return batch_rows(self.view, self._needs.row)

    @property
    def reader_bytes(self) -> int:  # type: ignore[override]
        return self._needs.reader + parquet_memory.BATCHES * self._batch_rows * self._needs.row

    @property
    def reader_why(self) -> str:  # type: ignore[override]
        return f"{len(self._columns):,} columns with rows of {self._needs.row:,} bytes in pages of their own"

    def _open(self, path: Path) -> pq.ParquetFile:
        # The prefix keeps Arrow from taking "~/a" for a home folder and "s3:/a" for a URL.
        return pq.ParquetFile(f"./{os.path.relpath(path)}", memory_map=False, pre_buffer=False,
                              buffer_size=parquet_memory.stream_bytes(len(self._columns)),
                              coerce_int96_timestamp_unit="us", page_checksum_verification=True)

    def _inspect(self, path: Path, name: str) -> int:
        try:
            with self._open(path) as file:
                _refuse_fields(self.view, file.schema_arrow, name)
                check_columns(self.view, file.schema_arrow.names, name)
                leaves = _leaves(file.schema_arrow, self._columns)
                self._needs = self._needs.most(parquet_memory.needs(file.metadata, leaves))
                return file.metadata.num_rows
        except (OSError, pa.ArrowException) as error:
            raise failure(name, error) from error

    def chunks(self) -> Iterator[Chunk]:
        for index, path, name in self.reading():
            try:
                with self._open(path) as file:
                    yield from self._row_groups(file, name)
                    self.rows[index] = file.metadata.num_rows
            except (OSError, pa.ArrowException) as error:
                raise failure(name, error) from error

    def _row_groups(self, file: pq.ParquetFile, name: str) -> Iterator[Chunk]:
        calendar = _legacy_calendar(file.metadata.metadata or {})
        leaves = _leaves(file.schema_arrow, self._columns)
        row = 1
        for group in range(file.num_row_groups):
            # Not file.iter_batches: it takes names, and "a.b" stands for the field b of a struct a, too.
            for batch in file.reader.iter_batches(self._batch_rows, row_groups=[group], column_indices=leaves,
                                                  use_threads=True):
                yield Chunk(Place(name, group, row), batch, calendar)
                row += batch.num_rows
