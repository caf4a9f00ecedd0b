# SPDX-License-Identifier: Apache-2.0
"""The answer of PIL.VECTOR, read by schemas/wire.md alone: plain Python, none of our C code."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

FIXED, VIEW = struct.Struct("<4sHBBIIIIqQQQQ"), struct.Struct("<16sQqQqQ")
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


def read(answer: bytes) -> Vectors:
    magic, head, element, zero, rows, features, width, view_count, now, statuses_at, times_at, values_at, total = (
        FIXED.unpack_from(answer)
    )
    assert magic == b"PLV1" and zero == 0 and element in (4, 8), answer[:64]
    assert head == statuses_at == FIXED.size + view_count * VIEW.size
    assert times_at % 8 == 0 and values_at % 64 == 0 and total == len(answer)
    assert times_at >= statuses_at + rows * features and values_at >= times_at + 8 * rows * view_count
    assert total == values_at + rows * width * element
    views = []
    for i in range(view_count):
        release, generation, age, missing, created, reserved = VIEW.unpack_from(answer, FIXED.size + i * VIEW.size)
        assert reserved == 0
        views.append(View(release.decode(), generation, age, missing, created))
    return Vectors(
        values=rows_of(answer, values_at, rows, width, "f" if element == 4 else "d"),
        statuses=rows_of(answer, statuses_at, rows, features, "B"),
        times_us=rows_of(answer, times_at, rows, view_count, "q"),
        views=views,
        now_us=now,
        element_bytes=element,
    )
