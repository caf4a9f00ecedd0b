# SPDX-License-Identifier: Apache-2.0
"""Huge pages: what is fetched lies in them, as the kernel counts it, where the kernel can do that; and nothing else
changes. huge_pages: off leaves them alone."""

from __future__ import annotations

import os
import re
import signal

import harness
import pytest
import synthetic

ROWS = 120_000  # 40 features: over 20 MiB, of which all but the last part of 2 MiB can be huge


def kernel() -> tuple[int, int]:
    major, minor = re.match(r"(\d+)\.(\d+)", os.uname().release).groups()
    return int(major), int(minor)


def test_releases_lie_in_huge_pages(store, start_pilliond, engine):
    if kernel() < (6, 1):
        pytest.skip(f"Linux {os.uname().release} has no MADV_COLLAPSE")
    store.make_release(rows=ROWS, features=40)
    daemon = start_pilliond(store, engine=engine)
    pattern = r'event="release handed over".* bytes=(\d+) .*huge_bytes=(\d+)'
    found = harness.wait_until("the fetcher's word", lambda: re.search(pattern, daemon.log))
    total, huge = map(int, found.groups())
    assert huge == total // (2 << 20) * (2 << 20)
    harness.wait_until("the server maps them", lambda: daemon.metrics()["pillion_huge_page_bytes"] == huge)
    client = daemon.redis()
    for key in (0, 1, ROWS // 2, ROWS - 1):
        assert float(client.hget(f"driver_stats:{key}", "f39")) == synthetic.value("floats", key, 39, 1)
    # The next release takes their place; the memory of the one before is kept, but not mapped.
    release = store.make_release(rows=1000, features=40, seed=2)
    daemon.wait_serving(release)
    harness.wait_until("they are unmapped", lambda: daemon.metrics()["pillion_huge_page_bytes"] == 0)


def test_huge_pages_off(store, start_pilliond):
    store.make_release(rows=ROWS, features=40)
    daemon = start_pilliond(store, args=["--huge-pages", "off"])
    harness.wait_until("the fetcher's word", lambda: "huge_bytes=0" in daemon.log)
    assert daemon.metrics()["pillion_huge_page_bytes"] == 0
    assert float(daemon.redis().hget("driver_stats:5", "f0")) == synthetic.value("floats", 5, 0, 1)


def policy(pid: int) -> int:
    """Scheduling policy: field 41 of /proc/PID/stat (proc(5))."""
    return int(open(f"/proc/{pid}/stat", encoding="ascii").read().rpartition(")")[2].split()[38])


def is_background(pid: int) -> bool:
    """As far back as asked for; a daemon that was started further back stays there."""
    nice = max(5, os.getpriority(os.PRIO_PROCESS, 0))
    return policy(pid) == os.SCHED_BATCH and os.getpriority(os.PRIO_PROCESS, pid) == nice


def test_what_is_served_is_replaced_in_the_background(store, start_pilliond):
    daemon = start_pilliond(store, ready=False)
    fetcher = harness.wait_until("a fetcher", lambda: daemon.child("fetcher"))
    assert policy(fetcher) == os.SCHED_OTHER  # nothing is served yet: urgent
    store.make_release(rows=100)
    harness.wait_until("background", lambda: is_background(fetcher))
    assert policy(daemon.child("server")) == os.SCHED_OTHER
    daemon.wait_serving(store.make_release(rows=100, seed=2))
    os.kill(fetcher, signal.SIGKILL)
    again = harness.wait_until("another fetcher", lambda: (pid := daemon.child("fetcher")) != fetcher and pid)
    harness.wait_until("in the background at once", lambda: is_background(again))
    daemon.wait_serving(store.make_release(rows=100, seed=3))


def test_a_daemon_that_is_nicer_already_fetches_in_the_background_too(store, start_pilliond):
    """It may not raise its priority to that of the background, and need not."""
    store.make_release(rows=100)
    daemon = start_pilliond(store, wrap=[harness.tool("nice"), "-n", "12"])
    nice = min(19, os.getpriority(os.PRIO_PROCESS, 0) + 12)
    harness.wait_until("background", lambda: policy(daemon.child("fetcher")) == os.SCHED_BATCH)
    daemon.wait_serving(store.make_release(rows=100, seed=2))
    assert os.getpriority(os.PRIO_PROCESS, daemon.child("fetcher")) == nice
    assert "at normal priority" not in daemon.log


def test_normal_fetch_priority(store, start_pilliond):
    store.make_release(rows=100)
    daemon = start_pilliond(store, args=["--fetch-priority", "normal"])
    daemon.wait_serving(store.make_release(rows=100, seed=2))
    assert policy(daemon.child("fetcher")) == os.SCHED_OTHER
