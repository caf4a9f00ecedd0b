# SPDX-License-Identifier: Apache-2.0
"""Mutated streams on every listener of a live daemon at once, cut anywhere, reset and half-closed, while releases are
swapped. A well-behaved client beside them gets right values all the time; no process of the daemon ends; no sanitizer
reports (tests/run.sh runs this with the programs of build/dev). PIL_SEED repeats the streams.
"""

from __future__ import annotations

import json
import os
import random
import socket
import struct
import threading
import time
from typing import Any

import harness
import pytest
import synthetic
from hostile_streams import HEAD, MAGIC, Streams

SEED = int(os.environ.get("PIL_SEED", "0")) or random.randrange(1, 1 << 32)
ROWS, SEEDS, ATTACKERS = 300, (1, 2), 8
READ_S, PACE_S = 0.02, 0.005  # an attacker reads so long; the customer leaves the processor to the attackers
SECONDS, SECONDS_LONG = 6, 150
LISTENERS = ("resp",) * 5 + ("feast",) * 3 + ("oip",) * 3 + ("admin", "mapped")


class Attacker(threading.Thread):
    """One stream after another, each on a connection of its own."""

    def __init__(self, daemon: harness.Pilliond, streams: Streams, is_over: threading.Event):
        super().__init__(daemon=True)
        self.daemon_process, self.streams, self.random, self.is_over = daemon, streams, streams.random, is_over
        self.connections = {name: 0 for name in LISTENERS}
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            while not self.is_over.is_set():
                self.attack(self.random.choice(LISTENERS))
        except BaseException as error:  # the test reports it
            self.failure = error

    def attack(self, protocol: str) -> None:
        try:
            if protocol == "mapped":
                self.send_packets()
            else:
                self.send_stream(protocol)
            self.connections[protocol] += 1
        except OSError:
            pass  # refused, or closed for what was sent

    def send_packets(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            sock.settimeout(1)
            sock.connect(self.daemon_process.mapped)
            if self.streams.chance(0.8):
                sock.send(HEAD.pack(MAGIC, 1, 0, 0, 1, 1, 0, 0, 0, 0))
            for _ in range(self.random.randrange(1, 30)):
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("2i", 0, sock.fileno()))]
                sock.sendmsg([self.streams.packet()], rights if self.streams.chance(0.1) else [])

    def send_stream(self, protocol: str) -> None:
        daemon = self.daemon_process
        is_unix = protocol == "resp" and self.streams.chance(0.5)
        address = {"resp": daemon.resp_unix if is_unix else daemon.resp_tcp, "feast": daemon.feast, "oip": daemon.oip,
                   "admin": daemon.admin}[protocol]
        data = self.streams.stream(protocol)
        with harness.connect(address, 2) as sock:
            at = 0
            while at < len(data):
                size = self.random.choice((1, 3, 50, 1000, 1 << 20))
                sock.sendall(data[at:at + size])
                at += size
            self.end(sock)

    def end(self, sock: socket.socket) -> None:
        if self.streams.chance(0.3):
            sock.shutdown(socket.SHUT_WR)
        if self.streams.chance(0.7):
            sock.settimeout(READ_S)
            try:
                while sock.recv(1 << 16):
                    pass
            except TimeoutError:
                pass
        if self.streams.chance(0.2):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset


class Customer:
    """Keeps its connections, and checks whole rows: all values of one answer are of one of the releases."""

    def __init__(self, daemon: harness.Pilliond, seed: int):
        self.daemon_process, self.random = daemon, random.Random(seed)
        self.redis = daemon.redis(socket_timeout=harness.DEADLINE_S)
        self.feast = harness.http_connection(daemon.feast)
        self.answers = 0

    def ask(self) -> None:
        """Fails with the daemon's log when it gets no answer."""
        try:
            self.ask_both()
        except Exception as error:
            raise AssertionError(f"{error!r}\n{self.daemon_process.log[-4000:]}") from error

    def ask_both(self) -> None:
        key = self.random.randrange(ROWS)
        rows = [synthetic.row("all", key, seed) for seed in SEEDS]
        got = self.redis.hgetall(f"driver_stats:{key}")
        wanted = [{name.encode(): synthetic.resp_text(value) for name, value in row.items() if value is not None}
                  for row in rows]
        assert got in wanted, f"key {key}: {got}"
        body = {"features": ["driver_stats:int64", "driver_stats:string"], "entities": {"id": [key]}}
        self.feast.request("POST", "/get-online-features", json.dumps(body))
        answer = harness.Answer(self.feast.getresponse())
        values = [column["values"][0] for column in answer.json()["results"][1:]]
        assert values in [[row["int64"], row["string"]] for row in rows], f"key {key}: {answer.text}"
        self.answers += 1


def check_untouched(daemon: harness.Pilliond, children: dict[str, int]) -> None:
    assert daemon.alive() and harness.children_of(daemon.pid) == children, daemon.log[-4000:]
    daemon.check_log("child ended")


def fuzz(store: harness.Store, start_pilliond: Any, engine: str, seconds: float) -> None:
    print(f"PIL_SEED={SEED}")
    references = [store.make_release(rows=ROWS, kind="all", seed=seed, args=("--shard-bits", str(seed - 1)))
                  for seed in SEEDS]
    daemon = start_pilliond(store, engine=engine, workers=2, args=(
        "--listen", f"mapped=unix:{store.path}/mapped.sock", "--limits.request_timeout", "2s"))
    daemon.mapped = f"{store.path}/mapped.sock"
    children = harness.children_of(daemon.pid)
    commands = list(daemon.redis().command())
    is_over, chooser, customer = threading.Event(), random.Random(SEED), Customer(daemon, SEED)
    attackers = [Attacker(daemon, Streams(SEED + i, ROWS, commands, [ref.rpartition("@")[2] for ref in references]),
                          is_over) for i in range(ATTACKERS)]
    for attacker in attackers:
        attacker.start()
    try:
        end, swap_at = time.monotonic() + seconds, 0.0
        while time.monotonic() < end:
            customer.ask()
            time.sleep(PACE_S)
            if time.monotonic() > swap_at:
                store.promote(chooser.choice(references))
                check_untouched(daemon, children)
                swap_at = time.monotonic() + chooser.uniform(0.2, 1)
    finally:
        is_over.set()
        for attacker in attackers:
            attacker.join()
    print({name: sum(attacker.connections[name] for attacker in attackers) for name in dict.fromkeys(LISTENERS)},
          customer.answers)
    check_untouched(daemon, children)
    assert [attacker.failure for attacker in attackers] == [None] * ATTACKERS
    assert all(sum(attacker.connections[name] for attacker in attackers) > 0 for name in LISTENERS)
    assert customer.answers > seconds
    for protocol in ("feast", "oip", "resp"):  # only the customer is left
        harness.wait_until(f"connections of {protocol} end", lambda: daemon.metrics()[
            f'pillion_connections{{protocol="{protocol}"}}'] <= 2)
    harness.wait_until("mapped sessions end", lambda: daemon.metrics()["pillion_mapped_sessions"] == 0)


def test_mutated_streams(store, start_pilliond, engine):
    fuzz(store, start_pilliond, engine, SECONDS)


@pytest.mark.long
def test_mutated_streams_for_minutes(store, start_pilliond, engine):
    fuzz(store, start_pilliond, engine, SECONDS_LONG)
