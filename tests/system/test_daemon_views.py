# SPDX-License-Identifier: Apache-2.0
"""Views come and go by reload: no restart, nobody else notices, and a view that is gone leaves nothing behind.

Values are those of make_release's kind "floats" (test_daemon.py).
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any, Sequence

import harness
import pytest
import redis
from test_daemon import ROWS, Load, expected

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "python"))
from mapped_reader import MappedClient, Refused  # noqa: E402

STATS, OTHER = "rides/driver_stats@production", "rides/other@production"


class Served:
    """A daemon whose views stand in its file."""

    def __init__(self, folder: Path, store: harness.Store, start: Any, serve: Sequence[str], extra: str = "",
                 **options: Any):
        self.config, self.extra = folder / "pilliond.yaml", extra
        self.write(serve)
        self.daemon = start(store, serve=(), args=["--config", str(self.config)], **options)

    def write(self, serve: Sequence[str]) -> None:
        lines = ["serve:"]
        for view in serve:
            name, _, channel = view.partition("@")
            lines.append(f"  - {{view: {name}, channel: {channel}}}")
        self.config.write_text("\n".join([*lines, self.extra, ""]))

    def reload(self, serve: Sequence[str]) -> None:
        """Returns when the server has it."""
        before = self.daemon.log.count("event=reloaded")
        self.write(serve)
        self.daemon.signal(signal.SIGHUP)
        harness.wait_until("the reload", lambda: self.daemon.log.count("event=reloaded") > before)
        harness.wait_until("the views", lambda: self.views() == sorted(view.partition("@")[0] for view in serve))

    def views(self) -> list[str]:
        """As /status tells."""
        return sorted(f"{v['project']}/{v['view']}" for v in self.daemon.status()["views"])


def refusal(daemon: harness.Pilliond, key: str) -> str:
    with pytest.raises(redis.ResponseError) as raised:
        daemon.redis().hget(key, "f0")
    return str(raised.value)


def get(daemon: harness.Pilliond, key: str, feature: str = "f0") -> float | None:
    """None: the view has no release yet."""
    try:
        return float(daemon.redis().hget(key, feature))
    except redis.ResponseError as error:
        if not str(error).startswith("NOTREADY "):
            raise
        return None


def test_a_view_is_added_and_removed_under_load(folder, store, start_pilliond, engine):
    store.make_release(rows=ROWS, seed=1)
    other = store.make_release(view="other", rows=100, seed=5)
    served = Served(folder, store, start_pilliond, [STATS], engine=engine, workers=2)
    daemon = served.daemon
    unknown = refusal(daemon, "other:1")
    load = Load(daemon, {1, 2})
    load.start()
    server, fetcher = daemon.child("server"), daemon.child("fetcher")
    for _ in range(3):
        served.reload([STATS, OTHER])
        daemon.wait_serving(other, "rides/other")
        assert get(daemon, "other:7", "f1") == expected(7, 1, 5)
        assert daemon.online_features({"id": [7]}, ["other:f1"]).json()["results"][-1]["values"] == [expected(7, 1, 5)]
        served.reload([STATS])
        assert refusal(daemon, "other:1") == unknown
        assert daemon.online_features({"id": [7]}, ["other:f1"]).status == 404
    daemon.wait_serving(store.make_release(rows=ROWS, seed=2))  # the others go on as ever
    harness.wait_until("the swap", lambda: 2 in load.seen)
    load.finish()
    assert load.reconnects == 0
    assert daemon.child("server") == server
    assert daemon.child("fetcher") != fetcher  # another set of views is another fetcher's
    assert daemon.metrics().get('pillion_process_restarts_total{process="fetcher"}', 0) == 0
    assert "restarting" not in daemon.log


def test_a_removed_view_is_listed_nowhere(folder, store, start_pilliond):
    store.make_release(rows=10, seed=1)
    store.make_release(view="other", rows=10, seed=1)
    served = Served(folder, store, start_pilliond, [STATS, OTHER])
    daemon = served.daemon
    daemon.redis().hget("other:1", "f0")

    def gauges() -> list[str]:
        return [name for name in daemon.metrics() if 'view="rides/other"' in name and "_total" not in name
                and "duration" not in name]

    assert gauges()
    served.reload([STATS])
    harness.wait_until("no gauges", lambda: not gauges())
    assert "other" not in harness.http(daemon.admin, "GET", "/readyz?verbose").text
    assert not any(key.startswith(b"other") for key in daemon.redis().scan_iter(count=100))
    assert "other" not in str(daemon.redis().info("everything"))
    assert daemon.redis().dbsize() == 10
    assert harness.http(daemon.oip, "GET", "/v2/health/ready").status == 200


def test_the_memory_of_a_removed_view_is_free(folder, store, start_pilliond):
    store.make_release(rows=10000, seed=1)
    store.make_release(view="other", rows=30000, seed=1)
    served = Served(folder, store, start_pilliond, [STATS, OTHER], "memory_budget: 4M\nkeep_releases: 1")
    daemon = served.daemon
    larger = store.make_release(rows=35000, seed=2)
    refused = harness.wait_until("the refusal", lambda: daemon.view_status().get("refused"))
    assert refused["result"] == "will_not_fit"
    served.reload([STATS])
    daemon.wait_serving(larger)
    assert daemon.view_status()["held_bytes"] < 4 << 20
    if os.geteuid() == 0:
        maps = Path(f"/proc/{daemon.child('server')}/maps").read_text()
        releases = {line.split("memfd:pillion-")[1][:16] for line in maps.splitlines() if "memfd:pillion-" in line
                    and "control" not in line and "catalog" not in line}
        assert releases == {larger.rpartition("@")[2]}


def test_a_view_without_a_release_takes_readiness_from_nobody(folder, store, start_pilliond):
    store.make_release(rows=10, seed=1)
    served = Served(folder, store, start_pilliond, [STATS])
    daemon = served.daemon
    served.reload([STATS, OTHER])
    harness.wait_until(
        "the term", lambda: "added by a reload" in harness.http(daemon.admin, "GET", "/readyz?verbose").text
    )
    assert harness.http(daemon.admin, "GET", "/readyz").status == 200
    assert refusal(daemon, "other:1") == "NOTREADY view rides/other has no release yet"
    daemon.wait_serving(store.make_release(view="other", rows=10, seed=3), "rides/other")
    assert get(daemon, "other:1") == expected(1, 0, 3)
    assert harness.http(daemon.admin, "GET", "/readyz").status == 200


def test_children_that_start_anew_know_the_views_of_the_reload(folder, store, start_pilliond):
    store.make_release(rows=10, seed=1)
    store.make_release(view="other", rows=10, seed=2)
    store.make_release(view="third", rows=10, seed=3)
    served = Served(folder, store, start_pilliond, [STATS, "rides/third@production"])
    daemon = served.daemon
    served.reload([STATS, OTHER])
    harness.wait_until("the other", lambda: get(daemon, "other:1") == expected(1, 0, 2))
    for child in ("server", "fetcher"):
        before = daemon.child(child)
        os.kill(before, signal.SIGKILL)
        harness.wait_until("a new child", lambda: daemon.child(child) not in (before, None))
        harness.wait_until("the views", lambda: served.views() == ["rides/driver_stats", "rides/other"])
        harness.wait_until("an answer", lambda: get(daemon, "other:1") == expected(1, 0, 2))
        harness.wait_until("the refusal", lambda: "third" in refusal(daemon, "third:1"))
    daemon.wait_serving(store.make_release(view="other", rows=10, seed=4), "rides/other")


def test_another_project_comes_and_goes(folder, store, start_pilliond):
    store.make_release(rows=10, seed=1)
    store.make_release(project="shops", view="sales", rows=10, seed=2)
    served = Served(folder, store, start_pilliond, [STATS])
    daemon = served.daemon
    served.reload([STATS, "shops/sales@production"])
    harness.wait_until("an answer", lambda: get(daemon, "shops/sales:1") == expected(1, 0, 2))
    assert get(daemon, "rides/driver_stats:1") == expected(1, 0, 1)
    served.reload([STATS])
    assert get(daemon, "driver_stats:1") == expected(1, 0, 1)  # one project again: its name may be left out
    assert refusal(daemon, "shops/sales:1")


def test_what_a_reload_cannot_take_is_named(folder, store, start_pilliond):
    store.make_release(rows=10, seed=1)
    store.make_release(rows=10, seed=2, channel="staging")
    served = Served(folder, store, start_pilliond, [STATS])
    daemon = served.daemon
    served.reload(["rides/driver_stats@staging"])
    harness.wait_until("the warning", lambda: "options=serve" in daemon.log)
    assert get(daemon, "driver_stats:1") == expected(1, 0, 1)
    # In two steps it is another view of the same name.
    store.make_release(view="other", rows=10, seed=1)
    served.reload([OTHER])
    served.reload(["rides/driver_stats@staging"])
    harness.wait_until("the other channel", lambda: get(daemon, "driver_stats:1") == expected(1, 0, 2))
    served.reload([OTHER])
    served.reload([STATS])
    harness.wait_until("the first one", lambda: get(daemon, "driver_stats:1") == expected(1, 0, 1))


def test_mapped_clients_learn_of_views_that_come_and_go(folder, store, start_pilliond):
    store.make_release(rows=10, seed=1)
    other = store.make_release(view="other", rows=40000, features=20, seed=2)
    path = folder / "mapped.sock"
    listen = f'listen:\n  - {{protocol: mapped, address: "unix:{path}"}}'
    served = Served(folder, store, start_pilliond, [STATS], listen)
    daemon = served.daemon
    client = MappedClient(str(path))
    assert [view["name"] for view in client.catalog()["views"]] == ["driver_stats"]
    served.reload([STATS, OTHER])
    daemon.wait_serving(other, "rides/other")
    assert [view["name"] for view in client.catalog()["views"]] == ["driver_stats", "other"]
    client.views["rides/other"] = 1  # the catalog's index; this client reads it once
    value = client.read("rides/other", [3])
    assert value["f0"] == expected(3, 0, 2)
    served.reload([STATS])
    assert [view["name"] for view in client.catalog()["views"]] == ["driver_stats", ""]
    assert client.generation(1) == 0
    with pytest.raises(Refused, match="not served any more"):
        client.acquire(1)
    pinned = 'pillion_mapped_pinned_bytes{view="rides/other"}'
    harness.wait_until("it is pinned", lambda: daemon.metrics().get(pinned, 0) > 0)
    client.drop(1)
    harness.wait_until("it is not", lambda: pinned not in daemon.metrics())
    assert client.read("rides/driver_stats", [3])["f0"] == expected(3, 0, 1)
    served.reload([STATS, OTHER])
    daemon.wait_serving(other, "rides/other")
    assert client.read("rides/other", [3]) == value
    assert client.generation(1) == 2
