#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of the measuring tools themselves: `bench/load_test.py BIN_DIR`.

Goal: pillion-load distinguishes right answers from wrong, mixed, missing and failed ones, counts latency from the
intended time, and rejects a run whose schedule it could not keep; pillion-null answers every request once, on both
engines.
Method: pillion-null sends prepared answers for the single key 0; a stalling server shows what a closed loop would hide.
"""
from __future__ import annotations

import json
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

import serve_swap

BIN = Path()
FEATURES = 10


def value(feature: int, seed: int) -> float:
    """The value of a feature in row 0, as make_release writes it."""
    return float((feature * 7 + seed) % 1000003)


def bulk(data: bytes | None) -> bytes:
    return b"$-1\r\n" if data is None else b"$%d\r\n%s\r\n" % (len(data), data)


def array(items: list[bytes]) -> bytes:
    return b"*%d\r\n%s" % (len(items), b"".join(items))


def texts(seeds: list[int]) -> list[bytes]:
    return [bulk(repr(value(f, seeds[f % len(seeds)])).encode()) for f in range(FEATURES)]


def packed(seed: int) -> bytes:
    return bulk(struct.pack(f"<{FEATURES}f", *(value(f, seed) for f in range(FEATURES))) + bytes(2))


def tensor(seeds: list[int], not_found: int = 0) -> bytes:
    """An answer of PIL.VECTOR64 with a row for each seed (schemas/wire.md)."""
    rows = len(seeds)
    times_at = (120 + rows * FEATURES + 7) // 8 * 8
    values_at = (times_at + 8 * rows + 63) // 64 * 64
    values = struct.pack(f"<{rows * FEATURES}f", *(value(f, seed) for seed in seeds for f in range(FEATURES)))
    head = struct.pack("<4sHBBIIIIqQQQQ", b"PLV1", 120, 4, 0, rows, FEATURES, FEATURES, 1, 0, 120, times_at, values_at,
                       values_at + len(values))
    view = struct.pack("<16sQqQqQ", b"0" * 16, 1, 0, not_found, 0, 0)
    return bulk((head + view + bytes([1]) * rows * FEATURES).ljust(values_at, b"\0") + values)


def feast(rows: list[int | None], status: str = "200 OK") -> bytes:
    """An answer of Feast; each row is the seed of its values, or None for a row that was not found."""
    columns = [{"values": [0] * len(rows), "statuses": ["PRESENT"] * len(rows)}]
    columns += [{"values": [None if seed is None else value(f, seed) for seed in rows],
                 "statuses": ["NOT_FOUND" if seed is None else "PRESENT" for seed in rows]} for f in range(FEATURES)]
    names = ["id"] + [f"f{f}" for f in range(FEATURES)]
    body = json.dumps({"results": columns, "metadata": {"feature_names": names}}).encode()
    return b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
        status.encode(), len(body), body)


class Null:
    """pillion-null with one answer, on its own Unix socket."""

    def __init__(self, reply: bytes, protocol: str = "resp", engine: str = "epoll", *options: str):
        self.folder = tempfile.TemporaryDirectory(prefix="pil")
        self.address = f"unix:{self.folder.name}/s"
        reply_path = Path(self.folder.name, "reply")
        reply_path.write_bytes(reply)
        self.process = subprocess.Popen(
            [str(BIN / "pillion-null"), "--listen", self.address, "--reply", str(reply_path), "--protocol", protocol,
             "--engine", engine, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.is_ready = self.process.stdout.readline().startswith("ready")

    def __enter__(self) -> "Null":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
        self.folder.cleanup()


def load_argv(address: str, *options: str) -> list[str]:
    return [str(BIN / "pillion-load"), "--address", address, "--keys", "1", "--features", str(FEATURES),
            "--warmup", "0", "--json", *options]


def load(address: str, *options: str) -> tuple[int, dict, str]:
    """Returns exit status, result, standard error."""
    done = subprocess.run(load_argv(address, *options), capture_output=True, text=True, timeout=60, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return done.returncode, lines[-1] if lines else {}, done.stderr


class Verdicts(unittest.TestCase):
    def verdict(self, reply: bytes, *options: str, protocol: str = "resp") -> str:
        with Null(reply, protocol) as null:
            code, result, said = load(null.address, "--requests", "20", "--verify", "1,2", *options)
        found = [name for name in ("ok", "errors", "missing", "wrong", "mixed") if result[name] > 0]
        self.assertEqual(len(found), 1, result)
        self.assertEqual(result[found[0]], 20, result)
        self.assertEqual(code, 0 if found == ["ok"] else 1, said)
        return found[0]

    def test_hmget(self) -> None:
        hmget = ("--command", "hmget")
        self.assertEqual(self.verdict(array(texts([1])), *hmget), "ok")
        self.assertEqual(self.verdict(array(texts([2])), *hmget), "ok")
        self.assertEqual(self.verdict(array(texts([3])), *hmget), "wrong")
        self.assertEqual(self.verdict(array(texts([1, 2])), *hmget), "mixed")
        self.assertEqual(self.verdict(array(texts([1])[:-1]), *hmget), "wrong")
        self.assertEqual(self.verdict(array(texts([1])[:-1] + [bulk(None)]), *hmget), "missing")
        self.assertEqual(self.verdict(array(texts([1])[:-1] + [bulk(b"nonsense")]), *hmget), "wrong")
        self.assertEqual(self.verdict(b"-ERR no\r\n", *hmget), "errors")

    def test_hgetall(self) -> None:
        def reply(values: list[bytes]) -> bytes:
            return array([part for f, text in enumerate(values) for part in (bulk(b"f%d" % f), text)])
        self.assertEqual(self.verdict(reply(texts([1])), "--command", "hgetall"), "ok")
        self.assertEqual(self.verdict(reply(texts([2, 1])), "--command", "hgetall"), "mixed")
        self.assertEqual(self.verdict(array([]), "--command", "hgetall"), "missing")

    def test_packed_rows(self) -> None:
        mget = ("--command", "mget", "--entities", "2")
        self.assertEqual(self.verdict(packed(2), "--command", "get"), "ok")
        self.assertEqual(self.verdict(packed(3), "--command", "get"), "wrong")
        self.assertEqual(self.verdict(bulk(None), "--command", "get"), "missing")
        self.assertEqual(self.verdict(array([packed(1), packed(1)]), *mget), "ok")
        self.assertEqual(self.verdict(array([packed(1), packed(2)]), *mget), "mixed")
        self.assertEqual(self.verdict(array([packed(1), bulk(None)]), *mget), "missing")
        self.assertEqual(self.verdict(array([packed(1)]), *mget), "wrong")

    def test_vectors(self) -> None:
        vector = ("--command", "vector", "--service", "every", "--entities", "2")
        self.assertEqual(self.verdict(tensor([1, 1]), *vector), "ok")
        self.assertEqual(self.verdict(tensor([2, 1]), *vector), "mixed")
        self.assertEqual(self.verdict(tensor([3, 3]), *vector), "wrong")
        self.assertEqual(self.verdict(tensor([1, 1], not_found=1), *vector), "missing")
        self.assertEqual(self.verdict(tensor([1]), *vector), "wrong")
        self.assertEqual(self.verdict(bulk(b"PLV1"), *vector), "wrong")
        self.assertEqual(self.verdict(b"-ERR no\r\n", *vector), "errors")

    def test_feast(self) -> None:
        options = ("--command", "feast", "--entities", "3")

        def verdict(reply: bytes) -> str:
            return self.verdict(reply, *options, protocol="http")
        self.assertEqual(verdict(feast([1, 1, 1])), "ok")
        self.assertEqual(verdict(feast([1, 2, 1])), "mixed")
        self.assertEqual(verdict(feast([1, 5, 1])), "wrong")
        self.assertEqual(verdict(feast([1, None, 1])), "missing")
        self.assertEqual(verdict(feast([1, 1])), "wrong")
        self.assertEqual(verdict(feast([1, 1, 1], "404 Not Found")), "errors")


class Schedules(unittest.TestCase):
    def test_both_engines_answer_pipelines_in_full(self) -> None:
        for engine in ("epoll", "io_uring"):
            for size in (1, 1000, 100000):
                with Null(b"y" * size, "bytes", engine, "--request-bytes", "100") as null:
                    if engine == "io_uring" and not null.is_ready:
                        self.skipTest("io_uring is refused here")
                    code, result, said = load(null.address, "--command", "bytes", "--request-bytes", "100",
                                              "--reply-bytes", str(size), "--depth", "70", "--connections", "3",
                                              "--requests", "2100", "--engine", engine)
                self.assertEqual((code, said), (0, ""))
                self.assertGreaterEqual(result["ok"], 2100)

    def test_captures_the_first_answer(self) -> None:
        with Null(array(texts([1]))) as null:
            path = Path(null.folder.name, "captured")
            self.assertEqual(load(null.address, "--command", "hmget", "--capture", str(path))[0], 0)
            self.assertEqual(path.read_bytes(), array(texts([1])))

    def test_samples_are_all_requests_and_windows_split_them(self) -> None:
        with Null(array(texts([1]))) as null:
            samples = Path(null.folder.name, "samples")
            now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            windows = [(now + 10**8, now + 3 * 10**8), (now + 35 * 10**7, now + 36 * 10**7)]
            code, result, said = load(null.address, "--command", "hmget", "--rate", "2000", "--poisson", "--allow-late",
                                      "--duration", "0.5", "--samples", str(samples), "--interval-ms", "100",
                                      "--cpu-of", str(null.process.pid))
            found = serve_swap.split(samples, windows)
        self.assertEqual(code, 0, said)
        self.assertEqual(found["inside"]["count"] + found["outside"]["count"], result["count"])
        self.assertGreater(found["inside"]["count"], 0)
        self.assertEqual(len(found["ratios"]), 2)
        self.assertAlmostEqual(max(found["inside"]["max_us"], found["outside"]["max_us"]), result["max_us"],
                               delta=0.07 * result["max_us"])
        self.assertGreater(result["server_cpu_us"], 0)

    def test_a_swap_is_compared_with_what_follows_it(self) -> None:
        with tempfile.TemporaryDirectory(prefix="pil") as folder:
            samples = Path(folder, "samples")
            times = [(5, 900), (10, 30), (11, 30), (20, 10), (30, 50), (40, 100), (50, 10)]
            samples.write_bytes(b"".join(struct.pack("<2Q", due, 1000 * taken) for due, taken in times))
            found = serve_swap.split(samples, [(10, 20), (30, 50)])
        self.assertEqual(found["ratios"], [3, 10])
        self.assertEqual((found["inside"]["count"], found["outside"]["count"]), (4, 3))
        self.assertEqual((found["inside"]["max_us"], found["outside"]["max_us"]), (100, 900))

    def test_a_schedule_that_was_not_kept_is_refused(self) -> None:
        with Null(array(texts([1]))) as null:
            options = ("--command", "hmget", "--rate", "9e7", "--duration", "0.2")
            code, result, said = load(null.address, *options)
            self.assertEqual(code, 3)
            self.assertIn("late", said)
            self.assertGreater(result["late"], 0)
            self.assertEqual(load(null.address, *options, "--allow-late")[0], 0)

    def test_an_open_loop_shows_a_stall_to_all_who_would_have_waited(self) -> None:
        with tempfile.TemporaryDirectory(prefix="pil") as folder:
            server = socket.socket(socket.AF_UNIX)
            server.bind(f"{folder}/s")
            server.listen()
            thread = threading.Thread(target=stall_once, args=(server,))
            thread.start()
            _, result, _ = load(f"unix:{folder}/s", "--command", "bytes", "--rate", "200", "--duration", "1",
                                "--allow-late")
            thread.join()
            server.close()
        # 60 of 200 arrive during the stall and wait 150 ms on average.
        self.assertEqual(result["count"], 200)
        self.assertGreater(result["p90_us"], 100000)

    def test_an_open_loop_that_sleeps_over_its_end_sends_what_was_due(self) -> None:
        with Null(array(texts([1]))) as null:
            argv = load_argv(null.address, "--command", "hmget", "--rate", "200", "--duration", "1", "--allow-late")
            process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
            time.sleep(0.5)
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.8)
            process.send_signal(signal.SIGCONT)
            result = json.loads(process.communicate(timeout=60)[0].splitlines()[-1])
        self.assertEqual(result["count"], 200)

    def test_a_lost_connection_fails_the_run(self) -> None:
        with tempfile.TemporaryDirectory(prefix="pil") as folder:
            server = socket.socket(socket.AF_UNIX)
            server.bind(f"{folder}/s")
            server.listen()
            thread = threading.Thread(target=lambda: server.accept()[0].close())
            thread.start()
            code, _, said = load(f"unix:{folder}/s", "--command", "get")
            thread.join()
            server.close()
        self.assertEqual(code, 1)
        self.assertIn("closed a connection", said)


def stall_once(server: socket.socket) -> None:
    """Answers every 64 bytes with 64 bytes, and pauses once for 300 ms."""
    connection, _ = server.accept()
    stall_at = time.monotonic() + 0.3
    while data := connection.recv(65536):
        if time.monotonic() > stall_at:
            stall_at = float("inf")
            time.sleep(0.3)
        connection.sendall(data)
    connection.close()


if __name__ == "__main__":
    BIN = Path(sys.argv.pop(1)).resolve()
    unittest.main()
