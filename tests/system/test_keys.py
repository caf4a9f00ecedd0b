# SPDX-License-Identifier: Apache-2.0
"""The table "Keys" of schemas/wire.md, row by row: everything that can give such a key gives it, to a view of each key
type, and must read the row that the table names, or be told why not. A row that disagrees fails."""

from __future__ import annotations

import datetime
import decimal
import json
import re
import struct
from dataclasses import dataclass, field
from typing import Any, Callable, Iterator

import feast_redis as layout
import harness
import libpillion
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import redis
from build_project import UTC

pillion = pytest.importorskip("pillion", reason="the package is not installed")
TYPES = ("int32", "int64", "unix_timestamp", "string", "bytes")
ARROW = dict(zip(TYPES, (pa.int32(), pa.int64(), pa.timestamp("us", "UTC"), pa.string(), pa.binary())))
EVENT = datetime.datetime(2025, 1, 1, tzinfo=UTC)


# ---- The table


@dataclass(frozen=True)
class Given:
    kind: str  # number, float, text, bytes, time, true, missing
    text: str

    @property
    def us(self) -> int:
        return int(decimal.Decimal(self.text) * 1000000)


@dataclass(frozen=True)
class Case:
    given: Given
    doors: tuple[str, ...]
    cells: dict[str, str] = field(hash=False)

    def key(self, kind: str) -> Any:
        """The key of the row to be found; None for an error and for a miss."""
        cell = self.cells[kind]
        if cell in ("error", "not found"):
            return None
        if cell == "itself":
            raw = bytes.fromhex(self.given.text) if self.given.kind == "bytes" else self.given.text.encode()
        else:
            cell = cell.strip("`")
            if cell.endswith(" s"):
                return int(decimal.Decimal(cell[:-2]) * 1000000)
            if not cell.startswith('"'):
                return int(cell)
            raw = cell.strip('"').encode()
        return raw.decode() if kind == "string" else raw


def table() -> list[Case]:
    text = (harness.ROOT / "schemas" / "wire.md").read_text().partition("\n## Keys\n")[2].partition("\n## ")[0]
    head, _, *rows = [line for line in text.splitlines() if line.startswith("|")]
    names = [cell.strip() for cell in head.split("|")[1:-1]]
    assert names == ["given", "by", *TYPES]
    cases = []
    for row in rows:
        given, doors, *cells = [cell.strip() for cell in row.split("|")[1:-1]]
        kind, value = re.fullmatch(r"([a-z ]+?)(?: `(.*)`| ``)?", given).groups()
        cases.append(Case(Given(kind, value or ""), tuple(doors.split()), dict(zip(TYPES, cells))))
    return cases


CASES = table()
DECOYS = {"int32": [0, 6, -1], "int64": [0, 6, 1 << 53], "unix_timestamp": [0, 1, 1700000001000000], "string": ["5.5"],
          "bytes": [b"ff00", b"\xff"]}
KEYS = {kind: sorted({case.key(kind) for case in CASES} - {None} | set(DECOYS[kind]), key=str) for kind in TYPES}


def test_the_table_has_keys_and_errors_of_all_types():
    assert len(CASES) > 25
    assert all(len(KEYS[kind]) > len(DECOYS[kind]) for kind in TYPES)
    assert all(any(case.cells[kind] == "error" for case in CASES) for kind in TYPES)
    assert {door for case in CASES for door in case.doors} == set(DOORS)


# ---- The data: x is the place of the key in KEYS


@pytest.fixture
def daemon(folder, store, start_pilliond) -> Any:
    lines, features = ["project: keys", "entities:"], []
    lines += [f"  - {{name: of_{kind}, join_key: k_{kind}, type: {kind}}}" for kind in TYPES]
    lines.append("feature_views:")
    for kind in TYPES:
        count = len(KEYS[kind])
        rows = {"x": pa.array(range(count), pa.int32()), f"k_{kind}": pa.array(KEYS[kind], ARROW[kind]),
                "event_timestamp": pa.array([EVENT] * count, pa.timestamp("us", "UTC"))}  # fmt: skip
        pq.write_table(pa.table(rows), folder / f"{kind}.parquet")
        source = f"{{type: parquet, path: {kind}.parquet, timestamp_field: event_timestamp}}"
        lines += [f"  - name: v_{kind}", f"    entities: [of_{kind}]", f"    source: {source}",
                  "    features: [{name: x, type: int32}]"]  # fmt: skip
        features.append(f"  - {{name: s_{kind}, features: ['v_{kind}:x']}}")
    (folder / "keys.yaml").write_text("\n".join([*lines, "feature_services:", *features, ""]))
    store.build(folder / "keys.yaml")
    serve = [f"keys/v_{kind}@production" for kind in TYPES]
    daemon = start_pilliond(store, serve=serve, args=["--listen", f"mapped=unix:{folder}/mapped.sock"])
    daemon.mapped = f"unix:{folder}/mapped.sock"
    return daemon


# ---- The doors: each gives (what, x or None for a miss) and raises Refused

Attempt = tuple[str, Callable[[], Any]]


class Refused(Exception):
    pass


def value_of(value: Any) -> Any:
    return None if value is None or np.isnan(float(value)) else int(value)


def resp(daemon: Any, kind: str, given: Given) -> Iterator[Attempt]:
    client = daemon.redis()
    raw = bytes.fromhex(given.text) if given.kind == "bytes" else given.text.encode()

    def ask(*command: Any) -> Any:
        try:
            return client.execute_command(*command)
        except redis.ResponseError as error:
            raise Refused(str(error)) from None

    def vector(reply: bytes) -> float:
        return struct.unpack("<f", reply[-4:])[0]

    yield "HGET", lambda: value_of(ask("HGET", f"v_{kind}:".encode() + raw, "x"))
    yield "HMGET", lambda: value_of(ask("HMGET", f"keys/v_{kind}:".encode() + raw, "x")[0])
    yield "PIL.VECTOR", lambda: value_of(vector(ask("PIL.VECTOR", f"s_{kind}", raw)))


def vector64(daemon: Any, kind: str, given: Given) -> Iterator[Attempt]:
    client = daemon.redis()

    def ask() -> Any:
        try:
            reply = client.execute_command("PIL.VECTOR64", f"s_{kind}", struct.pack("<q", int(given.text)))
        except redis.ResponseError as error:
            raise Refused(str(error)) from None
        return value_of(struct.unpack("<f", reply[-4:])[0])

    yield "PIL.VECTOR64", ask


def literal(given: Given) -> str:
    """As JSON writes it."""
    words = {"missing": "null", "true": "true", "float": given.text + ".0", "number": given.text}
    return words.get(given.kind) or json.dumps(given.text)


def feast(daemon: Any, kind: str, given: Given) -> Iterator[Attempt]:
    def ask() -> Any:
        body = f'{{"entities": {{"k_{kind}": [{literal(given)}]}}, "features": ["v_{kind}:x"]}}'
        answer = harness.http(daemon.feast, "POST", "/get-online-features", body)
        if answer.status != 200:
            assert answer.status == 422, answer.text
            raise Refused(answer.text)
        return value_of(answer.json()["results"][-1]["values"][0])

    yield "JSON", ask


def oip(daemon: Any, kind: str, given: Given) -> Iterator[Attempt]:
    import base64

    def ask(datatype: str, data: str, parameters: Any = None, binary: bytes = b"") -> Any:
        head = f'{{"inputs": [{{"name": "k_{kind}", "shape": [1], "datatype": "{datatype}"'
        head += f', "parameters": {json.dumps(parameters or {})}' + (f', "data": [{data}]' if data else "") + "}]}"
        fields = {"inference-header-content-length": str(len(head.encode()))} if binary else {}
        answer = harness.http(daemon.oip, "POST", f"/v2/models/s_{kind}/infer", head.encode() + binary, fields)
        if answer.status != 200:
            assert answer.status == 400, answer.text
            raise Refused(answer.json()["error"])
        return value_of(answer.json()["outputs"][0]["data"][0])

    def slices(raw: bytes) -> Callable[[], Any]:
        return lambda: ask("BYTES", "", {"binary_data_size": 4 + len(raw)}, struct.pack("<I", len(raw)) + raw)

    raw = bytes.fromhex(given.text) if given.kind == "bytes" else given.text.encode()
    if given.kind == "float":
        yield "FP64", lambda: ask("FP64", literal(given))
        yield "FP64 binary", lambda: ask("FP64", "", {"binary_data_size": 8}, struct.pack("<d", float(given.text)))
    elif given.kind in ("text", "bytes"):
        if given.kind == "text":
            yield "BYTES", lambda: ask("BYTES", literal(given))
        encoded = json.dumps(base64.b64encode(raw).decode())
        yield "base64", lambda: ask("BYTES", encoded, {"content_type": "base64"})
        yield "base64, escaped", lambda: ask("BYTES", encoded.replace("/", "\\/"), {"content_type": "base64"})
        yield "BYTES binary", slices(raw)
    else:
        yield "INT64", lambda: ask("INT64", literal(given))
        if given.kind == "number" and given.text.lstrip("-").isdigit():
            number = int(given.text)
            code = "<q" if number < 1 << 63 else "<Q"
            datatype, binary = "INT64" if code == "<q" else "UINT64", struct.pack(code, number)
            yield f"{datatype} binary", lambda: ask(datatype, "", {"binary_data_size": 8}, binary)


def c(daemon: Any, kind: str, given: Given) -> Iterator[Attempt]:
    def ask(way: dict[str, Any], keys: libpillion.GivenKeys) -> Any:
        with libpillion.Client(**way) as client:
            got = client.plan([f"v_{kind}:x"]).get(keys)
        if got.result != libpillion.OK:
            assert got.result == libpillion.INVALID, got.error
            raise Refused(got.error)
        return value_of(struct.unpack("f", got.values)[0])

    options: dict[str, Any] = {}
    key: Any = given.text
    if given.kind == "number":
        key = int(given.text)
    elif given.kind == "bytes":
        key = bytes.fromhex(given.text)
    elif given.kind == "time":
        key, options = given.us, {"times": True}
    keys = libpillion.GivenKeys([key], **options)
    yield "mapped", lambda: ask({"mapped": daemon.mapped, "resp": None}, keys)
    yield "socket", lambda: ask({"mapped": None, "resp": daemon.resp_unix}, keys)


def moments(given: Given) -> dict[str, Any]:
    """The same time by all libraries; nanoseconds by those that have them."""
    ticks = int(decimal.Decimal(given.text) * 1000000000)
    exact = np.datetime64(ticks, "ns")
    found = {"datetime64": np.array([exact]), "datetime64 list": [exact],
             "arrow ns": pa.array([ticks], pa.timestamp("ns"))}  # fmt: skip
    if ticks % 1000:
        return found
    moment = datetime.datetime(1970, 1, 1, tzinfo=UTC) + datetime.timedelta(microseconds=given.us)
    zone = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
    arrow = {f"arrow {t}": pa.array([given.us], pa.timestamp("us", "UTC")).cast(t)
             for t in (pa.timestamp("us"), pa.timestamp("ms", "Asia/Tokyo"), pa.timestamp("ns", "UTC"))}  # fmt: skip
    return {**found, **arrow, "datetime": [moment], "datetime elsewhere": [moment.astimezone(zone)],
            "objects": np.array([moment], object), "datetime64[ms]": np.array([exact], "datetime64[ms]"),
            "chunks": pa.chunked_array([pa.array([moment])])}  # fmt: skip


def spellings(given: Given) -> dict[str, Any]:
    """Columns of one key, in every form that Python has for it."""
    if given.kind == "number":
        number = int(given.text)
        forms = {"list": [number], "numpy": np.array([number]), "object": np.array([number], object)}
        return {**forms, "arrow": pa.array([number], pa.uint64() if number >= 1 << 63 else pa.int64()),
                "dictionary": pa.array([number], pa.uint64() if number > 0 else pa.int64()).dictionary_encode(),
                "chunks": pa.chunked_array([pa.array([number], pa.uint64() if number > 0 else pa.int64())]),
                "masked": np.ma.array([number], mask=[False])}  # fmt: skip
    if given.kind == "float":
        return {"list": [float(given.text)], "numpy": np.array([5.0]), "arrow": pa.array([5.0]),
                "half": np.float16([5]), "decimal": [decimal.Decimal(5)],
                "arrow decimal": pa.array([decimal.Decimal(5)])}  # fmt: skip
    if given.kind == "text":
        return {"list": [given.text], "bytes": [given.text.encode()], "numpy": np.array([given.text]),
                "arrow": pa.array([given.text]), "view": pa.array([given.text], pa.string_view()),
                "dictionary": pa.array([given.text]).dictionary_encode(), "S": np.array([given.text.encode()]),
                "object": np.array([given.text], object)}  # fmt: skip
    if given.kind == "bytes":
        raw = bytes.fromhex(given.text)
        return {"list": [raw], "arrow": pa.array([raw]), "object": np.array([raw], object)}
    if given.kind == "time":
        return moments(given)
    if given.kind == "time without zone":
        return {"datetime": [datetime.datetime(2023, 11, 14, 22, 13, 20)], "date": [datetime.date(2023, 11, 14)]}
    if given.kind == "true":
        return {"list": [True], "numpy": np.array([True]), "scalar": [np.True_], "arrow": pa.array([True])}
    assert given.kind == "missing"
    return {"None": [None], "NaT": np.array(["NaT"], "datetime64[us]"), "NaT scalar": [np.datetime64("NaT")],
            "masked": np.ma.array([5], mask=[True]), "masked scalar": [np.ma.masked],
            "arrow": pa.array([None], pa.int64()), "arrow text": pa.array([None], pa.string()),
            "arrow time": pa.array([None], pa.timestamp("us")),
            "dictionary": pa.array([None, "5"]).dictionary_encode()[:1], "nothing": pa.array([None])}  # fmt: skip


def python(daemon: Any, kind: str, given: Given) -> Iterator[Attempt]:
    def ask(ways: tuple[Any, Any], keys: Any) -> Any:
        with pillion.Client(*ways, timeout=10) as client:
            try:
                return value_of(client.vectors(f"s_{kind}", keys)[0, 0])
            except (TypeError, ValueError) as error:
                raise Refused(str(error)) from None

    for name, column in spellings(given).items():
        yield f"{name}, mapped", lambda column=column: ask((daemon.mapped, None), column)
        yield f"{name}, socket", lambda column=column: ask((None, daemon.resp_unix), {f"k_{kind}": column})


def feast_layout(daemon: Any, kind: str, given: Given) -> Iterator[Attempt]:
    client = daemon.redis()

    def ask(typed: layout.Typed, version: int) -> Any:
        key = layout.key("keys", {f"k_{kind}": typed}, version)
        try:
            return layout.value(client.hmget(key, [layout.field(f"v_{kind}", "x"), layout.time(f"v_{kind}")])[0])
        except redis.ResponseError as error:
            raise Refused(str(error)) from None

    forms: dict[str, layout.Typed] = {}
    if given.kind == "number":
        forms["INT64"] = layout.int64(int(given.text))
        if abs(int(given.text)) < 1 << 31:
            forms["INT32"] = layout.int32(int(given.text))
    elif given.kind == "time":
        forms["UNIX_TIMESTAMP"] = layout.unix_timestamp(int(given.text))
    elif given.kind == "text":
        forms = {"STRING": (layout.STRING, given.text.encode()), "BYTES": (layout.BYTES, given.text.encode())}
    elif given.kind == "bytes":
        forms["BYTES"] = (layout.BYTES, bytes.fromhex(given.text))
    elif given.kind == "float":
        forms["DOUBLE"] = (layout.DOUBLE, struct.pack("<d", float(given.text)))
    elif given.kind == "true":
        forms["BOOL"] = (layout.BOOL, b"\1")
    for name, typed in forms.items():
        for version in (2, 3):
            yield f"{name}, version {version}", lambda typed=typed, version=version: ask(typed, version)


DOORS = {"RESP": resp, "Layout": feast_layout, "VECTOR64": vector64, "Feast": feast, "OIP": oip, "C": c,
         "Python": python}  # fmt: skip


def outcome(attempt: Callable[[], Any], kind: str) -> Any:
    """The key of the row that was read, "not found", or "error"."""
    try:
        found = attempt()
    except Refused as error:
        return "error" if f"k_{kind}" in str(error) else f"an error without the join key: {error}"
    return "not found" if found is None else KEYS[kind][found]


@pytest.mark.parametrize("door", DOORS)
def test_every_door_keeps_to_the_table(daemon, door):
    wrong, count = [], 0
    for case in CASES:
        for kind in TYPES if door in case.doors else ():
            wanted = case.cells[kind] if case.key(kind) is None else case.key(kind)
            for what, attempt in DOORS[door](daemon, kind, case.given):
                count += 1
                found = outcome(attempt, kind)
                if found != wanted:
                    wrong.append(f"{case.given} as {what} for {kind}: {found!r}; the table says {wanted!r}")
    assert count >= 5 and not wrong, "\n".join(wrong)
