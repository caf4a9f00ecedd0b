# SPDX-License-Identifier: Apache-2.0
"""libpillion against the real daemon, by the programs of docs/examples: the same rows mapped and over the socket, swaps,
refusals, a killed server; and the library as others get it: installed, found by pkg-config and by CMake."""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import harness
import pytest
import synthetic

VIEW = "rides/driver_stats"
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


def test_columns_of_strings(store, start):
    store.make_release(view="all_types", rows=40, kind="all")
    daemon = start(serve="rides/all_types")
    keys = list(range(41))
    done = harness.run(
        [harness.program("pillion-example-columns"), daemon.mapped, "all_types:string", *map(str, keys)]
    )
    lines = done.stdout.splitlines()
    for key, line in zip(keys, lines):
        text = synthetic.row("all", key, 1)["string"] if key < 40 else None
        status = 3 if key == 40 else 2 if text is None else 1
        assert line == f"{key}: status {status} '{text or ''}'"


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
        build_example(folder, f"-I{prefix}/include", str(lib / "libpillion.a"), "-ljansson", "-lcrypto", "-lm")
    project = folder / "project"
    project.mkdir()
    shutil.copy(harness.ROOT / "docs" / "examples" / "vectors.c", project)
    (project / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.25)\nproject(x C)\nfind_package(Pillion REQUIRED)\n"
        "add_executable(vectors vectors.c)\ntarget_link_libraries(vectors PRIVATE Pillion::pillion)\n"
    )
    harness.run([cmake, "-S", project, "-B", project / "build", f"-DCMAKE_PREFIX_PATH={prefix}"])
    harness.run([cmake, "--build", project / "build"])
    harness.run([project / "build" / "vectors"], code=2)
