# SPDX-License-Identifier: Apache-2.0
"""The answers of PIL.VECTOR and PIL.COLUMNS, read by schemas/wire.md alone: plain Python, none of our C code."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

FIXED, VIEW = struct.Struct("<4sHBBIIIIqQQQQ"), struct.Struct("<16sQqQqQ")
RECORD = struct.Struct("<BBHIQQQQQQ")
# By number: name, struct code.
SCALARS = (
    ("bool", "?"), ("int32", "i"), ("int64", "q"), ("float32", "f"), ("float64", "d"), ("string", ""), ("bytes", ""),
    ("unix_timestamp", "q"), ("float16", "e"), ("bfloat16", "H"), ("int8", "b"),
)  # fmt: skip
SCALAR, LIST, VECTOR = 0, 1, 2
PRESENT, NULL_VALUE, NOT_FOUND, OUTSIDE_MAX_AGE = 1, 2, 3, 4


@dataclass
class View:
    release: str
    generation: int
    worst_age_us: int
    not_found: int
    created_us: int


@dataclass
class Vectors:
    values: list[tuple[float, ...]]  # [row][element]
    statuses: list[tuple[int, ...]]  # [row][feature]
    times_us: list[tuple[int, ...]]  # [row][view]
    views: list[View]
    now_us: int
    element_bytes: int


def rows_of(answer: bytes, at: int, count: int, width: int, code: str) -> list[tuple[Any, ...]]:
    row = struct.Struct(f"<{width}{code}")
    return [row.unpack_from(answer, at + i * row.size) for i in range(count)]


def read_views(answer: bytes, count: int) -> list[View]:
    views = []
    for i in range(count):
        release, generation, age, missing, created, reserved = VIEW.unpack_from(answer, FIXED.size + i * VIEW.size)
        assert reserved == 0
        views.append(View(release.decode(), generation, age, missing, created))
    return views


def read(answer: bytes) -> Vectors:
    magic, head, element, zero, rows, features, width, view_count, now, statuses_at, times_at, values_at, total = (
        FIXED.unpack_from(answer)
    )
    assert magic == b"PLV1" and zero == 0 and element in (4, 8), answer[:64]
    assert head == statuses_at == FIXED.size + view_count * VIEW.size
    assert times_at % 8 == 0 and values_at % 64 == 0 and total == len(answer)
    assert times_at >= statuses_at + rows * features and values_at >= times_at + 8 * rows * view_count
    assert total == values_at + rows * width * element
    return Vectors(
        values=rows_of(answer, values_at, rows, width, "f" if element == 4 else "d"),
        statuses=rows_of(answer, statuses_at, rows, features, "B"),
        times_us=rows_of(answer, times_at, rows, view_count, "q"),
        views=read_views(answer, view_count),
        now_us=now,
        element_bytes=element,
    )


# ---- Columns.


@dataclass
class Column:
    type: str
    values: list[Any]  # [row]: a scalar, or a list; what stands where nothing is there, the statuses tell
    statuses: tuple[int, ...]


@dataclass
class Columns:
    columns: list[Column]
    times_us: list[tuple[int, ...]]  # [row][view]
    views: list[View]
    now_us: int


def aligned(at: int) -> int:
    return (at + 7) // 8 * 8


def numbers(scalar: int, data: bytes) -> list[Any]:
    name, code = SCALARS[scalar]
    found = list(struct.unpack(f"<{len(data) // struct.calcsize('<' + code)}{code}", data))
    if name == "bfloat16":
        return [struct.unpack("<f", struct.pack("<I", x << 16))[0] for x in found]
    assert name != "bool" or set(data) <= {0, 1}
    return found


def slices(items: Any, offsets: tuple[int, ...]) -> list[Any]:
    assert offsets[0] == 0 and list(offsets) == sorted(offsets) and offsets[-1] == len(items)
    return [items[begin:end] for begin, end in zip(offsets, offsets[1:])]


def texts(scalar: int, data: bytes, offsets: tuple[int, ...]) -> list[Any]:
    found = slices(data, offsets)
    return [text.decode() for text in found] if SCALARS[scalar][0] == "string" else found


def read_column(answer: bytes, rows: int, record: bytes, at: int) -> tuple[Column, int]:
    """The column whose parts begin at `at`, and where the next one begins."""
    scalar, shape, zero, dimension, statuses_at, offsets_at, children_at, child_count, values_at, value_bytes = (
        RECORD.unpack(record)
    )
    name = SCALARS[scalar][0]
    is_text, is_fixed = name in ("string", "bytes"), shape == VECTOR or (
        shape == SCALAR and not SCALARS[scalar][1] == ""
    )
    assert zero == 0 and (dimension > 0) == (shape == VECTOR) and (child_count > 0) == (is_text and shape == LIST)
    assert statuses_at == at
    at = aligned(at + rows)
    assert offsets_at == (0 if is_fixed else at)
    at = at if is_fixed else aligned(at + 4 * (rows + 1))
    assert children_at == (at if child_count else 0)
    at = aligned(at + 4 * child_count)
    assert values_at == at
    data = answer[values_at : values_at + value_bytes]
    offsets = struct.unpack_from(f"<{rows + 1}i", answer, offsets_at) if not is_fixed else ()
    if shape == LIST and is_text:
        values = slices(texts(scalar, data, struct.unpack_from(f"<{child_count}i", answer, children_at)), offsets)
    elif is_text:
        values = texts(scalar, data, offsets)
    elif shape == LIST:
        values = slices(numbers(scalar, data), offsets)
    else:
        flat, width = numbers(scalar, data), dimension or 1
        assert len(flat) == rows * width
        values = flat if shape == SCALAR else [flat[i * width : (i + 1) * width] for i in range(rows)]
    shown = {SCALAR: name, LIST: f"list<{name}>", VECTOR: f"vector<{name},{dimension}>"}[shape]
    statuses = struct.unpack_from(f"<{rows}B", answer, statuses_at)
    return Column(shown, values, statuses), aligned(at + value_bytes)


def read_columns(answer: bytes) -> Columns:
    magic, head, record, zero, rows, count, zero2, view_count, now, records_at, times_at, data_at, total = (
        FIXED.unpack_from(answer)
    )
    assert magic == b"PLC1" and record == RECORD.size and zero == zero2 == 0, answer[:64]
    assert head == records_at == FIXED.size + view_count * VIEW.size
    assert times_at == records_at + count * RECORD.size and data_at == times_at + 8 * rows * view_count
    assert total == len(answer)
    columns, at = [], data_at
    for i in range(count):
        begin = records_at + i * RECORD.size
        column, at = read_column(answer, rows, answer[begin : begin + RECORD.size], at)
        columns.append(column)
    assert at == total
    return Columns(columns, rows_of(answer, times_at, rows, view_count, "q"), read_views(answer, view_count), now)
