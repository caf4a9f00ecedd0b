# SPDX-License-Identifier: Apache-2.0
"""Who may read a view, in every protocol, asked by processes of other users: two views, one of them for one user alone.

The clients are children of the test that give up root for the user that they play. Without root there is nobody else to
play, and the tests say so.
"""
from __future__ import annotations

import json
import multiprocessing
import os
import sys
from pathlib import Path
from typing import Any, Callable

import harness
import pytest

PYTHON = Path(__file__).resolve().parent.parent / "python"
sys.path.insert(0, str(PYTHON))
from mapped_reader import MappedClient, Refused  # noqa: E402

FRIEND, STRANGER = 61001, 61002
OPEN, CLOSED = "open_stats", "closed_stats"
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="other users can be played by root only")


def _child(pipe: Any, uid: int, ask: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
    try:
        pipe.send((True, ask(*arguments)))
    except BaseException as error:  # noqa: BLE001: whatever it was, the test shows it
        pipe.send((False, f"{type(error).__name__}: {error}"))


def as_user(uid: int, ask: Callable[..., Any], *arguments: Any) -> Any:
    """What `ask` returns in a process of that user."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_child, args=(theirs, uid, ask, arguments))
    process.start()
    assert ours.poll(harness.DEADLINE_S), "the other user's client does not answer"
    done, answer = ours.recv()
    process.join(harness.DEADLINE_S)
    assert done, answer
    return answer


def resp(address: str, *words: str) -> Any:
    """The reply as redis-cli prints it: errors as text."""
    where = ["-s", address[5:]] if address.startswith("unix:") else ["-p", address.rpartition(":")[2]]
    return harness.run([harness.tool("redis-cli"), *where, *words], code=None).stdout.strip()


def http(address: str, method: str, path: str, body: Any = None) -> tuple[int, str]:
    answer = harness.http(address, method, path, body)
    return answer.status, answer.text


@pytest.fixture
def daemon(store, start_pilliond, folder, engine):
    """Both views, and listeners of every protocol that any user may connect to, on Unix sockets and on TCP."""
    folder.chmod(0o755)
    for view in (OPEN, CLOSED):
        store.make_release(view=view, rows=20, seed=1)
    project = folder / "project.yaml"
    feature = "{name: f0, type: float32}"
    head = "project: rides\nentities:\n  - {name: id, join_key: id, type: int64}\nfeature_views:\n"
    project.write_text(head + "".join(
        f"  - name: {view}\n    entities: [id]\n    ttl: 0\n    features: [{feature}]\n"
        "    source: {type: parquet, path: none.parquet, timestamp_field: t}\n" for view in (OPEN, CLOSED))
        + f"feature_services:\n  - {{name: public, features: [{OPEN}]}}\n  - {{name: private, features: [{CLOSED}]}}\n")
    store.pillion("apply", str(project), "--force")
    names = {name: f"unix:{folder}/open-{name}.sock" for name in ("resp", "feast", "oip", "mapped")}
    names["tcp"], names["tcp_feast"] = (f"tcp:127.0.0.1:{port}" for port in harness.free_ports(2))
    protocols = {"tcp": "resp", "tcp_feast": "feast"}
    config = folder / "pilliond.yaml"
    listeners = "".join(f"  - {{protocol: {protocols.get(name, name)}, address: \"{address}\""
                        + (", mode: \"0666\"}\n" if address.startswith("unix:") else "}\n")
                        for name, address in names.items())
    config.write_text(f"serve:\n  - {{view: rides/{OPEN}, channel: production}}\n"
                      f"  - {{view: rides/{CLOSED}, channel: production, read: {{uids: [{FRIEND}]}}}}\n"
                      f"listen:\n{listeners}")
    started = start_pilliond(store, serve=[], args=["--config", str(config)], engine=engine)
    started.at = names
    return started


@pytest.mark.parametrize("listener", ["resp", "tcp"])
def test_resp(daemon, listener):
    address = daemon.at[listener]
    assert as_user(FRIEND, resp, address, "HGET", f"{CLOSED}:1", "f0") == "32.0"
    for words in (["HGET", f"{CLOSED}:1", "f0"], ["HGETALL", f"rides/{CLOSED}:1"], ["MGET", f"{OPEN}:1", f"{CLOSED}:1"],
                  ["EXISTS", f"{CLOSED}:1"], ["TTL", f"{CLOSED}:1"]):
        assert as_user(STRANGER, resp, address, *words).startswith("NOPERM you may not read view"), words
    assert as_user(STRANGER, resp, address, "PIL.PLAN", f"{CLOSED}:f0").startswith("NOPERM you may not read view")
    for user in (FRIEND, STRANGER):
        assert as_user(user, resp, address, "HGET", f"{OPEN}:1", "f0") == "32.0"
    keys = as_user(STRANGER, resp, address, "SCAN", "0", "COUNT", "1000")
    assert f"{OPEN}:1" in keys and CLOSED not in keys
    assert CLOSED in as_user(FRIEND, resp, address, "SCAN", "0", "COUNT", "1000")
    assert CLOSED not in as_user(STRANGER, resp, address, "INFO") and OPEN in as_user(STRANGER, resp, address, "INFO")
    assert CLOSED in as_user(FRIEND, resp, address, "INFO")
    assert as_user(STRANGER, resp, address, "DBSIZE") == "20" and as_user(FRIEND, resp, address, "DBSIZE") == "40"


@pytest.mark.parametrize("listener", ["feast", "tcp_feast"])
def test_feast(daemon, listener):
    address = daemon.at[listener]

    def ask(view: str) -> dict[str, Any]:
        return {"entities": {"id": [1]}, "features": [f"{view}:f0"]}

    status, body = as_user(FRIEND, http, address, "POST", "/get-online-features", ask(CLOSED))
    assert status == 200, body
    status, body = as_user(STRANGER, http, address, "POST", "/get-online-features", ask(CLOSED))
    assert status == 403 and "FeastPermissionError" in body and f"you may not read feature view {CLOSED}" in body
    both = {"entities": {"id": [1]}, "features": [f"{OPEN}:f0", f"{CLOSED}:f1"]}
    assert as_user(STRANGER, http, address, "POST", "/get-online-features", both)[0] == 403
    assert as_user(STRANGER, http, address, "POST", "/get-online-features", ask(OPEN))[0] == 200


def test_oip(daemon):
    address = daemon.at["oip"]
    body = {"inputs": [{"name": "id", "shape": [1], "datatype": "INT64", "data": [1]}]}

    def models(uid: int) -> list[str]:
        status, text = as_user(uid, http, address, "POST", "/v2/repository/index", {})
        assert status == 200, text
        return [model["name"] for model in json.loads(text)]

    assert models(FRIEND) == ["public", "private"] and models(STRANGER) == ["public"]
    assert as_user(FRIEND, http, address, "POST", "/v2/models/private/infer", body)[0] == 200
    assert as_user(STRANGER, http, address, "POST", "/v2/models/public/infer", body)[0] == 200
    for method, path in (("POST", "/infer"), ("GET", "/ready"), ("GET", "")):
        status, text = as_user(STRANGER, http, address, method, f"/v2/models/private{path}",
                               body if method == "POST" else None)
        assert status == 403 and "you may not read view" in text, (method, path)


def views_of(path: str) -> tuple[list[str], list[str]]:
    """Which views a mapped client is told of, and which it is granted."""
    client = MappedClient(path, "test")
    in_order = sorted(client.views.items(), key=lambda item: item[1])
    named = [name.partition("/")[2] for name, _ in in_order if name != "/"]
    granted = []
    for index, view in enumerate((OPEN, CLOSED)):
        try:
            client.acquire(index)
            granted.append(view)
        except Refused:
            pass
    client.close()
    return named, granted


def test_mapped(daemon):
    path = daemon.at["mapped"][5:]
    assert as_user(FRIEND, views_of, path) == ([OPEN, CLOSED], [OPEN, CLOSED])
    assert as_user(STRANGER, views_of, path) == ([OPEN], [OPEN])


def test_denied_values_are_counted(daemon):
    address = daemon.at["resp"]
    for _ in range(3):
        as_user(STRANGER, resp, address, "HGET", f"{CLOSED}:1", "f0")
    values = {key: value for key, value in daemon.metrics().items() if key.startswith("pillion_values_total")}
    assert values[f'pillion_values_total{{view="rides/{CLOSED}",status="denied"}}'] == 3
    assert values[f'pillion_values_total{{view="rides/{OPEN}",status="denied"}}'] == 0
