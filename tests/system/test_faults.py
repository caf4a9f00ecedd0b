# SPDX-License-Identifier: Apache-2.0
"""Goal: whichever allocation or system call fails, once, nothing crashes or hangs, somebody says what failed, the old
release is served on, and everything works when the fault is gone.

Method: each scenario is run once to count its calls, then again and again with the nth of them failing: a sample of n,
the same for the same PIL_SEED, a larger one with PIL_LONG=1, every n with PIL_FAULT_SAMPLES=0. Programs are best those
of the dev build, whose sanitizers see what a failure path does to memory.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
from collections import Counter
from typing import Any, Callable, Iterable, Iterator

import faults
import harness
import pytest

sys.path.insert(0, str(harness.ROOT / "tests" / "python"))
from mapped_reader import MappedClient  # noqa: E402

SEED = int(os.environ.get("PIL_SEED", "1"))
IS_LONG = os.environ.get("PIL_LONG") == "1"
SAMPLES = int(os.environ.get("PIL_FAULT_SAMPLES", "300" if IS_LONG else "6"))  # 0: every n
VIEW = "rides/driver_stats"
PATIENCE_S = 8.0 if not IS_LONG else harness.DEADLINE_S  # a retry comes after a second, then two, then four
KINDS = ("alloc", "call")
ROLES = ("supervisor", "server", "fetcher")
SANITIZER_ITSELF = "AddressSanitizer: CHECK failed: sanitizer_"
ASSERTION = re.compile(r"(\w+\.[ch]):\d+: assertion failed: (.*)")


def chosen(count: int, samples: int = SAMPLES) -> list[int]:
    """Which of 1 … count fail: all, or the first two, the last, and some between."""
    if samples == 0 or count <= samples:
        return list(range(1, count + 1))
    return sorted({1, 2, count, *random.Random(SEED).sample(range(3, count), samples - 3)})


class Findings:
    """What went wrong, by what and where; empty at the end, or the test fails with all of it."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.first: dict[str, str] = {}

    def add(self, what: str, where: str, output: str = "") -> None:
        self.counts[what] += 1
        self.first.setdefault(what, f"{where}\n{output[-6000:]}")

    def look_at(self, output: str, where: str) -> bool:
        """Whether something broke: a sanitizer reported, an assertion failed, a child died by a signal. A sanitizer
        that needs memory itself, to start a thread, is not a finding."""
        broken = [line for line in output.splitlines() if harness.BROKEN.search(line)]
        failed = ASSERTION.search("\n".join(broken))
        if failed is not None:
            self.add(f"{failed.group(1)}: {failed.group(2)}", where)
        elif broken and SANITIZER_ITSELF not in broken[0]:
            what = next((line for line in output.splitlines() if line.startswith("SUMMARY:")), broken[0])
            leaks = "leaks memory" if re.search("SUMMARY: .*leaked", what) else ""
            self.add(leaks or re.sub(r"time=\S+ ", "", what).strip()[:160], where, output)
        return bool(broken)

    def check(self) -> None:
        if self.counts:
            rows = [f"{count}× {what}: first with {self.first[what]}" for what, count in self.counts.most_common()]
            pytest.fail("\n\n".join(rows), pytrace=False)


@pytest.fixture
def found() -> Iterator[Findings]:
    findings = Findings()
    yield findings
    findings.check()


@pytest.fixture
def injected(folder) -> faults.Faults:
    return faults.Faults(folder)


def expected(key: int, feature: int, seed: int) -> str:
    return f"{float((key * 31 + feature * 7 + seed) % 1000003)}"


# ---- Commands that end

def make_release_argv(store: harness.Store) -> list[str]:
    return [harness.program("make_release"), "--store", store.url, "--project", "rides", "--view", "driver_stats",
            "--rows", "500", "--features", "5", "--kind", "all", "--channel", "production"]


def command_argv(name: str, store: harness.Store, refs: list[str]) -> list[str]:
    """Promotions go to the release that is not pointed at."""
    pillion, at_store = harness.program("pillion"), ["--store", store.url]
    return {
        "make_release": make_release_argv(store),
        "promote": [pillion, "promote", refs[1], "--channel", "production", *at_store],
        "rollback": [pillion, "rollback", VIEW, "--channel", "production", *at_store],
        "releases": [pillion, "releases", VIEW, *at_store],
        "inspect": [pillion, "inspect", refs[0], *at_store],
        "verify": [pillion, "verify", refs[0], *at_store],
        "gc": [pillion, "gc", "--keep", "9", *at_store],
    }[name]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["make_release", "promote", "rollback", "releases", "inspect", "verify", "gc"])
def test_commands(store, injected, found, name, kind):
    refs = [store.make_release(rows=200, seed=seed) for seed in (1, 2, 3)]
    env = {**os.environ, **injected.env}
    role = name if name == "make_release" else "pillion"

    def once(nth: int) -> subprocess.CompletedProcess[str]:
        if name in ("promote", "rollback"):
            store.promote(refs[2])
        with injected.armed(role, kind, nth):
            return harness.run(command_argv(name, store, refs), code=None, env=env, timeout=harness.DEADLINE_S)

    assert once(0).returncode == 0
    assert injected.count > 0
    for nth in chosen(injected.count, 2 * SAMPLES):
        done = once(nth)
        where = f"{name}, {kind} {nth} failed: {injected.where()}"
        if found.look_at(done.stderr, where):
            continue
        if done.returncode not in (0, 1, 3):  # 4 would call damaged what could not be read
            found.add(f"exit code {done.returncode}", where, done.stderr)
        elif done.returncode != 0 and not (done.stderr + done.stdout).strip():
            found.add("nothing said", where)
    assert once(0).returncode == 0
    store.pillion("verify", refs[0])
    assert len(store.pillion("releases", VIEW).stdout.splitlines()) >= 3


# ---- A daemon that starts

def answers(daemon: harness.Pilliond, seeds: Iterable[int]) -> bool:
    try:
        got = daemon.redis().hget("driver_stats:7", "f1")
    except Exception:  # noqa: BLE001: whatever the client raises, it is no answer
        return False
    return got is not None and got.decode() in {expected(7, 1, seed) for seed in seeds}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("role", ROLES)
def test_start(folder, store, injected, found, role, kind):
    store.make_release(rows=200, seed=1)

    def once(number: int, nth: int) -> harness.Pilliond:
        own = folder / f"d{number}"
        own.mkdir()
        with injected.armed(role, kind, nth):
            daemon = harness.Pilliond(own, store, env=injected.env, ready=False, args=["--poll_interval", "200ms"])
            try:
                daemon.wait_ready(PATIENCE_S)
            except AssertionError as error:
                if "pilliond exited" in str(error):  # or its word "ready" is what failed
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        daemon.popen.wait(PATIENCE_S)
        return daemon

    daemon = once(0, 0)
    count = injected.count
    assert count > 0
    assert answers(daemon, [1]) and daemon.stop() == 0
    daemon.destroy()
    for nth in chosen(count):
        daemon = once(nth, nth)
        where = f"start, {role}, {kind} {nth} failed: {injected.where()}"
        alive = daemon.alive()
        if alive and not answers(daemon, [1]):
            found.add("alive and no answer", where, daemon.log)
        code = daemon.stop() if alive else daemon.wait()
        if not found.look_at(daemon.log, where):
            if code not in ((0,) if alive else (1, 3)):
                found.add(f"exit code {code}", where, daemon.log)
            elif not daemon.log.strip():
                found.add("nothing said", where)
        daemon.destroy()


# ---- A daemon that runs

class Running:
    """A daemon that is asked the same thing with the nth call of one of its processes failing. When its supervisor dies
    it is started again."""

    def __init__(self, start: Callable[[], harness.Pilliond], injected: faults.Faults, found: Findings):
        self.start, self.injected, self.found, self.seen = start, injected, found, 0
        self.daemon = start()

    def news(self) -> str:
        """What was logged since the last time."""
        log = self.daemon.log
        news, self.seen = log[self.seen:], len(log)
        return news

    def each(self, what: str, role: str, kind: str, act: Callable[[], Any], check: Callable[[], None]) -> None:
        with self.injected.armed(role, kind, 0):
            act()
            check()
        for nth in chosen(self.injected.count):
            self.once(what, role, kind, nth, act, check)
        if self.daemon.alive() and self.daemon.stop() != 0:
            self.found.add("does not stop", what, self.daemon.log)

    def once(self, what: str, role: str, kind: str, nth: int, act: Callable[[], Any],
             check: Callable[[], None]) -> None:
        failure = ""
        self.news()
        with self.injected.armed(role, kind, nth):
            act()
            try:
                check()
            except AssertionError as error:
                failure = f"{what}: {error}".splitlines()[0][:160]
        news, where = self.news(), f"{what}, {role}, {kind} {nth} failed: {self.injected.where()}"
        broken = self.found.look_at(news, where)
        if failure and not broken:
            self.found.add(failure, where, news)
        if failure or not self.daemon.alive():
            if not broken and not self.daemon.alive():
                self.found.add("the supervisor ended", where, news)
            self.daemon.destroy()
            self.daemon, self.seen = self.start(), 0


@pytest.fixture
def running(folder, store, injected, found) -> Iterator[Callable[..., Running]]:
    started: list[harness.Pilliond] = []

    def start_with(**options: Any) -> Running:
        config = folder / "pilliond.yaml"
        config.write_text(f"serve:\n  - {{view: {VIEW}, channel: production}}\nlisten:\n"
                          f"  - {{protocol: mapped, address: \"unix:{folder}/mapped.sock\"}}\n")

        def start() -> harness.Pilliond:
            own = folder / f"d{len(started)}"
            own.mkdir()
            started.append(harness.Pilliond(own, store, serve=[], env=injected.env, ready=False, **options,
                                            args=["--config", str(config), "--poll_interval", "200ms"]))
            started[-1].wait_ready()
            return started[-1]

        return Running(start, injected, found)

    yield start_with
    for daemon in started:
        daemon.destroy()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("role", ROLES)
def test_swap(store, running, role, kind):
    refs = [store.make_release(rows=200, seed=seed) for seed in (1, 2)]
    run = running()
    turn = [0]

    def promote() -> None:
        turn[0] ^= 1
        store.promote(refs[turn[0] ^ 1])

    def published() -> None:
        seed = 2 - turn[0]
        harness.wait_until("the new release", lambda: answers(run.daemon, [seed]), PATIENCE_S)

    run.each("swap", role, kind, promote, published)


@pytest.mark.parametrize("role,kind,call,why", [("server", "call", "mmap", "Cannot allocate memory"),
                                                ("supervisor", "alloc", "calloc", "the supervisor cannot hold shard")])
def test_a_release_waits_for_memory_and_says_so(store, start_pilliond, injected, role, kind, call, why):
    """For as long as there is none the old release goes on and everybody is told why; then it comes by itself."""
    refs = [store.make_release(rows=200, seed=seed) for seed in (1, 2)]
    store.promote(refs[0])
    # Nothing but the back-off wakes the supervisor.
    daemon = start_pilliond(store, env=injected.env, args=["--poll_interval", "1h"])
    harness.wait_until("the first release", lambda: answers(daemon, [1]))

    def view() -> dict[str, Any]:
        return daemon.view_status()

    def waiting() -> float:
        return daemon.metrics()['pillion_release_waiting{view="rides/driver_stats"}']

    assert waiting() == 0
    with injected.armed(role, kind, 1, span=10**6, call=call, obj="pilliond"):
        store.promote(refs[1])
        harness.wait_until("three failures", lambda: injected.fired >= 3)  # at once, after one second, after two more
        refused = view()["refused"]
        assert refused["result"] == "shortage" and why in refused["why"]
        assert refs[1].endswith(refused["release"])
        assert waiting() == 1
        drawn = harness.run([harness.program("pillion"), "status", "--admin", daemon.admin]).stdout
        assert "(shortage): " in drawn
        assert answers(daemon, [1])
    harness.wait_until("the new release", lambda: answers(daemon, [2]))
    assert "refused" not in view() and waiting() == 0
    assert "child ended" not in daemon.log
    assert daemon.log.count('event="release waits no longer"') == 1
    if role == "server":
        assert daemon.log.count('event="release waits, it is tried again"') == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("role", ["supervisor", "server"])
def test_reload(folder, store, running, role, kind):
    store.make_release(rows=200, seed=1)
    run = running()
    config, text, turn = folder / "pilliond.yaml", (folder / "pilliond.yaml").read_text(), [0]

    def change() -> None:
        turn[0] += 1
        config.write_text(text + f"staleness_bound: {1000 + turn[0]}s\n")
        run.daemon.signal(signal.SIGHUP)

    def taken() -> None:
        def is_done() -> bool:
            page = harness.http(run.daemon.admin, "GET", "/readyz?verbose").text
            return f"bound {1000 + turn[0]} s" in page or "reload refused" in run.daemon.log[run.seen:]

        harness.wait_until("the reload", is_done, PATIENCE_S)
        harness.wait_until("an answer", lambda: answers(run.daemon, [1]), PATIENCE_S)

    run.each("reload", role, kind, change, taken)


@pytest.mark.parametrize("nth", [1, 2])
def test_a_reload_that_cannot_be_passed_on(folder, store, running, injected, nth):
    """A child that does not get the new configuration is replaced by one that starts with it."""
    store.make_release(rows=200, seed=1)
    run = running()
    child = ("server", "fetcher")[nth - 1]
    before = run.daemon.child(child)
    config = folder / "pilliond.yaml"
    config.write_text(config.read_text() + "staleness_bound: 1234s\n")
    with injected.armed("supervisor", "call", nth, call="memfd_create"):
        run.daemon.signal(signal.SIGHUP)
        harness.wait_until("the failure", lambda: injected.fired)
    harness.wait_until("another child", lambda: run.daemon.child(child) != before)
    harness.wait_until("the new bound", lambda: "bound 1234 s" in harness.http(
        run.daemon.admin, "GET", "/readyz?verbose").text)
    assert answers(run.daemon, [1])
    assert "child ended" not in run.daemon.log


def request(protocol: str, daemon: harness.Pilliond, folder: Any) -> bool:
    """One request on a connection of its own; whether it was answered."""
    if protocol == "resp":
        with harness.connect(daemon.resp_unix, 5) as sock:
            sock.sendall(b"MULTI\r\nHGET driver_stats:7 f1\r\nEXEC\r\nPIL.PLAN every\r\nPIL.VECTOR every 1 2 3\r\n")
            got = b""
            while b"f0" not in got and len(got) < 150:
                more = sock.recv(65536)
                if not more:
                    return False
                got += more
        return expected(7, 1, 1).encode() in got
    if protocol == "feast":
        answer = daemon.online_features({"id": [1, 2, 9999]}, ["driver_stats:f1"])
        return answer.status == 200 and expected(1, 1, 1) in answer.text
    if protocol == "oip":
        body = {"inputs": [{"name": "id", "shape": [2], "datatype": "INT64", "data": [1, 2]}]}
        answer = harness.http(daemon.oip, "POST", "/v2/models/every/infer", body)
        return answer.status == 200 and "outputs" in answer.json()
    if protocol == "admin":
        return all(harness.http(daemon.admin, "GET", f"/{page}").status == 200
                   for page in ("readyz", "status", "metrics", "hist", "slowlog"))
    client = MappedClient(str(folder / "mapped.sock"), "faults")
    try:
        return float(client.read(VIEW, [7])["f1"]) == float(expected(7, 1, 1))
    finally:
        client.close()


def shape(value: Any) -> Any:
    """What keys a document has, and how many rows; a histogram's buckets come and go."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items() if key != "buckets"}
    return [shape(inner) for inner in value] if isinstance(value, list) else type(value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("protocol", ["resp", "feast", "oip", "admin", "mapped"])
def test_requests(folder, store, running, engine, protocol, kind):
    if engine == "io_uring" and kind == "call":
        pytest.skip("the ring's system calls are not libc's")
    store.make_release(rows=200, seed=1)
    run = running(engine=engine)

    def ask() -> None:
        try:
            request(protocol, run.daemon, folder)
        except Exception:  # noqa: BLE001: this one may fail in whatever way
            pass

    def answered() -> None:
        harness.wait_until("an answer", lambda: request(protocol, run.daemon, folder), PATIENCE_S)

    run.each(protocol, "server", kind, ask, answered)


@pytest.mark.parametrize("call,maker", [("malloc", "pilliond"), ("calloc", "pilliond")])
@pytest.mark.parametrize("page", ["status", "hist", "slowlog"])
def test_a_page_without_memory_says_so(store, running, injected, page, call, maker):
    """A page is whole, or it is 503; a document that lacks what there was no memory for would be taken for the truth.
    The page is asked until none of its allocations is left to fail."""
    store.make_release(rows=200, seed=1)
    run = running()
    assert answers(run.daemon, [1])
    whole, refusals = shape(harness.http(run.daemon.admin, "GET", f"/{page}").json()), 0
    for nth in range(1, 1000):
        with injected.armed("server", "alloc", nth, call=call, obj=maker):
            try:
                answer = harness.http(run.daemon.admin, "GET", f"/{page}")
            except OSError:  # there was none for the connection
                continue
        if not injected.fired:
            break
        if answer.status == 503:
            assert answer.text == "no memory for this page\n"
            refusals += 1
        else:
            assert shape(answer.json()) == whole, injected.where()
    assert refusals > 0 or (page, call) == ("status", "calloc")
    assert "child ended" not in run.daemon.log
