# SPDX-License-Identifier: Apache-2.0
"""The peers that run_fast.py compares on one table: servers that it starts and fills, files that it fills, and the
command lines of their readers."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Callable, Sequence

from fast_cases import READERS, Case, Table
from fast_measure import Failed, reason_of
from serve_servers import FEAST_FILL, PROJECT, SEED, SERVICE, VIEW, Null, Pilliond, Redis, Server, make_store

ENGINE, SPIN_US = "io_uring", 0
FEAST_ROWS = 1000
FILL_MAX_S = 600.0
KEY_PREFIX = f"{VIEW}:"
MEMCACHED_ROOM = 3  # times the payload

# The server or data that each reader needs.
NEEDS = {
    "mapped": "pilliond",
    "socket": "pilliond",
    "pillion": "pilliond",
    "pillion-socket": "pilliond",
    "pillion-online": "pilliond",
    "redis": "redis",
    "redis-py": "redis",
    "memcached": "memcached",
    "pymemcache": "memcached",
    "lmdb": "lmdb",
    "py-lmdb": "lmdb",
    "rocksdb": "rocksdb",
    "null": "null",
    "feast": "feast",
}
PYTHON = {"redis-py": "redis", "pymemcache": "memcached", "py-lmdb": "lmdb"}  # in fast_python.py; else the same name


class Memcached(Server):
    """Debian's memcached on a Unix socket, with one thread (its server has one core) and room for all rows."""

    name = "memcached"

    def __init__(self, folder: Path, megabytes: int, cores: set[int]):
        path = folder / "memcached.sock"
        argv = ["memcached", "--unix-socket", path, "--memory-limit", megabytes, "--threads", 1]
        argv += ["--disable-evictions", "--conn-limit", 64]
        super().__init__([*map(str, argv), *(["--user", "root"] if os.getuid() == 0 else [])], folder, cores)
        self.addresses = {"unix": f"unix:{path}"}
        self.wait_connectable(self.addresses["unix"])


FEAST_YAML = """project: {project}
registry: data/registry.db
provider: local
online_store: {{type: redis, connection_string: "localhost:0,unix_socket_path={path}"}}
offline_store: {{type: file}}
entity_key_serialization_version: 3
"""


def finish(argv: Sequence[object], **options: Any) -> str:
    """Runs a program to its end; returns its standard output."""
    words = [str(word) for word in argv]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=FILL_MAX_S, **options)
    if done.returncode != 0:
        raise Failed(f"{' '.join(words)[:300]}: exit {done.returncode}: {reason_of(done.stderr + done.stdout)}")
    return done.stdout


class FeastRedis(Redis):
    """Feast's SDK with its Redis online store, on a separate server. Its cost does not depend on the number of rows, so
    it gets only a few."""

    name = "feast-redis"

    def __init__(self, folder: Path, python: Path, features: int, cores: set[int]):
        folder = folder / "feast"
        (folder / "data").mkdir(parents=True)
        super().__init__(folder, cores)
        self.folder = folder
        path = self.addresses["unix"].partition(":")[2]
        (folder / "feature_store.yaml").write_text(FEAST_YAML.format(project=PROJECT, path=path))
        try:
            finish([python, "-c", FEAST_FILL, VIEW, FEAST_ROWS, features, SEED], cwd=folder, env=self.environment())
        except Failed:
            self.stop()
            raise

    @staticmethod
    def environment() -> dict[str, str]:
        return {**os.environ, "FEAST_USAGE": "False", "PYTHONWARNINGS": "ignore"}


class Peers:
    """The servers and data of one table. Each is started when a reader first needs it and runs until the end; one that
    could not start is not tried again."""

    def __init__(self, options: argparse.Namespace, folder: Path, table: Table, say: Callable[[str], None]):
        self.options = options
        self.folder = folder / f"table-{table.name}"
        self.folder.mkdir()
        self.table = table
        self.say = say
        self.servers: dict[str, Server] = {}
        self.broken: dict[str, str] = {}
        cores = sorted(os.sched_getaffinity(0))
        self.server_cores, self.reader_cores, self.all_cores = {cores[0]}, {cores[-1]}, set(cores)
        self.embed = options.bin / "pillion-embed"

    def __enter__(self) -> "Peers":
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers.values():
            server.stop()
        self.servers.clear()

    # ---- Data

    def data(self, what: str) -> Path:
        return self.options.data / f"{what}-{self.options.rows}-{self.table.name}"

    def start(self, reader: str, case: Case) -> None:
        """Starts what the reader needs. Raises Failed if that is not possible."""
        need = NEEDS.get(reader)
        if need is None or need in self.servers and need != "null":
            return
        if need in self.broken:
            raise Failed(self.broken[need])
        try:
            self.start_null(case) if need == "null" else getattr(self, f"start_{need}")()
        except (SystemExit, OSError, subprocess.SubprocessError, Failed) as trouble:
            self.broken[need] = f"{need}: {trouble}"
            if need in self.servers:
                self.servers.pop(need).stop()
            raise Failed(self.broken[need]) from trouble

    def start_pilliond(self) -> None:
        store, was_there = self.data("store"), self.data("store").exists()
        if not was_there:
            self.say(f"  Pillion: building a release of {self.table.rows:,} rows")
            make_store(self.options.bin, store, self.table.rows, *self.table.features)
        try:
            server = Pilliond(self.options.bin, self.folder, store, ENGINE, SPIN_US, self.server_cores)
        except SystemExit:
            if not was_there:
                raise
            shutil.rmtree(store)  # left from another version of the format
            self.start_pilliond()
        else:
            self.servers["pilliond"] = server

    def start_redis(self) -> None:
        self.servers["redis"] = server = Redis(self.folder, self.server_cores)
        self.fill("redis", ["--address", server.addresses["unix"], "--key-prefix", KEY_PREFIX])

    def start_memcached(self) -> None:
        room = self.table.payload * MEMCACHED_ROOM >> 20
        self.servers["memcached"] = server = Memcached(self.folder, room + 64, self.server_cores)
        self.fill("memcached", ["--address", server.addresses["unix"], "--key-prefix", KEY_PREFIX])

    def start_lmdb(self) -> None:
        self.fill_files("lmdb")

    def start_rocksdb(self) -> None:
        self.fill_files("rocksdb")

    def fill_files(self, name: str) -> None:
        """Fills the reader's files unless they exist. Files are kept; a fill makes its folder appear when it is
        complete."""
        if not self.data(name).exists():
            self.fill(name, ["--path", str(self.data(name))])

    def fill(self, name: str, place: list[str]) -> None:
        self.say(f"  {READERS[name][0]}: filling it")
        finish([self.embed, "--reader", name, "--fill", *place, *self.row_flags(self.table.values)])

    def start_null(self, case: Case) -> None:
        """Starts another pillion-null for each case, because its answer must be as long as the tensor."""
        if "null" in self.servers:
            self.servers.pop("null").stop()
        reply = self.folder / "reply"
        flags = ["--batch", str(case.batch), *self.row_flags(case.width)]
        finish([self.embed, "--reader", "null", "--fill", "--path", reply, *flags])
        self.servers["null"] = Null(
            self.options.bin, self.folder, "unix", "resp", reply, ENGINE, SPIN_US, self.server_cores
        )

    def start_feast(self) -> None:
        self.say(f"  Feast: {FEAST_ROWS:,} rows to its Redis")
        if self.options.feast is None:
            raise Failed("no --feast")
        self.servers["feast"] = FeastRedis(self.folder, self.options.feast, self.table.values, self.server_cores)

    # ---- Readers

    def pids(self, reader: str) -> list[int]:
        server = self.servers.get(NEEDS.get(reader, ""))
        return server.pids() if server is not None else []

    def files(self, reader: str) -> list[Path]:
        """The files that are read from the page cache, if any."""
        need = NEEDS.get(reader, "")
        folder = self.data(need)
        return [path for path in folder.iterdir() if path.is_file()] if need in ("lmdb", "rocksdb") else []

    def row_flags(self, values: int) -> list[str]:
        """Flags for the stored rows and the number of values requested."""
        flags = ["--keys", str(self.table.rows), "--features", str(values)]
        if values != self.table.values:
            flags += ["--width", str(self.table.values)]
        return flags + (["--type", self.table.type] if self.table.type != "float32" else [])

    def command(self, reader: str, case: Case) -> tuple[list[str], set[int], list[int]]:
        """The argument vector, the cores that it may use, and the processes of its server."""
        if reader in ("pillion", "pillion-socket", "pillion-online", "feast", *PYTHON):
            rows = FEAST_ROWS if reader == "feast" else self.table.rows
            flags = ["--keys", str(rows), "--features", str(case.width)]
            argv = self.python_command(reader, case) + flags
        else:
            argv = self.embed_command(reader, case) + self.row_flags(case.width)
        argv += ["--batch", str(case.batch)]
        if case.zipf:
            argv += ["--zipf", str(case.zipf)]
        if case.processes > 1:
            argv += ["--processes", str(case.processes)]
        return argv, self.reader_cores if case.processes == 1 else self.all_cores, self.pids(reader)

    def python_command(self, reader: str, case: Case) -> list[str]:
        python = self.options.feast if reader == "feast" else self.options.python
        if python is None:
            raise Failed(f"{reader}: no --python")
        argv = [str(python), str(Path(__file__).with_name("fast_python.py")), "--reader", PYTHON.get(reader, reader)]
        return argv + self.place(reader)

    def embed_command(self, reader: str, case: Case) -> list[str]:
        return [str(self.embed), "--reader", reader, *self.place(reader), "--service", SERVICE]

    def place(self, reader: str) -> list[str]:
        need = NEEDS.get(reader, "")
        server = self.servers.get(need)
        if need == "pilliond" and server is not None:
            return ["--address", server.addresses["unix" if "socket" in reader else "mapped"]]
        if isinstance(server, FeastRedis):
            return ["--path", str(server.folder)]
        if server is not None:
            return ["--address", server.addresses["unix"], "--key-prefix", KEY_PREFIX]
        return ["--path", str(self.data(need))] if need else []
