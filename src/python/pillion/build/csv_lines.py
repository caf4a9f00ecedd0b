# SPDX-License-Identifier: Apache-2.0
"""CSV files as people see them in an editor: which delimiter the header has, and in which line a row or a mistake is.
Values are DuckDB's to read (sources), and it decides which lines are rows. But it counts records where people count
lines, and for open quotes names the record before: so whoever needs a line reads the file again, by the same rules.
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
    """Line ends of all kinds end a line and are kept; compression by the name, as DuckDB has it."""
    raw = pa.input_stream(str(path), compression="detect")
    return io.TextIOWrapper(raw, encoding=encoding, errors="surrogateescape", newline="")  # type: ignore[arg-type]


@dataclass(frozen=True)
class Header:
    delimiter: str
    names: list[str]  # empty: there is no line at all


def read_header(path: Path, wanted: Sequence[str]) -> Header:
    """With the delimiter that makes most of the wanted columns be there: nothing is guessed from values."""
    best, most = Header(DELIMITERS[0], []), -1
    for delimiter in DELIMITERS:
        with _open(path, "utf-8-sig") as file:
            names = [name.strip() for name in next(csv.reader(file, delimiter=delimiter, skipinitialspace=True), [])]
        known = sum(name in names for name in wanted)
        if known > most:
            best, most = Header(delimiter, names), known
    return best


def mixed_line_ends(path: Path) -> Optional[tuple[int, str]]:
    """The first line that ends in another way than the first one, and how; DuckDB wants one way."""
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
    """Fields, quotes included, of a record that begins with `text` and takes further lines from `more` while a quote
    is open. None, when all of it is read: something follows a closing quote, or there is none."""
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
    """The first line and the fields of each record behind the header; None for the fields: its quotes are wrong."""
    with _open(path, "utf-8-sig") as file:
        numbered = enumerate(file, 1)
        more = (line for _, line in numbered)
        for index, (number, line) in enumerate(numbered):
            if '"' in line:
                fields = _split_quoted(line, more, header.delimiter)
            else:
                fields = line.rstrip("\r\n").split(header.delimiter)
            if index > 0 and (fields != [""] or len(header.names) == 1):  # a blank line is none
                yield number, fields


def _is_utf8(text: str) -> bool:
    return text.isascii() or not any("\udc80" <= letter <= "\udcff" for letter in text)


def _bytes(fields: Sequence[str]) -> int:
    characters = sum(map(len, fields)) + len(fields)
    if 4 * characters <= LINE_BYTES_MAX:
        return characters
    return sum(len(field.encode("utf-8", "surrogateescape")) for field in fields) + len(fields)


def _mistake(fields: Optional[list[str]], header: Header, used: Sequence[int]) -> Optional[tuple[str, str]]:
    """What is wrong, and what to do; None: nothing. DuckDB's rules: fields may be too many when nothing is between
    their delimiters, and only columns that are used (by their indices) have to be UTF-8."""
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
    """Line, what is wrong, what to do."""
    for line, fields in _records(path, header):
        mistake = _mistake(fields, header, used)
        if mistake is not None:
            yield (line, *mistake)


class Lines:
    """Lines of the rows of one file. Reads as far as it is asked, and goes on from there: mistakes are few, and come
    in order. Thread: any."""

    def __init__(self, path: Path, header: Header, used: Sequence[int]) -> None:
        self._arguments = (path, header, used)
        self._lock = threading.Lock()
        self._lines = self._rows()
        self._row = self._line = 0

    def _rows(self) -> Iterator[int]:
        path, header, used = self._arguments
        return (line for line, fields in _records(path, header) if _mistake(fields, header, used) is None)

    def of(self, row: int) -> Optional[int]:
        """Row numbers start at 1. None: the file has no such row."""
        with self._lock:
            if row < self._row:
                self._lines, self._row = self._rows(), 0
            while self._row < row:
                line = next(self._lines, None)
                if line is None:
                    return None
                self._row, self._line = self._row + 1, line
            return self._line
