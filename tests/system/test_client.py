# SPDX-License-Identifier: Apache-2.0
"""libpillion against the real daemon, by the programs of docs/examples: the same rows mapped and over the socket,
swaps, refusals, a killed server; and the library as others get it: installed, found by pkg-config and by CMake."""

from __future__ import annotations

import ctypes
import math
import os
import re
import shutil
import signal
import struct
import subprocess
from pathlib import Path
from typing import Any

import harness
import pytest
import synthetic

VIEW = "rides/driver_stats"
PINNED = f'pillion_mapped_pinned_bytes{{view="{VIEW}"}}'
SYMBOLS = harness.ROOT / "src" / "client" / "pillion.map"


@pytest.fixture
def start(store, start_pilliond, folder):
    def start(map_rule: str = "", serve: str = VIEW, **options: Any) -> Any:
        config = folder / "pilliond.yaml"
        config.write_text(f"serve:\n  - {{view: {serve}, channel: production{map_rule}}}\n")
        path = folder / "mapped.sock"
        daemon = start_pilliond(
            store, serve=[], args=["--config", str(config), "--listen", f"mapped=unix:{path}"], **options
        )
        daemon.mapped = f"unix:{path}"
        return daemon

    return start


def vectors(mapped: str, resp: str, *keys: int, service: str = "every") -> tuple[list[list[float]], str]:
    """The rows that the example prints, and what it says of them."""
    done = harness.run([harness.program("pillion-example-vectors"), mapped, resp, service, *map(str, keys)])
    *rows, said = done.stdout.splitlines()
    return [[float(x) for x in row.partition(":")[2].partition("|")[0].split()] for row in rows], said


def expected(key: int, seed: int = 1, features: int = 10) -> list[float]:
    return list(synthetic.row("floats", key, seed, features).values())


def test_mapped_and_socket_give_the_same(store, start):
    release = store.make_release(rows=3000, args=("--shard-bits", "2")).rpartition("@")[2]
    daemon = start()
    keys = [0, 1, 17, 2999]
    for mapped, resp, how in (
        (daemon.mapped, "-", "mapped"),
        ("-", daemon.resp_unix, "over the socket"),
        ("-", daemon.resp_tcp, "over the socket"),
        ("unix:/nonexistent", daemon.resp_unix, "over the socket"),
    ):
        rows, said = vectors(mapped, resp, *keys)
        assert rows == [expected(key) for key in keys]
        assert said.startswith(f"{how}, release {release}, ") and said.endswith(", 0 not found")
        rows, said = vectors(mapped, resp, 5, 3000)
        assert rows[0] == expected(5) and all(math.isnan(x) for x in rows[1])
        assert said.endswith(", 1 not found")


def test_a_view_that_may_not_be_mapped_comes_over_the_socket(store, start):
    store.make_release(rows=100)
    daemon = start(map_rule=", map: {uids: [4294967294]}")
    rows, said = vectors(daemon.mapped, daemon.resp_unix, 7)
    assert rows == [expected(7)] and said.startswith("over the socket")
    done = harness.run([harness.program("pillion-example-vectors"), daemon.mapped, "-", "every", "7"], code=1)
    assert "permission denied" in done.stderr and "may not be mapped by uid" in done.stderr


def test_what_is_not_there_is_named(store, start):
    store.make_release(rows=100)
    daemon = start()
    for mapped, resp in ((daemon.mapped, "-"), ("-", daemon.resp_unix)):
        done = harness.run([harness.program("pillion-example-vectors"), mapped, resp, "none", "7"], code=1)
        assert "service" in done.stderr and "none" in done.stderr


def test_latency_is_told_of_both_ways(store, start):
    store.make_release(rows=100)
    daemon = start()
    program = harness.program("pillion-example-latency")
    done = harness.run([program, daemon.mapped, daemon.resp_unix, "every", "7", "8", "100"])
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[:2] for line in lines] == [["mapped", "3"], ["socket", "3"]]
    assert all(0 < float(line[3]) <= float(line[5]) for line in lines)
    done = harness.run([program, "unix:/nonexistent", daemon.resp_unix, "every", "7"], code=1)
    assert done.stderr.startswith("mapped: unavailable: ")


def test_a_running_client_follows_swaps_and_restarts(store, start, folder):
    first = store.make_release(rows=100, seed=1).rpartition("@")[2]
    daemon = start()
    argv = [harness.program("pillion-example-freshness"), daemon.mapped, "-", "every", "5", "600"]
    watcher = harness.Process("freshness", argv, folder)
    try:
        harness.wait_until("the first release", lambda: f"release {first} generation 1 current" in watcher.log)
        second = store.make_release(rows=100, seed=2).rpartition("@")[2]
        harness.wait_until("the second release", lambda: f"release {second} generation 2 current" in watcher.log)
        os.kill(daemon.child("server"), signal.SIGKILL)
        third = store.make_release(rows=100, seed=3).rpartition("@")[2]
        harness.wait_until(
            "the third release", lambda: any(third in line and "current" in line for line in watcher.log.splitlines())
        )
        server = daemon.child("server")
        os.kill(server, signal.SIGSTOP)
        harness.wait_until("staleness", lambda: watcher.log.splitlines()[-1].endswith("stale, older than an hour"))
        os.kill(server, signal.SIGCONT)
        harness.wait_until("the server again", lambda: "current" in watcher.log.splitlines()[-1])
        assert watcher.alive()
    finally:
        watcher.destroy()


def test_calls_unmap_what_was_replaced(store, start, folder):
    """Slice by slice, so it takes some: also when nothing but a call now and then does it."""
    first = store.make_release(rows=100_000, features=40, seed=1).rpartition("@")[2]
    daemon = start()
    argv = [harness.program("pillion-example-freshness"), daemon.mapped, "-", "every", "5", "600"]
    watcher = harness.Process("freshness", argv, folder)

    def mapped() -> dict[str, int]:
        sizes: dict[str, int] = {}
        for line in Path(f"/proc/{watcher.pid}/maps").read_text().splitlines():
            if found := re.match("(.*?)-(.*?) .*memfd:pillion-([0-9a-f]{16})-", line):
                sizes[found[3]] = sizes.get(found[3], 0) + int(found[2], 16) - int(found[1], 16)
        return sizes

    try:
        harness.wait_until("the first release", lambda: f"release {first} generation 1 current" in watcher.log)
        assert mapped()[first] > 100_000 * 40 * 4
        second = store.make_release(rows=100_000, features=40, seed=2).rpartition("@")[2]
        harness.wait_until("the second release alone", lambda: set(mapped()) == {second})
        assert mapped()[second] > 100_000 * 40 * 4
        harness.wait_until("the server knows", lambda: daemon.metrics()[PINNED] == 0)
    finally:
        watcher.destroy()


def test_columns_of_strings(store, start):
    store.make_release(view="all_types", rows=40, kind="all")
    daemon = start(serve="rides/all_types")
    keys = list(range(41))
    done = harness.run([harness.program("pillion-example-columns"), daemon.mapped, "all_types:string", *map(str, keys)])
    lines = done.stdout.splitlines()
    for key, line in zip(keys, lines):
        text = synthetic.row("all", key, 1)["string"] if key < 40 else None
        status = 3 if key == 40 else 2 if text is None else 1
        assert line == f"{key}: status {status} '{text or ''}'"


# ---- By ctypes: what the examples do not do.


class Options(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("mapped", ctypes.c_char_p), ("resp", ctypes.c_char_p)]


class PlanOptions(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_size_t),
        ("service", ctypes.c_char_p),
        ("features", ctypes.POINTER(ctypes.c_char_p)),
        ("feature_count", ctypes.c_uint32),
        ("dtype", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("max_age_us", ctypes.c_int64),
    ]


class KeyColumn(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_uint32), ("values", ctypes.c_void_p), ("offsets", ctypes.c_void_p)]


class Keys(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_size_t),
        ("count", ctypes.c_size_t),
        ("column_count", ctypes.c_uint32),
        ("columns", KeyColumn * 16),
    ]


class Output(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_size_t),
        ("values", ctypes.c_void_p),
        ("value_bytes", ctypes.c_size_t),
        ("statuses", ctypes.c_void_p),
        ("event_ts_us", ctypes.c_void_p),
    ]


def pair_vectors(
    mapped: str | None, resp: str | None, keys: list[tuple[int, str]], features: list[str], **plan_options: int
) -> tuple[int, bytes, bytes, bytes]:
    """Result, values, statuses and times of keys of an integer and a text, as float64."""
    lib = ctypes.CDLL(str(library()))
    client, plan, error = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.create_string_buffer(512)
    options = Options(ctypes.sizeof(Options), mapped and mapped.encode(), resp and resp.encode())
    assert lib.pillion_open(ctypes.byref(options), ctypes.byref(client), error) == 0, error.value
    names = (ctypes.c_char_p * len(features))(*(name.encode() for name in features))
    what = PlanOptions(ctypes.sizeof(PlanOptions), None, names, len(features), 1, **plan_options)
    assert lib.pillion_plan(client, ctypes.byref(what), ctypes.byref(plan), error) == 0, error.value
    count = len(keys)
    ids = (ctypes.c_int64 * count)(*(key for key, _ in keys))
    texts = [text.encode() for _, text in keys]
    blob = ctypes.create_string_buffer(b"".join(texts))
    offsets = (ctypes.c_int32 * (count + 1))(*(sum(map(len, texts[:i])) for i in range(count + 1)))
    given = Keys(ctypes.sizeof(Keys), count, 2)
    given.columns[0] = KeyColumn(0, ctypes.addressof(ids), None)
    given.columns[1] = KeyColumn(2, ctypes.addressof(blob), ctypes.addressof(offsets))
    values = ctypes.create_string_buffer(b"\xee" * (8 * count * len(features)))
    statuses = ctypes.create_string_buffer(count * len(features))
    times = ctypes.create_string_buffer(8 * count)
    places = (ctypes.addressof(values), len(values), ctypes.addressof(statuses), ctypes.addressof(times))
    output = Output(ctypes.sizeof(Output), *places)
    result = lib.pillion_get(plan, ctypes.byref(given), ctypes.byref(output), None)
    lib.pillion_close(ctypes.byref(client))
    return result, values.raw, statuses.raw, times.raw


@pytest.mark.parametrize("options", [{}, {"flags": 1}, {"max_age_us": 1000}], ids=["plain", "defaults", "max_age"])
def test_text_keys_give_the_same_both_ways(store, start, options):
    store.make_release(view="all_types", rows=60, kind="all", args=("--key", "pair"))
    daemon = start(serve="rides/all_types")
    features = [f"all_types:{name}" for name in ("float64", "int64", "bool", "float32", "int32")]
    keys = [(key, f"z{key % 7}") for key in range(61)] + [(1, "a|b\\c"), (2, "")]
    mapped = pair_vectors(daemon.mapped, None, keys, features, **options)
    assert mapped[0] == 0
    assert mapped == pair_vectors(None, daemon.resp_unix, keys, features, **options)
    rows = [mapped[2][i * 5 : i * 5 + 5] for i in range(len(keys))]
    assert [row == b"\3" * 5 for row in rows] == [key >= 60 or text in ("a|b\\c", "") for key, text in keys]
    for key in range(60):
        row = synthetic.row("all", key, 1)
        for i, feature in enumerate(features):
            want = row[feature.partition(":")[2]]
            got = struct.unpack_from("<d", mapped[1], 8 * (key * 5 + i))[0]
            assert math.isnan(got) if want is None else got == want


# ---- The library as others get it.


def library() -> Path:
    path = harness.BIN_DIR.parent / "lib" / "libpillion.so.0"
    if not path.exists():
        pytest.skip(f"{path} is not built")
    return path


def test_exports_what_the_list_says_and_nothing_else():
    listed = {line.strip(" ;") for line in SYMBOLS.read_text().splitlines() if line.startswith("    pillion_")}
    shared = harness.run([harness.tool("nm"), "-D", "--defined-only", library()]).stdout
    assert {line.split()[-1].partition("@")[0] for line in shared.splitlines()} - {"PILLION_0"} == listed
    static = harness.run([harness.tool("nm"), "-g", "--defined-only", library().with_name("libpillion.a")]).stdout
    assert {line.split()[-1] for line in static.splitlines() if len(line.split()) == 3} == listed
    header = (harness.ROOT / "include" / "pillion" / "client.h").read_text()
    assert all(f"{name}(" in header for name in listed)


def test_needs_no_allocator_of_ours():
    needed = harness.run([harness.tool("readelf"), "-d", library()]).stdout
    assert "libpillion.so.0" in needed and "mimalloc" not in needed and "liburing" not in needed


def build_example(folder: Path, *flags: str) -> None:
    source = harness.ROOT / "docs" / "examples" / "vectors.c"
    harness.run([harness.tool("cc"), "-o", folder / "vectors", source, *flags])
    harness.run([folder / "vectors"], code=2, env={**os.environ, "LD_LIBRARY_PATH": str(folder / "prefix" / "lib")})


def test_is_found_by_pkg_config_and_cmake(folder):
    library()
    cmake, prefix = harness.tool("cmake"), folder / "prefix"
    harness.run([cmake, "--install", harness.BIN_DIR.parent, "--prefix", prefix, "--component", "libpillion"])
    lib = next(prefix.rglob("libpillion.a")).parent
    man = prefix / "share" / "man" / "man3" / "libpillion.3"
    assert man.exists()
    if shutil.which("pkg-config"):
        env = {**os.environ, "PKG_CONFIG_PATH": str(lib / "pkgconfig")}
        define = f"--define-variable=prefix={prefix}"
        for static in ((), ("--static",)):
            command = ["pkg-config", define, "--cflags", "--libs", *static, "pillion"]
            flags = subprocess.run(command, env=env, text=True, capture_output=True, check=True).stdout.split()
            build_example(folder, *flags, f"-Wl,-rpath,{lib}")
        build_example(folder, f"-I{prefix}/include", str(lib / "libpillion.a"), "-lcrypto", "-lm")
    project = folder / "project"
    project.mkdir()
    shutil.copy(harness.ROOT / "docs" / "examples" / "vectors.c", project)
    (project / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.25)\nproject(x C)\nfind_package(Pillion REQUIRED)\n"
        "add_executable(vectors vectors.c)\ntarget_link_libraries(vectors PRIVATE Pillion::pillion)\n"
    )
    harness.run([cmake, "-G", "Ninja", "-S", project, "-B", project / "build", f"-DCMAKE_PREFIX_PATH={prefix}"])
    harness.run([cmake, "--build", project / "build"])
    harness.run([project / "build" / "vectors"], code=2)
