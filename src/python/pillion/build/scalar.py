# SPDX-License-Identifier: Apache-2.0
"""The one rule by which a value becomes a value of the view's type, for every source, alone or in a list or vector.

What the type holds exactly is held. What it does not hold is refused, and the message shows the value. Three
conversions are for rounding, so they give the nearest value and count it: floats to a narrower float, decimals and
decimal text to a float, times to microseconds. docs/values.md has the table; a test reads it.

- A float is an integer only below 2^53 (2^24 for float32): beyond, floats no longer tell neighbours apart, so two keys
  may already be one.
- Text is parsed only if the source has nothing else (CSV). An integer in text must be exact also as a float.
- A time without a zone is UTC. Infinite times, and old times in the calendar of Spark 2, are refused.

The C core refuses null keys and elements, lengths of vectors, text that is not UTF-8 and future event times.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Optional

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# The types that the core takes; it narrows float32 to the half precisions itself.
ARROW = {
    "bool": pa.bool_(), "int8": pa.int8(), "int32": pa.int32(), "int64": pa.int64(), "float32": pa.float32(),
    "float64": pa.float64(), "string": pa.string(), "bytes": pa.binary(), "unix_timestamp": pa.timestamp("us", "UTC"),
    "float16": pa.float32(), "bfloat16": pa.float32(),
}
HALVES = ("float16", "bfloat16")
NUMBERS = ("int8", "int32", "int64", "float32", "float64", *HALVES)
_SHORT = 15  # so many decimal digits are always told apart by a float64
_FLOAT64_NORMAL_MIN = 2.0**-1022
_BFLOAT16_INFINITE = 2.0**128 - 2.0**119  # from here on the nearest is infinite
_INFINITE = (2**63 - 1, -2**63 + 1, -2**63)  # DuckDB's infinities, and the NaT of numpy
_INFINITE_DAYS = (2**31 - 1, -2**31 + 1, -2**31)
# Before these, Spark reads and writes other days or hours than the (proleptic Gregorian) calendar of Parquet.
_CALENDAR_DAYS_MIN = -141_427  # 1582-10-15
_CALENDAR_US_MIN = -2_208_988_800_000_000  # 1900-01-01

_UTC = r"^(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?) ?(?:UTC|GMT)$"
_NANOSECONDS = r"(?P<begin>:\d\d\.\d{6})(?P<rest>\d{1,3})(?P<end>$|[^\d].*$)"


@dataclass(frozen=True)
class Origin:
    """What the conversion must know about a column's source."""
    is_text: bool = False
    legacy_calendar: str = ""  # by which mark a file says that its old times are in Spark 2's calendar; "": it does not


@dataclass(frozen=True)
class Misfit:
    """A value that cannot be held, as it was converted."""
    value: pa.Scalar
    why: str = ""
    element: int = 0  # its number in its list or vector, from 1; 0: it is not an element
    cell: Optional[pa.Scalar] = None  # what the source has, where that is another text


@dataclass
class Converted:
    array: pa.Array
    bad: dict[int, Misfit] = field(default_factory=dict)  # by row; these are null in `array`
    rounded: int = 0
    nanoseconds: Optional[pa.Array] = None  # of times: what is beyond the microsecond, 0 to 999


# ---- Parts

def _located(array: pa.Array, cast: Callable[[pa.Array], pa.Array], limit: int) -> Converted:
    """Casts the array. If that raises, halves it until the cells that do not fit are isolated, at most the first
    `limit`."""
    try:
        return Converted(cast(array))
    except (pa.ArrowException, ValueError, TypeError):
        if len(array) == 1:
            return Converted(pa.nulls(1, cast(array[:0]).type), {0: Misfit(array[0])})
    half = len(array) // 2
    low = _located(array[:half], cast, limit)
    if len(low.bad) >= limit:
        return Converted(pa.concat_arrays([low.array, pa.nulls(len(array) - half, low.array.type)]), low.bad)
    high = _located(array[half:], cast, limit - len(low.bad))
    bad = {**low.bad, **{half + row: misfit for row, misfit in high.bad.items()}}
    return Converted(pa.concat_arrays([low.array, high.array]), bad)


def _mask(condition: Any) -> np.ndarray:
    """A condition as numpy has it; null is false."""
    return pc.fill_null(condition, False).to_numpy(zero_copy_only=False)


def _numpy(array: pa.Array) -> np.ndarray:
    """Floats; null is NaN."""
    return array.to_numpy(zero_copy_only=False)


def refuse(converted: Converted, source: pa.Array, lost: np.ndarray, why: str = "") -> Converted:
    """Adds the cells of `lost` to the bad ones."""
    if not lost.any():
        return converted
    array = pc.if_else(pa.array(lost), pa.scalar(None, converted.array.type), converted.array)
    bad = dict(converted.bad)
    for row in np.flatnonzero(lost).tolist():
        bad.setdefault(row, Misfit(source[row], why))
    return Converted(array, bad, converted.rounded, converted.nanoseconds)


# ---- Floats

def _half(values: np.ndarray, scalar: str) -> tuple[np.ndarray, np.ndarray]:
    """Whether a half precision holds each value exactly, and whether the nearest is infinite."""
    with np.errstate(all="ignore"):
        if scalar == "float16":
            half = values.astype(np.float16)
            return half == values, np.isinf(half)
        single = values.astype(np.float32)
        return (single == values) & (single.view(np.uint32) & 0xffff == 0), np.abs(single) >= _BFLOAT16_INFINITE


def _nearest(array: pa.Array, scalar: str) -> tuple[pa.Array, np.ndarray, np.ndarray]:
    """The nearest floats of the type that the core takes; which of them changed; which of them became infinite."""
    values = _numpy(array)
    finite = np.isfinite(values)
    result = array if array.type == ARROW[scalar] else pc.cast(array, ARROW[scalar], safe=False)
    infinite = np.isinf(_numpy(result))
    changed = _numpy(result) != values
    if scalar in HALVES:
        exact, infinite = _half(values, scalar)
        changed = ~exact
    infinite &= finite
    return result, changed & finite & ~infinite, infinite


def _floats(array: pa.Array, scalar: str) -> Converted:
    result, changed, infinite = _nearest(array, scalar)
    return refuse(Converted(result, {}, int(changed.sum())), array, infinite)


def _floats_of_integers(array: pa.Array, scalar: str) -> Converted:
    is_unsigned = array.type == pa.uint64()
    wide = array if is_unsigned else pc.cast(array, pa.int64())
    result = pc.cast(wide, ARROW[scalar], safe=False)
    inside = pc.less(result, pa.scalar(2.0**64 if is_unsigned else 2.0**63, result.type))
    back = pc.cast(pc.if_else(inside, result, pa.scalar(0, result.type)), wide.type, safe=False)
    lost = _mask(pc.invert(pc.and_(inside, pc.equal(back, wide))))
    if scalar in HALVES:
        lost |= _mask(array.is_valid()) & ~_half(_numpy(result), scalar)[0]
    return refuse(Converted(result), array, lost)


def _digits(text: pa.Array) -> pa.Array:
    """The digits of numbers in text, without sign, point, exponent, and zeros at the begin and end."""
    return pc.ascii_rtrim(pc.replace_substring_regex(text, r"^[+-]?[0.]+|[eE].*$|[+.-]", ""), "0")


def _lost_digits(text: pa.Array, values: pa.Array) -> np.ndarray:
    """For which cells the digits of a text cannot be had back from its nearest float. Few digits always can, and so can
    what a program printed: most cells are known without printing the float."""
    tiny = pc.less(pc.abs(values), _FLOAT64_NORMAL_MIN)
    unsure = pc.and_(pc.is_finite(values), pc.or_(pc.greater(pc.binary_length(text), _SHORT), tiny))
    rows = np.flatnonzero(_mask(pc.and_(unsure, pc.not_equal(pc.cast(values, pa.string()), text))))
    written = _digits(text.take(pa.array(rows)))
    widths = pc.binary_length(written).to_numpy()
    asked = (widths > _SHORT) | _mask(tiny)[rows]
    rows, written, widths = rows[asked], written.filter(pa.array(asked)), np.maximum(widths[asked], 1)
    floats = _numpy(values)[rows].tolist()
    printed = pa.array([f"{value:.{width - 1}e}" for value, width in zip(floats, widths.tolist())], pa.string())
    lost = np.zeros(len(text), bool)
    lost[rows] = _mask(pc.not_equal(_digits(printed), written))
    return lost


def _floats_of_text(text: pa.Array, scalar: str, limit: int, integers_are_exact: bool) -> Converted:
    parsed = _located(text, lambda part: pc.cast(part, pa.float64()), limit)
    values = parsed.array
    overflow = _mask(pc.and_(pc.is_inf(values), pc.invert(pc.match_substring(text, "n", ignore_case=True))))
    result, changed, infinite = _nearest(values, scalar)
    changed |= _lost_digits(text, values)
    whole = np.zeros(len(text), bool)
    if integers_are_exact and changed.any():
        whole = _mask(pc.match_substring_regex(text, "^[-+]?[0-9]+$"))
    converted = Converted(result, parsed.bad, int((changed & ~whole).sum()))
    return refuse(converted, text, overflow | infinite | (changed & whole))


# ---- Integers

def _integers(array: pa.Array, scalar: str, limit: int) -> Converted:
    wanted = ARROW[scalar]
    unsure = np.zeros(len(array), bool)
    why = ""
    source = array
    if pa.types.is_floating(array.type):
        bits = {16: 11, 32: 24, 64: 53}[array.type.bit_width]
        why = f"beyond 2^{bits} a {array.type} does not tell integers apart"
        values = _numpy(pc.cast(array, pa.float64()))
        unsure = np.isfinite(values) & (np.abs(values) >= 2.0**bits)
        source = pc.if_else(pa.array(unsure), pa.scalar(None, array.type), array) if unsure.any() else array
    return refuse(_located(source, lambda part: pc.cast(part, wanted), limit), array, unsure, why)


def _integers_of_text(text: pa.Array, scalar: str, limit: int) -> Converted:
    """Arrow reads 0x10, too; only decimal digits are a number here, and a fraction only if it is zero."""
    whole = pc.match_substring_regex(text, r"^[-+]?[0-9]+(\.0*)?$")
    digits = pc.if_else(whole, text, pa.scalar(None, pa.string()))
    if _mask(pc.match_substring_regex(digits, r"[+.]")).any():
        digits = pc.replace_substring_regex(digits, r"^\+?(-?[0-9]+)(\.0*)?$", r"\1")
    return refuse(_located(digits, lambda part: pc.cast(part, ARROW[scalar]), limit), text, _mask(pc.invert(whole)))


# ---- Times

def _is_among(array: pa.Array, values: tuple[int, ...]) -> np.ndarray:
    return _mask(pc.is_in(array, pa.array(values, array.type)))


def _split_nanoseconds(raw: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Microseconds, rounded down, and the nanoseconds beyond them."""
    cut = pc.divide(raw, 1000)
    rest = pc.subtract(raw, pc.multiply(cut, 1000))
    borrow = pc.cast(pc.less(rest, 0), pa.int64())
    return pc.subtract(cut, borrow), pc.cast(pc.add(rest, pc.multiply(borrow, 1000)), pa.int32())


def _times(array: pa.Array, limit: int, origin: Origin) -> Converted:
    kind, utc = array.type, ARROW["unix_timestamp"]
    if pa.types.is_date32(kind):
        raw = pc.cast(array, pa.int32())
        infinite, before = _is_among(raw, _INFINITE_DAYS), pc.less(raw, _CALENDAR_DAYS_MIN)
    else:
        raw = pc.cast(array, pa.int64())
        infinite, before = _is_among(raw, _INFINITE), None
    source = pc.if_else(pa.array(infinite), pa.scalar(None, kind), array) if infinite.any() else array
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        micro, nanoseconds = _split_nanoseconds(pc.cast(source, pa.int64()))
        rounded = pc.sum(pc.not_equal(nanoseconds, 0)).as_py() or 0
        converted = Converted(pc.cast(micro, utc), {}, rounded, nanoseconds)
    else:
        naive = pa.timestamp("us", getattr(kind, "tz", None))
        converted = _located(source, lambda part: pc.cast(pc.cast(part, naive), utc), limit)
    converted = refuse(converted, array, infinite, "infinity is not a time")
    if origin.legacy_calendar:
        if before is None:
            before = pc.less(pc.cast(converted.array, pa.int64()), _CALENDAR_US_MIN)
        why = (f"the file's {origin.legacy_calendar} says that Spark wrote old times in another calendar; rewrite the "
               "file with the options datetimeRebaseModeInWrite and int96RebaseModeInWrite = CORRECTED of "
               "spark.sql.parquet")
        converted = refuse(converted, array, _mask(before), why)
    return converted


def _parse_times(part: pa.Array) -> pa.Array:
    """Parses ISO 8601, with or without a zone."""
    try:
        return pc.cast(pc.cast(part, pa.timestamp("us")), pa.timestamp("us", "UTC"))
    except pa.ArrowInvalid:
        return pc.cast(part, pa.timestamp("us", "UTC"))


def _times_of_text(text: pa.Array, limit: int) -> Converted:
    """ISO 8601, also with what databases print: a blank and UTC or GMT at the end, up to nine digits of a second."""
    if _mask(pc.match_substring_regex(text, "(UTC|GMT)$")).any():
        text = pc.replace_substring_regex(text, _UTC, r"\1Z")
    fine = pc.match_substring_regex(text, _NANOSECONDS)
    if not _mask(fine).any():
        return _located(text, _parse_times, limit)
    digits = pc.struct_field(pc.extract_regex(text, _NANOSECONDS), "rest")
    nanoseconds = pc.cast(pc.utf8_rpad(pc.if_else(fine, digits, "0"), 3, "0"), pa.int32())
    converted = _located(pc.replace_substring_regex(text, _NANOSECONDS, r"\1\3"), _parse_times, limit)
    converted.nanoseconds = nanoseconds
    converted.rounded = pc.sum(pc.not_equal(nanoseconds, 0)).as_py() or 0
    return converted


# ---- The way in

def is_string(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or str(kind) == "string_view"


def _is_binary(kind: pa.DataType) -> bool:
    return (pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
            or str(kind) == "binary_view")


def convert_text(text: pa.Array, scalar: str, limit: int) -> Converted:
    """Strings, parsed as any type. Spaces and tabs around anything but a text are ignored; no other character is."""
    if scalar in ("string", "bytes"):
        return Converted(pc.cast(text, ARROW[scalar]))
    trimmed = pc.utf8_trim(text, " \t")
    if ARROW[scalar] in (pa.float32(), pa.float64()):
        return _floats_of_text(trimmed, scalar, limit, integers_are_exact=True)
    if pa.types.is_integer(ARROW[scalar]):
        return _integers_of_text(trimmed, scalar, limit)
    if scalar == "unix_timestamp":
        return _times_of_text(trimmed, limit)
    return _located(trimmed, lambda part: pc.cast(part, ARROW[scalar]), limit)


def convert_typed(array: pa.Array, scalar: str, limit: int, origin: Origin) -> Optional[Converted]:
    """None: there is no conversion between the types."""
    kind, wanted = array.type, ARROW[scalar]
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if pa.types.is_null(kind):
        return Converted(pa.nulls(len(array), wanted))
    if scalar == "unix_timestamp":
        is_time = pa.types.is_timestamp(kind) or pa.types.is_date(kind)
        return _times(array, limit, origin) if is_time else None
    if kind == wanted and scalar not in HALVES:
        return Converted(array)
    if pa.types.is_integer(wanted) and number:
        return _integers(array, scalar, limit)
    if pa.types.is_floating(wanted) and number:
        if pa.types.is_integer(kind):
            return _floats_of_integers(array, scalar)
        if pa.types.is_decimal(kind):
            return _floats_of_text(pc.cast(array, pa.string()), scalar, limit, integers_are_exact=False)
        return _floats(pc.cast(array, pa.float32()) if kind == pa.float16() else array, scalar)
    if scalar == "string" and is_string(kind) or scalar == "bytes" and (is_string(kind) or _is_binary(kind)):
        return Converted(pc.cast(array, wanted))
    return None
