# SPDX-License-Identifier: Apache-2.0
"""PIL.PLAN, PIL.VECTOR, PIL.COLUMNS and their kin by an unmodified Redis client: every value, status, time and release
against the synthetic values, computed apart; mistakes; swaps; limits. Both back ends."""

from __future__ import annotations

import math
import re
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
        with pytest.raises(redis.ResponseError, match="row 0"):
            client.execute_command("PIL.VECTOR", plan, key)
    with pytest.raises(redis.ResponseError, match="zone must be string|is not int64|2 int64 keys"):
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
    with pytest.raises(redis.ResponseError, match="^TOOLARGE .*over limits[.](output_bytes|keys_per_request), [0-9]+"):
        client.execute_command("PIL.VECTOR64", "every", packed(list(range(16000)) * 2))
    assert client.ping()


@pytest.mark.parametrize(
    "command,code,why",
    [
        (("PIL.PLAN",), "", "wrong number"),
        (("PIL.PLAN", "nosuch"), "NOTFOUND", "no feature service nosuch"),
        (("PIL.PLAN", "driver_stats:nosuch"), "NOTFOUND", "no feature nosuch"),
        (("PIL.PLAN", "other:f0"), "NOTFOUND", "view other is not served"),
        (("PIL.PLAN", "other/driver_stats:f0"), "NOTFOUND", "view other/driver_stats is not served"),
        (("PIL.PLAN", "driver_stats:f0", "f1"), "", "is not view:feature"),
        (("PIL.PLAN", "driver_stats:"), "", "is not view:feature"),
        (("PIL.PLAN", "MAXAGE", "0", "every"), "", "syntax"),
        (("PIL.PLAN", "MAXAGE", "soon", "every"), "", "syntax"),
        (("PIL.PLAN", "MAXAGEUS", "-1", "every"), "", "syntax"),
        (("PIL.PLAN", "MAXAGE", "9223372036854775807", "every"), "", "syntax"),
        (("PIL.PLAN", "MINRELEASE", "5", "every"), "", "syntax"),
        (("PIL.VECTOR", "1", "5"), "NOTFOUND", "no plan 1"),
        (("PIL.VECTOR", "99999999999999999999", "5"), "NOTFOUND", "no plan 9999"),
        (("PIL.VECTOR", "nosuch", "5"), "NOTFOUND", "no feature service"),
        (("PIL.VECTOR",), "", "wrong number"),
        (("PIL.VECTOR", "every", "5", "x"), "", "join key id, row 1: 'x' is not int64"),
        (("PIL.VECTOR64", "every", b"1234567"), "", "7 bytes of keys"),
        (("PIL.COLUMNS", "1", "5"), "NOTFOUND", "no plan 1"),
        (("PIL.COLUMNS", "nosuch", "5"), "NOTFOUND", "no feature service"),
        (("PIL.COLUMNS", "every", "5", "x"), "", "join key id, row 1: 'x' is not int64"),
        (("PIL.COLUMNS64", "every", b"1234567"), "", "7 bytes of keys"),
        (("PIL.DESCRIBE", "nosuch"), "NOTFOUND", "no feature service"),
        (("PIL.FORGET", "1"), "NOTFOUND", "no such plan"),
        (("PIL.FORGET", "every"), "NOTFOUND", "no such plan"),
    ],
    ids=lambda item: " ".join(map(str, item))[:40] if isinstance(item, tuple) else "",
)
def test_mistakes_are_named(daemon, command, code, why):
    client = daemon.redis()
    with pytest.raises(redis.ResponseError, match=f"^{code} ?.*{why}"):  # redis-py takes ERR off
        client.execute_command(*command)
    assert client.ping()


def expected_item(name: str, item: Any) -> Any:
    if "unix_timestamp" not in name or item is None:
        return item
    return [x * 1_000_000 for x in item] if isinstance(item, list) else item * 1_000_000


def test_every_type_as_columns(all_types):
    client = all_types.redis()
    keys = list(range(40)) + [40, -1]
    plan = client.execute_command("PIL.PLAN", "COLUMNS", *(f"all_types:{name}" for name in synthetic.NAMES))
    answer = client.execute_command("PIL.COLUMNS", plan, *keys)
    found = vector_reader.read_columns(answer)
    assert [column.type for column in found.columns] == list(synthetic.TYPES)
    for name, column in zip(synthetic.NAMES, found.columns):
        for key, item, status in zip(keys, column.values, column.statuses):
            wanted = expected_item(name, synthetic.row("all", key, 1)[name]) if 0 <= key < 40 else None
            missing = vector_reader.NULL_VALUE if 0 <= key < 40 else vector_reader.NOT_FOUND
            assert status == (missing if wanted is None else vector_reader.PRESENT), (name, key)
            if wanted is None:
                assert not any(item) if isinstance(item, (list, str, bytes)) else not item, (name, key)
            else:
                assert item == wanted, (name, key)
    assert found.times_us == [(synthetic.EVENT_US + k * 1000,) if 0 <= k < 40 else (-(2**63),) for k in keys]
    assert found.views[0].not_found == 2 and found.views[0].worst_age_us == found.now_us - synthetic.EVENT_US
    for again in (("PIL.COLUMNS64", plan, packed(keys)), ("PIL.COLUMNS", "every", *keys)):
        other = vector_reader.read_columns(client.execute_command(*again))
        assert repr(other.columns) == repr(found.columns)  # some values are NaN
        assert other.times_us == found.times_us


def test_a_plan_has_one_kind_of_answer(all_types):
    client = all_types.redis()
    columns = client.execute_command("PIL.PLAN", "COLUMNS", "all_types:string", "all_types:int32")
    tensor = client.execute_command("PIL.PLAN", "all_types:int32")
    with pytest.raises(redis.ResponseError, match="the plan is for PIL.COLUMNS"):
        client.execute_command("PIL.VECTOR", columns, 1)
    with pytest.raises(redis.ResponseError, match="the plan is for PIL.VECTOR: make it with COLUMNS"):
        client.execute_command("PIL.COLUMNS", tensor, 1)
    assert b'"type":"string"' in client.execute_command("PIL.DESCRIBE", columns)


def test_no_keys_are_an_answer(all_types):
    client = all_types.redis()
    plan = client.execute_command("PIL.PLAN", "all_types:int32")
    for ask in (("PIL.VECTOR", plan), ("PIL.VECTOR64", plan, b"")):
        vectors = vector_reader.read(client.execute_command(*ask))
        assert vectors.values == [] and vectors.views[0].worst_age_us == -1 and vectors.views[0].not_found == 0
    for ask in (("PIL.COLUMNS", "every"), ("PIL.COLUMNS64", "every", b"")):
        columns = vector_reader.read_columns(client.execute_command(*ask))
        assert all(column.values == [] for column in columns.columns) and len(columns.columns) == 20


def test_large_columns(store, start_pilliond, engine):
    """Answers of many chunks; what is too large is refused before anything of it is sent."""
    store.make_release(view="all_types", rows=2500, kind="all")
    args = ["--limits.output_bytes", "1M"]
    daemon = start_pilliond(store, serve=["rides/all_types@production"], engine=engine, args=args)
    client = daemon.redis()
    keys = [(i * 7919) % 2600 for i in range(1000)]
    found = vector_reader.read_columns(client.execute_command("PIL.COLUMNS64", "every", packed(keys)))
    for name, column in zip(synthetic.NAMES, found.columns):
        for key, item, status in zip(keys, column.values, column.statuses):
            wanted = expected_item(name, synthetic.row("all", key, 1)[name]) if key < 2500 else None
            assert item == wanted if status == 1 else wanted is None, (name, key)
    with pytest.raises(redis.ResponseError, match="^TOOLARGE the answer would have .* bytes, over limits.output_bytes"):
        client.execute_command("PIL.COLUMNS64", "every", packed(list(range(2500)) * 3))
    with pytest.raises(redis.ResponseError, match="^TOOLARGE 16385 keys of 1 view are over limits.keys_per_request"):
        client.execute_command("PIL.COLUMNS64", "every", packed([1] * 16385))
    assert client.ping()


def test_one_view_is_one_view_however_it_is_called(store, start_pilliond, engine):
    store.make_release(project="a", view="v", rows=10, features=3)
    store.make_release(project="b", view="w", rows=10, features=2, seed=9)
    store.make_release(project="b", view="v", rows=10, features=3, seed=5)
    daemon = start_pilliond(store, serve=["a/v@production", "b/w@production"], engine=engine)
    client = daemon.redis()
    plan = client.execute_command("PIL.PLAN", "v:f0", "a/v:f1", "w:f0")
    vectors = vector_reader.read(client.execute_command("PIL.VECTOR", plan, 3))
    assert len(vectors.views) == 2
    wanted = tuple(synthetic.value("floats", 3, i, seed) for i, seed in ((0, 1), (1, 1), (0, 9)))
    assert vectors.values == [wanted]
    both = start_pilliond(store, serve=["a/v@production", "b/v@production"], engine=engine).redis()
    with pytest.raises(redis.ResponseError, match="view v is ambiguous: say project/view"):
        both.execute_command("PIL.PLAN", "v:f0")
    for command in (("PIL.PLAN", "every"), ("PIL.VECTOR", "every", 3), ("PIL.DESCRIBE", "every")):
        with pytest.raises(redis.ResponseError, match="service every is ambiguous: say project/service"):
            both.execute_command(*command)
    assert both.execute_command("PIL.PLAN", "b/every") == 1


def test_a_service_of_two_projects_is_ambiguous_over_http(store, start_pilliond, engine):
    for project in ("a", "b"):
        store.make_release(project=project, view="v", rows=10, features=3)
    both = start_pilliond(store, serve=["a/v@production", "b/v@production"], engine=engine)
    answer = harness.http(both.oip, "GET", "/v2/models/every")
    assert (answer.status, answer.json()) == (400, {"error": "service every is ambiguous: say project/service"})
    assert harness.http(both.oip, "GET", "/v2/models/b%2Fevery").status == 200
    listed = harness.http(both.oip, "POST", "/v2/repository/index", "{}").json()
    assert [model["name"] for model in listed] == ["a/every", "b/every"]
    body = {"feature_service": "every", "entities": {"id": [3]}}
    answer = harness.http(both.feast, "POST", "/get-online-features", body)
    assert answer.status == 400 and "Feature service every is ambiguous" in answer.body.decode()
    body["feature_service"] = "b/every"
    assert harness.http(both.feast, "POST", "/get-online-features", body).status == 200


def test_min_release(store, daemon):
    """That release, or one made after it: whether the server has served it before or not."""
    client = daemon.redis()
    first = daemon.redis().execute_command("PIL.DESCRIBE", "every").split(b'"release":"')[1][:16].decode()
    second, third = (store.make_release(seed=s, channel=None).rpartition("@")[2] for s in (2, 3))
    plans = [client.execute_command("PIL.PLAN", "MINRELEASE", r, "driver_stats:f0") for r in (first, second, third)]

    def served() -> list[bool]:
        found = []
        for plan in plans:
            try:
                found.append(client.execute_command("PIL.VECTOR", plan, 5) is not None)
            except redis.ResponseError as error:
                assert re.match("NOTREADY view rides/driver_stats is at .*, which is not .* made after it", str(error))
                found.append(False)
        return found

    assert served() == [True, False, False]
    store.promote(f"rides/driver_stats@{third}")
    daemon.wait_serving(third)
    # The second was made before the third, but this server has not served it and cannot know.
    assert served() == [True, False, True]
    store.promote(f"rides/driver_stats@{second}")
    daemon.wait_serving(second)
    assert served() == [True, True, False]
    store.promote(f"rides/driver_stats@{third}")
    daemon.wait_serving(third)
    assert served() == [True, True, True]
    late = client.execute_command("PIL.PLAN", "MINRELEASE", second, "driver_stats:f0")
    assert client.execute_command("PIL.VECTOR", late, 5)
    store.promote(f"rides/driver_stats@{first}")
    daemon.wait_serving(first)
    assert served() == [True, False, False]
    with pytest.raises(redis.ResponseError, match="^NOTREADY"):
        client.execute_command("PIL.VECTOR", late, 5)


def test_types_without_place_in_a_tensor(all_types):
    for name in ("string", "bytes", "list_float32", "list_string"):
        why = f"^UNSUPPORTED .*all_types:{name} is .*, which has no place in a tensor"
        with pytest.raises(redis.ResponseError, match=why):
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
    seeds[daemon.view_status()["release"]] = 1
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
        store.pillion("promote", f"rides/driver_stats@{release}", "--channel", "production", "--force")
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
