# SPDX-License-Identifier: Apache-2.0
"""Streams that a hostile client might send: requests of each protocol from a grammar, valid and nearly valid, and
damage to their bytes. The view is rides/driver_stats of make_release with --kind all."""

from __future__ import annotations

import json
import random
import struct
from typing import Any, Sequence

import synthetic

HEAD = struct.Struct("<IHHIIIIQQQ")  # of a message of the mapped listener, schemas/mapped.md
MAGIC = 0x4D4C4950
TEXTS = (b"\r\n", b"*1\r\n", b"$-1\r\n", b"999999999999999999", b"\0", b'"', b"{", b"[" * 70, b"1e999", b"-", b"\xff")
BYTES = (0, 10, 13, 34, 36, 42, 45, 48, 57, 91, 123, 125, 255)


class Streams:
    def __init__(self, seed: int, rows: int, commands: Sequence[str], releases: Sequence[str]):
        self.random = random.Random(seed)
        self.rows, self.commands, self.releases = rows, commands, releases

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def mutate(self, data: bytes) -> bytes:
        damaged = bytearray(data)
        for _ in range(self.random.choice((0, 0, 1, 1, 2, 8))):
            if not damaged:
                break
            at = self.random.randrange(len(damaged))
            kind = self.random.choice("bbddiit")
            if kind == "b":
                damaged[at] = self.random.choice((*BYTES, self.random.randrange(256)))
            elif kind == "d":
                del damaged[at:at + self.random.choice((1, 2, 10))]
            elif kind == "i":
                damaged[at:at] = self.random.choice((*TEXTS, bytes(damaged[at:at + 20])))
            else:
                del damaged[at:]
        return bytes(damaged)

    def stream(self, protocol: str) -> bytes:
        data = {"resp": self.resp, "feast": self.feast, "oip": self.oip, "admin": self.admin}[protocol]()
        return self.mutate(data) if self.chance(0.5) else data

    # ---- RESP.

    def length(self, right: int) -> int:
        """Sometimes a wrong one."""
        wrong = (right - 1, right + 1, -1, -2, 0, 2**31, 2**32, 2**63 - 1, 2**64, right + 2**32)
        return self.random.choice(wrong) if self.chance(0.01) else right

    def array(self, words: Sequence[str | bytes]) -> bytes:
        parts = [word.encode() if isinstance(word, str) else word for word in words]
        bulks = [b"$%d\r\n%s\r\n" % (self.length(len(part)), part) for part in parts]
        return b"*%d\r\n" % self.length(len(parts)) + b"".join(bulks)

    def key(self) -> str:
        number = self.random.randrange(self.rows * 11 // 10)
        return self.random.choice((f"driver_stats:{number}", f"driver_stats:{number}", f"rides/driver_stats:{number}",
                                   "x", ":", "driver_stats:", "driver_stats:9223372036854775808", "driver_stats:-1",
                                   "driver_stats:1|2"))

    def feature(self) -> str:
        return self.random.choice((*synthetic.NAMES, "nope", ""))

    def plan(self) -> list[str]:
        options = ("COLUMNS", "FLOAT64", "DEFAULTS", "MAXAGE", "5", "MAXAGEUS", "MINRELEASE", self.releases[0])
        features = [f"driver_stats:{self.feature()}" for _ in range(self.random.randrange(1, 30))]
        return ["PIL.PLAN", *self.random.sample(options, self.random.randrange(4)), *features]

    def vector(self) -> list[str | bytes]:
        plan = self.random.choice(("1", "2", "3", "64", "65", "every", "rides/every"))
        name = self.random.choice(("PIL.VECTOR", "PIL.COLUMNS", "PIL.VECTOR64", "PIL.COLUMNS64"))
        if name.endswith("64"):
            return [name, plan, self.random.randbytes(self.random.choice((0, 7, 8, 16, 800)))]
        count = self.random.choice((0, 1, 5, 300))
        return [name, plan, *(str(self.random.randrange(self.rows + 30)) for _ in range(count))]

    def scan(self) -> list[str]:
        cursor = self.random.choice((0, 1, 5, 2**40, 2**56, 2**63 - 1, -1))
        pattern = self.random.choice(("*", "*[a-", "[^", "\\", "*?*1*", "a" * 50))
        return ["SCAN", str(cursor), "MATCH", pattern, "COUNT", str(self.random.choice((0, 1, 100, 10**18)))]

    def words(self) -> list[str | bytes]:
        kind = self.random.choice("pvvvhhhhmmsaaaaa")
        if kind == "p":
            return list(self.plan())
        if kind == "v":
            return self.vector()
        if kind == "h":
            name = self.random.choice(("HMGET", "HGET", "HGETALL", "HSCAN", "HSTRLEN", "HEXISTS"))
            return [name, self.key(), *(self.feature() for _ in range(self.random.randrange(5)))]
        if kind == "m":
            return [self.random.choice(("MULTI", "EXEC", "DISCARD", "RESET")), *(["1"] if self.chance(0.1) else [])]
        if kind == "s":
            return list(self.scan())
        words = (self.key(), "help", "list", "id", "info", "0", "-1", "", "stats", "histogram", self.feature(),
                 "x" * self.random.choice((1, 100, 5000)))
        return [self.random.choice(self.commands), *self.random.choices(words, k=self.random.randrange(6))]

    def resp(self) -> bytes:
        requests = []
        for _ in range(self.random.choice((1, 5, 40))):
            words = self.words()
            inline = " ".join(word for word in words if isinstance(word, str)).encode() + b"\r\n"
            requests.append(self.array(words) if self.chance(0.9) else inline)
        return b"".join(requests)

    # ---- HTTP.

    def http(self, path: str, body: bytes, fields: str = "") -> bytes:
        method = self.random.choice(("POST",) * 8 + ("GET", "HEAD", "PUT"))
        expect = self.random.choice(("", "", "Expect: 100-continue\r\n"))
        return (f"{method} {path} HTTP/1.{self.random.choice('1110')}\r\nHost: x\r\n{fields}"
                f"Content-Length: {len(body)}\r\n{expect}\r\n").encode() + body

    def damaged(self, document: Any) -> bytes:
        body = json.dumps(document).encode()
        return self.mutate(body) if self.chance(0.4) else body

    def several(self, one: Any) -> bytes:
        return b"".join(one() for _ in range(self.random.choice((1, 1, 4))))

    def feast(self) -> bytes:
        return self.several(self.feast_request)

    def feast_request(self) -> bytes:
        names = self.random.sample(synthetic.NAMES, self.random.randrange(1, 8))
        ids = (1, 2.0, "3", None, -5, 2**63, 1.5, True, [], {})
        entities = ({"id": self.random.choices(ids, k=self.random.randrange(1, 20))}, {"id": [1, 2]}, {"id": []}, {},
                    {"id": [1], "other": [1, 2]}, [])
        document: dict[str, Any] = {
            "features": self.random.choice(([f"driver_stats:{name}" for name in names],) * 3
                                           + (["driver_stats:nope"], [], "x", None)),
            "entities": self.random.choice(entities)}
        if self.chance(0.3):
            document["feature_service"] = self.random.choice(("every", "rides/every", "", 5))
        if self.chance(0.3):
            document["full_feature_names"] = self.random.choice((True, False, "x"))
        path = self.random.choice(("/get-online-features",) * 6 + ("/health", "/push", "/"))
        return self.http(path, self.damaged(document))

    def oip(self) -> bytes:
        return self.several(self.oip_request)

    def oip_request(self) -> bytes:
        path = self.random.choice(("/v2/models/every/infer",) * 8 + (
            "/v2/models/rides%2Fevery/infer", "/v2/models/every", "/v2/repository/index", "/v2/models/x/infer",
            "/v2/models/every/versions/1/infer", "/v2/models/%00/infer", "/v2"))
        count = self.random.randrange(1, 20)
        ids = [self.random.choice((-1, 2**63, 1.5, "4", None)) if self.chance(0.05) else
               self.random.randrange(self.rows + 30) for _ in range(count)]
        tensor: dict[str, Any] = {
            "name": self.random.choice(("id",) * 6 + ("x",)),
            "datatype": self.random.choice(("INT64",) * 6 + ("BYTES", "INT8", "UINT64", "FP32", "BOOL", "")),
            "shape": self.random.choice(([count],) * 5 + ([count, 1], [1, count], [-1], [2**40, 2**40], []))}
        document: dict[str, Any] = {"inputs": [tensor]}
        if self.chance(0.4):
            output = self.random.choice(("features", "statuses", "driver_stats:string", "x"))
            document["outputs"] = [{"name": output, "parameters": {"binary_data": self.random.choice((True, 1))}}]
        if self.chance(0.3):
            document["parameters"] = self.random.choice(({"datatype": "FP64"}, {"max_age_us": 5}, {"datatype": 5},
                                                         {"use_defaults": True}, {"binary_data_output": True}))
        if not self.chance(0.3):
            tensor["data"] = ids
            return self.http(path, self.damaged(document))
        raw = self.random.randbytes(8 * count)
        size = self.random.choice((len(raw),) * 5 + (0, -1, 2**63, len(raw) + 8))
        tensor["parameters"] = {"binary_data_size": size}
        text = self.damaged(document) if self.chance(0.3) else json.dumps(document).encode()
        if self.chance(0.2):
            raw = raw[:self.random.randrange(len(raw))]
        length = self.random.choice((len(text),) * 6 + (0, -1, 99999999, len(text) + 1))
        return self.http(path, text + raw, f"Inference-Header-Content-Length: {length}\r\n")

    def admin(self) -> bytes:
        paths = ("/metrics", "/readyz", "/healthz", "/status", "/slowlog", "/nope", f"/x?y={'z' * 100}")
        return self.several(lambda: self.http(self.random.choice(paths), b""))

    # ---- The mapped listener.

    def packet(self) -> bytes:
        message = HEAD.pack(MAGIC, self.random.choice((1, 1, 3, 4, 4, 7, 8, 2, 5, 99)), 0,
                            self.random.choice((0, 0, 0, 1, 2**32 - 1)), 1, 1, 0, self.random.randrange(4), 0, 0)
        return self.mutate(message) if self.chance(0.2) else message
