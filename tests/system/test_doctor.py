# SPDX-License-Identifier: Apache-2.0
"""pillion doctor: it says what is there, notices what is taken away, and asks the daemon that runs."""

from __future__ import annotations

import json
import os
import re
import subprocess

import harness
import pytest


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
    assert found["live path"]["found"].startswith("1 mapped listener, 0 releases")
    assert found["sealed memory"]["verdict"] == found["mapped reads"]["verdict"] == "good"
    cores = found["cores"]["found"]
    assert f"{len(os.sched_getaffinity(0))} available" in cores or "cpu.max" in cores
    assert found["releases"] == {
        "what": "releases", "verdict": "good", "found": "every view serves what its channel wants", "remedy": ""}
    for finding in found.values():
        assert (finding["remedy"] == "") == (finding["verdict"] == "good"), finding
        assert finding["verdict"] != "unknown"


def test_it_notices_what_is_missing():
    nobody = f"tcp:127.0.0.1:{harness.free_port()}"
    limited = ("sh", "-c", 'ulimit -n 256; ulimit -l 64; exec "$@"', "sh")
    found = examine(nobody, code=3, prefix=limited)
    assert "need" in found["locked memory"]["found"] and "LimitMEMLOCK" in found["locked memory"]["remedy"]
    assert found["descriptors"]["verdict"] == "slower" and "LimitNOFILE" in found["descriptors"]["remedy"]
    assert found["locked memory"]["verdict"] == "slower"
    assert found["daemon"]["verdict"] == "unknown" and nobody in found["daemon"]["found"]


def test_it_looks_at_releases_that_are_wanted_and_not_served(store, start_pilliond):
    good = store.make_release(rows=100)
    daemon = start_pilliond(store, args=["--poll_interval", "50ms"])
    channel = store.path / "views/rides/driver_stats/channels/production.json"
    bad = store.make_release(rows=100, seed=2, channel=None)
    (store.path / "views/rides/driver_stats/releases" / f"{bad.rpartition('@')[2]}.json").write_text("{}")
    channel.write_text(channel.read_text().replace(good.rpartition("@")[2], bad.rpartition("@")[2]))
    admin = ["--admin", daemon.admin]
    harness.wait_until("refused", lambda: "rejected" in harness.run(
        [harness.program("pillion"), "status", *admin], code=None).stdout)
    found = examine(daemon.admin, code=1)
    assert found["releases"]["verdict"] == "broken" and "driver_stats: " in found["releases"]["found"]


def as_stranger() -> tuple[str, ...]:
    """A prefix for commands."""
    prefix = (harness.tool("setpriv"), "--reuid", "65534", "--regid", "65534", "--clear-groups")
    if harness.run([*prefix, harness.program("pillion"), "--version"], code=None).returncode != 0:
        pytest.skip("another user cannot reach the programs")
    return prefix


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_is_never_good():
    nobody = f"tcp:127.0.0.1:{harness.free_port()}"
    assert examine(nobody, code=3)["sandbox"]["verdict"] == "unsafe"
    assert examine(nobody, code=3, prefix=as_stranger())["sandbox"]["verdict"] == "good"


def test_what_is_broken_fails():
    """One free descriptor is enough to start and to seal memory, but not for a pair of sockets."""
    found = examine("tcp:127.0.0.1:1", code=1, prefix=("sh", "-c", 'ulimit -n 4; exec "$@"', "sh"))
    assert found["mapped reads"]["verdict"] == "broken" and found["mapped reads"]["remedy"]


def test_it_is_drawn():
    drawn = harness.run([harness.program("pillion"), "doctor"]).stdout
    assert "event loop" in drawn and "→" in drawn


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_hidden_processes_are_said(store, start_pilliond, folder):
    """By doctor, and by a daemon whose rules name cgroups; nobody else hears of it."""
    store.make_release(rows=100)
    hide = [harness.tool("unshare"), "-m", "sh", "-c", 'mount -t proc -o hidepid=2 proc /proc && exec "$@"', "sh"]
    stranger = as_stranger()
    if harness.run([*hide, "true"], code=None).returncode != 0:
        pytest.skip("mounting /proc is refused")
    found = examine("tcp:127.0.0.1:1", code=3, prefix=(*hide, *stranger))
    assert found["/proc"]["verdict"] == "slower" and "hidepid" in found["/proc"]["remedy"]
    assert "/proc" not in examine("tcp:127.0.0.1:1", code=3, prefix=stranger)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o644)
    config = folder / "config.yaml"
    rule = "serve:\n  - {view: rides/driver_stats, channel: production, read: {cgroups: [/nobody]}}\n"
    for text, is_said in ((rule, True), (rule.replace(", read: {cgroups: [/nobody]}", ""), False)):
        config.write_text(text)
        daemon = start_pilliond(store, serve=(), wrap=hide, args=["--config", str(config), "--user", "nobody"])
        said = re.findall('"the machine hides facts" why="/proc hides other processes .hidepid.*cgroups', daemon.log)
        assert len(said) == is_said, daemon.log
