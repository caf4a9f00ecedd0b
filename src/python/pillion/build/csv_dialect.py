# SPDX-License-Identifier: Apache-2.0
"""How a CSV file is written: the options of its source, the header, and what its bytes are (text, gzip, Parquet …)."""
from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, TextIO

import pyarrow as pa

DELIMITERS = ",;\t|"
PEEK_BYTES = 512

# Compressed files that are read, under the names that DuckDB and Arrow use.
_COMPRESSIONS = ((rb"\x1f\x8b", "gzip"), (rb"BZh[1-9](1AY&SY|\x17rE8P\x90)", "bz2"), (rb"\x28\xb5\x2f\xfd", "zstd"))
_OF_TEXT = b"\t\r\n\x01"  # control bytes that occur in text: line ends and delimiters
# An ASCII signature may also begin a header (ORCID): it counts only where bytes follow that text never contains.
_NO_TEXT = (
    (b"PAR1", "Parquet; write type: parquet into the source"),
    (b"ORC", "ORC; write Parquet or CSV"),
    (b"ARROW1", "Arrow IPC (Feather); write Parquet or CSV"),
    (b"Obj\x01", "Avro; write Parquet or CSV"),
    (b"PK\x03\x04", "a ZIP archive (or a spreadsheet); write CSV, also as gzip, bz2 or zstd"),
    (b"\xfd7zXZ\0", "xz; write CSV, also as gzip, bz2 or zstd"),
    (b"\x04\x22\x4d\x18", "lz4; write CSV, also as gzip, bz2 or zstd"),
    (b"SQLite format 3\0", "an SQLite database; use type: sql"),
    (b"\xff\xfe\0\0", "UTF-32; write UTF-8"),
    (b"\xff\xfe", "UTF-16; write UTF-8"),
    (b"\xfe\xff", "UTF-16; write UTF-8"),
)


@dataclass(frozen=True)
class Dialect:
    """The options of a source of type csv; schemas/project.schema.json explains them."""
    delimiter: Optional[str] = None  # None: the one of DELIMITERS that the header speaks for
    quote: str = '"'
    escape: str = '"'
    comment: str = ""
    decimal: str = "."
    thousands: str = ""
    nulls: tuple[str, ...] = ("",)
    names: Optional[tuple[str, ...]] = None  # None: the first line that is neither blank nor a comment has them

    @staticmethod
    def parse(source: dict[str, Any]) -> Dialect:
        quote = source.get("quote", '"')
        names = source.get("column_names")
        return Dialect(
            source.get("delimiter"), quote, source.get("escape", quote) if quote else "", source.get("comment", ""),
            source.get("decimal_separator", "."), source.get("thousands", ""),
            ("", *dict.fromkeys(text for text in source.get("null_values", []) if text)),
            None if names is None else tuple(names))


@dataclass(frozen=True)
class Header:
    """What the lines of one file are read by."""
    delimiter: str
    names: list[str]  # empty: the file has no lines
    dialect: Dialect = Dialect()
    blank: int = 0       # lines before the header that are blank
    line: int = 0        # of the header; 0: the file has none


def compression_of(path: Path) -> Optional[str]:
    """Found by the content; the name of the file does not matter. Raises ValueError, which says what to do, if the file
    is not text."""
    with open(path, "rb") as file:
        begin = file.read(PEEK_BYTES)
    for magic, name in _COMPRESSIONS:
        if re.match(magic, begin):
            with open_bytes(path, name) as stream:
                check_text(stream.read(PEEK_BYTES))
            return name
    check_text(begin)
    return None


def open_bytes(path: Path, compression: Optional[str]) -> pa.NativeFile:
    """Decompresses. The file is opened by Python, since Arrow takes no name that is not UTF-8."""
    return pa.input_stream(open(path, "rb"), compression=compression)  # pylint: disable=consider-using-with


def check_text(begin: bytes) -> None:
    is_binary = any(byte < ord(" ") and byte not in _OF_TEXT for byte in begin)
    for magic, what in _NO_TEXT:
        if begin.startswith(magic) and (is_binary or not magic.isascii()):
            raise ValueError(f"is {what}")
    if b"\0" in begin:
        raise ValueError("is not text: it contains zero bytes; write CSV in UTF-8")


def open_text(path: Path, encoding: str) -> TextIO:
    """Line ends of all kinds end a line and are kept."""
    return io.TextIOWrapper(open_bytes(path, compression_of(path)), encoding=encoding,  # type: ignore[arg-type]
                            errors="surrogateescape", newline="")
