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
from pathlib import Path
from typing import Any

import faults
import harness
import pytest
import synthetic

VIEW = "rides/driver_stats"


def fetches(daemon: harness.Pilliond, result: str) -> float:
    return daemon.metrics().get(f'pillion_fetches_total{{view="{VIEW}",result="{result}"}}', 0.0)


def view_status(daemon: harness.Pilliond) -> dict[str, Any]:
    return harness.http(daemon.admin, "GET", "/status").json()["views"][0]


def value(daemon: harness.Pilliond) -> float:
    return float(daemon.redis().hget("driver_stats:5", "f3"))


def published(daemon: harness.Pilliond, since: int = 0) -> list[str]:
    """The releases that servers have published, in order."""
    return re.findall(r'event="release published" .*?release=(\w+)', daemon.log[since:])


@pytest.fixture
def injected(folder) -> faults.Faults:
    return faults.Faults(folder)


def kill_server(daemon: harness.Pilliond) -> None:
    old = daemon.child("server")
    os.kill(old, signal.SIGKILL)
    harness.wait_until("another server", lambda: daemon.child("server") != old)


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
            harness.wait_until("a refusal", lambda: view_status(daemon).get("refused", {}).get("release") ==
                               releases[turn] and fetches(daemon, "shortage") >= turn)
        assert fetches(daemon, "ok") == 1
        assert daemon.serving(refs[0])
    mark = len(daemon.log)
    kill_server(daemon)
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
        assert done.returncode == 1 and "it is shard 1 of 2" in said and "the manifest means shard 0 of 2" in said
    daemon = start_pilliond(store)
    point_at(store, bad)
    refused = harness.wait_until("a refusal", lambda: view_status(daemon).get("refused"))
    assert refused["result"] == "corrupt" and "the manifest means shard 0 of 2" in refused["why"]
    assert daemon.serving(good)
    assert view_status(daemon)["held_releases"] == 1  # nothing of it went past the fetcher
    mark = len(daemon.log)
    kill_server(daemon)
    harness.wait_until("what was served", lambda: published(daemon, mark))
    assert daemon.serving(good)
