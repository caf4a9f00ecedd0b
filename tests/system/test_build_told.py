# SPDX-License-Identifier: Apache-2.0
"""Goal: whatever happens, a build ends with one sentence and a documented code: no traceback, no control character of
the input on the terminal, no release lost because its name could not be printed.

Method: inputs and surroundings that nobody would choose: names that are no UTF-8, streams that are full or closed,
deep lists, a fault put into the program.
"""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from build_project import PARQUET, START, Project, release_of

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
