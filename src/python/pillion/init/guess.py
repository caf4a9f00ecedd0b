# SPDX-License-Identifier: Apache-2.0
"""The type of a column: the first that holds every value, by the conversion of `pillion build` itself.

No value is passed over, so a column whose millionth row is text is text. Nothing is a number that would lose what it is
written like: 007 and +49 are text.
"""
from __future__ import annotations

import datetime
import re
from dataclasses import dataclass, field
from typing import Optional

import pyarrow as pa
import pyarrow.compute as pc

from pillion.build.check import Target, WrongType, convert
from pillion.build.scalar import Origin, is_string

DIMENSION_MAX = 16384
VECTOR_MIN = 8  # shorter lists may have one length by chance, unless their type says it
_TEXT = ("int64", "float64", "bool", "unix_timestamp", "list<int64>", "list<float64>", "list<bool>", "list<string>",
         "string")
# What programs write for null. Text columns keep it; any other column cannot mean anything else.
NULLS = ("", "na", "n/a", "#n/a", "<na>", "nan", "null", "none", "nil", "nat", "\\n", "(null)", "-", ".", "?",
          "undefined", "missing")
# Times that the builder does not read, as people write them. ISO 8601 it reads.
_TIME_FORMATS = ("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%Y/%m/%d", "%d/%m/%Y %H:%M", "%d/%m/%Y %H:%M:%S",
                 "%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p", "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S",
                 "%Y/%m/%d %H:%M:%S", "%d %b %Y", "%b %d, %Y", "%Y%m%dT%H%M%S", "%Y%m%dT%H%M%SZ",
                 "%a, %d %b %Y %H:%M:%S %Z")
_DECIMAL_COMMA = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d+)(,\d+)?")
_ISO = "%Y-%m-%dT%H:%M:%S"
_SAMPLE = 1000


def _number_types(kind: pa.DataType) -> tuple[str, ...]:
    if pa.types.is_decimal(kind):
        return ("int64", "float64") if kind.scale == 0 else ("float64",)
    if pa.types.is_floating(kind):
        return ("float32", "float64") if kind.bit_width <= 32 else ("float64",)
    is_small = kind.bit_width < 32 or kind == pa.int32()
    return ("int32", "int64", "float64") if is_small else ("int64", "float64")


def _scalar_types(kind: pa.DataType) -> tuple[str, ...]:
    """The types that may hold values of a column of Parquet, best first; (): none."""
    if pa.types.is_dictionary(kind):
        return _scalar_types(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType):
        return _scalar_types(kind.storage_type)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _number_types(kind)
    if pa.types.is_boolean(kind):
        return ("bool",)
    if is_string(kind):
        return ("string",)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return ("unix_timestamp",)
    is_binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    return ("bytes",) if is_binary or str(kind) == "binary_view" else ()


def is_list(kind: pa.DataType) -> bool:
    return (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
            or str(kind).startswith(("list_view", "large_list_view")))


def _types(kind: pa.DataType) -> tuple[str, ...]:
    if is_list(kind):
        return tuple(f"list<{name}>" for name in _scalar_types(kind.value_type))
    return _scalar_types(kind)


def now_us() -> int:
    return int(datetime.datetime.now(datetime.timezone.utc).timestamp() * 1_000_000)


@dataclass
class Guess:
    """What is known of a column after the batches that were added."""
    name: str
    types: Optional[list[str]] = None  # that hold every value so far, best first; None: nothing was seen
    kinds: set[str] = field(default_factory=set)   # Arrow's, as text
    rows: int = 0
    nulls: int = 0
    rounded: int = 0           # values of decimals that float64 rounds
    null_words: set[str] = field(default_factory=set)  # spellings of null, if it is no text column
    lengths: set[int] = field(default_factory=set)     # of lists; more than two are not kept
    null_elements: bool = False
    fits_float32: bool = True  # of the elements of lists
    future: int = 0                  # times that are later than now, which a build refuses
    sample: list[str] = field(default_factory=list)    # of texts

    def add(self, array: pa.Array, legacy_calendar: str = "") -> None:
        """Columns of Parquet."""
        self.kinds.add(str(array.type))
        self._narrow(array, _types(array.type), Origin(legacy_calendar=legacy_calendar))
        if is_string(array.type):
            self._keep_sample(array)

    def add_text(self, array: pa.Array) -> None:
        """Columns of CSV. An empty field is null."""
        trimmed = pc.utf8_trim(array, " \t")
        is_word = pc.fill_null(pc.is_in(pc.utf8_lower(trimmed), pa.array(NULLS, pa.string())), False)
        if pc.any(is_word).as_py():
            self.null_words.update(pc.unique(pc.filter(trimmed, is_word)).to_pylist())
            array = pc.if_else(is_word, pa.scalar(None, pa.string()), array)
        self._keep_sample(array)
        types = _TEXT if self.types is None else self.types
        if len(types) > 1 and pc.any(pc.match_substring_regex(trimmed, r"^(\+|-?0[0-9])")).as_py():
            types = [name for name in types if name not in ("int64", "float64")]
        if len(types) > 1 and pc.any(pc.match_substring_regex(trimmed, r"^-?[0-9]+\.")).as_py():
            types = [name for name in types if name != "int64"]
        self._narrow(array, types, Origin(is_text=True))

    def _keep_sample(self, array: pa.Array) -> None:
        room = _SAMPLE - len(self.sample)
        if room > 0:
            self.sample += pc.drop_null(array)[:room].to_pylist()

    def _narrow(self, array: pa.Array, types: "tuple[str, ...] | list[str]", origin: Origin) -> None:
        self.rows += len(array)
        self.nulls += array.null_count
        if self.types is not None:
            types = [name for name in self.types if name in types]
        if array.null_count == len(array):
            self.types = list(types)
            return
        self.types = [name for name in types if self._holds(array, name, origin)]

    def _holds(self, array: pa.Array, name: str, origin: Origin) -> bool:
        target = Target.parse(name)
        if origin.is_text and name == "string":
            return True
        try:
            converted = convert(array, target, 1, origin)
        except WrongType:
            return False
        if converted.bad:
            return False
        if target.shape == "list":
            self._measure(array, converted.array, target, origin)
        elif name == "unix_timestamp":
            self.future += pc.sum(pc.greater(pc.cast(converted.array, pa.int64()), now_us())).as_py() or 0
        elif name == "float64" and converted.rounded and not origin.is_text:
            self.rounded += converted.rounded
        return True

    def _measure(self, array: pa.Array, lists: pa.Array, target: Target, origin: Origin) -> None:
        if len(self.lengths) <= 2:
            self.lengths.update(length for length in pc.unique(pc.list_value_length(lists)).to_pylist()
                                if length is not None)
        elements = pc.list_flatten(lists)
        self.null_elements = self.null_elements or elements.null_count > 0
        if target.scalar == "float64" and self.fits_float32:
            narrow = convert(array, Target.parse("list<float32>"), 1, origin)
            self.fits_float32 = not narrow.bad and narrow.rounded == 0

    # ---- The answer

    @property
    def has_values(self) -> bool:
        return self.nulls < self.rows

    @property
    def type(self) -> str:
        """The type to write; "" if there is none, and `why_none` says why."""
        if not self.types or self._is_untyped or self.null_elements and self.types[0].startswith("list"):
            return ""
        return self._vector or self.types[0]

    @property
    def _is_untyped(self) -> bool:
        """Whether nothing says what the column holds: text without any value."""
        return not self.has_values and not self.kinds

    @property
    def _vector(self) -> str:
        """Lists of floats of one length are vectors if that rounds nothing."""
        assert self.types
        least = 1 if self.kinds and all(kind.startswith("fixed_size_list") for kind in self.kinds) else VECTOR_MIN
        if len(self.lengths) != 1 or not least <= (length := next(iter(self.lengths))) <= DIMENSION_MAX:
            return ""
        is_float = self.types[0] == "list<float32>" or self.types[0] == "list<float64>" and self.fits_float32
        return f"vector<float32,{length}>" if is_float else ""

    @property
    def why_none(self) -> str:
        if self._is_untyped:
            return "has no value"
        kinds = " and ".join(sorted(self.kinds))
        if self.types and self.null_elements:
            return f"has null elements in its lists ({kinds or 'JSON'}), which no list holds"
        if self.kinds == {"null"}:
            return "has no value"
        return f"is {kinds}, and no type holds {'all of its values' if len(self.kinds) == 1 else 'both'} exactly"

    @property
    def remark(self) -> str:
        """What should be said about the type, or ""."""
        if self.rounded and self.type == "float64":
            return f"decimals that are rounded to the nearest float64: {self.rounded:,}"
        if self.type in ("list<float32>", "list<float64>") and len(self.lengths) == 1:
            vector = f"vector<float32,{next(iter(self.lengths))}>"
            return f"all have one length: perhaps {vector}" + ("" if self.fits_float32 else ", which rounds them")
        if self.type == "string" and self.time_format:
            return f"looks like a time, {self.time_format}"
        return "looks like numbers: decimal_separator: ',' and thousands: '.' in the source, then float64" \
            if self._has_decimal_commas else ""

    @property
    def _has_decimal_commas(self) -> bool:
        texts = [text.strip() for text in self.sample]
        return (self.types == ["string"] and not self.kinds and any("," in text for text in texts)
                and all(_DECIMAL_COMMA.fullmatch(text) for text in texts))

    @property
    def nulls_to_write(self) -> set[str]:
        """The spellings that a source must take for null."""
        words = {word for word in self.null_words if word}
        if self.type in ("", "string") or self.type == "float64" and all(word.lower() == "nan" for word in words):
            return set()
        return words

    @property
    def time_format(self) -> str:
        """How all of the first texts are written as times, in the words of strptime; "": they are none."""
        texts = [text.strip() for text in self.sample]
        if not texts or self.types != ["string"]:
            return ""
        for form in _TIME_FORMATS:
            if all(_has_form(text, form) for text in texts):
                return form
        try:
            found = convert(pa.array(texts, pa.string()), Target.parse("unix_timestamp"), 1, Origin(is_text=True))
        except WrongType:
            return ""
        return "" if found.bad else _ISO


def _has_form(text: str, form: str) -> bool:
    try:
        datetime.datetime.strptime(text, form)
    except ValueError:
        return False
    return True
