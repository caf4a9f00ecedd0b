# SPDX-License-Identifier: Apache-2.0
"""A client of mapped reads, written from schemas/mapped.md and schemas/snapshot.md: sockets, mmap and struct, none of
our C code. It checks what the page tells a client to check.

    client = MappedClient("/run/pillion/mapped.sock", "my program")
    client.read("rides/driver_stats", [1001])     # {"conv_rate": 0.5, …} or None; follows swaps by itself
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import socket
import struct
import time
from dataclasses import dataclass
from typing import Any, Optional

from shard_reader import Shard

HEAD = struct.Struct("<4sHHIIIIQQQ")
HELLO, WELCOME, CATALOG, ACQUIRE, GRANT, REFUSE, DROP, LOCATE = range(1, 9)
F_GET_SEALS, SEAL_SEAL, SEAL_SHRINK, SEAL_GROW, SEAL_WRITE, SEAL_FUTURE_WRITE = 1034, 1, 2, 4, 8, 16
CODES = {1: "INVALID", 3: "UNSUPPORTED", 4: "NOT_FOUND", 7: "DENIED", 11: "BUSY", 12: "AGAIN"}
STALE_NS = 2_000_000_000


class Refused(Exception):
    def __init__(self, code: int, text: str):
        super().__init__(text)
        self.code = CODES.get(code, str(code))


@dataclass
class Message:
    type: int
    view: int
    index: int
    count: int
    code: int
    generation: int
    number: int
    text: str


@dataclass
class Release:
    release: str
    generation: int
    created_us: int
    maps: list[mmap.mmap]
    shards: list[Shard]


def seals(fd: int) -> int:
    return fcntl.fcntl(fd, F_GET_SEALS)


def map_sealed(fd: int, wanted: int) -> mmap.mmap:
    """What is not sealed could change or shrink under the reader."""
    if seals(fd) & wanted != wanted:
        raise ValueError(f"a descriptor with seals {seals(fd)}, not {wanted}")
    return mmap.mmap(fd, os.fstat(fd).st_size, mmap.MAP_SHARED, mmap.PROT_READ)


class MappedClient:
    def __init__(self, path: str, name: str = "python", timeout: float = 5):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(timeout)
        self.sock.connect(path)
        self.releases: dict[int, Release] = {}
        self.send(HELLO, index=1, count=1, text=name)
        welcome, fds = self.receive(WELCOME)
        try:
            self.page = map_sealed(fds[0], SEAL_SHRINK | SEAL_GROW | SEAL_FUTURE_WRITE)
        finally:
            self.close_all(fds)
        magic, version, daemon_id = struct.unpack_from("<4sIQ", self.page, 0)
        assert magic == b"PILC" and version == 1 and daemon_id == welcome.number
        self.views = {f"{v['project']}/{v['name']}": v["index"] for v in self.catalog()["views"]}

    # ---- Packets

    def send(self, type: int, view: int = 0, index: int = 0, count: int = 0, generation: int = 0, number: int = 0,
             text: str = "") -> None:
        data = text.encode()
        self.sock.send(HEAD.pack(b"PILM", type, len(data), view, index, count, 0, generation, number, 0) + data)

    def receive(self, *types: int) -> tuple[Message, list[int]]:
        data, fds, flags, _ = socket.recv_fds(self.sock, 1009, 64)
        if not data:
            raise ConnectionError("the server closed the session")
        assert not flags & (socket.MSG_CTRUNC | socket.MSG_TRUNC)
        magic, type, size, view, index, count, code, generation, number, _ = HEAD.unpack_from(data)
        assert magic == b"PILM" and len(data) == HEAD.size + size
        message = Message(type, view, index, count, code, generation, number, data[HEAD.size:].decode())
        if type == REFUSE:
            raise Refused(code, message.text)
        assert type in types, message
        return message, list(fds)

    @staticmethod
    def close_all(fds: list[int]) -> None:
        for fd in fds:
            os.close(fd)

    # ---- Control page

    def word(self, offset: int) -> int:
        return struct.unpack_from("<Q", self.page, offset)[0]

    def generation(self, view: int) -> int:
        return self.word(64 + 64 * view)

    def checked_us(self, view: int) -> int:
        return self.word(64 + 64 * view + 8)

    @property
    def is_fresh(self) -> bool:
        return self.word(24) == 1 and time.monotonic_ns() - self.word(16) < STALE_NS

    # ---- Requests

    def catalog(self) -> dict[str, Any]:
        self.send(CATALOG)
        _, fds = self.receive(CATALOG)
        with map_sealed(fds[0], SEAL_SHRINK | SEAL_GROW | SEAL_WRITE) as content:
            self.close_all(fds)
            return json.loads(bytes(content))

    def locate(self, view: int, release: str) -> int:
        self.send(LOCATE, view=view, text=release)
        return self.receive(LOCATE)[0].number

    def acquire(self, view: int) -> Release:
        self.send(ACQUIRE, view=view)
        maps: list[mmap.mmap] = []
        while True:
            grant, fds = self.receive(GRANT)
            assert grant.view == view and grant.index == len(maps) and fds
            maps += [map_sealed(fd, SEAL_SHRINK | SEAL_GROW | SEAL_WRITE | SEAL_SEAL) for fd in fds]
            self.close_all(fds)
            if len(maps) == grant.count:
                break
        shards = [Shard(bytes(content)) for content in maps]
        return Release(grant.text, grant.generation, grant.number, maps, shards)

    def drop(self, view: int) -> None:
        release = self.releases.pop(view)
        for content in release.maps:
            content.close()
        self.send(DROP, view=view, generation=release.generation)

    def current(self, name: str) -> Release:
        """The live release as far as the control page tells; while the server is gone, the last one."""
        view = self.views[name]
        held = self.releases.get(view)
        if self.is_fresh and (held is None or held.generation != self.generation(view)):
            new = self.acquire(view)
            if held is not None:
                self.drop(view)
            self.releases[view] = held = new
        assert held is not None
        return held

    def read(self, name: str, parts: list[Any]) -> Optional[dict[str, Any]]:
        shards = self.current(name).shards
        key = shards[0].key(parts)
        shard = next(shard for shard in shards if shard.is_ours(key))
        row = shard.get(key)
        return None if row is None else shard.decode(row)

    def close(self) -> None:
        self.sock.close()
