# SPDX-License-Identifier: Apache-2.0
"""Feast's HTTP API: byte shapes of Feast 0.67's own server, statuses and their modes, errors, hostile HTTP; and the
unmodified SDK, which must see the same frames here as at Feast's own server over the same data.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

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
        daemon.feast, "POST", "//get-online-features?project=x", json.dumps(body), {"content-type": "text/plain"}
    )
    assert answer.json()["metadata"]["feature_names"] == [
        "id",
        "driver_stats__f0",
        "driver_stats__f1",
        "driver_stats__f2",
    ]
    assert harness.http(daemon.feast, "GET", "/health").status == 200
    assert harness.http(daemon.feast, "GET", "/get-online-features").status == 405
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
    "request_bytes",
    [
        b"POST /get-online-features HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        b"POST /get-online-features HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n"
        b"content-length: 2\r\n\r\n{}",
        b"POST /get-online-features HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
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
    got = b""
    while got.count(b"HTTP/1.1 200 OK") < 40 or not got.endswith(b"\r\n\r\n"):
        got += sock.recv(65536)
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


def wait_health(url_port: int, process: subprocess.Popen[bytes]) -> None:
    def healthy() -> bool:
        assert process.poll() is None, "feast serve ended"
        return harness.http(f"tcp:127.0.0.1:{url_port}", "GET", "/health").status == 200

    harness.wait_until("feast serve", healthy, 120)


def test_the_sdk_sees_the_same_frames_here_and_at_feast_s_server(folder, store, start_pilliond):
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
    daemon = start_pilliond(store, serve=["conformance/everything@production", "conformance/by_city@production"])
    port = harness.free_port()
    server = subprocess.Popen(
        [str(FEAST_PYTHON.with_name("feast")), "serve", "-h", "127.0.0.1", "-p", str(port), "--no-access-log"],
        cwd=repo,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_health(port, server)
        theirs = peer("ask", str(repo), f"http://127.0.0.1:{port}").splitlines()
    finally:
        server.terminate()
        server.wait(30)
    ours = peer("ask", str(repo), f"http://127.0.0.1:{daemon.feast.rpartition(':')[2]}").splitlines()
    assert len(ours) == len(theirs) == 8
    for number, (mine, real) in enumerate(zip(ours, theirs)):
        assert json.loads(mine) == json.loads(real), f"question {number}"
