# SPDX-License-Identifier: Apache-2.0
"""Views without event times (`static: true`): from the project file to every protocol. Nothing takes the time that
their rows have in the format for an age."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import harness
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from build_project import BUILDER, Done
from cli import pillion as command

pillion = pytest.importorskip("pillion", reason="the package is not installed")

EPOCH = "1970-01-01T00:00:00Z"
VIEWS = """project: shop
entities:
  - {name: country, join_key: code, type: string}
  - {name: user, join_key: user_id, type: int64}
feature_views:
  - name: countries
    entities: [country]
    static: true
    source: SOURCE
    features:
      - {name: area, type: float32}
      - {name: people, type: int64, default: 7}
  - name: users
    entities: [user]
    source: {type: csv, path: users.csv, timestamp_field: at}
    features:
      - {name: age, type: int32}
feature_services:
  - {name: profile, features: [users, countries]}
"""
CSV = "{type: csv, path: countries.csv}"
COUNTRIES = "code,area,people\nde,357.5,83\nfr,643.5,\nfr,643.5,\n"
SERVED = ("shop/countries@production", "shop/users@production")


def write(folder: Path, source: str = CSV, views: str = VIEWS, countries: str = COUNTRIES) -> Path:
    (folder / "countries.csv").write_text(countries)
    (folder / "users.csv").write_text("user_id,at,age\n1,2025-01-01T00:00:00Z,30\n")
    path = folder / "shop.yaml"
    path.write_text(views.replace("SOURCE", source))
    return path


def build(path: Path, store: harness.Store, *options: str) -> Done:
    done = subprocess.run([*BUILDER, path, "--store", store.url, *options], capture_output=True, text=True,
                          timeout=300, check=False)
    return Done(done.returncode, done.stdout, done.stderr)


# ---- The build.

def manifest(store: harness.Store, ref: str) -> Any:
    view, _, release = ref.partition("@")
    return json.loads((store.path / "views" / view / "releases" / f"{release}.json").read_text())


@pytest.mark.parametrize("kind", ["csv", "parquet", "sql"])
def test_every_source_gives_the_same_release(folder, store, kind):
    """So no time of the build is in it, and no time of a file."""
    pq.write_table(pa.table({"code": ["fr", "de", "fr"], "area": pa.array([643.5, 357.5, 643.5], pa.float32()),
                             "people": pa.array([None, 83, None], pa.int64())}), folder / "c.parquet")
    source = {"csv": CSV, "parquet": "{type: parquet, path: c.parquet}",
              "sql": '{type: sql, query: "FROM \'c.parquet\'"}'}[kind]
    built = build(write(folder, source), store, "--view", "countries", "--as-of", "1960-01-01T00:00:00Z")
    assert "static, so --as-of leaves out nothing" in built.err
    again = build(write(folder, CSV), store, "--view", "countries")
    assert again.out == built.out and "there already" in again.err
    found = manifest(store, built.out.strip())
    assert found["as_of_us"] is None and found["schema"]["static"] is True
    assert found["counts"] | {"rounded": 0} == {
        "rows_in": 3, "rows_out": 2, "duplicates": 1, "conflicts": 0, "late": 0, "after_as_of": 0, "null_keys": 0,
        "bad_rows": 0, "rounded": 0}


def test_rows_of_one_key_and_other_values_are_in_conflict(folder, store):
    path = write(folder, countries=COUNTRIES + "de,357.5,84\nde,357.5,\n")
    done = build(path, store, "--view", "countries")
    assert "conflict: key 'de': 2 rows with other values lost" in done.err
    assert "another row has the same key and greater values" in done.err
    assert '"people":84' in store.pillion("inspect", done.out.strip(), "--json").stdout
    done = build(path, store, "--view", "countries", "--on-conflict=fail")
    assert done.code == 1 and "3 rows of key 'de' have different values" in done.err
    # A column that says which row is right makes the others late.
    path = write(folder, "{type: csv, path: countries.csv, created_timestamp_column: made}",
                 countries="code,area,people,made\nde,1,83,2025-01-02\nde,1,84,2025-01-01\n")
    done = build(path, store, "--view", "countries", "--on-conflict=fail", "--json")
    assert done.result["counts"]["late"] == 1 and done.result["counts"]["rows_out"] == 1


# ---- Serving.

@pytest.fixture
def daemon(folder, store, start_pilliond, engine):
    store.build(write(folder))
    mapped = f"mapped=unix:{folder}/mapped.sock"
    return start_pilliond(store, serve=SERVED, engine=engine, args=("--listen", mapped))


def test_redis(daemon):
    client = daemon.redis()
    assert client.hmget("countries:de", ["area", "people"]) == [b"357.5", b"83"]
    assert client.hgetall("shop/countries:fr") == {b"area": b"643.5"}
    assert client.mget("countries:de", "countries:xx")[1] is None
    assert client.exists("countries:de", "countries:xx") == 1
    assert sorted(client.scan_iter("countries:*")) == [b"countries:de", b"countries:fr"]
    assert client.ttl("countries:de") == -1 and client.execute_command("EXPIRETIME", "countries:de") == -1


@pytest.mark.parametrize("statuses", ["feast-python", "strict"])
def test_feast(folder, store, start_pilliond, statuses):
    store.build(write(folder))
    config = folder / "pilliond.yaml"
    address = f"tcp:127.0.0.1:{harness.free_port()}"
    config.write_text(f'listen: [{{protocol: feast, address: "{address}", statuses: {statuses}, expired: hide}}]\n')
    start_pilliond(store, serve=SERVED, args=("--config", str(config)))
    answer = harness.http(address, "POST", "/get-online-features",
                          {"entities": {"code": ["de", "xx"], "user_id": [1, 1]}, "feature_service": "profile"}).json()
    names = answer["metadata"]["feature_names"]
    area = answer["results"][names.index("area")]
    assert area == {"values": [357.5, None], "statuses": ["PRESENT", "NOT_FOUND"], "event_timestamps": [EPOCH] * 2}
    assert answer["results"][names.index("age")]["event_timestamps"] == ["2025-01-01T00:00:00Z"] * 2


def test_oip(daemon):
    request = {"inputs": [{"name": "user_id", "datatype": "INT64", "shape": [2], "data": [1, 1]},
                          {"name": "code", "datatype": "BYTES", "shape": [2], "data": ["de", "xx"]}],
               "parameters": {"max_age_us": 1}}
    answer = harness.http(daemon.oip, "POST", "/v2/models/profile/infer", request).json()
    assert answer["outputs"][0]["data"] == [30, 357.5, 83, 30, None, None]
    assert answer["outputs"][1]["data"] == [4, 1, 1, 4, 3, 3]
    told = answer["parameters"]
    assert told["countries.worst_age_us"] == -1 and told["countries.not_found"] == 1
    assert told["worst_age_us"] == told["users.worst_age_us"] > 0


@pytest.mark.parametrize("protocol", ["mapped", "resp"])
def test_python_client(daemon, folder, protocol):
    is_mapped = protocol == "mapped"
    addresses = (f"unix:{folder}/mapped.sock", None) if is_mapped else (None, daemon.resp_unix)
    with pillion.Client(*addresses, timeout=10) as client:
        answer = client.read("profile", {"user_id": [1, 1], "code": ["de", "xx"]}, max_age=0.001)
        assert answer.is_mapped == is_mapped
        assert answer.values[0].tolist() == [30, 357.5, 83]
        assert answer.statuses.tolist() == [[4, 1, 1], [4, 3, 3]]
        ages = {view.view: view.worst_age for view in answer.views}
        assert ages["shop/countries"] is None and ages["shop/users"] > 0
        times = answer.event_timestamps.astype("datetime64[us]").tolist()
        assert times[0][1].isoformat() == "1970-01-01T00:00:00" and times[1][1] is None


def test_nothing_tells_an_age(daemon, store):
    metrics = daemon.metrics()
    assert 'pillion_release_age_seconds{view="shop/users"}' in metrics
    assert 'pillion_release_rows{view="shop/countries"}' in metrics
    assert 'pillion_release_age_seconds{view="shop/countries"}' not in metrics
    status = daemon.view_status("countries")
    assert status["static"] is True and "newest_event_us" not in status
    assert daemon.view_status("users")["static"] is False and daemon.view_status("users")["newest_event_us"] > 0
    told = command("status", "--admin", daemon.admin).stdout.split("shop/users")[0]
    assert ", static, channel production" in told and "newest event" not in told
    row = next(line for line in command("top", "--admin", daemon.admin, env={"COLUMNS": "200"}).stdout.splitlines()
               if "shop/countries" in line or " countries " in line)
    assert " static " in row and "never" not in row
    shown = store.pillion("inspect", "shop/countries@latest").stdout
    assert "; static\n" in shown and "1970" not in shown and "ttl" not in shown
    shown = json.loads(store.pillion("inspect", "shop/countries@latest", "--json").stdout)
    assert [row["event_timestamp"] for row in shown["sample"]] == [None, None]


def test_a_view_in_use_does_not_become_static_unasked(daemon, folder, store):
    timed = VIEWS.replace("    static: true\n", "").replace("SOURCE", "{type: csv, path: t.csv, timestamp_field: at}")
    path = write(folder, views=timed)
    (folder / "t.csv").write_text("code,at,area,people\nde,2025-01-01T00:00:00Z,1,2\n")
    done = store.pillion("apply", str(path), code=None)
    assert done.returncode != 0
    assert "feature view countries: it is no longer static: its rows get event times\n" in done.stderr
    built = build(path, store, "--view", "countries").out.strip()
    done = store.pillion("promote", built, "--channel", "production", code=None)
    assert done.returncode != 0
    assert "countries is not static, and static in the project\n" in done.stderr
    store.pillion("promote", built, "--channel", "production", "--force")
    daemon.wait_serving(built, "shop/countries")
    assert 'pillion_release_age_seconds{view="shop/countries"}' in daemon.metrics()
    store.pillion("rollback", "shop/countries", "--channel", "production")
    harness.wait_until("the gauge is gone", lambda: 'pillion_release_age_seconds{view="shop/countries"}'
                       not in daemon.metrics())
