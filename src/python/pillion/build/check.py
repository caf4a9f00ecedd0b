# SPDX-License-Identifier: Apache-2.0
"""Converts a source's columns to the types of the view. A cell that would lose information is refused.

The rules. Integers are converted to any integer or float type that holds the value exactly. Floats are converted to an
integer type if they are whole and in range; float64 is rounded to the nearest float32 if it is in range. Timestamps
finer than a microsecond are cut off; these and rounded floats are counted as "rounded". Strings are never parsed,
except those of a CSV file, which has no other type. A timestamp without a zone is UTC. The C core checks null elements,
lengths of vectors, UTF-8, keys and times.
"""
from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Callable, Optional, Union

import pyarrow as pa
import pyarrow.compute as pc

Array = Union[pa.Array, pa.ChunkedArray]

# The types that the core takes; it narrows float32 to the half precisions itself.
_ARROW = {
    "bool": pa.bool_(), "int8": pa.int8(), "int32": pa.int32(), "int64": pa.int64(), "float32": pa.float32(),
    "float64": pa.float64(), "string": pa.string(), "bytes": pa.binary(), "unix_timestamp": pa.timestamp("us", "UTC"),
    "float16": pa.float32(), "bfloat16": pa.float32(),
}
_WIDER = {"int32": "int64", "int64": "float64", "float32": "float64"}
_WIDER_ITEM = {"int8": "float16", "float16": "float32", "bfloat16": "float32"}


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
        item = _ARROW[self.scalar]
        return item if self.shape == "scalar" else pa.list_(item)


@dataclass
class Converted:
    array: pa.Array
    bad: list[int] = field(default_factory=list)  # rows whose value does not fit; null in `array`
    rounded: int = 0


# ---- Scalars

def _located(array: pa.Array, cast: Callable[[pa.Array], pa.Array], limit: int) -> Converted:
    """Casts the array. If that raises, halves it until the cells that do not fit are isolated, at most the first
    `limit`."""
    try:
        return Converted(cast(array))
    except (pa.ArrowException, ValueError, TypeError):
        if len(array) == 1:
            return Converted(pa.nulls(1, cast(array[:0]).type), [0])
    half = len(array) // 2
    low = _located(array[:half], cast, limit)
    if len(low.bad) >= limit:
        return Converted(pa.concat_arrays([low.array, pa.nulls(len(array) - half, low.array.type)]), low.bad)
    high = _located(array[half:], cast, limit - len(low.bad))
    return Converted(pa.concat_arrays([low.array, high.array]), low.bad + [half + i for i in high.bad])


def _count(mask: pa.Array) -> int:
    return pc.sum(mask).as_py() or 0


def _narrow(array: pa.Array) -> Converted:
    """float64 to the nearest float32; finite values must stay finite."""
    narrow = pc.cast(array, pa.float32(), safe=False)
    lost = pc.and_(pc.is_inf(narrow), pc.is_finite(array))
    bad = pc.indices_nonzero(pc.fill_null(lost, False)).to_pylist()
    if bad:
        narrow = pc.if_else(lost, pa.scalar(None, pa.float32()), narrow)
    changed = pc.and_(pc.not_equal(pc.cast(narrow, pa.float64()), array), pc.is_finite(array))
    return Converted(narrow, bad, _count(changed))


def _is_string(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or str(kind) == "string_view"


def _is_binary(kind: pa.DataType) -> bool:
    return (pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
            or str(kind) == "binary_view")


def _convert_scalar(array: pa.Array, scalar: str, limit: int) -> Optional[Converted]:
    """None: there is no conversion between the types."""
    kind, wanted = array.type, _ARROW[scalar]
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if kind == wanted:
        return Converted(array)
    if pa.types.is_null(kind):
        return Converted(pa.nulls(len(array), wanted))
    if scalar in ("int8", "int32", "int64") and number:
        return _located(array, lambda part: pc.cast(part, wanted), limit)
    if pa.types.is_floating(wanted) and number:
        if pa.types.is_decimal(kind):
            array = pc.cast(array, pa.float64())
        if wanted == pa.float32() and array.type == pa.float64():
            return _narrow(array)
        return _located(array, lambda part: pc.cast(part, wanted), limit)
    if scalar == "string" and _is_string(kind) or scalar == "bytes" and (_is_string(kind) or _is_binary(kind)):
        return Converted(pc.cast(array, wanted))
    if scalar == "unix_timestamp" and (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        return _convert_timestamp(array, limit)
    return None


def _convert_timestamp(array: pa.Array, limit: int) -> Converted:
    kind, utc = array.type, _ARROW["unix_timestamp"]
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        cut = pc.cast(array, pa.timestamp("us", kind.tz), safe=False)
        return Converted(pc.cast(cut, utc), [], _count(pc.not_equal(pc.cast(cut, kind), array)))
    micro = pa.timestamp("us", getattr(kind, "tz", None))
    return _located(array, lambda part: pc.cast(pc.cast(part, micro), utc), limit)


# ---- Lists and vectors

def _items(array: pa.Array) -> tuple[pa.Array, pa.Array]:
    """All elements of the lists that are not null, and the row of each element."""
    return pc.list_flatten(array), pc.list_parent_indices(array)


def _rebuild(array: pa.Array, items: pa.Array) -> pa.Array:
    """Lists with the lengths of `array` and the elements of `items`."""
    lengths = pc.fill_null(pc.cast(pc.list_value_length(array), pa.int32()), 0)
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths)])
    return pa.ListArray.from_arrays(offsets, items, mask=pc.is_null(array))


def _is_list(kind: pa.DataType) -> bool:
    return (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
            or str(kind).startswith(("list_view", "large_list_view")))


def _convert_list(array: pa.Array, target: Target, limit: int) -> Optional[Converted]:
    kind = array.type
    if pa.types.is_null(kind):
        return Converted(pa.nulls(len(array), target.arrow))
    if not _is_list(kind):
        return None
    if pa.types.is_list(kind) and kind.value_type == target.arrow.value_type:
        return Converted(pc.cast(array, target.arrow))  # the types differ at most in the name of the element
    if "view" in str(kind):
        array = pc.cast(array, pa.list_(kind.value_type))
    items, rows = _items(array)
    if pa.types.is_dictionary(items.type):
        items = items.dictionary_decode()
    converted = _convert_scalar(items, target.scalar, limit)
    if converted is None:
        return None
    bad = sorted(set(pc.take(rows, pa.array(converted.bad, pa.int64())).to_pylist())) if converted.bad else []
    result = _rebuild(array, converted.array)
    if bad:
        gone = set(bad)
        mask = pa.array([row in gone for row in range(len(result))])
        result = pc.if_else(mask, pa.scalar(None, result.type), result)
    return Converted(result, bad, converted.rounded)


# ---- Text of CSV files

def _parse_timestamps(part: pa.Array) -> pa.Array:
    """Parses ISO 8601, with or without a zone."""
    try:
        return pc.cast(pc.cast(part, pa.timestamp("us")), pa.timestamp("us", "UTC"))
    except pa.ArrowInvalid:
        return pc.cast(part, pa.timestamp("us", "UTC"))


def _parse_lists(part: pa.Array, wanted: pa.DataType) -> pa.Array:
    """Parses JSON arrays."""
    values = [None if text is None else json.loads(text) for text in part.to_pylist()]
    if any(value is not None and not isinstance(value, list) for value in values):
        raise ValueError("not a list")
    return pa.array(values, wanted)


def _parse_text(array: pa.Array, target: Target, limit: int) -> Converted:
    """Parses a column of strings as any type."""
    if target.shape != "scalar":
        return _located(array, lambda part: _parse_lists(part, target.arrow), limit)
    if target.scalar in ("string", "bytes"):
        return Converted(pc.cast(array, target.arrow))
    trimmed = pc.utf8_trim_whitespace(array)
    if target.scalar == "unix_timestamp":
        return _located(trimmed, _parse_timestamps, limit)
    if target.scalar == "float32":
        parsed = _located(trimmed, lambda part: pc.cast(part, pa.float64()), limit)
        narrowed = _narrow(parsed.array)
        return Converted(narrowed.array, sorted(parsed.bad + narrowed.bad), narrowed.rounded)
    return _located(trimmed, lambda part: pc.cast(part, target.arrow), limit)


# ---- The way in

def convert(array: pa.Array, target: Target, is_text: bool, limit: int) -> Converted:
    """`is_text`: the source has only strings. At most `limit` of the cells that do not fit are found: `limit` must be
    more than the caller accepts. Raises WrongType if the column's type cannot be converted at all."""
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if is_text:
        return _parse_text(array, target, limit)
    if target.shape == "scalar":
        converted = _convert_scalar(array, target.scalar, limit)
    else:
        converted = _convert_list(array, target, limit)
    if converted is None:
        raise WrongType(f"is {array.type} where the view has {target.text}; {_fix_type(array.type, target)}")
    return converted


def _fix_type(kind: pa.DataType, target: Target) -> str:
    if target.shape != "scalar" and not _is_list(kind):
        return f"write lists of {target.scalar} into the column"
    if target.shape == "scalar" and _is_list(kind):
        return "declare a list or a vector in the project file"
    if target.scalar == "unix_timestamp":
        return "write it as a timestamp (numbers have no unit)"
    if _is_string(kind):
        return "declare string in the project file, or write the column with its own type"
    return f"declare another type in the project file, or write the column as {target.text}"


def misfit(kind: pa.DataType, target: Target, is_text: bool) -> tuple[str, str]:
    """The texts for a cell that does not fit: what is wrong, and what to do."""
    if is_text:
        return f"holds text that is not of type {target.text}", "mend the row, "
    item = kind.value_type if _is_list(kind) else kind
    whole = target.scalar in ("int32", "int64") and not pa.types.is_integer(item)
    wider = _WIDER_ITEM if target.shape == "vector" else _WIDER
    scalar = "float64" if whole else wider.get(target.scalar)
    fix = f"declare {target.text.replace(target.scalar, scalar)} in the project file, " if scalar else ""
    return f"holds a {item} value that does not fit {target.text} without loss", f"{fix}mend the row, "
