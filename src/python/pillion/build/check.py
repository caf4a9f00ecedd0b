# SPDX-License-Identifier: Apache-2.0
"""Converts a source's columns to the types of the view, by the rule of scalar.py, and says what cannot be converted."""
from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Any, Optional, Union

import pyarrow as pa
import pyarrow.compute as pc

from pillion.build.scalar import (ARROW, HALVES, NUMBERS, Converted, Misfit, Origin, convert_text, convert_typed,
                                  is_string)
from pillion.build.terminal import printable

_WIDER = {"scalar": ("int64", "float64"), "list": ("int64", "float64"), "vector": ("float16", "float32")}
_TIMES = ("write 2026-01-31T12:00:00Z (also with a blank for the T, up to nine digits of a second, and a zone like "
          "+02:00 or UTC; a number has no unit), ")
_HEAD, _TAIL = 40, 20  # characters of a long value in a message


class WrongType(Exception):
    """The column's type cannot be converted to the view's type at all; the text says what to do."""


@dataclass(frozen=True)
class Target:
    """The type of a key or feature, parsed from its name in the project file."""
    text: str
    shape: str  # "scalar", "list" or "vector"
    scalar: str
    dimension: int = 0

    @staticmethod
    def parse(text: str) -> Target:
        match = re.fullmatch(r"(list|vector)<(\w+)(?:,(\d+))?>", text)
        if match is None:
            return Target(text, "scalar", text)
        return Target(text, match.group(1), match.group(2), int(match.group(3) or 0))

    @property
    def arrow(self) -> pa.DataType:
        item = ARROW[self.scalar]
        return item if self.shape == "scalar" else pa.list_(item)


# ---- Lists and vectors

def _lists(lengths: pa.Array, items: Converted, rows: pa.Array) -> Converted:
    """Lists of these lengths (null: the list is null). A list with a bad element is bad; rows[i] is the list of element
    i."""
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(pc.fill_null(lengths, 0))])
    result = pa.ListArray.from_arrays(offsets, items.array, mask=pc.is_null(lengths))
    bad: dict[int, Misfit] = {}
    for index in sorted(items.bad):
        row = rows[index].as_py()
        bad.setdefault(row, replace(items.bad[index], element=index - offsets[row].as_py() + 1))
    if bad:
        mask = pa.array([row in bad for row in range(len(result))])
        result = pc.if_else(mask, pa.scalar(None, result.type), result)
    return Converted(result, bad, items.rounded)


def _is_list(kind: pa.DataType) -> bool:
    return (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
            or str(kind).startswith(("list_view", "large_list_view")))


def _convert_list(array: pa.Array, target: Target, limit: int, origin: Origin) -> Optional[Converted]:
    kind = array.type
    if pa.types.is_null(kind):
        return Converted(pa.nulls(len(array), target.arrow))
    if not _is_list(kind):
        return None
    same = pa.types.is_list(kind) and kind.value_type == target.arrow.value_type
    if same and target.scalar not in (*HALVES, "unix_timestamp"):
        return Converted(pc.cast(array, target.arrow))  # the types differ at most in the name of the element
    if "view" in str(kind):
        array = pc.cast(array, pa.list_(kind.value_type))
    items, rows = pc.list_flatten(array), pc.list_parent_indices(array)
    if pa.types.is_dictionary(items.type):
        items = items.dictionary_decode()
    converted = convert_typed(items, target.scalar, limit, origin)
    if converted is None:
        return None
    return _lists(pc.cast(pc.list_value_length(array), pa.int32()), converted, rows)


class _Number(str):
    """A number of a JSON text, as it is written there."""


def _elements(text: str, is_text: bool) -> list[Optional[str]]:
    """The elements of a JSON array, as texts. Raises ValueError or RecursionError if the text is not an array, or if
    an element is not a text where texts are required."""
    values = json.loads(text, parse_int=_Number, parse_float=_Number, parse_constant=_Number)
    if not isinstance(values, list):
        raise ValueError("not a list")
    result: list[Optional[str]] = []
    for value in values:
        if isinstance(value, bool) and not is_text:
            value = "true" if value else "false"
        if not isinstance(value, (str, type(None))) or is_text and isinstance(value, _Number):
            raise ValueError("not an element")
        if value is not None:
            value.encode()  # "\ud800" is not text
        result.append(value)
    return result


def _parse_lists(array: pa.Array, target: Target, limit: int) -> Converted:
    """JSON arrays. An element means what the same text would mean outside of a list."""
    lengths: list[Optional[int]] = []
    flat: list[Optional[str]] = []
    rows: list[int] = []
    wrong: dict[int, Misfit] = {}
    for row, text in enumerate(array.to_pylist()):
        elements: Optional[list[Optional[str]]] = None
        if text is not None and len(wrong) < limit:
            try:
                elements = _elements(text, target.scalar in ("string", "bytes"))
            except (ValueError, RecursionError):
                wrong[row] = Misfit(array[row])
        lengths.append(None if elements is None else len(elements))
        flat += elements or []
        rows += [row] * len(elements or [])
    items = convert_text(pa.array(flat, pa.string()), target.scalar, limit)
    lists = _lists(pa.array(lengths, pa.int32()), items, pa.array(rows, pa.int64()))
    return Converted(lists.array, {**lists.bad, **wrong}, lists.rounded)


# ---- The way in

def convert(array: pa.Array, target: Target, limit: int, origin: Origin) -> Converted:
    """At most `limit` of the cells that raise when they are cast are found: `limit` must be more than the caller
    accepts. Raises WrongType if the column's type cannot be converted at all."""
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if origin.is_text:
        return convert_text(array, target.scalar, limit) if target.shape == "scalar" else _parse_lists(
            array, target, limit)
    if target.shape == "scalar":
        converted = convert_typed(array, target.scalar, limit, origin)
    else:
        converted = _convert_list(array, target, limit, origin)
    if converted is None:
        raise WrongType(f"is {array.type} where the view has {target.text}; {_fix_type(array.type, target)}")
    return converted


# ---- Messages

def _fix_type(kind: pa.DataType, target: Target) -> str:
    if target.shape != "scalar" and not _is_list(kind):
        return f"write lists of {target.scalar} into the column"
    if target.shape == "scalar" and _is_list(kind):
        return "declare a list or a vector in the project file"
    if target.scalar == "unix_timestamp":
        return "write it as a timestamp (numbers have no unit)"
    if is_string(kind):
        return "declare string in the project file, or write the column with its own type"
    return f"declare another type in the project file, or write the column as {target.text}"


def _one(text: Union[str, bytes]) -> str:
    return f"'{printable(text)}'" if isinstance(text, str) else repr(text)


def _whole(text: str, at: int) -> int:
    """Moves a cut that would separate a backslash from the character that it may escape."""
    backslashes = at - len(text[:at].rstrip("\\"))
    return at - backslashes % 2


def shown(value: Any) -> str:
    """A value for people, also one of Arrow. Of a long text its beginning, its end and its length, so that two that
    differ rarely look the same. The cut is made before characters are escaped."""
    if isinstance(value, pa.Scalar):
        try:
            value = value.as_py()
        except (ValueError, OverflowError):  # times beyond Python's
            value = value.value  # type: ignore[attr-defined]
    if not isinstance(value, (str, bytes)):
        return value.isoformat().replace("+00:00", "Z") if hasattr(value, "isoformat") else str(value)
    if len(value) <= _HEAD + _TAIL:
        return _one(value)
    if isinstance(value, str):
        head, tail = _whole(value, _HEAD), _whole(value, len(value) - _TAIL)
        return f"{_one(value[:head])}…{_one(value[tail:])} ({len(value):,} characters)"
    return f"{_one(value[:_HEAD])}…{_one(value[-_TAIL:])} ({len(value):,} bytes)"


def _is_taken(value: pa.Scalar, scalar: str) -> bool:
    """Whether the type can hold the value; integers must not be rounded."""
    array, text = pa.array([value.as_py()], value.type), str(value.as_py())
    converted = convert_text(array, scalar, 2) if is_string(value.type) else convert_typed(array, scalar, 2, Origin())
    is_integer = re.fullmatch(r"[+-]?\d+(\.0*)?", text) is not None and not pa.types.is_floating(value.type)
    return converted is not None and not converted.bad and not (is_integer and converted.rounded)


def _wider(value: pa.Scalar, target: Target) -> str:
    """A wider type that can hold the value; "" if there is none."""
    if target.scalar not in NUMBERS:
        return ""
    wider = (scalar for scalar in _WIDER[target.shape] if scalar != target.scalar)
    return next((scalar for scalar in wider if _is_taken(value, scalar)), "")


def describe(misfit: Misfit, target: Target, is_key: bool, is_pii: bool) -> tuple[str, str]:
    """The texts for a cell that does not fit: what is wrong, and what to do."""
    kind = misfit.value.type
    is_text = is_string(kind)
    what = ("text" if is_text else f"a {kind} value") if is_pii else shown(misfit.cell or misfit.value)
    if not is_text and not is_pii:
        what += f" ({kind})"
    if misfit.element > 0:
        what += f" as element {misfit.element:,} of {target.text}"
    wanted = target.scalar if misfit.element > 0 else target.text
    what = f"holds {what}{' that' if is_pii else ', which'} "
    what += f"is not {wanted}" if is_text else f"does not fit {wanted} without loss"
    if misfit.why:
        what += f" ({misfit.why})"
    if is_text and target.scalar == "unix_timestamp":
        return what, _TIMES
    wider = _wider(misfit.value, target)
    if is_key and wider != "int64":
        return what, "write keys as integers in range, or as text and declare string, "
    if wider:
        return what, f"declare {target.text.replace(target.scalar, wider)} in the project file, fix the row, "
    return what, "fix the row, "
