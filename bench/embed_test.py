#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of pillion-embed: `bench/embed_test.py BIN_DIR`.

Goal: every reader returns the stored values, for all kinds of rows, from one and several processes; missing keys and
servers are reported as such. Method: small tables written by --fill and make_release, --verify. Readers whose library
or server this machine lacks are skipped."""
from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

BIN = Path()
ROWS, SEED = 500, 7
WHOLE = ["--features", "50"]
PICKED = ["--features", "10", "--width", "150"]
FLOAT16, INT8 = ["--features", "128", "--type", "float16"], ["--features", "37", "--type", "int8"]
SHAPES = (WHOLE, PICKED, FLOAT16, INT8)


def embed(reader: str, *options: object) -> subprocess.CompletedProcess[str]:
    argv = [str(BIN / "pillion-embed"), "--reader", reader, "--keys", str(ROWS), *map(str, options)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


class Readers(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory(prefix="pil")
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)

    # ---- Helpers

    def start(self, *argv: object) -> subprocess.Popen:
        process = subprocess.Popen([*map(str, argv)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def wait_for(self, path: Path, process: subprocess.Popen) -> str:
        for _ in range(1000):
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(str(path)) == 0:
                    return f"unix:{path}"
            self.assertIsNone(process.poll(), "the server ended")
            time.sleep(0.02)
        self.fail(f"nothing listens on {path}")

    def fill(self, reader: str, *options: object) -> None:
        done = embed(reader, "--fill", "--seed", SEED, *options)
        if "built without it" in done.stderr:
            self.skipTest(done.stderr)
        self.assertEqual(done.returncode, 0, done.stderr)

    def read(self, reader: str, *options: object) -> dict:
        done = embed(reader, "--duration", 0.05, "--warmup", 0.01, "--verify", SEED, "--json", *options)
        self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
        result = json.loads(done.stdout)
        self.assertGreater(result["calls"], 0)
        return result

    def fails(self, reader: str, *options: object) -> str:
        done = embed(reader, "--duration", 0.01, "--warmup", 0, *options)
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        return done.stderr

    def all_batches(self, reader: str, *options: object) -> None:
        for batch in (1, 3, 1000):
            with self.subTest(options=options, batch=batch):
                self.read(reader, "--batch", batch, *options)

    def all_shapes_from_files(self, reader: str) -> None:
        for shape in SHAPES:
            path = self.folder / "-".join(shape)
            self.fill(reader, "--path", path, *shape)
            self.all_batches(reader, "--path", path, *shape)

    # ---- Readers

    def test_array(self) -> None:
        for shape in SHAPES:
            self.all_batches("array", *shape)

    def test_lmdb(self) -> None:
        self.all_shapes_from_files("lmdb")

    def test_rocksdb(self) -> None:
        self.all_shapes_from_files("rocksdb")

    def all_shapes_from_server(self, reader: str, *argv: object) -> None:
        address = self.wait_for(self.folder / "s", self.start(*argv))
        for shape in SHAPES:
            place = ["--address", address, "--key-prefix", "-".join(shape) + ":"]
            self.fill(reader, *place, *shape)
            self.all_batches(reader, *place, *shape)
        self.assertIn("a row has", self.fails(reader, *place, "--features", 99))
        done = embed(reader, *place, *INT8, "--keys", 2 * ROWS, "--batch", 10, "--duration", 0.05, "--json")
        self.assertEqual(done.returncode, 1)
        self.assertGreater(json.loads(done.stdout)["failed"], 0)

    @unittest.skipUnless(shutil.which("redis-server"), "no redis-server")
    def test_redis(self) -> None:
        quiet = ["--save", ""]
        self.all_shapes_from_server("redis", "redis-server", "--port", 0, "--unixsocket", self.folder / "s", *quiet)

    @unittest.skipUnless(shutil.which("memcached"), "no memcached")
    def test_memcached(self) -> None:
        user = ["--user", "root"] if os.getuid() == 0 else []
        self.all_shapes_from_server("memcached", "memcached", "--unix-socket", self.folder / "s", *user)

    def pilliond(self, shape: list[str]) -> None:
        """Serves a release of such rows on mapped and resp sockets in the folder."""
        values = shape[-1] if shape == PICKED else shape[1]
        is_vector = "--type" in shape
        kind = ["--features", 1, "--type", f"vector<{shape[-1]},{values}>"] if is_vector else ["--features", values]
        store = f"dir:{self.folder}/store"
        argv = ["--project", "p", "--view", "view", "--rows", ROWS, "--seed", SEED, "--channel", "production", *kind]
        maker = [BIN.parent / "tests" / "make_release", "--store", store, *argv]
        subprocess.run([*map(str, maker)], check=True, stdout=subprocess.DEVNULL)
        listen = [word for kind in ("mapped", "resp") for word in ("--listen", f"{kind}=unix:{self.folder}/{kind}")]
        listen += ["--listen", f"admin=unix:{self.folder}/admin"]
        serve = ["--serve", "p/view@production", "--workers", 1]
        ready, theirs = os.pipe()
        argv = [str(BIN / "pilliond"), "--store", store, *map(str, serve), *listen, "--ready-fd", str(theirs)]
        process = subprocess.Popen(argv, pass_fds=[theirs], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        os.close(theirs)
        self.assertEqual(os.read(ready, 64), b"ready\n")
        os.close(ready)

    def test_pillion_mapped_and_over_the_socket(self) -> None:
        for shape in SHAPES:
            self.setUp()
            self.pilliond(shape)
            self.all_batches("mapped", "--address", f"unix:{self.folder}/mapped", *shape)
            self.all_batches("socket", "--address", f"unix:{self.folder}/resp", *shape)
        resp = ["--address", f"unix:{self.folder}/resp"]
        self.assertIn("37 values a row, --features says 9", self.fails("socket", *resp, "--features", 9))

    def test_pillion_answers_get_and_mget_of_packed_rows(self) -> None:
        self.pilliond(WHOLE)
        self.all_batches("redis", "--address", f"unix:{self.folder}/resp", "--key-prefix", "view:", *WHOLE)

    def test_null(self) -> None:
        reply, path = self.folder / "reply", self.folder / "s"
        self.fill("null", "--path", reply, "--batch", 5, *WHOLE)
        server = self.start(BIN / "pillion-null", "--listen", f"unix:{path}", "--reply", reply, "--engine", "epoll")
        place = ["--address", self.wait_for(path, server), *WHOLE]
        done = embed("null", *place, "--batch", 5, "--duration", 0.05)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("something else", self.fails("null", *place, "--batch", 6))

    # ---- Measuring

    def test_processes_are_summed_up(self) -> None:
        result = self.read("array", *WHOLE, "--processes", 3)
        parts = result["per_process"]
        self.assertEqual((result["processes"], len(parts)), (3, 3))
        self.assertEqual(result["calls"], sum(part["calls"] for part in parts))
        self.assertAlmostEqual(result["vectors_per_s"], sum(part["vectors_per_s"] for part in parts), delta=3)
        self.assertGreater(result["pss_bytes"], 0)

    def test_a_process_that_fails_ends_all(self) -> None:
        done = embed("redis", "--address", f"unix:{self.folder}/none", "--processes", 3)
        self.assertEqual(done.returncode, 1)
        self.assertIn("No such file", done.stderr)

    def test_samples_are_at_even_distances_until_the_interrupt(self) -> None:
        samples = self.folder / "samples"
        flags = ["--rate", 2000, "--samples", samples, "--duration", 60, "--warmup", 0, "--json", "--keys", ROWS]
        with subprocess.Popen(
            [str(BIN / "pillion-embed"), "--reader", "array", *map(str, flags)], stdout=subprocess.PIPE, text=True
        ) as reader:
            time.sleep(0.5)
            reader.send_signal(signal.SIGINT)
            result = json.loads(reader.communicate(timeout=30)[0])
        found = list(struct.iter_unpack("<QQ", samples.read_bytes()))
        self.assertEqual(len(found), result["calls"])
        gaps = {after[0] - before[0] for before, after in zip(found, found[1:])}
        self.assertTrue(gaps and all(abs(gap - 500_000) <= 1 for gap in gaps), gaps)

    # ---- Errors

    def test_errors_say_what_is_wrong(self) -> None:
        none = self.folder / "none"
        for reader in ("mapped", "socket", "redis", "memcached", "null"):
            self.assertIn("--address", self.fails(reader))
            self.assertIn("No such file", self.fails(reader, "--address", f"unix:{none}"))
        for reader in ("lmdb", "rocksdb"):
            said = self.fails(reader, "--path", none)
            self.assertTrue("built without it" in said or "No such file" in said, said)
        self.assertIn("no such --reader", self.fails("mongodb"))
        self.assertIn("less than --features", self.fails("array", *WHOLE, "--width", 20))
        self.assertIn("expected a number", self.fails("array", "--batch", "many"))
        self.assertIn("same values", self.fails("null", "--verify", SEED))

    def test_databases_of_other_rows_are_refused(self) -> None:
        for reader in ("lmdb", "rocksdb"):
            with self.subTest(reader=reader):
                path = ["--path", self.folder / reader]
                self.fill(reader, *path, *WHOLE)
                self.assertIn("is there already", self.fails(reader, "--fill", *path, *WHOLE))
                self.assertIn("200", self.fails(reader, *path, "--features", 49))
                self.assertIn(str(ROWS), self.fails(reader, *path, *WHOLE, "--keys", ROWS + 1))


if __name__ == "__main__":
    BIN = Path(sys.argv.pop(1)).resolve()
    unittest.main()
