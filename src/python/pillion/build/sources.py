# SPDX-License-Identifier: Apache-2.0
"""Files and queries to Arrow record batches, each with the place of its rows.

All files are opened once before any is read, for their columns and rows, and are hashed while they are read.
"""
from __future__ import annotations

from pathlib import Path
from pillion.build.csv_source import CsvSource
from pillion.build.parquet_source import ParquetSource
from pillion.build.project import View
from pillion.build.source import Source
from pillion.build.sql_source import SqlSource


def open_source(view: View, folder: Path, duckdb_bytes: int, temporary: str) -> Source:
    kind = view.source["type"]
    if kind == "parquet":
        return ParquetSource(view, folder)
    if kind == "csv":
        return CsvSource(view, folder, duckdb_bytes, temporary)
    return SqlSource(view, folder, duckdb_bytes, temporary)
