# SPDX-License-Identifier: Apache-2.0
"""The layout of Feast's Redis store in a few lines of Python, by schemas/wire.md alone: keys, fields and values."""

from __future__ import annotations

import struct
from typing import Any, Mapping

BYTES, STRING, INT32, INT64, DOUBLE, BOOL, UNIX_TIMESTAMP = 1, 2, 3, 4, 5, 7, 8
Typed = tuple[int, bytes]


def int32(value: int) -> Typed:
    return INT32, struct.pack("<i", value)


def int64(value: int) -> Typed:
    return INT64, struct.pack("<q", value)


def unix_timestamp(seconds: int) -> Typed:
    return UNIX_TIMESTAMP, struct.pack("<q", seconds)


def key(project: str, values: Mapping[str, Typed], version: int = 3) -> bytes:
    names = sorted(values)
    out = struct.pack("<I", len(names)) if version == 3 else b""
    for name in names:
        out += struct.pack("<I", STRING) + (struct.pack("<I", len(name)) if version == 3 else b"") + name.encode()
    for name in names:
        number, raw = values[name]
        out += struct.pack("<II", number, len(raw)) + raw
    return out + project.encode()


def field(view: str, feature: str) -> bytes:
    """MurmurHash3_x86_32 with seed 0."""

    def rotate(value: int, bits: int) -> int:
        return (value << bits | value >> (32 - bits)) & 0xFFFFFFFF

    data = f"{view}:{feature}".encode()
    state = 0
    for at in range(0, len(data), 4):
        block = data[at : at + 4]
        word = rotate(int.from_bytes(block, "little") * 0xCC9E2D51 & 0xFFFFFFFF, 15) * 0x1B873593 & 0xFFFFFFFF
        state ^= word
        state = (rotate(state, 13) * 5 + 0xE6546B64) & 0xFFFFFFFF if len(block) == 4 else state
    state ^= len(data)
    state = (state ^ state >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    state = (state ^ state >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    return struct.pack("<I", state ^ state >> 16)


def time(view: str) -> bytes:
    return b"_ts:" + view.encode()


# ---- Protocol Buffers


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 0x80:
            return (value - (1 << 64) if value >= 1 << 63 else value), at


def message(data: bytes) -> list[tuple[int, Any]]:
    """Fields in their order: integers, or bytes."""
    found, at = [], 0
    while at < len(data):
        tag, at = varint(data, at)
        if tag & 7 == 0:
            value, at = varint(data, at)
        else:
            size = {1: 8, 5: 4}.get(tag & 7)
            if size is None:
                size, at = varint(data, at)
            value, at = data[at : at + size], at + size
        found.append((tag >> 3, value))
    return found


def unpacked(number: int, data: bytes) -> list[Any]:
    if number in (DOUBLE, 6):
        return [v for (v,) in struct.iter_unpack("<d" if number == DOUBLE else "<f", data)]
    found, at = [], 0
    while at < len(data):
        value, at = varint(data, at)
        found.append(bool(value) if number == BOOL else value)
    return found


def value(data: bytes | None) -> Any:
    """What a feast.types.Value holds; None for what is absent or empty, and for the smallest time, as in Feast."""
    if not data:
        return None
    ((number, held),) = message(data)
    if number > 10:
        number, elements = number - 10, message(held)
        if number in (BYTES, STRING):
            return [e.decode() if number == STRING else e for _, e in elements]
        return unpacked(number, elements[0][1]) if elements else []
    if number == UNIX_TIMESTAMP and held == -(1 << 63):
        return None
    if number == STRING:
        return held.decode()
    if number == BOOL:
        return bool(held)
    return unpacked(number, held)[0] if number in (DOUBLE, 6) else held


def us(data: bytes | None) -> int | None:
    """The microseconds of a google.protobuf.Timestamp."""
    if data is None:
        return None
    held = dict(message(data))
    return held.get(1, 0) * 1000000 + held.get(2, 0) // 1000
