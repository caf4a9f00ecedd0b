# SPDX-License-Identifier: Apache-2.0
"""What all kinds of sources share: record batches with the place of their rows, and the errors of reading."""
from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Iterator, Optional, Sequence, Union

import duckdb
import pyarrow as pa

from pillion.build.csv_lines import Lines
from pillion.build.errors import BadInput, BuildError, IoFailure, MissingExtension
from pillion.build.project import Column, View
from pillion.build.terminal import names

BATCH_BYTES = 8 << 20
BATCH_ROWS_MAX = 65536


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
    legacy_calendar: str = ""  # scalar.Origin


@dataclass(frozen=True)
class Malformed:
    """A line that is not a row."""
    place: str
    what: str
    fix: str  # ends in a comma


class Source:
    """Where the rows of a view come from. The constructor of a subclass opens it."""
    is_text = False  # the values are strings that are to be parsed
    rows_expected = 0  # 0: unknown
    reader_bytes = 0  # what reading takes, if that is known
    reader_why = "what the libraries hold"
    passed: Sequence[str] = ()  # the names of files that are not read

    def chunks(self) -> Iterator[Union[Chunk, Malformed]]:
        raise NotImplementedError

    def canonical(self, array: pa.Array, column: Column) -> pa.Array:
        """The column in the spelling that check parses."""
        del column
        return array

    def advice(self, value: str, column: Column, is_element: bool) -> str:
        """Which option of the source would make this text a value of the column: "", or advice that ends in a comma."""
        del value, column, is_element
        return ""

    def lineage(self) -> list[dict[str, Any]]:
        """Describes what was read, for the manifest."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


_EXTENSION = re.compile(r"""(?:required extension '|download extension "|extensions/\S*/|exists in the )(\w+)""")
_MACHINE = re.compile("Permission denied|No space left|Input/output error|Too many open files|Could not connect")


def failure(name: str, error: Exception, alias: str = "") -> BuildError:
    """The error for a failure to read `name`, which the reader may know as `alias`: the machine is at fault, or the
    content."""
    text = str(error).strip()
    if isinstance(error, (duckdb.OutOfMemoryException, MemoryError)):
        return IoFailure(f"{name}: the memory limit is too low ({error}); raise it (--memory-limit)")
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, FileNotFoundError):
        return IoFailure(f"{name}: {error.strerror or error}")
    extension = _EXTENSION.search(text) if isinstance(error, duckdb.Error) and "xtension" in text else None
    if extension is not None:
        return MissingExtension(
            f"{name}: DuckDB's extension {extension[1]} is not installed or not loaded; write INSTALL {extension[1]}; "
            f"LOAD {extension[1]}; into setup, and where there is no network install it beforehand: "
            f"python3 -c \"import duckdb; duckdb.sql('INSTALL {extension[1]}')\", whose files are in ~/.duckdb")
    text = text.split("\n\n")[0].replace("\n", " ")
    if alias:
        text = text.replace(alias, name)
    if isinstance(error, duckdb.Error) and _MACHINE.search(text):
        return IoFailure(f"{name}: {text}")
    return BadInput(f"{name}: cannot be read: {text}; fix or remove it")


def _refuse_column_of_folders(column: Column, view: View, name: str) -> None:
    """Raises BadInput if the column is in the names of folders, as Hive writes it."""
    above, found, value = f"/{name}".partition(f"/{column.source}=")
    if found:
        kind, root = view.source["type"], above[1:] or "."
        raise BadInput(f"{name}: column {column.source} is missing ({column.target.text} of {view.name}), and the name "
                       f"of a folder ({column.source}={value.partition('/')[0]}) is not a value; read the files with a "
                       f"query: {{type: sql, query: \"SELECT * FROM read_{kind}('{root}/**/*.{kind}', "
                       "hive_partitioning = true)\"}")


def check_columns(view: View, there: list[str], name: str) -> None:
    for column in view.columns:
        count = there.count(column.source)
        if count == 0:
            _refuse_column_of_folders(column, view, name)
            raise BadInput(f"{name}: column {column.source} is missing ({column.target.text} of {view.name}); "
                           f"there are: {names(there)}; write it, or name its column in field_mapping")
        if count > 1:
            raise BadInput(f"{name}: column {column.source} occurs {count} times; rename the others")


def batch_rows(view: View, row_bytes: int = 0) -> int:
    """`row_bytes`: what a row is known to have; 0: nothing is known."""
    return max(1, min(BATCH_ROWS_MAX, BATCH_BYTES // max(view.row_bytes_guess, row_bytes)))
