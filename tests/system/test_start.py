# SPDX-License-Identifier: Apache-2.0
"""Goal: the daemon that says it is ready serves, whatever the machine refuses; what it cannot do without is one
sentence at the start; what it was given and does not need is gone before it reads foreign bytes. Method: the real
daemon under limits (prlimit), refused system calls (seccomp), stopped threads (ptrace) and left-over descriptors; /proc
says what its processes hold."""
from __future__ import annotations

import ctypes
import os
import platform
import re
import socket
import sys
import threading
from pathlib import Path
from typing import Iterator

import harness
import pytest

SYSCALLS = {"x86_64": {"getrandom": 318, "memfd_create": 319, "io_uring_setup": 425},
            "aarch64": {"getrandom": 278, "memfd_create": 279, "io_uring_setup": 425}}
# Becomes the rest of the command line, with one system call refused (seccomp(2), as container runtimes do it).
REFUSE = """
import ctypes, os, struct, sys
number, error = int(sys.argv[1]), int(sys.argv[2])
code = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x00050000 | error), (0x06, 0, 0, 0x7fff0000)]
filters = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(code), ctypes.addressof(filters)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program) == 0, os.strerror(ctypes.get_errno())
os.execv(sys.argv[3], sys.argv[3:])
"""
EPERM = 1


def refusing(call: str) -> list[str]:
    numbers = SYSCALLS.get(platform.machine())
    if numbers is None:
        pytest.skip(f"the number of {call} on {platform.machine()} is not in this test")
    return [sys.executable, "-c", REFUSE, str(numbers[call]), str(EPERM)]


def limited(**limits: int) -> list[str]:
    return [harness.tool("prlimit"), *(f"--{name}={value}:{value}" for name, value in limits.items())]


@pytest.fixture
def start_as_stranger(store, start_pilliond, folder):
    """Starts a daemon as a user who runs nothing else: what the kernel counts, it counts for each user. Not as root: as
    the user who runs the tests."""

    def start(wrap: list[str], **options) -> harness.Pilliond:
        if os.geteuid() != 0:
            return start_pilliond(store, wrap=wrap, **options)
        uid = str(100000 + os.getpid())
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o777 if path.is_dir() else 0o644)
        before = os.umask(0)
        try:
            return start_pilliond(store, wrap=[*wrap, harness.tool("setpriv"), "--reuid", uid, "--regid", uid,
                                               "--clear-groups"], **options)
        finally:
            os.umask(before)

    return start


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def processes(daemon: harness.Pilliond) -> dict[str, int]:
    return {"supervisor": daemon.pid, "server": daemon.child("server"), "fetcher": daemon.child("fetcher")}


def engine_of(daemon: harness.Pilliond) -> tuple[str, str]:
    """What the metric says; status and log must say the same."""
    names = [name for name in daemon.metrics() if name.startswith("pillion_io_engine_info{")]
    assert len(names) == 1, names
    engine, reason = re.fullmatch(r'pillion_io_engine_info{engine="(.*)",reason="(.*)"}', names[0]).groups()
    page = daemon.status()
    assert (page["engine"], page["engine_reason"]) == (engine, reason)
    assert f"engine={engine}" in daemon.log and reason in daemon.log
    return engine, reason


def answers(daemon: harness.Pilliond, connections: int = 8) -> None:
    for _ in range(connections):
        with daemon.redis() as client:
            assert client.hget("driver_stats:5", "f3") is not None


# ---- The engine.

@pytest.mark.parametrize("memlock, workers", [(0, 1), (65536, 2), (1 << 20, 4), (8 << 20, 16)])
def test_locked_memory_that_does_not_suffice_means_epoll_for_all_workers(store, start_as_stranger, memlock, workers):
    store.make_release(rows=100)
    daemon = start_as_stranger(limited(memlock=memlock), workers=workers)
    answers(daemon)
    engine, reason = engine_of(daemon)
    if engine == "io_uring":
        pytest.skip("this kernel does not count rings, or these fit")
    assert "RLIMIT_MEMLOCK" in reason
    for sign_of_a_restart in ("worker failed", "server cannot run", "child ended"):
        assert sign_of_a_restart not in daemon.log


def test_a_refused_ring_means_epoll_and_says_why(store, start_pilliond):
    store.make_release(rows=100)
    daemon = start_pilliond(store, wrap=refusing("io_uring_setup"))
    answers(daemon)
    engine, reason = engine_of(daemon)
    assert engine == "epoll" and "Operation not permitted" in reason and "seccomp" in reason


def test_an_engine_that_was_asked_for_and_is_refused_is_never_ready(store, start_pilliond):
    store.make_release(rows=100)
    daemon = start_pilliond(store, engine="io_uring", ready=False, wrap=refusing("io_uring_setup"))
    harness.wait_until("the reason", lambda: "server cannot run" in daemon.log)
    assert re.search(r'"server cannot run".*why="worker 0 of 1: io_uring set-up: Operation not permitted', daemon.log)
    assert "event=ready" not in daemon.log, daemon.log
    assert daemon.stop() == 0


# ---- Readiness.

class Stopped:
    """Stops one thread of another process by ptrace(2), from a thread of its own, from `stopped` until `release`."""
    SEIZE, INTERRUPT, DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000

    def __init__(self, thread_id: int):
        self.thread_id, self.error = thread_id, 0
        self.stopped, self.released = threading.Event(), threading.Event()
        self.tracer = threading.Thread(target=self.trace, daemon=True)
        self.tracer.start()

    def trace(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        if libc.ptrace(self.SEIZE, self.thread_id, None, None) != 0:
            self.error = ctypes.get_errno()
        else:
            libc.ptrace(self.INTERRUPT, self.thread_id, None, None)
            os.waitpid(self.thread_id, self.WALL)
        self.stopped.set()
        self.released.wait()
        libc.ptrace(self.DETACH, self.thread_id, None, None)

    def release(self) -> None:
        self.released.set()
        self.tracer.join(harness.DEADLINE_S)


@pytest.fixture
def stop_thread() -> Iterator:
    stops: list[Stopped] = []

    def stop(thread_id: int) -> Stopped:
        stops.append(Stopped(thread_id))
        assert stops[-1].stopped.wait(harness.DEADLINE_S)
        if stops[-1].error != 0:
            pytest.skip(f"ptrace: {os.strerror(stops[-1].error)}")
        return stops[-1]

    yield stop
    for stop in stops:
        stop.release()


def test_a_worker_that_is_stuck_makes_the_node_unready(store, start_pilliond, stop_thread, engine):
    store.make_release(rows=100)
    daemon = start_pilliond(store, engine=engine, workers=2)
    server = daemon.child("server")
    workers = sorted(int(task.name) for task in Path(f"/proc/{server}/task").iterdir() if int(task.name) != server)
    assert len(workers) == 2

    def ready() -> tuple[int, str]:
        answer = harness.http(daemon.admin, "GET", "/readyz")
        return answer.status, answer.text

    assert ready() == (200, "ready\n")
    stop = stop_thread(workers[1])
    harness.wait_until("not ready", lambda: ready()[0] == 503)
    assert re.fullmatch(r"\[-\] workers run: worker 1 made no turn for \d+\.\d s, bound 1 s\nnot ready\n", ready()[1])
    page = daemon.status()
    assert not page["ready"] and page["not_ready"][0].startswith("workers run: worker 1 made no turn for ")
    shown = harness.run([harness.program("pillion"), "status", "--admin", daemon.admin], code=1).stdout
    assert "workers run: worker 1 made no turn for " in shown
    stop.release()
    harness.wait_until("ready again", lambda: ready() == (200, "ready\n"))


# ---- Descriptors.

def is_open(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        return sock.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def test_limits_above_the_hard_limit_of_open_files_are_lowered_and_said(store, start_pilliond, engine):
    store.make_release(rows=100)
    daemon = start_pilliond(store, engine=engine, wrap=limited(nofile=512), args=["--limits.connections", "3000"])
    said = re.search(r'event="limit lowered" why="limits\.connections: lowered from 3000 to (\d+), because the hard '
                     r'limit of open files is 512 and the limits need (\d+); raise it \(LimitNOFILE', daemon.log)
    assert said, daemon.log
    lowered, needed = map(int, said.groups())
    assert 3000 - lowered == needed - 512
    assert daemon.status()["limits"]["connections"] == lowered
    doctor = harness.run([harness.program("pillion"), "doctor", "--admin", daemon.admin], code=None).stdout
    assert f"at most {lowered} connections" in doctor
    held = [harness.connect(daemon.resp_unix) for _ in range(700)]  # one process has nine tenths of the places
    try:
        harness.wait_until("the rest is refused", lambda: sum(is_open(sock) for sock in held) == lowered * 9 // 10)
        again = store.make_release(rows=100, seed=2)
        daemon.wait_serving(again)  # there were descriptors left for its shards
    finally:
        for sock in held:
            sock.close()
    daemon.signal(1)
    harness.wait_until("reloaded", lambda: "event=reloaded" in daemon.log)
    assert "changes that need a restart" not in daemon.log


def test_a_soft_limit_is_raised(store, start_pilliond):
    store.make_release(rows=100)
    daemon = start_pilliond(store, wrap=[harness.tool("prlimit"), "--nofile=64:8192"])
    assert "limit lowered" not in daemon.log
    limits = Path(f"/proc/{daemon.child('server')}/limits").read_text()
    assert re.search(r"Max open files\s+8192\s+8192", limits)


def refuse_to_start(store, start_pilliond, sentence: str, **options) -> None:
    store.make_release(rows=100)
    daemon = start_pilliond(store, ready=False, **options)
    assert daemon.wait() == 3
    lines = [line for line in daemon.log.splitlines() if line.startswith("pilliond: ")]
    assert len(lines) == 1 and re.search(sentence, lines[0]), daemon.log
    assert "child" not in daemon.log


def test_too_few_descriptors_are_said(store, start_pilliond):
    refuse_to_start(store, start_pilliond, r"the hard limit of open files is 64: \d+ are needed before the first "
                    r"client, and \d+ for limits.connections and limits.mapped_sessions; raise it",
                    wrap=limited(nofile=64))


@pytest.mark.parametrize("call, sentence", [("memfd_create", "memfd_create.*Operation not permitted; .*sealed memory"),
                                            ("getrandom", "getrandom: Operation not permitted; allow")])
def test_a_system_call_that_it_cannot_do_without_is_said(store, start_pilliond, call, sentence):
    refuse_to_start(store, start_pilliond, sentence, wrap=refusing(call))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can hide /proc")
def test_a_missing_proc_is_said(store, start_pilliond):
    hide = [harness.tool("unshare"), "-m", "sh", "-c", 'umount -l /proc && exec "$@"', "sh"]
    if harness.run([*hide, "true"], code=None).returncode != 0:
        pytest.skip("unshare -m is refused")
    if harness.is_sanitized():
        pytest.skip("the sanitizer itself needs /proc")
    refuse_to_start(store, start_pilliond, "/proc/self/exe: No such file.*mount /proc", wrap=hide)


def test_check_config_says_the_same(store, folder):
    argv = [*limited(nofile=512, memlock=0), harness.program("pilliond"), "--store", store.url, "--serve",
            "rides/driver_stats@production", "--listen", f"resp=unix:{folder}/r", "--workers", "1", "--check-config"]
    store.make_release(rows=10)
    done = harness.run(argv)
    assert "limits.connections: lowered from 4096 to " in done.stderr
    assert re.search(r"epoll \(io_uring set-up: Cannot allocate memory \(RLIMIT_MEMLOCK|io_uring \(all", done.stdout)


# ---- What it was given.

def open_files(pid: int) -> dict[int, str]:
    found = {}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found[int(entry.name)] = os.readlink(entry)
        except OSError:
            continue
    return found


def test_descriptors_of_the_caller_are_closed(store, start_pilliond, folder):
    store.make_release(rows=100)
    leaky = folder / "secret"
    leaky.write_text("x")
    leak = ["sh", "-c", f'exec 5<{leaky} 9<{leaky} 200<{leaky} 2>>{folder}/log; exec "$@"', "sh"]
    daemon = start_pilliond(store, wrap=["bash", *leak[1:]])
    for name, pid in processes(daemon).items():
        assert str(leaky) not in open_files(pid).values(), name


def test_a_closed_stderr_gives_its_number_to_nothing_else(store, start_pilliond):
    store.make_release(rows=100)
    daemon = start_pilliond(store, wrap=["sh", "-c", 'exec <&- >&- 2>&-; exec "$@"', "sh"])
    answers(daemon)
    for name, pid in processes(daemon).items():
        files = open_files(pid)
        assert [files[number] for number in range(3)] == ["/dev/null"] * 3, name


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has capabilities to give up")
@pytest.mark.parametrize("user", ["", "nobody"])
def test_root_keeps_no_capability(store, start_pilliond, folder, user):
    store.make_release(rows=100)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o644)
    daemon = start_pilliond(store, args=["--user", user] if user else [])
    for name, pid in processes(daemon).items():
        status = status_of(pid)
        sets = {key: int(status[key], 16) for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
        assert not any(sets.values()), (name, sets)
        assert status["NoNewPrivs"] == "1", name
        assert status["Uid"].split() == ["65534" if user else "0"] * 4, name


def test_another_user_than_root_has_no_privileges_to_gain(store, start_as_stranger):
    store.make_release(rows=100)
    daemon = start_as_stranger([])
    for name, pid in processes(daemon).items():
        status = status_of(pid)
        assert int(status["CapPrm"], 16) == int(status["CapAmb"], 16) == 0 and status["NoNewPrivs"] == "1", name
