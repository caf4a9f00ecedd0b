# SPDX-License-Identifier: Apache-2.0
"""A reader of shard files, written from schemas/snapshot.md and nothing else: the proof that the page is enough.

It shares no code with ours, checks every hash that the page names, and looks keys up by the perfect hash.
Needs Python 3.9 and the package xxhash. Not fast.

    shard = Shard(Path("x.pilshard").read_bytes())
    row = shard.get(shard.key([1001]))
    row.values          # raw bytes of each value, None for null
    shard.decode(row)   # Python values by feature name
"""
from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass
from typing import Any, Iterator, Optional, Union

import xxhash

SUPERBLOCK_BYTES = 4096
SECTIONS = ("SCHEMA", "PILOTS", "ROWS", "HEAP", "BLOCK_SUMS", "RANGE_HASHES")
BLOCK_BYTES, RANGE_BYTES = 1 << 20, 8 << 20
NO_ROW = -(1 << 63)
M64, M128 = (1 << 64) - 1, (1 << 128) - 1

_WIDTHS = {"bool": 1, "int8": 1, "float16": 2, "bfloat16": 2, "int32": 4, "float32": 4, "int64": 8, "float64": 8,
           "unix_timestamp": 8}
_FORMATS = {"bool": "?", "int8": "b", "float16": "e", "int32": "i", "float32": "f", "int64": "q", "float64": "d",
            "unix_timestamp": "q"}

# Raw bytes of a value; a list of them for list<string> and list<bytes>; None for null.
Raw = Union[None, bytes, "list[bytes]"]


class Refused(Exception):
    """The file breaks a rule."""


def check(holds: bool, what: str) -> None:
    if not holds:
        raise Refused(what)


def align(value: int, alignment: int) -> int:
    return -(-value // alignment) * alignment


def mulhi(a: int, b: int) -> int:
    return (a * b) >> 64


@dataclass(frozen=True)
class Type:
    """`element` of a `shape`: scalar, list, or a vector of `dimension`."""
    element: str
    shape: str = "scalar"
    dimension: int = 0

    @staticmethod
    def parse(text: str) -> "Type":
        if text.startswith("list<"):
            return Type(text[5:-1], "list")
        if text.startswith("vector<"):
            element, dimension = text[7:-1].split(",")
            return Type(element, "vector", int(dimension))
        return Type(text)

    @property
    def is_reference(self) -> bool:
        return self.shape == "list" or self.element in ("string", "bytes")

    @property
    def row_bytes(self) -> int:
        return 16 if self.is_reference else _WIDTHS[self.element] * max(1, self.dimension)

    @property
    def alignment(self) -> int:
        return 8 if self.is_reference else _WIDTHS[self.element]

    def decode(self, raw: Raw) -> Any:
        """Python's value: int, float, bool, str, bytes, or a list of them; microseconds for timestamps."""
        if raw is None:
            return None
        if isinstance(raw, list):
            return [self._text(part) for part in raw]
        if self.shape == "scalar":
            return self._text(raw) if self.is_reference else self._numbers(raw)[0]
        return self._numbers(raw)

    def _text(self, raw: bytes) -> Any:
        return raw.decode() if self.element == "string" else raw

    def _numbers(self, raw: bytes) -> list[Any]:
        if self.element == "bfloat16":  # the upper half of a float32
            return [struct.unpack("<f", b"\0\0" + raw[at:at + 2])[0] for at in range(0, len(raw), 2)]
        return list(struct.unpack(f"<{len(raw) // _WIDTHS[self.element]}{_FORMATS[self.element]}", raw))


@dataclass(frozen=True)
class Row:
    slot: int
    key: bytes
    event_ts_us: int
    values: list[Raw]  # in the order of the features


class Shard:
    """A shard file in memory; Refused when it is not a good one."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._read_superblock()
        self._check_hashes()
        self._read_schema()
        self._check_rows()

    # ---- Opening

    def _read_superblock(self) -> None:
        data = self.data
        check(len(data) >= SUPERBLOCK_BYTES, "shorter than a superblock")
        check(data[:8] == b"PILSHARD", "magic")
        (self.major, self.minor, tag, self.compat, self.ro_compat, incompat, section_count) = struct.unpack_from(
            "<HHIIIII", data, 8)
        check(tag == 0x01020304 and self.major == 1 and incompat == 0, "version")
        check(struct.unpack_from("<Q", data, 4088)[0] == xxhash.xxh3_64_intdigest(data[:4088]), "checksum")
        check(section_count == 6, "section_count")
        (file_bytes, self.body_bytes, self.row_count, self.slot_count, self.bucket_count) = struct.unpack_from(
            "<5Q", data, 32)
        (self.stride, self.shard_index, self.shard_bits, self.hash_attempts) = struct.unpack_from("<4I", data, 72)
        (self.hash_seed, self.event_ts_us_min, self.event_ts_us_max) = struct.unpack_from("<Qqq", data, 88)
        numbers = struct.unpack_from("<12Q", data, 112)
        self.sections = {name: (numbers[2 * i], numbers[2 * i + 1]) for i, name in enumerate(SECTIONS)}
        self.content_digest = int.from_bytes(data[208:224], "little")
        check(any((self.minor, self.compat, self.ro_compat)) or not any(data[224:4088]), "reserved bytes")
        check(file_bytes == len(data), "file_bytes")
        check(self.slot_count >= self.row_count, "slot_count")
        check(self.shard_index < 1 << self.shard_bits, "shard_index")
        self._check_sections()

    def _check_sections(self) -> None:
        end = SUPERBLOCK_BYTES
        for name in SECTIONS:
            offset, length = self.sections[name]
            check(offset >= end and offset % 64 == 0 and offset + length <= len(self.data), f"section {name}")
            check(not any(self.data[end:offset]), f"padding before {name}")
            end = offset + length
        check(end == len(self.data), "end of file")
        offset, length = self.sections["ROWS"]
        check(length == self.slot_count * self.stride, "ROWS")
        check(length < 64 << 20 or offset % (2 << 20) == 0, "alignment of ROWS")
        check(self.sections["PILOTS"][1] == self.bucket_count, "PILOTS")
        check(self.sections["BLOCK_SUMS"][0] == self.body_bytes, "body_bytes")

    def section(self, name: str) -> bytes:
        offset, length = self.sections[name]
        return self.data[offset:offset + length]

    def _check_hashes(self) -> None:
        body = self.data[:self.body_bytes]
        sums = [xxhash.xxh3_64_intdigest(body[at:at + BLOCK_BYTES]) for at in range(0, len(body), BLOCK_BYTES)]
        check(self.section("BLOCK_SUMS") == struct.pack(f"<{len(sums)}Q", *sums), "BLOCK_SUMS")
        ranges = [hashlib.sha256(body[at:at + RANGE_BYTES]).digest() for at in range(0, len(body), RANGE_BYTES)]
        check(self.section("RANGE_HASHES") == b"".join(ranges), "RANGE_HASHES")
        self.id = hashlib.sha256(b"".join(ranges)).hexdigest()

    def _read_schema(self) -> None:
        self.schema = json.loads(self.section("SCHEMA"))
        self.layout = self.schema["layout"]
        self.key_types = [entity["type"] for entity in self.schema["entities"]]
        self.features = [feature["name"] for feature in self.schema["features"]]
        self.types = [Type.parse(feature["type"]) for feature in self.schema["features"]]
        self.offsets = [feature["offset"] for feature in self.schema["features"]]
        check(self.layout["stride"] == self.stride, "stride")
        offsets, layout = self._compute_layout()
        check(offsets == self.offsets and layout == self.layout, "layout")
        check([feature["null_bit"] for feature in self.schema["features"]] == list(range(len(self.types))), "null bits")

    def _compute_layout(self) -> tuple[list[int], dict[str, Any]]:
        """The row layout that follows from the types."""
        fixed = all(name in _WIDTHS for name in self.key_types)
        key_bytes = sum(_WIDTHS[name] for name in self.key_types) if fixed else 16
        event_ts_offset = align(key_bytes, 8)
        null_offset, null_bytes = event_ts_offset + 8, -(-len(self.types) // 8)
        offsets, end = [0] * len(self.types), null_offset + null_bytes
        for alignment in (8, 4, 2, 1):
            for i, kind in enumerate(self.types):
                if kind.alignment == alignment:
                    offsets[i] = align(end, alignment)
                    end = offsets[i] + kind.row_bytes
        if end <= 64:
            stride = 16 if end <= 16 else 32 if end <= 32 else 64
        else:
            stride = align(end, 64) if align(end, 64) <= end + end // 16 else align(end, 8)
        return offsets, {"key_fixed": fixed, "key_bytes": key_bytes, "event_ts_offset": event_ts_offset,
                         "null_offset": null_offset, "null_bytes": null_bytes, "stride": stride}

    # ---- Rows

    def _row_bytes(self, slot: int) -> bytes:
        at = self.sections["ROWS"][0] + slot * self.stride
        return self.data[at:at + self.stride]

    def _reference(self, field: bytes) -> bytes:
        length = struct.unpack_from("<I", field)[0]
        if length <= 12:
            check(not any(field[4 + length:16]), "bytes after a short value")
            return field[4:4 + length]
        offset = struct.unpack_from("<Q", field, 8)[0]
        check(offset + length <= self.sections["HEAP"][1], "reference outside of the heap")
        at = self.sections["HEAP"][0] + offset
        check(self.data[at:at + 4] == field[4:8], "prefix of a reference")
        return self.data[at:at + length]

    def _value(self, row: bytes, feature: int) -> Raw:
        kind, offset = self.types[feature], self.offsets[feature]
        field = row[offset:offset + kind.row_bytes]
        if row[self.layout["null_offset"] + feature // 8] >> (feature % 8) & 1:
            check(not any(field), "a null value that is not zero")
            return None
        if not kind.is_reference:
            return field
        payload = self._reference(field)
        if kind.shape != "list" or kind.element not in ("string", "bytes"):
            return payload
        count = struct.unpack_from("<I", payload)[0]
        ends = (0,) + struct.unpack_from(f"<{count}I", payload, 4)
        elements = payload[4 + 4 * count:]
        check(ends[-1] == len(elements), "ends of elements")
        return [elements[ends[i]:ends[i + 1]] for i in range(count)]

    def _row_key(self, row: bytes) -> bytes:
        return row[:self.layout["key_bytes"]] if self.layout["key_fixed"] else self._reference(row)

    def row_at(self, slot: int) -> Optional[Row]:
        row = self._row_bytes(slot)
        event_ts_us = struct.unpack_from("<q", row, self.layout["event_ts_offset"])[0]
        if event_ts_us == NO_ROW:
            return None
        return Row(slot, self._row_key(row), event_ts_us, [self._value(row, i) for i in range(len(self.types))])

    def rows(self) -> Iterator[Row]:
        for slot in range(self.slot_count):
            row = self.row_at(slot)
            if row is not None:
                yield row

    def _image(self, row: bytes) -> bytes:
        """What the content digest covers: the row without heap offsets, then what they lead to."""
        references = [] if self.layout["key_fixed"] else [0]
        references += [self.offsets[i] for i, kind in enumerate(self.types) if kind.is_reference]
        image, tail = bytearray(row), b""
        for at in references:
            if struct.unpack_from("<I", row, at)[0] > 12:
                image[at + 8:at + 16] = bytes(8)
                tail += self._reference(row[at:at + 16])
        return bytes(image) + tail

    def _check_rows(self) -> None:
        rows = list(self.rows())
        check(len(rows) == self.row_count, "row_count")
        check(min((row.event_ts_us for row in rows), default=(1 << 63) - 1) == self.event_ts_us_min, "event_ts_us_min")
        check(max((row.event_ts_us for row in rows), default=NO_ROW) == self.event_ts_us_max, "event_ts_us_max")
        digest = sum(xxhash.xxh3_128_intdigest(self._image(self._row_bytes(row.slot))) for row in rows) & M128
        check(digest == self.content_digest, "content_digest")

    # ---- Lookup

    def key(self, parts: list[Any]) -> bytes:
        """Canonical key bytes of Python values, one for each entity."""
        encoded = b""
        for name, part in zip(self.key_types, parts):
            if name in _WIDTHS:
                encoded += struct.pack("<" + _FORMATS[name], part)
                continue
            raw = part.encode() if isinstance(part, str) else part
            encoded += raw if len(parts) == 1 else struct.pack("<I", len(raw)) + raw
        return encoded

    def is_ours(self, key: bytes) -> bool:
        return self.shard_bits == 0 or xxhash.xxh64_intdigest(key, 42) >> (64 - self.shard_bits) == self.shard_index

    def slot_of(self, key: bytes) -> int:
        h = xxhash.xxh3_64_intdigest(key, self.hash_seed)
        cubic = mulhi(mulhi(h, h), h >> 1 | 1 << 63)
        bucket = mulhi((cubic - (cubic >> 8) + (h >> 8)) & M64, self.bucket_count)
        pilot = self.data[self.sections["PILOTS"][0] + bucket]
        mixed = (h ^ 0x9e3779b97f4a7c15 * (pilot + 1) & M64) * 0xc6a4a7935bd1e995 & M64
        return mulhi(mixed ^ mixed >> 32, self.slot_count)

    def get(self, key: bytes) -> Optional[Row]:
        if self.slot_count == 0:
            return None
        row = self.row_at(self.slot_of(key))
        return row if row is not None and row.key == key else None

    def decode(self, row: Row) -> dict[str, Any]:
        return {name: kind.decode(raw) for name, kind, raw in zip(self.features, self.types, row.values)}
