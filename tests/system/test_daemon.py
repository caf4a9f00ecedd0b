# SPDX-License-Identifier: Apache-2.0
"""What the daemon promises beside answers: swaps without a pause, restarts that stay warm, drains, admission,
readiness.

Values of make_release's kind "floats" are (key * 31 + feature * 7 + seed) % 1000003, so that every answer tells which
release it comes from.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

import faults
import harness
import pytest
import redis

ROWS = 2000


def expected(key: int, feature: int, seed: int) -> float:
    return float((key * 31 + feature * 7 + seed) % 1000003)


class Load(threading.Thread):
    """Asks whole rows without end; notes errors, wrong values and mixed releases."""

    def __init__(self, daemon: harness.Pilliond, seeds: set[int], features: int = 10):
        super().__init__(daemon=True)
        self.server, self.seeds, self.features = daemon, seeds, features
        self.stop_flag = threading.Event()
        self.requests, self.errors, self.seen = 0, [], set()
        self.longest_gap_s, self.reconnects = 0.0, 0

    def start(self) -> None:
        """Returns with the first answer: what a test does then, it does to a client that is connected."""
        super().start()
        harness.wait_until("an answer to the load", lambda: self.requests > 0 or self.errors)

    def client(self) -> Any:
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        # One connection: a pool would replace one that was closed between two requests, and nobody would see it.
        return self.server.redis(retry=Retry(NoBackoff(), 0), single_connection_client=True)

    def run(self) -> None:
        names = [f"f{i}" for i in range(self.features)]
        client, key, last = None, 0, time.monotonic()
        while not self.stop_flag.is_set():
            key = (key + 7919) % ROWS
            try:
                client = client or self.client()
                got = [float(v) for v in client.hmget(f"driver_stats:{key}", names)]
            except redis.ConnectionError:
                self.reconnects += client is not None
                client = None
                continue
            except Exception as error:  # noqa: BLE001: whatever the client raises is what is counted
                self.errors.append(repr(error))
                return
            now = time.monotonic()
            self.longest_gap_s, last = max(self.longest_gap_s, now - last), now
            self.requests += 1
            matching = [s for s in self.seeds if got == [expected(key, f, s) for f in range(self.features)]]
            if not matching:
                self.errors.append(f"key {key}: {got}")
                return
            self.seen.add(matching[0])

    def finish(self) -> "Load":
        self.stop_flag.set()
        self.join(harness.DEADLINE_S)
        assert not self.errors, self.errors
        assert self.requests > 0
        return self


def wait_refused(daemon: harness.Pilliond, view: str = "driver_stats") -> Any:
    return harness.wait_until("the refusal", lambda: daemon.view_status(view).get("refused"))


def break_shard(store: harness.Store, known: set[Path]) -> Path:
    """Flips a bit of a shard that is not among the known ones; doing it again mends it."""
    shard = next(p for p in (store.path / "shards").rglob("*.shard") if p not in known)
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.chmod(0o644)
    shard.write_bytes(data)
    return shard


def test_swap_and_rollback_under_load_never_mix_releases(store, start_pilliond, engine):
    first = store.make_release(rows=ROWS, seed=1)
    daemon = start_pilliond(store, engine=engine, workers=2)
    load = Load(daemon, {1, 2})
    load.start()
    for _ in range(5):
        second = store.make_release(rows=ROWS, seed=2)
        daemon.wait_serving(second)
        store.pillion("rollback", "rides/driver_stats", "--channel", "production")
        daemon.wait_serving(first)
    load.finish()
    assert load.seen == {1, 2}
    assert load.reconnects == 0


def test_promotions_are_noticed_without_polling(store, start_pilliond):
    store.make_release(rows=10, seed=1)
    daemon = start_pilliond(store, args=["--poll_interval", "1d"])
    for seed in (2, 3):
        daemon.wait_serving(store.make_release(rows=10, seed=seed))
    store.pillion("rollback", "rides/driver_stats", "--channel", "production")
    harness.wait_until("the rollback", lambda: daemon.redis().hget("driver_stats:1", "f0") == b"33.0")


def test_rollback_needs_no_store_while_the_release_is_held(store, start_pilliond):
    first = store.make_release(rows=ROWS, seed=1)
    daemon = start_pilliond(store)
    second = store.make_release(rows=ROWS, seed=2)
    daemon.wait_serving(second)
    for shard in (store.path / "shards").rglob("*.shard"):
        shard.unlink()
    before = daemon.metrics().get('pillion_fetch_duration_seconds_count{view="rides/driver_stats",phase="copy"}')
    # The channel is what changes; `rollback` itself would refuse a release whose shards are gone.
    channel = store.path / "views/rides/driver_stats/channels/production.json"
    document = json.loads(channel.read_text())
    document["release"], document["nonce"] = first.rpartition("@")[2], "0123456789abcdef"
    document["sequence"] += 1
    part = channel.with_suffix(".part")
    part.write_text(json.dumps(document))
    part.rename(channel)
    daemon.wait_serving(first)
    after = daemon.metrics().get('pillion_fetch_duration_seconds_count{view="rides/driver_stats",phase="copy"}')
    assert after == before


def test_killed_server_comes_back_warm_without_the_fetcher(store, start_pilliond, engine):
    store.make_release(rows=ROWS, seed=1)
    daemon = start_pilliond(store, engine=engine)
    load = Load(daemon, {1})
    load.start()
    server, fetcher = daemon.child("server"), daemon.child("fetcher")
    os.kill(fetcher, signal.SIGSTOP)
    try:
        for _ in range(3):
            os.kill(server, signal.SIGKILL)
            harness.wait_until("a new server", lambda: daemon.child("server") != server)
            server = daemon.child("server")
            harness.wait_until("an answer", lambda: daemon.redis().exists("driver_stats:1") == 1)
    finally:
        os.kill(fetcher, signal.SIGCONT)
    load.finish()
    assert load.reconnects >= 1
    assert daemon.metrics()['pillion_process_restarts_total{process="server"}'] == 3


def test_killed_fetcher_is_noticed_by_nobody(store, start_pilliond):
    store.make_release(rows=ROWS, seed=1)
    daemon = start_pilliond(store)
    load = Load(daemon, {1, 2})
    load.start()
    os.kill(daemon.child("fetcher"), signal.SIGKILL)
    second = store.make_release(rows=ROWS, seed=2)
    daemon.wait_serving(second)
    load.finish()
    assert load.reconnects == 0
    assert daemon.metrics()['pillion_process_restarts_total{process="fetcher"}'] == 1


def test_killed_supervisor_takes_its_children_along_and_a_restart_is_clean(store, start_pilliond):
    store.make_release(rows=ROWS, seed=1)
    daemon = start_pilliond(store)
    children = [daemon.child("server"), daemon.child("fetcher")]
    daemon.signal(signal.SIGKILL)
    daemon.wait()
    harness.wait_until("children gone", lambda: all(harness.gone(pid) for pid in children), 5)
    again = start_pilliond(store, listen={"resp": daemon.resp_unix, "admin": daemon.admin})
    again.signal(signal.SIGKILL)  # and once more, without waiting for its children
    again.wait()
    again = start_pilliond(store, listen={"resp": daemon.resp_unix, "admin": daemon.admin})
    again.resp_unix = daemon.resp_unix
    assert again.redis().exists("driver_stats:1") == 1


def test_sigterm_drains_within_two_seconds(store, start_pilliond, engine):
    store.make_release(rows=ROWS, seed=1)
    daemon = start_pilliond(store, engine=engine)
    idle = [harness.connect(daemon.resp_unix) for _ in range(50)]
    busy = harness.connect(daemon.resp_unix)
    busy.sendall(b"*3\r\n$4\r\nHGET\r\n$14\r\ndriver_stats:1\r\n$2\r\nf0\r\n" * 1000)
    begin = time.monotonic()
    assert daemon.stop() == 0, daemon.log
    assert time.monotonic() - begin < 3
    answered = b""
    while chunk := busy.recv(65536):
        answered += chunk
    value = str(expected(1, 0, 1)).encode()
    assert answered == (b"$%d\r\n%s\r\n" % (len(value), value)) * 1000
    assert "connections were cut" not in daemon.log
    assert not Path(daemon.resp_path).exists()
    del idle


def test_sighup_takes_what_can_change_and_names_what_cannot(folder, store, start_pilliond):
    store.make_release(rows=ROWS, seed=1)
    config = folder / "pilliond.yaml"
    config.write_text("keep_releases: 2\nslowlog: 10ms\n")
    daemon = start_pilliond(store, args=["--config", str(config), "--limits.client_memory", "16M"])
    config.write_text("keep_releases: 1\nslowlog: 20ms\n")
    daemon.signal(signal.SIGHUP)
    harness.wait_until("the reload", lambda: "reloaded" in daemon.log)
    assert "changed=keep_releases" in daemon.log
    assert "options=slowlog" in daemon.log
    assert "serve" not in daemon.log.partition("options=")[2].partition("\n")[0]
    config.write_text("keep_releases: 1\nmemory_budget: 65M\nstaleness_bound: 33s\n")
    daemon.signal(signal.SIGHUP)
    daemon.signal(signal.SIGHUP)
    harness.wait_until(
        "the new bound", lambda: "bound 33 s" in harness.http(daemon.admin, "GET", "/readyz?verbose").text
    )
    assert daemon.status()["memory_budget"] == 65 << 20
    config.write_text("keep_releases: none\n")
    daemon.signal(signal.SIGHUP)
    harness.wait_until("the refusal", lambda: "reload refused" in daemon.log)
    assert daemon.redis().exists("driver_stats:1") == 1


def test_a_memory_budget_leaves_room_for_releases(folder, store, start_pilliond):
    """What clients may hold is a part of it, which a running daemon does not change."""
    said = ("limits.client_memory: its 67108864 bytes leave nothing of memory_budget (67108864 bytes) for releases; "
            "lower it (a running daemon keeps it until a restart), or raise memory_budget")
    store.make_release(rows=ROWS, seed=1)
    for budget, code in (("64M", 1), ("65M", 0)):
        done = harness.run([harness.program("pilliond"), "--store", store.url, "--serve",
                            "rides/driver_stats@production", "--check-config", "--listen", f"resp=unix:{folder}/r",
                            "--memory_budget", budget, "--limits.client_memory", "64M"], code=code)
        assert (said in done.stderr) == (code == 1)
    config = folder / "pilliond.yaml"
    config.write_text("memory_budget: 512M\n")  # so that limits.client_memory is 64M
    daemon = start_pilliond(store, args=["--config", str(config)])
    config.write_text("memory_budget: 64M\n")
    daemon.signal(signal.SIGHUP)
    harness.wait_until("the refusal", lambda: "reload refused" in daemon.log)
    assert said in daemon.log
    assert daemon.status()["memory_budget"] == 512 << 20
    config.write_text("memory_budget: 65M\n")
    daemon.signal(signal.SIGHUP)
    harness.wait_until("the reload", lambda: daemon.status()["memory_budget"] == 65 << 20)


def test_a_release_that_will_not_fit_is_refused_and_the_old_one_serves(store, start_pilliond):
    first = store.make_release(rows=ROWS, seed=1)
    daemon = start_pilliond(store, args=["--memory_budget", "5M", "--limits.client_memory", "1M"])
    store.make_release(rows=200000, seed=2)
    refused = wait_refused(daemon)
    assert refused["result"] == "will_not_fit"
    assert "over the 4 MiB (4194304 bytes) that memory_budget leaves for releases" in refused["why"]
    assert daemon.serving(first)
    assert daemon.redis().hget("driver_stats:5", "f1") == str(expected(5, 1, 1)).encode()
    assert harness.http(daemon.admin, "GET", "/readyz").status == 200


def test_the_sum_of_a_refusal_adds_up_and_what_is_kept_goes_only_when_that_helps(store, start_pilliond):
    store.make_release(rows=10000, seed=1)
    other = store.make_release(view="other", rows=2000, seed=1)
    serve = ("rides/driver_stats@production", "rides/other@production")
    daemon = start_pilliond(store, serve=serve, args=["--memory_budget", "5M", "--limits.client_memory", "1M",
                                                      "--keep_releases", "2"])
    second = store.make_release(rows=10000, seed=2)
    daemon.wait_serving(second)
    harness.wait_until("both are held", lambda: daemon.view_status()["held_releases"] == 2)
    store.make_release(view="other", rows=200_000, seed=2)
    why = wait_refused(daemon, "other")["why"]
    served = daemon.view_status()["bytes"] + daemon.view_status("other")["bytes"]
    wanted = json.loads(store.pillion("releases", "rides/other", "--json").stdout)[0]["bytes"]
    numbers = [int(n) for n in re.findall(r"(\d+)(?= bytes| being| of release)", why)]
    assert numbers == [served, 0, wanted, served + wanted, 4 << 20], why
    assert daemon.view_status()["held_releases"] == 2
    assert daemon.serving(other, "rides/other")
    daemon.wait_serving(store.make_release(view="other", rows=42_000, seed=3), "rides/other")
    assert daemon.view_status()["held_releases"] == 1
    assert daemon.serving(second)


def test_a_corrupt_release_is_refused_and_the_old_one_serves(store, start_pilliond):
    first = store.make_release(rows=ROWS, seed=1)
    daemon = start_pilliond(store)
    known = set((store.path / "shards").rglob("*.shard"))
    second = store.make_release(rows=ROWS, seed=2, channel=None)
    break_shard(store, known)
    store.promote(second)
    assert wait_refused(daemon)["result"] == "corrupt"
    assert daemon.serving(first)
    break_shard(store, known)
    daemon.wait_serving(second)


def test_a_shard_is_as_long_as_its_manifest_says(store, start_pilliond):
    release = store.make_release(rows=ROWS, seed=1)
    (shard,) = (store.path / "shards").rglob("*.shard")
    content = shard.read_bytes()
    shard.chmod(0o644)
    shard.write_bytes(content + bytes(4096))
    daemon = start_pilliond(store, ready=False)
    harness.wait_until("the admin listener", lambda: harness.http(daemon.admin, "GET", "/healthz").status == 200)
    refused = wait_refused(daemon)
    assert refused["result"] == "corrupt"
    assert f"has {len(content) + 4096} bytes, not {len(content)}" in refused["why"]
    shard.write_bytes(content)
    daemon.wait_serving(release)


def test_a_refusal_is_over_when_the_channel_turns_back(store, start_pilliond):
    store.make_release(rows=ROWS, seed=1)
    daemon = start_pilliond(store, args=["--poll_interval", "1d"])
    known = set((store.path / "shards").rglob("*.shard"))
    second = store.make_release(rows=ROWS, seed=2, channel=None)
    break_shard(store, known)
    store.promote(second)
    wait_refused(daemon)
    store.pillion("rollback", "rides/driver_stats", "--channel", "production")
    harness.wait_until("no refusal", lambda: "refused" not in daemon.view_status())
    # Retries come after one, two and four seconds; one may still be due. After it the channel is not read again and
    # again, up to moments of the daemon's own clock.
    since = daemon.status()["now_us"]
    harness.wait_until("a retry is due", lambda: daemon.status()["now_us"] > since + 4_200_000)
    checked = daemon.view_status()["checked_us"]
    harness.wait_until("two seconds more", lambda: daemon.status()["now_us"] > since + 6_200_000)
    assert abs(daemon.view_status()["checked_us"] - checked) < 500_000  # an age by another clock, told as a time


def test_readiness_names_each_term(folder, store, start_pilliond):
    store.make_release(rows=10, seed=1, channel=None)
    daemon = start_pilliond(store, ready=False)
    harness.wait_until("the admin listener", lambda: harness.http(daemon.admin, "GET", "/healthz").status == 200)
    answer = harness.http(daemon.admin, "GET", "/readyz?verbose")
    assert answer.status == 503
    assert "[-] rides/driver_stats@production: no release" in answer.text
    ref = store.make_release(rows=10, seed=1)
    daemon.wait_ready()
    answer = harness.http(daemon.admin, "GET", "/readyz?verbose")
    assert answer.status == 200
    assert f"[+] rides/driver_stats@production: release {ref.rpartition('@')[2]}" in answer.text


def test_a_dead_store_is_staleness_and_not_an_outage(store, start_pilliond):
    store.make_release(rows=10, seed=1)
    daemon = start_pilliond(store, args=["--staleness_bound", "1s", "--poll_interval", "100ms"])
    views, hidden = store.path / "views", store.path / "hidden"
    views.rename(hidden)
    harness.wait_until("not ready", lambda: harness.http(daemon.admin, "GET", "/readyz").status == 503)
    assert (
        "[-] rides/driver_stats@production: channel read" in harness.http(daemon.admin, "GET", "/readyz?verbose").text
    )
    assert daemon.redis().exists("driver_stats:1") == 1
    hidden.rename(views)
    harness.wait_until("ready again", lambda: harness.http(daemon.admin, "GET", "/readyz").status == 200)
    # Ten polls and more: each change is told, no poll is.
    assert daemon.log.count("channel not read") == 1
    harness.wait_until("the end is told", lambda: daemon.log.count("channel read again") == 1)
    views.rename(hidden)
    harness.wait_until("told again", lambda: daemon.log.count("channel not read") == 2)
    hidden.rename(views)


def test_a_store_that_is_not_there_is_told_and_waited_for(store, start_pilliond):
    daemon = start_pilliond(store, args=["--poll_interval", "100ms"], ready=False)
    harness.wait_until(
        "the reason",
        lambda: f"no release; open the store {store.url}: No such"
        in harness.http(daemon.admin, "GET", "/readyz?verbose").text,
    )
    fetcher = daemon.child("fetcher")
    store.make_release(rows=10, seed=1)
    daemon.wait_ready()
    assert daemon.child("fetcher") == fetcher


def test_another_store_at_the_same_path_is_followed(store, start_pilliond):
    store.make_release(rows=10, seed=1)
    daemon = start_pilliond(store, args=["--poll_interval", "100ms"])
    store.path.rename(store.path.with_name("before"))
    daemon.wait_serving(store.make_release(rows=10, seed=2))
    assert "child ended" not in daemon.log


def test_a_release_that_is_gone_is_told_and_the_old_one_serves(store, start_pilliond):
    first = store.make_release(rows=10, seed=1)
    daemon = start_pilliond(store)
    gone = store.make_release(rows=10, seed=2, channel=None)
    manifest = next(store.path.rglob(gone.rpartition("@")[2] + ".json"))
    manifest.rename(store.path.with_name("manifest"))
    channel = store.path / "views/rides/driver_stats/channels/production.json"
    document = json.loads(channel.read_text())
    document["release"], document["nonce"] = gone.rpartition("@")[2], "0123456789abcdef"
    document["sequence"] += 1
    part = channel.with_suffix(".part")
    part.write_text(json.dumps(document))
    part.rename(channel)
    assert wait_refused(daemon)["result"] == "not_found"
    assert daemon.serving(first)
    store.path.with_name("manifest").rename(manifest)
    daemon.wait_serving(gone)


def test_a_draining_server_says_so(store, start_pilliond):
    store.make_release(rows=ROWS, seed=1, features=50)
    daemon = start_pilliond(store)
    slow = harness.connect(daemon.resp_unix)
    slow.sendall(b"*2\r\n$7\r\nHGETALL\r\n$14\r\ndriver_stats:1\r\n" * 5000)  # and is not read from
    harness.wait_until("requests", lambda: slow.recv(1))
    kept = harness.http_connection(daemon.admin)
    kept.request("GET", "/readyz")
    assert harness.Answer(kept.getresponse()).status == 200
    daemon.signal(signal.SIGTERM)
    harness.wait_until("the drain", lambda: "stopping" in daemon.log)

    def not_draining() -> str:
        kept.request("GET", "/readyz?verbose")
        answer = harness.Answer(kept.getresponse())
        return answer.text if answer.status == 503 else ""

    assert "[-] not draining" in harness.wait_until("the term", not_draining)
    slow.close()
    assert daemon.wait() == 0


@pytest.mark.parametrize("what", ["file", "folder", "datagram", "missing", "full"])
def test_a_path_that_cannot_become_a_socket_is_left_alone(folder, store, what):
    path = folder / "s"
    keep: list[socket.socket] = []
    if what == "file":
        path.write_text("precious")
    elif what == "folder":
        path.mkdir()
    elif what == "missing":
        path = folder / "none" / "s"
    else:
        keep = [socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM if what == "datagram" else socket.SOCK_STREAM)]
        keep[0].bind(str(path))
        if what == "full":  # connecting would wait for ever
            keep[0].listen(0)
            keep += [socket.socket(socket.AF_UNIX) for _ in range(2)]
            for sock in keep[1:]:
                sock.setblocking(False)
                sock.connect_ex(str(path))
    before = os.lstat(path) if path.exists() else None
    argv = [harness.program("pilliond"), "--store", store.url, "--serve", "rides/driver_stats@production"]
    done = harness.run([*argv, "--listen", f"resp=unix:{path}"], code=3, timeout=20)
    assert str(path) in done.stderr.splitlines()[-1]
    assert (os.lstat(path) if path.exists() else None) == before
    for sock in keep:
        sock.close()


def test_a_left_over_socket_is_replaced(folder, store, start_pilliond):
    store.make_release(rows=10, seed=1)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(folder / "s"))
    start_pilliond(store, listen={"resp": f"unix:{folder}/s"})


def starting(store: harness.Store, path: Path, folder: Path, name: str, **options: Any) -> harness.Pilliond:
    own = folder / name
    own.mkdir()
    return harness.Pilliond(own, store, listen={"resp": f"unix:{path}"}, ready=False, **options)


@pytest.mark.parametrize("is_left_over", [False, True])
def test_of_two_daemons_on_one_path_one_comes_up_and_the_other_names_it(folder, store, is_left_over):
    store.make_release(rows=10)
    path = folder / "s"
    for turn in range(4):
        if is_left_over:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.bind(str(path))
        both = [starting(store, path, folder, f"{turn}-{side}") for side in "ab"]
        try:
            loser = harness.wait_until("one gives up", lambda: next((one for one in both if not one.alive()), None))
            winner = both[1 - both.index(loser)]
            winner.wait_ready()
            assert loser.wait() == 3
            assert f"{path} is held by pilliond (pid {winner.pid})" in loser.log
            assert winner.alive() and path.exists()
            assert winner.stop() == 0
        finally:
            for one in both:
                one.destroy()
        assert [child.name for child in folder.iterdir() if child.name.startswith(("s", "."))] == ["store"]


def test_a_daemon_removes_no_socket_but_its_own(folder, store):
    store.make_release(rows=10)
    path = folder / "s"
    first = starting(store, path, folder, "first")
    try:
        first.wait_ready()
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            assert first.stop() == 0
            assert path.exists()
    finally:
        first.destroy()


def test_a_daemon_holds_its_path_before_it_listens(folder, store):
    """The second one comes while the first has a socket that does not listen: it would take that for a left-over."""
    store.make_release(rows=10)
    path, injected = folder / "s", faults.Faults(folder)
    started = []
    try:
        with injected.armed("supervisor", "call", 1, call="listen", stalls=True):
            # No probe of io_uring, which listens, too.
            first = starting(store, path, folder, "first", env=injected.env, engine="epoll")
            started.append(first)
            harness.wait_until("it is about to listen", lambda: injected.fired > 0)
            assert not path.exists()  # no client finds a socket that refuses it
            second = starting(store, path, folder, "second")
            started.append(second)
            assert second.wait() == 3
            assert f"{path} is held by pilliond (pid {first.pid})" in second.log
        first.wait_ready()
        assert first.stop() == 0
    finally:
        for one in started:
            one.destroy()


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_taken_address_is_an_error_that_names_the_holder(folder, store, kind):
    store.make_release(rows=10)
    if kind == "tcp":
        holder = socket.create_server(("127.0.0.1", 0))
        address = f"tcp:127.0.0.1:{holder.getsockname()[1]}"
    else:
        holder = socket.socket(socket.AF_UNIX)
        holder.bind(str(folder / "taken.sock"))
        holder.listen()
        address = f"unix:{folder}/taken.sock"
    done = harness.run(
        [
            harness.program("pilliond"),
            "--store",
            store.url,
            "--serve",
            "rides/driver_stats@production",
            "--listen",
            f"resp={address}",
        ],
        code=3,
    )
    assert f"(pid {os.getpid()})" in done.stderr
    holder.close()


def check_config(store, *args, code=0, env=None):
    """`pilliond --check-config`; each mistake is one line of the answer's stderr."""
    done = harness.run(
        [harness.program("pilliond"), "--check-config", *([] if store is None else ["--store", store.url]), *args],
        code=code,
        env={**os.environ, **(env or {})},
    )
    return done


def test_a_check_fails_for_whatever_a_start_fails_for(folder, store):
    store.make_release(rows=10)
    served = ["--serve", "rides/driver_stats@production"]
    free = ["--listen", f"resp=unix:{folder}/free.sock"]
    done = check_config(store, *served, *free)
    assert done.stdout.startswith("ok: 1 view, 1 listener, ")
    assert not list(folder.glob("free.sock*"))
    assert check_config(None, *served, *free, env={"PILLION_STORE": store.url}).stdout.startswith("ok: ")
    done = check_config(None, *served, *free, env={"PILLION_STORE": "dir:/" + 5000 * "x"}, code=1)
    assert "$PILLION_STORE: store is 5005 bytes long; at most " in done.stderr
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        for args, words in [
            ([*served, "--listen", f"resp=tcp:127.0.0.1:{port}"], [f"{port} is held by", f"(pid {os.getpid()})"]),
            ([*served, "--listen", f"resp=unix:{folder}/none/r.sock"], [f"{folder}/none/r.sock"]),
            ([*served, "--listen", "resp=tcp:0.0.0.0:1"], ["not a loopback address"]),
            ([*served, *free, "--user", "nobody-of-that-name"], ["no user 'nobody-of-that-name'"]),
            (["--serve", "rides/driver_stats@blue", *free], ["no channel blue"]),
            ([*served, "--serve", "rides/none@x", *free], ["rides/none has no channel"]),
        ]:
            done = check_config(store, *args, code=3)
            assert done.stdout == "" and all(word in done.stderr for word in words), done.stderr
            assert all(line.startswith("pilliond: ") for line in done.stderr.splitlines())
    # All that is wrong is told, not the first of it.
    done = check_config(store, "--serve", "rides/a@x", "--serve", "rides/b@x", *free, code=3)
    assert len(done.stderr.splitlines()) == 2
    done = check_config(None, *served, *free, "--store", f"dir:{folder}/nowhere", code=3)
    assert f"{folder}/nowhere" in done.stderr
    shard = next((store.path / "shards").glob("*/*.shard"))
    shard.chmod(0o600)
    shard.unlink()
    assert shard.name in check_config(store, *served, *free, code=3).stderr


def test_a_mistyped_flag_is_told_what_is_near(store):
    done = check_config(store, "--memory-budge", "1G", code=1)
    assert "--memory-budge: no such flag; did you mean --memory-budget" in done.stderr
    assert "no such flag; see pilliond --help" in check_config(store, "--unheard-of", "1", code=1).stderr


def test_every_mistake_of_a_configuration_is_told_at_once_in_the_order_of_the_file(folder):
    config = folder / "bad.yaml"
    config.write_text(
        "stor: dir:/x\nworkers: many\nserve:\n  - {view: nochannel}\n  - {view: a/b, channel: c, map: some}\nlisten:\n"
        '  - {protocol: gopher, address: "tcp:127.0.0.1:70"}\n  - {protocol: resp, address: nowhere}\n'
        '  - {protocol: resp, address: "tcp:127.0.0.1:99999"}\n'
        '  - {protocol: feast, address: "unix:/x", mode: "9", public: maybe, group: ' + "g" * 40 + "}\n"
        "limits: {connection: 5, idle_timeout: -1s}\nworkers: 2\nslowlog: [1ms]\nengine: *a\n"
    )
    done = harness.run([harness.program("pilliond"), "--config", str(config), "--check-config"], code=1)
    expected_lines = [
        "1:1: configuration: unknown key stor; did you mean store?",
        "2:10: workers is 'many'; it must be a whole number: 1 to 128, or auto",
        "4:5: entry of serve: channel is missing; add it",
        "5:34: map must be none or {uids: [...], gids: [...], cgroups: [...]}",
        "7:16: unknown protocol 'gopher'; choose resp, feast, oip, admin or mapped",
        "8:31: 'nowhere' is not an address; write unix:/PATH (at most 107 bytes) or tcp:HOST:PORT (1 to 65535)",
        "9:31: 'tcp:127.0.0.1:99999' is not an address; write unix:/PATH (at most 107 bytes) or tcp:HOST:PORT "
        "(1 to 65535)",
        '10:49: mode must be octal permissions; write "0660"',
        "10:62: 'maybe' is not possible here; choose true or false",
        "10:76: this group name is too long; 31 bytes are possible",
        "11:10: limits: unknown key connection; did you mean connections?",
        "11:39: limits.idle_timeout is '-1s'; it must be a duration, as in 500ms, 10s, 5m, 1h or 7d: "
        "0ms to 1d",
        "12:1: configuration: key workers stands twice; keep one",
        "13:10: configuration: slowlog has the wrong form; it must be one value",
        "14:9: alias *a; aliases are not supported, write the value out",
    ]
    lines = done.stderr.replace(f"{config}:", "").splitlines()
    assert [line for line in lines if line[0].isdigit()] == expected_lines
    assert "store: missing; name one with `store: dir:PATH`, --store or $PILLION_STORE" in lines
    config.write_text("store: s3://bucket\n")
    done = harness.run([harness.program("pilliond"), "--config", str(config), "--check-config"], code=1)
    assert "store: " in done.stderr and "s3" in done.stderr and "dir:" in done.stderr
    config.write_text("serve: [\n")
    done = harness.run([harness.program("pilliond"), "--config", str(config), "--check-config"], code=1)
    assert f"{config}:2:1: " in done.stderr
    done = harness.run([harness.program("pilliond"), "--config", str(folder), "--check-config"], code=3)
    assert f"{folder}:1:1: " in done.stderr


def test_children_have_no_privileges(store, start_pilliond):
    store.make_release(rows=10)
    daemon = start_pilliond(store)
    for name in ("server", "fetcher"):
        status = dict(
            line.split(":\t", 1)
            for line in Path(f"/proc/{daemon.child(name)}/status").read_text().splitlines()
            if ":\t" in line
        )
        assert int(status["CapEff"], 16) == 0
        assert int(status["CapPrm"], 16) == 0
        assert status["NoNewPrivs"] == "1"


def test_public_tcp_needs_a_word(store):
    done = harness.run(
        [
            harness.program("pilliond"),
            "--store",
            store.url,
            "--serve",
            "rides/driver_stats@production",
            "--listen",
            "resp=tcp:0.0.0.0:6380",
        ],
        code=3,
    )
    assert "not a loopback address" in done.stderr


def limits(daemon: harness.Pilliond, reason: str) -> float:
    return daemon.metrics().get(f'pillion_connections_closed_total{{protocol="resp",reason="{reason}"}}', 0)


def test_a_client_that_never_reads_harms_nobody(store, start_pilliond, engine):
    store.make_release(rows=ROWS, seed=1, features=50)
    daemon = start_pilliond(store, engine=engine, args=["--limits.output_stall", "500ms"])
    greedy = harness.connect(daemon.resp_unix)
    greedy.setblocking(False)
    request = b"*2\r\n$7\r\nHGETALL\r\n$14\r\ndriver_stats:1\r\n" * 500
    try:
        for _ in range(2000):
            greedy.send(request)
    except (BlockingIOError, BrokenPipeError, ConnectionResetError):
        pass
    load = Load(daemon, {1}, features=50)
    load.start()
    harness.wait_until("the greedy one is closed", lambda: limits(daemon, "output_stall") == 1)
    load.finish()


def test_one_byte_at_a_time_is_answered_and_a_stalled_request_is_closed(store, start_pilliond, engine):
    store.make_release(rows=ROWS, seed=1)
    daemon = start_pilliond(store, engine=engine, args=["--limits.request_timeout", "1s",
                                                        "--limits.output_stall", "1s"])
    slow = harness.connect(daemon.resp_unix)
    for byte in b"*3\r\n$4\r\nHGET\r\n$14\r\ndriver_stats:1\r\n$2\r\nf0\r\n":
        slow.send(bytes([byte]))
    assert slow.recv(100) == b"$4\r\n32.0\r\n"
    slow.send(b"*3\r\n$4\r\nHG")
    assert slow.recv(100) == b""
    harness.wait_until("it is counted", lambda: limits(daemon, "request_timeout") == 1)


def test_half_closed_clients_get_their_answers(store, start_pilliond, engine):
    store.make_release(rows=ROWS, seed=1)
    daemon = start_pilliond(store, engine=engine)
    sock = harness.connect(daemon.resp_tcp)
    sock.sendall(b"PING\r\n" * 1000)
    sock.shutdown(socket.SHUT_WR)
    got = b""
    while chunk := sock.recv(65536):
        got += chunk
    assert got == b"+PONG\r\n" * 1000


def test_connections_over_the_limit_are_closed_and_counted(store, start_pilliond, engine):
    store.make_release(rows=10, seed=1)
    daemon = start_pilliond(store, engine=engine, args=["--limits.connections", "8"])
    kept = [harness.connect(daemon.resp_unix) for _ in range(8)]
    for sock in kept:
        sock.sendall(b"PING\r\n")
        assert sock.recv(10) == b"+PONG\r\n"
    extra = harness.connect(daemon.resp_unix)
    assert extra.recv(10) == b""
    kept.pop().close()

    def served() -> Any:
        with harness.connect(daemon.resp_unix) as sock:
            sock.sendall(b"PING\r\n")
            return sock.recv(10) == b"+PONG\r\n"

    harness.wait_until("a free place", served)


def test_ten_thousand_short_connections(store, start_pilliond, engine):
    store.make_release(rows=ROWS, seed=1)
    daemon = start_pilliond(store, engine=engine)
    for i in range(10000):
        with harness.connect(daemon.resp_unix) as sock:
            if i % 100 == 0:
                sock.sendall(b"PING\r\n")
                assert sock.recv(10) == b"+PONG\r\n"
    harness.wait_until("all are gone", lambda: daemon.metrics()['pillion_connections{protocol="resp"}'] == 0)


def test_the_first_request_has_the_limits_of_all_others(store, start_pilliond, engine):
    store.make_release(rows=10, seed=1)
    daemon = start_pilliond(store, engine=engine)
    for before in (b"", b"PING\r\n"):
        with harness.connect(daemon.resp_unix) as sock:
            sock.sendall(before + b"*40000\r\n" + b"$4\r\nPING\r\n" * 40000 + b"PING\r\n")
            got = harness.read_until(sock, lambda got: got.endswith(b"+PONG\r\n") and b"-ERR" in got)
            assert b"limits.arguments" in got and got.startswith(b"-ERR " if not before else b"+PONG\r\n-ERR ")


def test_the_rest_of_the_first_request_must_come(store, start_pilliond, engine):
    store.make_release(rows=10, seed=1)
    daemon = start_pilliond(store, engine=engine, args=["--limits.request_timeout", "1s"])
    with harness.connect(daemon.resp_unix) as sock:
        sock.sendall(b"*1000000\r\n")
        assert sock.recv(200) == b""
