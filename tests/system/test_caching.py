# SPDX-License-Identifier: Apache-2.0
"""What a swap of a release means to clients that cache what they have read (CLIENT TRACKING) or watch it (WATCH), with
a real client that caches; which errors clients wait for; the fields of INFO.
"""

from __future__ import annotations

import datetime
import time
from pathlib import Path
from typing import Any

import harness
import pytest
import redis
from test_redis import Raw

FORGET = b">2\r\n$10\r\ninvalidate\r\n_\r\n"


def value(key: int, seed: int) -> bytes:
    return b"%d.0" % ((key * 31 + seed) % 1000003)


def test_redis_py_s_cache_is_told_of_a_promotion(store, start_pilliond, engine):
    cache = pytest.importorskip("redis.cache")
    store.make_release(rows=10, seed=1)
    daemon = start_pilliond(store, engine=engine)
    client = daemon.redis(protocol=3, tcp=True, cache_config=cache.CacheConfig())
    assert client.hget("driver_stats:1", "f0") == value(1, 1)
    assert client.get_cache().size == 1
    before = daemon.metrics()['pillion_requests_total{protocol="resp",code="ok"}']
    assert [client.hget("driver_stats:1", "f0") for _ in range(50)] == [value(1, 1)] * 50
    assert daemon.metrics()['pillion_requests_total{protocol="resp",code="ok"}'] <= before + 2
    store.make_release(rows=10, seed=2)
    harness.wait_until("the new value is read", lambda: client.hget("driver_stats:1", "f0") == value(1, 2))


def test_an_idle_connection_is_told_as_well(store, start_pilliond, engine):
    store.make_release(rows=10, seed=1)
    store.make_release(view="other", rows=10, seed=1)
    daemon = start_pilliond(store, engine=engine, serve=["rides/driver_stats@production", "rides/other@production"])
    reader, other, plain, broadcast = (Raw(daemon.resp_unix) for _ in range(4))
    for raw in (reader, other, broadcast):
        raw.ask("HELLO 3")
    plain.ask("HELLO 2")
    for raw in (reader, other, plain):
        assert raw.ask("CLIENT TRACKING ON") == b"+OK\r\n"
    assert broadcast.ask("CLIENT TRACKING ON BCAST PREFIX driver_") == b"+OK\r\n"
    for raw, view in ((reader, "driver_stats"), (other, "other"), (plain, "driver_stats")):
        assert value(1, 1) in raw.ask(f"HGET {view}:1 f0")
    store.make_release(rows=10, seed=2)
    assert reader.reply() == FORGET and broadcast.reply() == FORGET
    for raw in (other, plain):  # another view; a protocol without pushes
        assert raw.ask("PING") == b"+PONG\r\n"
    store.make_release(rows=10, seed=3)
    assert broadcast.reply() == FORGET
    assert reader.ask("PING") == b"+PONG\r\n"  # it has read nothing since
    assert " flags=tU " in reader.ask("CLIENT INFO").decode() and " redir=0 " in reader.ask("CLIENT INFO").decode()


SHOP = """project: shop
entities:
  - {name: user, join_key: user_id, type: string}
feature_views:
  - name: users
    entities: [user]
    ttl: TTL
    source: {type: csv, path: users.csv, timestamp_field: at}
    features:
      - {name: age, type: int32}
"""


def build_users(store: harness.Store, folder: Path, ttl_s: int) -> None:
    """Made now, so that the only row is older than its ttl in `ttl_s`."""
    (folder / "shop.yaml").write_text(SHOP.replace("TTL", f"{ttl_s}s"))
    now = datetime.datetime.now(datetime.timezone.utc).isoformat()
    (folder / "users.csv").write_text(f"user_id,at,age\nann,{now},30\n")
    store.build(folder / "shop.yaml")


def test_a_value_that_is_hidden_by_its_ttl_is_forgotten(store, start_pilliond, engine, folder):
    hiding = folder / "hiding.sock"
    config = folder / "pilliond.yaml"
    config.write_text(f'listen: [{{protocol: resp, address: "unix:{hiding}", expired: hide}}]\n')
    for ttl_s in (4, 15, 28):  # a slow machine may take longer to come to the first reading
        build_users(store, folder, ttl_s)
        daemon = start_pilliond(store, serve=["shop/users@production"], engine=engine, args=("--config", str(config)))
        raw, broadcast, elsewhere = (Raw(f"unix:{hiding}") for _ in range(3))
        for one, options in ((raw, ""), (broadcast, " BCAST PREFIX users:"), (elsewhere, " BCAST PREFIX shops:")):
            one.ask("HELLO 3")
            assert one.ask(f"CLIENT TRACKING ON{options}") == b"+OK\r\n"
        if [one.ask("HGET users:ann age") for one in (elsewhere, raw, broadcast)] == [b"$2\r\n30\r\n"] * 3:
            break
        assert daemon.stop() == 0
    else:
        pytest.fail(f"nothing was read within {ttl_s} s")
    assert raw.reply() == FORGET and broadcast.reply() == FORGET
    assert elsewhere.ask("PING") == b"+PONG\r\n"  # no key of the view begins with its prefix
    assert raw.ask("HGET users:ann age") == b"_\r\n"
    assert b"30" in Raw(daemon.resp_unix).ask("HGET users:ann age")  # it is not hidden there


def test_watch_sees_the_swap_of_a_view(store, start_pilliond, engine):
    store.make_release(rows=10, seed=1)
    store.make_release(view="other", rows=10, seed=1)
    daemon = start_pilliond(store, engine=engine, serve=["rides/driver_stats@production", "rides/other@production"])
    for protocol, null in ((2, b"*-1\r\n"), (3, b"_\r\n")):
        raws = {view: Raw(daemon.resp_unix) for view in ("driver_stats", "other", "unwatched", "discarded")}
        for name, raw in raws.items():
            raw.ask(f"HELLO {protocol}")
            assert raw.ask(f"WATCH {'other' if name == 'other' else 'driver_stats'}:1") == b"+OK\r\n"
        raws["unwatched"].ask("UNWATCH")
        raws["discarded"].ask("MULTI")
        raws["discarded"].ask("DISCARD")
        store.make_release(rows=10, seed=10 + protocol)
        harness.wait_until("the new release", lambda: value(1, 10 + protocol) in raws["unwatched"].ask(
            "HGET driver_stats:1 f0"))
        for name, raw in raws.items():
            assert raw.ask("MULTI") == b"+OK\r\n" and raw.ask("HGET driver_stats:1 f0") == b"+QUEUED\r\n"
            answer = raw.ask("EXEC")
            assert answer == null if name == "driver_stats" else value(1, 10 + protocol) in answer, name
        raw = raws["driver_stats"]  # once told, it is watched no more
        raw.ask("MULTI")
        assert raw.ask("EXEC") == b"*0\r\n"
        assert raw.ask("WATCH nosuch:1").startswith(b"-ERR no view 'nosuch'")


def ask_timed(client: Any) -> tuple[str, float]:
    start = time.monotonic()
    try:
        client.hget("late:1", "f0")
    except redis.exceptions.RedisError as error:
        return f"{type(error).__name__}: {error}", time.monotonic() - start
    return "", 0


def test_loading_is_said_while_nothing_is_loaded_and_not_of_one_view(store, start_pilliond, engine):
    daemon = start_pilliond(store, engine=engine, serve=["rides/driver_stats@production", "rides/late@production"],
                            ready=False)
    raw = harness.wait_until("it listens", lambda: Raw(daemon.resp_unix))
    assert raw.ask("HGET late:1 f0") == b"-LOADING view rides/late has no release yet\r\n"
    assert b"loading:1\r\n" in raw.ask("INFO persistence")
    store.make_release(rows=10)
    harness.wait_until("a view is loaded", lambda: raw.ask("HGET driver_stats:1 f0").startswith(b"$"))
    assert raw.ask("HGET late:1 f0") == b"-NOTREADY view rides/late has no release yet\r\n"
    assert raw.ask("PIL.VECTOR late 1").startswith((b"-NOTFOUND", b"-NOTREADY"))
    assert b"loading:0\r\n" in raw.ask("INFO persistence")
    client = daemon.redis()
    client.ping()
    connections = daemon.metrics()['pillion_connections_accepted_total{protocol="resp"}']
    error, _ = ask_timed(client)
    assert error.startswith("ResponseError: NOTREADY view rides/late")
    assert daemon.metrics()['pillion_connections_accepted_total{protocol="resp"}'] == connections  # it was not retried
    store.make_release(view="late", rows=10)
    harness.wait_until("the other view is loaded", lambda: raw.ask("HGET late:1 f0").startswith(b"$"))


def test_info_has_the_fields_that_clients_and_exporters_read(store, start_pilliond, engine):
    store.make_release(rows=10)
    daemon = start_pilliond(store, engine=engine)
    client = daemon.redis()
    client.hget("driver_stats:1", "f0")
    info = client.info()
    for field in ("redis_version", "redis_mode", "os", "process_id", "tcp_port", "uptime_in_seconds", "uptime_in_days",
                  "connected_clients", "maxclients", "blocked_clients", "used_memory", "used_memory_human", "maxmemory",
                  "maxmemory_human", "maxmemory_policy", "loading", "aof_enabled", "total_connections_received",
                  "total_commands_processed", "role", "connected_slaves", "master_repl_offset", "used_cpu_sys",
                  "used_cpu_user", "cluster_enabled", "pillion_version"):
        assert field in info, field
    assert info["role"] == "master" and info["db0"] == {"keys": 10, "expires": 0, "avg_ttl": 0}
    assert info["tcp_port"] == int(daemon.resp_tcp.rsplit(":", 1)[1])
    assert "cmdstat_hget" not in info
    assert client.info("commandstats")["cmdstat_hget"]["calls"] == 1
    assert set(client.info("replication")) == {"role", "connected_slaves", "master_repl_offset"}
    line = client.client_list()[0]
    for field in ("id", "addr", "laddr", "fd", "name", "age", "idle", "flags", "db", "sub", "psub", "multi", "qbuf",
                  "omem", "events", "cmd", "user", "redir", "resp", "lib-name", "lib-ver"):
        assert field in line, field
