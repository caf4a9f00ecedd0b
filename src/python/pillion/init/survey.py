# SPDX-License-Identifier: Apache-2.0
"""Reads the files of one path to their end, through the readers of `pillion build`: what they refuse is refused here,
and what is inferred here is what they will read."""
from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterator, Optional

import pyarrow as pa
import pyarrow.parquet as pq

from pillion.build import memory
from pillion.build.check import Target
from pillion.build.csv_dialect import DELIMITERS, Dialect
from pillion.build.csv_lines import read_header
from pillion.build.csv_source import CsvSource
from pillion.build.errors import BadInput, NoFiles
from pillion.build.files import find_files
from pillion.build.parquet_source import ParquetSource
from pillion.build.project import Column, View
from pillion.build.source import Malformed, failure
from pillion.build.terminal import names, printable
from pillion.init.guess import Guess

HEAD_ROWS = 1000
_PARQUET_NAMES = (".parquet", ".parq", ".pq")
_PARQUET_MAGIC = (b"PAR1", b"PARE")
_INDEX = "__index_level_"  # pandas' name for an index without one


@dataclass
class Survey:
    """What a path holds."""
    path: str            # as the user named it
    kind: str            # "parquet" or "csv"
    files: list[Path]
    delimiter: str = ","
    rows: int = 0
    columns: dict[str, Guess] = field(default_factory=dict)  # by name, in the order of the first file
    left_out: dict[str, str] = field(default_factory=dict)   # columns that cannot be read, and why
    head: Optional[pa.Table] = None                          # the first rows

    @property
    def null_values(self) -> list[str]:
        return sorted(set().union(*(guess.nulls_to_write for guess in self.columns.values())))


def is_utf8(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _is_parquet(path: Path) -> bool:
    """By its name, or how it begins. Raises OSError."""
    if path.name.lower().endswith(_PARQUET_NAMES):
        return True
    with open(path, "rb") as file:
        return file.read(4) in _PARQUET_MAGIC


def _kind_of(path: str, folder: Path) -> tuple[str, list[Path]]:
    """What the files of the path are, and which they are."""
    found: dict[str, list[Path]] = {}
    refused: list[BadInput] = []
    for kind in ("parquet", "csv"):
        try:
            files = find_files(path, kind, folder)[0]
            if all(_is_parquet(file) == (kind == "parquet") for file in files):
                found[kind] = files
        except BadInput as error:
            refused.append(error)
        except OSError as error:
            raise failure(printable(path), error) from error
    if len(found) == 1:
        return next(iter(found.items()))
    if found or not refused:
        raise BadInput(f"{printable(path)}: there are Parquet and CSV files; name one kind, as in "
                       f"'{printable(path.rstrip('/'))}/*.csv'")
    for error in refused:
        if not isinstance(error, NoFiles):
            raise error
    what = "there is no Parquet and no CSV file in this folder" if (folder / path).is_dir() else "there is no such file"
    raise BadInput(f"{printable(path)}: {what}; name a file, a folder, or a glob in quotes")


def _shared(names_of: list[tuple[Path, list[str]]], survey: Survey) -> list[str]:
    """The columns that every file has once; the others are left out."""
    all_names = list(dict.fromkeys(name for _, there in names_of for name in there))
    shared = []
    for name in all_names:
        lacking = next((path for path, there in names_of if name not in there), None)
        if any(there.count(name) > 1 for _, there in names_of):
            survey.left_out[name] = "is there more than once; rename all but one"
        elif lacking is not None:
            survey.left_out[name] = f"is not in {printable(lacking.name)}"
        elif name.startswith(_INDEX):
            survey.left_out[name] = "is an index of pandas without a name; give it one to keep it"
        elif not name.strip():
            survey.left_out[name] = "has no name"
        elif not is_utf8(name):
            survey.left_out[name] = "has a name that is not UTF-8"
        else:
            shared.append(name)
    return shared


def _delimiter(path: Path) -> str:
    """The one that splits the header into most columns."""
    return max(DELIMITERS, key=lambda delimiter: len(read_header(path, [], Dialect(delimiter)).names))


def _csv_names(survey: Survey) -> list[tuple[Path, list[str]]]:
    found = []
    try:
        survey.delimiter = _delimiter(survey.files[0])
        for path in survey.files:
            found.append((path, read_header(path, [], Dialect(survey.delimiter)).names))
            if not found[-1][1]:
                raise BadInput(f"{printable(path.name)}: is empty; write a header line with the names of the columns")
    except ValueError as error:
        raise BadInput(f"{printable(survey.path)}: {error}") from error
    except OSError as error:
        raise failure(printable(survey.path), error) from error
    return found


def _parquet_names(survey: Survey) -> list[tuple[Path, list[str]]]:
    found = []
    for path in survey.files:
        try:
            found.append((path, pq.read_schema(f"./{os.path.relpath(path)}", memory_map=False).names))
        except (OSError, pa.ArrowException) as error:
            raise failure(printable(os.path.relpath(path)), error) from error
    return found


def _view(survey: Survey, columns: list[str]) -> View:
    source: dict[str, Any] = {"type": survey.kind, "path": survey.path}
    if survey.kind == "csv":
        source["delimiter"] = survey.delimiter
    text = Target.parse("string")
    return View(survey.path, source, [Column(name, name, text, name) for name in columns], is_static=True)


def _batches(survey: Survey, columns: list[str], folder: Path, temporary: str) -> Iterator[tuple[pa.RecordBatch, str]]:
    view = _view(survey, columns)
    if survey.kind == "parquet":
        source: Any = ParquetSource(view, folder)
    else:
        source = CsvSource(view, folder, memory.DUCKDB_BYTES_MIN * 4, temporary)
    try:
        for chunk in source.chunks():
            if isinstance(chunk, Malformed):
                raise BadInput(f"{chunk.place}: {chunk.what}; {chunk.fix}or leave the line out")
            yield chunk.batch, chunk.legacy_calendar
    finally:
        source.close()


def survey_path(path: str, folder: Path, temporary: str) -> Survey:
    """Raises BuildError."""
    if not is_utf8(path):
        raise BadInput(f"{printable(path)}: is not UTF-8, and a project file is; rename it")
    kind, files = _kind_of(path, folder)
    survey = Survey(path, kind, files)
    there = _csv_names(survey) if kind == "csv" else _parquet_names(survey)
    columns = _shared(there, survey)
    if not columns:
        raise BadInput(f"{printable(path)}: no column can be read; there are: {names(there[0][1])}")
    survey.columns = {name: Guess(name) for name in columns}
    head: list[pa.RecordBatch] = []
    for batch, calendar in _batches(survey, columns, folder, temporary):
        if survey.rows < HEAD_ROWS:
            head.append(batch.slice(0, HEAD_ROWS - survey.rows))
        survey.rows += batch.num_rows
        for name, array in zip(batch.schema.names, batch.columns):
            if kind == "csv":
                survey.columns[name].add_text(array)
            else:
                survey.columns[name].add(array, calendar)
    if survey.rows == 0:
        raise BadInput(f"{printable(path)}: has no rows, and types are inferred from rows; write some, or write the "
                       "project file by hand")
    survey.head = pa.Table.from_batches(head[:1]) if head else None
    return survey
