# SPDX-License-Identifier: Apache-2.0
"""Each limit of docs/reference/config.md on both back ends: what is over it is told or closed, who keeps to it is
served on, and a metric counts it by name.
"""

from __future__ import annotations

import contextlib
import json
import re
import select
import socket
import threading
import time
from typing import Any, Callable

import harness
import pytest

HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def start(store, start_pilliond, engine) -> Callable[..., harness.Pilliond]:
    store.make_release(rows=100, features=50)

    def start_with(*limits: str) -> harness.Pilliond:
        args = [part for limit in limits for part in limit.split("=")]
        return start_pilliond(store, engine=engine, args=[f"--limits.{a}" if i % 2 == 0 else a
                                                         for i, a in enumerate(args)])

    return start_with


def count(daemon: harness.Pilliond, what: str, reason: str, protocol: str = "resp") -> float:
    return daemon.metrics().get(f'pillion_connections_{what}_total{{protocol="{protocol}",reason="{reason}"}}', 0)


def wait_closed(sock: socket.socket) -> bytes:
    """Reads up to the end, which must come; what came before it."""
    got = b""
    try:
        while more := sock.recv(65536):
            got += more
    except ConnectionResetError:
        pass
    except TimeoutError:
        raise AssertionError(f"not closed within {sock.gettimeout()} s; last: {got[-100:]!r}") from None
    return got


def ping(sock: socket.socket) -> None:
    sock.sendall(b"PING\r\n")
    assert sock.recv(100) == b"+PONG\r\n"


def test_connections(start):
    daemon = start("connections=4")
    kept = [harness.connect(daemon.resp_unix) for _ in range(4)]
    for sock in kept:
        ping(sock)
    http = b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n"
    for address, protocol, probe, well, other, refusal in (
            (daemon.resp_unix, "resp", b"PING\r\n", b"+PONG", b"EXISTS x\r\n", b"-ERR max number of clients reached"),
            (daemon.resp_tcp, "resp", b"PING\r\n", b"+PONG", b"INFO\r\n", b"-ERR max number of clients reached"),
            (daemon.feast, "feast", http % b"health", b"HTTP/1.1 200 ", http % b"x", b"HTTP/1.1 503 "),
            (daemon.oip, "oip", http % b"v2/health/ready", b"HTTP/1.1 200 ", http % b"v2", b"HTTP/1.1 503 ")):
        before = count(daemon, "closed", "connections", protocol)
        with harness.connect(address) as sock:  # a spare place: for probes
            sock.sendall(probe)
            assert sock.recv(1000).startswith(well)
            sock.sendall(other + probe)
            assert wait_closed(sock).startswith(refusal)
        with harness.connect(address) as sock:
            assert wait_closed(sock) == b""  # it asked nothing for a second
        harness.wait_until("both are counted",
                           lambda: count(daemon, "closed", "connections", protocol) == before + 2)
    spare = [harness.connect(daemon.resp_unix) for _ in range(36)]
    harness.wait_until("those without a spare place are closed",
                       lambda: count(daemon, "closed", "connections") >= 4 + 36)
    for sock in spare:
        sock.close()
    for sock in kept:
        ping(sock)
    kept.pop().close()

    def served() -> Any:
        with harness.connect(daemon.feast) as sock:
            sock.sendall(HEALTH)
            return sock.recv(100).startswith(b"HTTP/1.1 200 ")

    harness.wait_until("a free place", served)


def test_request_bytes(start):
    daemon = start("request_bytes=65536")
    sock = harness.connect(daemon.resp_unix)
    ping(sock)
    sock.sendall(b"*2\r\n$4\r\nECHO\r\n$65000\r\n" + b"x" * 65000 + b"\r\n")
    harness.read_until(sock, lambda got: len(got) >= 65000)
    for size in (65600, 50_000_000):  # skipped as it comes: none of it is kept, and the next request is answered
        sock.sendall(b"*2\r\n$4\r\nECHO\r\n$%d\r\n" % size + b"x" * size + b"\r\nPING\r\n")
        assert read_lines(sock, 2) == b"-ERR a request has at most 65536 bytes (limits.request_bytes)\r\n+PONG\r\n"
    sock.sendall(b"*2\r\n$4\r\nECHO\r\n$536870913\r\n")  # over what Redis takes: not a frame
    assert wait_closed(sock) == b"-ERR Protocol error: invalid bulk length\r\n"
    big = harness.http(daemon.feast, "POST", "/get-online-features", "x" * 65537)
    assert big.status == 413 and "too large" in big.text
    harness.wait_until("it is counted", lambda: count(daemon, "closed", "request_bytes", "feast") == 1)
    small = harness.connect(daemon.feast)  # a head has a limit of its own
    small.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 40000)
    assert small.recv(100).startswith(b"HTTP/1.1 431 ")
    wait_closed(small)
    harness.wait_until("it is counted, too", lambda: count(daemon, "closed", "request_bytes", "feast") == 2)


def test_requests_per_turn(start):
    daemon = start("requests_per_turn=4")
    sock = harness.connect(daemon.resp_unix)
    sock.sendall(b"PING\r\n" * 400)
    assert harness.read_until(sock, lambda got: len(got) >= 2800) == b"+PONG\r\n" * 400
    harness.wait_until("the turns are counted", lambda: count(daemon, "held", "requests_per_turn") >= 50)


def test_keys_per_request(start):
    daemon = start("keys_per_request=8")
    client = daemon.redis()
    assert client.exists(*(f"driver_stats:{i}" for i in range(8))) == 8
    with pytest.raises(Exception, match=r"more than 8 keys in one request \(limits.keys_per_request\)"):
        client.exists(*(f"driver_stats:{i}" for i in range(9)))
    answer = daemon.online_features({"id": list(range(9))}, ["driver_stats:f0"])
    assert answer.status == 413 and "limits.keys_per_request" in answer.text
    assert daemon.metrics()['pillion_requests_total{protocol="resp",code="error"}'] == 1
    assert daemon.metrics()['pillion_requests_total{protocol="feast",code="error"}'] == 1


def infer(count: int, binary: bool = False) -> dict[str, Any]:
    return {"inputs": [{"name": "id", "datatype": "INT64", "shape": [count], "data": list(range(count))}],
            "parameters": {"binary_data_output": binary}}


def ask_oip(daemon: harness.Pilliond, count: int, binary: bool = False) -> harness.Answer:
    return harness.http(daemon.oip, "POST", "/v2/models/every/infer", infer(count, binary))


def features(count: int) -> list[str]:
    return [f"driver_stats:f{i}" for i in range(count)]


def test_more_keys_than_the_default_may_be_allowed(start):
    """The error names what was sent, the limit and the option, however much was sent; the connection stays open."""
    daemon = start()
    connection = harness.http_connection(daemon.feast)
    for rows, status in ((16384, 200), (16385, 413), (400_000, 413), (1, 200)):
        body = json.dumps({"entities": {"id": list(range(rows))}, "features": features(1)}).encode()
        connection.request("POST", "/get-online-features", body)
        answer = harness.Answer(connection.getresponse())
        assert answer.status == status, answer.text
        if status == 413:
            assert f"{rows} entity lookups" in answer.text and "16384 (limits.keys_per_request)" in answer.text
    answer = ask_oip(daemon, 100_000)
    assert answer.status == 413 and "100000 rows of 1 view are over the limit of 16384" in answer.text
    daemon.destroy()
    daemon = start("keys_per_request=200000", "values_per_request=1000000", "request_bytes=16M")
    answer = daemon.online_features({"id": list(range(200_000))}, features(1))
    values = answer.json()["results"][1]["values"]
    assert values[:100] == [float(key * 31 + 1) for key in range(100)] and values[100:] == [None] * 199_900
    assert daemon.online_features({"id": list(range(200_001))}, features(1)).status == 413
    names = [f"{i:040}" for i in range(150_000)]  # 6 MB, more than fits where the defaults hold
    answer = daemon.online_features({"id": names}, features(2))
    assert answer.status == 200 and len(answer.json()["results"][2]["values"]) == 150_000
    answer = ask_oip(daemon, 200_000, binary=True)
    assert answer.status == 200 and len(answer.body) > 200_000 * 250
    assert ask_oip(daemon, 200_001, binary=True).status == 413


def test_values_per_request(start):
    daemon = start("values_per_request=100")
    assert daemon.online_features({"id": list(range(10))}, features(10)).status == 200
    for rows, columns in ((11, 10), (10, 11), (101, 1)):
        answer = daemon.online_features({"id": list(range(rows))}, features(columns))
        assert answer.status == 413 and "limits.values_per_request (100)" in answer.text
        of_rows = f"{rows} row{'' if rows == 1 else 's'} of {columns} value{'' if columns == 1 else 's'}"
        assert f"{of_rows} are {rows * columns} values" in answer.text
    assert ask_oip(daemon, 2).status == 200 and ask_oip(daemon, 3, binary=True).status == 200
    answer = ask_oip(daemon, 3)
    assert answer.status == 413 and "3 rows of 50 values are 150 values, over limits.values_per_request" in answer.text


def values_answered(daemon) -> float:
    return sum(v for k, v in daemon.metrics().items() if k.startswith("pillion_values_total"))


@pytest.mark.parametrize("protocol", ["feast", "oip", "oip-binary"])
def test_an_answer_that_will_not_fit_is_an_error_that_names_the_limit(start, protocol):
    """Nothing is dropped silently, nor closed: 413; what fits waits for the answers before it."""
    daemon = start("output_bytes=65536", "values_per_request=1000000000")
    address = daemon.feast if protocol == "feast" else daemon.oip
    path = "/get-online-features" if protocol == "feast" else "/v2/models/every/infer"

    def request(rows: int) -> bytes:
        body = json.dumps({"entities": {"id": list(range(rows))}, "features": features(50)} if protocol == "feast"
                          else infer(rows, protocol == "oip-binary")).encode()
        return b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (path.encode(), len(body), body)

    connection = harness.http_connection(address)

    def ask(rows: int) -> harness.Answer:
        connection.request("POST", path, request(rows).partition(b"\r\n\r\n")[2])
        return harness.Answer(connection.getresponse())

    fitting = 1
    while (answer := ask(fitting * 2)).status == 200:  # on one connection, which stays open
        assert len(answer.body) <= 65536
        fitting *= 2
    answered = values_answered(daemon)
    for rows in (fitting * 2, fitting * 3, 10_000):
        answer = ask(rows)
        assert answer.status == 413 and "limits.output_bytes" in answer.text, answer.text
        assert answer.headers["content-type"] == "application/json"
    assert values_answered(daemon) == answered  # what is refused is not counted
    assert ask(fitting).status == 200
    harness.wait_until("the values count", lambda: values_answered(daemon) > answered)
    with harness.connect(address) as sock:  # a pipeline, of which one answer fits at a time
        sock.sendall(request(fitting) * 6 + b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        got = sock.makefile("rb").read()
    statuses = [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", got)]
    assert statuses == [200] * 6 + [404]
    assert not any(v for k, v in daemon.metrics().items() if "connections_closed" in k and "output" in k)


def ask_without_reading(address: str, rows: int) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(harness.DEADLINE_S)
    sock.connect(address.partition(":")[2])
    threading.Thread(target=send_quietly, args=(sock, b"HGETALL driver_stats:1\r\n" * rows), daemon=True).start()
    return sock


def send_quietly(sock: socket.socket, data: bytes) -> None:
    try:
        sock.sendall(data)
    except OSError:
        pass  # closed, which is what the test is about


def test_output_bytes(start):
    daemon = start("output_bytes=65536")
    sock = ask_without_reading(daemon.resp_unix, 20000)
    harness.wait_until("its requests wait", lambda: count(daemon, "held", "output_bytes") >= 1)
    with harness.connect(daemon.resp_unix) as other:
        ping(other)
    with harness.connect(daemon.resp_unix) as other:
        other.sendall(b"HGETALL driver_stats:1\r\nECHO end\r\n")
        row = harness.read_until(other, lambda got: got.endswith(b"$3\r\nend\r\n"))
    row = row.removesuffix(b"$3\r\nend\r\n")
    got = harness.read_until(sock, lambda got: len(got) >= 20000 * len(row), 1 << 20)
    assert got == row * 20000  # it reads at last, and everything comes


def test_output_stall(start):
    daemon = start("output_stall=200ms", "output_bytes=65536")
    sock = ask_without_reading(daemon.resp_unix, 20000)
    harness.wait_until("it is closed", lambda: count(daemon, "closed", "output_stall") == 1)
    wait_closed(sock)


def test_idle_timeout(start):
    daemon = start("idle_timeout=500ms")
    idle, silent, http = (harness.connect(a) for a in (daemon.resp_unix, daemon.resp_tcp, daemon.feast))
    ping(idle)
    http.sendall(HEALTH)
    assert wait_closed(idle) == wait_closed(silent) == b"" and wait_closed(http).startswith(b"HTTP/1.1 200 ")
    harness.wait_until("they are counted", lambda: count(daemon, "closed", "idle_timeout") == 2)
    assert count(daemon, "closed", "idle_timeout", "feast") == 1


def test_request_timeout(start):
    daemon = start("request_timeout=300ms")
    resp, skipped, head, body = (harness.connect(a) for a in (daemon.resp_unix, daemon.resp_tcp, daemon.feast,
                                                              daemon.feast))
    skipped.sendall(b"*2\r\n$4\r\nECHO\r\n$99999999\r\nhe")  # over limits.request_bytes: its bytes are not kept
    resp.sendall(b"*2\r\n$4\r\nECHO\r\n$5\r\nhe")
    head.sendall(b"GET /health HTTP/1.1\r\nHos")
    body.sendall(b"POST /get-online-features HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
    assert wait_closed(resp) == wait_closed(skipped) == b""
    for sock in (head, body):
        wait_closed(sock)
    harness.wait_until("they are counted", lambda: count(daemon, "closed", "request_timeout", "feast") == 2)
    assert count(daemon, "closed", "request_timeout") == 2


def read_lines(sock: socket.socket, lines: int) -> bytes:
    return harness.read_until(sock, lambda got: got.count(b"\r\n") >= lines)


def keys(command: bytes, number: int) -> bytes:
    return b"*%d\r\n$%d\r\n%s\r\n" % (number + 1, len(command), command) + b"$14\r\ndriver_stats:1\r\n" * number


def test_the_first_request_has_the_limits_of_all_others(start):
    """Most clients without a handshake begin with their data: a long MGET is no less valid than a PING."""
    daemon = start()
    for address in (daemon.resp_unix, daemon.resp_tcp):
        for request, answer in (
            (keys(b"EXISTS", 16384), b":16384\r\n"),
            (b"EXISTS" + b" driver_stats:1" * 4000 + b"\r\n", b":4000\r\n"),
            (b"*2\r\n$4\r\nECHO\r\n$2000000\r\n" + b"x" * 2000000 + b"\r\n",
             b"$2000000\r\n" + b"x" * 2000000 + b"\r\n"),
        ):
            with harness.connect(address) as sock:
                sender = threading.Thread(target=sock.sendall, args=(request,))
                sender.start()
                got = harness.read_until(sock, lambda got: len(got) >= len(answer), 1 << 20)
                sender.join()
                assert got == answer, got[:100]
                ping(sock)


def test_arguments(start):
    daemon = start("arguments=64")
    refusal = b"-ERR a request has at most 64 arguments (limits.arguments)\r\n"
    with harness.connect(daemon.resp_unix) as sock:
        sock.sendall(keys(b"EXISTS", 63) + keys(b"EXISTS", 64) + b"PING\r\n")
        assert read_lines(sock, 3) == b":63\r\n" + refusal + b"+PONG\r\n"
        sock.sendall(b"MULTI\r\nPING\r\n" + keys(b"EXISTS", 64) + b"EXEC\r\n")
        assert read_lines(sock, 4) == b"+OK\r\n+QUEUED\r\n" + refusal + (
            b"-EXECABORT Transaction discarded because of previous errors.\r\n")
        sock.sendall(keys(b"EXISTS", 1_000_000))
        assert read_lines(sock, 1) == refusal
        sock.sendall(b"*1048577\r\n")
        assert wait_closed(sock) == b"-ERR Protocol error: invalid multibulk length\r\n"


def test_a_transaction_may_be_as_long_as_a_request(start):
    daemon = start("request_bytes=65536")
    one = b"*1\r\n$4\r\nPING\r\n"
    with harness.connect(daemon.resp_unix) as sock:
        fits = 65536 // len(one)
        sock.sendall(b"MULTI\r\n" + one * fits + b"EXEC\r\n")
        assert read_lines(sock, 2 + 2 * fits).endswith(b"*%d\r\n" % fits + b"+PONG\r\n" * fits)
        sock.sendall(b"MULTI\r\n" + one * (fits + 1) + b"EXEC\r\n")
        last = read_lines(sock, 3 + fits).split(b"\r\n")[-3:]
        assert last == [b"-ERR a transaction has at most 65536 bytes (limits.request_bytes)",
                        b"-EXECABORT Transaction discarded because of previous errors.", b""]


def test_a_line_that_never_ends_is_refused(start):
    daemon = start()
    sock = harness.connect(daemon.resp_unix)
    sock.sendall(b"x" * 70000)
    assert wait_closed(sock).startswith(b"-ERR Protocol error: too big inline request")
    harness.wait_until("it is counted", lambda: count(daemon, "closed", "request_bytes") == 1)
    sock = harness.connect(daemon.resp_unix)
    ping(sock)
    sock.sendall(b"*2\r\n$4\r\nECHO\r\n$20000\r\n" + b"x" * 20000 + b"\r\n")
    harness.read_until(sock, lambda got: len(got) >= 20000)


# ---- The admin listener: places for probes, whatever others do with theirs.

@pytest.fixture
def admin(store, start_pilliond) -> harness.Pilliond:
    store.make_release(rows=100)
    return start_pilliond(store)


def page(daemon: harness.Pilliond, path: str) -> int:
    return harness.http(daemon.admin, "GET", path).status


@pytest.mark.parametrize("sent", [b"", b"GET /metrics HTT", b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"],
                         ids=["silent", "incomplete", "answered"])
def test_admin_places_go_to_who_asks(admin, sent):
    held = []
    for _ in range(200):
        held.append(harness.connect(admin.admin))
        held[-1].sendall(sent)
    for path in ("/healthz", "/readyz"):
        assert page(admin, path) == 200
    harness.wait_until("others are served, too", lambda: page(admin, "/metrics") == 200)
    for sock in held:
        sock.close()


def test_a_kept_place_is_for_health_and_for_one_answer(admin):
    def asked(path: str) -> tuple[int, str | None]:
        answer = harness.http(admin.admin, "GET", path)
        return answer.status, answer.headers.get("connection")

    def refused() -> bool:
        """Others have the 64 places that are for everybody, none of them for as long as a second."""
        with contextlib.ExitStack() as held:
            for _ in range(64):
                held.enter_context(harness.connect(admin.admin))
            return asked("/metrics") == (503, "close")

    harness.wait_until("a refusal", refused)
    harness.wait_until("room for others", lambda: page(admin, "/metrics") == 200)


def test_an_admin_request_has_ten_seconds(admin):
    begin = time.monotonic()
    silent, incomplete = harness.connect(admin.admin), harness.connect(admin.admin)
    incomplete.sendall(b"GET /metrics HTTP/1.1\r\nHos")
    select.select([silent, incomplete], [], [], harness.DEADLINE_S)
    assert time.monotonic() - begin > 9
    assert wait_closed(silent) == wait_closed(incomplete) == b""
