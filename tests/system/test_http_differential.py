# SPDX-License-Identifier: Apache-2.0
"""Our HTTP framing against h11, an independent one, on each listener that speaks HTTP: whatever we frame, h11 frames,
too; whatever h11 refuses, we refuse; answers come in order, each with its length.

Requests are valid ones with random damage; the seed is printed and PIL_SEED repeats a run. Intended
differences: we refuse chunked bodies (411), and more than one Content-Length, and a Host that is none; h11 refuses
empty lines before a request, which RFC 9112 section 2.2 allows.
"""

from __future__ import annotations

import os
import random
import socket
import threading
import time

import h11
import harness
import pytest

LISTENERS = {"feast": b"/health", "oip": b"/v2/health/live", "admin": b"/healthz"}  # and a page that is always there
REQUESTS = (
    b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /health?a=b HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n",
    b"POST /get-online-features HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    b"POST /get-online-features HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nX-Long: " + b"v" * 300 + b"\r\n\r\n",
    b"GET http://x:80/health HTTP/1.1\r\nHost:\r\n\r\n",
    b"POST /nope HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
)
PIECES = (
    b"\r",
    b"\n",
    b"\r\n",
    b" ",
    b"\t",
    b":",
    b"\0",
    b"\x7f",
    b"\xff",
    b",",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Host: y\r\n",
    b"0",
    b"@",
    b"+",
    b"HTTP/1.1",
    b"\x0b",
    b" folded\r\n",
)
FRAMING_ERRORS = {400, 411, 413, 414, 417, 431, 501, 505}


def damage(request: bytes, dice: random.Random) -> bytes:
    for _ in range(dice.randrange(0, 4)):
        at, piece = dice.randrange(len(request) + 1), dice.choice(PIECES)
        kind = dice.randrange(4)
        if kind == 0:
            request = request[:at] + piece + request[at:]
        elif kind == 1:
            request = request[:at] + piece + request[at + len(piece) :]
        elif kind == 2:
            request = request[:at] + request[at + dice.randrange(1, 4) :]
        else:
            end = request.find(b"\r\n", at)
            request = request[:at] + request[max(end, at) :]
    return request or b"\r\n"


def judge_h11(data: bytes) -> str:
    """ "error", "incomplete", or "framed"."""
    connection = h11.Connection(h11.SERVER)
    try:
        connection.receive_data(data)
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                return "incomplete"
            if isinstance(event, h11.EndOfMessage):
                return "framed"
            if isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
                return "incomplete"
    except h11.RemoteProtocolError:
        return "error"


def judge_ours(address: str, data: bytes) -> str:
    """The same, by what comes back when the client sends no more."""
    with harness.connect(address) as sock:
        got = b""
        try:
            sock.sendall(data)
            sock.shutdown(1)
            while chunk := sock.recv(65536):
                got += chunk
        except (ConnectionResetError, BrokenPipeError):
            pass
    if not got:
        return "incomplete"
    assert got.startswith(b"HTTP/1.1 "), got
    status = int(got[9:12])
    # A body that is framed but no valid request is answered in JSON with 422 or a message of Feast's, never with these.
    return "error" if status in FRAMING_ERRORS and b"No features" not in got else "framed"


@pytest.mark.parametrize("listener", LISTENERS)
def test_whatever_we_frame_an_independent_parser_frames(store, start_pilliond, engine, listener):
    seed = int(os.environ.get("PIL_SEED", time.time_ns() % 1_000_000))
    print(f"PIL_SEED={seed}")
    store.make_release(rows=10)
    daemon = start_pilliond(store, engine=engine)
    dice, framed, refused = random.Random(seed), 0, 0
    for _ in range(1000):
        data = damage(dice.choice(REQUESTS), dice)
        ours, theirs = judge_ours(getattr(daemon, listener), data), judge_h11(data)
        if ours == "framed":
            framed += 1
            assert theirs == "framed" or data[:1] in b"\r\n", data
        if theirs == "error":
            refused += 1
            assert ours != "framed" or data[:1] in b"\r\n", data
    assert framed > 100 and refused > 100


def read_answer(sock: socket.socket, client: h11.Connection) -> tuple[int, bytes]:
    """Status and body of the next answer, as an independent client reads them."""
    status, body = 0, b""
    while True:
        event = client.next_event()
        if event is h11.NEED_DATA:
            client.receive_data(sock.recv(65536))
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        else:
            assert isinstance(event, h11.EndOfMessage), event
            return status, body


@pytest.mark.parametrize("listener", LISTENERS)
def test_each_request_of_a_pipeline_gets_its_answer(store, start_pilliond, engine, listener):
    """Ten thousand at once: more than any buffer of ours holds. HEAD has no body, whatever its status."""
    store.make_release(rows=10)
    daemon = start_pilliond(store, engine=engine)
    page, methods = LISTENERS[listener], (b"GET", b"HEAD", b"POST", b"DELETE")
    requests = [(method, page if i % 3 else b"/nothing") for i in range(2500) for method in methods]
    data = b"".join(b"%s %s HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n" % request for request in requests)
    with harness.connect(getattr(daemon, listener)) as sock:
        sender = threading.Thread(target=sock.sendall, args=(data,))
        sender.start()
        client = h11.Connection(h11.CLIENT)
        for method, target in requests:
            client.send(h11.Request(method=method, target=target, headers=[("host", "x")]))
            client.send(h11.EndOfMessage())
            status, body = read_answer(sock, client)
            if method == b"GET":
                assert status == (404 if target == b"/nothing" else 200)
            assert status in (200, 404, 405) and (method != b"HEAD" or body == b""), (method, target, status, body)
            client.start_next_cycle()
        sender.join()


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize("request_bytes, status", [
    (b"GET /%s HTTP/1.1\r\nhost: x\r\n\r\n" % (b"x" * 40000), 414),
    (b"GET / HTTP/1.1\r\nhost: x\r\na: %s\r\n\r\n" % (b"x" * 40000), 431),
    (b"GET / HTTP/1.1\r\nhost: x\r\n%s\r\n" % (b"a: b\r\n" * 101), 431),
    (b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n", 413),
    (b"GET / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n", 411),
    (b"GET / HTTP/2.0\r\nhost: x\r\n\r\n", 505),
    (b"GET / HTTP/1.1\r\n\r\n", 400),
], ids=["long target", "long field", "many fields", "long body", "chunked", "HTTP/2", "no host"])
def test_what_is_no_request_is_told_and_closed(store, start_pilliond, engine, listener, request_bytes, status):
    store.make_release(rows=10)
    daemon = start_pilliond(store, engine=engine)
    with harness.connect(getattr(daemon, listener)) as sock:
        sock.sendall(b"GET %s HTTP/1.1\r\nhost: x\r\n\r\n" % LISTENERS[listener] + request_bytes)
        client = h11.Connection(h11.CLIENT)
        for expected in (200, status):
            client.send(h11.Request(method=b"GET", target=b"/", headers=[("host", "x")]))
            client.send(h11.EndOfMessage())
            got, body = read_answer(sock, client)
            assert got == expected and (body or got == 200), (got, body)
            if expected == 200:
                client.start_next_cycle()
        assert sock.recv(100) == b""
