# SPDX-License-Identifier: Apache-2.0
"""A store as an attacker or an accident leaves it, under a serving daemon: each row of TRICKS is one trick. What cannot
be trusted is refused and said, what is harmless is taken, and either way the values are those of one sound release. One
daemon lives through all of them, with keep_releases 1, so that nothing is served from an older release's memory; at
the end none of its processes was replaced and the fetcher holds no more descriptors than before.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import stat
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterator

import harness
import pytest
import synthetic

VIEW, ROWS, FEATURES = "rides/driver_stats", 200, 5
KEPT, TAKEN = "kept", "taken"  # which release is served: the one before, or the one that the trick was played on
Make = Callable[[Path, Path], None]  # makes something at a path; the sound object lies at the other one


@dataclass(frozen=True)
class Trick:
    name: str
    outcome: str
    play: Callable[[Lab], None]
    points: bool = True  # the channel is turned to the second release then; False: the trick says where it points
    says_project: bool = False  # the project is refused, in words


class Lab:
    """A store with three releases, the daemon, and what was moved aside."""

    def __init__(self, folder: Path):
        self.folder, self.store = folder, harness.Store(folder / "store")
        self.references = [self.store.make_release(rows=ROWS, features=FEATURES, seed=seed, args=("--shard-bits", "1"),
                                                   channel="production" if seed == 1 else None) for seed in (1, 2, 3)]
        self.releases = [reference.rpartition("@")[2] for reference in self.references]
        self.root = self.store.path
        self.view = self.root / "views" / VIEW
        self.channel = self.view / "channels" / "production.json"
        self.manifest = self.view / "releases" / f"{self.releases[1]}.json"
        self.project = self.root / "projects" / "rides.json"
        self.sequence, self.moved = 10, []
        self.broken_by: str | None = None  # the trick from which the daemon has not recovered
        (folder / "aside").mkdir()
        self.daemon = harness.Pilliond(folder, self.store, [f"{VIEW}@production"], engine="epoll", args=(
            "--poll_interval", "20ms", "--keep_releases", "1", "--fetch_priority", "normal"), ready=False)

    def wait_ready(self) -> None:
        self.daemon.wait_ready()
        self.children = harness.children_of(self.daemon.pid)
        self.feast = harness.http_connection(self.daemon.feast)
        self.redis = self.daemon.redis(socket_timeout=harness.DEADLINE_S)
        self.descriptors = self.count_descriptors()

    # ---- Names.

    def shards(self, release: int = 1) -> list[Path]:
        manifest = json.loads((self.view / "releases" / f"{self.releases[release]}.json").read_text())
        return [self.root / "shards" / shard["id"][:2] / f"{shard['id']}.shard" for shard in manifest["shards"]]

    # ---- Changes.

    def replace(self, path: Path, make: Make) -> None:
        aside = self.folder / "aside" / str(len(self.moved))
        os.rename(path, aside)
        self.moved.append((path, aside))
        make(path, aside)

    def restore(self) -> None:
        while self.moved:
            path, aside = self.moved.pop()
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif os.path.lexists(path):
                path.unlink()
            os.rename(aside, path)

    def channel_document(self, release: str) -> dict[str, Any]:
        self.sequence += 1
        return {"format": 1, "project": "rides", "view": "driver_stats", "channel": "production", "pinned": None,
                "sequence": self.sequence, "nonce": f"{self.sequence:016x}", "release": release, "changed_us": 1,
                "history": [{"release": release, "sequence": self.sequence, "changed_us": 1, "act": "promote"}]}

    def point(self, release: str) -> None:
        written = self.folder / "channel"
        written.write_text(json.dumps(self.channel_document(release)))
        os.rename(written, self.channel)

    # ---- What the daemon makes of it.

    def status(self) -> dict[str, Any]:
        return self.daemon.view_status()

    def refused_us(self) -> int:
        return self.status().get("refused", {"when_us": 0})["when_us"]

    def wait_refused(self, since: int) -> None:
        """For the outcome of a reading that began after `since`: the second, where each reading has one."""
        first = harness.wait_until("the refusal", lambda: (self.refused_us() > since) and self.refused_us())
        if self.status()["refused"]["release"] == "":  # the channel itself, which is read again and again
            harness.wait_until("the next reading", lambda: self.refused_us() > first)

    def wait_served(self, release: str) -> None:
        def is_served() -> bool:
            status = self.status()
            return status["release"] == status["channel_release"] == release and "refused" not in status
        harness.wait_until(f"{release} is served", is_served)

    def check_values(self, seed: int) -> None:
        keys, names = [0, 5, ROWS - 1], [f"f{i}" for i in range(FEATURES)]
        wanted = [list(synthetic.row("floats", key, seed, FEATURES).values()) for key in keys]
        got = [[float(value) for value in self.redis.hmget(f"driver_stats:{key}", names)] for key in keys]
        assert got == wanted
        body = {"features": [f"driver_stats:{name}" for name in names], "entities": {"id": keys}}
        self.feast.request("POST", "/get-online-features", json.dumps(body))
        columns = harness.Answer(self.feast.getresponse()).json()["results"][1:]
        assert [list(row) for row in zip(*(column["values"] for column in columns))] == wanted
        assert harness.http(self.daemon.admin, "GET", "/readyz").status == 200

    def count_descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.daemon.child('fetcher')}/fd"))

    def play(self, trick: Trick) -> None:
        try:
            trick.play(self)
            since = time.time_ns() // 1000
            if trick.points:
                self.point(self.releases[1])
            if trick.outcome == KEPT:
                self.wait_refused(since)
            else:
                self.wait_served(self.releases[1])
            if trick.says_project:
                harness.wait_until("the project is refused", lambda: "project_refused" in self.status())
            self.check_values(1 if trick.outcome == KEPT else 2)
        finally:
            self.recover(trick)

    def recover(self, trick: Trick) -> None:
        self.broken_by = trick.name
        self.restore()
        self.point(self.releases[0])
        self.wait_served(self.releases[0])
        harness.wait_until("the project is taken", lambda: "project_refused" not in self.status())
        self.check_values(1)
        assert harness.children_of(self.daemon.pid) == self.children, self.daemon.log[-3000:]
        self.broken_by = None


# ---- Things that are not the file that was there.

def make_fifo(path: Path, aside: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path, aside: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock, tempfile.TemporaryDirectory(prefix="pil-") as short:
        sock.bind(f"{short}/s")
        os.rename(f"{short}/s", path)


def make_device(path: Path, aside: Path) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))  # /dev/zero
    except PermissionError:
        pytest.skip("only root makes devices")


def make_unreadable(path: Path, aside: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    shutil.copy(aside, path)
    path.chmod(0)


def link_to(target: str | None) -> Make:
    return lambda path, aside: path.symlink_to(aside if target is None else target)


def link_to_itself(path: Path, aside: Path) -> None:
    path.symlink_to(path.name)


def change(change_bytes: Callable[[bytes], bytes]) -> Make:
    def make(path: Path, aside: Path) -> None:
        path.write_bytes(change_bytes(aside.read_bytes()))
    return make


def make_sparse(path: Path, aside: Path) -> None:
    path.touch()
    os.truncate(path, 10 << 30)


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


def nothing(path: Path, aside: Path) -> None:
    pass


KINDS: dict[str, Make] = {
    "fifo": make_fifo,
    "link to a file outside": link_to("/etc/passwd"),
    "link to a sound copy": link_to(None),
    "link to nothing": link_to("/nowhere"),
    "link to itself": link_to_itself,
    "link to a device": link_to("/dev/zero"),
    "folder": lambda path, aside: path.mkdir(),
    "socket": make_socket,
    "device": make_device,
    "unreadable": make_unreadable,
    "empty": change(lambda data: b""),
    "half": change(lambda data: data[:len(data) // 2]),
    "one byte short": change(lambda data: data[:-1]),
    "zeros": change(lambda data: bytes(len(data))),
    "sparse": make_sparse,
    "first bit flipped": change(lambda data: flip(data, 0)),
    "gone": nothing,
}
# A project that is one of these is refused in words; the others cannot be read for now, which says nothing about it.
REFUSED_PROJECTS = {"fifo", "folder", "device", "empty", "half", "one byte short", "zeros", "sparse",
                    "first bit flipped", "longer"}
LONGER: dict[str, Make] = {"longer": change(lambda data: data + bytes(4096))}
SHARD_KINDS: dict[str, Make] = {
    "a bit flipped in the middle": change(lambda data: flip(data, len(data) // 2)),
    "last bit flipped": change(lambda data: flip(data, len(data) - 1)),
    "superblock alone": change(lambda data: data[:4096]),
    "superblock doubled": change(lambda data: data[:4096] + data),
}


def kinds_of(what: str, outcome: str, path_of: Callable[[Lab], Path], kinds: dict[str, Make]) -> list[Trick]:
    def player(make: Make) -> Callable[[Lab], None]:
        return lambda lab: lab.replace(path_of(lab), make)
    return [Trick(f"{what}: {kind}", outcome, player(make), what != "channel",
                  what == "project" and kind in REFUSED_PROJECTS) for kind, make in kinds.items()]


# ---- Documents. Each is made from a sound one, of the second release.

def as_bytes(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def text(old: bytes, new: bytes) -> Callable[[dict[str, Any]], bytes]:
    def change_text(document: dict[str, Any]) -> bytes:
        assert old in as_bytes(document)
        return as_bytes(document).replace(old, new, 1)
    return change_text


def members(**changed: Any) -> Callable[[dict[str, Any]], bytes]:
    return lambda document: as_bytes({**document, **changed})


def without(name: str) -> Callable[[dict[str, Any]], bytes]:
    return lambda document: as_bytes({key: value for key, value in document.items() if key != name})


def shard_list(change_shards: Callable[[list[dict[str, Any]]], Any]) -> Callable[[dict[str, Any]], bytes]:
    return lambda document: as_bytes({**document, "shards": change_shards(document["shards"])})


DOCUMENTS: dict[str, tuple[str, Callable[[dict[str, Any]], bytes]]] = {
    "deep": (KEPT, lambda document: b'{"format":' + b"[" * 100000),
    "deep and closed": (KEPT, lambda document: b'{"a":' * 2000 + b"1" + b"}" * 2000),
    "an array": (KEPT, lambda document: b"[]"),
    "null": (KEPT, lambda document: b"null"),
    "two documents": (KEPT, lambda document: as_bytes(document) * 2),
    "not UTF-8": (KEPT, text(b"driver_stats", b"driver_stat\xff")),
    "a surrogate": (KEPT, text(b"driver_stats", rb"driver_stat\ud800")),
    "a zero character": (KEPT, text(b"driver_stats", rb"driver\u0000stats")),
    "UTF-16": (KEPT, lambda document: as_bytes(document).decode().encode("utf-16")),
    "a byte order mark": (KEPT, lambda document: b"\xef\xbb\xbf" + as_bytes(document)),
    "format 2": (KEPT, members(format=2)),
    "format is text": (KEPT, members(format="1")),
    "no format": (KEPT, without("format")),
    "a doubled member": (KEPT, text(b'{"', b'{"format":1,"format":1,"')),
    "another project": (KEPT, members(project="other")),
    "another view": (KEPT, members(view="other")),
    "a name with a path": (KEPT, members(view="../driver_stats")),
    "an unknown member": (TAKEN, members(tomorrow={"x": [1, 2]})),
    "60,000 blanks behind": (TAKEN, lambda document: as_bytes(document) + b" " * 60000),
    "70 MiB of blanks behind": (KEPT, lambda document: as_bytes(document) + b" " * (70 << 20)),
}
CHANNELS: dict[str, tuple[str, Callable[[dict[str, Any]], bytes]]] = {
    "sequence over 64 bits": (KEPT, members(sequence=10**24)),
    "sequence 1e400": (KEPT, text(b'"sequence":', b'"sequence":1e400,"other":')),
    "sequence -1": (KEPT, members(sequence=-1)),
    "sequence is true": (KEPT, members(sequence=True)),
    "release is a path": (KEPT, members(release="../../../../x")),
    "release is upper case": (KEPT, members(release="ABCDEF0123456789")),
    "release is null": (KEPT, members(release=None)),
    "release is a list": (KEPT, members(release=["x"])),
    "a release that is missing": (KEPT, members(release="0" * 16)),
    "pinned is a path": (KEPT, members(pinned="../x")),
    "pinned to one that is missing": (KEPT, members(pinned="0" * 16)),
    "no release": (KEPT, without("release")),
    "another channel": (KEPT, members(channel="canary")),
    "a history of 1,000": (KEPT, lambda document: as_bytes({**document, "history": document["history"] * 1000})),
    "no history": (KEPT, members(history=[])),
    "history is text": (KEPT, members(history="promote")),
}
MANIFESTS: dict[str, tuple[str, Callable[[dict[str, Any]], bytes]]] = {
    "no shards": (KEPT, shard_list(lambda shards: [])),
    "three shards": (KEPT, shard_list(lambda shards: shards + shards[:1])),
    "one shard": (KEPT, shard_list(lambda shards: shards[:1])),
    "shards in a wrong order": (KEPT, shard_list(lambda shards: shards[::-1])),
    "the first shard twice": (KEPT, shard_list(lambda shards: shards[:1] * 2)),
    "shards is an object": (KEPT, shard_list(lambda shards: {"0": shards[0]})),
    "shards of 4 TiB": (KEPT, lambda document: as_bytes({
        **document, "bytes": 2 << 42, "shards": [{**shard, "bytes": 1 << 42} for shard in document["shards"]]})),
    "shards of no bytes": (KEPT, shard_list(lambda shards: [{**shard, "bytes": 0} for shard in shards])),
    "a shard one byte longer": (KEPT, shard_list(lambda shards: [{**shard, "bytes": shard["bytes"] + 1}
                                                                 for shard in shards])),
    "a shard's name is a path": (KEPT, shard_list(lambda shards: [{**shard, "id": "../../../../etc/passwd"}
                                                                  for shard in shards])),
    "a shard's name is upper case": (KEPT, shard_list(lambda shards: [{**shard, "id": shard["id"].upper()}
                                                                      for shard in shards])),
    "a shard's name is too long": (KEPT, shard_list(lambda shards: [{**shard, "id": shard["id"] * 40}
                                                                    for shard in shards])),
    "65,536 shards": (KEPT, lambda document: as_bytes({
        **document, "bytes": 65536 << 30, "row_count": 65536 * 1000,
        "shards": [{"id": f"{i:064x}", "bytes": 1 << 30, "row_count": 1000} for i in range(65536)]})),
    "another number of rows": (KEPT, members(row_count=5)),
    "schema is null": (KEPT, members(schema=None)),
    "schema without features": (KEPT, members(schema={"features": []})),
    "schema with another feature": (KEPT, text(b'"f4"', b'"f9"')),
    "schema with another type": (KEPT, text(b'"type":"float32"', b'"type":"int32"')),
    "the manifest of another release": (KEPT, lambda document: as_bytes({**document, "release": "0" * 16})),
}


def document_tricks(what: str, outcomes: dict[str, tuple[str, Callable[[dict[str, Any]], bytes]]]) -> list[Trick]:
    def player(change_document: Callable[[dict[str, Any]], bytes]) -> Callable[[Lab], None]:
        def play(lab: Lab) -> None:
            if what == "channel":
                data = change_document(lab.channel_document(lab.releases[1]))
                lab.replace(lab.channel, lambda path, aside: write_whole(lab, path, data))
            else:
                data = change_document(json.loads(lab.manifest.read_text()))
                lab.replace(lab.manifest, lambda path, aside: write_whole(lab, path, data))
        return play
    return [Trick(f"{what}: {name}", outcome, player(change_document), what != "channel")
            for name, (outcome, change_document) in outcomes.items()]


def write_whole(lab: Lab, path: Path, data: bytes) -> None:
    """Nobody sees a part of it."""
    written = lab.folder / "written"
    written.write_bytes(data)
    os.rename(written, path)


# ---- Places: folders, the root, shards that belong elsewhere.

def swap_shards(lab: Lab) -> None:
    first, second = lab.shards()
    lab.replace(first, lambda path, aside: None)
    lab.replace(second, lambda path, aside: os.link(lab.moved[-2][1], path))
    os.link(lab.moved[-1][1], first)


def other_release(lab: Lab) -> None:
    lab.replace(lab.shards()[0], lambda path, aside: shutil.copy(lab.shards(2)[0], path))


def replace(path_of: Callable[[Lab], Path], make: Make) -> Callable[[Lab], None]:
    return lambda lab: lab.replace(path_of(lab), make)


def make_file(path: Path, aside: Path) -> None:
    path.touch()


def copy_elsewhere(path: Path, aside: Path) -> None:
    """A link to a sound copy of the store, whose channel points to the second release."""
    copied = path.parent / "copied"
    shutil.rmtree(copied, ignore_errors=True)
    shutil.copytree(aside, copied)
    path.symlink_to(copied)


PLACES = [
    Trick("shards change places", KEPT, swap_shards),
    Trick("a shard of another release", KEPT, other_release),
    Trick("the folder of a shard is a link", KEPT, replace(lambda lab: lab.shards()[1].parent, link_to(None))),
    Trick("the folder of a shard is a file", KEPT, replace(lambda lab: lab.shards()[1].parent, make_file)),
    Trick("the folder of shards is gone", KEPT, replace(lambda lab: lab.root / "shards", nothing)),
    Trick("the folder of shards is a link", KEPT, replace(lambda lab: lab.root / "shards", link_to(None))),
    Trick("the folder of releases is gone", KEPT, replace(lambda lab: lab.view / "releases", nothing)),
    Trick("the folder of releases is a link", KEPT, replace(lambda lab: lab.view / "releases", link_to(None))),
    Trick("the folder of releases is a fifo", KEPT, replace(lambda lab: lab.view / "releases", make_fifo)),
    Trick("the folder of channels is gone", KEPT, replace(lambda lab: lab.view / "channels", nothing), False),
    Trick("the folder of channels is a link", KEPT, replace(lambda lab: lab.view / "channels", link_to(None)), False),
    Trick("the folder of channels is a fifo", KEPT, replace(lambda lab: lab.view / "channels", make_fifo), False),
    Trick("the folder of the view is gone", KEPT, replace(lambda lab: lab.view, nothing), False),
    Trick("the folder of all views is a link", KEPT, replace(lambda lab: lab.root / "views", link_to(None)), False),
    Trick("the folder of projects is gone", TAKEN, replace(lambda lab: lab.root / "projects", nothing)),
    Trick("the folder of projects is a fifo", TAKEN, replace(lambda lab: lab.root / "projects", make_fifo)),
    Trick("the store is gone", KEPT, replace(lambda lab: lab.root, nothing), False),
    Trick("the store is a file", KEPT, replace(lambda lab: lab.root, make_file), False),
    Trick("the store is a fifo", KEPT, replace(lambda lab: lab.root, make_fifo), False),
    Trick("the store is an empty folder", KEPT, replace(lambda lab: lab.root, KINDS["folder"]), False),
    Trick("the store is a link to nothing", KEPT, replace(lambda lab: lab.root, link_to("/nowhere")), False),
    Trick("the store is a link to a copy", TAKEN, replace(lambda lab: lab.root, copy_elsewhere)),
]

TRICKS = [
    *kinds_of("channel", KEPT, lambda lab: lab.channel, KINDS | LONGER),
    *kinds_of("manifest", KEPT, lambda lab: lab.manifest, KINDS | LONGER),
    *kinds_of("first shard", KEPT, lambda lab: lab.shards()[0], KINDS | LONGER | SHARD_KINDS),
    *kinds_of("last shard", KEPT, lambda lab: lab.shards()[-1], KINDS | LONGER | SHARD_KINDS),
    *kinds_of("project", TAKEN, lambda lab: lab.project, KINDS | LONGER),
    *document_tricks("channel", DOCUMENTS | CHANNELS),
    *document_tricks("manifest", DOCUMENTS | MANIFESTS),
    *PLACES,
]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="pil-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        found = Lab(folder)
        stack.callback(found.daemon.destroy)
        found.wait_ready()
        yield found
        assert found.daemon.stop() == 0, found.daemon.log
        found.daemon.check_log("child ended")


@pytest.mark.parametrize("trick", TRICKS, ids=lambda trick: trick.name.replace(" ", "-"))
def test_trick(lab, trick):
    if lab.broken_by is not None:
        pytest.skip(f"the daemon has not recovered from: {lab.broken_by}")
    lab.play(trick)


def test_after_all_tricks(lab):
    lab.point(lab.releases[2])
    lab.wait_served(lab.releases[2])
    lab.check_values(3)
    harness.wait_until("descriptors are closed", lambda: lab.count_descriptors() <= lab.descriptors)
