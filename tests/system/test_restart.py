# SPDX-License-Identifier: Apache-2.0
"""A killed server comes back from the releases that the supervisor holds: how long that takes is printed, not
asserted. Sockets have the mode that was asked for, and an unprivileged user is enough."""

from __future__ import annotations

import os
import pwd
import re
import signal
import stat
import time
from pathlib import Path

import harness
import pytest


def restart_ms(daemon: harness.Pilliond) -> tuple[float, float]:
    """Milliseconds from the new process's start to its first answer, and from the kill."""
    old = daemon.child("server")
    killed = time.monotonic()
    os.kill(old, signal.SIGKILL)
    while True:
        try:
            with harness.connect(daemon.resp_unix, 5) as sock:
                sock.sendall(b"HGET driver_stats:7 f0\r\n")
                if sock.recv(100).startswith(b"$"):
                    break
        except OSError:
            pass
    answered = time.monotonic()
    ticks = int(Path(f"/proc/{daemon.child('server')}/stat").read_text().rpartition(")")[2].split()[19])
    started = ticks / os.sysconf("SC_CLK_TCK") - time.clock_gettime(time.CLOCK_BOOTTIME) + time.monotonic()
    return 1000 * (answered - started), 1000 * (answered - killed)


@pytest.mark.parametrize("rows", [500_000, pytest.param(5_000_000, marks=pytest.mark.long)])
def test_a_killed_server_serves_a_large_view_at_once(store, start_pilliond, rows):
    store.make_release(rows=rows, features=50, seed=1)
    daemon = start_pilliond(store)
    size = harness.http(daemon.admin, "GET", "/status").json()["views"][0]["bytes"]
    os.kill(daemon.child("fetcher"), signal.SIGSTOP)
    try:
        times = [restart_ms(daemon) for _ in range(2)]
    finally:
        os.kill(daemon.child("fetcher"), signal.SIGCONT)
    for since_start, since_kill in times:
        print(
            f"{size / 2**20:.0f} MiB: first answer {since_start:.0f} ms after the start (10 ms steps), "
            f"{since_kill:.0f} ms after the kill"
        )
    assert daemon.redis().hget("driver_stats:7", "f0") == b"218.0"


def test_a_killed_server_is_told_every_project_again(store, start_pilliond):
    projects = ["rides", "shops", "trips"]
    for project in projects:
        store.make_release(project=project, rows=10, seed=1)
    daemon = start_pilliond(store, serve=[f"{project}/driver_stats@production" for project in projects])

    def taken() -> list[str]:
        return re.findall(r'event="project taken" project=(\w+)', daemon.log)

    harness.wait_until("the projects", lambda: sorted(taken()) == projects)
    os.kill(daemon.child("server"), signal.SIGKILL)
    harness.wait_until("the projects again", lambda: sorted(taken()[3:]) == projects)


def test_unix_sockets_have_their_mode_and_group(folder, store, start_pilliond):
    store.make_release(rows=10)
    config = folder / "modes.yaml"
    group = os.getgid()
    import grp

    config.write_text(
        f'listen:\n  - {{protocol: resp, address: "unix:{folder}/open.sock", mode: "0666", '
        f"group: {grp.getgrgid(group).gr_name}}}\n"
    )
    daemon = start_pilliond(store, args=["--config", str(config)])
    assert stat.S_IMODE(os.stat(folder / "open.sock").st_mode) == 0o666
    assert os.stat(folder / "open.sock").st_gid == group
    assert stat.S_IMODE(os.stat(daemon.resp_path).st_mode) == 0o660


def test_root_becomes_an_unprivileged_user(folder, store, start_pilliond):
    if os.geteuid() != 0:
        pytest.skip("needs root to give up")
    store.make_release(rows=10, seed=1)
    for path in (folder, store.path):
        path.chmod(0o755)
    daemon = start_pilliond(store, args=["--user", "nobody"])
    nobody = pwd.getpwnam("nobody").pw_uid
    for name in ("server", "fetcher"):
        status = Path(f"/proc/{daemon.child(name)}/status").read_text()
        assert f"Uid:\t{nobody}\t{nobody}\t{nobody}\t{nobody}" in status
    daemon.wait_serving(store.make_release(rows=10, seed=2))
    assert daemon.redis().hget("driver_stats:1", "f0") == b"33.0"


def test_the_server_opens_no_file_after_start(store, start_pilliond):
    if os.geteuid() != 0:
        pytest.skip("needs root: the server's /proc entries are not its user's to read")
    store.make_release(rows=100, seed=1)
    daemon = start_pilliond(store)
    server = daemon.child("server")

    def opened() -> list[str]:
        links = []
        for entry in Path(f"/proc/{server}/fd").iterdir():
            try:
                links.append(os.readlink(entry).split(":")[0])
            except FileNotFoundError:
                continue
        return sorted(link for link in links if not link.startswith(("socket", "/memfd", "anon_inode")))

    before = opened()
    daemon.wait_serving(store.make_release(rows=100, seed=2))
    for key in range(200):
        daemon.redis().hget(f"driver_stats:{key}", "f0")
    assert opened() == before
