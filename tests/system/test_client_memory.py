# SPDX-License-Identifier: Apache-2.0
"""What connections may hold: a client may send everything before it reads anything, nothing is lost however slowly it
reads, and one that takes all it can get harms nobody else. Both back ends.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Callable, Iterator

import harness
import pytest

FEATURES = 50
MEMORY = "pillion_client_memory_bytes"


@pytest.fixture
def start(store, start_pilliond, engine) -> Callable[..., harness.Pilliond]:
    store.make_release(rows=100, features=FEATURES)

    def start_with(*limits: str) -> harness.Pilliond:
        return start_pilliond(store, engine=engine, args=[part for limit in limits
                                                          for part in ("--limits." + limit).split("=")])

    return start_with


def closed(daemon: harness.Pilliond, reason: str, protocol: str = "resp") -> float:
    return daemon.metrics()[f'pillion_connections_closed_total{{protocol="{protocol}",reason="{reason}"}}']


def held(daemon: harness.Pilliond, reason: str, protocol: str = "resp") -> float:
    return daemon.metrics()[f'pillion_connections_held_total{{protocol="{protocol}",reason="{reason}"}}']


def row(daemon: harness.Pilliond) -> bytes:
    """The answer to HGETALL of one row."""
    with harness.connect(daemon.resp_unix) as sock:
        sock.sendall(b"HGETALL driver_stats:1\r\nECHO end\r\n")
        got = harness.read_until(sock, lambda got: got.endswith(b"$3\r\nend\r\n"))
    return got.removesuffix(b"$3\r\nend\r\n")


def expect(sock: socket.socket, wanted: bytes, piece: int = 1 << 20, pause_s: float = 0.0) -> None:
    """Reads exactly `wanted`."""
    at = 0
    while at < len(wanted):
        got = sock.recv(min(piece, len(wanted) - at))
        assert got, f"the connection ended after {at} of {len(wanted)} bytes"
        assert got == wanted[at:at + len(got)], f"other bytes at {at}"
        at += len(got)
        time.sleep(pause_s)


@pytest.mark.parametrize("output_bytes", [65536, 64 << 20])
@pytest.mark.parametrize("address", ["resp_unix", "resp_tcp"])
def test_everything_is_sent_before_anything_is_read(start, address, output_bytes):
    daemon = start(f"output_bytes={output_bytes}", "client_memory=128M")
    wanted = row(daemon)
    count = (24 << 20) // len(wanted)
    with harness.connect(getattr(daemon, address)) as sock:
        sock.sendall(b"HGETALL driver_stats:1\r\n" * count)  # times out where the server stops reading
        sock.shutdown(socket.SHUT_WR)
        expect(sock, wanted * count)
        assert sock.recv(1) == b""


def test_http_pipelines_may_be_sent_first_too(start):
    daemon = start("output_bytes=65536", "client_memory=128M")
    body = b'{"features":["driver_stats:f0"],"entities":{"id":[1]}}'
    request = b"POST /get-online-features HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with harness.connect(daemon.feast) as sock:
        sock.sendall(request * 20000)
        sock.shutdown(socket.SHUT_WR)
        got = bytearray()
        while more := sock.recv(1 << 20):
            got += more
    assert got.count(b"HTTP/1.1 200 OK\r\n") == 20000 and got.count(b'"values":[') >= 20000


def test_a_reader_that_is_slow_is_never_cut(start):
    """One that takes 55 kB a second: limits.output_stall is over long before it has taken the 512 KiB of one send, but
    not before it has taken some of them."""
    daemon = start("output_stall=5s", "output_bytes=1048576")
    one, fast, slow = row(daemon), 1 << 20, 2 << 20
    count = (4 << 20) // len(one)
    wanted = one * count
    with harness.connect(daemon.resp_unix) as sock:
        sock.sendall(b"HGETALL driver_stats:1\r\n" * count)
        harness.wait_until("its requests wait for it", lambda: held(daemon, "output_bytes") >= 1)
        expect(sock, wanted[:fast])
        expect(sock, wanted[fast:slow], piece=8192, pause_s=0.15)
        expect(sock, wanted[slow:])
    assert closed(daemon, "output_stall") == 0


def test_a_client_that_pauses_within_a_request_is_not_cut(start):
    daemon = start("request_timeout=200ms", "output_stall=1h")
    request, wanted = b"HGETALL driver_stats:1\r\n", row(daemon)
    sock, stranger = harness.connect(daemon.resp_tcp), harness.connect(daemon.resp_unix)
    sock.sendall(request * 3 + request[:9])  # as an event loop does that writes as much as the socket takes
    expect(sock, wanted * 3)
    for _ in range(2):
        stranger.sendall(request[:9])
        assert stranger.recv(1) == b""  # one from which no whole request has come gets less time
        stranger = harness.connect(daemon.resp_unix)
    sock.sendall(request[9:] + request)
    expect(sock, wanted * 2)
    assert closed(daemon, "request_timeout") == 2


@pytest.mark.long
def test_a_client_that_pauses_for_a_minute_is_not_cut(start):
    """As an event loop that is busy does, in the middle of writing and before it has read anything."""
    daemon = start()
    request, wanted = b"HGETALL driver_stats:1\r\n", row(daemon)
    count = 20_000
    with harness.connect(daemon.resp_unix) as sock:
        sender = threading.Thread(target=sock.sendall, args=(request * count + request[:9],))
        sender.start()
        time.sleep(61)
        for _ in range(count):
            expect(sock, wanted)
        sender.join()
        time.sleep(61)
        sock.sendall(request[9:])
        expect(sock, wanted)


def test_one_answer_over_the_limit_is_an_error_and_the_connection_stays(start):
    daemon = start("output_bytes=65536")
    with harness.connect(daemon.resp_unix) as sock:
        fields = b" ".join(b"f%d" % (i % FEATURES) for i in range(12000))
        command = [b"HMGET", b"driver_stats:1", *fields.split()]
        big = b"*%d\r\n" % len(command) + b"".join(b"$%d\r\n%s\r\n" % (len(a), a) for a in command)
        sock.sendall(b"PING\r\n")
        assert sock.recv(100) == b"+PONG\r\n"
        sock.sendall(big * 3 + b"PING\r\n")
        got = harness.read_until(sock, lambda got: got.endswith(b"+PONG\r\n"))
    error = b"-TOOLARGE the answer is longer than limits.output_bytes (65536): ask for less in one request\r\n"
    assert got == error * 3 + b"+PONG\r\n"
    answer = daemon.online_features({"id": list(range(100)) * 20}, [f"driver_stats:f{i}" for i in range(FEATURES)])
    assert answer.status == 413 and "limits.output_bytes" in answer.text
    assert closed(daemon, "output_bytes") == closed(daemon, "output_bytes", "feast") == 0


# Connections that owe are closed after a second (ADR 37): a hog opens others.
HOG = """
import socket, sys, time
REQUESTS = b"HGETALL driver_stats:1\\r\\n" * 200
def connected():
    sock = socket.socket(socket.AF_UNIX)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(sys.argv[1])
    sock.setblocking(False)
    return sock
socks = [connected() for _ in range(int(sys.argv[2]))]
unsent = [REQUESTS] * len(socks)
print("hogging", flush=True)
while True:
    for i, sock in enumerate(socks):
        try:
            unsent[i] = unsent[i][sock.send(unsent[i]):] or REQUESTS
        except BlockingIOError:
            pass
        except OSError:
            sock.close()
            socks[i], unsent[i] = connected(), REQUESTS
    time.sleep(0.001)
"""


@pytest.fixture
def hogs() -> Iterator[Callable[[harness.Pilliond, int], subprocess.Popen[str]]]:
    """Other processes that ask for all they can get and read nothing, until they are killed."""
    started: list[subprocess.Popen[str]] = []

    def start_hog(daemon: harness.Pilliond, connections: int) -> subprocess.Popen[str]:
        hog = subprocess.Popen([sys.executable, "-c", HOG, daemon.resp_path, str(connections)],
                               stdout=subprocess.PIPE, text=True)
        started.append(hog)
        assert hog.stdout.readline() == "hogging\n"
        return hog

    yield start_hog
    for hog in started:
        hog.kill()
        hog.communicate()


def test_who_takes_all_harms_nobody_else(start, hogs):
    daemon = start("client_memory=32M", "output_stall=1h")
    wanted = row(daemon)
    started = [hogs(daemon, 10) for _ in range(3)]
    # Of one user they hold two thirds of seven eighths at most: 18.7 MiB (src/server/account.h).
    harness.wait_until("the hogs have filled their share", lambda: daemon.metrics()[MEMORY] > 16 << 20)
    for address in (daemon.resp_unix, daemon.resp_tcp):
        for _ in range(50):
            with harness.connect(address) as sock:
                sock.sendall(b"HGETALL driver_stats:1\r\n" * 20)
                expect(sock, wanted * 20)
    assert daemon.online_features({"id": [1]}, ["driver_stats:f0"]).status == 200
    assert all(hog.poll() is None for hog in started)
    samples = daemon.metrics()
    assert samples[MEMORY] <= samples["pillion_client_memory_limit_bytes"] == 32 << 20


def test_an_incomplete_request_without_memory_is_refused_in_words(start):
    daemon = start("client_memory=8M", "request_bytes=4M")
    socks = [harness.connect(daemon.resp_unix) for _ in range(16)]
    answers: list[bytes] = []

    def send_in_part(sock: socket.socket) -> None:
        try:
            sock.sendall(b"PING\r\n*2\r\n$4\r\nECHO\r\n$1000000\r\n" + b"x" * 900000)
        except OSError:
            pass
        got = b""
        while not got.endswith(b"\r\n") or got.count(b"\r\n") < 2:
            try:
                more = sock.recv(1000)
            except OSError:
                break
            if not more:
                break
            got += more
        answers.append(got)

    threads = [threading.Thread(target=send_in_part, args=(sock,)) for sock in socks]
    for thread in threads:
        thread.start()
    harness.wait_until("most are refused", lambda: closed(daemon, "client_memory") >= 4)
    for sock in socks:
        sock.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join()
    refused = [a for a in answers if b"limits.client_memory" in a]
    assert refused and all(a.startswith(b"+PONG\r\n-ERR this client holds its share of limits.client_memory (8388608)")
                           for a in refused)
    assert len(answers) == len(socks)
    with harness.connect(daemon.resp_unix) as sock:  # now there is room for one
        sock.sendall(b"PING\r\n*2\r\n$4\r\nECHO\r\n$1000000\r\n" + b"x" * 1000000 + b"\r\n")
        expect(sock, b"+PONG\r\n$1000000\r\n" + b"x" * 1000000 + b"\r\n")


def test_memory_comes_back(start):
    daemon = start("client_memory=64M")
    with harness.connect(daemon.resp_unix) as sock:
        sock.sendall(b"HGETALL driver_stats:1\r\n" * 20000)
        harness.wait_until("answers wait", lambda: daemon.metrics()[MEMORY] > 8 << 20)
        expect(sock, row(daemon) * 20000)
        harness.wait_until("the input is given back, and most of the chunks",
                           lambda: daemon.metrics()[MEMORY] < 8 << 20, 60)


def test_transactions_and_plans_count(start):
    daemon = start("client_memory=8M", "request_bytes=4M")
    queued = b"*2\r\n$4\r\nECHO\r\n$9000\r\n" + b"x" * 9000 + b"\r\n"
    with contextlib.ExitStack() as stack:
        answer, count = b"+QUEUED\r\n", 0
        while answer == b"+QUEUED\r\n" and count < 10000:
            if count % 100 == 0:
                sock = stack.enter_context(harness.connect(daemon.resp_unix))
                sock.sendall(b"MULTI\r\n")
                lines = sock.makefile("rb")
                assert lines.readline() == b"+OK\r\n"
            sock.sendall(queued)
            answer, count = lines.readline(), count + 1
        assert answer.startswith(b"-OOM ") and b"limits.client_memory (8388608)" in answer and count > 100
        sock.sendall(b"EXEC\r\n")
        assert lines.readline().startswith(b"-EXECABORT ")
        assert daemon.metrics()[MEMORY] <= 8 << 20
    lines.close()
    harness.wait_until("transactions are given back", lambda: daemon.metrics()[MEMORY] < 2 << 20)
    plan = b"PIL.PLAN " + b" ".join(b"driver_stats:f%d" % (i % FEATURES) for i in range(1000)) + b"\r\n"
    with contextlib.ExitStack() as stack:
        made, last = 0, b""
        while not last.startswith(b"-") and made < 5000:
            if made % 60 == 0:
                reader = stack.enter_context(harness.connect(daemon.resp_unix))
                lines = reader.makefile("rb")
            reader.sendall(plan)
            last, made = lines.readline(), made + 1
        assert last.startswith(b"-OOM ") and b"limits.client_memory (8388608)" in last and made > 20
        reader.sendall(b"PIL.FORGET 1\r\n" + plan)
        assert lines.readline() in (b":1\r\n", b"+OK\r\n") and lines.readline().startswith(b":")
    lines.close()
    harness.wait_until("plans are given back", lambda: daemon.metrics()[MEMORY] < 2 << 20)


def anonymous_bytes(pid: int) -> int:
    return next(int(line.split()[1]) << 10 for line in Path(f"/proc/{pid}/status").read_text().splitlines()
                if line.startswith("RssAnon:"))


def test_memory_of_connections_that_are_gone_goes_back_to_the_kernel(start):
    if harness.is_sanitized():
        pytest.skip("a sanitizer brings its own allocator, which keeps what was freed")
    daemon = start("request_bytes=4194304", "client_memory=256M")
    server = daemon.child("server")
    before = anonymous_bytes(server)
    field = b"$1000000\r\n" + b"x" * 1000000 + b"\r\n"
    part = b"*6\r\n$5\r\nHMGET\r\n$14\r\ndriver_stats:1\r\n" + field * 3
    socks = [harness.connect(daemon.resp_unix) for _ in range(20)]
    for sock in socks:
        sock.sendall(b"PING\r\n" + part)
    harness.wait_until("the server to hold the requests", lambda: anonymous_bytes(server) > before + (50 << 20))
    for sock in socks:
        sock.close()
    harness.wait_until("the kernel to have the memory", lambda: anonymous_bytes(server) < before + (16 << 20))


@pytest.mark.parametrize("protocol", ["feast", "oip"])
def test_an_incomplete_http_request_without_memory_is_refused_in_words(start, protocol):
    daemon = start("client_memory=8M", "request_bytes=4M")
    head = b"POST /%s HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    request = head % (b"get-online-features" if protocol == "feast" else b"v2/models/every/infer") + b" " * 900000
    socks = [harness.connect(getattr(daemon, protocol)) for _ in range(16)]
    answers: list[bytes] = []

    def send_in_part(sock: socket.socket) -> None:
        got = b""
        try:
            sock.sendall(request)
            while more := sock.recv(4096):
                got += more
        except OSError:
            pass  # the end overtakes the answer
        answers.append(got)

    threads = [threading.Thread(target=send_in_part, args=(sock,)) for sock in socks]
    for thread in threads:
        thread.start()
    harness.wait_until("most are refused", lambda: closed(daemon, "client_memory", protocol) >= 4)
    for sock in socks:
        with contextlib.suppress(OSError):  # one that was refused may be gone
            sock.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join()
    refused = [a for a in answers if a]
    assert refused and all(a.startswith(b"HTTP/1.1 503 ") and b"limits.client_memory" in a and
                           b"onnection: close" in a for a in refused), answers
    assert len(answers) == len(socks)
