# SPDX-License-Identifier: Apache-2.0
"""The mapped listener, by a client in plain Python: values, swaps, who may map what, generations that clients keep,
rubbish, and a server that is killed or stopped."""

from __future__ import annotations

import ast
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import harness
import pytest
import synthetic

PYTHON = Path(__file__).resolve().parent.parent / "python"
sys.path.insert(0, str(PYTHON))
from mapped_reader import ACQUIRE, DROP, HEAD, HELLO, WELCOME, MappedClient, Refused  # noqa: E402

VIEW = "rides/driver_stats"


@pytest.fixture
def start(store, start_pilliond, folder):
    """A daemon with a mapped listener; `client()` connects to it."""

    def start(map_rule: str = "", args: list[str] | None = None, serve: str = VIEW, mode: str = "0660",
              **options: Any) -> Any:
        config = folder / "pilliond.yaml"
        path = folder / "mapped.sock"
        config.write_text(f"serve:\n  - {{view: {serve}, channel: production{map_rule}}}\n"
                          f"listen:\n  - {{protocol: mapped, address: \"unix:{path}\", mode: \"{mode}\"}}\n")
        daemon = start_pilliond(store, serve=[], args=["--config", str(config), *(args or [])], **options)
        daemon.mapped = path
        daemon.client = lambda name="test", **more: MappedClient(str(path), name, **more)
        return daemon

    return start


def expected(key: int, seed: int = 1, features: int = 10) -> dict[str, float]:
    return synthetic.row("floats", key, seed, features)


def test_reads_what_the_socket_reads(store, start):
    store.make_release(rows=3000, args=("--shard-bits", "2"))
    daemon = start()
    client = daemon.client()
    for key in (0, 1, 1500, 2999):
        assert client.read(VIEW, [key]) == expected(key)
    assert client.read(VIEW, [3000]) is None
    release = client.current(VIEW)
    assert len(release.shards) == 4 and daemon.serving(release.release)
    assert abs(release.created_us - time.time() * 1e6) < 600e6
    assert client.locate(0, release.release) == release.created_us
    with pytest.raises(Refused, match="not been served"):
        client.locate(0, "0" * 16)
    assert abs(client.checked_us(0) - time.time() * 1e6) < 600e6
    catalog = client.catalog()
    assert catalog["views"] == [{"index": 0, "project": "rides", "name": "driver_stats", "channel": "production"}]
    assert catalog["projects"][0]["feature_services"][0]["name"] == "every"
    metrics = daemon.metrics()
    assert metrics["pillion_mapped_sessions"] == 1
    assert metrics[f'pillion_mapped_grants_total{{view="{VIEW}",result="granted"}}'] == 1
    assert metrics[f'pillion_mapped_generations{{view="{VIEW}"}}'] == 1


def test_swaps_are_seen_at_the_next_call(store, start):
    store.make_release(rows=100)
    daemon = start()
    client = daemon.client()
    assert client.read(VIEW, [7]) == expected(7)
    for seed, features in ((2, 10), (3, 20)):
        release = store.make_release(rows=100, seed=seed, features=features)
        daemon.wait_serving(release)
        assert client.read(VIEW, [7]) == expected(7, seed, features)
        assert client.current(VIEW).generation == seed
    assert daemon.metrics()[f'pillion_mapped_generations{{view="{VIEW}"}}'] == 1


def test_composite_keys_and_every_type(store, start):
    store.make_release(view="all_types", rows=40, kind="all", args=("--key", "pair"))
    client = start(serve="rides/all_types").client()
    for key in range(0, 40, 7):
        row = client.read("rides/all_types", [key, f"z{key % 7}"])
        assert row is not None and set(row) == set(synthetic.NAMES)
        assert row["int32"] == synthetic.row("all", key, 1)["int32"]


def test_held_generations_are_counted_capped_and_freed(store, start):
    releases = [store.make_release(rows=100, seed=seed, channel=None) for seed in range(1, 6)]
    store.promote(releases[0])
    daemon = start(args=["--mapped-generations", "3"])
    pinned = f'pillion_mapped_pinned_bytes{{view="{VIEW}"}}'
    holders = []
    for release in releases[:3]:
        store.promote(release)
        daemon.wait_serving(release)
        holders.append(daemon.client(f"holder-{len(holders)}"))
        holders[-1].current(VIEW)
    store.promote(releases[3])
    daemon.wait_serving(releases[3])
    late = daemon.client("late")
    with pytest.raises(Refused, match="3 generations of rides/driver_stats are mapped already") as refusal:
        late.current(VIEW)
    assert refusal.value.code == "BUSY"
    harness.wait_until("the gauges", lambda: daemon.metrics()[pinned] > 0)
    before = daemon.metrics()[pinned]
    assert holders[0].releases[0].shards[0].get(holders[0].releases[0].shards[0].key([5])) is not None
    holders[0].close()  # the end of the socket frees what it held
    harness.wait_until("less is pinned", lambda: daemon.metrics()[pinned] < before)
    assert late.read(VIEW, [5]) == expected(5, 4)
    holders[1].drop(0)
    holders[2].drop(0)
    harness.wait_until("nothing is pinned", lambda: daemon.metrics()[pinned] == 0)
    shown = store_status(daemon)
    assert [holder["name"] for holder in shown] == ["late"] and shown[0]["pid"] == os.getpid()
    drawn = harness.run([harness.program("pillion"), "status", "--mapped", "--admin", daemon.admin]).stdout
    assert str(os.getpid()) in drawn and "late" in drawn and VIEW in drawn


def store_status(daemon: Any) -> list[dict[str, Any]]:
    return harness.http(daemon.admin, "GET", "/mapped").json()["holders"]


@pytest.mark.parametrize("timeout", ["100ms", "1h"])
def test_who_keeps_an_old_generation_too_long_gets_no_other(store, start, timeout):
    store.make_release(rows=100)
    daemon = start(args=["--mapped-hold-timeout", timeout])
    client = daemon.client()
    client.current(VIEW)
    release = store.make_release(rows=100, seed=2)
    daemon.wait_serving(release)
    if timeout == "1h":  # not too long: granted beside the old one
        assert client.read(VIEW, [5]) == expected(5, 2)
        return
    harness.wait_until("the timeout", lambda since=time.monotonic(): time.monotonic() > since + 0.11)
    with pytest.raises(Refused, match="drop generation 1 of driver_stats first"):
        client.acquire(0)
    client.drop(0)
    assert client.read(VIEW, [5]) == expected(5, 2)


def test_pinned_memory_counts_against_the_budget(store, start):
    """Memory that a client keeps mapped is not given twice."""
    releases = [store.make_release(rows=40000, features=20, seed=seed, channel=None) for seed in (1, 2, 3)]
    store.promote(releases[0])
    daemon = start(args=["--memory-budget", "10M", "--keep-releases", "1"])
    client = daemon.client()
    client.current(VIEW)
    store.promote(releases[1])
    daemon.wait_serving(releases[1])
    store.promote(releases[2])
    harness.wait_until("a refusal", lambda: "will_not_fit" in daemon.log)
    assert not daemon.serving(releases[2])
    client.drop(0)
    daemon.wait_serving(releases[2])


def test_a_release_fetched_anew_is_pinned_beside_itself(store, start):
    """The budget has room for three releases. The first one is given up while a client maps it, fetched once more, and
    mapped by another client: then its memory is there twice, and letting go of one leaves the other."""
    releases = [store.make_release(rows=40000, features=20, seed=seed, channel=None) for seed in (1, 2, 3)]
    store.promote(releases[0])
    daemon = start(args=["--memory-budget", "14M", "--keep-releases", "1"])
    before, after, third = daemon.client(), daemon.client(), daemon.client()

    def swap(number: int) -> None:
        store.promote(releases[number])
        daemon.wait_serving(releases[number])

    before.current(VIEW)
    swap(1)
    swap(0)
    after.current(VIEW)
    before.drop(0)
    swap(1)
    third.current(VIEW)
    swap(2)  # beside what `after` and `third` keep
    store.promote(releases[0])
    harness.wait_until("a refusal", lambda: "will_not_fit" in daemon.log)
    assert not daemon.serving(releases[0])
    after.drop(0)
    daemon.wait_serving(releases[0])


@pytest.mark.parametrize("rule,allowed", [
    (", map: none", False),
    (", map: {uids: [12345]}", False),
    (f", map: {{uids: [12345, {os.getuid()}]}}", True),
    (f", map: {{gids: [{os.getgid()}]}}", True),
    (", map: {cgroups: [\"/nowhere/*\"]}", False),
    (", map: {cgroups: [\"/*\"]}", True),
])
def test_who_may_map(store, start, rule, allowed):
    store.make_release(rows=100)
    daemon = start(map_rule=rule)
    if allowed:
        assert daemon.client().read(VIEW, [5]) == expected(5)
        return
    with pytest.raises(Refused, match=f"may not be mapped by uid {os.getuid()}") as refusal:
        daemon.client().read(VIEW, [5])
    assert refusal.value.code == "DENIED"
    assert daemon.metrics()[f'pillion_mapped_grants_total{{view="{VIEW}",result="permission denied"}}'] == 1


REGULATED = """
project: rides
entities: [{name: driver, join_key: id, type: int64}]
feature_views:
  - name: driver_stats
    entities: [driver]
    tags: {regulated: "yes"}
    source: {type: parquet, path: x, timestamp_field: t}
    features: [%s]
feature_services: [{name: every, features: [driver_stats]}]
"""


STRANGER = 65534
AS_STRANGER = f"""
import sys, types
sys.path.insert(0, {str(PYTHON)!r})
sys.modules["xxhash"] = types.ModuleType("xxhash")  # of a venv that strangers cannot read; shards are not looked into
import mapped_reader as m
m.Shard = len
"""
MAPS = """
try:
    release = m.MappedClient(sys.argv[1], "stranger").current(sys.argv[2])
    print("mapped", release.release)
except (m.Refused, OSError) as error:
    print(type(error).__name__, error)
"""


def as_stranger(daemon: Any, code: str) -> str:
    """What a process of another user, without privileges, prints."""
    argv = ["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups", "--inh-caps=-all",
            "--no-new-privs", "/usr/bin/python3", "-c", AS_STRANGER + code, str(daemon.mapped), VIEW]
    return harness.run(argv).stdout


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize("rule,mode,said", [
    ("", "0666", "mapped "),
    ("", "0660", "PermissionError"),
    (", map: {uids: [0]}", "0666", f"Refused {VIEW} may not be mapped by uid {STRANGER}, gid {STRANGER}"),
    (f", map: {{uids: [{STRANGER}]}}", "0666", "mapped "),
    (f", map: {{gids: [{STRANGER}]}}", "0666", "mapped "),
    (", map: none", "0666", "Refused"),
])
def test_another_user(store, start, folder, rule, mode, said):
    store.make_release(rows=100)
    os.chmod(folder, 0o755)
    daemon = start(map_rule=rule, mode=mode)
    assert as_stranger(daemon, MAPS).startswith(said)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_another_user_can_write_nothing(store, start, folder):
    """Neither through the descriptors that it got, nor by opening them anew."""
    store.make_release(rows=100)
    os.chmod(folder, 0o755)
    daemon = start(mode="0666")
    said = as_stranger(daemon, """
fds = []
def keep(fd, wanted, plain=m.map_sealed):
    fds.append(m.os.dup(fd))
    return plain(fd, wanted)
m.map_sealed = keep
m.MappedClient(sys.argv[1]).current(sys.argv[2])
page, catalog, shard = fds
def tries(fd):
    size = m.os.fstat(fd).st_size
    yield lambda: m.mmap.mmap(fd, size, m.mmap.MAP_SHARED, m.mmap.PROT_READ | m.mmap.PROT_WRITE)
    yield lambda: m.os.pwrite(fd, b"x", 0)
    yield lambda: m.os.ftruncate(fd, size - 1)
    yield lambda: m.os.ftruncate(fd, size + 1)
    yield lambda: m.os.pwrite(m.os.open(f"/proc/self/fd/{fd}", m.os.O_RDWR), b"x", 0)
    yield lambda: m.fcntl.fcntl(fd, 1033, 0)
for fd in fds:
    for number, attempt in enumerate(tries(fd)):
        try:
            attempt()
            print(fds.index(fd), number, "worked")
        except OSError:
            pass
print("done")
""")
    assert said == "done\n"


def test_regulated_views_need_a_rule(store, start, folder):
    store.make_release(rows=100)
    project = folder / "rides.yaml"
    project.write_text(REGULATED % ", ".join(f"{{name: f{i}, type: float32}}" for i in range(10)))
    store.pillion("apply", str(project))
    daemon = start()
    with pytest.raises(Refused, match="it is regulated, and no `map` rule allows it"):
        daemon.client().current(VIEW)
    assert float(daemon.redis().hget("driver_stats:5", "f0")) == expected(5)["f0"]
    daemon.stop()
    assert start(map_rule=f", map: {{uids: [{os.getuid()}]}}").client().read(VIEW, [5]) == expected(5)


def test_configuration_mistakes_have_their_place(store, folder):
    config = folder / "c.yaml"
    config.write_text(
        "serve:\n  - {view: a/b, channel: c, map: {uids: [x], cgroups: [y], pids: [1]}}\n"
        "  - {view: a/d, channel: c, map: 7}\n"
        "listen:\n  - {protocol: mapped, address: \"tcp:127.0.0.1:1\"}\n"
    )
    done = harness.run([harness.program("pilliond"), "--config", str(config), "--store", store.url, "--check-config"],
                       code=None)
    assert done.returncode != 0
    for line in ("c.yaml:2:42: this must be a numeric id", "c.yaml:2:56: a cgroup is a path",
                 "c.yaml:2:60: map: unknown key pids", "c.yaml:3:34: map must be none",
                 "c.yaml:5:16: 'tcp:127.0.0.1:1' cannot"):
        assert line in done.stderr, done.stderr


def raw(daemon: Any) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.settimeout(5)
    sock.connect(str(daemon.mapped))
    return sock


def packet(type: int, view: int = 0, text: bytes = b"", size: int | None = None, magic: bytes = b"PILM",
           index: int = 1, count: int = 1) -> bytes:
    return HEAD.pack(magic, type, len(text) if size is None else size, view, index, count, 0, 0, 0, 0) + text


def test_rubbish_ends_only_its_own_session(store, start):
    store.make_release(rows=100)
    daemon = start()
    client = daemon.client()
    hello = packet(HELLO)
    rubbish = [
        [b"x"], [b"\0" * 48], [packet(HELLO, magic=b"NOPE")], [packet(99)], [packet(HELLO, size=7)],
        [packet(ACQUIRE)],  # before HELLO
        [hello, hello], [hello, packet(WELCOME)], [packet(HELLO, index=2, count=9)], [hello, b"y" * 5000],
    ]
    for packets in rubbish:
        sock = raw(daemon)
        for data in packets:
            sock.send(data)
        answers = []
        while True:
            data, fds, _, _ = socket.recv_fds(sock, 2048, 8)
            MappedClient.close_all(list(fds))
            if not data:
                break
            answers.append(data)
        sock.close()
        assert len(answers) <= 2
        assert client.read(VIEW, [5]) == expected(5)
    for view in (1, 2**32 - 1):  # unknown views are refused, and the session goes on
        client.send(ACQUIRE, view=view)
        with pytest.raises(Refused, match="no view has this index"):
            client.receive(ACQUIRE)
        client.send(DROP, view=view, generation=1)
    assert client.catalog()["views"]


def welcomed(daemon: Any) -> socket.socket:
    sock = raw(daemon)
    sock.send(packet(HELLO))
    _, fds, _, _ = socket.recv_fds(sock, 2048, 8)
    MappedClient.close_all(list(fds))
    return sock


def ask_without_reading(sock: socket.socket, times: int) -> None:
    sock.setblocking(False)
    for _ in range(times):
        try:
            sock.send(packet(ACQUIRE))
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            return


def read_elsewhere(daemon: Any, key: int) -> dict[str, float]:
    """What another process of this user reads."""
    code = (f"import sys; sys.path.insert(0, {str(PYTHON)!r}); from mapped_reader import MappedClient\n"
            f"print(MappedClient({str(daemon.mapped)!r}, 'elsewhere').read({VIEW!r}, [{key}]))")
    return ast.literal_eval(harness.run([sys.executable, "-c", code]).stdout)


def test_sessions_are_bounded_and_do_not_starve_others(store, start):
    store.make_release(rows=100)
    daemon = start(args=["--limits.mapped-sessions", "4"])
    silent = [raw(daemon) for _ in range(3)]
    client = daemon.client()
    flood = welcomed(daemon)
    assert silent[0].recv(10) == b""  # its place is the new one's: it said nothing for longest
    ask_without_reading(flood, 20000)
    assert client.read(VIEW, [5]) == expected(5)
    assert float(daemon.redis().hget("driver_stats:5", "f0")) == expected(5)["f0"]
    assert harness.http(daemon.admin, "GET", "/healthz").status == 200
    for sock in silent:
        sock.close()


def test_one_process_does_not_keep_others_out(store, start):
    """All places belong to this process, and each of its sessions maps something."""
    store.make_release(rows=100)
    daemon = start(args=["--limits.mapped-sessions", "8"])
    clients = [daemon.client(f"client-{i}") for i in range(8)]
    for client in clients:
        assert client.read(VIEW, [5]) == expected(5)
    with pytest.raises(OSError):
        daemon.client("one too many")
    assert read_elsewhere(daemon, 7) == expected(7)
    assert clients[0].sock.recv(10) == b""  # it was answered longest ago, and reads on
    assert clients[0].read(VIEW, [5]) == expected(5)
    clients[1].drop(0)
    assert daemon.client("instead").read(VIEW, [7]) == expected(7)
    assert daemon.metrics()['pillion_mapped_troubles_total{reason="refused"}'] == 1


@pytest.fixture
def few_open_files(folder, monkeypatch):
    """Daemons may have 512 open files, and so descriptors in flight."""
    real, wrapper = harness.program, folder / "pilliond-of-few-files"
    wrapper.write_text(f"#!/bin/sh\nulimit -n 512\nexec {real('pilliond')} \"$@\"\n")
    wrapper.chmod(0o755)
    monkeypatch.setattr(harness, "program", lambda name: str(wrapper) if name == "pilliond" else real(name))


def test_clients_that_do_not_read_stop_nobody(store, start, folder, few_open_files):
    """The kernel counts the descriptors that a user has in flight; at its limit, the supervisor could not hand shards
    to the server either."""
    releases = [store.make_release(rows=640, seed=seed, channel=None, args=("--shard-bits", "6")) for seed in (1, 2)]
    store.promote(releases[0])
    for path in (folder, store.path):
        path.chmod(0o755)  # the kernel does not limit root
    daemon = start(mode="0666", args=["--user", "nobody"] if os.getuid() == 0 else [])
    server = daemon.child("server")
    hostile = [welcomed(daemon) for _ in range(32)]
    for sock in hostile:
        ask_without_reading(sock, 60)
    harness.wait_until("its share", lambda: daemon.metrics()["pillion_mapped_in_flight"] == 512 / 4 / 4)
    for number in (1, 0):  # a promotion, and a rollback
        assert read_elsewhere(daemon, 5) == expected(5, 2 - number)
        store.promote(releases[number])
        daemon.wait_serving(releases[number])
    assert daemon.child("server") == server
    assert daemon.metrics().get('pillion_mapped_troubles_total{reason="in_flight"}', 0) == 0
    hostile.pop().shutdown(socket.SHUT_RDWR)
    for sock in hostile:
        sock.close()
    harness.wait_until("they are gone", lambda: daemon.metrics()["pillion_mapped_in_flight"] == 0)
    assert daemon.client().read(VIEW, [5]) == expected(5)


def test_connections_that_never_say_hello_make_room(store, start):
    store.make_release(rows=100)
    daemon = start(args=["--limits.mapped-sessions", "3"])
    silent = [raw(daemon) for _ in range(4)]  # the first loses its place, the others their time
    assert [sock.recv(10) for sock in silent] == [b""] * 4
    assert daemon.client().read(VIEW, [5]) == expected(5)


def test_killed_holder_lets_go(store, start):
    store.make_release(rows=100)
    daemon = start()
    code = (f"import sys, time; sys.path.insert(0, {str(PYTHON)!r}); from mapped_reader import MappedClient\n"
            f"c = MappedClient({str(daemon.mapped)!r}, 'victim'); c.current({VIEW!r})\n"
            "print('ok', flush=True); time.sleep(60)")
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "ok\n"
    assert [h["name"] for h in store_status(daemon)] == ["victim"]
    holder.kill()
    holder.wait()
    harness.wait_until("it is forgotten", lambda: store_status(daemon) == [])


def test_reading_goes_on_without_the_server(store, start):
    store.make_release(rows=100)
    daemon = start()
    client = daemon.client()
    assert client.read(VIEW, [5]) == expected(5) and client.is_fresh
    server = daemon.child("server")
    os.kill(server, signal.SIGSTOP)
    harness.wait_until("the heartbeat is old", lambda: not client.is_fresh)
    assert client.read(VIEW, [5]) == expected(5)
    os.kill(server, signal.SIGCONT)
    harness.wait_until("the heartbeat is fresh", lambda: client.is_fresh)
    os.kill(server, signal.SIGKILL)
    harness.wait_until("the heartbeat is old", lambda: not client.is_fresh)
    assert client.read(VIEW, [5]) == expected(5)
    again = harness.wait_until("a new server", lambda: connect(daemon))
    assert again.read(VIEW, [5]) == expected(5)
    assert again.word(8) != client.word(8)  # another server process
    daemon.stop()
    assert again.word(24) == 2 and not again.is_fresh  # CLOSING: looked for at once
    assert again.read(VIEW, [5]) == expected(5)


def connect(daemon: Any) -> Any:
    try:
        return daemon.client()
    except OSError:
        return None
