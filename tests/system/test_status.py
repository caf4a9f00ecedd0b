# SPDX-License-Identifier: Apache-2.0
"""Goal: a node that serves a release other than the wanted one, or only expired rows, or cannot answer a service, says
says so in /metrics, /status, `pillion status`, `pillion top` and `pillion doctor` alike. Method: a real project and
real releases are brought into each state, and out of it again."""

from __future__ import annotations

import datetime
import json
import sys
from pathlib import Path
from typing import Callable

import cli
import harness
import pytest
from cli import pillion

NOBODY = "0123456789abcdef"
VIEW = 'view="rides/driver_stats"'
PROJECT = cli.PROJECT.replace('type: parquet, path: "data/*.parquet"', "type: csv, path: rows.csv").replace(
    "      - {name: f1, type: float32}\n", "")


def build(store: harness.Store, folder: Path, days: list[int], project: str = PROJECT) -> str:
    """A release with one row of so many days ago for each of `days`; applied and promoted."""
    now = datetime.datetime.now(datetime.timezone.utc)
    features = [line.split("name: ")[1].split(",")[0] for line in project.splitlines() if "type: float32" in line]
    rows = [f"{number},{now - datetime.timedelta(days=day):%Y-%m-%dT%H:%M:%SZ}" + ",1" * len(features)
            for number, day in enumerate(days)]
    (folder / "rows.csv").write_text("\n".join([f"driver_id,event_timestamp,{','.join(features)}", *rows]) + "\n")
    (folder / "rides.yaml").write_text(project)
    done = harness.run([sys.executable, "-m", "pillion.build", folder / "rides.yaml", "--store", store.url,
                        "--promote", "production", "--json"])
    store.pillion("apply", str(folder / "rides.yaml"), "--force")
    return json.loads(done.stdout.splitlines()[0])["release"]


def shown(daemon: harness.Pilliond, command: str) -> str:
    return pillion(command, "--admin", daemon.admin, code=None).stdout


Start = Callable[..., harness.Pilliond]


def test_a_release_that_is_wanted_and_not_served_is_timed(
    store: harness.Store, start_pilliond: Start, folder: Path
) -> None:
    good = build(store, folder, [0])
    daemon = start_pilliond(store, args=["--poll_interval", "50ms"])
    gauge = f"pillion_release_behind_seconds{{{VIEW}}}"
    assert daemon.metrics()[gauge] == 0 and daemon.view_status()["behind_us"] == 0
    assert "driver_stats  " in shown(daemon, "top") and "ok\n" in shown(daemon, "top")
    channel = store.path / "views/rides/driver_stats/channels/production.json"
    document = json.loads(channel.read_text())
    channel.write_text(json.dumps({**document, "release": NOBODY, "sequence": document["sequence"] + 1}))
    harness.wait_until("it is wanted", lambda: daemon.view_status()["channel_release"] == NOBODY)
    first = harness.wait_until("it is timed", lambda: daemon.metrics()[gauge])
    harness.wait_until("time passes", lambda: daemon.metrics()[gauge] > first)
    assert daemon.view_status()["behind_us"] > 0 and daemon.view_status()["release"] == good
    line = f"the channel has wanted release {NOBODY} for "
    assert line in shown(daemon, "status") and line in shown(daemon, "doctor") and line in shown(daemon, "top")
    channel.write_text(json.dumps({**document, "sequence": document["sequence"] + 2}))
    harness.wait_until("it is served", lambda: daemon.metrics()[gauge] == 0)
    assert line not in shown(daemon, "status")


@pytest.mark.parametrize("days, expiry", [([0, 1], "none"), ([0, 30], "some"), ([8, 30], "all")])
def test_rows_past_their_ttl_are_told(
    store: harness.Store, start_pilliond: Start, folder: Path, days: list[int], expiry: str
) -> None:
    build(store, folder, days)
    daemon = start_pilliond(store)
    left = [daemon.redis().ttl(f"driver_stats:{key}") for key in range(2)]
    assert left.count(0) == {"none": 0, "some": 1, "all": 2}[expiry]  # the gauge says what clients see
    assert daemon.metrics()[f"pillion_release_past_ttl{{{VIEW}}}"] == (expiry == "all")
    assert daemon.metrics()[f"pillion_release_ttl_seconds{{{VIEW}}}"] == 7 * 86400
    view = daemon.view_status()
    assert view["past_ttl"] == expiry and view["ttl_us"] == 7 * 86400 * 10**6
    assert view["newest_event_us"] - view["oldest_event_us"] == (days[1] - days[0]) * 86400 * 10**6
    status, top, doctor = (shown(daemon, command) for command in ("status", "top", "doctor"))
    assert ("some rows are past the ttl of 7 d: the oldest event was 30 d ago" in status) == (expiry == "some")
    line = "every row is past the ttl of 7 d"
    assert (line in status) == (line in top) == (line in doctor) == (expiry == "all")
    assert ("past ttl\n" in top) == (expiry == "all")


def test_a_service_that_cannot_be_answered_is_told(store: harness.Store, start_pilliond: Start, folder: Path) -> None:
    wider = PROJECT.replace("      - {name: f0, type: float32}\n", "      - {name: f0, type: float32}\n"
                            "      - {name: f1, type: float32}\n").replace('["driver_stats:f0"]', '["driver_stats:f1"]')
    old = build(store, folder, [0])
    build(store, folder, [0], wider)
    daemon = start_pilliond(store, args=["--poll_interval", "50ms"])
    assert daemon.metrics()["pillion_services_unanswered"] == 0
    assert daemon.status()["services"] == {"answered": 1, "unanswered": 0}
    done = store.pillion("promote", f"rides/driver_stats@{old}", "--channel", "production", "--force")
    assert "f1" in done.stderr
    daemon.wait_serving(old)
    harness.wait_until("it is told", lambda: daemon.metrics()["pillion_services_unanswered"] == 1)
    why = f"rides/eta needs driver_stats:f1, which release {old} lacks"
    assert daemon.status()["services"] == {"answered": 0, "unanswered": 1, "why": why}
    assert f"1 service cannot be answered: {why}" in shown(daemon, "status")
    assert f"1 service cannot be answered: {why}" in shown(daemon, "top")
    assert why in shown(daemon, "doctor") and why in harness.http(daemon.admin, "GET", "/readyz?verbose").text
