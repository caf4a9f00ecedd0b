# SPDX-License-Identifier: Apache-2.0
"""CSV files as they appear in an editor: finds the header, and the line of a row or of a mistake.

DuckDB reads the values (sources) and decides which lines are rows. But it counts records where people count lines, and
for an open quote it names the record before. So this module reads the file again, by the same rules, when a line number
is needed.
"""
from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Iterator, Optional, Sequence

from pillion.build.csv_dialect import DELIMITERS, Dialect, Header, open_text

LINE_BYTES_MAX = 2_000_000
WRONG_QUOTE = "has a text in quotes that does not end at its quote"


def read_header(path: Path, wanted: Sequence[str], dialect: Dialect) -> Header:
    """The header, split by the delimiter that yields most of the wanted columns. With column_names: these, and the
    delimiter that splits the first line into as many fields, or nearly as many. Nothing is guessed from values."""
    delimiters = dialect.delimiter or "".join(c for c in DELIMITERS if c not in (dialect.quote, dialect.comment))
    found: list[tuple[int, Header]] = []
    for delimiter in delimiters:
        header, fields = _header(path, Header(delimiter, [], dialect))
        fit = (sum(name in header.names for name in wanted) if dialect.names is None else
               -abs(len(fields) - len(dialect.names)))
        found.append((fit, header))
    return max(found, key=lambda pair: pair[0])[1]  # the first of several


def _header(path: Path, header: Header) -> tuple[Header, list[str]]:
    """The header, and the fields of the first line that is neither blank nor a comment."""
    blank = 0
    for number, fields in _records(path, header):
        if fields == [""]:
            blank += 1
        elif fields == []:
            continue
        elif header.dialect.names is not None:
            return Header(header.delimiter, list(header.dialect.names), header.dialect), fields or []
        else:
            names = [_unquoted(field, header) for field in fields or []]
            return Header(header.delimiter, names, header.dialect, blank, number), fields or []
    return header, []


def mixed_line_ends(path: Path) -> Optional[tuple[int, str]]:
    """The first line whose end differs from that of the first line, and its kind of line end. DuckDB accepts only one
    kind."""
    names = {"\n": "LF", "\r\n": "CR LF", "\r": "CR"}
    first = ""
    with open_text(path, "latin-1") as file:
        for number, line in enumerate(file, 1):
            end = names.get(line[len(line.rstrip("\r\n")):][-2:], "")
            first = first or end
            if end not in ("", first):
                return number, f"{end} where those before it end in {first}"
    return None


# ---- Records

class _Splitter:
    """Splits records as DuckDB does: the fields keep their quotes and spaces."""

    def __init__(self, header: Header) -> None:
        dialect = header.dialect
        self._delimiter, self._quote, self._comment = header.delimiter, dialect.quote, dialect.comment
        self._spaces = "" if header.delimiter == " " else " "
        self._stop = re.compile(f"[{re.escape(header.delimiter + dialect.comment)}]")
        escaped = re.escape(dialect.escape or dialect.quote) + (re.escape(dialect.quote) if dialect.escape ==
                                                                dialect.quote else ".")
        self._close = re.compile(f"(?P<pair>{escaped})|{re.escape(dialect.quote)}", re.DOTALL)

    def split(self, line: str, more: Iterator[str]) -> Optional[list[str]]:
        """The fields of the record that begins with `line`; while a quote is open, the record continues in lines from
        `more`. [] for a line that is a comment. After reading the record, returns None if something follows a closing
        quote or a closing quote is missing."""
        if self._comment and line.lstrip(" ").startswith(self._comment):
            return []
        if self._quote and self._quote in line:
            return self._split_quoted(line, more)
        text = line.rstrip("\r\n")
        return (text.partition(self._comment)[0] if self._comment else text).split(self._delimiter)

    def _split_quoted(self, text: str, more: Iterator[str]) -> Optional[list[str]]:
        fields: list[str] = []
        at, ok = 0, True
        while True:
            begin = len(text) - len(text[at:].lstrip(self._spaces))
            quoted = text.startswith(self._quote, begin)
            if quoted:
                at = begin + 1
            while quoted:
                found = self._close.search(text, at)
                if found is None:
                    line = next(more, None)
                    if line is None:
                        return None
                    at, text = len(text), text + line
                    continue
                at = found.end()
                if found["pair"] is None:
                    break
            stop = self._stop.search(text, at)
            rest = text[at:stop.start()] if stop is not None else text[at:].rstrip("\r\n")
            ok = ok and not (quoted and rest.strip(self._spaces))
            fields.append(text[begin:at + len(rest)])
            at += len(rest) + 1
            if stop is None or stop[0] != self._delimiter:
                return fields if ok else None


def _unquoted(field: str, header: Header) -> str:
    text, quote, escape = field.strip(" \t\r\n"), header.dialect.quote, header.dialect.escape
    if not quote or not text.startswith(quote):
        return text
    return re.sub(re.escape(escape) + "(.)", r"\1", text[1:-1], flags=re.DOTALL).strip(" \t\r\n")


def _records(path: Path, header: Header) -> Iterator[tuple[int, Optional[list[str]]]]:
    """The line number and the fields of each record, header, blank lines ([""]) and comments ([]) included. The fields
    are None if the record's quotes are wrong."""
    splitter = _Splitter(header)
    with open_text(path, "utf-8-sig") as file:
        numbered = enumerate(file, 1)
        more = (line for _, line in numbered)
        for number, line in numbered:
            yield number, splitter.split(line, more)


def _rows(path: Path, header: Header) -> Iterator[tuple[int, Optional[list[str]]]]:
    """The records after the header, without comments and blank lines."""
    for number, fields in _records(path, header):
        if number > header.line and fields != [] and (fields != [""] or len(header.names) == 1):
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
        wanted = "the header has" if header.line > 0 else "there are column_names for"
        return (f"has {len(fields)} field{'s' if len(fields) != 1 else ''} where {wanted} {len(names)}{missing}",
                "write one for each column (in quotes when the delimiter is in it), ")
    for column in used:
        if not _is_utf8(fields[column]):
            return f"column {names[column]} is not UTF-8", "write UTF-8, "
    return None


def malformed(path: Path, header: Header, used: Sequence[int]) -> Iterator[tuple[int, str, str]]:
    """Yields for each bad line: its number, what is wrong, what to do."""
    for line, fields in _rows(path, header):
        mistake = _mistake(fields, header, used)
        if mistake is not None:
            yield (line, *mistake)


class Lines:
    """The line numbers of the rows of one file. Reads only as far as needed and continues from there: mistakes are few,
    and are asked for in order. Thread: any."""

    def __init__(self, path: Path, header: Header, used: Sequence[int]) -> None:
        self._arguments = (path, header, used)
        self._lock = threading.Lock()
        self._lines = self._good()
        self._row = self._line = 0

    def _good(self) -> Iterator[int]:
        path, header, used = self._arguments
        return (line for line, fields in _rows(path, header) if _mistake(fields, header, used) is None)

    def of(self, row: int) -> Optional[int]:
        """The line of a row, counted from 1. None if the file has no such row."""
        with self._lock:
            if row < self._row:
                self._lines, self._row = self._good(), 0
            while self._row < row:
                line = next(self._lines, None)
                if line is None:
                    return None
                self._row, self._line = self._row + 1, line
            return self._line
