# SPDX-License-Identifier: Apache-2.0
"""A killed server comes back from the releases that the supervisor holds, and answers before their pages are there.
Sockets have the mode that was asked for, and an unprivileged user is enough."""

from __future__ import annotations

import os
import pwd
import re
import signal
import stat
from pathlib import Path

import faults
import harness
import pytest


@pytest.mark.parametrize("rows", [500_000, pytest.param(5_000_000, marks=pytest.mark.long)])
def test_a_killed_server_serves_a_large_view_from_what_is_held(store, start_pilliond, rows):
    store.make_release(rows=rows, features=50, seed=1)
    daemon = start_pilliond(store)
    os.kill(daemon.child("fetcher"), signal.SIGSTOP)
    try:
        for _ in range(2):
            kill_server(daemon)
            for key in range(0, rows, rows // 50):
                assert float(daemon.redis().hget(f"driver_stats:{key}", "f3")) == (key * 31 + 3 * 7 + 1) % 1000003
    finally:
        os.kill(daemon.child("fetcher"), signal.SIGCONT)


def kill_server(daemon: harness.Pilliond) -> None:
    """And waits for the next one's first answer."""
    daemon.kill_server()
    harness.wait_until("an answer", lambda: answers(daemon))


def answers(daemon: harness.Pilliond) -> bool:
    with harness.connect(daemon.resp_unix, 5) as sock:
        sock.sendall(b"HGET driver_stats:7 f0\r\n")
        return sock.recv(100) == b"$5\r\n218.0\r\n"


def test_answering_comes_before_filling_page_tables(folder, store, start_pilliond):
    """The control thread of a restarted server stands still in the first page tables that it fills; requests are
    answered all the same."""
    store.make_release(rows=10_000, features=50, seed=1)
    injected = faults.Faults(folder)
    daemon = start_pilliond(store, env=injected.env)
    with injected.armed("server", "call", 1, span=1 << 60, call="madvise", stalls=True):
        kill_server(daemon)
        harness.wait_until("the first page tables", lambda: injected.fired > 0)
        assert all(answers(daemon) for _ in range(100))
        assert injected.fired == 1


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
    janitor = Path(f"/proc/{daemon.child('janitor')}/status").read_text()
    assert "CapEff:\t0000000000000000" in janitor and "NoNewPrivs:\t1" in janitor
    held = Path(daemon.resp_path)
    assert held.is_socket() and held.parent.stat().st_uid == 0  # where nobody may not remove it
    assert daemon.stop() == 0
    assert not held.exists() and not held.with_name("resp.sock.lock").exists()


def test_a_killed_root_leaves_no_socket_behind(folder, store, start_pilliond):
    if os.geteuid() != 0:
        pytest.skip("needs root to give up")
    store.make_release(rows=10, seed=1)
    for path in (folder, store.path):
        path.chmod(0o755)
    daemon = start_pilliond(store, args=["--user", "nobody"])
    daemon.signal(signal.SIGKILL)
    harness.wait_until("no socket", lambda: not Path(daemon.resp_path).exists())


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

    daemon.redis().hget("driver_stats:1", "f0")  # the worker that answers has opened what it keeps in reserve
    before = opened()
    daemon.wait_serving(store.make_release(rows=100, seed=2))
    for key in range(200):
        daemon.redis().hget(f"driver_stats:{key}", "f0")
    assert opened() == before
