# SPDX-License-Identifier: Apache-2.0
"""pillion.Client against the real daemon: every kind of key and of output gives the values that the release was made
with, mapped and over the socket; wrong input is told; swaps, restarts, threads, forks and 10^5 calls leave it right."""

from __future__ import annotations

import array
import asyncio
import gc
import os
import signal
import sys
import threading
import tracemalloc
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, Callable, Iterator

import harness
import numpy as np
import pyarrow as pa
import pytest
import synthetic

pillion = pytest.importorskip("pillion", reason="the package is not installed")
WAYS = ("mapped", "socket")
UTC = timezone.utc


@pytest.fixture
def start(store, start_pilliond, folder) -> Callable[..., Any]:
    def start(view: str = "driver_stats", rule: str = "") -> Any:
        config, path = folder / "pilliond.yaml", folder / "mapped.sock"
        config.write_text(f"serve:\n  - {{view: rides/{view}, channel: production{rule}}}\n")
        args = ["--config", str(config), "--listen", f"mapped=unix:{path}"]
        daemon = start_pilliond(store, serve=[], args=args)
        daemon.mapped = f"unix:{path}"
        return daemon

    return start


def connect(daemon: Any, way: str, **options: Any) -> Any:
    if way == "mapped":
        return pillion.Client(daemon.mapped, None, timeout=10, refresh=1, **options)
    return pillion.Client(None, daemon.resp_unix, timeout=10, **options)


@pytest.fixture(params=WAYS)
def client(request, store, start) -> Iterator[Any]:
    """1000 rows of ten floats."""
    store.make_release(rows=1000)
    with connect(start(), request.param) as client:
        yield client


@pytest.fixture(params=WAYS)
def typed(request, store, start) -> Iterator[Any]:
    """60 rows of all types, by an integer and a text."""
    store.make_release(view="all_types", rows=60, kind="all", args=("--key", "pair"))
    with connect(start("all_types"), request.param) as client:
        yield client


def expected(*keys: int, seed: int = 1) -> np.ndarray:
    nothing = [np.nan] * 10
    return np.array([list(synthetic.row("floats", k, seed).values()) if 0 <= k < 1000 else nothing for k in keys])


def assert_same(found: Any, wanted: Any) -> None:
    np.testing.assert_array_equal(np.asarray(found), np.asarray(wanted))


# ---- Values


def test_vectors_have_the_values_of_the_release(client):
    keys = np.array([0, 1, 999, 1000, -1, 17])
    found = client.vectors("every", keys)
    assert found.dtype == np.float32 and found.shape == (6, 10) and found.flags.c_contiguous and found.flags.owndata
    assert_same(found, expected(*keys))
    assert_same(client.vectors("rides/every", keys, dtype=np.float64), expected(*keys))
    assert_same(client.vectors(["driver_stats:f3", "rides/driver_stats:f0"], keys), expected(*keys)[:, [3, 0]])
    assert client.vectors("every", []).shape == (0, 10)
    assert client.vectors("every", np.array([], np.int64)).shape == (0, 10)


def test_read_says_what_was_read(client):
    answer = client.read("every", [5, 1000, 6])
    assert_same(answer.values, expected(5, 1000, 6))
    assert answer.statuses.dtype == np.uint8
    assert_same(answer.statuses, [[pillion.PRESENT] * 10, [pillion.NOT_FOUND] * 10, [pillion.PRESENT] * 10])
    times = [np.datetime64(synthetic.EVENT_US + key * 1000, "us") for key in (5, 6)]
    assert_same(answer.event_timestamps[[0, 2], 0], times)
    assert answer.event_timestamps.shape == (3, 1) and np.isnat(answer.event_timestamps[1, 0])
    (view,) = answer.views
    assert (view.view, view.not_found, len(view.release)) == ("rides/driver_stats", 1, 16)
    age = datetime.now(UTC).timestamp() - (synthetic.EVENT_US / 1e6 + 0.005)
    assert abs(view.worst_age - age) < 5 and abs((datetime.now(UTC) - view.created).total_seconds()) < 600
    assert answer.is_mapped == client.info().is_connected and answer.staleness == 0
    assert client.read("every", [1000]).views[0].worst_age is None


def test_options_of_a_read(typed):
    features = ["all_types:float64", "all_types:int64"]
    keys = {"id": [11, 1, 99], "zone": ["z4", "z1", "z1"]}  # the first feature of key 7 + 11 … is null
    plain = typed.read(features, keys, dtype="float64")
    names = [feature.partition(":")[2] for feature in features]
    for row, key in enumerate((11, 1)):
        values = [synthetic.row("all", key, 1)[name] for name in names]
        assert_same(plain.values[row], [np.nan if value is None else value for value in values])
        assert plain.statuses[row].tolist() == [2 if value is None else 1 for value in values]
    assert plain.statuses[2].tolist() == [3, 3]
    old = typed.read(features, keys, dtype="float64", max_age=1.5)
    assert_same(old.values, plain.values)
    assert_same(old.statuses, np.where(plain.statuses == 1, pillion.OUTSIDE_MAX_AGE, plain.statuses))
    assert_same(typed.vectors(features, keys, dtype="float64", defaults=True)[1], plain.values[1])
    release = plain.views[0].release
    assert_same(typed.vectors(features, keys, dtype="float64", min_release=release), plain.values)
    with pytest.raises(pillion.NotReadyError):
        typed.vectors(features, keys, min_release="0123456789abcdef")


def test_describe_names_columns_and_keys(typed):
    plan = typed.describe(["all_types:vector_int8_4", "all_types:float64"])
    assert [(f.name, f.type, f.first, f.count) for f in plan.features] == [
        ("vector_int8_4", "vector<int8,4>", 0, 4),
        ("float64", "float64", 4, 1),
    ]
    assert plan.width == 5 and plan.join_keys == {"id": "int64", "zone": "string"}


# ---- Keys

INT_KEYS: dict[str, Callable[[list[int]], Any]] = {
    "list": list,
    "tuple": tuple,
    "numpy scalars": lambda keys: [np.int32(key) for key in keys],
    "dict keys": lambda keys: dict.fromkeys(keys).keys(),
    "digits": lambda keys: [str(key) for key in keys],
    "bytes": lambda keys: [b"%d" % key for key in keys],
    **{name: (lambda keys, name=name: np.array(keys, name)) for name in ("i8", "i4", "i2", "u8", "u4", "u2", "O")},
    "strided": lambda keys: np.array([keys, keys]).T[:, 0],
    "backwards": lambda keys: np.array(keys[::-1])[::-1],
    "read-only": lambda keys: np.frombuffer(np.array(keys).tobytes(), np.int64),
    "numpy text": lambda keys: np.array([str(key) for key in keys]),
    "numpy bytes": lambda keys: np.array([b"%d" % key for key in keys]),
    "numpy strings": lambda keys: np.array([str(key) for key in keys], np.dtypes.StringDType()),
    "array.array": lambda keys: array.array("q", keys),
    "memoryview": lambda keys: memoryview(array.array("i", keys)),
    **{
        f"arrow {kind}": (lambda keys, kind=kind: pa.array(keys, kind))
        for kind in (pa.int64(), pa.int32(), pa.int16(), pa.uint64(), pa.uint32(), pa.uint16())
    },
    **{
        f"arrow {kind}": (lambda keys, kind=kind: pa.array([str(key) for key in keys], pa.string()).cast(kind))
        for kind in (pa.string(), pa.large_string(), pa.binary(), pa.string_view())
    },
    "arrow slice": lambda keys: pa.array([7, 7, *keys, 7])[2:-1],
    "arrow text slice": lambda keys: pa.array(["7", "77", *map(str, keys), "7"])[2:-1],
    "arrow chunks": lambda keys: pa.chunked_array([keys[:2], [], keys[2:]], pa.int64()),
    "arrow text chunks": lambda keys: pa.chunked_array([[str(k) for k in keys[:2]], [str(k) for k in keys[2:]]]),
}


@pytest.mark.parametrize("kind", INT_KEYS)
def test_integer_keys_of_every_kind(client, kind):
    keys = [0, 1, 300, 999, 1000, 5]
    given = INT_KEYS[kind](keys)
    assert_same(client.vectors("every", given), expected(*keys))
    assert_same(client.vectors("every", {"id": given}), expected(*keys))


def test_keys_of_pandas(client):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    keys = [3, 999, 2, 1000]
    frame = pandas.DataFrame({"id": keys, "text": [str(key) for key in keys]})
    frame["nullable"] = frame["id"].astype("Int64")
    frame["arrow"] = frame["id"].astype("int64[pyarrow]")
    for name in frame.columns:
        assert_same(client.vectors("every", frame[name]), expected(*keys))
    assert_same(client.vectors("every", dict(frame[["id"]])), expected(*keys))
    assert_same(client.vectors("every", frame["id"].iloc[::2]), expected(3, 2))
    assert_same(client.vectors("every", frame["id"].astype("category")), expected(*keys))
    assert_same(client.vectors("every", frame["text"].astype("category")), expected(*keys))
    assert_same(client.vectors("every", frame["text"].astype("string")), expected(*keys))
    for missing in ([1, None], [1, float("nan")]):
        with pytest.raises(TypeError, match="join key id, row 0: .*1.0.* float64; .*integers with missing values"):
            client.vectors("every", pandas.Series(missing))
    with pytest.raises((TypeError, ValueError), match="join key id, row [01]: .*missing"):
        client.vectors("every", pandas.Series([1, None], dtype="Int64"))
    with pytest.raises(ValueError, match="join key id, row 1: <NA>; a key may not be missing"):
        client.vectors("every", pandas.Series(["1", None], dtype="string"))
    with pytest.raises(TypeError, match="join key id, row 0: .*2020.* is datetime64; a key of type int64"):
        client.vectors("every", pandas.Series(pandas.to_datetime(["2020-01-01"])))


TEXT_KEYS: dict[str, Callable[[list[str]], Any]] = {
    "list": list,
    "bytes": lambda keys: [key.encode() for key in keys],
    "numpy U": np.array,
    "numpy S": lambda keys: np.array([key.encode() for key in keys]),
    "numpy U strided": lambda keys: np.array([keys, keys]).T[:, 0],
    "numpy O": lambda keys: np.array(keys, object),
    "numpy strings": lambda keys: np.array(keys, np.dtypes.StringDType()),
    **{f"arrow {t}": (lambda keys, t=t: pa.array(keys, t)) for t in (pa.string(), pa.large_string(), pa.string_view())},
    "arrow slice": lambda keys: pa.array(["", "x", *keys])[2:],
    "arrow chunks": lambda keys: pa.chunked_array([keys[:1], keys[1:]]),
    "arrow view chunks": lambda keys: pa.chunked_array([keys[:1], keys[1:]], pa.string_view()),
}


@pytest.mark.parametrize("kind", TEXT_KEYS)
def test_text_keys_of_every_kind(typed, kind):
    feature = ["all_types:int32"]
    zones = TEXT_KEYS[kind](["z1", "z2", "", "z3", "z3 but longer than an Arrow view"])
    found = typed.vectors(feature, {"zone": zones, "id": [1, 2, 1, 3, 3]})
    wanted = [
        [synthetic.row("all", k, 1)["int32"]] if found else [np.nan] for k, found in zip((1, 2, 0, 3, 0), "ff f ")
    ]
    assert_same(found, [[w[0] if mark == "f" else np.nan] for w, mark in zip(wanted, "ff f ")])
    long = "köln, 東京 and 🚲, longer than twelve bytes"
    with pytest.raises(pillion.InvalidRequestError) as error:
        typed.vectors(feature, {"zone": ["z1", "z1"], "id": TEXT_KEYS[kind](["1", long])})
    if typed.info().is_connected:
        assert f"row 1: '{long}' is not int64" in str(error.value)


WRONG_KEYS = {
    "None": ([1, None], ValueError, "join key id, row 1: None; a key may not be missing"),
    "float": ([1.5], TypeError, "join key id, row 0: 1.5 is float; a key of type int64 is given as int"),
    "bool": ([True], TypeError, "join key id, row 0: True is bool; a key of type int64"),
    "Decimal": ([1, Decimal(2)], TypeError, "join key id, row 1: Decimal\\('2'\\) is Decimal; a key of type int64"),
    "mixed": ([1, "a"], TypeError, "join key id, row 1: keys are integers, text or times"),
    "too large": ([0, 1 << 63], ValueError, "join key id, row 1: 9223372036854775808 does not fit"),
    "too large, numpy": (np.array([0, 1 << 63], np.uint64), ValueError, "join key id, row 1: 9223372036854775808 does"),
    "floats": (np.array([1.0]), TypeError, "join key id, row 0: .*1.0.* is float64; a key of type int64"),
    "bools": (np.array([True]), TypeError, "join key id, row 0: .*True.* is bool"),
    "durations": (np.array([1], "timedelta64[s]"), TypeError, "join key id, row 0: .* is timedelta64"),
    "two dimensions": (np.array([[1]]), ValueError, "join key id: .*one dimension, not 2"),
    "scalar": (np.int64(1), ValueError, "join key id: .*one dimension, not 0"),
    "an array in a list": ([np.array([1, 2])], TypeError, "join key id, row 0: .* is ndarray"),
    "foreign": (np.array([1], ">i8"), TypeError, "join key id: .*foreign byte order"),
    "datetime64": (np.array(["1970-01-01"], "datetime64[D]"), TypeError, "join key id, row 0: .* a key of type int64"),
    "datetime": ([datetime(2020, 1, 1, tzinfo=UTC)], TypeError, "join key id, row 0: datetime.* a key of type int64"),
    "date": ([datetime(2020, 1, 1).date()], TypeError, "join key id, row 0: datetime.date.* a key of type int64"),
    "arrow times": (pa.array([1], pa.timestamp("s")), TypeError, "join key id, row 0: a time \\(1 s\\) is not int64"),
    "NaT": ([1, np.datetime64("NaT")], TypeError, "join key id, row 1: .*NaT"),
    "masked": (np.ma.array([1, 2, 3], mask=[0, 0, 1]), ValueError, "join key id, row 2: masked; a key may not be"),
    "masked scalar": (list(np.ma.array([1, 2], mask=[0, 1])), ValueError, "join key id, row 1: .*may not be missing"),
    "arrow nulls": (pa.array([1, None, 3]), ValueError, "join key id, row 1: null; a key may not be missing"),
    "arrow text nulls": (pa.array(["", "1", None])[1:], ValueError, "join key id, row 1: null"),
    "arrow chunk nulls": (pa.chunked_array([[1, 2], [None]]), ValueError, "join key id, row 2: null"),
    "arrow floats": (pa.array([1.0]), TypeError, "join key id: .*format 'g'.*cast it to int64"),
    "arrow dictionary": (pa.array([1, None]).dictionary_encode(), ValueError, "join key id, row 1: null"),
    "dictionary of null": (
        pa.DictionaryArray.from_arrays([0, 1], pa.array([1, None])), ValueError, "join key id, row 1: null"
    ),
    "arrow struct": (pa.array([{"id": 1}]), TypeError, "join key id: .*format '\\+s'"),
    "text": ("12", TypeError, "join key id: .*a list or an array, not <class 'str'>"),
    "bytes": (b"12", TypeError, "a list or an array, not <class 'bytes'>"),
    "bytearray": (bytearray(b"12"), TypeError, "a list or an array, not <class 'bytearray'>"),
    "view of bytes": (memoryview(b"12"), TypeError, "a list or an array, not <class 'memoryview'>"),
    "number": (12, TypeError, "a list or an array, not <class 'int'>"),
    "nothing": (None, TypeError, "a list or an array"),
    "lacking": ({"driver": [1]}, pillion.MissingJoinKeyError, "lack the join key 'id'"),
    "lacking, as in Feast": ({}, KeyError, "lack the join key 'id'"),
    "more": ({"id": [1], "zone": ["z"]}, ValueError, r"not join keys: \['zone'\]; the join keys are \('id',\)"),
    "table": (pa.table({"id": [1], "zone": ["z"]}), ValueError, r"not join keys: \['zone'\]"),
    "table without": (pa.table({"zone": ["z"]}), pillion.MissingJoinKeyError, "lack the join key 'id'"),
    "no number": (["1", "a"], pillion.InvalidRequestError, "join key id, row 1: 'a' is not int64"),
    "fraction": (["1.0"], pillion.InvalidRequestError, "join key id, row 0: '1.0' is not int64"),
    "surrogate": (["\ud800"], ValueError, "join key id, row 0: '.ud800' is not text"),
    "surrogate, numpy": (np.array(["a", "\ud800"]), ValueError, r"join key id, row 1: U\+d800 is not a character"),
}


@pytest.mark.parametrize("kind", WRONG_KEYS)
def test_wrong_keys_are_told(client, kind):
    keys, error, text = WRONG_KEYS[kind]
    with pytest.raises(error, match=text):
        client.vectors("every", keys)
    assert_same(client.vectors("every", [1]), expected(1))


def test_several_join_keys_come_as_a_dict(typed):
    for keys, error, text in (
        ([1], TypeError, r"a dict or a frame with columns \('id', 'zone'\)"),
        ({"id": [1]}, pillion.MissingJoinKeyError, "'zone'"),
        ({"id": [1], "zone": ["z", "y"]}, ValueError, "join key id has 1 keys, zone has 2"),
        ({"id": [1], "zone": [1.5]}, TypeError, "join key zone, row 0: 1.5 is float; a key of type string"),
    ):
        with pytest.raises(error, match=text):
            typed.vectors(["all_types:int32"], keys)


FRAMES: dict[str, Callable[[dict[str, list[Any]]], Any]] = {
    "table": pa.table,
    "batch": pa.RecordBatch.from_pydict,
    "pandas": lambda columns: pytest.importorskip("pandas").DataFrame(columns, index=columns["id"]),
    "polars": lambda columns: pytest.importorskip("polars").DataFrame(columns),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_frames_are_columns_by_the_names_of_the_join_keys(typed, kind):
    ids, zones = [11, 1, 5], ["z4", "z1", "z4"]
    feature, wanted = ["all_types:int32"], typed.vectors(["all_types:int32"], {"id": ids, "zone": zones})
    assert_same(typed.vectors(feature, FRAMES[kind]({"zone": zones, "id": ids})), wanted)
    online = typed.get_online_features(feature, FRAMES[kind]({"zone": zones, "id": ids, "more": [1, 2, 3]}))
    assert online.to_dict()["zone"] == zones and online.to_dict()["id"] == ids
    with pytest.raises(pillion.MissingJoinKeyError, match="lack the join key 'zone'"):
        typed.vectors(feature, FRAMES[kind]({"id": ids}))
    with pytest.raises(ValueError, match=r"not join keys: \['more'\]; the join keys are \('id', 'zone'\)"):
        typed.vectors(feature, FRAMES[kind]({"zone": zones, "id": ids, "more": ids}))


# ---- Output


def test_out_is_filled_and_returned(client):
    keys, wanted = [4, 1000, 5], expected(4, 1000, 5)
    for dtype in ("float32", "float64"):
        out = np.zeros((5, 10), dtype)
        view = out[1:4]
        assert client.vectors("every", keys, view, dtype=dtype) is view
        assert_same(view, wanted)
        assert not out[0].any() and not out[4].any()
        assert client.read("every", keys, out=view, dtype=dtype).values is view
    room = bytearray(3 * 10 * 4)
    shaped = memoryview(room).cast("f", (3, 10))
    assert client.vectors("every", keys, out=shaped) is shaped
    assert_same(np.frombuffer(room, np.float32).reshape(3, 10), wanted)


def test_out_may_be_a_tensor(client):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    out = torch.zeros((3, 10))
    if torch.cuda.is_available():
        out = out.pin_memory()
    assert client.vectors("every", [4, 1000, 5], out=out) is out
    assert_same(out.numpy(), expected(4, 1000, 5))
    assert_same(client.vectors("every", torch.tensor([4, 5])), expected(4, 5))
    with pytest.raises(TypeError, match="kind 'f2'"):
        client.vectors("every", [4], out=torch.zeros((1, 10), dtype=torch.float16))


class Tensor:
    """An array that shows nothing but DLPack."""

    def __init__(self, values: np.ndarray):
        self.values = values

    def __dlpack__(self) -> Any:
        return self.values.__dlpack__()


def test_dlpack_is_enough(client):
    out = Tensor(np.zeros((2, 10), np.float32))
    assert client.vectors("every", Tensor(np.array([4, 5])), out) is out
    assert_same(out.values, expected(4, 5))
    assert_same(client.vectors("every", Tensor(np.array([4, 9, 5])[::2])), expected(4, 5))
    with pytest.raises(ValueError, match="not contiguous"):
        client.vectors("every", [4, 5], Tensor(np.zeros((2, 20), np.float32)[:, ::2]))


WRONG_OUT = {
    "dtype": (np.zeros((2, 10)), TypeError, "kind 'f8'; the call gives float32"),
    "integers": (np.zeros((2, 10), np.int32), TypeError, "kind 'i4'"),
    "foreign": (np.zeros((2, 10), ">f4"), TypeError, "foreign byte order"),
    "rows": (np.zeros((3, 10), np.float32), ValueError, r"shape \(3, 10\); \(2, 10\) is needed"),
    "columns": (np.zeros((2, 9), np.float32), ValueError, r"shape \(2, 9\)"),
    "dimensions": (np.zeros(20, np.float32), ValueError, "1 dimensions"),
    "columns first": (np.zeros((10, 2), np.float32).T, ValueError, "not contiguous"),
    "strided": (np.zeros((2, 20), np.float32)[:, ::2], ValueError, "not contiguous"),
    "read-only": (np.frombuffer(bytes(80), np.float32).reshape(2, 10), ValueError, "read-only"),
    "bytes": (memoryview(bytes(80)).cast("f", (2, 10)), ValueError, "read-only"),
    "list": ([0.0] * 20, TypeError, "out is an array"),
}


@pytest.mark.parametrize("kind", WRONG_OUT)
def test_wrong_out_is_told(client, kind):
    out, error, text = WRONG_OUT[kind]
    with pytest.raises(error, match=text):
        client.vectors("every", [1, 2], out)


# ---- What is not there, and wrong calls


def test_what_is_not_there_has_the_names_of_feast(client):
    for service, error in (
        ("none", pillion.FeatureServiceNotFoundException),
        (["none:f0"], pillion.FeatureViewNotFoundException),
        (["driver_stats:none"], pillion.FeatureNotFoundException),
        (["driver_stats:none"], KeyError),
        (["driver_stats"], pillion.InvalidRequestError),
    ):
        for call in (client.vectors, client.read):
            with pytest.raises(error) as told:
                call(service, [1])
            assert isinstance(told.value, pillion.PillionError) and "'\"" not in str(told.value)
    with pytest.raises(pillion.FeatureViewNotFoundException, match="none"):
        client.get_online_features(["none:f0"], [{"id": 1}])


def test_wrong_arguments_are_told(client):
    for error, text, call in (
        (TypeError, "service is a name", lambda: client.vectors(5, [1])),
        (TypeError, "a feature is a str", lambda: client.vectors([5], [1])),
        (ValueError, "No features", lambda: client.vectors([], [1])),
        (ValueError, "null", lambda: client.vectors("a\0b", [1])),
        (ValueError, "'float32' or 'float64'", lambda: client.vectors("every", [1], dtype="int8")),
        (ValueError, "max_age", lambda: client.vectors("every", [1], max_age=-1)),
        (TypeError, "", lambda: client.vectors("every", [1], max_age="1")),
        (TypeError, "str", lambda: client.vectors("every", [1], min_release=5)),
        (pillion.InvalidRequestError, "16 hex", lambda: client.vectors("every", [1], min_release="5")),
        (TypeError, "", lambda: client.vectors("every")),
        (TypeError, "", lambda: client.vectors("every", [1], None, True)),
        (ValueError, "timeout", lambda: pillion.Client(timeout=0)),
        (ValueError, "refresh", lambda: pillion.Client(refresh=float("nan"))),
        (pillion.InvalidRequestError, "nowhere", lambda: pillion.Client("nowhere", None)),
        (pillion.UnavailableError, "/nonexistent", lambda: pillion.Client("unix:/nonexistent", "unix:/nonexistent")),
        (ConnectionError, "/nonexistent", lambda: pillion.Client("unix:/nonexistent", None)),
        (RuntimeError, "once", lambda: client.__init__()),
    ):
        with pytest.raises(error, match=text or None):
            call()
    assert_same(client.vectors("every", [1]), expected(1))


def test_a_text_without_place_in_a_tensor_is_told(typed):
    with pytest.raises(pillion.UnsupportedError, match="string"):
        typed.vectors(["all_types:string"], {"id": [1], "zone": ["z1"]})


def test_a_view_that_may_not_be_mapped(store, start):
    store.make_release(rows=1000)
    daemon = start(rule=", map: {uids: [4294967294]}")
    with pillion.Client(daemon.mapped, daemon.resp_unix) as client:
        answer = client.read("every", [7])
        assert not answer.is_mapped
        assert_same(answer.values, expected(7))
        (view,) = client.info().views
        assert not view.is_mapped and "may not be mapped by uid" in view.why_not
    with pillion.Client(daemon.mapped, None) as client, pytest.raises(PermissionError) as told:
        client.vectors("every", [7])
    assert type(told.value) is pillion.FeastPermissionError


def test_plans_beyond_the_cache_work(client):
    names = [f"driver_stats:f{i}" for i in range(10)]
    for number in range(600):
        chosen = [names[number % 10], names[number // 10 % 10], names[number // 100]]
        found = client.vectors(chosen, [number])
        assert_same(found, expected(number)[:, [number % 10, number // 10 % 10, number // 100]])


# ---- Feast's shape


def test_online_features_of_every_type(typed):
    keys = list(range(12)) + [59, 60]
    zones = [f"z{key % 7}" for key in keys]
    features = [f"all_types:{name}" for name in synthetic.NAMES]
    response = typed.get_online_features(features, {"id": np.array(keys), "zone": pa.array(zones)})
    found = response.to_dict()
    assert list(found) == ["id", "zone", *synthetic.NAMES] and found["id"] == keys and found["zone"] == zones
    rows = [synthetic.row("all", key, 1) if key < 60 else dict.fromkeys(synthetic.NAMES) for key in keys]
    for name, kind in zip(synthetic.NAMES, synthetic.TYPES):
        wanted = [row[name] for row in rows]
        if "unix_timestamp" in kind:
            wanted = [times_of(value) for value in wanted]
        assert found[name] == wanted, name
        assert [type(value) for value in found[name]] == [type(value) for value in wanted], name
        statuses = response.statuses()[name]
        assert statuses == [3 if key == 60 else 2 if v is None else 1 for key, v in zip(keys, wanted)]


def times_of(value: Any) -> Any:
    if isinstance(value, list):
        return [times_of(one) for one in value]
    return None if value is None else datetime.fromtimestamp(value, UTC)


def test_online_features_are_shaped_as_feasts(client):
    wanted = {"id": [1, 1000], "f0": [expected(1)[0, 0], None], "f7": [expected(1)[0, 7], None]}
    refs = ["driver_stats:f0", "driver_stats:f7"]
    for rows in ([{"id": 1}, {"id": 1000}], {"id": [1, 1000]}, {"id": (1, 1000), "not_a_key": ["a", "b"]}):
        response = client.get_online_features(refs, rows)
        assert response.to_dict() == wanted
    timed = response.to_dict(include_event_timestamps=True)
    assert list(timed) == ["id", "id__ts", "f0", "f0__ts", "f7", "f7__ts"]
    assert timed["id__ts"] == [0, 0] and timed["f0__ts"] == timed["f7__ts"] == [synthetic.EVENT_US // 1000000, 0]
    full = client.get_online_features(refs, [{"id": 1}], full_feature_names=True).to_dict()
    assert list(full) == ["id", "driver_stats__f0", "driver_stats__f7"]
    assert response.to_arrow().to_pydict() == wanted
    every = client.get_online_features(feature_service="every", entity_rows=[{"id": 1}]).to_dict()
    assert [every[f"f{i}"][0] for i in range(10)] == expected(1)[0].tolist()

    class FeatureService:
        name = "every"

    assert client.get_online_features(FeatureService(), [{"id": 1}]).to_dict() == every
    response.to_dict()["f0"].clear()
    assert response.to_dict() == wanted


def test_online_features_as_a_frame(client):
    pytest.importorskip("pandas", reason="pandas is not installed")
    frame = client.get_online_features(["driver_stats:f0"], [{"id": 1}, {"id": 1000}]).to_df(True)
    assert list(frame.columns) == ["id", "id__ts", "f0", "f0__ts"] and frame["f0"][0] == expected(1)[0, 0]
    assert np.isnan(frame["f0"][1])


def test_wrong_online_requests_are_told(client):
    refs = ["driver_stats:f0"]
    for error, text, call in (
        (ValueError, "No features specified", lambda: client.get_online_features([], [{"id": 1}])),
        (ValueError, "features or feature_service", lambda: client.get_online_features(entity_rows=[{"id": 1}])),
        (ValueError, "same columns", lambda: client.get_online_features(refs, [{"id": 1}, {}])),
        (ValueError, "No entity_rows", lambda: client.get_online_features(refs, [])),
        (KeyError, "'id'", lambda: client.get_online_features(refs, [{"driver": 1}])),
        (ValueError, "join key id, row 0: None", lambda: client.get_online_features(refs, [{"id": None}])),
    ):
        with pytest.raises(error, match=text):
            call()


# ---- Time passes


@pytest.mark.parametrize("way", WAYS)
def test_the_next_call_reads_the_next_release(store, start, way):
    first = store.make_release(rows=1000, seed=1).rpartition("@")[2]
    daemon = start()
    with connect(daemon, way) as client:
        out = np.empty((2, 10), np.float32)
        assert_same(client.vectors("every", [1, 2], out), expected(1, 2, seed=1))
        assert client.read("every", [1]).views[0].release == first
        for seed in (2, 3):
            release = store.make_release(rows=1000, seed=seed)
            daemon.wait_serving(release)
            assert_same(client.vectors("every", [1, 2], out), expected(1, 2, seed=seed))
            answer = client.read("every", [1], min_release=release.rpartition("@")[2])
            assert answer.views[0].release == release.rpartition("@")[2]
            wanted = expected(1, seed=seed)[0].tolist()
            found = client.get_online_features(feature_service="every", entity_rows={"id": [1]}).to_dict()
            assert [found[f"f{i}"][0] for i in range(10)] == wanted


def test_what_is_mapped_stays_readable_without_the_server(store, start):
    store.make_release(rows=1000, seed=1)
    daemon = start()
    with connect(daemon, "mapped") as client:
        assert client.read("every", [1]).staleness == 0
        os.kill(daemon.child("server"), signal.SIGKILL)
        assert_same(client.vectors("every", [1]), expected(1))
        release = store.make_release(rows=1000, seed=2)
        harness.wait_until("the new release", lambda: client.read("every", [1]).views[0].release in release)
        assert_same(client.vectors("every", [1]), expected(1, seed=2))
        harness.wait_until("the connection", lambda: client.info().is_connected and client.info().reconnects >= 1)
        assert daemon.stop() == 0
        harness.wait_until("staleness", lambda: client.read("every", [1]).staleness > 0)
        assert_same(client.vectors("every", [1]), expected(1, seed=2))
        assert not client.info().is_connected


def test_a_socket_client_without_server_is_told_and_recovers(store, start):
    store.make_release(rows=1000)
    daemon = start()
    with connect(daemon, "socket") as client:
        client.vectors("every", [1])
        server = daemon.child("server")
        os.kill(server, signal.SIGKILL)

        def reads() -> bool:
            try:
                return bool((client.vectors("every", [1]) == expected(1)).all())
            except (pillion.UnavailableError, pillion.NotReadyError, pillion.FeastObjectNotFoundException):
                return False

        harness.wait_until("the server again", reads)
        assert daemon.stop() == 0
        with pytest.raises(pillion.UnavailableError):
            client.vectors("every", [1])


# ---- Threads, asyncio, forks, closing


@pytest.mark.parametrize("way", WAYS)
def test_threads_share_a_client_while_releases_change(store, start, way):
    store.make_release(rows=1000, seed=1)
    daemon = start()
    done, wrong = threading.Event(), []

    def read(client: Any, count: int, number: int) -> None:
        keys = np.arange(number, number + count) % 1000
        tables = {seed: expected(*keys, seed=seed).astype(np.float32) for seed in (1, 2, 3)}
        out = np.empty((count, 10), np.float32)
        last = 1
        while not done.is_set() and not wrong:
            client.vectors("every", keys, out)
            seed = int(out[0, 0] - expected(int(keys[0]), seed=0)[0, 0])
            if seed < last or not (out == tables[seed]).all():
                wrong.append((number, seed, last))
            last = seed

    with connect(daemon, way) as client:
        counts = (1, 10, 100, 2000)  # large ones give up the GIL
        threads = [threading.Thread(target=read, args=(client, count, n)) for n, count in enumerate(counts)]
        for thread in threads:
            thread.start()
        try:
            for seed in (2, 3):
                daemon.wait_serving(store.make_release(rows=1000, seed=seed))
                assert_same(client.vectors("every", [1]), expected(1, seed=seed))
        finally:
            done.set()
            for thread in threads:
                thread.join()
    assert wrong == []


def test_asyncio_reads_in_a_thread(client):
    async def main() -> list[np.ndarray]:
        return await asyncio.gather(*(asyncio.to_thread(client.vectors, "every", [k]) for k in range(20)))

    for key, found in enumerate(asyncio.run(main())):
        assert_same(found, expected(key))


def test_a_forked_child_reads_on(client):
    assert_same(client.vectors("every", [1]), expected(1))
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            for _ in range(100):
                assert_same(client.vectors("every", [2]), expected(2))
            assert_same(client.vectors(["driver_stats:f1"], [2]), expected(2)[:, [1]])
            client.close()
            code = 0
        finally:
            os.write(write_end, b"%d" % code)
            os._exit(code)
    for _ in range(100):
        assert_same(client.vectors("every", [1]), expected(1))
    assert os.waitpid(child, 0)[1] == 0 and os.read(read_end, 1) == b"0"
    os.close(read_end)
    os.close(write_end)
    assert_same(client.vectors(["driver_stats:f2"], [1]), expected(1)[:, [2]])


def test_a_closed_client_is_told(client):
    client.vectors("every", [1])
    client.close()
    client.close()
    for call in (
        lambda: client.vectors("every", [1]),
        lambda: client.read("every", [1]),
        lambda: client.describe("every"),
        lambda: client.get_online_features(["driver_stats:f0"], [{"id": 1}]),
        client.info,
    ):
        with pytest.raises(ValueError, match="closed"):
            call()


def test_closing_waits_for_nobody_and_breaks_nobody(store, start):
    store.make_release(rows=1000)
    daemon = start()
    keys = np.arange(10000) % 1000
    wanted = expected(*keys).astype(np.float32)
    for way in WAYS:
        client = connect(daemon, way)
        results: list[Any] = []

        def read() -> None:
            try:
                while True:
                    results.append((client.vectors("every", keys) == wanted).all())
            except ValueError as error:
                results.append(str(error))

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        harness.wait_until("some calls", lambda: len(results) > 2)
        client.close()
        for thread in threads:
            thread.join()
        assert results.count("the client is closed") == 3 and all(r is not False for r in results), results


def test_a_client_that_is_dropped_is_closed(store, start):
    store.make_release(rows=1000)
    daemon = start()
    descriptors = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        for way in WAYS:
            connect(daemon, way).vectors("every", [1])
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == descriptors


def resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_calls_leave_nothing_behind(store, start):
    store.make_release(view="all_types", rows=60, kind="all")
    with connect(start("all_types"), "mapped") as client:
        names = ["all_types:float64", "all_types:int64"]
        text, ints, objects = pa.array(["1", "2"]), np.array([1, 2]), [b"1", b"2"]
        out = np.empty((2, 2), np.float32)
        every = [f"all_types:{name}" for name in synthetic.NAMES]

        def fails(keys: Any, wrong: Any) -> None:
            """Not pytest.raises, which keeps things."""
            try:
                client.vectors(names, keys, wrong)
            except (TypeError, ValueError):
                return
            pytest.fail("no exception")

        calls = {
            "text": lambda: client.vectors(names, text, out),
            "ints": lambda: client.vectors(names, ints),
            "objects": lambda: client.vectors(names, objects, out),
            "read": lambda: client.read(names, [1, 2], out, max_age=5),
            "online": lambda: client.get_online_features(every, {"id": [1, 2, 99]}).to_dict(True),
            "a null": lambda: fails([1, None], out),
            "a wrong array": lambda: fails(ints, np.empty(3)),
            "words": lambda: fails(["a", "b"], out),
            "a null of Arrow": lambda: fails(pa.array([None, 1]), out),
        }

        def grown(call: Callable[[], Any], count: int) -> int:
            """Bytes, once the interpreter's lists of free objects are full. One object a call would be 16 a call."""
            for _ in range(count):
                call()
            gc.collect()
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(count):
                call()
            gc.collect()
            return tracemalloc.get_traced_memory()[0] - before

        tracemalloc.start()
        by_call = {name: grown(call, 4000) for name, call in calls.items()}
        tracemalloc.stop()
        assert max(by_call.values()) < 8 * 4000, by_call
        held = [sys.getrefcount(thing) for thing in (text, ints, objects, out, names, client)]
        resident = resident_bytes()
        for _ in range(25_000):
            for name in ("text", "ints", "objects", "read"):
                calls[name]()
        assert resident_bytes() - resident < 2 << 20
        assert held == [sys.getrefcount(thing) for thing in (text, ints, objects, out, names, client)]
