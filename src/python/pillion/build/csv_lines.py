# SPDX-License-Identifier: Apache-2.0
"""CSV files as they appear in an editor: finds the delimiter of the header, and the line of a row or of a mistake.

DuckDB reads the values (sources) and decides which lines are rows. But it counts records where people count lines, and
for an open quote it names the record before. So this module reads the file again, by the same rules, when a line number
is needed.
"""
from __future__ import annotations

import csv
import io
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Optional, Sequence, TextIO

import pyarrow as pa

DELIMITERS = ",;\t|"
LINE_BYTES_MAX = 2_000_000
WRONG_QUOTE = "has a text in quotes that does not end at its quote"


def _open(path: Path, encoding: str) -> TextIO:
    """Line ends of all kinds end a line and are kept. Decompresses according to the file's name, as DuckDB does."""
    raw = pa.input_stream(str(path), compression="detect")
    return io.TextIOWrapper(raw, encoding=encoding, errors="surrogateescape", newline="")  # type: ignore[arg-type]


@dataclass(frozen=True)
class Header:
    delimiter: str
    names: list[str]  # empty: the file has no lines


def read_header(path: Path, wanted: Sequence[str]) -> Header:
    """The header, split by the delimiter that yields most of the wanted columns. Nothing is guessed from values."""
    best, most = Header(DELIMITERS[0], []), -1
    for delimiter in DELIMITERS:
        with _open(path, "utf-8-sig") as file:
            fields = next(csv.reader(file, delimiter=delimiter, skipinitialspace=True), [])
            names = [name.strip(" \t\r\n") for name in fields]
        known = sum(name in names for name in wanted)
        if known > most:
            best, most = Header(delimiter, names), known
    return best


def mixed_line_ends(path: Path) -> Optional[tuple[int, str]]:
    """The first line whose end differs from that of the first line, and its kind of line end. DuckDB accepts only one
    kind."""
    names = {"\n": "LF", "\r\n": "CR LF", "\r": "CR"}
    first = ""
    with _open(path, "latin-1") as file:
        for number, line in enumerate(file, 1):
            end = names.get(line[len(line.rstrip("\r\n")):][-2:], "")
            first = first or end
            if end not in ("", first):
                return number, f"{end} where those before it end in {first}"
    return None


# ---- Records

def _split_quoted(text: str, more: Iterator[str], delimiter: str) -> Optional[list[str]]:
    """The fields, quotes included, of a record that begins with `text`; while a quote is open, the record continues in
    lines from `more`. After reading the record, returns None if something follows a closing quote or a closing quote
    is missing."""
    fields: list[str] = []
    at, ok = 0, True
    while True:
        begin = len(text) - len(text[at:].lstrip(" "))
        quoted = text.startswith('"', begin)
        if quoted:
            at = begin + 1
        while quoted:
            close = text.find('"', at)
            if close < 0:
                line = next(more, None)
                if line is None:
                    return None
                at, text = len(text), text + line
                continue
            at = close + 1
            if not text.startswith('"', at):
                break
            at += 1
        rest, found, _ = text[at:].partition(delimiter)
        if not found:
            rest = rest.rstrip("\r\n")
        ok = ok and not (quoted and rest.strip(" "))
        fields.append(text[begin:at + len(rest)])
        at += len(rest) + 1
        if not found:
            return fields if ok else None


def _records(path: Path, header: Header) -> Iterator[tuple[int, Optional[list[str]]]]:
    """The line number and the fields of each record after the header. The fields are None if the record's quotes are
    wrong."""
    with _open(path, "utf-8-sig") as file:
        numbered = enumerate(file, 1)
        more = (line for _, line in numbered)
        for index, (number, line) in enumerate(numbered):
            if '"' in line:
                fields = _split_quoted(line, more, header.delimiter)
            else:
                fields = line.rstrip("\r\n").split(header.delimiter)
            if index > 0 and (fields != [""] or len(header.names) == 1):  # a blank line is not a record
                yield number, fields


def _is_utf8(text: str) -> bool:
    return text.isascii() or not any("\udc80" <= letter <= "\udcff" for letter in text)


def _bytes(fields: Sequence[str]) -> int:
    characters = sum(map(len, fields)) + len(fields)
    if 4 * characters <= LINE_BYTES_MAX:
        return characters
    return sum(len(field.encode("utf-8", "surrogateescape")) for field in fields) + len(fields)


def _mistake(fields: Optional[list[str]], header: Header, used: Sequence[int]) -> Optional[tuple[str, str]]:
    """What is wrong with a record, and what to do; None if nothing is. The rules are DuckDB's: there may be too many
    fields if nothing is between their delimiters, and only the columns in `used` (indices) must be UTF-8."""
    names = header.names
    if fields is None:
        return WRONG_QUOTE, "write quotes within quotes twice, "
    if _bytes(fields) > LINE_BYTES_MAX:
        return f"has more than {LINE_BYTES_MAX:,} bytes", "write less, or Parquet, "
    if len(fields) < len(names) or any(fields[len(names):]):
        missing = f" (column {names[len(fields)]} is the first that is missing)" if len(fields) < len(names) else ""
        return (f"has {len(fields)} field{'s' if len(fields) != 1 else ''} where the header has {len(names)}{missing}",
                "write one for each column (in quotes when the delimiter is in it), ")
    for column in used:
        if not _is_utf8(fields[column]):
            return f"column {names[column]} is not UTF-8", "write UTF-8, "
    return None


def malformed(path: Path, header: Header, used: Sequence[int]) -> Iterator[tuple[int, str, str]]:
    """Yields for each bad line: its number, what is wrong, what to do."""
    for line, fields in _records(path, header):
        mistake = _mistake(fields, header, used)
        if mistake is not None:
            yield (line, *mistake)


class Lines:
    """The line numbers of the rows of one file. Reads only as far as needed and continues from there: mistakes are few,
    and are asked for in order. Thread: any."""

    def __init__(self, path: Path, header: Header, used: Sequence[int]) -> None:
        self._arguments = (path, header, used)
        self._lock = threading.Lock()
        self._lines = self._rows()
        self._row = self._line = 0

    def _rows(self) -> Iterator[int]:
        path, header, used = self._arguments
        return (line for line, fields in _records(path, header) if _mistake(fields, header, used) is None)

    def of(self, row: int) -> Optional[int]:
        """The line of a row, counted from 1. None if the file has no such row."""
        with self._lock:
            if row < self._row:
                self._lines, self._row = self._rows(), 0
            while self._row < row:
                line = next(self._lines, None)
                if line is None:
                    return None
                self._row, self._line = self._row + 1, line
            return self._line
