# SPDX-License-Identifier: Apache-2.0
"""Views without entities (`entities: []`): one row, without a key, from the project file to every protocol, alone and
beside views that have keys."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path
from typing import Any

import feast_redis as layout
import harness
import pytest
import redis
from cli import pillion as command
from test_static import build, manifest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "python"))
import vector_reader  # noqa: E402

pillion = pytest.importorskip("pillion", reason="the package is not installed")

PROJECT = """project: shop
entities:
  - {name: user, join_key: user_id, type: int64}
feature_views:
  - name: rates
    entities: []
    source: {type: csv, path: rates.csv, timestamp_field: at}
    features:
      - {name: usd, type: float32}
      - {name: note, type: string}
  - name: limits
    entities: []
    static: true
    source: {type: csv, path: limits.csv}
    features:
      - {name: most, type: int64}
  - name: users
    entities: [user]
    source: {type: csv, path: users.csv, timestamp_field: at}
    features:
      - {name: age, type: int32}
feature_services:
  - {name: mixed, features: [users, "rates:usd", limits]}
  - {name: alone, features: ["rates:usd", limits]}
"""
SERVED = [f"shop/{view}@production" for view in ("rates", "limits", "users")]
MOMENT = "2025-01-02T00:00:00Z"
EPOCH = "1970-01-01T00:00:00Z"
PRESENT, NOT_FOUND = 1, 3


def write(folder: Path) -> Path:
    (folder / "rates.csv").write_text("at,usd,note\n2025-01-01,1.5,old\n2025-01-02,2.5,new\n2025-01-02,2.5,new\n")
    (folder / "limits.csv").write_text("most\n7\n7\n")
    (folder / "users.csv").write_text("user_id,at,age\n1,2025-01-01,30\n2,2025-01-01,40\n")
    path = folder / "shop.yaml"
    path.write_text(PROJECT)
    return path


@pytest.fixture
def daemon(folder, store, start_pilliond, engine):
    store.build(write(folder))
    return start_pilliond(store, serve=SERVED, engine=engine, args=("--listen", f"mapped=unix:{folder}/mapped.sock"))


def test_the_build_keeps_one_row(folder, store):
    path = write(folder)
    counts = manifest(store, build(path, store, "--view", "rates").out.strip())["counts"]
    assert (counts["rows_out"], counts["late"], counts["duplicates"]) == (1, 1, 1)
    (folder / "limits.csv").write_text("most\n7\n9\n8\n")
    done = build(path, store, "--view", "limits")
    assert "conflict: its one key: 2 rows with other values lost" in done.err
    shown = store.pillion("inspect", done.out.strip()).stdout
    assert "1 row, " in shown and "schema: no key; row 32 bytes; static\n" in shown
    assert command("verify", done.out.strip(), "--store", store.url).returncode == 0
    done = build(path, store, "--view", "limits", "--on-conflict=fail")
    assert done.code == 1 and "3 rows of its one key have different values" in done.err


def test_redis(daemon):
    client = daemon.redis()
    assert client.hgetall("rates:") == {b"usd": b"2.5", b"note": b"new"}
    assert client.hmget("shop/limits:", "most") == [b"7"]
    assert client.exists("limits:", "rates:") == 2 and client.type("limits:") == b"hash"
    assert list(client.scan_iter("limits:*")) == [b"limits:"]
    assert sorted(client.scan_iter()) == [b"limits:", b"rates:", b"users:1", b"users:2"]
    for key in ("limits:0", "limits:|"):
        with pytest.raises(redis.ResponseError, match="shop/limits has one row, without a key; its key is limits:"):
            client.hget(key, "most")
    assert command("get", "limits", "", "--json", "--socket", daemon.resp_unix).stdout == '{"most":"7"}\n'


def test_plans_of_redis(daemon):
    client = daemon.redis()
    rows = [vector_reader.read(client.execute_command("PIL.VECTOR", "alone", *[""] * count)) for count in range(3)]
    assert [answer.values for answer in rows] == [[(2.5, 7.0)] * count for count in range(3)]
    assert b'"join_keys":[]' in client.execute_command("PIL.DESCRIBE", "alone")
    assert client.execute_command("PIL.VECTOR64", "alone", b"") is not None
    with pytest.raises(redis.ResponseError, match="row 1: the plan has no join keys; the key must be empty"):
        client.execute_command("PIL.VECTOR", "alone", "", "x")
    with pytest.raises(redis.ResponseError, match="8 bytes of keys; a row has 0 int64 keys, 0 bytes"):
        client.execute_command("PIL.VECTOR64", "alone", b"12345678")


def column(answer: Any, name: str) -> tuple[Any, Any, Any]:
    result = answer["results"][answer["metadata"]["feature_names"].index(name)]
    return result["values"], result["statuses"], result["event_timestamps"]


@pytest.mark.parametrize("entities,rows", [({}, 1), ({"__dummy_id": ["", ""]}, 2), ({"user_id": [9, 1, 2]}, 3)])
def test_feast_alone(daemon, entities, rows):
    answer = harness.http(daemon.feast, "POST", "/get-online-features",
                          {"entities": entities, "feature_service": "alone"}).json()
    assert answer["metadata"]["feature_names"] == ["usd", "most"]
    assert column(answer, "usd") == ([2.5] * rows, ["PRESENT"] * rows, [MOMENT] * rows)
    assert column(answer, "most") == ([7] * rows, ["PRESENT"] * rows, [EPOCH] * rows)


def test_feast_beside_others(daemon):
    answer = harness.http(daemon.feast, "POST", "/get-online-features",
                          {"entities": {"user_id": [9, 1]}, "feature_service": "mixed"}).json()
    assert answer["metadata"]["feature_names"] == ["user_id", "age", "usd", "most"]
    assert column(answer, "age")[:2] == ([None, 30], ["NOT_FOUND", "PRESENT"])
    assert column(answer, "usd") == ([2.5, 2.5], ["PRESENT"] * 2, [MOMENT] * 2)
    refused = harness.http(daemon.feast, "POST", "/get-online-features", {"entities": {}, "feature_service": "mixed"})
    assert refused.status == 400 and "Missing join key values for keys: ['user_id']" in refused.text


@pytest.mark.parametrize("version", [2, 3])
def test_feast_s_redis_layout(daemon, version):
    client = daemon.redis()
    key = layout.key("shop", {"__dummy_id": (layout.STRING, b"")}, version)
    value, time = client.hmget(key, [layout.field("rates", "usd"), layout.time("rates")])
    moment = int(dt.datetime(2025, 1, 2, tzinfo=dt.timezone.utc).timestamp())
    assert layout.value(value) == 2.5 and layout.us(time) == moment * 1000000
    value, time = client.hmget(key, [layout.field("limits", "most"), layout.time("limits")])
    assert layout.value(value) == 7 and layout.us(time) == 0
    with pytest.raises(redis.ResponseError, match="those of view shop/limits are, in this order, __dummy_id"):
        client.hmget(layout.key("shop", {"user_id": layout.int64(1)}, version), [layout.time("limits")])


def test_oip(daemon):
    def infer(model: str, *inputs: Any) -> harness.Answer:
        return harness.http(daemon.oip, "POST", f"/v2/models/{model}/infer", {"inputs": inputs})

    assert harness.http(daemon.oip, "GET", "/v2/models/alone").json()["inputs"] == []
    alone = infer("alone").json()["outputs"]
    assert [output["data"] for output in alone] == [[2.5, 7], [PRESENT, PRESENT]] and alone[0]["shape"] == [1, 2]
    user = {"name": "user_id", "datatype": "INT64", "shape": [2], "data": [1, 9]}
    mixed = infer("mixed", user).json()["outputs"]
    assert mixed[0]["data"] == [30, 2.5, 7, None, 2.5, 7]
    refused = infer("alone", user)
    assert refused.status == 400 and "user_id is not one of the model's; they are: none" in refused.text
    refused = infer("mixed")
    assert refused.status == 400 and "input user_id is missing" in refused.text


@pytest.mark.parametrize("way", ["mapped", "socket"])
def test_python_client(daemon, folder, way):
    addresses = (f"unix:{folder}/mapped.sock", None) if way == "mapped" else (None, daemon.resp_unix)
    with pillion.Client(*addresses, timeout=10) as client:
        assert client.describe("alone").join_keys == {}
        answer = client.read("alone", {})
        assert answer.is_mapped == (way == "mapped")
        assert answer.values.tolist() == [[2.5, 7]] and answer.statuses.tolist() == [[PRESENT] * 2]
        mixed = client.read("mixed", {"user_id": [1, 9]})
        assert mixed.values[:, 1:].tolist() == [[2.5, 7]] * 2 and mixed.values[0, 0] == 30
        assert mixed.statuses.tolist() == [[PRESENT] * 3, [NOT_FOUND, PRESENT, PRESENT]]
        assert client.get_online_features(["rates:note", "limits:most"], {}).to_dict() == {"note": ["new"], "most": [7]}
        rows = [{"user_id": 1}, {"user_id": 9}]
        assert client.get_online_features(["limits:most"], rows).to_dict() == {"most": [7, 7]}
        with pytest.raises(ValueError, match="not join keys"):
            client.read("alone", {"user_id": [1]})
        with pytest.raises(TypeError, match="there are no join keys: keys is an empty dict"):
            client.read("alone", [1])
        with pytest.raises(pillion.MissingJoinKeyError):
            client.read("mixed", {})
