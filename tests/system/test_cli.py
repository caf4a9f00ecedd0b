# SPDX-License-Identifier: Apache-2.0
"""`pillion` as its users run it: the built program, real stores, a real pilliond; output, exit codes, JSON.

Exit codes: 0 done, 1 mistakes found or refused, 2 the command line is wrong, 3 input or output failed.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable

import harness
import pytest
import synthetic
from cli import PROJECT, channel_of, manifest_of, pillion, pillion_json, says, shard_files
from screens import Screen

COMMANDS = (
    "check apply build releases promote rollback pin unpin inspect verify gc get status hist top slowlog " "completion"
).split()
NOBODY = "0123456789abcdef"

@pytest.fixture
def project(folder: Path) -> Path:
    path = folder / "rides.yaml"
    path.write_text(PROJECT)
    return path


# ---- Help, names, exit codes


def test_help_lists_every_command_and_each_explains_itself() -> None:
    overview = pillion("--help").stdout
    everything = pillion("help").stdout
    for command in COMMANDS:
        assert re.search(rf"^  {command} ", overview, re.M), command
        assert f"usage: pillion {command}" in everything
        assert pillion("help", command).stdout in everything
    for command in set(COMMANDS) - {"build"}:
        assert pillion(command, "--help").stdout == pillion("help", command).stdout
    assert "exit codes" in overview
    assert re.fullmatch(r"pillion \d+\.\d+\.\d+\n", pillion("--version").stdout)


@pytest.mark.parametrize(
    "args, word",
    [
        ([], "--help"),
        (["releses"], "did you mean releases"),
        (["help", "promot"], "did you mean promote"),
        (["promote", "--chanel", "x"], "did you mean --channel"),
        (["../evil"], "no command"),
        (["promote"], "--store"),
        (["promote", "--store", "dir:x", "a/b@c"], "--channel"),
        (["promote", "--store"], "--store needs a value"),
        (["apply", "--store=dir:x"], "missing argument: FILE"),
        (["apply", "--store=dir:x", "a", "b"], "too many arguments"),
        (["apply", "--stor=dir:x", "a"], "unknown option --stor"),
        (["apply", "--force=yes", "a"], "has no value"),
        (["gc", "--store", "dir:x", "--keep", "-1"], "--keep -1"),
        (["gc", "--store", "dir:x", "--keep", "1x"], "--keep 1x"),
        (["gc", "--store", "dir:x", "--keep", "1", "--grace", "soon"], "--grace soon"),
        (["inspect", "x", "--rows", "many"], "--rows many"),
        (["releases", "--store", "s3://bucket"], "dir:PATH"),
        (["completion", "csh"], "bash zsh fish"),
        (["get", "--socket", "localhost:1", "v", "1"], "unix:/PATH"),
        (["help", "nonsense"], "name of a command"),
    ],
)
def test_a_wrong_command_line_is_exit_2_and_says_what_is_right(args: list[str], word: str) -> None:
    done = pillion(*args, code=2)
    says(done, word)
    assert done.stdout == ""


def test_unknown_commands_are_programs(folder: Path) -> None:
    script = folder / "pillion-hello"
    script.write_text('#!/bin/sh\necho "hello $*"\nexit 7\n')
    script.chmod(stat.S_IRWXU)
    env = {"PATH": f"{folder}:{os.environ['PATH']}"}
    assert pillion("hello", "a", "--b", code=7, env=env).stdout == "hello a --b\n"
    says(pillion("hello", code=2), "pillion-hello")
    says(pillion("build", "x.yaml", code=2, env={"PATH": "/nonexistent"}), "pillion-build", "PATH")
    # Beside the program, with an empty PATH; a working folder in PATH is not searched.
    beside = folder / "bin"
    beside.mkdir()
    shutil.copy(harness.program("pillion"), beside / "pillion")
    script.rename(beside / "pillion-hello")
    assert harness.run([beside / "pillion", "hello"], code=7, env={"PATH": ""}).stdout == "hello \n"
    harness.run([harness.program("pillion"), "hello"], code=2, env={"PATH": ":"}, cwd=beside)


def test_output_that_cannot_be_written_is_exit_3() -> None:
    with open("/dev/full", "w", encoding="utf8") as full:
        done = subprocess.run(
            [harness.program("pillion"), "help"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 3
    says(done, "No space left")


def test_text_from_outside_cannot_command_the_terminal(store: harness.Store) -> None:
    store.make_release(channel=None)
    done = pillion("verify", "nothing\033[31m\u202e", code=None)
    assert "\033" not in done.stderr and "\u202e" not in done.stderr and "\\x1b[31m" in done.stderr


@pytest.mark.parametrize("command", ["build", "init"])
def test_the_options_of_programs_in_python_are_those_of_the_table(command: str) -> None:
    program = harness.run([sys.executable, "-m", f"pillion.{command}", "--help"]).stdout
    completed = re.findall(rf"seen_subcommand_from {command}' -l ([a-z-]+)", pillion("completion", "fish").stdout)
    assert len(completed) > 5
    assert set(completed) == set(re.findall(r"^  --([a-z-]+)", program, re.MULTILINE)) - {"version"}


# ---- check, apply


def test_check_names_every_mistake_with_its_place(project: Path) -> None:
    assert "no mistakes" in pillion("check", project).stdout
    assert pillion_json("check", project) == {"file": str(project), "ok": True, "mistakes": []}
    project.write_text(PROJECT.replace("float32}\nfeature", "float31}\nfeature").replace("type: int64", "type: int65"))
    done = pillion("check", project, code=1)
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all(re.match(rf"{re.escape(str(project))}:\d+:\d+: .+; .+", line) for line in lines), lines
    found = pillion_json("check", project, code=1)
    assert not found["ok"]
    assert [mistake["line"] for mistake in found["mistakes"]] == [3, 11]
    assert "int65" in found["mistakes"][0]["what"] and found["mistakes"][0]["fix"]


def test_a_file_that_cannot_be_read_is_named(folder: Path) -> None:
    done = pillion("check", folder / "none.yaml", code=3)
    assert f"{folder / 'none.yaml'}:1:1: open {folder / 'none.yaml'}: No such file" in done.stdout and not done.stderr
    done = pillion("inspect", folder / "none.shard", code=3)
    says(done, "none.shard", "No such file")
    says(pillion("inspect", folder, code=1), "not a regular file")
    if os.geteuid() != 0:
        (folder / "secret").touch(mode=0)
        says(pillion("verify", folder / "secret", code=3), "Permission denied")


def test_apply_is_idempotent(project: Path, store: harness.Store) -> None:
    assert "version 1" in store.pillion("apply", str(project)).stdout
    path = store.path / "projects" / "rides.json"
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    assert "already" in store.pillion("apply", str(project)).stdout
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    applied = pillion_json("apply", project, "--store", store.url)
    assert applied == {"project": "rides", "sequence": 1, "changed": False, "breaking": []}
    assert json.loads(before[0])["project"]["project"] == "rides"
    project.write_text("project: [")
    done = store.pillion("apply", str(project), code=1)
    assert str(project) in done.stderr and path.read_bytes() == before[0]


def test_apply_does_not_break_a_view_in_use(project: Path, store: harness.Store) -> None:
    store.make_release(features=2)
    project.write_text(PROJECT.replace("name: f1, type: float32", "name: f1, type: int64"))
    done = store.pillion("apply", str(project), code=1)
    assert "f1" in done.stderr and "--force" in done.stderr
    forced = pillion_json("apply", project, "--store", store.url, "--force")
    assert forced["changed"] and any("f1 changes its type" in line for line in forced["breaking"])


def test_get_knows_names_that_are_near(
    store: harness.Store, start_pilliond: Callable[..., harness.Pilliond]
) -> None:
    store.make_release(features=3)
    socket_of = ["--socket", start_pilliond(store).resp_unix]
    says(pillion("get", *socket_of, "driver_stat", "1", code=1), "did you mean driver_stats?")
    says(pillion("get", *socket_of, "rides/driver_stat", "1", code=1), "did you mean rides/driver_stats?")
    assert "did you mean" not in pillion("get", *socket_of, "something_else", "1", code=1).stderr
    wrong = pillion("get", *socket_of, "driver_stats", "1", "--features", "f0,ff1", code=1)
    says(wrong, "no feature 'ff1'; did you mean f1?")
    assert wrong.stdout == ""
    # A feature that is null everywhere is no mistake.
    assert "f1" in pillion("get", *socket_of, "driver_stats", "987654321", "--features", "f1").stdout


# ---- releases, channels


def test_releases_shows_what_channels_point_to(store: harness.Store) -> None:
    store.path.mkdir()
    assert store.pillion("releases").stdout == "no releases\n"
    first, second, third = (store.make_release(seed=seed, channel=None) for seed in (1, 2, 3))
    store.promote(first)
    store.pillion("pin", first, "--channel", "production")
    store.promote(second)
    store.promote(third, "staging")
    lines = store.pillion("releases").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["RELEASE", third, second, first]
    assert lines[1].endswith("staging")
    assert lines[2].endswith("production (held back)")
    assert lines[3].endswith("production (pinned)")
    listed = pillion_json("releases", "rides/driver_stats", "--store", store.url)
    assert [release["channels"] for release in listed] == [
        {"staging": "serves"},
        {"production": "held back"},
        {"production": "pinned"},
    ]
    assert listed[0]["rows"] == 1000 and listed[0]["shards"] == 1
    assert pillion_json("releases", "rides", "--store", store.url) == listed
    assert pillion_json("releases", "rides/other", "--store", store.url) == []
    assert pillion("releases", env={"PILLION_STORE": store.url}).stdout.splitlines() == lines


def test_releases_lists_the_good_beside_the_broken(store: harness.Store) -> None:
    ref = store.make_release()
    broken = store.path / "views/rides/driver_stats/releases" / f"{NOBODY}.json"
    broken.write_text("{}")
    (store.path / "views/rides/driver_stats/channels/odd.json").write_text("nonsense")
    done = store.pillion("releases", code=4)
    assert ref in done.stdout and f"{NOBODY}.json" in done.stderr and "odd.json" in done.stderr


def test_a_channel_goes_forth_and_back(store: harness.Store) -> None:
    first, second = (store.make_release(seed=seed, channel=None) for seed in (1, 2))
    ids = [ref.rpartition("@")[2] for ref in (first, second)]
    arguments = ["--channel", "production", "--store", store.url]
    moved = pillion_json("promote", first, *arguments)
    assert moved["changed"] and moved["release"] == ids[0] and moved["served_before"] is None and moved["sequence"] == 1
    assert not pillion_json("promote", first, *arguments)["changed"]
    assert f"now at {ids[1]}, before at {ids[0]}" in pillion("promote", second, *arguments).stdout
    assert pillion_json("rollback", "rides/driver_stats", *arguments)["release"] == ids[0]
    says(pillion("rollback", "rides/driver_stats", *arguments, code=1), "no release before")
    assert "pinned" in pillion("pin", "rides/driver_stats", *arguments).stdout
    pinned = pillion_json("promote", second, *arguments)
    assert pinned["release"] == ids[1] and pinned["pinned"] == pinned["serves"] == ids[0]
    assert pillion_json("unpin", "rides/driver_stats", *arguments)["serves"] == ids[1]
    # What a channel serves can be named by the channel.
    assert (
        pillion_json("promote", "rides/driver_stats@production", "--channel", "staging", "--store", store.url)[
            "release"
        ]
        == ids[1]
    )


@pytest.mark.parametrize(
    "command, what, code, word",
    [
        ("promote", "rides/driver_stats", 2, "expected rides/driver_stats@RELEASE"),
        ("promote", "rides/driver_stats@producton", 1, "did you mean production?"),
        ("promote", "rides/drivr_stats@latest", 1, "did you mean driver_stats?"),
        ("promote", "rides/driver_stats@0000000000000", 1, "begins with 0000000000000"),
        ("promote", "driver_stats@x", 2, "PROJECT/VIEW@RELEASE"),
        ("promote", f"rides/driver_stats@{NOBODY}", 1, f"no release {NOBODY}"),
        ("promote", "rides/driver_stats@nowhere", 1, "no channel nowhere"),
        ("rollback", f"rides/driver_stats@{NOBODY}", 2, "without a release"),
        ("rollback", "rides/other", 1, "no channel production"),
        ("unpin", "rides/other", 1, "no channel production"),
        ("pin", f"rides/driver_stats@{NOBODY}", 1, f"no release {NOBODY}"),
    ],
)
def test_what_cannot_be_pointed_to_is_refused(
    store: harness.Store, command: str, what: str, code: int, word: str
) -> None:
    store.make_release()
    before = channel_of(store)
    says(store.pillion(command, what, "--channel", "production", code=code), word)
    assert channel_of(store) == before


def test_a_store_that_is_not_there_is_named(folder: Path) -> None:
    says(pillion("releases", "--store", f"dir:{folder}/none", code=3), f"{folder}/none")
    assert not (folder / "none").exists()


def test_documents_follow_their_schemas(store: harness.Store) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    ref = store.make_release(kind="all")
    store.pillion("pin", ref, "--channel", "production")
    for name, document in (("manifest", manifest_of(store, ref)), ("channel", channel_of(store))):
        schema = json.loads((harness.ROOT / "schemas" / f"{name}.schema.json").read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.validate(document, schema)
        for member in schema["required"]:
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate({k: v for k, v in document.items() if k != member}, schema)


def test_promotions_that_are_killed_leave_the_store_whole(store: harness.Store) -> None:
    refs = [store.make_release(seed=seed, channel=None) for seed in range(3)]
    ids = {ref.rpartition("@")[2] for ref in refs}
    store.promote(refs[0])
    seed = int(os.environ.get("PIL_SEED", time.time_ns() % 1_000_000))
    print(f"PIL_SEED={seed}")
    chance = random.Random(seed)
    loop = 'while :; do for ref; do "$PILLION" promote "$ref" --channel production >/dev/null || exit 9; done; done'
    env = {**os.environ, "PILLION": harness.program("pillion"), "PILLION_STORE": store.url}
    begin = time.monotonic()
    store.promote(refs[1])
    window = 4 * (time.monotonic() - begin)
    sequence = channel_of(store)["sequence"]
    before_kills = sequence
    for _ in range(25):
        with subprocess.Popen(["sh", "-c", loop, "sh", *refs], env=env, start_new_session=True) as process:
            time.sleep(chance.uniform(0, window))  # the point of the kill is the point of the test
            assert process.poll() is None
            os.killpg(process.pid, signal.SIGKILL)
        channel = channel_of(store)
        assert channel["release"] in ids and channel["sequence"] >= sequence
        sequence = channel["sequence"]
    assert sequence > before_kills
    assert pillion_json("verify", store.url)["ok"]
    pillion("pin", refs[0], "--channel", "production", "--store", store.url)
    assert list((store.path / ".tmp").iterdir()) == []


# ---- inspect, verify, gc


def wanted_json(kind: str, value: Any) -> Any:
    """A value as inspect's JSON has it."""
    if value is None:
        return None
    if kind == "unix_timestamp":
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(value))
    return value


def test_inspect_shows_typed_values(store: harness.Store) -> None:
    ref = store.make_release(kind="all", rows=40, seed=5)
    found = pillion_json("inspect", ref, "--store", store.url, "--rows", "1000")
    assert found["rows"] == 40 and len(found["sample"]) == 40
    assert found["manifest"]["release"] == ref.rpartition("@")[2]
    assert found["sections"]["rows"] >= 40 * found["schema"]["layout"]["stride"]
    plain = (
        "bool",
        "int32",
        "int64",
        "float32",
        "float64",
        "string",
        "unix_timestamp",
        "list<int64>",
        "list<string>",
        "vector<float32,4>",
        "vector<float16,4>",
        "vector<int8,4>",
    )
    for row in found["sample"]:
        key = int(row["key"])
        assert row["event_timestamp"].startswith("2023-11-14T22:13:20")
        assert row["features"]["bytes"] == "(pii)"
        for name in plain:
            index = synthetic.TYPES.index(name)
            value = synthetic.value("all", key, index, 5)
            assert row["features"][synthetic.NAMES[index]] == wanted_json(name, value), (name, key)


def test_inspect_draws_a_release_and_a_file(store: harness.Store) -> None:
    ref = store.make_release(rows=500, features=20)
    text = store.pillion("inspect", ref, "--rows", "3").stdout
    for word in ("500 rows", "key id int64", "float32", "SECTION", "pilots", "bits of index", "KEY", "8 more features"):
        assert word in text, word
    assert "\033" not in text
    assert (
        store.pillion("inspect", "rides/driver_stats@production").stdout.splitlines()[1:]
        == store.pillion("inspect", ref).stdout.splitlines()[1:]
    )
    shard = shard_files(store, ref)[0]
    text = pillion("inspect", shard, "--rows", "0").stdout
    assert "shard 0 of 1, view rides/driver_stats" in text and "KEY" not in text
    assert pillion_json("inspect", shard)["sections"] == pillion_json("inspect", ref, "--store", store.url)["sections"]
    says(pillion("inspect", ref, code=2), "--store")


def test_inspect_draws_the_profile(store: harness.Store) -> None:
    """The profile as the builder writes it, put into a manifest; then one of nonsense."""
    ref = store.make_release(features=2, channel=None)
    path = store.path / "views/rides/driver_stats/releases" / f"{ref.rpartition('@')[2]}.json"
    document = json.loads(path.read_text())
    column = {
        "type": "float32",
        "count": 990,
        "nulls": 10,
        "distinct": 77,
        "measure": "value",
        "min": 0.5,
        "max": 9.5,
        "mean": 4.25,
        "stddev": 1.0,
        "histogram": {"min": 0.5, "max": 9.5, "counts": [0] * 31 + [8, 4] + [1] * 31},
        "top": [{"value": "a\x1b[31m", "count": 3}],
    }
    document["profile"] = {"rows": 1000, "features": {"f0": column}}
    path.write_text(json.dumps(document))
    text = store.pillion("inspect", ref, "--rows", "0").stdout
    line = next(line for line in text.splitlines() if line.split()[:2] == ["f0", "990"])
    assert "4.25" in line and "█" in line and "▂" in line and "a\\x1b[31m ×3" in line
    document["profile"] = {"features": {"f0": 7, "f1": {"histogram": {"counts": ["x", None, -1, 1e300]}, "top": 5}}}
    path.write_text(json.dumps(document))
    assert "f1" in store.pillion("inspect", ref).stdout


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def test_verify_finds_a_flipped_bit(store: harness.Store) -> None:
    ref = store.make_release()
    shard = shard_files(store, ref)[0]
    assert "0 problems" in pillion("verify", shard).stdout
    assert "0 problems" in store.pillion("verify", ref).stdout
    good = pillion_json("verify", store.url)
    assert good["ok"] and (good["shards"], good["releases"], good["channels"], good["projects"]) == (1, 1, 1, 1)
    flip(shard, shard.stat().st_size // 2)
    for arguments in ([shard], [ref, "--store", store.url], [store.url]):
        done = pillion("verify", *arguments, code=1)
        assert "1 problem" in done.stdout
        found = pillion_json("verify", *arguments, code=1)
        assert not found["ok"] and len(found["problems"]) == 1
    says(pillion("inspect", shard, code=4), shard.name)


def test_verify_lists_everything_that_is_wrong(store: harness.Store) -> None:
    refs = [store.make_release(seed=seed, channel=None) for seed in range(3)]
    store.promote(refs[0])
    store.promote(refs[1], "staging")
    shard_files(store, refs[2])[0].unlink()
    manifest = store.path / "views/rides/driver_stats/releases" / f"{refs[0].rpartition('@')[2]}.json"
    manifest.unlink()
    (store.path / "projects" / "rides.json").write_text("{")
    (store.path / "README.txt").write_text("not ours")
    found = pillion_json("verify", store.url, code=1)
    problems = "\n".join(found["problems"])
    assert len(found["problems"]) == 3, problems
    assert (
        "points to release" in problems and "projects/rides.json" in problems and refs[2].rpartition("@")[2] in problems
    )
    assert found["unreferenced_shards"] == 1 and found["foreign_objects"] == 1


def test_verify_knows_which_shard_is_which(store: harness.Store) -> None:
    """A whole shard under another one's name is no good."""
    a, b = (shard_files(store, store.make_release(seed=seed, channel=None))[0] for seed in (1, 2))
    shutil.copy(a, b)
    found = pillion_json("verify", store.url, code=1)
    assert len(found["problems"]) == 1 and b.stem in found["problems"][0]


def test_gc_keeps_what_is_needed(store: harness.Store) -> None:
    refs = [store.make_release(seed=seed, channel=None) for seed in range(5)]
    store.promote(refs[0])
    store.promote(refs[1])
    young = pillion_json("gc", "--keep", "1", "--store", store.url)
    assert young["releases_removed"] == 0 and young["releases_kept"] == 5
    dry = pillion_json("gc", "--keep", "1", "--grace", "0", "--dry-run", "--store", store.url)
    assert dry["dry_run"] and dry["releases_removed"] == 2 and dry["shards_removed"] == 2
    assert len(pillion_json("releases", "--store", store.url)) == 5
    assert "removed 2 releases and 2 shards" in store.pillion("gc", "--keep", "1", "--grace", "0").stdout
    left = {f"{r['project']}/{r['view']}@{r['release']}" for r in pillion_json("releases", "--store", store.url)}
    assert left == {refs[0], refs[1], refs[4]}
    assert pillion_json("verify", store.url)["unreferenced_shards"] == 0
    store.pillion("rollback", "rides/driver_stats", "--channel", "production")


def test_gc_removes_nothing_that_it_cannot_judge(store: harness.Store) -> None:
    store.make_release(channel=None)
    (store.path / "views/rides/driver_stats/releases" / f"{NOBODY}.json").write_text("{}")
    says(store.pillion("gc", "--keep", "0", "--grace", "0", code=4), "nothing was removed", NOBODY)
    assert len(list((store.path / "shards").glob("*/*.shard"))) == 1


# ---- get


def test_get_prints_a_table_and_json(store: harness.Store, start_pilliond: Callable[..., harness.Pilliond]) -> None:
    store.make_release(rows=100, features=3, seed=1)
    daemon = start_pilliond(store)
    for address in (daemon.resp_unix, daemon.resp_tcp):
        lines = pillion("get", "--socket", address, "driver_stats", "7", "8").stdout.splitlines()
        assert lines[0].split() == ["KEY", "f0", "f1", "f2"]
        assert lines[1].split() == ["7", *(f"{synthetic.value('floats', 7, i, 1):.1f}" for i in range(3))]
    done = pillion(
        "get", "--socket", daemon.resp_unix, "rides/driver_stats", "5", "100", "--features", "f2,f0", "--json"
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert rows == [
        {"f2": f"{synthetic.value('floats', 5, 2, 1):.1f}", "f0": f"{synthetic.value('floats', 5, 0, 1):.1f}"},
        {"f2": None, "f0": None},
    ]
    done = pillion("get", "--socket", daemon.resp_unix, "driver_stats", "100", "5")
    assert "100 (not found)" in done.stdout and "1 of 2 keys were not found" in done.stderr
    keys = [str(key) for key in range(100)] * 10
    done = pillion("get", "--socket", daemon.resp_unix, "--features", "f1", "--json", "driver_stats", *keys)
    assert [json.loads(line)["f1"] for line in done.stdout.splitlines()] == [
        f"{synthetic.value('floats', int(key), 1, 1):.1f}" for key in keys
    ]


def test_get_shows_nulls_and_all_types(store: harness.Store, start_pilliond: Callable[..., harness.Pilliond]) -> None:
    store.make_release(rows=30, kind="all", seed=2)
    daemon = start_pilliond(store)
    lines = pillion(
        "get", "--socket", daemon.resp_unix, "driver_stats", "0", "--features", "bool,int64,string"
    ).stdout.splitlines()
    assert lines[1].split(None, 3) == [
        "0",
        "null",
        str(synthetic.value("all", 0, 2, 2)),
        synthetic.value("all", 0, 5, 2),
    ]
    done = pillion("get", "--socket", daemon.resp_unix, "driver_stats", *map(str, range(30)), "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 30 and all(set(row) == set(synthetic.NAMES) for row in rows)
    assert [row["int64"] for row in rows] == [
        None if synthetic.value("all", key, 2, 2) is None else str(synthetic.value("all", key, 2, 2))
        for key in range(30)
    ]


def test_get_explains_what_went_wrong(
    store: harness.Store, folder: Path, start_pilliond: Callable[..., harness.Pilliond]
) -> None:
    says(pillion("get", "--socket", f"unix:{folder}/none.sock", "v", "1", code=None), "is pilliond running there?")
    store.make_release()
    daemon = start_pilliond(store)
    says(pillion("get", "--socket", daemon.resp_unix, "other", "1", code=1), "no view 'other' is served")
    says(pillion("get", "--socket", daemon.resp_unix, "driver_stats", "abc", code=1), "join key id: 'abc' is not int64")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with server.accept()[0] as peer:
                peer.recv(4096)
                peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        address = f"tcp:127.0.0.1:{server.getsockname()[1]}"
        says(pillion("get", "--socket", address, "driver_stats", "1", code=1), "does not speak RESP", "protocol resp")


def drawn(argv: list[str], columns: int) -> list[str]:
    """The lines of what a command draws once on a terminal of that width."""
    with Screen(argv, 50, columns) as screen:
        screen.end()
        return screen.text.splitlines()


@pytest.mark.parametrize("columns", [80, 200])
def test_what_is_drawn_fits_the_terminal_and_lines_up(folder, store, start_pilliond, columns):
    long = "v" * 60
    for view in ("driver_stats", long):
        store.make_release(view=view, rows=100, seed=1)
    admin = f"unix:{folder}/a.sock"
    daemon = start_pilliond(
        store,
        serve=["rides/driver_stats@production", f"rides/{long}@production"],
        listen={"resp": f"unix:{folder}/r.sock", "admin": admin},
        args=["--slowlog", "0us"],
    )
    daemon.resp_unix = f"unix:{folder}/r.sock"
    client = harness.program("pillion")
    for requests in (0, 1, 300):
        with harness.connect(daemon.resp_unix) as sock:
            for i in range(requests):
                view = long if i % 2 else "driver_stats"
                sock.sendall(b"HGETALL %s:%d\r\n" % (view.encode(), i % 100))
                sock.recv(65536)
        for command in (["status"], ["hist", "--once"], ["top", "--once"], ["slowlog"]):
            lines = drawn([client, *command, "--admin", admin], columns)
            assert lines
            assert not [line for line in lines if len(line) > columns]
            if command[0] == "hist":
                assert ("  no requests yet" in lines) == (requests == 0)
                frames = [line for line in lines if line.count("│") == 2]
                assert len(frames) >= (5 if requests else 0)
                assert len({(line.index("│"), line.rindex("│"), len(line)) for line in frames}) <= 1
                bars = [line for line in lines if line.count("│") == 1]
                assert len({line.index("│") for line in bars}) <= 1
                assert all(re.fullmatch(r"    [≤>] +\d+ [µm]?s +\d+\.\d\d % │[█▏▎▍▌▋▊▉]*", line) for line in bars)
            if command[0] in ("top", "slowlog") and requests > 1:
                assert any(long in line for line in lines) == (columns > 80)


def test_ascii_where_the_locale_is_c(store, start_pilliond):
    store.make_release()
    daemon = start_pilliond(store)
    pillion("get", "--socket", daemon.resp_unix, "driver_stats", "1")
    admin = ["--admin", daemon.admin]
    for command in (["hist"], ["top"], ["status"], ["slowlog"], ["doctor"]):
        drawn_in = {
            name: pillion(*command, *admin, code=None, env={"LC_ALL": name}).stdout for name in ("C", "C.UTF-8")
        }
        assert drawn_in["C"].isascii() and drawn_in["C"], command
        assert len(drawn_in["C"].splitlines()) == len(drawn_in["C.UTF-8"].splitlines())
    assert re.search(r"total +\|[ .:+#]+\| +[\d.]+ [um]s", pillion("hist", *admin, env={"LC_ALL": "C"}).stdout)
    assert not pillion("hist", *admin).stdout.isascii()


# Steers a terminal: C0, DEL, C1 (as UTF-8), marks of direction, invisible characters.
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
HOSTILE = "\x1b]0;owned\x07\x1b[31m\x9b2J\u202egnp\u2066\r\b"


def test_no_foreign_text_steers_the_terminal(store, start_pilliond, folder):
    """Names and reasons come from stores, files, daemons and arguments; each command shows them escaped."""
    ref = store.make_release(rows=10)
    daemon = start_pilliond(store, args=["--poll_interval", "50ms"])
    view = store.path / "views" / "rides" / "driver_stats"
    (view / "channels" / "production.json").write_text('{"format":1,' + HOSTILE)
    (view / "channels" / f"evil{HOSTILE}.json").write_text("x")
    (view / "releases" / "0123456789abcdef.json").write_text(HOSTILE)
    yaml = folder / f"evil{HOSTILE}.yaml"
    yaml.write_text(PROJECT.replace("rides", f'"r{HOSTILE}"'))
    good = folder / f"good{HOSTILE}.yaml"
    good.write_text(PROJECT)
    harness.wait_until("the daemon has read it", lambda: "channel not read" in daemon.log)
    harness.wait_until("it says so", lambda: "refused" in harness.http(daemon.admin, "GET", "/status").text)
    at, told = ["--admin", daemon.admin], ["--store", store.url]
    commands = [["status", *at], ["status", *at, "--json"], ["status", "--mapped", *at], ["hist", *at],
                ["slowlog", *at], ["doctor", *at], ["doctor", *at, "--json"], ["releases", "rides/driver_stats", *told],
                ["releases", HOSTILE.replace("\0", ""), *told], ["inspect", ref, *told],
                ["inspect", "rides/driver_stats@0123456789abcdef", *told], ["inspect", str(good)],
                ["verify", "rides/driver_stats", *told], ["verify", store.url], ["verify", str(yaml)],
                ["gc", "--keep", "1", "--dry-run", *told], ["promote", ref, "--channel", "production", *told],
                ["promote", ref, "--channel", HOSTILE, *told], ["rollback", "rides/driver_stats", "--channel",
                                                               "production", *told],
                ["pin", ref, "--channel", "production", *told], ["check", str(yaml)], ["check", str(yaml), "--json"],
                ["check", str(good)], ["apply", str(yaml), *told], ["apply", str(good), "--store", HOSTILE],
                ["get", f"rides/{HOSTILE}", "1", "--socket", daemon.resp_unix], [HOSTILE], ["status", f"--{HOSTILE}"]]
    shown = ""
    for command in commands:
        done = subprocess.run([harness.program("pillion"), *command], capture_output=True, check=False, timeout=60)
        assert done.returncode in (0, 1, 2, 3, 4) and b"Sanitizer" not in done.stderr, (command, done)
        text = (done.stdout + done.stderr).decode()  # what is not UTF-8 is an error, too
        assert not STEERING.search(text.replace("\t", "")), (command, text)
        if any(HOSTILE in argument for argument in command):
            assert re.search(r"\\x1b|\\u001B", text), (command, text)
        shown += text
    assert shown.count(r"\x1b") > 5
    for path in ("/readyz?verbose", "/status", "/metrics", "/slowlog"):
        assert "\x1b" not in harness.http(daemon.admin, "GET", path).text
    assert not STEERING.search(daemon.log), daemon.log
