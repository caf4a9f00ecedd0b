# SPDX-License-Identifier: Apache-2.0
"""Goal: what is live is what the server says that it serves. A release, or a project, that it could not take changes
nothing, is reported as not taken, comes again by itself, and is not what the next server gets; shards that make no
release are refused before they reach the server at all."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import sys
from pathlib import Path

import faults
import harness
import pytest
import synthetic

sys.path.insert(0, str(harness.ROOT / "tests" / "python"))
from mapped_reader import MappedClient, Refused  # noqa: E402

VIEW = "rides/driver_stats"


def fetches(daemon: harness.Pilliond, result: str) -> float:
    return daemon.metrics().get(f'pillion_fetches_total{{view="{VIEW}",result="{result}"}}', 0.0)


def value(daemon: harness.Pilliond) -> float:
    return float(daemon.redis().hget("driver_stats:5", "f3"))


def published(daemon: harness.Pilliond, since: int = 0) -> list[str]:
    """The releases that servers have published, in order."""
    return re.findall(r'event="release published" .*?release=(\w+)', daemon.log[since:])


@pytest.fixture
def injected(folder) -> faults.Faults:
    return faults.Faults(folder)


def test_a_release_that_the_server_could_not_take_is_not_live(store, start_pilliond, injected):
    """Neither one nor two such promotions push out what is served, for a crash of the server, either."""
    refs = [store.make_release(rows=200, seed=seed, channel=None) for seed in (1, 2, 3)]
    releases = [ref.rpartition("@")[2] for ref in refs]
    store.promote(refs[0])
    daemon = start_pilliond(store, env=injected.env, args=["--poll_interval", "1h", "--keep_releases", "2"])
    harness.wait_until("success", lambda: fetches(daemon, "ok") == 1)
    with injected.armed("server", "call", 1, span=10**6, call="mmap", obj="pilliond"):
        for turn, ref in enumerate(refs[1:], start=1):
            store.promote(ref)
            harness.wait_until("a refusal", lambda: daemon.view_status().get("refused", {}).get("release") ==
                               releases[turn] and fetches(daemon, "shortage") >= turn)
        assert fetches(daemon, "ok") == 1
        assert daemon.serving(refs[0])
    mark = len(daemon.log)
    daemon.kill_server()
    harness.wait_until("what was served", lambda: published(daemon, mark))
    assert published(daemon, mark)[0] == releases[0]
    daemon.wait_serving(refs[2])  # it comes by itself
    harness.wait_until("success, once it is served", lambda: fetches(daemon, "ok") == 1)  # of the new server's count
    assert releases[1] not in published(daemon)


def test_a_server_that_ends_while_it_takes_a_release_costs_nothing(store, start_pilliond, injected):
    """It is killed between the offer and its answer, once for each of three promotions."""
    ref = store.make_release(rows=200, seed=1)
    daemon = start_pilliond(store, env=injected.env, args=["--poll_interval", "1h"])
    for seed in (2, 3):
        with injected.armed("server", "call", 1, call="mmap", obj="pilliond", stalls=True):
            newest = store.make_release(rows=200, seed=seed)
            harness.wait_until("the server is at it", lambda: injected.fired > 0)
            mark = len(daemon.log)
            os.kill(daemon.child("server"), signal.SIGKILL)
        harness.wait_until("both", lambda: len(published(daemon, mark)) >= 2)
        assert published(daemon, mark)[:2] == [ref.rpartition("@")[2], newest.rpartition("@")[2]]
        assert "the server ended before it served the release" in daemon.log[mark:]
        assert value(daemon) == synthetic.value("floats", 5, 3, seed)
        ref = newest


# ---- Sound shards in the wrong order

def swap_shards(store: harness.Store, ref: str) -> str:
    """A manifest of its own, with a true release id, that names the shards of `ref` the other way round."""
    folder = store.path / "views" / VIEW / "releases"
    manifest = json.loads((folder / f"{ref.rpartition('@')[2]}.json").read_text())
    manifest["shards"].reverse()
    schema = json.dumps(manifest["schema"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    lines = [VIEW, schema, *(shard["id"] for shard in manifest["shards"])]
    manifest["release"] = hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()[:16]
    (folder / f"{manifest['release']}.json").write_text(json.dumps(manifest))
    return f"{VIEW}@{manifest['release']}"


def point_at(store: harness.Store, ref: str) -> None:
    """As somebody would who writes channels without `pillion`."""
    path: Path = store.path / "views" / VIEW / "channels" / "production.json"
    channel = json.loads(path.read_text())
    channel["release"] = ref.rpartition("@")[2]
    channel["sequence"] += 1
    path.with_suffix(".new").write_text(json.dumps(channel))
    path.with_suffix(".new").rename(path)


def test_shards_in_the_wrong_order_are_refused_by_everybody(store, start_pilliond):
    good = store.make_release(rows=2000, seed=1, args=["--shard-bits", "1"])
    bad = swap_shards(store, store.make_release(rows=2000, seed=2, channel=None, args=["--shard-bits", "1"]))
    for command in (["promote", bad, "--channel", "production"], ["pin", bad, "--channel", "production"],
                    ["verify", bad]):
        done = store.pillion(*command, code=None)
        said = done.stdout + done.stderr
        assert done.returncode == (1 if command[0] == "verify" else 4)  # found by what looks for it, or in the way
        assert "it is shard 1 of 2" in said and "the manifest means shard 0 of 2" in said
    daemon = start_pilliond(store)
    point_at(store, bad)
    refused = harness.wait_until("a refusal", lambda: daemon.view_status().get("refused"))
    assert refused["result"] == "corrupt" and "the manifest means shard 0 of 2" in refused["why"]
    assert daemon.serving(good)
    assert daemon.view_status()["held_releases"] == 1  # nothing of it went past the fetcher
    mark = len(daemon.log)
    daemon.kill_server()
    harness.wait_until("what was served", lambda: published(daemon, mark))
    assert daemon.serving(good)


# ---- Projects

def project_path(store: harness.Store) -> Path:
    return store.path / "projects" / "rides.json"


def replace(path: Path, content: str) -> None:
    path.with_suffix(".new").write_text(content)
    path.with_suffix(".new").rename(path)


def serve_mapped(folder: Path) -> dict[str, str]:
    return {"mapped": f"unix:{folder}/mapped.sock", "resp": f"unix:{folder}/resp.sock",
            "admin": f"unix:{folder}/admin.sock"}


def why_not_mapped(folder: Path) -> str:
    try:
        MappedClient(str(folder / "mapped.sock"), "test").current(VIEW)
    except Refused as refusal:
        return str(refusal)
    return ""


BAD_DOCUMENTS = {
    "no JSON": (lambda text: text[:50], "not JSON"),
    "another project's": (lambda text: text.replace('"project":"rides"', '"project":"other"'), "project other"),
    "too large": (lambda text: text.rstrip()[:-1] + ',"more":"' + "x" * (4 << 20) + '"}', "at most 4194304 are read"),
}


@pytest.mark.parametrize("what", BAD_DOCUMENTS)
def test_a_document_that_cannot_be_used_opens_nothing_and_stops_nothing(folder, store, start_pilliond, what):
    store.make_release(rows=100)
    good = project_path(store).read_text()
    spoil, why = BAD_DOCUMENTS[what]
    replace(project_path(store), spoil(good))
    daemon = start_pilliond(store, listen=serve_mapped(folder), ready=False)
    daemon.admin, daemon.resp_unix = f"unix:{folder}/admin.sock", f"unix:{folder}/resp.sock"
    harness.wait_until("a release", lambda: daemon.view_status().get("release"))
    assert "it is regulated" in why_not_mapped(folder)
    assert why in daemon.view_status()["project_refused"]
    assert daemon.metrics()[f'pillion_project_refused{{view="{VIEW}"}}'] == 1
    assert value(daemon) == synthetic.value("floats", 5, 3, 1)
    replace(project_path(store), good)
    harness.wait_until("the good one", lambda: why_not_mapped(folder) == "")
    assert "project_refused" not in daemon.view_status()
    replace(project_path(store), spoil(good))
    harness.wait_until("a refusal", lambda: why in daemon.view_status().get("project_refused", ""))
    assert why_not_mapped(folder) == ""  # the one before is in force
    replace(project_path(store), "[]")
    harness.wait_until("another reason", lambda: why not in daemon.view_status()["project_refused"])
    replace(project_path(store), spoil(good))
    harness.wait_until("the first one again", lambda: why in daemon.view_status()["project_refused"])
    daemon.kill_server()
    harness.wait_until("a refusal, by the next server", lambda: why in daemon.view_status().get("project_refused", ""))
    harness.wait_until("the one before, at the next server", lambda: why_not_mapped(folder) == "")
    replace(project_path(store), good)
    harness.wait_until("it is the newest again", lambda: "project_refused" not in daemon.view_status())


def test_where_no_project_was_ever_applied_nothing_is_regulated(folder, store, start_pilliond):
    store.make_release(rows=100)
    project_path(store).unlink()
    (store.path / "applied" / project_path(store).name).unlink()
    start_pilliond(store, listen=serve_mapped(folder))
    harness.wait_until("a grant", lambda: why_not_mapped(folder) == "")


def test_a_project_that_is_gone_is_not_one_that_was_never_applied(folder, store, start_pilliond):
    ref = store.make_release(rows=100)
    document = project_path(store).read_text()
    project_path(store).unlink()
    daemon = start_pilliond(store, listen=serve_mapped(folder))
    daemon.admin = f"unix:{folder}/admin.sock"
    refused = harness.wait_until("it is said", lambda: daemon.view_status().get("project_refused"))
    assert refused == "projects/rides.json is gone, and the project was applied; apply it again"
    assert "it is regulated" in why_not_mapped(folder)
    done = store.pillion("promote", ref, "--channel", "staging", code=4)
    assert "projects/rides.json is gone, and the project was applied; apply it again" in done.stderr
    assert "projects/rides.json is gone" in store.pillion("verify", store.url, code=1).stdout
    replace(project_path(store), document)
    harness.wait_until("a grant", lambda: why_not_mapped(folder) == "")


def test_a_hostile_document_does_not_reach_the_server(store, start_pilliond):
    """A member that nobody knows: the fetcher reads it, and the server gets a document without it."""
    store.make_release(rows=100)
    daemon = start_pilliond(store)
    project = json.loads(project_path(store).read_text())
    project["more"] = [[]] * 500_000
    project["project"]["feature_services"] = [{"name": "new", "features": [f"{VIEW.rpartition('/')[2]}:f0"]}]
    replace(project_path(store), json.dumps(project))
    harness.wait_until("the new service", lambda: 'event="services gone' in daemon.log)
    assert daemon.view_status()["services_gone"]
    held = f"/proc/{daemon.pid}/fd"  # the supervisor keeps what it has passed on, for the next server
    sizes = {os.stat(f"{held}/{fd}").st_size for fd in os.listdir(held)
             if "pillion-blob" in os.readlink(f"{held}/{fd}")}
    assert sizes and max(sizes) < 100_000
    assert "child ended" not in daemon.log


def test_a_document_on_which_the_server_ends_is_set_aside(store, start_pilliond, injected):
    store.make_release(rows=100)
    daemon = start_pilliond(store, env=injected.env)
    project = json.loads(project_path(store).read_text())
    project["project"]["feature_views"][0]["ttl"] = 12345
    with injected.armed("server", "call", 1, call="mmap", obj="pilliond", stalls=True):
        replace(project_path(store), json.dumps(project))
        harness.wait_until("the server is at it", lambda: injected.fired > 0)
        os.kill(daemon.child("server"), signal.SIGKILL)
    refused = harness.wait_until("it is said", lambda: daemon.view_status().get("project_refused"))
    assert "which is set aside" in refused
    assert 'event="project set aside"' in daemon.log
    assert value(daemon) == synthetic.value("floats", 5, 3, 1)
    project["project"]["feature_views"][0]["ttl"] = 23456
    replace(project_path(store), json.dumps(project))
    harness.wait_until("another one is taken", lambda: "project_refused" not in daemon.view_status())
