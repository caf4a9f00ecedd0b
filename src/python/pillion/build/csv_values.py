# SPDX-License-Identifier: Apache-2.0
"""The spellings of values in CSV files: from those that a source's options name to the one that check parses."""
from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

from pillion.build.check import Target
from pillion.build.csv_dialect import Dialect
from pillion.build.scalar import NUMBERS

# What programs write for null. It is never taken for null by itself: it may be a text, or a mistake.
_NULLS = frozenset(("na", "n/a", "#n/a", "<na>", "nan", "null", "none", "nil", "nat", "\\n", "(null)", "-", ".", "?",
                    "undefined", "missing"))
_NO_NUMBER = "?"  # before a number whose separators are wrong: then check refuses it


def _of_numbers(text: pa.Array, dialect: Dialect) -> pa.Array:
    decimal, thousands = re.escape(dialect.decimal), re.escape(dialect.thousands)
    whole = rf"(\d{{1,3}}({thousands}\d{{3}})+|\d*)" if thousands else r"\d*"
    number = rf"^[+-]?{whole}({decimal}\d*)?([eE][+-]?\d+)?$"
    good = pc.or_(pc.match_substring_regex(text, number), pc.match_substring_regex(text, r"^[+-]?[A-Za-z]+$"))
    plain = pc.replace_substring(text, dialect.thousands, "") if thousands else text
    plain = pc.replace_substring(plain, dialect.decimal, ".")
    return pc.if_else(good, plain, pc.binary_join_element_wise(_NO_NUMBER, text, ""))


def canonical(array: pa.Array, target: Target, dialect: Dialect) -> pa.Array:
    """The column as check parses it. In columns of text a spelling of null counts without quotes only (DuckDB looks for
    it), in others also with quotes and blanks around it, where it could be nothing else."""
    if target.shape == "scalar" and target.scalar in ("string", "bytes"):
        return array
    text = pc.utf8_trim(array, " \t")
    text = pc.if_else(pc.is_in(text, pa.array(dialect.nulls, pa.string())), pa.scalar(None, pa.string()), text)
    if target.shape == "scalar" and target.scalar in NUMBERS and (dialect.decimal != "." or dialect.thousands):
        return _of_numbers(text, dialect)
    return text


def advice(value: str, target: Target, is_element: bool, dialect: Dialect) -> str:
    """Which option of the source may make this value one of the type; "" or a text that ends in a comma. No option is
    about elements of lists: they are JSON, and may not be null."""
    text = value.strip(" \t")
    if is_element:
        return "if it stands for null, leave it out, since lists have no nulls, " if text.lower() in _NULLS else ""
    if text.lower() in _NULLS:
        return f"if it stands for null, write null_values: ['{text}'] into the source, "
    is_number = target.shape == "scalar" and target.scalar in NUMBERS and not dialect.thousands
    if is_number and dialect.decimal == "." and re.fullmatch(r"[+-]?\d+(\.\d{3})*,\d+|[+-]?\d+(,\d{3})+\.\d*", text):
        return ("if the comma is its decimal point, write decimal_separator: ',' into the source, if it groups digits, "
                "thousands: ',', ")
    return ""
