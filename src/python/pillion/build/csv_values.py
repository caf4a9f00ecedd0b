# SPDX-License-Identifier: Apache-2.0
"""The spellings of values in CSV files: from those that a source's options name to the one that check parses."""
from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

from pillion.build.check import Target
from pillion.build.csv_dialect import Dialect
from pillion.build.terminal import shown

# What programs write for null. It is never taken for null by itself: it may be a text, or a mistake.
_NULLS = frozenset(("na", "n/a", "#n/a", "<na>", "nan", "null", "none", "nil", "nat", "\\n", "(null)", "-", ".", "?", "undefined",
                    "missing"))
_NUMBERS = ("int32", "int64", "float32", "float64")
_NO_NUMBER = "?"  # before a number whose separators are wrong: then check refuses it
_ZONE = r"^(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?) ?(?:UTC|GMT)$"
_TOO_FINE = r"(:\d\d\.\d{6})(\d{1,3})([^\d].*)?$"
TIME_FORMS = ("write 2026-01-31T12:00:00Z (also with a blank for the T, up to nine digits of a second, and a zone like "
              "+02:00 or UTC; a number has no unit)")


def _of_numbers(text: pa.Array, dialect: Dialect) -> pa.Array:
    decimal, thousands = re.escape(dialect.decimal), re.escape(dialect.thousands)
    whole = rf"(\d{{1,3}}({thousands}\d{{3}})+|\d*)" if thousands else r"\d*"
    number = rf"^[+-]?{whole}({decimal}\d*)?([eE][+-]?\d+)?$"
    good = pc.or_(pc.match_substring_regex(text, number), pc.match_substring_regex(text, r"^[+-]?[A-Za-z]+$"))
    plain = pc.replace_substring(text, dialect.thousands, "") if thousands else text
    plain = pc.replace_substring(plain, dialect.decimal, ".")
    return pc.if_else(good, plain, pc.binary_join_element_wise(_NO_NUMBER, text, ""))


def _of_times(text: pa.Array) -> tuple[pa.Array, int]:
    if pc.any(pc.match_substring_regex(text, "(UTC|GMT)$")).as_py():
        text = pc.replace_substring_regex(text, _ZONE, r"\1Z")
    if not pc.any(pc.match_substring_regex(text, _TOO_FINE)).as_py():
        return text, 0
    lost = pc.match_substring_regex(text, r":\d\d\.\d{6}0{0,2}[1-9]")
    return pc.replace_substring_regex(text, _TOO_FINE, r"\1\3"), pc.sum(lost).as_py() or 0


def canonical(array: pa.Array, target: Target, dialect: Dialect) -> tuple[pa.Array, int]:
    """The column as check parses it, and how many times were cut to microseconds. In columns of text a spelling of null
    counts without quotes only (DuckDB looks for it), in others also with quotes and blanks around it, where it could
    be nothing else."""
    if target.shape == "scalar" and target.scalar in ("string", "bytes"):
        return array, 0
    text = pc.utf8_trim_whitespace(array)
    text = pc.if_else(pc.is_in(text, pa.array(dialect.nulls, pa.string())), pa.scalar(None, pa.string()), text)
    if target.shape == "scalar" and target.scalar == "unix_timestamp":
        return _of_times(text)
    if target.shape == "scalar" and target.scalar in _NUMBERS and (dialect.decimal != "." or dialect.thousands):
        return _of_numbers(text, dialect), 0
    return text, 0


def misfit(value: str, target: Target, dialect: Dialect, is_secret: bool) -> tuple[str, str]:
    """The texts for a cell that does not fit: what is wrong, and what to do."""
    is_time = target.shape == "scalar" and target.scalar == "unix_timestamp"
    text = value.strip()
    what = f"holds {'a text' if is_secret else shown(value)}, which is not of type {target.text}"
    fix = f"{TIME_FORMS}, " if is_time else "mend the row, " if target.shape == "scalar" else "write a JSON array, "
    if text.lower() in _NULLS:
        fix = f"if it stands for null, write null_values: ['{text}'] into the source, {fix}"
    elif dialect.decimal == "." and not dialect.thousands and re.fullmatch(r"[+-]?\d+(\.\d{3})*,\d+|[+-]?\d+(,\d{3})+\.\d*",
                                                                        text):
        fix = ("if the comma is its decimal point, write decimal_separator: ',' into the source, if it groups digits, "
               f"thousands: ',', {fix}")
    return what, fix
