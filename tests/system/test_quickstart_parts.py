# SPDX-License-Identifier: Apache-2.0
"""Goal: what the quickstart says can be believed: its checkers find what is wrong, its set-up does what it prints.

Method: truth is compared with rows written by hand; the load checker runs against a redis-server that holds right rows,
then a wrong one, then dies; the port checker against sockets of this test. The story as a whole is
deploy/quickstart.sh.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import harness
import pytest

QUICKSTART = harness.ROOT / "deploy" / "quickstart"
sys.path.insert(0, str(QUICKSTART))
duckdb = pytest.importorskip("duckdb")
truth = pytest.importorskip("truth")

FEATURES = [("rate", "float32"), ("trips", "int32"), ("seen", "unix_timestamp"), ("taste", "vector<float32,2>")]
AS_OF = "2026-01-02T00:00:00Z"


@pytest.fixture
def files(folder: Path) -> str:
    """Driver 1: late, duplicate and corrected events; driver 2: only before the as-of; driver 3: only after it."""
    path = folder / "part.parquet"
    duckdb.connect().execute(
        """COPY (SELECT id AS driver_id, happened::TIMESTAMPTZ AS event_timestamp, made::TIMESTAMPTZ AS created,
                        rate::FLOAT AS rate, trips::INT AS trips, happened::TIMESTAMPTZ AS seen,
                        [rate::FLOAT, 0.5::FLOAT] AS taste FROM (VALUES
             (1, '2026-01-01 10:00:00Z', '2026-01-01 10:00:05Z', 0.1, 10),
             (1, '2026-01-01 11:00:00Z', '2026-01-01 11:00:05Z', 0.2, 11),
             (1, '2026-01-01 11:00:00Z', '2026-01-01 11:30:00Z', 0.3, NULL),
             (1, '2026-01-01 09:00:00Z', '2026-01-01 23:00:00Z', 0.4, 12),
             (1, '2026-01-02 05:00:00Z', '2026-01-02 05:00:01Z', 0.5, 13),
             (2, '2026-01-01 10:00:00Z', '2026-01-01 10:00:05Z', 0.6, 14),
             (3, '2026-01-02 10:00:00Z', '2026-01-02 10:00:05Z', 0.7, 15)) v(id, happened, made, rate, trips))
           TO '"""
        + f"{path}' (FORMAT parquet)"
    )
    return str(path)


@pytest.fixture
def view(folder: Path) -> Any:
    manifest = folder / "store" / "views" / "rides" / "driver_stats" / "releases" / "abc.json"
    manifest.parent.mkdir(parents=True)
    schema = {
        "entities": [{"join_key": "driver_id", "type": "int64"}],
        "features": [{"name": name, "type": kind} for name, kind in FEATURES],
    }
    manifest.write_text(json.dumps({"schema": schema}))
    return truth.view_of(folder / "store", "rides/driver_stats@abc")


def rows(view: Any, files: str, as_of: str | None) -> dict[Any, Any]:
    return {key[0]: row for key, row in truth.Truth(view, files, as_of).sample(10)}


def test_truth_takes_the_latest_event_and_then_the_latest_correction(view: Any, files: str) -> None:
    found = rows(view, files, AS_OF)
    assert set(found) == {1, 2}
    assert found[1]["trips"] is None and found[1]["rate"] == pytest.approx(0.3)
    assert rows(view, files, None)[1]["trips"] == 13
    assert set(rows(view, files, None)) == {1, 2, 3}


def test_values_are_compared_without_rounding(view: Any) -> None:
    rate, trips, seen, taste = view.features
    assert truth.value_of("0.1", rate) == truth.value_of(0.10000000149011612, rate)
    assert truth.value_of("0.1", rate) != truth.value_of("0.10000001", rate)
    assert truth.value_of("7", trips) == 7 and truth.value_of(None, trips) is None
    assert truth.value_of("1767261600.5", seen) == 1767261600500000
    assert truth.value_of("[0.1, 1.0]", taste) == (truth.value_of("0.1", rate), 1.0)
    assert truth.value_of("nan", rate) == truth.value_of("NaN", rate)


def test_parts_of_composite_keys_are_escaped() -> None:
    assert truth.key_text([7]) == "7" and truth.key_text(["a|b"]) == "a|b"
    assert truth.key_text(["a|b", "c\\d", 7]) == "a\\|b|c\\\\d|7"


def fill(server: harness.RedisServer, view: Any, found: dict[Any, Any]) -> None:
    with server.redis().pipeline(transaction=True) as pipe:
        for key, row in found.items():
            pipe.delete(f"driver_stats:{key}")
            texts = {"rate": repr(row["rate"]), "seen": str(row["seen"] // 1000000), "taste": json.dumps(row["taste"])}
            texts |= {} if row["trips"] is None else {"trips": str(row["trips"])}
            pipe.hset(f"driver_stats:{key}", mapping=texts)
        pipe.execute()


def swap(folder: Path, server: harness.RedisServer, files: str, code: int, *phases: str) -> str:
    argv = [sys.executable, str(QUICKSTART / "swap.py"), "--store", str(folder / "store"), "--release"]
    argv += ["rides/driver_stats@abc", "--files", files, "--as-of", AS_OF, "--quiet", "0.2", "--socket", server.path]
    done = harness.run([*argv, "--", *phases], code=code, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    return done.stdout + done.stderr


def test_load_checker_accepts_right_answers(
    folder: Path, redis_server: harness.RedisServer, view: Any, files: str
) -> None:
    fill(redis_server, view, rows(view, files, AS_OF))
    printed = swap(folder, redis_server, files, 0, "pause=true")
    assert "2 entities, 1 of which the new release changes" in printed
    assert "the first release" in printed


def test_load_checker_sees_a_wrong_value(
    folder: Path, redis_server: harness.RedisServer, view: Any, files: str
) -> None:
    fill(redis_server, view, rows(view, files, AS_OF))
    client = harness.tool("redis-cli")
    printed = swap(folder, redis_server, files, 1, f"bad={client} -s {redis_server.path} hset driver_stats:2 trips 99")
    assert "'trips': 99" in printed


def test_load_checker_sees_a_mixed_row(folder: Path, redis_server: harness.RedisServer, view: Any, files: str) -> None:
    fill(redis_server, view, rows(view, files, AS_OF))
    client = harness.tool("redis-cli")
    printed = swap(folder, redis_server, files, 1, f"mix={client} -s {redis_server.path} hset driver_stats:1 trips 13")
    assert "wrong" in printed and "new one" in printed


def test_load_checker_sees_a_lost_server_and_a_failed_command(
    folder: Path, redis_server: harness.RedisServer, view: Any, files: str
) -> None:
    fill(redis_server, view, rows(view, files, AS_OF))
    assert "false: exit 1" in swap(folder, redis_server, files, 1, "broken=false")
    assert "\n    die: " in swap(folder, redis_server, files, 1, f"die=kill -9 {redis_server.pid}")


def test_who_holds_a_port_or_a_socket_is_named(folder: Path) -> None:
    holder = [sys.executable, str(QUICKSTART / "holder.py")]
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as unix:
        tcp.bind(("127.0.0.1", 0))
        unix.bind(str(folder / "x.sock"))
        port = str(tcp.getsockname()[1])
        harness.run([*holder, port])
        tcp.listen()
        unix.listen()
        printed = harness.run([*holder, port, str(folder / "x.sock"), str(folder / "y.sock")], code=1).stdout
        assert printed.count(f"is in use by process {os.getpid()}: ") == 2
    harness.run([*holder, port])


def test_unknown_options_are_refused() -> None:
    for script in ("deploy/quickstart.sh", "tests/run.sh"):
        path = str(harness.ROOT / script)
        assert "usage: " in harness.run(["bash", path, "--help"]).stdout
        assert "usage: " in harness.run(["bash", path, "--frobnicate"], code=2).stderr


def setup(script: str, code: int = 0) -> str:
    done = harness.run(["bash", "-c", f". {harness.ROOT}/deploy/setup.sh; {script}"], code=code)
    return done.stdout + done.stderr


def test_a_failed_step_shows_the_end_of_its_log_and_keeps_the_exit_code() -> None:
    printed = setup("step 'self test: failure' bash -c 'echo what went wrong; exit 7'", code=7)
    assert "what went wrong" in printed and "exit 7" in printed


def test_a_stamped_step_runs_once_for_one_hash(folder: Path) -> None:
    script = f"build={folder}; mkdir -p $build/log; stamped x h1 'self test' bash -c 'echo run >>{folder}/runs'"
    setup(script)
    setup(script)
    assert (folder / "runs").read_text() == "run\n"
    setup(script.replace("h1", "h2"))
    assert (folder / "runs").read_text() == "run\nrun\n"


def test_a_step_that_failed_is_not_stamped(folder: Path) -> None:
    setup(f"build={folder}; mkdir -p $build/log; stamped x h1 'self test' false", code=1)
    assert not (folder / ".setup-x").exists()
