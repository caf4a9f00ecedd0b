# SPDX-License-Identifier: Apache-2.0
"""PIL.PLAN, PIL.VECTOR and their kin by an unmodified Redis client: every value, status, time and release against the
synthetic values, computed apart; mistakes; swaps; limits. Both back ends."""

from __future__ import annotations

import math
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any

import harness
import pytest
import redis
import synthetic

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "python"))
import vector_reader  # noqa: E402

SCALARS = ("bool", "int32", "int64", "float32", "float64", "unix_timestamp")
VECTORS = tuple(name for name in synthetic.NAMES if name.startswith("vector"))


def floats(item: Any, count: int) -> list[float]:
    """The tensor elements of a value; NaN where there is none."""
    if item is None:
        return [math.nan] * count
    return [float(x) for x in item] if isinstance(item, list) else [float(item)]


def same(got: float, want: float, narrow: bool) -> bool:
    want = struct.unpack("<f", struct.pack("<f", want))[0] if narrow else want
    return got == want or (math.isnan(got) and math.isnan(want))


def request(*words: str) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w.encode()) for w in words)


def bulk(file: Any) -> bytes:
    return file.read(int(file.readline()[1:]) + 2)[:-2]


def packed(keys: list[int]) -> bytes:
    return struct.pack(f"<{len(keys)}q", *keys)


@pytest.fixture
def daemon(store, start_pilliond, engine):
    store.make_release(rows=1000)
    return start_pilliond(store, engine=engine)


@pytest.fixture
def all_types(store, start_pilliond, engine):
    store.make_release(view="all_types", rows=40, kind="all")
    return start_pilliond(store, serve=["rides/all_types@production"], engine=engine)


@pytest.mark.parametrize("options,narrow", [((), True), (("FLOAT64",), False)], ids=["float32", "float64"])
def test_every_type_as_a_tensor(all_types, options, narrow):
    client = all_types.redis()
    names = VECTORS + SCALARS
    plan = client.execute_command("PIL.PLAN", *options, *(f"all_types:{name}" for name in names))
    keys = list(range(40)) + [40, -1]
    vectors = vector_reader.read(client.execute_command("PIL.VECTOR", plan, *keys))
    assert vectors.element_bytes == (4 if narrow else 8)
    for key, values, statuses, times in zip(keys, vectors.values, vectors.statuses, vectors.times_us):
        row = synthetic.row("all", key, 1) if 0 <= key < 40 else None
        wanted = []
        for name, status in zip(names, statuses):
            item = row[name] if row is not None else None
            present = vector_reader.NULL_VALUE if item is None else vector_reader.PRESENT
            assert status == (present if row is not None else vector_reader.NOT_FOUND), (key, name)
            wanted += floats(item, 4 if name.startswith("vector") else 1)
        assert len(wanted) == len(values) and all(map(lambda g, w: same(g, w, narrow), values, wanted)), key
        assert times[0] == (synthetic.EVENT_US + key * 1000 if row is not None else -(2**63))
    assert vectors.views[0].not_found == 2
    assert vectors.views[0].worst_age_us == vectors.now_us - synthetic.EVENT_US
    assert abs(vectors.now_us - time.time() * 1e6) < 60e6


def test_services_texts_and_blobs_agree(daemon):
    client = daemon.redis()
    keys = [5, 999, 1000, 0]
    by_text = vector_reader.read(client.execute_command("PIL.VECTOR", "every", *keys))
    by_blob = vector_reader.read(client.execute_command("PIL.VECTOR64", "every", packed(keys)))
    assert by_text.values[0] == tuple(synthetic.row("floats", 5, 1).values())
    assert [s[0] for s in by_text.statuses] == [1, 1, 3, 1]
    assert repr(by_text.values) == repr(by_blob.values) and by_text.statuses == by_blob.statuses
    assert by_text.views == [by_blob.views[0]] or by_text.views[0].release == by_blob.views[0].release
    shown = client.execute_command("PIL.DESCRIBE", "every")
    assert b'"join_keys":[{"name":"id","type":"int64"}]' in shown and b'"width":10' in shown


def test_composite_keys_and_several_views(store, start_pilliond, engine):
    store.make_release(project="a", view="pairs", rows=70, features=3, args=("--key", "pair"))
    store.make_release(project="b", view="ids", rows=100, features=2, seed=9)
    daemon = start_pilliond(store, serve=["a/pairs@production", "b/ids@production"], engine=engine)
    client = daemon.redis()
    plan = client.execute_command("PIL.PLAN", "b/ids:f1", "a/pairs:f2", "a/pairs:f0")
    vectors = vector_reader.read(client.execute_command("PIL.VECTOR", plan, "3|z3", "80|z3", "3|z4", r"3|z\|"))
    expected = [synthetic.value("floats", key, 1, 9) for key in (3, 80, 3, 3)]
    assert [values[0] for values in vectors.values] == expected
    assert vectors.values[0][1:] == (synthetic.value("floats", 3, 2, 1), synthetic.value("floats", 3, 0, 1))
    assert vectors.statuses == [(1, 1, 1), (1, 3, 3), (1, 3, 3), (1, 3, 3)]
    assert [view.not_found for view in vectors.views] == [0, 3]
    for key in ("3", "3|z3|x", "x|z3", "3|z\\3", ""):
        with pytest.raises(redis.ResponseError, match="key 0"):
            client.execute_command("PIL.VECTOR", plan, key)
    with pytest.raises(redis.ResponseError, match="zone must be string|cannot be read|2 int64 keys"):
        client.execute_command("PIL.VECTOR64", plan, packed([3]))


def test_wide_rows_and_many_keys_cross_chunks(store, start_pilliond, engine):
    store.make_release(rows=3000, features=700)
    daemon = start_pilliond(store, engine=engine)
    client = daemon.redis()
    keys = [(i * 7919) % 3100 for i in range(2000)]
    vectors = vector_reader.read(client.execute_command("PIL.VECTOR64", "every", packed(keys)))
    for key, values, statuses in zip(keys, vectors.values, vectors.statuses):
        if key < 3000:
            assert values == tuple(synthetic.value("floats", key, i, 1) for i in range(700))
            assert set(statuses) == {1}
        else:
            assert all(map(math.isnan, values)) and set(statuses) == {3}
    with pytest.raises(redis.ResponseError, match="bytes; ask for fewer keys|more than .* keys"):
        client.execute_command("PIL.VECTOR64", "every", packed(list(range(16000)) * 2))
    assert client.ping()


@pytest.mark.parametrize(
    "command,why",
    [
        (("PIL.PLAN",), "wrong number"),
        (("PIL.PLAN", "nosuch"), "no feature service 'nosuch'"),
        (("PIL.PLAN", "driver_stats:nosuch"), "no feature nosuch"),
        (("PIL.PLAN", "other:f0"), "view other is not served"),
        (("PIL.PLAN", "driver_stats:f0", "f1"), "is not view:feature"),
        (("PIL.PLAN", "MAXAGE", "0", "every"), "syntax"),
        (("PIL.PLAN", "MAXAGE", "soon", "every"), "syntax"),
        (("PIL.VECTOR", "1", "5"), "no plan 1"),
        (("PIL.VECTOR", "99999999999999999999", "5"), "no plan 9999"),
        (("PIL.VECTOR", "nosuch", "5"), "no feature service"),
        (("PIL.VECTOR", "every"), "wrong number"),
        (("PIL.VECTOR", "every", "5", "x"), "key 1 cannot be read: id must be int64"),
        (("PIL.VECTOR64", "every", b""), "0 bytes of keys"),
        (("PIL.VECTOR64", "every", b"1234567"), "7 bytes of keys"),
        (("PIL.DESCRIBE", "nosuch"), "no feature service"),
        (("PIL.FORGET", "1"), "no such plan"),
        (("PIL.FORGET", "every"), "no such plan"),
    ],
    ids=lambda item: " ".join(map(str, item))[:40] if isinstance(item, tuple) else "",
)
def test_mistakes_are_named(daemon, command, why):
    client = daemon.redis()
    with pytest.raises(redis.ResponseError, match=why):
        client.execute_command(*command)
    assert client.ping()


def test_types_without_place_in_a_tensor(all_types):
    for name in ("string", "bytes", "list_float32", "list_string"):
        with pytest.raises(redis.ResponseError, match=f"all_types:{name} is .*, which has no place in a tensor"):
            all_types.redis().execute_command("PIL.PLAN", f"all_types:{name}")


def test_plans_belong_to_their_connection(daemon):
    connection = harness.connect(daemon.resp_unix)
    file = connection.makefile("rb")

    def ask(*words: str) -> bytes:
        connection.sendall(request(*words))
        return file.readline()

    numbers = [ask("PIL.PLAN", "every") for _ in range(64)]
    assert numbers == [b":%d\r\n" % (i + 1) for i in range(64)]
    assert b"at most 64 plans" in ask("PIL.PLAN", "every")
    assert ask("PIL.FORGET", "7") == b"+OK\r\n"
    assert b"no plan 7" in ask("PIL.VECTOR", "7", "1")
    assert ask("PIL.PLAN", "driver_stats:f1") == b":7\r\n"
    other = daemon.redis()
    with pytest.raises(redis.ResponseError, match="no plan 7"):
        other.execute_command("PIL.VECTOR", 7, 1)
    # In one turn: forgotten plans still answer what was asked before.
    words = [("PIL.VECTOR", "1", "5"), ("PIL.FORGET", "1"), ("PIL.PLAN", "driver_stats:f1"), ("PIL.VECTOR", "1", "5"),
             ("RESET",), ("PIL.VECTOR", "1", "5")]
    connection.sendall(b"".join(request(*w) for w in words))
    row = tuple(synthetic.row("floats", 5, 1).values())
    assert vector_reader.read(bulk(file)).values == [row]
    assert file.readline() == b"+OK\r\n" and file.readline() == b":1\r\n"
    assert vector_reader.read(bulk(file)).values == [row[1:2]]
    assert file.readline() == b"+RESET\r\n"
    assert b"no plan 1" in file.readline()
    connection.close()


def test_ages(daemon):
    client = daemon.redis()
    plan = client.execute_command("PIL.PLAN", "MAXAGE", 1000, "every")
    vectors = vector_reader.read(client.execute_command("PIL.VECTOR", plan, 5, 5000))
    assert set(vectors.statuses[0]) == {vector_reader.OUTSIDE_MAX_AGE} and set(vectors.statuses[1]) == {3}
    assert vectors.values[0] == tuple(synthetic.row("floats", 5, 1).values())
    age_us = int(time.time() * 1e6) - synthetic.EVENT_US
    plan = client.execute_command("PIL.PLAN", "MAXAGE", age_us // 1000 + 3600_000, "every")
    assert set(vector_reader.read(client.execute_command("PIL.VECTOR", plan, 5)).statuses[0]) == {1}


def test_plans_follow_swaps(store, daemon):
    """While releases of other shapes are promoted, every answer is whole and of the release that it names."""
    seeds = {store.make_release(seed=seed, features=features, channel=None).rpartition("@")[2]: seed
             for seed, features in ((2, 20), (3, 5), (4, 10))}
    seeds[harness.http(daemon.admin, "GET", "/status").json()["views"][0]["release"]] = 1
    stop, failures, seen = threading.Event(), [], set()

    def read() -> None:
        client = daemon.redis()
        plan = client.execute_command("PIL.PLAN", "driver_stats:f4", "driver_stats:f0")
        while not stop.is_set():
            vectors = vector_reader.read(client.execute_command("PIL.VECTOR", plan, *range(0, 1000, 97)))
            seed = seeds[vectors.views[0].release]
            seen.add(seed)
            for key, values in zip(range(0, 1000, 97), vectors.values):
                if values != (synthetic.value("floats", key, 4, seed), synthetic.value("floats", key, 0, seed)):
                    failures.append((seed, key, values))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for release in list(seeds)[:3] * 2:
        store.promote(f"rides/driver_stats@{release}")
        daemon.wait_serving(release)
    stop.set()
    for reader in readers:
        reader.join()
    assert not failures and seen >= {2, 3, 4}


def test_metrics_count_values_and_requests(daemon):
    client = daemon.redis()
    client.execute_command("PIL.VECTOR", "every", 1, 2, 5000)
    metrics = daemon.metrics()
    counted = {name: value for name, value in metrics.items() if name.startswith("pillion_values_total{")}
    assert sum(v for k, v in counted.items() if "PRESENT" in k.upper()) == 20
    assert sum(v for k, v in counted.items() if "NOT_FOUND" in k.upper()) == 10
    assert b"pil.vector" in repr(client.execute_command("LATENCY", "HISTOGRAM", "pil.vector")).encode()
