# SPDX-License-Identifier: Apache-2.0
"""Goal: whatever happens, a build ends with one sentence and a documented code: no traceback, no control character of
the input on the terminal, no release lost because its name could not be printed.

Method: inputs and surroundings that nobody would choose: names that are no UTF-8, streams that are full or closed,
deep lists, a fault put into the program.
"""
from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from build_project import AS_NOBODY, BUILDER, PARQUET, START, Project, release_of
from pillion.build import errors, memory

FAULT = """
import sys
from pillion.build import builder, cli
def run(self):
    raise RuntimeError("a thing\\nnobody \\x1b[31m foresaw")
builder.ViewBuild.run = run
sys.exit(cli.main(sys.argv[1:]))
"""


def one_row(project: Project, name: str = "a.parquet", **columns: pa.Array) -> Path:
    project.features = {"trips": "int32"}
    project.source = PARQUET.replace(", created_timestamp_column: created", "")
    path = project.data / name
    table = {"driver_id": pa.array([1], pa.int64()), "event_timestamp": pa.array([START], pa.timestamp("us", "UTC")),
             "trips": pa.array([5], pa.int32())}
    with open(path, "wb") as file:
        pq.write_table(pa.table({**table, **columns}), file)
    return path


def test_an_unforeseen_fault_is_one_sentence(project: Project) -> None:
    one_row(project)
    project.write()
    command = [sys.executable, "-c", FAULT, *project.command()[3:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3 and done.stdout == ""
    assert done.stderr == ("pillion build: a fault of this program, RuntimeError: a thing nobody \\x1b[31m foresaw; "
                           "please report it with what PILLION_TRACEBACK=1 prints\n")
    told = subprocess.run(command, capture_output=True, text=True, check=False,
                          env={**os.environ, "PILLION_TRACEBACK": "1"})
    assert told.returncode == 3 and told.stderr.startswith(done.stderr) and "in run" in told.stderr
    assert "\x1b" not in told.stderr


def test_a_release_that_cannot_be_named_is_told(project: Project) -> None:
    one_row(project)
    project.write()
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(project.command(), stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 3 and last.startswith("pillion build: standard output: No space left on device; ")
    assert last.endswith(f"p/stats@{project.manifests()[0].stem}") and "Exception" not in done.stderr
    done = subprocess.run(project.command(), preexec_fn=lambda: os.close(1), stderr=subprocess.PIPE, text=True,
                          check=False)
    assert done.returncode == 3 and "standard output: is closed" in done.stderr


def test_messages_that_nobody_can_read_do_not_end_a_build(project: Project) -> None:
    one_row(project)
    release = release_of(project.build())
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(project.command(), stderr=full, stdout=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"p/stats@{release}\n")
    done = subprocess.run(project.command(), preexec_fn=lambda: os.close(2), stdout=subprocess.PIPE, text=True,
                          check=False)
    assert (done.returncode, done.stdout) == (0, f"p/stats@{release}\n")


def two_views(project: Project) -> Path:
    """A second view, more, of another file, which it returns."""
    one_row(project)
    more = one_row(project, "more.parquet")
    project.source = project.source.replace("*", "a")
    project.write()
    path = project.folder / "p.yaml"
    view = path.read_text().partition("feature_views:\n")[2]
    with path.open("a") as file:
        file.write(view.replace("name: stats", "name: more").replace("data/a.", "data/more."))
    return more


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_build_that_fails_midway_says_what_is_published(project: Project, options: tuple[str, ...]) -> None:
    two_views(project).write_bytes(b"PAR1")
    done = project.run(*options, code=1)
    [manifest] = project.manifests()
    last = done.err.splitlines()[-1]
    assert f"; published: p/stats@{manifest.stem}; not published: p/more" in last and "data/more.parquet" in last
    assert "published" not in project.run("--dry-run", code=1).err.splitlines()[-1]


def test_a_promotion_that_fails_midway_says_what_is_promoted(project: Project) -> None:
    two_views(project)
    built = project.run(code=0).out.split()
    (project.store / "views" / "p" / "more" / "channels" / "live.json").mkdir(parents=True)
    last = project.run("--promote", "live", code=None).err.splitlines()[-1]
    assert f"; published: {', '.join(built)}; promoted to live: {built[0]}; not promoted to live: {built[1]}" in last
    channel = project.store / "views" / "p" / "more" / "channels" / "live.json"
    channel.rmdir()
    channel.write_text("{")
    assert project.run("--promote", "live", code=4).err.count("not promoted") == 1


def test_an_end_by_the_watch_or_an_interrupt_says_what_is_published(project: Project) -> None:
    two_views(project)
    ending = FAULT.replace("builder.ViewBuild.run = run", """
first = builder.ViewBuild.run
builder.ViewBuild.run = lambda self: first(self) if self._view.name == "stats" else ENDING""")
    for code, act, says in ((130, "(_ for _ in ()).throw(KeyboardInterrupt())", "interrupted; published: p/stats@"),
                            (3, "(setattr(cli.memory, 'resident_bytes', lambda: 1 << 50), time.sleep(60))",
                             "raise it (--memory-limit); published: p/stats@")):
        command = [sys.executable, "-c", "import time" + ending.replace("ENDING", act), *project.command()[3:]]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        assert says in done.stderr and done.stderr.endswith("; not published: p/more\n"), done.stderr


def codes_of(text: str) -> set[int]:
    return {int(code) for code in re.findall(r"(?:: |; |^\| )(\d+) (?=[\w|])", text, re.MULTILINE)}


def test_the_exit_codes_are_those_of_the_help_and_of_the_manual() -> None:
    said = subprocess.run([*BUILDER, "--help"], capture_output=True, text=True, check=True).stdout
    manual = (Path(__file__).resolve().parents[2] / "docs" / "operating.md").read_text()
    table = manual.partition("### Exit codes of a build")[2].partition("\n#")[0]
    raised = {kind.code for kind in (errors.BadInput, errors.IoFailure, errors.Damaged, errors.MissingExtension,
                                     memory.LimitTooSmall)}
    assert codes_of(" ".join(said.partition("Exit codes")[2].split())) == codes_of(table) == raised | {0, 130}


# ---- What is checked before anything is read

@pytest.mark.parametrize("channel", ["", "a/b", "1st", "b\udcff", "x" * 200])
def test_the_name_of_a_channel_is_checked_first(project: Project, channel: str) -> None:
    (project.data / "a.parquet").write_text("no Parquet at all")
    project.source = PARQUET
    said = project.build("--promote", channel, code=2).err
    assert "cannot be the name of a channel" in said and project.manifests() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be two users")
@pytest.mark.parametrize("closed", ["", "leases", "shards", "views", "views/p/stats", "views/p/stats/releases",
                                    "views/p/stats/channels"])
def test_a_store_that_is_closed_is_told_first(project: Project, closed: str) -> None:
    (project.data / "a.parquet").write_text("no Parquet at all")
    project.source = PARQUET
    project.write()
    folder = project.store / closed
    folder.mkdir(parents=True)
    for path in (project.folder, *project.folder.rglob("*")):
        path.chmod(0o777)
    folder.chmod(0o555)
    command = [*AS_NOBODY, *project.command("--promote", "live")[3:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3 and f"{folder}".rstrip("/") + ": Permission denied" in done.stderr, done.stderr
    folder.chmod(0o777)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "data/a.parquet: cannot be read" in done.stderr


def test_names_of_files_are_shown_and_not_sent(project: Project) -> None:
    path = one_row(project, "a.\x1b[31m\n.parquet")
    done = project.build("--json")
    shown = project.manifest(done.result["release"])["sources"][0]["path"]
    assert shown == "data/a.\\x1b[31m\\x0a.parquet"
    path.write_bytes(b"PAR1")
    said = project.build(code=1).err
    assert shown in said and said.count("\n") == 1 and said[:-1].isprintable()


def test_a_project_folder_that_is_no_utf8(project: Project) -> None:
    project.folder = project.folder / "a\udcff"
    project.folder.mkdir()
    one_row(project)
    release_of(project.build())
    project.source = "{type: csv, path: data/none, timestamp_field: ts}"
    said = project.build(code=1).err
    assert "a\\xff" in said and said[:-1].isprintable()


def test_columns_are_shown_and_not_sent(project: Project) -> None:
    one_row(project, **{"\x1b[2J\u202e": pa.array([1])})
    project.features = {"missing": "int32"}
    said = project.build(code=1).err
    assert "\\x1b[2J\\xe2\\x80\\xae" in said and said[:-1].isprintable()


def test_thousands_of_columns_are_not_listed(project: Project) -> None:
    one_row(project, **{f"f{number}": pa.array([1]) for number in range(2000)})
    project.features = {"missing": "int32"}
    said = project.build(code=1).err
    assert "and 1,973 more" in said and len(said) < 1000


@pytest.mark.parametrize("value", ["[" * 100_000, "[" * 100_000 + "]" * 100_000, "[1" + ",1" * 900_000 + ",x]"])
def test_deep_and_huge_lists_are_told(project: Project, value: str) -> None:
    project.features = {"trips": "list<int32>"}
    project.source = "{type: csv, path: data/a.csv, timestamp_field: ts}"
    (project.data / "a.csv").write_text(f'driver_id,ts,trips\n1,2025-01-01,"{value}"\n')
    said = project.build(code=1).err
    assert "data/a.csv, line 2: column trips holds '[" in said and said.count("\n") == 1 and len(said) < 400
