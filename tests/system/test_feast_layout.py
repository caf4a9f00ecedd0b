# SPDX-License-Identifier: Apache-2.0
"""The layout of Feast's Redis store. Feast's unmodified SDK with `online_store: {type: redis}`, here and at a real
redis-server that it has filled from the same files: every byte of every hash and all that the SDK shows must be the
same. Without Feast: values of every type, keys of every type and both versions, rights, expired rows, what is refused.
"""

from __future__ import annotations

import datetime as dt
import json
import struct
from pathlib import Path
from typing import Any, Iterator

import feast_redis as layout
import harness
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import redis
import synthetic
from test_feast import peer, repo  # noqa: F401: a fixture

VIEWS = ("everything", "by_city", "edges", "hourly", "rates")
UTC = dt.timezone.utc


# ---- With Feast


@pytest.fixture
def feast_daemon(repo, store, start_pilliond) -> harness.Pilliond:  # noqa: F811
    return start_pilliond(store, serve=[f"conformance/{view}@production" for view in VIEWS])


@pytest.fixture
def real(repo, folder) -> Iterator[harness.RedisServer]:  # noqa: F811
    """A redis-server that Feast has filled."""
    server = harness.RedisServer(folder)
    try:
        peer("fill", str(repo), over_unix(server.path))
        yield server
    finally:
        server.destroy()


def over_unix(path: str) -> str:
    return f"redis:x:1,unix_socket_path={path}"


def over_tcp(daemon: harness.Pilliond, scheme: str = "redis", more: str = "") -> str:
    return f"{scheme}:{daemon.resp_tcp.partition(':')[2]}{more}"


def driver_key(number: int, version: int = 3) -> bytes:
    return layout.key("conformance", {"driver_id": layout.int64(number)}, version)


def test_every_hash_is_byte_for_byte_what_feast_has_written(feast_daemon, real):
    """A hash holds the features of several views: all of it is asked for at once, by the fields that Redis has."""
    theirs, ours = real.redis(), feast_daemon.redis()
    keys = sorted(theirs.scan_iter(count=1000))
    assert len(keys) == 8 + 16 + 1 and driver_key(1004) in keys
    different = set()
    for key in keys:
        fields = sorted(theirs.hkeys(key))
        for field, wanted, got in zip(fields, theirs.hmget(key, fields), ours.hmget(key, fields)):
            if got != wanted:
                different.add((key, field, wanted, got))
    # Feast's materialize takes NaN for null. Here a value that is there is never null.
    assert different == {
        (driver_key(1000), layout.field("edges", "s_float64"), b"", b"\x29" + struct.pack("<d", float("nan"))),
        (driver_key(1001), layout.field("edges", "s_float32"), b"", b"\x35" + struct.pack("<f", float("nan"))),
    }
    absent = [layout.field("edges", "s_string"), layout.time("edges")]
    assert ours.hmget(driver_key(7), absent) == theirs.hmget(driver_key(7), absent) == [None, None]


def test_the_sdk_sees_the_same_here_and_at_redis(repo, feast_daemon, real):  # noqa: F811
    wanted = peer("ask", str(repo), over_unix(real.path))
    assert len(wanted.splitlines()) == 10 and wanted.count('"dict"') == 8
    assert peer("ask", str(repo), over_unix(feast_daemon.resp_path)) == wanted
    assert peer("ask-async", str(repo), over_tcp(feast_daemon)) == wanted
    assert peer("ask", str(repo), over_tcp(feast_daemon, "redis2")) == wanted


def attempts(repo: Path, url: str) -> dict[str, Any]:  # noqa: F811
    told: dict[str, Any] = {}
    for line in peer("try", str(repo), url).splitlines():
        told.update(json.loads(line))
    return told


def test_what_is_no_read_is_told_what_to_do_instead(repo, feast_daemon):  # noqa: F811
    for url in (over_unix(feast_daemon.resp_path), over_tcp(feast_daemon, more=",db=0,protocol=3")):
        told = attempts(repo, url)
        assert told["read"] == [7]
        hints = {"write": "build and promote", "delete_table": "stop serving", "teardown": "stop serving"}
        for what, hint in hints.items():
            assert told[what]["error"] == "ReadOnlyError" and hint in told[what]["message"], told[what]


def test_what_cannot_be_connected_says_why(repo, feast_daemon):  # noqa: F811
    assert "DB index is out of range" in attempts(repo, over_tcp(feast_daemon, more=",db=1"))["read"]["message"]
    told = attempts(repo, over_tcp(feast_daemon, "cluster"))["read"]
    assert told["error"] == "RedisClusterException" and "Cluster mode is not enabled" in told["message"]


# ---- Without Feast


@pytest.mark.parametrize("protocol", [2, 3])
def test_values_of_every_type(store, start_pilliond, engine, protocol):
    store.make_release(rows=50, kind="all", view="all_types", seed=1)
    client = start_pilliond(store, serve=["rides/all_types@production"], engine=engine).redis(protocol)
    names = synthetic.NAMES
    fields = [layout.field("all_types", name) for name in names]
    for key in range(52):
        bytes_ = layout.key("rides", {"id": layout.int64(key)}, 3 if key % 2 else 2)
        *values, time = client.hmget(bytes_, [*fields, layout.time("all_types")])
        if key >= 50:
            assert [*values, time] == [None] * (len(names) + 1)
            continue
        for feature, (name, raw) in enumerate(zip(names, values)):
            wanted = synthetic.value("all", key, feature, 1)
            assert raw is not None and layout.value(raw) == wanted, (key, name, raw)
        assert layout.us(time) == synthetic.EVENT_US + key * 1000


PROJECT = """
project: keys
entities:
  - {name: i, join_key: small, type: int32}
  - {name: t, join_key: at, type: unix_timestamp}
  - {name: b, join_key: raw, type: bytes}
  - {name: s, join_key: name, type: string}
  - {name: d, join_key: __dummy_id, type: string}
feature_views:
  - {name: four, entities: [i, t, b, s], source: SOURCE, features: [{name: x, type: int32}]}
  - {name: none, entities: [d], ttl: 1h, source: SOURCE, features: [{name: x, type: int32}]}
  - {name: v, entities: [i], source: SOURCE, features: [FEATURES]}
  - {name: w, entities: [i], source: SOURCE, features: [{name: c7839, type: int32}, {name: y, type: int32}]}
"""
# v:c88425 and v:c117020 have one hash, and so have v:c117464 and w:c7839.
V = ("c88425", "c117020", "c117464", "x")


@pytest.fixture
def keys_store(folder, store) -> harness.Store:
    event = dt.datetime(2025, 1, 1, microsecond=5, tzinfo=UTC)
    moment = dt.datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    columns = {
        "small": pa.array([-7], pa.int32()),
        "at": pa.array([moment], pa.timestamp("us", "UTC")),
        "raw": pa.array([b"\0\xff"], pa.binary()),
        "name": pa.array(["Köln"]),
        "__dummy_id": pa.array([""]),
        "event_timestamp": pa.array([event], pa.timestamp("us", "UTC")),
        **{name: pa.array([number], pa.int32()) for number, name in enumerate((*V, "c7839", "y"))},
    }
    pq.write_table(pa.table(columns), folder / "data.parquet")
    text = PROJECT.replace("SOURCE", "{type: parquet, path: data.parquet, timestamp_field: event_timestamp}")
    text = text.replace("FEATURES", ", ".join(f"{{name: {name}, type: int32}}" for name in V))
    (folder / "keys.yaml").write_text(text)
    store.build(folder / "keys.yaml")
    return store


KEYS_SERVED = [f"keys/{view}@production" for view in ("four", "none", "v", "w")]
FOUR = {
    "small": layout.int32(-7),
    "at": layout.unix_timestamp(1700000000),
    "raw": (layout.BYTES, b"\0\xff"),
    "name": (layout.STRING, "Köln".encode()),
}
SMALL = {"small": layout.int32(-7)}


def ask(client: redis.Redis, key: bytes, view: str, *features: str) -> list[Any]:
    *values, time = client.hmget(key, [*(layout.field(view, name) for name in features), layout.time(view)])
    return [*map(layout.value, values), layout.us(time)]


@pytest.mark.parametrize("version", [2, 3])
def test_keys_of_every_type(keys_store, start_pilliond, version):
    client = start_pilliond(keys_store, serve=KEYS_SERVED).redis()
    event = int(dt.datetime(2025, 1, 1, tzinfo=UTC).timestamp()) * 1000000 + 5
    assert ask(client, layout.key("keys", FOUR, version), "four", "x") == [3, event]
    assert ask(client, layout.key("keys", {**FOUR, "small": layout.int64(-7)}, version), "four", "x") == [3, event]
    for other in ({"small": layout.int32(7)}, {"name": (layout.STRING, b"")}, {"at": layout.unix_timestamp(1)}):
        assert ask(client, layout.key("keys", {**FOUR, **other}, version), "four", "x") == [None, None]
    assert ask(client, layout.key("keys", {"__dummy_id": (layout.STRING, b"")}, version), "none", "x") == [3, event]


def test_features_of_two_views_in_one_request(keys_store, start_pilliond):
    client = start_pilliond(keys_store, serve=KEYS_SERVED).redis()
    x, y, v, w = layout.field("v", "x"), layout.field("w", "y"), layout.time("v"), layout.time("w")
    key = layout.key("keys", SMALL)
    values = client.hmget(key, [y, v, x, b"abcd", w, "plain", y])
    assert [layout.value(values[i]) for i in (0, 2, 6)] == [5, 3, 5] and values[3] is values[5] is None
    assert layout.us(values[1]) == layout.us(values[4]) != 0
    assert client.hmget(key, [y, x, v]) == [None, values[2], values[1]]  # y is of no view that is named
    assert client.hmget(key, [v, x, v, x]) == [values[1], values[2]] * 2
    with pytest.raises(redis.ResponseError, match="join keys small.*keys/four.*at, name, raw, small"):
        client.hmget(key, [x, v, layout.time("four")])


def test_features_that_share_a_field_are_not_taken_for_each_other(keys_store, start_pilliond):
    client = start_pilliond(keys_store, serve=KEYS_SERVED).redis()
    key = layout.key("keys", SMALL)
    assert layout.field("v", "c88425") == layout.field("v", "c117020")
    assert layout.field("v", "c117464") == layout.field("w", "c7839")
    for name in ("c88425", "c117020"):
        with pytest.raises(redis.ResponseError, match="v:c88425 and v:c117020 have one field"):
            ask(client, key, "v", "x", name)
    assert ask(client, key, "v", "x", "c117464")[:2] == [3, 2]
    assert ask(client, key, "w", "c7839")[0] == 4
    with pytest.raises(redis.ResponseError, match="v:c117464 and w:c7839 have one field"):
        client.hmget(key, [layout.field("v", "c117464"), layout.time("v"), layout.time("w")])
    assert client.hmget("v:-7", "c88425", "c117020") == [b"0", b"1"]


def refusals() -> dict[str, tuple[bytes, str]]:
    small, key = layout.int32(-7), layout.key
    return {
        "another project": (key("other", SMALL), "no view 'v' of project 'other'"),
        "another project, version 2": (key("other", SMALL, 2), "no view 'v' of the project of this key"),
        "a longer project, version 2": (key("x-keys", SMALL, 2), "no view 'v' of project 'x-keys'"),
        "no project": (key("", SMALL), "no view 'v' of project ''"),
        "another view's project": (key("keys/v", SMALL), "no view 'v' of project 'keys/v'"),
        "another join key": (key("keys", {"large": small}), "join keys large; those of view keys/v.* small"),
        "another join key, version 2": (key("keys", {"large": small}, 2), "other join keys; those of .*keys/v.* small"),
        "one join key more": (key("keys", {**SMALL, "z": small}), "join keys small, z; those of view keys/v.* small"),
        "too large": (key("keys", {"small": layout.int64(1 << 31)}), "join key small: 2147483648 is not int32"),
        "a text": (key("keys", {"small": (layout.STRING, b"x")}), "join key small: 'x' is not int32"),
        "a bool": (key("keys", {"small": (layout.BOOL, b"\1")}), "join key small: a value of a type"),
        "int64 of version 1": (key("keys", {"small": (layout.INT64, b"\1\0\0\0")}), "length of its type"),
        "cut off": (key("", SMALL)[:-1], "begins as a key"),
        "cut off, version 2": (key("", SMALL, 2)[:-1], "no view 'v' of the project"),
    }


@pytest.mark.parametrize("what", refusals())
def test_keys_that_cannot_be_read_are_told_why(keys_store, start_pilliond, what):
    client = start_pilliond(keys_store, serve=KEYS_SERVED).redis()
    key, message = refusals()[what]
    with pytest.raises(redis.ResponseError, match=message):
        ask(client, key, "v", "x")
    assert ask(client, layout.key("keys", SMALL), "v", "x")[0] == 3


def test_other_commands_and_fields_are_told_why(keys_store, start_pilliond):
    client = start_pilliond(keys_store, serve=KEYS_SERVED).redis()
    key, time = layout.key("keys", SMALL), layout.time("v")
    for command in (["HGETALL"], ["HKEYS"], ["HLEN"], ["EXISTS"], ["TYPE"], ["TTL"], ["GET"], ["HGET", time],
                    ["HSCAN", 0], ["WATCH"]):
        with pytest.raises(redis.ResponseError, match="read by HMGET, with fields and _ts:VIEW"):
            client.execute_command(command[0], key, *command[1:])
    with pytest.raises(redis.ResponseError, match="needs a field _ts:VIEW"):
        client.hmget(key, [layout.field("v", "x"), "_ts:"])
    for view in ("w2", "keys/w", ""):
        message = f"no view '{view}' of project 'keys'" if view else "needs a field _ts:VIEW"
        with pytest.raises(redis.ResponseError, match=message):
            client.hmget(key, [*([time] if view else []), layout.time(view)])
    for command in (["HSET", key, "a", "b"], ["EXPIRE", key, 5], ["DEL", key], ["HDEL", key, "a"], ["KEYS", key + b"*"],
                    ["SCAN", 0, "MATCH", key[:12] + b"*keys"]):
        with pytest.raises(redis.ReadOnlyError, match="Pillion serves immutable releases"):
            client.execute_command(*command)
    assert len(list(client.scan_iter("*"))) == 4


def test_rights_and_expired_rows_are_those_of_other_reads(folder, keys_store, start_pilliond):
    hiding = f"unix:{folder}/hiding.sock"
    config = folder / "rights.yaml"
    views = "".join(f"  - {{view: keys/{view}, channel: production}}\n" for view in ("none", "w"))
    config.write_text(
        f"serve:\n{views}  - {{view: keys/v, channel: production, read: none}}\n"
        f'listen:\n  - {{protocol: resp, address: "{hiding}", expired: hide}}\n'
    )
    daemon = start_pilliond(keys_store, serve=[], args=["--config", str(config)])
    client, hidden = daemon.redis(), redis.Redis(unix_socket_path=hiding.partition(":")[2])
    for version in (2, 3):
        with pytest.raises(redis.exceptions.NoPermissionError, match="may not read view 'keys/v'"):
            ask(client, layout.key("keys", SMALL, version), "v", "x")
        with pytest.raises(redis.ResponseError, match="no view 'v' of"):  # of no project: not even a right is told
            ask(client, layout.key("", SMALL, version), "v", "x")
    assert ask(client, layout.key("keys", SMALL), "w", "y")[0] == 5
    key = layout.key("keys", {"__dummy_id": (layout.STRING, b"")})
    assert ask(client, key, "none", "x")[0] == 3
    assert ask(hidden, key, "none", "x") == [None, None]
