# SPDX-License-Identifier: Apache-2.0
"""Feast's HTTP API: byte shapes of Feast 0.67's own server, statuses and their modes, errors, hostile HTTP; and the
unmodified SDK, which must see the same frames here as at Feast's own server over the same data.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any, Iterator

import harness
import pytest
import synthetic

FEAST_PYTHON = harness.ROOT / "build" / "feast-venv" / "bin" / "python"
PEER = Path(__file__).parent / "feast_repo" / "peer.py"


@pytest.fixture
def daemon(store, start_pilliond, engine) -> harness.Pilliond:
    store.make_release(rows=100, features=3, seed=1)
    return start_pilliond(store, engine=engine)


def test_the_answer_is_column_oriented_like_feast_s(daemon):
    answer = daemon.online_features({"id": [5, 777]}, ["driver_stats:f1", "driver_stats:f0"])
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.text == (
        '{"results":[{"values":[5,777],"statuses":["PRESENT","PRESENT"],"event_timestamps":['
        '"1970-01-01T00:00:00Z","1970-01-01T00:00:00Z"]},'
        '{"values":[163.0,null],"statuses":["PRESENT","NOT_FOUND"],"event_timestamps":['
        '"2023-11-14T22:13:20.005Z","1970-01-01T00:00:00Z"]},'
        '{"values":[156.0,null],"statuses":["PRESENT","NOT_FOUND"],"event_timestamps":['
        '"2023-11-14T22:13:20.005Z","1970-01-01T00:00:00Z"]}],'
        '"metadata":{"feature_names":["id","f1","f0"]}}'
    )


def test_services_full_names_and_paths(daemon):
    body = {"entities": {"id": [5]}, "feature_service": "every", "full_feature_names": True}
    answer = harness.http(
        daemon.feast, "POST", "//get-online-features?project=rides", json.dumps(body), {"content-type": "text/plain"}
    )
    assert answer.json()["metadata"]["feature_names"] == [
        "id",
        "driver_stats__f0",
        "driver_stats__f1",
        "driver_stats__f2",
    ]
    assert harness.http(daemon.feast, "GET", "/health").status == 200
    refused = harness.http(daemon.feast, "GET", "/get-online-features")
    assert (refused.status, refused.headers["allow"]) == (405, "POST")
    assert harness.http(daemon.feast, "POST", "/nope", "{}").json() == {"detail": "Not Found"}


@pytest.mark.parametrize(
    "entities,features,status,part",
    [
        ({"id": [1]}, ["nosuch:f0"], 404, "FeatureViewNotFoundException"),
        ({"id": [1]}, ["driver_stats:nosuch"], 400, "nosuch"),
        ({"id": [1]}, ["nocolon"], 400, "nocolon"),
        ({"id": [1]}, [], 400, "No features"),
        ({"wrong": [1]}, ["driver_stats:f0"], 400, "id"),
        ({"id": [1], "other": [1, 2]}, ["driver_stats:f0"], 400, "same columns"),
        ({"id": []}, ["driver_stats:f0"], 400, "id"),
        ({"id": ["x"]}, ["driver_stats:f0"], 422, "id"),
        ({"id": [1.5]}, ["driver_stats:f0"], 422, "id"),
        ({"id": [None]}, ["driver_stats:f0"], 422, "id"),
        ({"id": [True]}, ["driver_stats:f0"], 422, "id"),
        ({"id": [2**63]}, ["driver_stats:f0"], 422, "id"),
        ({"id": [[1]]}, ["driver_stats:f0"], 422, "id"),
        ({"id": [1]}, ["driver_stats:f0", "driver_stats:f0"], 400, "f0"),
    ],
)
def test_mistakes_are_told_with_a_status_that_nobody_retries(daemon, entities, features, status, part):
    answer = daemon.online_features(entities, features)
    assert (answer.status, part in answer.text) == (status, True), answer.text
    assert daemon.online_features({"id": [1]}, ["driver_stats:f0"]).status == 200


def test_keys_are_coerced_by_the_schema_and_int64_is_exact(store, start_pilliond):
    store.make_release(rows=50, kind="all", view="all_types", seed=1)
    daemon = start_pilliond(store, serve=["rides/all_types@production"])
    answer = daemon.online_features({"id": [7, "7", 7.0]}, ["all_types:int64"])
    assert answer.json()["results"][1]["values"] == [synthetic.value("all", 7, 2, 1)] * 3


def test_a_key_that_is_too_long_is_told_as_such(store, start_pilliond):
    store.make_release(view="zones", rows=50, args=["--key", "pair"])
    daemon = start_pilliond(store, serve=["rides/zones@production"])
    answer = daemon.online_features({"id": [9, 9], "zone": ["z2", "z" * 70000]}, ["zones:f0"])
    assert answer.status == 422 and "longer than 65536 bytes" in answer.text
    answer = daemon.online_features({"id": [9, 9], "zone": ["z2", "z" * 60000]}, ["zones:f0"])
    assert answer.json()["results"][2]["statuses"] == ["PRESENT", "NOT_FOUND"]


def test_statuses_by_mode(folder, store, start_pilliond):
    store.make_release(rows=50, kind="all", view="all_types", seed=1)
    config = folder / "modes.yaml"
    listeners = {mode: f"tcp:127.0.0.1:{harness.free_port()}" for mode in ("strict", "feast-python", "feast-go")}
    config.write_text(
        "listen:\n" + "".join(f'  - {{protocol: feast, address: "{a}", statuses: {m}}}\n' for m, a in listeners.items())
    )
    start_pilliond(store, serve=["rides/all_types@production"], args=["--config", str(config)])
    body = {"entities": {"id": [11, 12, 999]}, "features": ["all_types:bool"]}
    told = {
        m: harness.http(a, "POST", "/get-online-features", body).json()["results"][1]["statuses"]
        for m, a in listeners.items()
    }
    assert told == {
        "strict": ["NULL_VALUE", "PRESENT", "NOT_FOUND"],
        "feast-python": ["PRESENT", "PRESENT", "NOT_FOUND"],
        "feast-go": ["NOT_FOUND", "PRESENT", "NOT_FOUND"],
    }


@pytest.mark.parametrize(
    "method, path, part",
    [
        ("POST", "/push", "pillion build"),
        ("POST", "/write-to-online-store", "pillion promote"),
        ("POST", "/materialize", "pillion build"),
        ("POST", "/materialize-incremental", "pillion promote"),
        ("POST", "/search", "vector"),
        ("POST", "/retrieve-online-documents", "vector"),
        ("GET", "/v1/vector_stores", "vector"),
        ("POST", "/v1/vector_stores/a/search", "vector"),
        ("POST", "/chat", "/get-online-features"),
        ("GET", "/chat", "/get-online-features"),
        ("GET", "/static/chat/index.html", "/get-online-features"),
    ],
)
def test_what_only_feast_s_server_does_is_told_what_to_do_instead(daemon, method, path, part):
    connection = harness.http_connection(daemon.feast)
    connection.request(method, path, b"{}" if method == "POST" else None)
    answer = harness.Answer(connection.getresponse())
    assert answer.status == 501 and list(answer.json()) == ["detail"] and part in answer.json()["detail"], answer.text
    connection.request("GET", "/health")  # it stays open
    assert connection.getresponse().status == 200
    if method == "POST" and path.count("/") == 1 and path != "/chat":
        refused = harness.http(daemon.feast, "PUT", path)
        assert (refused.status, refused.headers["allow"]) == (405, "POST")


def test_paths_that_only_look_like_feast_s_are_not_found(daemon):
    for path in ("/", "/pushx", "/push/x", "/v1/vector_storesx", "/chat/x", "/health/", "/get-online-features/"):
        answer = harness.http(daemon.feast, "POST", path, "{}")
        assert (answer.status, answer.json()) == (404, {"detail": "Not Found"}), path


def test_the_list_of_what_only_feast_s_server_does_is_complete(daemon):
    if not FEAST_PYTHON.exists():
        pytest.skip("Feast is not installed in build/feast-venv")
    find = "import importlib.util as u; print(*u.find_spec('feast').submodule_search_locations)"
    where = subprocess.run(
        [str(FEAST_PYTHON), "-c", find],
        capture_output=True,
        text=True,
        check=True,
    )
    source = (Path(where.stdout.strip()) / "feature_server.py").read_text()
    routes = re.findall(r'@app\.(get|post|put|delete|patch|websocket)\(\s*"([^"]+)"', source)
    assert ("post", "/push") in routes and len(routes) > 12
    for method, path in routes:
        answer = harness.http(daemon.feast, "GET" if method == "websocket" else method.upper(), path.replace("{", "a"))
        assert answer.status not in (404, 405), (method, path, answer.text)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST /get-online-features HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        b"POST /get-online-features HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n"
        b"content-length: 2\r\n\r\n{}",
        b"POST /get-online-features HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}0\r\n\r\n",
        b"POST /get-online-features HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2;a\nb\r\n{}\r\n0\r\n\r\n",
        b"POST /get-online-features HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"POST /get-online-features HTTP/1.1\nhost: x\n\n",
        b"POST /get-online-features HTTP/1.1\r\nhost : x\r\n\r\n",
        b"POST /get-online-features HTTP/1.1\r\nhost: x\r\n folded\r\n\r\n",
        b"POST /get-online-features HTTP/9.9\r\nhost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
    ],
)
def test_ambiguous_framing_is_refused_and_closes(daemon, request_bytes):
    sock = harness.connect(daemon.feast)
    sock.sendall(request_bytes + b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
    got = b""
    try:
        while chunk := sock.recv(65536):
            got += chunk
    except ConnectionResetError:
        pass
    assert got.startswith(b"HTTP/1.1 4") or got.startswith(b"HTTP/1.1 5"), got
    assert got.count(b"content-length") == 1


def test_pipelined_and_split_requests_keep_their_order(daemon):
    body = json.dumps({"entities": {"id": [3]}, "features": ["driver_stats:f0"]}).encode()
    one = (
        b"POST /get-online-features HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n%s"
        % (len(body), body)
    )
    sock = harness.connect(daemon.feast)
    stream = (one + b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n") * 20
    for at in range(0, len(stream), 37):
        sock.sendall(stream[at : at + 37])
    got = harness.read_until(sock, lambda got: got.count(b"HTTP/1.1 200 OK") == 40 and got.endswith(b"\r\n\r\n"))
    assert got.count(b"[94.0]") == 20


def test_a_thousand_entities_of_one_release(daemon):
    answer = daemon.online_features(
        {"id": list(range(1000))}, ["driver_stats:f0", "driver_stats:f1", "driver_stats:f2"]
    )
    values = [c["values"] for c in answer.json()["results"]]
    for key in range(100):
        assert [c[key] for c in values[1:]] == [float((key * 31 + f * 7 + 1) % 1000003) for f in range(3)]
    assert all(v is None for c in values[1:] for v in c[100:])


# ---- The unmodified SDK


def peer(*args: str) -> str:
    done = subprocess.run(
        [str(FEAST_PYTHON), str(PEER), *args],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "FEAST_USAGE": "False", "PYTHONWARNINGS": "ignore"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def wait_health(address: str, process: subprocess.Popen[bytes]) -> None:
    def healthy() -> bool:
        assert process.poll() is None, "feast serve ended"
        return harness.http(address, "GET", "/health").status == 200

    harness.wait_until("feast serve", healthy, 120)


@pytest.fixture
def repo(folder, store) -> Path:
    """A Feast repository, materialized, and releases of the same data."""
    if not FEAST_PYTHON.exists():
        pytest.skip("Feast is not installed in build/feast-venv")
    repo = folder / "repo"
    repo.mkdir()
    peer("prepare", str(repo))
    for command in (["apply", str(repo / "everything.yaml")], ["build", str(repo / "everything.yaml")]):
        done = store.pillion(
            *command, env={**os.environ, "PATH": f"{harness.ROOT}/build/venv/bin:{os.environ['PATH']}"}
        )
    for ref in [line for line in done.stdout.splitlines() if "@" in line]:
        store.promote(ref.strip())
    return repo


@pytest.fixture
def feast_server(repo) -> Iterator[str]:
    """Feast's own server over the repository; its address."""
    address = f"tcp:127.0.0.1:{harness.free_port()}"
    server = subprocess.Popen(
        [str(FEAST_PYTHON.with_name("feast")), "serve", "-h", "127.0.0.1", "-p", address.rpartition(":")[2],
         "--no-access-log"],
        cwd=repo,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_health(address, server)
        yield address
    finally:
        server.terminate()
        server.wait(30)


def url_of(address: str) -> str:
    return "http://" + address.partition(":")[2]


def test_the_sdk_sees_the_same_frames_here_and_at_feast_s_server(repo, store, feast_server, start_pilliond):
    views = ("everything", "by_city", "rates")
    daemon = start_pilliond(store, serve=[f"conformance/{view}@production" for view in views])
    theirs = peer("ask", str(repo), url_of(feast_server)).splitlines()
    ours = peer("ask", str(repo), url_of(daemon.feast)).splitlines()
    assert len(ours) == len(theirs) == 10
    for number, (mine, real) in enumerate(zip(ours, theirs)):
        assert json.loads(mine) == json.loads(real), f"question {number}"


EDGES = ["l_bool", "l_int32", "l_int64", "l_float32", "l_float64", "l_string", "l_bytes", "l_unix_timestamp"]


def columns_of(answer: harness.Answer) -> dict[str, dict[str, Any]]:
    names = answer.json()["metadata"]["feature_names"]
    return {name: column for name, column in zip(names, answer.json()["results"])}


def test_no_value_that_is_present_is_null_and_lists_are_spelled_as_by_feast(repo, store, feast_server, start_pilliond):
    """JSON has no NaN and no infinities, and Feast's SDK cannot read an empty list."""
    daemon = start_pilliond(store, serve=["conformance/edges@production"])
    body = {"entities": {"driver_id": [1000, 1001, 1002, 1003]}, "features": [f"edges:{name}" for name in EDGES]}
    as_json = {"content-type": "application/json"}
    theirs = columns_of(harness.http(feast_server, "POST", "/get-online-features", body, as_json))
    ours = columns_of(harness.http(daemon.feast, "POST", "/get-online-features", body))
    assert ours["l_float32"]["values"] == [["NaN", "Infinity", "-Infinity"], [0.25, "NaN"], [], [3.5, 3.5]]
    assert ours["l_float64"]["values"] == [["Infinity"], ["NaN", 0.1], [], [1.0, 1.0]]
    for name in EDGES:
        assert ours[name]["values"][2] == []
        assert ours[name]["values"] == theirs[name]["values"], name
        assert ours[name]["statuses"] == theirs[name]["statuses"] == ["PRESENT"] * 4
    body = {"entities": {"driver_id": [1000, 1001, 1003, 1004, 7]}, "features": ["edges:s_float32", "edges:l_int64"]}
    scalars = columns_of(harness.http(daemon.feast, "POST", "/get-online-features", body))
    assert scalars["s_float32"]["values"] == ["Infinity", "NaN", 0.25, None, None]
    assert scalars["s_float32"]["statuses"] == ["PRESENT"] * 3 + ["NULL_VALUE", "NOT_FOUND"]
    assert scalars["l_int64"]["statuses"] == ["PRESENT"] * 3 + ["NULL_VALUE", "NOT_FOUND"]


def test_the_sdk_reads_whatever_a_listener_for_it_answers(folder, repo, store, start_pilliond):
    """`statuses: feast-python`: what the SDK would take for another value, or fail on, is null with NULL_VALUE."""
    address = f"tcp:127.0.0.1:{harness.free_port()}"
    config = folder / "sdk.yaml"
    config.write_text(f'listen:\n  - {{protocol: feast, address: "{address}", statuses: feast-python}}\n')
    start_pilliond(store, serve=["conformance/edges@production"], args=["--config", str(config)])
    names = ["s_float32", "s_float64", *(name for name in EDGES if name != "l_bytes")]  # see below
    body = {"entities": {"driver_id": [1000, 1001, 1002, 1003]}, "features": [f"edges:{name}" for name in names]}
    shown = columns_of(harness.http(address, "POST", "/get-online-features", body))
    for column in shown.values():
        for value, status in zip(column["values"], column["statuses"]):
            assert status == ("NULL_VALUE" if value is None else "PRESENT")
    assert [v is None for v in shown["s_float64"]["values"]] == [True, True, False, False]
    assert [v is None for v in shown["l_float32"]["values"]] == [True, True, True, False]
    assert [v is None for v in shown["l_string"]["values"]] == [False, False, True, False]
    told = {}
    for line in peer("read", str(repo), url_of(address), "edges", "1000,1001,1002,1003", *names).splitlines():
        told.update(json.loads(line))
    assert told["get_online_features"]["s_float32"] == [None, None, 0.5, 0.25]
    assert told["get_online_features"]["l_float64"] == [None, None, None, [1.0, 1.0]]
    assert told["get_online_features"]["l_string"][2] is None
    rows = told["online_read"]
    assert [row["s_float64"] for row in rows] == [None, None, ["double_val", "0.5"], ["double_val", "0.1"]]
    assert rows[3]["l_float32"] == ["float_list_val", "[3.5, 3.5]"] and rows[2]["l_int64"] is None
    # Its online_read reads bytes neither here nor at Feast's own server: it expects bytes where JSON has base64.
    lines = peer("read", str(repo), url_of(address), "edges", "1003", "l_bytes").splitlines()
    assert json.loads(lines[0])["get_online_features"]["l_bytes"] == [["AwD/", "AwD/"]]
    assert json.loads(lines[1]) == {"online_read": {"error": "TypeError"}}


def test_what_the_sdk_sees_of_an_expired_row(folder, repo, store, start_pilliond):
    """Rows: fresh, expired, missing. online_read looks at nothing but PRESENT, so that an expired row has no values for
    it, as a missing one; get_online_features shows the values of an expired row that is served, and hides the status.
    """
    cases = [  # keys of the listener, statuses, what get_online_features shows, what online_read shows
        ({}, ["PRESENT", "OUTSIDE_MAX_AGE", "NOT_FOUND"], [7, 8, None], [7, None, None]),
        ({"expired": "hide"}, ["PRESENT", "NOT_FOUND", "NOT_FOUND"], [7, None, None], [7, None, None]),
        # Feast's own server serves expired rows as if they were fresh.
        ({"statuses": "feast-python"}, ["PRESENT", "PRESENT", "NOT_FOUND"], [7, 8, None], [7, 8, None]),
    ]
    addresses = [f"tcp:127.0.0.1:{port}" for port in harness.free_ports(len(cases))]
    listen = [{"protocol": "feast", "address": a, **case[0]} for a, case in zip(addresses, cases)]
    config = folder / "expired.yaml"
    config.write_text(json.dumps({"listen": listen}))
    start_pilliond(store, serve=["conformance/hourly@production"], args=["--config", str(config)])
    for address, (keys, statuses, by_features, by_read) in zip(addresses, cases):
        body = {"entities": {"driver_id": [1000, 1001, 7]}, "features": ["hourly:trips", "hourly:rate"]}
        shown = columns_of(harness.http(address, "POST", "/get-online-features", body))
        assert shown["trips"]["statuses"] == shown["rate"]["statuses"] == statuses, keys
        told = {}
        for line in peer("read", str(repo), url_of(address), "hourly", "1000,1001,7", "trips", "rate").splitlines():
            told.update(json.loads(line))
        assert told["get_online_features"]["trips"] == by_features, keys
        read = [row["trips"] for row in told["online_read"]]
        assert read == [["int64_val", str(trip)] if trip is not None else None for trip in by_read], keys
