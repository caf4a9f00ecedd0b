# SPDX-License-Identifier: Apache-2.0
"""Parquet files, read by pyarrow, row group by row group, through a small buffer."""
from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from pillion.build import parquet_memory
from pillion.build.files import Files
from pillion.build.project import View
from pillion.build.source import Chunk, Place, batch_rows, check_columns, failure


def _legacy_calendar(metadata: dict[bytes, bytes]) -> str:
    """By which mark a file says that its old times are in the calendar of Spark 2; "": they are not."""
    for mark in (b"org.apache.spark.legacyDateTime", b"org.apache.spark.legacyINT96"):
        if mark in metadata:
            return mark.decode()
    version = metadata.get(b"org.apache.spark.version", b"")
    return f"org.apache.spark.version {version.decode()}" if version.startswith((b"1.", b"2.")) else ""


class ParquetSource:
    is_text = False

    def __init__(self, view: View, folder: Path) -> None:
        self._view = view
        self._files = Files(view, "parquet", folder)
        self._columns = list(dict.fromkeys(column.source for column in view.columns))
        self._needs = parquet_memory.Needs()
        self.rows_expected = sum(self._inspect(path, name) for path, name in zip(self._files.paths, self._files.names))

    @property
    def _batch_rows(self) -> int:
        return batch_rows(self._view, self._needs.row)

    @property
    def reader_bytes(self) -> int:
        return self._needs.reader + parquet_memory.BATCHES * self._batch_rows * self._needs.row

    @property
    def reader_why(self) -> str:
        return f"{len(self._columns):,} columns with rows of {self._needs.row:,} bytes in pages of their own"

    def _open(self, path: Path) -> pq.ParquetFile:
        # Not "~/a" nor "s3:/a", which Arrow takes for a home and a URL.
        return pq.ParquetFile(f"./{os.path.relpath(path)}", memory_map=False, pre_buffer=False,
                              buffer_size=parquet_memory.stream_bytes(len(self._columns)),
                              coerce_int96_timestamp_unit="us", page_checksum_verification=True)

    def _inspect(self, path: Path, name: str) -> int:
        try:
            with self._open(path) as file:
                check_columns(self._view, file.schema_arrow.names, name)
                self._needs = self._needs.most(parquet_memory.needs(file.metadata, set(self._columns)))
                return file.metadata.num_rows
        except (OSError, pa.ArrowException) as error:
            raise failure(name, error) from error

    def chunks(self) -> Iterator[Chunk]:
        for index, (path, name) in enumerate(zip(self._files.paths, self._files.names)):
            self._files.begin(index)
            try:
                with self._open(path) as file:
                    yield from self._row_groups(file, name)
                    self._files.rows[index] = file.metadata.num_rows
            except (OSError, pa.ArrowException) as error:
                raise failure(name, error) from error

    def _row_groups(self, file: pq.ParquetFile, name: str) -> Iterator[Chunk]:
        calendar = _legacy_calendar(file.metadata.metadata or {})
        row = 1
        for group in range(file.num_row_groups):
            for batch in file.iter_batches(self._batch_rows, row_groups=[group], columns=self._columns):
                yield Chunk(Place(name, group, row), batch, calendar)
                row += batch.num_rows

    @property
    def passed(self) -> list[str]:
        return self._files.passed

    def lineage(self) -> list[dict[str, Any]]:
        return self._files.lineage()

    def close(self) -> None:
        self._files.close()
