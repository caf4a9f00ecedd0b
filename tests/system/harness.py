# SPDX-License-Identifier: Apache-2.0
"""Starts and asks the real programs, for the system tests: a store, pilliond, pillion, redis-server.

Everything lives in one short folder per test (socket paths have 107 bytes) and on loopback ports that were free a
moment ago. Nothing sleeps to wait: readiness is a line on a pipe, everything else is polled against a deadline and
fails with the logs. What the daemon itself promises is tested elsewhere; here is only what tests have in common.
"""
from __future__ import annotations

import contextlib
import ctypes
import errno
from http import client as http_client
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, ClassVar, Iterable, Mapping, Sequence

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN_DIR = Path(os.environ.get("PILLION_BIN_DIR", ROOT / "build" / "release" / "bin"))
ENGINES = ("io_uring", "epoll")
os.environ["LC_ALL"] = "C.UTF-8"  # in other locales `pillion` draws in ASCII
# Sanitized programs and shared machines are slow; a deadline is for hangs, not a figure.
PORTS_GIVEN_MAX = 10000  # then ports are given again
DEADLINE_S = float(os.environ.get("PILLION_TEST_DEADLINE_S", "30"))
# What no process may say, and what no child may die of; by signal 9 the supervisor ends one that it cannot talk to.
BROKEN = re.compile(r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:|assertion failed|stack smashing"
                    r"|how=\"signal (?!9\b)")


def program(name: str) -> str:
    """Path of one of our programs; a test that needs one that was not built is skipped, and says so."""
    for path in (BIN_DIR / name, BIN_DIR.parent / "tests" / name):
        if path.is_file():
            return str(path)
    pytest.skip(f"{name} is not built in {BIN_DIR}")


def is_sanitized() -> bool:
    """Whether the programs bring AddressSanitizer's allocator and its reservations."""
    return b"__asan_init" in Path(program("pilliond")).read_bytes()


def tool(name: str) -> str:
    """Path of a program of the system."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def run(argv: Sequence[str], code: int | None = 0, timeout: float = 120,
        **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs to the end; an exit code other than `code` (None: any) fails with all output."""
    done = subprocess.run([str(a) for a in argv], text=True, capture_output=True, timeout=timeout, check=False,
                          **options)
    if code is not None and done.returncode != code:
        command = " ".join(str(a) for a in argv)
        raise AssertionError(f"{command}\nexit {done.returncode}, expected {code}\n{done.stdout}\n{done.stderr}")
    return done


def wait_until(what: str, check: Callable[[], Any], deadline_s: float = DEADLINE_S) -> Any:
    """The first true answer of `check`. OSError counts as "not yet". A failure shows the logs of what still runs."""
    end = time.monotonic() + deadline_s
    last: object = None
    while True:
        try:
            last = check()
            if last:
                return last
        except OSError as error:
            last = error
        if time.monotonic() > end:
            logs = "".join(f"\n--- {process.name} (pid {process.pid})\n{process.log}" for process in Process.started)
            raise AssertionError(f"{what}: not within {deadline_s:g} s; last: {last!r}{logs}")
        time.sleep(0.01)


given_ports: set[int] = set()


def free_ports(count: int) -> list[int]:
    """Different ones, also from those of earlier calls, which may not be in use yet."""
    ports: list[int] = []
    with contextlib.ExitStack() as stack:
        while len(ports) < count:
            probe = stack.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
            if port not in given_ports or len(given_ports) > PORTS_GIVEN_MAX:
                given_ports.add(port)
                ports.append(port)
    return ports


def free_port() -> int:
    return free_ports(1)[0]


def io_uring_refusal() -> str | None:
    """Why this kernel or container refuses io_uring, or None: asked without any code of ours."""
    libc = ctypes.CDLL(None, use_errno=True)
    params = (ctypes.c_uint8 * 120)()
    fd = libc.syscall(425, 8, params)  # io_uring_setup
    if fd < 0:
        return f"io_uring_setup: {os.strerror(ctypes.get_errno())}"
    os.close(fd)
    return None


class UnixHTTPConnection(http_client.HTTPConnection):
    def __init__(self, path: str, timeout: float = DEADLINE_S):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Answer:
    """An HTTP answer, read to its end."""

    def __init__(self, response: http_client.HTTPResponse):
        self.status = response.status
        self.headers = dict((k.lower(), v) for k, v in response.getheaders())
        self.body = response.read()

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


def connect(address: str, timeout: float = DEADLINE_S) -> socket.socket:
    """A connected socket to "unix:PATH" or "tcp:HOST:PORT"."""
    kind, _, rest = address.partition(":")
    if kind == "unix":
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(timeout)
        sock.connect(rest)
        return sock
    host, _, port = rest.rpartition(":")
    return socket.create_connection((host, int(port)), timeout)


def read_until(sock: socket.socket, is_done: Callable[[bytearray], Any], piece: int = 65536) -> bytes:
    """What comes, up to where `is_done` of it is true; a connection that ends before fails."""
    got = bytearray()
    while not is_done(got):
        more = sock.recv(piece)
        assert more, f"the connection ended after {len(got)} bytes: …{bytes(got[-200:])!r}"
        got += more
    return bytes(got)


def http_connection(address: str, timeout: float = DEADLINE_S) -> http_client.HTTPConnection:
    kind, _, rest = address.partition(":")
    if kind == "unix":
        return UnixHTTPConnection(rest, timeout)
    host, _, port = rest.rpartition(":")
    return http_client.HTTPConnection(host, int(port), timeout=timeout)


def http(address: str, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
    """One request on a connection of its own. A body that is not text or bytes goes as JSON."""
    if body is not None and not isinstance(body, (str, bytes)):
        body = json.dumps(body)
    connection = http_connection(address)
    try:
        connection.request(method, path, body, dict(headers or {}))
        return Answer(connection.getresponse())
    finally:
        connection.close()


class Process:
    """A program in the background with its output in a file."""

    started: ClassVar[list["Process"]] = []  # and not yet destroyed

    def __init__(self, name: str, argv: Sequence[str], folder: Path, env: Mapping[str, str] | None = None,
                 pass_fds: Iterable[int] = ()):
        self.name = name
        self.log_path = folder / f"{name}.log"
        self.argv = [str(a) for a in argv]
        with open(self.log_path, "ab") as log:
            self.popen = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                          env={**os.environ, **(env or {})}, pass_fds=tuple(pass_fds))
        Process.started.append(self)

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def log(self) -> str:
        try:
            return self.log_path.read_text(errors="replace")
        except FileNotFoundError:  # its folder was removed
            return "(its log is gone)"

    def check_log(self, *more: str) -> None:
        """Fails where the log says what no process may say, or one of `more`."""
        log = self.log
        found = re.search("|".join([BROKEN.pattern, *map(re.escape, more)]), log)
        assert found is None, f"{self.name}: {log[max(0, found.start() - 500):][:4000]}"

    def alive(self) -> bool:
        return self.popen.poll() is None

    def signal(self, number: int) -> None:
        self.popen.send_signal(number)
        if number == signal.SIGKILL:
            self.wait()  # its children may go on

    def wait(self, deadline_s: float = DEADLINE_S) -> int:
        try:
            return self.popen.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} still runs after {deadline_s:g} s\n{self.log}") from None

    def stop(self) -> int:
        """SIGTERM and wait; its exit code (negative: the signal that ended it)."""
        if self.alive():
            self.signal(signal.SIGTERM)
        return self.wait()

    def destroy(self) -> None:
        if self.alive():
            self.popen.kill()
            self.popen.wait()
        if self in Process.started:
            Process.started.remove(self)


def children_of(pid: int) -> dict[str, int]:
    """Name (argv[0]'s or comm) to pid of the direct children, from /proc."""
    found: dict[str, int] = {}
    for task in Path(f"/proc/{pid}/task").glob("*"):
        for child in (task / "children").read_text().split():
            try:
                found[Path(f"/proc/{child}/comm").read_text().strip()] = int(child)
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


class Store:
    """A directory store, and the commands that fill it."""

    def __init__(self, path: Path):
        self.path = path
        self.url = f"dir:{path}"

    def pillion(self, *args: str, code: int | None = 0, **options: Any) -> subprocess.CompletedProcess[str]:
        """`pillion ARGS --store THIS`."""
        return run([program("pillion"), *args, "--store", self.url], code=code, **options)

    def make_release(self, project: str = "rides", view: str = "driver_stats", rows: int = 1000, features: int = 10,
                     seed: int = 1, kind: str = "floats", channel: str | None = "production",
                     args: Sequence[str] = ()) -> str:
        """A synthetic release; "project/view@release". Promoted to `channel` unless that is None. What its values are
        stands on top of tests/support/make_release.c."""
        promote = [] if channel is None else ["--channel", channel]
        done = run([program("make_release"), "--store", self.url, "--project", project, "--view", view,
                    "--rows", str(rows), "--features", str(features), "--seed", str(seed), "--kind", kind,
                    *promote, *args])
        return done.stdout.strip().splitlines()[-1]

    def build(self, path: Path) -> list[str]:
        """Applies the project file, builds all its views as a user does, and promotes them; their releases."""
        self.pillion("apply", str(path))
        built = run([sys.executable, "-m", "pillion.build", path, "--store", self.url], timeout=300)
        refs = [line.strip() for line in built.stdout.splitlines() if "@" in line]
        for ref in refs:
            self.promote(ref)
        return refs

    def promote(self, ref: str, channel: str = "production") -> None:
        self.pillion("promote", ref, "--channel", channel)


class Pilliond(Process):
    """The daemon, listening on everything it can: Unix and TCP sockets for resp, TCP for feast, oip and admin.

    start() returns when it is ready; `ready=False` returns at once (then wait_ready, or expect an exit). `wrap`: a
    command that becomes the daemon by exec."""

    def __init__(self, folder: Path, store: Store, serve: Sequence[str] = ("rides/driver_stats@production",),
                 engine: str = "auto", workers: int = 1, args: Sequence[str] = (), env: Mapping[str, str] | None = None,
                 listen: Mapping[str, str] | None = None, ready: bool = True, wrap: Sequence[str] = ()):
        self.folder = folder
        self.resp_unix = f"unix:{folder}/resp.sock"
        self.resp_tcp, self.feast, self.oip, self.admin = (f"tcp:127.0.0.1:{port}" for port in free_ports(4))
        if listen is None:
            addresses = [("resp", self.resp_unix), ("resp", self.resp_tcp), ("feast", self.feast),
                         ("oip", self.oip), ("admin", self.admin)]
        else:
            addresses = list(listen.items())
        argv = [*wrap, program("pilliond"), "--store", store.url, "--engine", engine, "--workers", str(workers)]
        argv += [part for view in serve for part in ("--serve", view)]
        argv += [part for protocol, address in addresses for part in ("--listen", f"{protocol}={address}")]
        self._ready_read, ready_write = os.pipe()
        try:
            super().__init__("pilliond", [*argv, "--ready-fd", str(ready_write), *args], folder, env, [ready_write])
        finally:
            os.close(ready_write)
        if ready:
            try:
                self.wait_ready()
            except BaseException:
                self.destroy()  # nobody else has it
                raise

    def wait_ready(self, deadline_s: float = DEADLINE_S) -> None:
        readable, _, _ = select.select([self._ready_read], [], [], deadline_s)
        line = os.read(self._ready_read, 64) if readable else b""
        if line != b"ready\n":
            how = "exited" if readable else f"was not ready within {deadline_s:g} s"
            raise AssertionError(f"pilliond {how}; {' '.join(self.argv)}\n{self.log}")

    @property
    def resp_path(self) -> str:
        return self.resp_unix.partition(":")[2]

    def child(self, name: str) -> int:
        """Pid of the "server" or the "fetcher"."""
        return wait_until(f"pilliond's {name}", lambda: next(
            (pid for comm, pid in children_of(self.pid).items() if name in comm), None))

    def kill_server(self) -> None:
        """And waits for the next one's process."""
        old = self.child("server")
        os.kill(old, signal.SIGKILL)
        wait_until("another server", lambda: self.child("server") != old)

    def redis(self, protocol: int = 2, tcp: bool = False, **options: Any) -> Any:
        import redis
        if tcp:
            return redis.Redis(port=int(self.resp_tcp.rpartition(":")[2]), protocol=protocol, **options)
        return redis.Redis(unix_socket_path=self.resp_path, protocol=protocol, **options)

    def online_features(self, entities: Mapping[str, Sequence[Any]], features: Sequence[str], **more: Any) -> Answer:
        return http(self.feast, "POST", "/get-online-features", {"entities": entities, "features": features, **more})

    def metrics(self) -> dict[str, float]:
        """Every sample of /metrics by its name and labels, as they are written there."""
        samples = {}
        for line in http(self.admin, "GET", "/metrics").text.splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                samples[name] = float(value)
        return samples

    def status(self) -> dict[str, Any]:
        """The page /status."""
        return http(self.admin, "GET", "/status").json()

    def view_status(self, view: str = "driver_stats") -> dict[str, Any]:
        """What that page says of a view."""
        return next(found for found in self.status()["views"] if found["view"] == view)

    def serving(self, release: str, view: str = "rides/driver_stats") -> bool:
        """Whether `release` (the part after @, or the whole reference) is the one that is served."""
        wanted = f'release="{release.rpartition("@")[2]}"'
        return any(name.startswith("pillion_release_info{") and wanted in name and f'view="{view}"' in name
                   for name in self.metrics())

    def wait_serving(self, release: str, view: str = "rides/driver_stats") -> None:
        wait_until(f"{view} served from {release}", lambda: self.serving(release, view))

    def destroy(self) -> None:
        super().destroy()
        if self._ready_read >= 0:
            os.close(self._ready_read)
            self._ready_read = -1


class RedisServer(Process):
    """The real redis-server on a Unix socket, nothing saved."""

    def __init__(self, folder: Path, args: Sequence[str] = ()):
        self.path = str(folder / "redis.sock")
        super().__init__("redis-server", [tool("redis-server"), "--port", "0", "--unixsocket", self.path, "--save", "",
                                          "--appendonly", "no", "--dir", str(folder), *args], folder)
        try:
            wait_until("redis-server", lambda: connect(f"unix:{self.path}", 1).close() or True)
        except BaseException:
            self.destroy()
            raise

    def redis(self, protocol: int = 2, **options: Any) -> Any:
        import redis
        return redis.Redis(unix_socket_path=self.path, protocol=protocol, **options)


def gone(pid: int) -> bool:
    """Whether no process has this pid, zombies not counted."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError as error:
        return error.errno in (errno.ENOENT, errno.ESRCH)
