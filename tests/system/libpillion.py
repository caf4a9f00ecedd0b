# SPDX-License-Identifier: Apache-2.0
"""libpillion by ctypes, as include/pillion/client.h has it: for tests of the library itself, with nothing between."""

from __future__ import annotations

import ctypes
import itertools
from ctypes import POINTER, byref, c_char, c_char_p, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_uint8, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterable, Sequence

import harness
import pytest

OK, INVALID, NOT_FOUND, DENIED, UNSUPPORTED, TOO_LARGE, NOT_READY, UNAVAILABLE, CORRUPT, SYSTEM = range(10)
FLOAT32, FLOAT64 = 0, 1
USE_DEFAULTS, COLUMNS = 1, 2
NO_REFRESH = 1
KEY_INT64, KEY_INT32, KEY_BYTES, KEY_BYTES64, KEY_TIME_US = range(5)
PRESENT, NULL_VALUE, NOT_FOUND_KEY, OUTSIDE_MAX_AGE = 1, 2, 3, 4
VIEWS_MAX = KEYS_MAX = 16


class Error(Exception):
    def __init__(self, result: int, text: str):
        super().__init__(text)
        self.result, self.text = result, text


class ErrorText(ctypes.Structure):
    _fields_ = [("text", c_char * 512)]


class Options(ctypes.Structure):
    _fields_ = [("size", c_size_t), ("mapped", c_char_p), ("resp", c_char_p), ("name", c_char_p)] + [
        ("timeout_ms", c_uint32),
        ("refresh_us", c_uint32),
    ]


class PlanOptions(ctypes.Structure):
    _fields_ = [("size", c_size_t), ("service", c_char_p), ("features", POINTER(c_char_p))] + [
        ("feature_count", c_uint32),
        ("dtype", c_uint32),
        ("flags", c_uint32),
        ("max_age_us", c_int64),
        ("min_release", c_char_p),
    ]


class FeatureInfo(ctypes.Structure):
    _fields_ = [("view", c_char * 258), ("feature", c_char * 129), ("type", c_char * 40)] + [
        ("view_index", c_uint32),
        ("first", c_uint32),
        ("count", c_uint32),
        ("reserved", c_uint64 * 2),
    ]


class PlanInfo(ctypes.Structure):
    _fields_ = [("size", c_size_t), ("feature_count", c_uint32), ("width", c_uint32), ("view_count", c_uint32)] + [
        ("join_key_count", c_uint32),
        ("join_keys", c_char * 129 * KEYS_MAX),
        ("join_key_types", c_char * 40 * KEYS_MAX),
    ]


class KeyColumn(ctypes.Structure):
    _fields_ = [("kind", c_uint32), ("values", c_void_p), ("offsets", c_void_p)]


class Keys(ctypes.Structure):
    _fields_ = [("size", c_size_t), ("count", c_size_t), ("column_count", c_uint32), ("columns", KeyColumn * KEYS_MAX)]


class Output(ctypes.Structure):
    _fields_ = [("size", c_size_t), ("values", c_void_p), ("value_bytes", c_size_t), ("statuses", c_void_p)] + [
        ("event_ts_us", c_void_p),
        ("flags", c_uint32),
    ]


class ViewAnswer(ctypes.Structure):
    _fields_ = [("release", c_char * 17), ("generation", c_uint64), ("worst_age_us", c_int64)] + [
        ("not_found", c_uint64),
        ("created_us", c_int64),
        ("reserved", c_uint64),
    ]


class Answer(ctypes.Structure):
    _fields_ = [("size", c_size_t), ("is_mapped", c_uint32), ("view_count", c_uint32), ("staleness_us", c_int64)] + [
        ("views", ViewAnswer * VIEWS_MAX),
        ("error", ErrorText),
    ]


class Column(ctypes.Structure):
    _fields_ = [("values", c_void_p), ("value_bytes", c_size_t), ("offsets", c_void_p), ("child_offsets", c_void_p)] + [
        ("child_capacity", c_size_t),
        ("statuses", c_void_p),
        ("ret_value_bytes", c_size_t),
        ("ret_child_count", c_size_t),
        ("reserved", c_uint64 * 2),
    ]


class ColumnsRequest(ctypes.Structure):
    _fields_ = [("size", c_size_t), ("columns", POINTER(Column)), ("column_count", c_uint32), ("flags", c_uint32)] + [
        ("event_ts_us", c_void_p),
    ]


class ViewInfo(ctypes.Structure):
    _fields_ = [
        ("name", c_char * 258),
        ("release", c_char * 17),
        ("generation", c_uint64),
        ("mapped_bytes", c_uint64),
    ] + [
        ("row_count", c_uint64),
        ("is_mapped", c_uint32),
        ("why_not", c_char * 256),
    ]


class Info(ctypes.Structure):
    _fields_ = [("size", c_size_t), ("is_connected", c_uint32), ("view_count", c_uint32), ("staleness_us", c_int64)] + [
        ("refreshes", c_uint64),
        ("reconnects", c_uint64),
        ("socket_calls", c_uint64),
        ("why_not_mapped", c_char * 256),
        ("views", ViewInfo * 64),
    ]


def path() -> Path:
    found = harness.BIN_DIR.parent / "lib" / "libpillion.so.0"
    if not found.exists():
        pytest.skip(f"{found} is not built")
    return found


def library() -> ctypes.CDLL:
    lib = ctypes.CDLL(str(path()))
    lib.pillion_close.restype = lib.pillion_plan_free.restype = None
    return lib


def address(buffer: Any) -> int | None:
    return ctypes.addressof(buffer) if buffer is not None else None


def filled(kind: Any, count: int) -> Any:
    """Memory where what was not written is seen."""
    return (kind * count).from_buffer_copy(b"\xee" * (ctypes.sizeof(kind) * count))


class GivenKeys:
    """Key columns: ints as int64 (or `narrow`, as int32; or `times`, as microseconds), str and bytes as slices (or
    `wide`, with 64-bit offsets)."""

    def __init__(self, *columns: Sequence[Any], narrow: bool = False, wide: bool = False, times: bool = False):
        self.kept: list[Any] = []
        self.struct = Keys(ctypes.sizeof(Keys), len(columns[0]) if columns else 0, len(columns))
        for i, column in enumerate(columns):
            if all(isinstance(key, int) for key in column):
                values, offsets, kind = ((c_int32 if narrow else c_int64) * len(column))(*column), None, int(narrow)
                kind = KEY_TIME_US if times else kind
            else:
                texts = [key.encode() if isinstance(key, str) else key for key in column]
                ends = list(itertools.accumulate(map(len, texts), initial=0))
                values = ctypes.create_string_buffer(b"".join(texts))
                offsets, kind = ((c_int64 if wide else c_int32) * len(ends))(*ends), KEY_BYTES64 if wide else KEY_BYTES
            self.kept += [values, offsets]
            self.struct.columns[i] = KeyColumn(kind, address(values), address(offsets))


@dataclass
class Got:
    """What a call wrote, as bytes, and said."""

    result: int
    answer: Answer
    values: bytes = b""
    statuses: bytes = b""
    times: bytes = b""
    columns: tuple[Any, ...] = ()  # of each: values, offsets, child offsets, statuses

    @property
    def error(self) -> str:
        return self.answer.error.text.decode()

    @property
    def views(self) -> list[tuple[Any, ...]]:
        """But for ages, which go on."""
        shown = self.answer.views[: self.answer.view_count]
        return [(v.release, v.generation, v.worst_age_us >= 0, v.not_found, v.created_us) for v in shown]

    @property
    def content(self) -> tuple[Any, ...]:
        return self.result, self.values, self.statuses, self.times, self.columns, self.views


class Plan:
    def __init__(self, client: Client, options: PlanOptions):
        self.client, self.lib, self.handle = client, client.lib, c_void_p()
        error = ErrorText()
        result = self.lib.pillion_plan(client.handle, byref(options), byref(self.handle), byref(error))
        if result != OK:
            raise Error(result, error.text.decode())
        self.element_bytes = 8 if options.dtype == FLOAT64 else 4

    def info(self) -> PlanInfo:
        info = PlanInfo(ctypes.sizeof(PlanInfo))
        result = self.lib.pillion_plan_describe(self.handle, byref(info))
        if result != OK:
            raise Error(result, "")
        return info

    def features(self) -> list[tuple[Any, ...]]:
        count = self.info().feature_count
        found = (FeatureInfo * count)()
        result = self.lib.pillion_plan_features(self.handle, found, count)
        if result != OK:
            raise Error(result, "")
        return [(f.view, f.feature, f.type, f.view_index, f.first, f.count) for f in found]

    def shape(self) -> tuple[Any, ...]:
        info = self.info()
        keys = [(info.join_keys[i].value, info.join_key_types[i].value) for i in range(info.join_key_count)]
        return info.feature_count, info.width, info.view_count, keys, self.features()

    def get(self, keys: GivenKeys, flags: int = 0, room: int | None = None, answer: Answer | None = None) -> Got:
        info, count = self.info(), keys.struct.count
        values = filled(c_uint8, count * info.width * self.element_bytes)
        statuses, times = filled(c_uint8, count * info.feature_count), filled(c_int64, count * info.view_count)
        output = Output(ctypes.sizeof(Output), address(values), len(values) if room is None else room)
        output.statuses, output.event_ts_us, output.flags = address(statuses), address(times), flags
        answer = answer if answer is not None else Answer(ctypes.sizeof(Answer))
        result = self.lib.pillion_get(self.handle, byref(keys.struct), byref(output), byref(answer))
        written = (bytes(values), bytes(statuses), bytes(times)) if result == OK else ()
        return Got(result, answer, *written)

    def columns_once(self, keys: GivenKeys, rooms: Sequence[tuple[int, int]]) -> tuple[Got, list[tuple[int, int]]]:
        """With room for so many bytes and child offsets; what the call says is needed."""
        count, columns, kept = keys.struct.count, (Column * len(rooms))(), []
        for column, (value_bytes, children) in zip(columns, rooms):
            values, offsets = filled(c_uint8, value_bytes), filled(c_int32, count + 1)
            child_offsets, statuses = filled(c_int32, children), filled(c_uint8, count)
            column.values, column.value_bytes, column.offsets = address(values), value_bytes, address(offsets)
            column.child_offsets, column.child_capacity = address(child_offsets), children
            column.statuses = address(statuses)
            kept.append((values, offsets, child_offsets, statuses))
        times = filled(c_int64, count * self.info().view_count)
        request = ColumnsRequest(ctypes.sizeof(ColumnsRequest), columns, len(rooms), 0, address(times))
        answer = Answer(ctypes.sizeof(Answer))
        result = self.lib.pillion_get_columns(self.handle, byref(keys.struct), byref(request), byref(answer))
        needed = [(column.ret_value_bytes, column.ret_child_count) for column in columns]
        if result != OK:
            return Got(result, answer), needed
        content = tuple(
            (bytes(v)[:n], bytes(o), bytes(c)[: 4 * k], bytes(s)) for (v, o, c, s), (n, k) in zip(kept, needed)
        )
        return Got(result, answer, times=bytes(times), columns=content), needed

    def get_columns(self, keys: GivenKeys) -> Got:
        got, needed = self.columns_once(keys, [(0, 1)] * self.info().feature_count)
        return self.columns_once(keys, needed)[0] if got.result == TOO_LARGE else got

    def free(self) -> None:
        self.lib.pillion_plan_free(byref(self.handle))


class Client:
    def __init__(self, mapped: str | None, resp: str | None, timeout_ms: int = 0):
        self.lib, self.handle, error = library(), c_void_p(), ErrorText()
        options = Options(ctypes.sizeof(Options), mapped and mapped.encode(), resp and resp.encode(), None, timeout_ms)
        result = self.lib.pillion_open(byref(options), byref(self.handle), byref(error))
        if result != OK:
            raise Error(result, error.text.decode())

    def plan(self, what: str | Iterable[str], dtype: int = FLOAT32, flags: int = 0, max_age_us: int = 0,
             min_release: str | None = None) -> Plan:  # fmt: skip
        """Of a service, or of a list of "view:feature"."""
        options = PlanOptions(ctypes.sizeof(PlanOptions), dtype=dtype, flags=flags, max_age_us=max_age_us)
        options.min_release = min_release.encode() if min_release is not None else None
        if isinstance(what, str):
            options.service = what.encode()
        else:
            names = [name.encode() for name in what]
            options.features, options.feature_count = (c_char_p * len(names))(*names), len(names)
        return Plan(self, options)

    def names(self, kind: int, capacity: int) -> tuple[int, int, list[str]]:
        """The result, the number and the names of pillion_list."""
        names, count, error = (c_char * 258 * capacity)(), c_uint32(), ErrorText()
        result = self.lib.pillion_list(self.handle, c_uint32(kind), names, capacity, byref(count), byref(error))
        found = sorted(name.value.decode() for name in names[: count.value]) if result == OK else []
        return result, count.value, found

    def info(self) -> Info:
        info = Info(ctypes.sizeof(Info))
        assert self.lib.pillion_info(self.handle, byref(info)) == OK
        return info

    def close(self) -> None:
        self.lib.pillion_close(byref(self.handle))

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
