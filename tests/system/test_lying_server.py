# SPDX-License-Identifier: Apache-2.0
"""libpillion and a server that lies, over the mapped listener and over resp: each lie is an error that says what is
wrong, or changes nothing; never a write outside of the caller's memory, a crash, or a call that does not end. The
caller lays its buffers out by what the plan was described as, with marks behind each; it is a process of its own, so
that a crash is seen."""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import re
import select
import signal
import socket
import struct
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Callable, Iterator

import harness
import libpillion as lp
import pytest
import synthetic

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "python"))
from mapped_reader import (ACQUIRE, CATALOG, GRANT, HEAD, HELLO, REFUSE, SEAL_FUTURE_WRITE, SEAL_GROW,  # noqa: E402
                           SEAL_SEAL, SEAL_SHRINK, SEAL_WRITE, WELCOME)

FEATURES = [f"rides/driver_stats:f{i}" for i in range(10)]
SEALED, PAGE_SEALS = SEAL_WRITE | SEAL_SHRINK | SEAL_GROW | SEAL_SEAL, SEAL_SHRINK | SEAL_GROW | SEAL_FUTURE_WRITE
KEYS, MARK = [5, 6, 7], b"\xa5" * 64
RESULTS = {lp.INVALID: "INVALID", lp.UNAVAILABLE: "UNAVAILABLE", lp.CORRUPT: "CORRUPT", lp.NOT_FOUND: "NOT_FOUND",
           lp.DENIED: "DENIED", lp.TOO_LARGE: "TOO_LARGE", lp.NOT_READY: "NOT_READY", lp.UNSUPPORTED: "UNSUPPORTED",
           lp.SYSTEM: "SYSTEM"}
RIGHT = f"ok {synthetic.value('floats', 5, 0, 1):g}"

# ---- The caller.


class Marked:
    """Memory of exactly `size` bytes, and marks behind it."""

    def __init__(self, size: int):
        self.size, self.memory = size, ctypes.create_string_buffer(b"\xee" * size + MARK, size + len(MARK))

    @property
    def address(self) -> int:
        return ctypes.addressof(self.memory)

    def check(self) -> None:
        assert self.memory.raw[self.size:] == MARK, "written behind the caller's memory"


def get(plan: lp.Plan) -> str:
    info, count = plan.info(), len(KEYS)
    values, statuses = Marked(count * info.width * plan.element_bytes), Marked(count * info.feature_count)
    times, answer = Marked(count * info.view_count * 8), lp.Answer(ctypes.sizeof(lp.Answer))
    output = lp.Output(ctypes.sizeof(lp.Output), values.address, values.size)
    output.statuses, output.event_ts_us = statuses.address, times.address
    keys = lp.GivenKeys(*[KEYS] * info.join_key_count)
    result = plan.lib.pillion_get(plan.handle, ctypes.byref(keys.struct), ctypes.byref(output), ctypes.byref(answer))
    for memory in (values, statuses, times):
        memory.check()
    if result != lp.OK:
        return f"{RESULTS[result]} {answer.error.text.decode()}"
    assert set(statuses.memory.raw[:statuses.size]) <= {1, 2, 3, 4}
    return f"ok {struct.unpack_from('f', values.memory.raw)[0]:g}"


def get_columns(plan: lp.Plan) -> str:
    """Fixed columns, as the plan was described."""
    info, count = plan.info(), len(KEYS)
    columns, kept = (lp.Column * info.feature_count)(), []
    for column in columns:
        kept += [Marked(4 * count), Marked(count)]
        column.values, column.value_bytes, column.statuses = kept[-2].address, kept[-2].size, kept[-1].address
    request = lp.ColumnsRequest(ctypes.sizeof(lp.ColumnsRequest), columns, len(columns))
    answer, keys = lp.Answer(ctypes.sizeof(lp.Answer)), lp.GivenKeys(*[KEYS] * info.join_key_count)
    result = plan.lib.pillion_get_columns(plan.handle, ctypes.byref(keys.struct), ctypes.byref(request),
                                          ctypes.byref(answer))
    for memory in kept:
        memory.check()
    if result != lp.OK:
        return f"{RESULTS[result]} {answer.error.text.decode()}"
    return f"ok {struct.unpack_from('f', kept[0].memory.raw)[0]:g}"


def timeout_of(*expected: str) -> int:
    """In milliseconds: short where the end of the wait may be what the call says, else more than any machine needs."""
    return 1500 if any("UNAVAILABLE" in text for text in expected) else 20000


def call(mapped: str | None, resp: str | None, timeout_ms: int, what: Any = tuple(FEATURES), flags: int = 0,
         between: float = 0.1) -> list[str]:
    """What opening, planning, or each of two gets gives."""
    try:
        client = lp.Client(mapped, resp, timeout_ms=timeout_ms)
        plan = client.plan(what if isinstance(what, str) else list(what), flags=flags)
    except lp.Error as error:
        return [f"{RESULTS[error.result]} {error.text}"]
    said, shape = [], plan.shape()[:2]
    for _ in range(2):
        said.append(get_columns(plan) if flags else get(plan))
        assert plan.shape()[:2] == shape
        time.sleep(between)
    plan.free()
    client.close()
    return said


def isolated(function: Callable[..., list[str]], *args: Any, **more: Any) -> list[str]:
    """Runs in a forked process, which has to end by itself."""
    lp.library()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        said: Any = "no answer"
        try:
            said = function(*args, **more)
        except BaseException as error:  # noqa: BLE001
            said = [f"{type(error).__name__}: {error}"]
        os.write(writing, json.dumps(said).encode())
        os._exit(0)
    os.close(writing)
    ready, _, _ = select.select([reading], [], [], harness.DEADLINE_S)
    said = os.read(reading, 1 << 20) if ready else b""
    os.close(reading)
    if not ready:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert ready and status == 0, f"it hung, or ended with {status}"
    return json.loads(said)


class Listener:
    """Serves each connection in a thread of its own. `with` closes it."""

    def __init__(self, kind: int, path: Path):
        path.unlink(missing_ok=True)
        self.address, self.socket = f"unix:{path}", socket.socket(socket.AF_UNIX, kind)
        self.socket.bind(str(path))
        self.socket.listen(16)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            try:
                peer, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.run, args=(peer,), daemon=True).start()

    def run(self, peer: socket.socket) -> None:
        with peer:
            try:
                self.serve(peer)
            except (OSError, ValueError):
                pass

    def serve(self, peer: socket.socket) -> None:
        raise NotImplementedError

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


# ---- Mapped.


def memfd(data: bytes, seals: int, size: int | None = None) -> int:
    fd = os.memfd_create("liar", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    os.ftruncate(fd, len(data) if size is None else size)
    os.pwrite(fd, data, 0)
    fcntl.fcntl(fd, 1033, seals)
    return fd


def page(magic: bytes = b"PILC", version: int = 1, views: int = 1, generation: int = 1, state: int = 1) -> bytes:
    head = struct.pack("<4sIQQQQI", magic, version, 77, 2**63, state, 1, views)
    return head.ljust(64, b"\0") + b"".join(struct.pack("<Qq48x", generation, 0) for _ in range(64))


def view(index: int = 0, name: str = "driver_stats", project: str = "rides") -> dict[str, Any]:
    return {"index": index, "project": project, "name": name, "channel": "production"}


def catalog(*views: Any) -> bytes:
    return json.dumps({"views": views or [view()], "projects": []}).encode()


@dataclass
class Lie:
    """What the server says; honest unless a lie is named. The shard is the store's."""

    page: bytes | None = page()
    page_seals: int = PAGE_SEALS
    version: int = 1
    catalogs: list[bytes] = field(default_factory=lambda: [catalog()])  # one after another; the last one stays
    catalog_fds: int = 1
    shard: Callable[[bytes], bytes] = lambda shard: shard
    shard_seals: int = SEALED
    shard_size: int | None = None
    index: int = 0
    count: int = 1
    fds: int = 1
    packets: int = 1
    generation: int = 1
    release: bytes = b"0123456789abcdef"
    refusal: bytes | None = None  # after the grant's packets
    silent: int = 0  # a type that is not answered
    unasked: bool = False
    garbage: bytes | None = None


class MappedLiar(Listener):
    def __init__(self, path: Path, lie: Lie, shard: bytes):
        self.lie, self.shard, self.catalogs = lie, shard, 0
        super().__init__(socket.SOCK_SEQPACKET, path)

    def say(self, peer: socket.socket, type: int, fds: list[int], index: int = 0, count: int = 0, code: int = 0,
            generation: int = 0, text: bytes = b"") -> None:
        head = HEAD.pack(b"PILM", type, len(text), 0, index, count, code, generation, 0, 0)
        socket.send_fds(peer, [head + text], fds)
        for fd in fds:
            os.close(fd)

    def grant(self, peer: socket.socket) -> None:
        lie = self.lie
        for i in range(lie.packets):
            fds = [memfd(lie.shard(self.shard), lie.shard_seals, lie.shard_size) for _ in range(lie.fds)]
            self.say(peer, GRANT, fds, lie.index + i, lie.count, 0, lie.generation, lie.release)
        if lie.refusal is not None:
            self.say(peer, REFUSE, [], code=12, text=lie.refusal)

    def serve(self, peer: socket.socket) -> None:
        lie = self.lie
        while True:
            request = peer.recv(2000)
            if not request:
                return
            type = HEAD.unpack_from(request)[1]
            if type == lie.silent:
                continue
            if type == HELLO:
                fds = [memfd(lie.page, lie.page_seals)] if lie.page is not None else []
                self.say(peer, WELCOME, fds, lie.version, 1)
            elif type == CATALOG:
                if lie.unasked:
                    self.grant(peer)  # before the client can ask for one
                document = lie.catalogs[min(self.catalogs, len(lie.catalogs) - 1)]
                self.catalogs += 1
                self.say(peer, CATALOG, [memfd(document, SEALED) for _ in range(lie.catalog_fds)],
                         generation=1 if len(lie.catalogs) == 1 else 0)
            elif type == ACQUIRE and lie.garbage is not None:
                peer.send(lie.garbage)
            elif type == ACQUIRE:
                self.grant(peer)


MAPPED: dict[str, tuple[dict[str, Any], str]] = {
    "honest": ({}, RIGHT),
    "no page": ({"page": None}, "CORRUPT the server's welcome has no control page"),
    "a page that is not sealed": ({"page_seals": 0}, "CORRUPT the control page is not sealed"),
    "a page that may shrink": ({"page_seals": SEAL_GROW | SEAL_FUTURE_WRITE}, "CORRUPT the control page is not sealed"),
    "a short page": ({"page": page()[:100]}, "CORRUPT the control page is too short"),
    "a page of something else": ({"page": page(magic=b"NOPE")}, "CORRUPT the control page does not start with PILC"),
    "a newer page": ({"page": page(version=9)}, "UNSUPPORTED the control page has version 9"),
    "a page of 4e9 views": ({"page": page(views=2**32 - 1)}, RIGHT),
    "a newer protocol": ({"version": 2}, "UNSUPPORTED the server speaks version 2"),
    "no welcome": ({"silent": HELLO}, "UNAVAILABLE the server (has not said|does not say) welcome"),
    "no catalog": ({"silent": CATALOG}, "UNAVAILABLE the server has not sent its catalog"),
    "no grant": ({"silent": ACQUIRE}, "UNAVAILABLE no answer from the server"),
    "an empty catalog": ({"catalogs": [b""]}, "CORRUPT the catalog is empty"),
    "a catalog without a document": ({"catalog_fds": 0}, "CORRUPT the catalog comes without its document"),
    "a deep catalog": ({"catalogs": [b"[" * 200000]}, "CORRUPT the catalog: at byte 65"),
    "a catalog of 65 views": ({"catalogs": [catalog(*map(view, range(65)))]}, "CORRUPT the catalog lacks"),
    "a catalog of nothing": ({"catalogs": [b'{"views":[null,5,{}],"projects":[null]}']},
                             "CORRUPT view 0 of the catalog"),
    "a catalog in another order": ({"catalogs": [catalog(view(1), view(0, "x"))]}, "CORRUPT view 0 of the catalog"),
    "a view twice": ({"catalogs": [catalog(view(0), view(1))]}, "INVALID view rides/driver_stats is ambiguous"),
    "a view with a long name": ({"catalogs": [catalog(view(0, "x" * 500))]}, "CORRUPT view 0 of the catalog"),
    "a catalog that changes": ({"catalogs": [catalog(), catalog(view(0, "other"))]},
                               "CORRUPT view 0 of the catalog was"),
    "a catalog that shrinks": ({"catalogs": [catalog(view(0), view(1, "x")), catalog()]}, "CORRUPT the catalog has 1"),
    "another view's release": ({"catalogs": [catalog(view(0, "other"))], "what": ["other:f0"]},
                               "CORRUPT release 0123456789abcdef, granted for rides/other, is of view rides/driver"),
    "a shard that is not sealed": ({"shard_seals": 0}, "CORRUPT .*not a sealed memfd"),
    "a shard that may be written": ({"shard_seals": SEAL_SHRINK | SEAL_GROW}, "CORRUPT .*not a sealed memfd"),
    "a truncated shard": ({"shard": lambda shard: shard[:5000]}, "CORRUPT .*expected 5000"),
    "the head of a shard": ({"shard": lambda shard: shard[:4096]}, "CORRUPT .*expected 4096"),
    "zeros": ({"shard": lambda shard: b"\0" * len(shard)}, "CORRUPT .*not a shard file"),
    "a longer shard": ({"shard": lambda shard: shard + b"\0" * 4096}, "CORRUPT .*file_bytes"),
    "a sparse shard of 1 TiB": ({"shard_size": 1 << 40}, "CORRUPT .*expected 1099511627776"),
    "an empty shard": ({"shard": lambda shard: b""}, "CORRUPT "),
    "no shards": ({"count": 0}, "CORRUPT a grant of 0 shards"),
    "three times a shard": ({"count": 3, "fds": 3}, "CORRUPT .*of 3 shards"),
    "65,537 shards": ({"count": 65537}, "CORRUPT a grant of 65537 shards"),
    "a shard from the middle": ({"index": 5}, "CORRUPT a grant's shards are 5 to 6 of 1"),
    "more shards than said": ({"fds": 2}, "CORRUPT a grant's shards are 0 to 2 of 1"),
    "no descriptor": ({"fds": 0}, "CORRUPT a grant's shards are 0 to 0 of 1"),
    "a long release id": ({"release": b"a" * 900}, "CORRUPT a grant of 1 shards"),
    "no release id": ({"release": b""}, "CORRUPT a grant of 1 shards"),
    "a release id that is none": ({"release": b"\x1b[2J............"}, "CORRUPT a grant of 1 shards"),
    "generation 0": ({"generation": 0}, "CORRUPT a grant of 1 shards, generation 0"),
    "a generation from the future": ({"generation": 99, "timeout_ms": 1500}, RIGHT),  # it is waited for, all that time
    "grants for ever": ({"count": 65536, "packets": 3000}, "(SYSTEM descriptors were lost|UNAVAILABLE no answer)"),
    "half a grant, then a refusal": ({"count": 2, "refusal": b"no"}, "UNAVAILABLE no answer from the server"),
    "a refusal after a grant": ({"refusal": b"too late"}, "(NOT_READY too late|" + RIGHT + ")"),
    "a refusal with escapes": ({"packets": 0, "refusal": b"\x1b[2Jgone\n"}, r"NOT_READY \?\[2Jgone\?$"),
    "a refusal without a sentence": ({"packets": 0, "refusal": b""}, "NOT_READY the server refuses without a sentence"),
    "a grant that nobody asked for": ({"unasked": True}, "CORRUPT the server grants what was not asked for"),
    "a packet that is none": ({"garbage": b"x" * 20}, "CORRUPT a packet of 20 bytes"),
    "a packet of another kind": ({"garbage": HEAD.pack(b"PILM", 7, 0, 0, 0, 0, 0, 0, 0, 0)}, "CORRUPT message type 7"),
}


@pytest.fixture
def shard(store) -> bytes:
    store.make_release(rows=500)
    return next(store.path.glob("shards/*/*.shard")).read_bytes()


@pytest.mark.parametrize("name", MAPPED)
def test_mapped_lies(folder, shard, name):
    lie, expected = dict(MAPPED[name][0]), MAPPED[name][1]
    what, timeout_ms = lie.pop("what", FEATURES), lie.pop("timeout_ms", timeout_of(expected))
    with MappedLiar(folder / "liar.sock", replace(Lie(), **lie), shard) as liar:
        said = isolated(call, liar.address, None, timeout_ms, what)
    # A connection that was ended is UNAVAILABLE, with the reason in the sentence.
    wanted = re.sub("^(CORRUPT|UNSUPPORTED) ", r"(\1|UNAVAILABLE) ", expected)
    assert re.match(wanted, said[0]), (name, said)
    assert not expected.startswith("ok") or said == [expected] * len(said)


# ---- Over resp.


def description(count: int = 10, **other: Any) -> dict[str, Any]:
    told = {"dtype": "float32", "width": count, "join_keys": [{"name": "id", "type": "int64"}],
            "views": [{"name": "rides/driver_stats", "release": "0" * 16, "generation": 1}],
            "features": [{"view": 0, "name": f"f{i}", "type": "float32", "first": i, "count": 1}
                         for i in range(count)]}
    return {**told, **other}


def align(at: int, to: int) -> int:
    return -(-at // to) * to


def views_of(count: int, release: bytes) -> bytes:
    return struct.pack("<16sQqQqQ", release, 1, 0, 0, 0, 0) * count


def tensor(rows: int = 3, features: int = 10, width: int = 10, views: int = 1, element: int = 4, magic: bytes = b"PLV1",
           release: bytes = b"0" * 16, status: int = 1, extra: int = 0, total: int = 0) -> bytes:
    """An answer of PIL.VECTOR, whole whatever it counts."""
    statuses_at = 64 + 56 * views
    times_at = align(statuses_at + rows * features, 8)
    values_at = align(times_at + 8 * rows * views, 64)
    size = values_at + rows * width * element
    head = struct.pack("<4sHBBIIIIqQQQQ", magic, statuses_at % 65536, element, 0, rows, features, width, views, 0,
                       statuses_at, times_at, values_at, total or size)
    body = (head + views_of(views, release) + bytes([status]) * (rows * features)).ljust(values_at, b"\0")
    value = struct.pack("<f" if element == 4 else "<d", 7)
    return body + value * (rows * width) + b"x" * extra


def columns(count: int = 10, rows: int = 3, scalar: int = 3, shape: int = 0, value_bytes: int = 12,
            release: bytes = b"0" * 16) -> bytes:
    """An answer of PIL.COLUMNS with `count` fixed columns (or texts, when `scalar` is 5: one byte in each row)."""
    records_at, is_text = 64 + 56, scalar == 5
    times_at = records_at + 56 * count
    at = data_at = times_at + 8 * rows
    records, data = b"", b""
    for _ in range(count):
        offsets_at = align(at + rows, 8) if is_text else 0
        values_at = align(offsets_at + 4 * (rows + 1), 8) if is_text else align(at + rows, 8)
        end = align(values_at + value_bytes, 8)
        records += struct.pack("<BBHIQQQQQQ", scalar, shape, 0, 0, at, offsets_at, 0, 0, values_at, value_bytes)
        body = b"\1" * rows
        if is_text:
            body = body.ljust(offsets_at - at, b"\0") + struct.pack(f"<{rows + 1}i", *range(rows + 1))
        data += (body.ljust(values_at - at, b"\0") + (struct.pack("<f", 7) * rows)[:value_bytes]).ljust(end - at, b"\0")
        at = end
    head = struct.pack("<4sHBBIIIIqQQQQ", b"PLC1", records_at, 56, 0, rows, count, 0, 1, 0, records_at, times_at,
                       data_at, at)
    return head + views_of(1, release) + records + bytes(8 * rows) + data


def bulk(text: bytes) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(text), text)


class RespLiar(Listener):
    """Each command has answers, one after another; the last one stays."""

    def __init__(self, path: Path, plans: list[bytes], descriptions: list[Any], answers: list[bytes]):
        self.said: dict[bytes, int] = {}
        self.answers = {b"PING": [b"+PONG\r\n"], b"PIL.PLAN": plans, b"PIL.FORGET": [b"+OK\r\n"],
                        b"PIL.DESCRIBE": [told if isinstance(told, bytes) else bulk(json.dumps(told).encode())
                                          for told in descriptions],
                        b"PIL.VECTOR64": answers, b"PIL.COLUMNS64": answers, b"PIL.VECTOR": answers,
                        b"PIL.COLUMNS": answers}
        super().__init__(socket.SOCK_STREAM, path)

    def serve(self, peer: socket.socket) -> None:
        requests = peer.makefile("rb")
        while head := requests.readline():
            command = [requests.read(int(requests.readline()[1:]) + 2)[:-2] for _ in range(int(head[1:]))][0]
            number = self.said.get(command, 0)
            self.said[command] = number + 1
            peer.sendall(self.answers[command][min(number, len(self.answers[command]) - 1)])


def feature(**more: Any) -> dict[str, Any]:
    return {"view": 0, "name": "f0", "type": "float32", "first": 0, "count": 1, **more}


OTHER = "CORRUPT the server describes another plan than was asked for"
FORM = "CORRUPT the server describes the plan in a form that is not known here"
ASKED = "CORRUPT the answer has"
GOOD, ONE = bulk(tensor()), bulk(tensor(features=1, width=1))


def told(*descriptions: Any, **more: Any) -> dict[str, Any]:
    return {"descriptions": list(descriptions), **more}


def answered(*answers: bytes, **more: Any) -> dict[str, Any]:
    return {"answers": list(answers), **more}


TWO_VIEWS = [{"name": "rides/driver_stats"}, {"name": "rides/other"}]
TWO_KEYS = [{"name": "id", "type": "int64"}, {"name": "no", "type": "int64"}]
# What the server says, what the first get, or making the plan, gives, and what the second get gives.
RESP: dict[str, tuple[dict[str, Any], str, str]] = {
    "honest": ({}, "ok 7", "ok 7"),
    "no views": (told(description(views=[])), FORM, ""),
    "no join keys": (told(description(join_keys=[])), ASKED, ""),
    "17 join keys": (told(description(join_keys=TWO_KEYS * 9)), FORM, ""),
    "a join key without a name": (told(description(join_keys=[{"type": "int64"}])), FORM, ""),
    "no features": (told(description(0)), FORM, ""),
    "fewer features": (told(description(1)), OTHER, ""),
    "more features": (told(description(100)), OTHER, ""),
    "one feature of ten elements": (told(description(features=[feature(count=10)])), OTHER, ""),
    "other features": (told(description(features=[feature(first=i) for i in range(10)])), OTHER, ""),
    "a view more": (told(description(views=TWO_VIEWS)), OTHER, ""),
    "another view": (told(description(views=TWO_VIEWS[1:])), OTHER, ""),
    "a smaller width": (told(description(width=1)), OTHER, ""),
    "a larger width": (told(description(width=100)), OTHER, ""),
    "a width of 4e9": (told(description(width=4 * 10**9)), FORM, ""),
    "not JSON": (told(b"$3\r\nxyz\r\n"), "CORRUPT ", ""),
    "deep JSON": (told(bulk(b"[" * 100000)), "CORRUPT ", ""),
    "a long description": (told(bulk(b" " * (5 << 20))), "CORRUPT the server's reply has over", ""),
    "a plan without a number": ({"plans": [b"+one\r\n"]}, "CORRUPT the server numbers a plan", ""),
    "plan 65": ({"plans": [b":65\r\n"]}, "CORRUPT the server numbers a plan", ""),
    "plan -1": ({"plans": [b":-1\r\n"]}, "CORRUPT the server numbers a plan", ""),
    "a service of no features": (told(description(0), what="every"), FORM, ""),
    "a service that changes": (told(description(10), description(3), what="every"), OTHER, ""),
    "a service of one feature": (told(description(1), what="every", answers=[ONE]), "ok 7", "ok 7"),
    "a service, then more of it": (told(description(1), what="every", answers=[ONE, GOOD]), "ok 7", ASKED),
    "two join keys, one that counts": (told(description(join_keys=TWO_KEYS)), "ok 7", "ok 7"),
    "no tensor": (answered(bulk(b"")), "CORRUPT the answer of 0 bytes", "CORRUPT the answer of 0 bytes"),
    "columns for a tensor": (answered(bulk(columns())), "CORRUPT .*PLV1", "CORRUPT .*PLV1"),
    "rows that nobody asked for": (answered(bulk(tensor(rows=100))), "CORRUPT ", "CORRUPT "),
    "more features than described": (answered(GOOD, bulk(tensor(features=100, width=100))), "ok 7", "CORRUPT "),
    "more elements than described": (answered(GOOD, bulk(tensor(width=20))), "ok 7", "(INVALID .*plan anew|CORRUPT )"),
    "more views than described": (answered(GOOD, bulk(tensor(views=16))), "ok 7", ASKED),
    "17 views": (answered(bulk(tensor(views=17))), "CORRUPT an answer of", "CORRUPT an answer of"),
    "larger elements": (answered(GOOD, bulk(tensor(element=8))), "ok 7", ASKED),
    "fewer rows": (answered(GOOD, bulk(tensor(rows=2))), "ok 7", ASKED),
    "more bytes than counted": (answered(bulk(tensor(extra=8))), "CORRUPT the offsets", "CORRUPT the offsets"),
    "fewer bytes than counted": (answered(bulk(tensor()[:-4])), "CORRUPT the offsets", "CORRUPT the offsets"),
    "another length": (answered(bulk(tensor(total=1 << 60))), "CORRUPT the offsets", "CORRUPT the offsets"),
    "a status that is none": (answered(bulk(tensor(status=200))), "CORRUPT .*statuses", "CORRUPT .*statuses"),
    "a release id with escapes": (answered(bulk(tensor(release=b"\x1b[2J............"))), "CORRUPT view 0", "CORRUPT "),
    "400 MB": (answered(b"$400000000\r\n" + b"x" * (1 << 20)), "CORRUPT the server's reply has over", "CORRUPT "),
    "arrays of arrays": (answered(b"*1\r\n" * 10000), "(CORRUPT|UNAVAILABLE) ", "(CORRUPT|UNAVAILABLE) "),
    "an integer": (answered(b":7\r\n"), "CORRUPT ", "CORRUPT "),
    "null": (answered(b"$-1\r\n"), "CORRUPT ", "CORRUPT "),
    "nothing": (answered(b""), "UNAVAILABLE the server does not answer in time", "UNAVAILABLE "),
    "too large, always": (answered(b"-TOOLARGE no\r\n"), "TOO_LARGE no", "TOO_LARGE no"),
    "an error without a sentence": (answered(b"-\r\n"), "INVALID the server refuses without a sentence", "INVALID "),
    "an error with escapes": (answered(b"-ERR \x1b[2J\r\n"), r"INVALID \?\[2J$", "INVALID "),
    "columns": (answered(bulk(columns()), flags=lp.COLUMNS), "ok 7", "ok 7"),
    "fewer columns": (answered(bulk(columns()), bulk(columns(3)), flags=lp.COLUMNS), "ok 7", ASKED),
    "more columns": (answered(bulk(columns()), bulk(columns(30)), flags=lp.COLUMNS), "ok 7", ASKED),
    "texts instead": (answered(bulk(columns()), bulk(columns(scalar=5, value_bytes=3)), flags=lp.COLUMNS), "ok 7",
                      "INVALID .*plan anew"),
    "larger columns": (answered(bulk(columns(scalar=4, value_bytes=24)), flags=lp.COLUMNS), "TOO_LARGE ", ""),
    "other types in the second half": (
        answered(b"-TOOLARGE no\r\n", bulk(columns(rows=1, value_bytes=4)),
                 bulk(columns(rows=1, value_bytes=4, scalar=1)), flags=lp.COLUMNS),
        "CORRUPT counted from row 1 on: columns of one release have other types", ""),
    "another release for each row": (
        answered(b"-TOOLARGE no\r\n", *[bulk(tensor(rows=1, release=16 * of)) for of in (b"a", b"b")] * 200000),
        "UNAVAILABLE (the server changes releases faster|counted from row 1 on: the server does not answer)", ""),
    "columns of other lengths": (answered(bulk(columns(value_bytes=8)), flags=lp.COLUMNS), "CORRUPT column 0", ""),
}


@pytest.mark.parametrize("name", RESP)
def test_lies_over_resp(folder, name):
    lie, first, second = RESP[name]
    more = {key: lie[key] for key in ("what", "flags") if key in lie}
    with RespLiar(folder / "liar.sock", lie.get("plans", [b":1\r\n"]), lie.get("descriptions", [description()]),
                  lie.get("answers", [GOOD])) as liar:
        said = isolated(call, None, liar.address, timeout_of(first, second), between=0, **more)
    assert re.match(first, said[0]), (name, said)
    assert second == "" or re.match(second, said[1]), (name, said)


def list_names(resp: str) -> list[str]:
    with lp.Client(None, resp, timeout_ms=timeout_of()) as client:
        result, count, names = client.names(1, 64)
    return [RESULTS.get(result, f"ok {count}"), *names]


@pytest.mark.parametrize(("reply", "said"), [
    (bulk(b'["rides/b", "rides/a"]'), ["ok 2", "rides/a", "rides/b"]),
    (bulk(b"[]"), ["ok 0"]),
    (bulk(b'{"rides/a": 1}'), ["CORRUPT"]),
    (bulk(b'["rides/a", 7]'), ["CORRUPT"]),
    (bulk(b'["rides/a", ""]'), ["CORRUPT"]),
    (bulk(b'["rides/a", "%s"]' % (b"x" * 258)), ["CORRUPT"]),
    (bulk(b'["rides/a"'), ["CORRUPT"]),
    (b"*1\r\n$7\r\nrides/a\r\n", ["CORRUPT"]),
])
def test_a_list_that_lists_no_names_is_refused(folder, reply, said):
    with RespLiar(folder / "liar.sock", [], [], []) as liar:
        liar.answers[b"PIL.LIST"] = [reply]
        assert isolated(list_names, liar.address) == said


# ---- Both: what one listener said binds the other.


@pytest.fixture
def plan_made_by_a_liar(folder, store, start_pilliond) -> Iterator[Callable[..., list[str]]]:
    """A plan that the liar described, before the honest daemon's mapped listener is there."""
    store.make_release(rows=500)
    mapped = folder / "mapped.sock"

    def run(told: dict[str, Any], what: Any = tuple(FEATURES), answer: bytes = b"-ERR no\r\n") -> list[str]:
        ready = folder / "ready"

        def calls(resp: str) -> list[str]:
            client = lp.Client(f"unix:{mapped}", resp, timeout_ms=1500)  # what it waits for the mapped listener
            plan = client.plan(what if isinstance(what, str) else list(what))
            ready.touch()
            return [harness.wait_until("the mapped listener", lambda: next(
                (said for said in [get(plan)] if not said.startswith(("INVALID no", "UNAVAILABLE"))), None))]

        def serve() -> None:
            harness.wait_until("the plan", ready.exists)
            start_pilliond(store, args=["--listen", f"mapped=unix:{mapped}"])

        thread = threading.Thread(target=serve)
        with RespLiar(folder / "liar.sock", [b":1\r\n"], [told], [answer]) as liar:
            thread.start()
            try:
                return isolated(calls, liar.address)
            finally:
                thread.join()

    yield run


def test_an_honest_description_is_read_mapped(plan_made_by_a_liar):
    assert plan_made_by_a_liar(description()) == [RIGHT]


@pytest.mark.parametrize("told", [
    description(1, features=[feature(type="vector<float32,10>", count=10)], width=10),
    description(1, join_keys=TWO_KEYS),
    description(1, join_keys=[{"name": "no", "type": "int64"}]),
    description(2, features=[feature(type="vector<float32,2>", count=2)]),
], ids=["ten in one", "two keys", "another key", "two in one"])
def test_a_release_that_is_not_as_described_is_refused(plan_made_by_a_liar, told):
    """The service was said to be of one feature; the release has it in another shape."""
    said = plan_made_by_a_liar(told, what="every")
    assert re.match("INVALID the plan was made for .*plan anew", said[0]), said


def test_two_names_of_one_view_are_one_view(store, start_pilliond):
    """A bare and a full name: the buffers of times have one column, over resp as mapped."""
    store.make_release(rows=500)
    daemon = start_pilliond(store)

    def calls() -> list[str]:
        with lp.Client(None, daemon.resp_unix, timeout_ms=timeout_of()) as client:
            plan = client.plan(["driver_stats:f0", "rides/driver_stats:f1"])
            return [str(plan.info().view_count), get(plan)]

    assert isolated(calls) == ["1", RIGHT]
