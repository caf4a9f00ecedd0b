# SPDX-License-Identifier: Apache-2.0
"""The values of tests/support/make_release, computed again: the independent side of every comparison."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

TYPES = (
    "bool",
    "int32",
    "int64",
    "float32",
    "float64",
    "string",
    "bytes",
    "unix_timestamp",
    "list<bool>",
    "list<int32>",
    "list<int64>",
    "list<float32>",
    "list<float64>",
    "list<string>",
    "list<bytes>",
    "list<unix_timestamp>",
    "vector<float32,4>",
    "vector<float16,4>",
    "vector<bfloat16,4>",
    "vector<int8,4>",
)
NAMES = tuple(t.replace("<", "_").replace(",", "_").replace(">", "") for t in TYPES)
EVENT_US = 1_700_000_000_000_000


def scalar(name: str, x: int) -> Any:
    if name == "bool":
        return x % 2 == 1
    if name in ("float32", "float64"):
        return float(x)
    if name == "float16":
        return float(x % 1024)
    if name == "bfloat16":
        return struct.unpack("<f", struct.pack("<I", struct.unpack("<I", struct.pack("<f", float(x)))[0] & 0xFFFF0000))[
            0
        ]
    if name == "int8":
        return x % 128
    if name == "string":
        return f"s{x}" + (" with a tail that is out of line" if x % 3 == 0 else "")
    if name == "bytes":
        return bytes([x % 256]) * (x % 40)
    return x


def value(kind: str, key: int, feature: int, seed: int) -> Any:
    """A float for kind "floats"; the value of the feature's type, or None, for kind "all"."""
    x = (key * 31 + feature * 7 + seed) % 1000003
    if kind == "floats":
        return float(x)
    if (key + feature) % 11 == 0:
        return None
    shape, _, rest = TYPES[feature].partition("<")
    if not rest:
        return scalar(shape, x)
    element, _, dimension = rest.rstrip(">").partition(",")
    return [scalar(element, x + i) for i in range(int(dimension) if dimension else x % 5)]


def resp_text(item: Any) -> bytes:
    """How RESP shows a value that is not null."""
    if isinstance(item, bool):
        return b"1" if item else b"0"
    if isinstance(item, bytes):
        return item
    if isinstance(item, str):
        return item.encode()
    if isinstance(item, list):
        shown = [base64.b64encode(i).decode() if isinstance(i, bytes) else i for i in item]
        return json.dumps(shown, separators=(",", ":"), ensure_ascii=False).encode()
    return repr(item).encode()


def row(kind: str, key: int, seed: int, features: int = 10) -> dict[str, Any]:
    names = NAMES if kind == "all" else [f"f{i}" for i in range(features)]
    return {name: value(kind, key, i, seed) for i, name in enumerate(names)}
