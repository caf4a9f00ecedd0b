# SPDX-License-Identifier: Apache-2.0
"""Parquet files, read by pyarrow, row group by row group, through a small buffer."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Iterator

import pyarrow as pa
import pyarrow.parquet as pq

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
        self.rows_expected = sum(self._inspect(path, name) for path, name in zip(self._files.paths, self._files.names))

    def _open(self, path: Path) -> pq.ParquetFile:
        return pq.ParquetFile(path, memory_map=False, buffer_size=1 << 20, pre_buffer=False,
                              coerce_int96_timestamp_unit="us")

    def _inspect(self, path: Path, name: str) -> int:
        try:
            with self._open(path) as file:
                check_columns(self._view, file.schema_arrow.names, name)
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
        columns = [column.source for column in self._view.columns]
        calendar = _legacy_calendar(file.metadata.metadata or {})
        row = 1
        for group in range(file.num_row_groups):
            for batch in file.iter_batches(batch_rows(self._view), row_groups=[group], columns=columns):
                yield Chunk(Place(name, group, row), batch, calendar)
                row += batch.num_rows

    def lineage(self) -> list[dict[str, Any]]:
        return self._files.lineage()

    def close(self) -> None:
        self._files.close()
