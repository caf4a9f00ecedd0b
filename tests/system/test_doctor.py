# SPDX-License-Identifier: Apache-2.0
"""pillion doctor: it says what is there, notices what is taken away, and asks the daemon that runs."""

from __future__ import annotations

import json
import os
import subprocess

import harness


def examine(admin: str, code: int = 0, prefix: tuple[str, ...] = ()) -> dict[str, dict[str, str]]:
    argv = [*prefix, harness.program("pillion"), "doctor", "--admin", admin, "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return {finding["what"]: finding for finding in json.loads(done.stdout)["findings"]}


def test_it_says_what_the_daemon_takes(store, start_pilliond, engine, folder):
    store.make_release(rows=100)
    daemon = start_pilliond(store, engine=engine, args=["--listen", f"mapped=unix:{folder}/mapped.sock"])
    found = examine(daemon.admin)
    assert found["daemon"]["verdict"] == "good" and engine in found["daemon"]["found"]
    assert found["live path"]["found"].startswith("1 mapped listeners, 0 releases")
    assert found["sealed memory"]["verdict"] == found["mapped reads"]["verdict"] == "good"
    assert f"{len(os.sched_getaffinity(0))} are ours" in found["cores"]["found"] or "cpu.max" in found["cores"]["found"]
    for finding in found.values():
        assert (finding["remedy"] == "") == (finding["verdict"] == "good"), finding


def test_it_notices_what_is_missing():
    nobody = f"tcp:127.0.0.1:{harness.free_port()}"
    limited = ("sh", "-c", 'ulimit -n 256; ulimit -l 64; exec "$@"', "sh")
    found = examine(nobody, prefix=limited)
    assert found["descriptors"]["verdict"] == "slower" and "LimitNOFILE" in found["descriptors"]["remedy"]
    assert found["locked memory"]["verdict"] == "slower"
    assert found["daemon"]["verdict"] == "slower" and nobody in found["daemon"]["found"]


def test_what_is_broken_fails():
    """One free descriptor is enough to start and to seal memory, but not for a pair of sockets."""
    found = examine("tcp:127.0.0.1:1", code=1, prefix=("sh", "-c", 'ulimit -n 4; exec "$@"', "sh"))
    assert found["mapped reads"]["verdict"] == "broken" and found["mapped reads"]["remedy"]


def test_it_is_drawn():
    drawn = harness.run([harness.program("pillion"), "doctor"]).stdout
    assert "event loop" in drawn and "→" in drawn
