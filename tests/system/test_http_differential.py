# SPDX-License-Identifier: Apache-2.0
"""Our HTTP framing against h11, an independent one, on each listener that speaks HTTP: whatever we frame, h11 frames,
too; whatever h11 refuses, we refuse; answers come in order, each with its length.

Requests are valid ones with random damage; the seed is printed and PIL_SEED repeats a run. Intended
differences: we refuse more than one Content-Length, a Host that is none, and white space around the size of a chunk;
h11 refuses empty lines before a request, which RFC 9112 section 2.2 allows.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import socket
import threading
import time
from typing import Any

import h11
import harness
import pytest

FEATURES = {"features": ["driver_stats:f0"], "entities": {"id": list(range(20000, 20500))}}
KEYS = {"inputs": [{"name": "id", "datatype": "INT64", "shape": [500], "data": list(range(20000, 20500))}]}
# What each listener answers to a request with a body: method, path, body, status
BODIES = {
    "feast": ("POST", "/get-online-features", FEATURES, 200),
    "oip": ("POST", "/v2/models/every/infer", KEYS, 200),
    "admin": ("GET", "/healthz", {"anything": "that nobody reads"}, 200),
}
LISTENERS = {"feast": b"/health", "oip": b"/v2/health/live", "admin": b"/healthz"}  # and a page that is always there
REQUESTS = (
    b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /health?a=b HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n",
    b"POST /get-online-features HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    b"POST /get-online-features HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nX-Long: " + b"v" * 300 + b"\r\n\r\n",
    b"GET http://x:80/health HTTP/1.1\r\nHost:\r\n\r\n",
    b"POST /nope HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    b"POST /get-online-features HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"0a;a=b\r\n0123456789\r\n1\r\nx\r\n3;\"\r\n\r\n0\r\n00\r\nDigest: y\r\n\r\n",
    b"GET /health HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: x\r\n\r\n0\r\n\r\n",
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
    b"1\r\na\r\n",
    b"0\r\n\r\n",
    b";b",
    b"f",
)
FRAMING_ERRORS = {400, 413, 414, 417, 431, 501, 505}


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
    (b"GET / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nfffffff\r\n", 413),
    (b"GET / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\na: %s\r\n\r\n" % (b"x" * 20000), 431),
    (b"GET / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n", 501),
    (b"GET / HTTP/1.1\r\nhost: x\r\nexpect: a-miracle\r\n\r\n", 417),
    (b"GET / HTTP/2.0\r\nhost: x\r\n\r\n", 505),
    (b"GET / HTTP/1.1\r\n\r\n", 400),
], ids=["long target", "long field", "many fields", "long body", "long chunk", "bad chunk", "long trailer",
        "encoding", "expectation", "HTTP/2", "no host"])
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


def chunks_of(body: bytes, dice: random.Random, most: int) -> list[bytes]:
    """The body as chunks of random sizes, with extensions here and there, and a trailer."""
    parts = []
    while body:
        size = dice.randrange(1, most)
        part, body = body[:size], body[size:]
        parts.append(b"%x%s\r\n%s\r\n" % (len(part), dice.choice((b"", b";a", b";a=\"b c\"")), part))
    return [*parts, dice.choice((b"0\r\n\r\n", b"00;z\r\nDigest: x\r\n\r\n"))]


def content_of(listener: str, body: bytes) -> Any:
    """What two answers to one request have in common: the ages that OIP tells differ."""
    return json.loads(body)["outputs"] if listener == "oip" else body


@pytest.mark.parametrize("listener", BODIES)
def test_a_chunked_body_is_read_like_any_other(store, start_pilliond, engine, listener):
    """However it is cut into chunks, and the chunks into packets, in front of other requests and behind them."""
    seed = int(os.environ.get("PIL_SEED", time.time_ns() % 1_000_000))
    print(f"PIL_SEED={seed}")
    store.make_release(rows=20500)
    daemon = start_pilliond(store, engine=engine)
    dice, (method, path, document, status) = random.Random(seed), BODIES[listener]
    body = json.dumps(document).encode()
    expected = harness.http(getattr(daemon, listener), method, path, body)
    assert expected.status == status and len(expected.body) > 0
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\n".encode()
    plain = head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    for most in (2, 7, 64, 4000):
        chunked = head + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(chunks_of(body, dice, most))
        stream = (plain + chunked * 2) * 3
        cuts = sorted(dice.sample(range(1, len(stream)), 20))
        with harness.connect(getattr(daemon, listener)) as sock:
            client = h11.Connection(h11.CLIENT)
            sender = threading.Thread(
                target=lambda: [sock.sendall(stream[a:b]) for a, b in zip([0, *cuts], [*cuts, len(stream)])])
            sender.start()
            for _ in range(9):
                client.send(h11.Request(method=method, target=path, headers=[("host", "x")]))
                client.send(h11.EndOfMessage())
                got, answer = read_answer(sock, client)
                assert got == status and content_of(listener, answer) == content_of(listener, expected.body), answer
                client.start_next_cycle()
            sender.join()


def test_a_chunked_body_may_be_as_long_as_any_other(store, start_pilliond, engine):
    """Several in one pipeline: each needs a batch of its own, so it is decoded more than once."""
    store.make_release(rows=10)
    daemon = start_pilliond(store, engine=engine)
    body = json.dumps({"features": ["driver_stats:f0"], "entities": {"id": [5]}, "padding": "x" * 3_000_000}).encode()
    head = b"POST /get-online-features HTTP/1.1\r\nHost: x\r\n"
    chunked = b"".join(chunks_of(body, random.Random(1), 70_000))
    requests = [head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked] * 3
    requests.append(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    with harness.connect(daemon.feast) as sock:
        sender = threading.Thread(target=sock.sendall, args=(b"".join(requests),))
        sender.start()
        client = h11.Connection(h11.CLIENT)
        for _ in requests:
            client.send(h11.Request(method="POST", target="/", headers=[("host", "x")]))
            client.send(h11.EndOfMessage())
            status, answer = read_answer(sock, client)
            assert status == 200 and json.loads(answer)["results"][1]["values"] == [156.0]
            client.start_next_cycle()
        sender.join()
    limit = 4 << 20
    for size, status in ((limit - 1, 422), (limit + 1, 413)):  # "0000…" is no JSON
        with harness.connect(daemon.feast) as sock:
            sock.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
            try:
                for part in chunks_of(b"0" * size, random.Random(1), 70_000):
                    sock.sendall(part)
            except OSError:
                pass  # it was told too much, and has closed
            if status == 422:
                assert sock.recv(100).startswith(b"HTTP/1.1 422 ")
    too_long = 'pillion_connections_closed_total{protocol="feast",reason="request_bytes"}'
    harness.wait_until("the longer one is refused", lambda: daemon.metrics()[too_long] == 1)


@pytest.mark.parametrize("listener", BODIES)
@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_client_that_waits_for_100_is_told_to_go_on(store, start_pilliond, engine, listener, is_chunked):
    store.make_release(rows=10)
    daemon = start_pilliond(store, engine=engine)
    method, path, document, status = BODIES[listener]
    body = json.dumps(document).encode()
    framing = b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: %d" % len(body)
    with harness.connect(getattr(daemon, listener)) as sock:
        for _ in range(2):
            sock.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n".encode() + framing +
                         b"\r\n\r\n")
            file = sock.makefile("rb")
            assert (file.readline(), file.readline()) == (b"HTTP/1.1 100 Continue\r\n", b"\r\n")
            sock.sendall(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if is_chunked else body)
            assert file.readline().startswith(b"HTTP/1.1 %d " % status)
            while (line := file.readline()) != b"\r\n":
                length = int(line.split()[1]) if line.startswith(b"content-length:") else 0
            assert len(file.read(length)) == length


@pytest.mark.parametrize("listener", ["feast", "oip"])
def test_a_body_over_its_limit_is_refused_by_the_name_of_the_option(store, start_pilliond, engine, listener):
    store.make_release(rows=10)
    daemon = start_pilliond(store, engine=engine, args=["--limits.request_bytes", "16384"])
    method, path, _, _ = BODIES[listener]
    said = "the body is too large: at most 16384 bytes are taken (limits.request_bytes)"
    for framing, error in (
        (b"Content-Length: 16385\r\n\r\n", said),
        (b"Content-Length: 18446744073709551616\r\n\r\n", said),
        (b"Transfer-Encoding: chunked\r\n\r\n1\r\n0\r\n4000\r\n", said),
        (b"Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n", said),
        (b"Transfer-Encoding: chunked\r\n\r\n" + 80 * (b"1;" + b"x" * 250 + b"\r\n0\r\n"),
         "the chunk extensions are too long"),
    ):
        with harness.connect(getattr(daemon, listener)) as sock:
            sock.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\n".encode() + framing)
            head, _, body = sock.makefile("rb").read().partition(b"\r\n\r\n")  # up to the end: it is closed
        assert head.startswith(b"HTTP/1.1 413 ")
        assert list(json.loads(body).values()) == [error]


@pytest.mark.parametrize("listener", BODIES)
def test_a_compressed_body_is_refused_on_a_connection_that_stays_open(store, start_pilliond, engine, listener):
    store.make_release(rows=10)
    daemon = start_pilliond(store, engine=engine)
    method, path, document, status = BODIES[listener]
    body = json.dumps(document).encode()
    connection = harness.http_connection(getattr(daemon, listener))
    for encodings, sent, expected in (
        (["gzip"], gzip.compress(body), 415),
        (["identity"], body, status),
        (["br"], b"?", 415),
        (["identity", "gzip"], gzip.compress(body), 415),
        ([], body, status),
    ):
        connection.putrequest(method, path)
        for encoding in encodings:
            connection.putheader("Content-Encoding", encoding)
        connection.putheader("Accept-Encoding", "gzip, br")
        connection.putheader("Content-Length", str(len(sent)))
        connection.endheaders(sent)
        answer = harness.Answer(connection.getresponse())
        assert answer.status == expected, answer.text
        assert answer.headers.get("accept-encoding") == ("identity" if expected == 415 else None)
        assert "content-encoding" not in answer.headers and (expected != 415 or "compression" in answer.text)


@pytest.mark.parametrize("listener", LISTENERS)
def test_head_is_get_without_a_body(store, start_pilliond, engine, listener):
    store.make_release(rows=10)
    address = getattr(start_pilliond(store, engine=engine), listener)
    page = LISTENERS[listener].decode()
    head, get = harness.http(address, "HEAD", page), harness.http(address, "GET", page)
    assert (head.status, head.body) == (get.status, b"") == (200, b"")
    refused = harness.http(address, "DELETE", page)
    assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")
