# SPDX-License-Identifier: Apache-2.0
"""RESP against a real redis-server that holds the same data: the same bytes for the same requests, in RESP2 and
RESP3; and the clients that people have, unmodified. Where we mean to differ, the request is in INTENDED with the
reason.
"""

from __future__ import annotations

import re
import threading
from typing import Any, Iterator

import harness
import pytest
import synthetic

ROWS = 40
VIEW = "all_types"


def load_redis(client: Any) -> None:
    client.config_set("hash-max-listpack-value", 4096)  # keeps the order of fields, which is ours
    pipe = client.pipeline(transaction=False)
    for key in range(ROWS):
        fields = {k: synthetic.resp_text(v) for k, v in synthetic.row("all", key, 1).items() if v is not None}
        pipe.hset(f"{VIEW}:{key}", mapping=fields)
    pipe.execute()


@pytest.fixture
def pair(store, start_pilliond, redis_server, engine) -> Iterator[tuple[harness.Pilliond, harness.RedisServer]]:
    store.make_release(view=VIEW, rows=ROWS, kind="all", seed=1)
    daemon = start_pilliond(store, serve=[f"rides/{VIEW}@production"], engine=engine)
    load_redis(redis_server.redis())
    yield daemon, redis_server


def encode(request: list[Any]) -> bytes:
    words = [w if isinstance(w, bytes) else str(w).encode() for w in request]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


class Raw:
    """One connection; requests as words or as bytes, replies as their bytes."""

    def __init__(self, address: str):
        self.sock = harness.connect(address)
        self.buffer = b""

    def _fill(self) -> None:
        chunk = self.sock.recv(65536)
        if not chunk:
            raise ConnectionError(f"closed, after {self.buffer!r}")
        self.buffer += chunk

    def _line(self) -> bytes:
        while b"\r\n" not in self.buffer:
            self._fill()
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line + b"\r\n"

    def reply(self) -> bytes:
        line = self._line()
        kind, rest = line[:1], line[1:-2]
        if kind in b"$=" and rest != b"-1":
            size = int(rest) + 2
            while len(self.buffer) < size:
                self._fill()
            line, self.buffer = line + self.buffer[:size], self.buffer[size:]
        elif kind in b"*~%>" and rest != b"-1":
            for _ in range(int(rest) * (2 if kind == b"%" else 1)):
                line += self.reply()
        return line

    def ask(self, request: str | bytes | list[Any]) -> bytes:
        if isinstance(request, str):
            request = request.split(" ")
        if isinstance(request, list):
            request = encode(request)
        self.sock.sendall(request)
        return self.reply()


# Besides the rows: the server, the connection, mistakes.
OTHER_REQUESTS: list[Any] = [
    f"EXISTS {VIEW}:1 {VIEW}:2 {VIEW}:1 {VIEW}:777",
    "DBSIZE",
    "PING",
    "PING hello",
    ["ECHO", b"a\r\nb\x00"],
    "ECHO",
    "PING a b",
    "HGET",
    f"HGET {VIEW}:1",
    f"HGET {VIEW}:1 a b",
    "HMGET",
    f"HMGET {VIEW}:1",
    "HLEN",
    "TTL a b",
    "EXISTS",
    "TYPE",
    "GET",
    "MGET",
    "DBSIZE x",
    "SELECT 0",
    "SELECT 99",
    "SELECT x",
    "SELECT",
    "CLIENT GETNAME",
    "CLIENT SETNAME me",
    "CLIENT GETNAME",
    ["CLIENT", "SETNAME", "a b"],
    "CLIENT NO-EVICT on",
    "CLIENT NO-EVICT maybe",
    "CLIENT",
    "CLIENT NOSUCH",
    "COMMAND NOSUCH",
    "CONFIG NOSUCH x",
    "LATENCY NOSUCH",
    "SLOWLOG NOSUCH",
    "NOSUCH",
    "NOSUCH a b c",
    ["NOSUCH", "x" * 300, "y"],
    "AUTH secret",
    "AUTH nobody secret",
    "AUTH default secret",
    "AUTH a b c",
    "HELLO 4",
    "HELLO x",
    "HELLO 2 AUTH nobody x",
    "HELLO 2 NOSUCH",
    "CONFIG GET save",
    "CONFIG GET appendonly",
    "CONFIG GET nosuch*",
    "SLOWLOG LEN",
    "SLOWLOG GET -5",
    "SLOWLOG RESET",
    "SCAN x",
    "SCAN 0 COUNT 0",
    "SCAN 0 COUNT x",
    "SCAN 0 NOSUCH 1",
    "SCAN 0 MATCH nosuch* COUNT 1000",
    "SCAN 0 TYPE string COUNT 1000",
    "HSCAN",
    f"HSCAN {VIEW}:5 0 MATCH int* COUNT 100",
    f"HSCAN {VIEW}:5 0 MATCH nosuch",
    f"HSCAN {VIEW}:99999 0",
    f"HSCAN {VIEW}:5 0 COUNT 0",
    "EXEC",
    "DISCARD",
    "MULTI",
    f"HGET {VIEW}:5 int32",
    "HGET",
    "EXEC",
    "MULTI",
    "MULTI",
    f"HMGET {VIEW}:5 int32 nope",
    "PING x",
    f"HGETALL {VIEW}:99999",
    "EXEC",
    "MULTI",
    "PING",
    "DISCARD",
    "MULTI",
    "EXEC",
    "RESET",
    "CLIENT GETNAME",
    "MULTI",
    "HGET",
    "RESET",
    "MULTI",
    "PING",
    "EXEC",
    "COMMAND COUNT x",
    "COMMAND INFO nosuch",
    "COMMAND DOCS nosuch",
    "COMMAND LIST x",
    "COMMAND LIST FILTERBY NOSUCH x",
    "COMMAND LIST FILTERBY MODULE nosuch",
    "COMMAND LIST FILTERBY PATTERN hkey*",
    "LATENCY HISTOGRAM nosuch", "LATENCY LATEST", "LATENCY HISTORY command", "LATENCY RESET", "LATENCY RESET command",
    "CONFIG GET",
    "CONFIG GET SAVE",
    "CONFIG GET APPEND*ONLY",
    "CONFIG GET SlowLog-max-len",
    "CONFIG SET",
    "SLOWLOG",
    "SLOWLOG LEN x",
    "SLOWLOG RESET x",
    "SLOWLOG GET x",
    "SLOWLOG GET 1 2",
    "SLOWLOG GET 0",
    "CLIENT ID x",
    "CLIENT INFO x",
    "CLIENT GETNAME x",
    "CLIENT SETNAME",
    "CLIENT NO-EVICT",
    "CLIENT LIST TYPE pubsub",
    "CLIENT LIST TYPE nosuch",
    "CLIENT LIST TYPE",
    "CLIENT LIST ID",
    "CLIENT LIST ID 999999",
    "CLIENT LIST ID 1 x",
    "CLIENT LIST foo",
    "SCAN",
    "SCAN 0 MATCH",
    "SCAN 99999999999999999999",
    "TIME x",
    f"TOUCH {VIEW}:1 {VIEW}:2 {VIEW}:777",
    "TOUCH",
    f"GETRANGE {VIEW}:1 0",
    f"STRLEN {VIEW}:1 0",
    "EXPIRETIME a b",
    "KEYS",
    "KEYS nosuch*",
    "ROLE",
    "ROLE x",
    "READONLY",
    "READWRITE",
    "CLUSTER INFO",
    "CLUSTER SLOTS",
    "CLUSTER",
    "ACL",
    "ACL WHOAMI",
    "ACL WHOAMI x",
    "ACL USERS",
    "ACL NOSUCH",
    "ACL CAT",
    "ACL CAT nosuch",
    "ACL GETUSER nobody",
    "OBJECT",
    "OBJECT NOSUCH a",
    "OBJECT ENCODING",
    f"OBJECT ENCODING {VIEW}:99999",
    f"OBJECT ENCODING {VIEW}:5",
    f"OBJECT REFCOUNT {VIEW}:5",
    f"OBJECT REFCOUNT {VIEW}:99999",
    f"OBJECT FREQ {VIEW}:99999",
    f"OBJECT IDLETIME {VIEW}:99999",
    "MEMORY",
    "MEMORY NOSUCH",
    "MEMORY USAGE",
    f"MEMORY USAGE {VIEW}:99999",
    f"MEMORY USAGE {VIEW}:5 SAMPLES",
    f"MEMORY USAGE {VIEW}:5 SAMPLES x",
    f"MEMORY USAGE {VIEW}:5 SAMPLES -1",
    f"MEMORY USAGE {VIEW}:5 NOSUCH 1",
    "HELLO 2 AUTH",
    "HELLO AUTH default x",
    "HELLO 2 SETNAME",
    "AUTH default x",
    "WATCH",
    f"WATCH {VIEW}:1 {VIEW}:2",
    "UNWATCH x",
    "UNWATCH",
    f"WATCH {VIEW}:1",
    "MULTI",
    f"WATCH {VIEW}:2",
    "UNWATCH",
    f"HGET {VIEW}:5 int32",
    "EXEC",
    f"WATCH {VIEW}:1",
    "MULTI",
    "DISCARD",
    "MULTI",
    "CLIENT TRACKINGINFO",
    "EXEC",
    "CLIENT TRACKING",
    "CLIENT TRACKING maybe",
    "CLIENT TRACKING ON NOSUCH",
    "CLIENT TRACKING ON PREFIX",
    "CLIENT TRACKING ON PREFIX a",
    "CLIENT TRACKING ON OPTIN OPTOUT",
    "CLIENT TRACKING ON BCAST OPTIN",
    "CLIENT TRACKING ON REDIRECT x",
    "CLIENT CACHING YES",
    "CLIENT GETREDIR",
    "CLIENT TRACKINGINFO",
    "CLIENT TRACKINGINFO x",
    "CLIENT TRACKING ON OPTIN NOLOOP",
    "CLIENT TRACKINGINFO",
    "CLIENT GETREDIR",
    "CLIENT CACHING",
    "CLIENT CACHING maybe",
    "CLIENT CACHING NO",
    "CLIENT CACHING YES",
    "CLIENT TRACKINGINFO",
    f"HGET {VIEW}:5 int32",
    "CLIENT TRACKINGINFO",
    "PING",
    "CLIENT TRACKINGINFO",
    "CLIENT CACHING YES",
    "MULTI",
    f"HGET {VIEW}:5 int32",
    "EXEC",
    "CLIENT TRACKINGINFO",
    "PING",
    "CLIENT TRACKINGINFO",
    "CLIENT TRACKING ON OPTOUT",
    "CLIENT TRACKING ON BCAST",
    "CLIENT TRACKING OFF",
    "CLIENT TRACKING ON OPTOUT",
    "CLIENT CACHING YES",
    "CLIENT CACHING NO",
    "CLIENT TRACKINGINFO",
    "CLIENT TRACKING OFF OPTIN",
    "CLIENT TRACKING ON BCAST PREFIX a PREFIX b NOLOOP",
    "CLIENT TRACKINGINFO",
    "CLIENT TRACKING ON BCAST PREFIX ab",
    "CLIENT TRACKING ON BCAST PREFIX c",
    "CLIENT TRACKINGINFO",
    "CLIENT TRACKING ON OPTIN",
    "CLIENT TRACKING OFF",
    "CLIENT TRACKING ON BCAST",
    "CLIENT TRACKINGINFO",
    "RESET",
    "CLIENT TRACKINGINFO",
    "CLIENT GETREDIR",
]


def data_requests() -> list[Any]:
    requests: list[Any] = []
    for key in (0, 1, 5, 11, 39, 99999):
        name = f"{VIEW}:{key}"
        requests += [
            f"HGETALL {name}",
            f"HKEYS {name}",
            f"HVALS {name}",
            f"HLEN {name}",
            f"EXISTS {name}",
            f"TYPE {name}",
            f"TTL {name}",
            f"PTTL {name}",
            f"EXPIRETIME {name}",
            f"PEXPIRETIME {name}",
            f"TOUCH {name} {name}",
            f"OBJECT REFCOUNT {name}",
            f"HMGET {name} " + " ".join(synthetic.NAMES),
            f"hmget {name} int32 nope int32",
        ]
        requests += [f"HGET {name} {feature}" for feature in synthetic.NAMES[:8]]
        requests += [f"HEXISTS {name} {feature}" for feature in ("int32", "string", "list_bool", "nope")]
        requests += [
            f"HSTRLEN {name} {feature}" for feature in ("float64", "string", "vector_float32_4", "list_string", "nope")
        ]
    return requests + OTHER_REQUESTS


# Patterns, on the keys of a scan: stars, classes, escapes, what is not closed.
PATTERNS = [
    "*", "a*", f"{VIEW}*", f"{VIEW}:?", f"{VIEW}:[13]", f"{VIEW}:[^13]", f"{VIEW}:[1-3]", f"{VIEW}:[3-1]", "*:1*",
    "*:*0",
    f"*{VIEW[-4:]}:*[0-9]", f"{VIEW}:[", f"{VIEW}:[1", f"{VIEW}:[^", f"{VIEW}:[\\1-3]", f"\\{VIEW}:1", f"{VIEW}:1\\",
    "*a*l*l*_*t*:*2*", f"{VIEW}**:**1", "??l_*:??", f"{VIEW}:[!1]", f"{VIEW}:[]1]", f"{VIEW}:[1-]", "[^b]*1",
]


@pytest.mark.parametrize("command", ["KEYS", "SCAN"])
def test_patterns_match_as_in_redis(pair, command):
    daemon, server = pair
    ours, theirs = Raw(daemon.resp_unix), Raw(f"unix:{server.path}")
    matched = set()
    for pattern in PATTERNS:
        request = f"KEYS {pattern}" if command == "KEYS" else f"SCAN 0 MATCH {pattern} COUNT 1000"
        mine, real = parsed(ours, request), parsed(theirs, request)
        if command == "SCAN":
            assert mine[0] == real[0] == "0"
            mine, real = mine[1], real[1]
        assert sorted(mine) == sorted(real), pattern
        matched.add(len(mine))
    assert len(matched) > 5


def test_a_pattern_has_a_bound_that_the_error_names(pair):
    daemon, _ = pair
    raw = Raw(daemon.resp_unix)
    for request in ("SCAN 0 MATCH {}", f"HSCAN {VIEW}:1 0 MATCH {{}}", "KEYS {}", "CONFIG GET {}",
                    "COMMAND LIST FILTERBY PATTERN {}"):
        assert not raw.ask(request.format("*[" + "b" * 1021 + "]")).startswith(b"-")
        assert raw.ask(request.format("*[" + "b" * 1022 + "]")) == (
            b"-ERR a pattern has at most 1024 bytes, this one has 1025\r\n"), request


def test_keys_says_which_of_its_bounds_is_passed(store, start_pilliond):
    """10,000 rows, without empty slots, one of which is the last; and work, which is for fewer rows of long keys."""
    for view, rows in (("v", 9_992), ("w", 8), ("v" * 128, 4_000)):
        store.make_release(view=view, rows=rows, features=1)
    short = start_pilliond(store, serve=["rides/v@production", "rides/w@production"])
    long = start_pilliond(store, serve=[f"rides/{'v' * 128}@production"])
    client = short.redis()
    assert len(client.keys("*")) == 10_000 and client.keys("?:9991") == [b"v:9991"]
    assert client.scan(0, count=10_000)[0] == 0 and len(client.scan(0, count=7)[1]) == 7
    too_much = b"-ERR these keys or this pattern are too much work for one KEYS; use SCAN\r\n"
    assert Raw(long.resp_unix).ask("KEYS *") == too_much and len(list(long.redis().scan_iter(count=10_000))) == 4_000
    store.make_release(view="w", rows=9, features=1)
    harness.wait_until("the new release", lambda: client.dbsize() == 10_001)
    assert Raw(short.resp_unix).ask("KEYS *").startswith(b"-ERR there are more rows than one KEYS may look at, 10000;")


# Requests whose answers are meant to differ, and why.
INTENDED: dict[str, str] = {}


def normal(answer: bytes) -> bytes:
    """Without what differs between any two servers."""
    answer = re.sub(rb"(\$7\r\nversion\r\n)\$\d+\r\n[\d.]+", rb"\1VERSION", answer)
    return re.sub(rb":\d+\r\n(?=\$4\r\nmode)", b":ID\r\n", answer)


@pytest.mark.parametrize("protocol", [2, 3])
def test_the_same_bytes_as_redis(pair, protocol):
    daemon, server = pair
    ours, theirs = Raw(daemon.resp_unix), Raw(f"unix:{server.path}")
    differences, excused, asked = [], set(), 0
    for side in (ours, theirs):
        side.ask(f"HELLO {protocol}")
    for request in data_requests():
        mine, real = normal(ours.ask(request)), normal(theirs.ask(request))
        asked += 1
        if request == "RESET":
            for side in (ours, theirs):
                side.ask(f"HELLO {protocol}")
        if mine != real and str(request) in INTENDED:
            excused.add(str(request))
        elif mine != real:
            differences.append(f"{request}\n  ours  {mine[:300]!r}\n  redis {real[:300]!r}")
    assert not differences, f"{len(differences)} of {asked}:\n" + "\n".join(differences)
    assert excused == set(INTENDED), "an excuse that nothing needs any more"
    assert asked > 170


def parsed(raw: Raw, request: str) -> Any:
    hiredis = pytest.importorskip("hiredis")
    reader = hiredis.Reader(encoding="utf-8")
    reader.feed(raw.ask(request))
    return reader.gets()


# Redis keeps the flags of these with their subcommands.
CONTAINERS = {"acl", "client", "cluster", "command", "config", "latency", "memory", "object", "slowlog"}


def test_commands_are_described_as_redis_describes_them(pair):
    daemon, server = pair
    ours, theirs = ({info[0]: info for info in parsed(Raw(address), "COMMAND")}
                    for address in (daemon.resp_unix, f"unix:{server.path}"))
    compared = 0
    for name, info in ours.items():
        if name.startswith("pil.") or name in CONTAINERS or "write" in info[2]:
            continue
        compared += 1
        assert info[1] == theirs[name][1] and info[3:6] == theirs[name][3:6], name
        assert sorted(info[2]) == sorted(theirs[name][2]) and set(info[6]) == set(theirs[name][6]), name
    assert compared > 25
    filtered = parsed(Raw(daemon.resp_unix), "COMMAND LIST FILTERBY ACLCAT hash")
    assert "hget" in filtered and "get" not in filtered


def test_commands_about_the_server_take_a_bounded_number_of_words(pair):
    raw = Raw(pair[0].resp_unix)
    for command in ("COMMAND INFO", "COMMAND DOCS", "CONFIG GET", "LATENCY HISTOGRAM", "CLIENT LIST ID"):
        words = command.split() + ["1"] * (1025 - len(command.split()))
        assert not raw.ask(words[:1024]).startswith(b"-"), command
        refusal = f"-ERR {words[0]} takes at most 1023 arguments; ask in several requests\r\n"
        assert raw.ask(words) == refusal.encode()


def test_every_command_that_redis_flags_as_a_write_is_refused(pair):
    daemon, server = pair
    ours, theirs = ({info[0]: info for info in parsed(Raw(address), "COMMAND")}
                    for address in (daemon.resp_unix, f"unix:{server.path}"))
    writes = [info for info in theirs.values() if "write" in info[2] or any("write" in sub[2] for sub in info[9])]
    assert len(writes) > 90 and {info[0] for info in writes if info[9]} == {"function", "xgroup"}
    raw = Raw(daemon.resp_unix)
    for name, arity, *_ in writes:
        assert raw.ask([name] + ["x"] * (abs(arity) - 1)).startswith(b"-READONLY "), name
        assert ours[name][1] == arity and ours[name][2] == ["write"], name
        if abs(arity) > 1:
            assert raw.ask([name]) == b"-ERR wrong number of arguments for '%s' command\r\n" % name.encode()
    # Since 7.0: the hash fields that expire, vector sets, and what was a module before Redis 8.
    for name in ("hexpire", "hpexpireat", "hgetdel", "hsetex", "vadd", "json.set", "ts.add", "bf.add"):
        arity = ours[name][1]
        assert raw.ask([name] + ["x"] * (abs(arity) - 1)).startswith(b"-READONLY "), name


@pytest.mark.parametrize("line", [b"POST / HTTP/1.1", b"GET / HTTP/1.1", b"PUT /x HTTP/1.1"])
def test_http_on_a_resp_port_ends_the_connection(pair, line):
    stream = line + b"\r\nHost: x\r\n\r\nPING\r\n"
    for address in (pair[0].resp_unix, f"unix:{pair[1].path}"):
        raw = Raw(address)
        raw.sock.sendall(stream)
        got = b""
        while chunk := raw.sock.recv(65536):
            got += chunk
        assert b"PONG" not in got


def test_parts_of_packed_rows(store, start_pilliond, redis_server):
    store.make_release(rows=100, features=3, seed=3)
    daemon = start_pilliond(store)
    ours, theirs = daemon.redis(), redis_server.redis()
    row = ours.get("driver_stats:99")
    assert len(row) == 13 == ours.strlen("driver_stats:99")
    theirs.set("driver_stats:99", row)
    ends = [0, 1, 5, 12, 13, 14, 2**62, -1, -5, -13, -14, -(2**62), -(2**63), 2**63 - 1]
    for start in ends:
        for end in ends:
            for client in ("GETRANGE", "SUBSTR"):
                assert ours.execute_command(client, "driver_stats:99", start, end) == theirs.execute_command(
                    client, "driver_stats:99", start, end), (start, end)
    for client in (ours, theirs):
        assert client.strlen("driver_stats:12345") == 0 and client.getrange("driver_stats:12345", 0, -1) == b""
        with pytest.raises(Exception, match="value is not an integer"):
            client.execute_command("GETRANGE", "driver_stats:99", "a", 1)


def test_latency_histogram_counts_calls_in_the_shape_of_redis(pair):
    daemon, server = pair
    shapes = []
    for address in (daemon.resp_unix, f"unix:{server.path}"):
        raw = Raw(address)
        for _ in range(7):
            raw.ask(f"HLEN {VIEW}:5")
        name, (calls_name, calls, counts_name, counts) = parsed(raw, "LATENCY HISTOGRAM hlen nosuch")
        bounds = counts[::2]
        if address == daemon.resp_unix:  # Redis rounds: 33, 66, 132 … µs
            assert all(bound & (bound - 1) == 0 for bound in bounds)
        assert bounds == sorted(bounds)
        assert counts[1::2] == sorted(counts[1::2]) and counts[-1] == calls
        shapes.append((name, calls_name, calls, counts_name))
    assert shapes == [("hlen", "calls", 7, "histogram_usec")] * 2


@pytest.mark.parametrize("command", ["ACL", "CLIENT", "COMMAND", "CONFIG", "LATENCY", "MEMORY", "OBJECT", "SLOWLOG"])
def test_help_lists_what_there_is(pair, command):
    daemon, server = pair
    helps = [parsed(Raw(address), f"{command} HELP") for address in (daemon.resp_unix, f"unix:{server.path}")]
    assert [lines[0] for lines in helps] == [helps[1][0]] * 2
    assert [lines[-2:] for lines in helps] == [["HELP", "    Prints this help."]] * 2
    raw = Raw(daemon.resp_unix)
    for usage in helps[0][1::2]:  # each in turn with what it means
        assert b"unknown subcommand" not in raw.ask(f"{command} {usage.split()[0]}"), usage


def test_client_list_shows_the_connections_of_all_workers(store, start_pilliond, engine):
    store.make_release(rows=10)
    daemon = start_pilliond(store, engine=engine, workers=2)
    raws = [Raw(daemon.resp_unix if i % 2 else daemon.resp_tcp) for i in range(40)]
    for i, raw in enumerate(raws):
        assert raw.ask(f"CLIENT SETNAME client-{i}") == b"+OK\r\n"
    ids = {parsed(raw, "CLIENT ID") for raw in raws}
    for raw in raws:  # whoever is asked, of whichever worker
        lines = [dict(part.split("=", 1) for part in line.split()) for line in parsed(raw, "CLIENT LIST").splitlines()]
        assert {line["name"] for line in lines} == {f"client-{i}" for i in range(40)}
        assert {int(line["id"]) for line in lines} == ids and len(lines) == 40
        assert {line["flags"] for line in lines} == {"U", "N"}
    some = sorted(ids)[:3]
    assert parsed(raws[0], "CLIENT LIST ID " + " ".join(map(str, some))).count("\n") == 3
    for i, raw in enumerate(raws[:20]):
        raw.ask("HGET driver_stats:1 f0")
    harness.wait_until("what they asked shows", lambda: parsed(raws[39], "CLIENT LIST").count(" cmd=hget ") == 20)
    for raw in raws[:39]:
        raw.sock.close()
    harness.wait_until("one is left", lambda: parsed(raws[39], "CLIENT LIST").count("\n") == 1)
    assert " name=client-39 " in parsed(raws[39], "CLIENT LIST")


def test_pipelines_inline_commands_and_quoting_are_redis_s(pair):
    daemon, server = pair
    for stream in (
        b"PING\r\n",
        b"ping\n",
        b"  PING   \r\n",
        b"\r\n\r\nPING\r\n",
        b'ECHO "a b\\x41\\n"\r\n',
        b"ECHO 'it\\'s'\r\n",
        b"*0\r\n*-1\r\nPING\r\n",
        f"HGET {VIEW}:5 int32\r\n".encode(),
        b"ECHO a\r\n" * 500,
    ):
        answers = []
        for address in (daemon.resp_unix, f"unix:{server.path}"):
            raw = Raw(address)
            raw.sock.sendall(stream + b"QUIT\r\n")
            got = b""
            while chunk := raw.sock.recv(65536):
                got += chunk
            answers.append(got)
        assert answers[0] == answers[1], stream


@pytest.mark.parametrize(
    "stream", [b"*x\r\n", b"*1\r\n+PING\r\n", b"*1\r\n$x\r\n", b"*1\r\n$-5\r\n", b'ECHO "open\r\n', b"*99999999999\r\n"]
)
def test_protocol_errors_are_told_and_close(pair, stream):
    daemon, server = pair
    answers = []
    for address in (daemon.resp_unix, f"unix:{server.path}"):
        raw = Raw(address)
        raw.sock.sendall(stream)
        got = b""
        while chunk := raw.sock.recv(65536):
            got += chunk
        answers.append(got)
    assert answers[0] == answers[1]


def test_a_quoted_argument_is_its_own_in_a_batch_that_is_full(pair):
    daemon, _ = pair
    raw = Raw(daemon.resp_unix)
    raw.ask("PING")
    # INFO needs the room where quoted arguments are decoded; 1,100 keys fill the batch just before the last request.
    many = encode(["EXISTS", *(f"{VIEW}:{i}" for i in range(1100))])
    raw.sock.sendall(b"INFO\r\n" + many + b'ECHO "in quotes"\r\n' * 3)
    assert b"redis_version" in raw.reply()
    assert raw.reply() == b":%d\r\n" % ROWS
    assert [raw.reply() for _ in range(3)] == [b"$9\r\nin quotes\r\n"] * 3


def test_a_pipeline_may_be_longer_than_any_request(pair):
    daemon, _ = pair
    count, got = 1_500_000, bytearray()
    with harness.connect(daemon.resp_unix) as sock:
        sender = threading.Thread(target=sock.sendall, args=(b"PING\r\n" * count,))  # 9 MB; limits.request_bytes is 4M
        sender.start()
        while len(got) < 7 * count and (chunk := sock.recv(1 << 20)):
            got += chunk
        sender.join()
    assert got == b"+PONG\r\n" * count


def test_every_split_of_a_request_gives_the_same_answer(pair):
    daemon, _ = pair
    request = f"*4\r\n$5\r\nHMGET\r\n${len(VIEW) + 2}\r\n{VIEW}:5\r\n$5\r\nint32\r\n$6\r\nstring\r\n".encode()
    raw = Raw(daemon.resp_unix)
    whole = raw.ask(request)
    for cut in range(1, len(request)):
        raw.sock.sendall(request[:cut])
        raw.sock.sendall(request[cut:])
        assert raw.reply() == whole


def test_ten_thousand_pipelined_commands(pair):
    daemon, _ = pair
    pipe = daemon.redis().pipeline(transaction=False)
    for i in range(10000):
        pipe.hget(f"{VIEW}:{i % ROWS}", "int64")
    got = pipe.execute()
    assert got == [
        None if v is None else synthetic.resp_text(v)
        for v in (synthetic.value("all", i % ROWS, 2, 1) for i in range(10000))
    ]


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py_reads_every_type(pair, protocol):
    daemon, _ = pair
    client = daemon.redis(protocol=protocol)
    for key in range(ROWS):
        want = {k.encode(): synthetic.resp_text(v) for k, v in synthetic.row("all", key, 1).items() if v is not None}
        assert client.hgetall(f"{VIEW}:{key}") == want
    assert client.ping()
    assert client.info("pillion")["view_0"]["rows"] == ROWS
    assert sorted(client.scan_iter(count=7)) == sorted(f"{VIEW}:{k}".encode() for k in range(ROWS))
    assert client.client_list()[0]["lib-name"].startswith("redis-py")
    assert client.time()[0] > 1_700_000_000
    with pytest.raises(Exception, match="immutable"):
        client.set("a", "b")


def test_redis_py_s_default_pipelines_are_transactions(pair):
    daemon, _ = pair
    client = daemon.redis()
    for _ in range(3):
        pipe = client.pipeline()
        for key in range(ROWS):
            pipe.hget(f"{VIEW}:{key}", "string")
        expected = [synthetic.value("all", key, 5, 1) for key in range(ROWS)]
        assert pipe.execute() == [None if v is None else v.encode() for v in expected]


def test_packed_rows(store, start_pilliond):
    import struct

    store.make_release(rows=100, features=50, seed=3)
    daemon = start_pilliond(store)
    rows = daemon.redis().mget([f"driver_stats:{k}" for k in range(99, 102)])
    assert rows[1] is None and rows[2] is None
    assert struct.unpack("<50f", rows[0][:200]) == tuple(float((99 * 31 + f * 7 + 3) % 1000003) for f in range(50))
    assert rows[0][200:] == bytes(7)


def test_packed_rows_of_variable_width_are_an_error(pair):
    daemon, _ = pair
    with pytest.raises(Exception, match="variable width"):
        daemon.redis().get(f"{VIEW}:1")


def test_composite_keys_and_their_escapes(store, start_pilliond):
    done = harness.run(
        [
            harness.program("make_release"),
            "--store",
            store.url,
            "--project",
            "rides",
            "--view",
            "zones",
            "--rows",
            "50",
            "--features",
            "3",
            "--key",
            "pair",
            "--channel",
            "production",
        ]
    )
    assert done.stdout.startswith("rides/zones@")
    daemon = start_pilliond(store, serve=["rides/zones@production"])
    client = daemon.redis()
    assert client.hget("zones:9|z2", "f0") == b"279.0"
    assert client.hget("rides/zones:9|z2", "f0") == b"279.0"
    assert client.hget("zones:9|z3", "f0") is None
    for bad in ("zones:9", "zones:9|z\\2", "zones:9|z2|x", "zones:x|z2"):
        with pytest.raises(Exception, match="a key of view .*/zones"):
            client.hget(bad, "f0")
    assert set(client.scan_iter(count=100)) == {f"zones:{k}|z{k % 7}".encode() for k in range(50)}


def test_two_projects_need_the_prefix(store, start_pilliond):
    store.make_release(project="rides", view="a", rows=10, seed=1)
    store.make_release(project="eats", view="a", rows=10, seed=5)
    daemon = start_pilliond(store, serve=["rides/a@production", "eats/a@production"])
    client = daemon.redis()
    assert client.hget("rides/a:1", "f0") == b"32.0"
    assert client.hget("eats/a:1", "f0") == b"36.0"
    assert set(client.scan_iter()) == {f"{project}/a:{i}".encode() for project in ("rides", "eats") for i in range(10)}
    with pytest.raises(Exception, match="view 'a' is ambiguous"):
        client.hget("a:1", "f0")


def test_redis_cli_and_redis_benchmark_work_unmodified(pair):
    daemon, _ = pair
    path = daemon.resp_path
    for flags in ([], ["-3"]):
        done = harness.run([harness.tool("redis-cli"), *flags, "-s", path, "HMGET", f"{VIEW}:5", "int32", "string"])
        assert done.stdout.split("\n")[0] == str(synthetic.value("all", 5, 1, 1))
    done = harness.run(
        [
            harness.tool("redis-benchmark"),
            "-s",
            path,
            "-n",
            "2000",
            "-c",
            "10",
            "-P",
            "8",
            "-q",
            "HGET",
            f"{VIEW}:5",
            "int32",
        ]
    )
    assert "requests per second" in done.stdout and "ERR" not in done.stdout


def test_hiredis_parses_what_we_send(pair):
    hiredis = pytest.importorskip("hiredis")
    daemon, _ = pair
    raw = Raw(daemon.resp_unix)
    raw.ask("HELLO 3")
    reader = hiredis.Reader()
    reader.feed(raw.ask(f"HGETALL {VIEW}:5"))
    parsed = reader.gets()
    assert parsed[b"int32" if isinstance(parsed, dict) else 0] is not None


def test_one_request_over_several_views(store, start_pilliond):
    import struct

    store.make_release(view="a", rows=100, features=2, seed=1)
    store.make_release(view="b", rows=100, features=3, seed=2)
    store.make_release(view="mixed_types", rows=100, kind="all", seed=1)
    daemon = start_pilliond(store, serve=["rides/a@production", "rides/b@production", "rides/mixed_types@production"])
    client = daemon.redis()
    rows = client.mget(["a:5", "b:6", "b:7", "a:8", "b:999"])
    wanted = [(5, 2, 1), (6, 3, 2), (7, 3, 2), (8, 2, 1)]
    for row, (key, features, seed) in zip(rows, wanted):
        values = tuple(float((key * 31 + f * 7 + seed) % 1000003) for f in range(features))
        assert struct.unpack(f"<{features}f", row[: 4 * features]) == values
    assert rows[4] is None
    assert client.exists("a:1", "b:1", "mixed_types:1", "a:1000") == 3
    with pytest.raises(Exception, match="mixed_types has feature"):
        client.mget(["a:5", "mixed_types:5"])
    metrics = daemon.metrics()
    assert metrics['pillion_lookups_total{view="rides/b",status="not_found"}'] == 1
    assert metrics['pillion_lookups_total{view="rides/b",status="hit"}'] == 3
