# SPDX-License-Identifier: Apache-2.0
"""The servers that run_serve.py compares: pilliond, redis-server, pillion-null, Feast's own. All run on one core, on
private Unix sockets and loopback ports, and are started and stopped by this module."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Sequence

PROJECT, VIEW, SEED = "bench", "view", 1
SERVICE = "every"  # the service that make_release applies: all features of the view
HASH_PREFIX, PACKED_PREFIX = f"{VIEW}:", "pack:"
START_S = 120.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def descendants(pid: int) -> list[int]:
    """The process and all its descendants."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                after_name = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents.setdefault(int(after_name[1]), []).append(int(entry.name))
    found = [pid]
    for parent in found:
        found += parents.get(parent, [])
    return found


class Server:
    """A process with an address for each transport ("unix", "tcp"). `cores`: the cores that it may use."""

    name = ""

    def __init__(self, argv: Sequence[object], folder: Path, cores: set[int], **options: Any):
        self.log_path = folder / f"{self.name}.log"
        self.addresses: dict[str, str] = {}
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [str(part) for part in argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=lambda: os.sched_setaffinity(0, cores),
                **options,
            )

    def pids(self) -> list[int]:
        return descendants(self.process.pid)

    def wait_connectable(self, address: str) -> None:
        end = time.monotonic() + START_S
        kind, _, place = address.partition(":")
        while True:
            try:
                if kind == "unix":
                    with socket.socket(socket.AF_UNIX) as probe:
                        probe.connect(place)
                else:
                    host, _, port = place.rpartition(":")
                    socket.create_connection((host, int(port)), 1).close()
                return
            except OSError:
                self.fail_if(time.monotonic() > end or self.process.poll() is not None)
                time.sleep(0.02)

    def fail_if(self, bad: bool) -> None:
        if bad:
            self.stop()
            sys.exit(f"{self.name} did not start; {self.log_path}:\n{self.log_path.read_text()[-2000:]}")

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Pilliond(Server):
    name = "pillion"

    def __init__(self, binaries: Path, folder: Path, store: Path, engine: str, spin_us: int, cores: set[int]):
        addresses = {
            "unix": f"unix:{folder}/resp.sock",
            "tcp": f"tcp:127.0.0.1:{free_port()}",
            "feast-unix": f"unix:{folder}/feast.sock",
            "feast-tcp": f"tcp:127.0.0.1:{free_port()}",
            "mapped": f"unix:{folder}/mapped.sock",
        }
        self.admin = f"127.0.0.1:{free_port()}"
        argv: list[object] = [
            binaries / "pilliond",
            "--store",
            f"dir:{store}",
            "--serve",
            f"{PROJECT}/{VIEW}@production",
            "--workers",
            "1",
            "--engine",
            engine,
            "--spin",
            f"{spin_us}us",
            "--listen",
            f"admin=tcp:{self.admin}",
        ]
        for kind, address in addresses.items():
            protocol = kind.partition("-")[0] if kind not in ("unix", "tcp") else "resp"
            argv += ["--listen", f"{protocol}={address}"]
        ready_read, ready_write = os.pipe()
        super().__init__([*argv, "--ready-fd", str(ready_write)], folder, cores, pass_fds=[ready_write])
        self.addresses = addresses
        os.close(ready_write)
        readable, _, _ = select.select([ready_read], [], [], START_S)
        line = os.read(ready_read, 64) if readable else b""
        os.close(ready_read)
        self.fail_if(line != b"ready\n")


class Redis(Server):
    """Debian's redis-server with its default settings, except that nothing is saved to disk."""

    name = "redis"

    def __init__(self, folder: Path, cores: set[int]):
        port = free_port()
        super().__init__(
            [
                "redis-server",
                "--port",
                str(port),
                "--bind",
                "127.0.0.1",
                "--unixsocket",
                f"{folder}/redis.sock",
                "--save",
                "",
                "--appendonly",
                "no",
                "--dir",
                str(folder),
            ],
            folder,
            cores,
        )
        self.addresses = {"unix": f"unix:{folder}/redis.sock", "tcp": f"tcp:127.0.0.1:{port}"}
        for address in self.addresses.values():
            self.wait_connectable(address)

    def fill(self, binaries: Path, rows: int, features: int, has_hashes: bool = True) -> None:
        """Writes the same rows twice: as hashes of decimal text and as packed rows; or only the packed rows."""
        source = subprocess.Popen(
            [
                str(binaries / "pillion-fill"),
                "--rows",
                str(rows),
                "--features",
                str(features),
                "--seed",
                str(SEED),
                "--packed",
                PACKED_PREFIX,
                *(["--hash", HASH_PREFIX] if has_hashes else []),
            ],
            stdout=subprocess.PIPE,
        )
        path = self.addresses["unix"].partition(":")[2]
        done = subprocess.run(
            ["redis-cli", "-s", path, "--pipe"], stdin=source.stdout, capture_output=True, text=True, check=False
        )
        if (
            source.wait() != 0
            or done.returncode != 0
            or f"errors: 0, replies: {(1 + has_hashes) * rows}" not in done.stdout
        ):
            sys.exit(f"redis could not be filled: {done.stdout}{done.stderr}")


class Null(Server):
    name = "null"

    def __init__(
        self,
        binaries: Path,
        folder: Path,
        kind: str,
        protocol: str,
        reply: Path,
        engine: str,
        spin_us: int,
        cores: set[int],
    ):
        address = f"unix:{folder}/null.sock" if kind == "unix" else f"tcp:127.0.0.1:{free_port()}"
        super().__init__(
            [
                binaries / "pillion-null",
                "--listen",
                address,
                "--reply",
                reply,
                "--protocol",
                protocol,
                "--engine",
                engine,
                "--spin-us",
                str(spin_us),
            ],
            folder,
            cores,
        )
        self.addresses = {kind: address}
        self.wait_connectable(address)


FEAST_YAML = """project: {project}
registry: data/registry.db
provider: local
online_store: {{type: sqlite, path: data/online.db}}
offline_store: {{type: file}}
entity_key_serialization_version: 3
"""
# Applies the view and writes its rows: VIEW ROWS FEATURES SEED.
FEAST_FILL = """import sys
from datetime import timedelta
import pandas
from feast import Entity, FeatureStore, FeatureView, Field, FileSource
from feast.types import Float32
from feast.value_type import ValueType
name, rows, features, seed = sys.argv[1], *map(int, sys.argv[2:])
columns = {"id": range(rows), "event_timestamp": [pandas.Timestamp("2023-11-14T22:13:20Z")] * rows}
columns.update({f"f{f}": pandas.Series([(k * 31 + f * 7 + seed) % 1000003 for k in range(rows)], dtype="float32")
                for f in range(features)})
frame = pandas.DataFrame(columns)
frame.to_parquet("data/rows.parquet")
entity = Entity(name="id", join_keys=["id"], value_type=ValueType.INT64)
view = FeatureView(name=name, entities=[entity], ttl=timedelta(0),
                   source=FileSource(name="source", path="data/rows.parquet", timestamp_field="event_timestamp"),
                   schema=[Field(name=f"f{f}", dtype=Float32) for f in range(features)])
store = FeatureStore(".")
store.apply([entity, view])
store.write_to_online_store(name, frame)
"""


class Feast(Server):
    """Feast's Python server as `feast serve` starts it: one worker, no access log, never restarted. SQLite is its
    default online store; its cost does not depend on the number of rows, so it gets only a few."""

    name = "feast"

    def __init__(self, feast_bin: Path, folder: Path, rows: int, features: int, cores: set[int]):
        repo = folder / "feast"
        (repo / "data").mkdir(parents=True)
        (repo / "feature_store.yaml").write_text(FEAST_YAML.format(project=PROJECT))
        done = subprocess.run(
            [str(feast_bin / "python"), "-c", FEAST_FILL, VIEW, str(rows), str(features), str(SEED)],
            cwd=repo,
            capture_output=True,
            text=True,
            check=False,
            env=self.environment(),
        )
        if done.returncode != 0:
            sys.exit(f"Feast's repository could not be made: {done.stdout[-1000:]}{done.stderr[-2000:]}")
        port = free_port()
        super().__init__(
            [
                feast_bin / "feast",
                "serve",
                "--host",
                "127.0.0.1",
                "--port",
                str(port),
                "--no-access-log",
                "--workers",
                "1",
                "--max-requests",
                "1000000000",
                "--max-requests-jitter",
                "0",
            ],
            folder,
            cores,
            cwd=repo,
            env=self.environment(),
        )
        self.addresses = {"feast-tcp": f"tcp:127.0.0.1:{port}"}
        self.wait_connectable(self.addresses["feast-tcp"])

    @staticmethod
    def environment() -> dict[str, str]:
        return {**os.environ, "FEAST_USAGE": "False", "PYTHONWARNINGS": "ignore"}


def make_release(
    binaries: Path, store: Path, rows: int, features: int, seed: int, channel: str | None, type: str = "float32"
) -> str:
    tool = next(
        path for path in (binaries / "make_release", binaries.parent / "tests" / "make_release") if path.exists()
    )
    channel_flags = ["--channel", channel] if channel else []
    argv = [
        str(tool),
        "--store",
        f"dir:{store}",
        "--project",
        PROJECT,
        "--view",
        VIEW,
        "--rows",
        str(rows),
        "--features",
        str(features),
        "--seed",
        str(seed),
        "--type",
        type,
    ]
    done = subprocess.run(argv + channel_flags, capture_output=True, text=True, check=False)
    found = re.search(r"^\S+@\S+$", done.stdout, re.MULTILINE)
    if done.returncode != 0 or found is None:
        sys.exit(f"make_release failed: {done.stdout}{done.stderr}")
    return found.group()


def make_store(binaries: Path, store: Path, rows: int, features: int, type: str = "float32") -> None:
    """Makes a store with one promoted release, unless it exists; it appears only when it is complete."""
    if store.exists():
        return
    partial = store.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    make_release(binaries, partial, rows, features, SEED, "production", type)
    partial.replace(store)
