# SPDX-License-Identifier: Apache-2.0
"""Our HTTP parser against h11, an independent one: whatever we frame, h11 frames, too; whatever h11 refuses, we
refuse. Requests are valid ones with random damage; the seed is printed and PIL_SEED repeats a run. Intended
differences: we refuse chunked bodies (411), and more than one Content-Length, and a Host that is none; h11 refuses
empty lines before a request, which RFC 9112 section 2.2 allows.
"""

from __future__ import annotations

import os
import random
import time

import h11
import harness

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


def test_whatever_we_frame_an_independent_parser_frames(store, start_pilliond, engine):
    seed = int(os.environ.get("PIL_SEED", time.time_ns() % 1_000_000))
    print(f"PIL_SEED={seed}")
    store.make_release(rows=10)
    daemon = start_pilliond(store, engine=engine)
    dice, framed, refused = random.Random(seed), 0, 0
    for _ in range(1500):
        data = damage(dice.choice(REQUESTS), dice)
        ours, theirs = judge_ours(daemon.feast, data), judge_h11(data)
        if ours == "framed":
            framed += 1
            assert theirs == "framed" or data[:1] in b"\r\n", data
        if theirs == "error":
            refused += 1
            assert ours != "framed" or data[:1] in b"\r\n", data
    assert framed > 100 and refused > 100
