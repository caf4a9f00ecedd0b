# SPDX-License-Identifier: Apache-2.0
"""What is fresh and what is stale, when somebody sets the clock of the machine."""

from __future__ import annotations

import os
import struct
import time

import harness


def test_steps_of_the_wall_clock_change_neither_readiness_nor_staleness(store, start_pilliond, folder):
    store.make_release(rows=10, seed=1)
    clock = folder / "clock"

    def step(hours):
        with open(clock, "r+b") as file:
            file.write(struct.pack("<q", hours * 3600))

    def readiness():
        return harness.http(daemon.admin, "GET", "/readyz").status

    clock.write_bytes(bytes(8))
    options = os.environ.get("ASAN_OPTIONS", "")
    daemon = start_pilliond(
        store,
        args=["--staleness_bound", "1s", "--poll_interval", "100ms"],
        env={
            "LD_PRELOAD": harness.program("libshift_clock.so"),
            "PIL_CLOCK_FILE": str(clock),
            "ASAN_OPTIONS": f"{options}:verify_asan_link_order=0".lstrip(":"),
        },
    )
    for hours in (2, -2, 0):
        step(hours)
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            assert readiness() == 200
        assert abs(daemon.status()["now_us"] / 1e6 - time.time() - hours * 3600) < 60  # the step was taken
    (store.path / "views").rename(store.path / "hidden")
    step(-2)
    harness.wait_until("not ready", lambda: readiness() == 503)
    step(2)
    (store.path / "hidden").rename(store.path / "views")
    harness.wait_until("ready again", lambda: readiness() == 200)
