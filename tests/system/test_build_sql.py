# SPDX-License-Identifier: Apache-2.0
"""Goal: a query sees the files beside the project and the tables that it makes, cannot write into what it attaches, and
what DuckDB lacks or refuses is told as such.

Method: small projects of type sql, built as test_build.py does, also from another working directory.
"""
from __future__ import annotations

import subprocess
from pathlib import Path

import duckdb
import pytest
from build_project import Project, release_of

ROW = "SELECT 1 AS driver_id, TIMESTAMP '2025-01-01' AS ts, 5 AS trips"


def sql_project(project: Project, query: str, setup: str = "") -> Project:
    def escaped(text: str) -> str:
        return text.replace("'", "''")

    project.features = {"trips": "int32"}
    project.source = (f"{{type: sql, query: '{escaped(query)}', timestamp_field: ts"
                      + (f", setup: '{escaped(setup)}'}}" if setup else "}"))
    return project


def trips(project: Project) -> int:
    shard = next(project.shards(release_of(project.build())))
    return shard.decode(shard.get(shard.key([1])))["trips"]


def database(path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"CREATE TABLE t AS {ROW}")


@pytest.mark.parametrize("name", ["view", "folder", "self", "os", "duckdb", "pa", "failure", "text"])
def test_a_query_sees_no_variable_of_the_builder(project: Project, name: str) -> None:
    said = sql_project(project, f"SELECT * FROM {name}").build(code=1).err
    assert f"query of stats: cannot be read: Catalog Error: Table with name {name} does not exist" in said
    assert trips(sql_project(project, f"SELECT * FROM {name}", f"CREATE TABLE {name} AS {ROW}")) == 5


@pytest.mark.parametrize("query, says", [
    (f"{ROW}; {ROW}", "it has 2 statements; write one, and those before it into setup"),
    ("", "query"), ("-- nothing", "it has 0 statements"),
    ("CREATE TABLE t AS SELECT 1", "this kind of statement returns no rows; write a SELECT"),
    ("COPY (SELECT 1) TO 'x.csv'", "this kind of statement returns no rows; write a SELECT"),
    ("ATTACH 'x.db'", "this kind of statement returns no rows; write a SELECT"),
    ("SELEC 1", "Parser Error"),
])
def test_a_query_is_one_statement_that_gives_rows(project: Project, query: str, says: str) -> None:
    said = sql_project(project, query).build(code=1).err
    assert says in said and "Traceback" not in said
    assert not (project.folder / "x.csv").exists() and not (project.folder / "x.db").exists()


PIVOT = "PIVOT (SELECT 1 driver_id, TIMESTAMP '2025-01-01' ts, 'trips' n, 5 v) ON n USING max(v)"


@pytest.mark.parametrize("query", [f"{ROW};", f"WITH a AS ({ROW}) FROM a -- all", PIVOT])
def test_whatever_gives_rows_is_a_query(project: Project, query: str) -> None:
    project.features = {"trips": "int32"}
    assert trips(sql_project(project, query)) == 5


@pytest.mark.parametrize("attach", [
    "ATTACH 'data/a.db' AS a", "attach database 'data/a.db' as \"a\" ;",
    "ATTACH IF NOT EXISTS 'data/a.db' AS a (READ_ONLY)",
    "/* ours */ ATTACH 'data/a.db' AS a (TYPE duckdb)", "ATTACH 'data/a.db' AS a (READ_ONLY true)",
    "ATTACH 'data/a.db' AS a (read_only 1, type 'duckdb')",
])
def test_attach_is_relative_to_the_project_and_reads_only(project: Project, attach: str) -> None:
    database(project.data / "a.db")
    before = (project.data / "a.db").read_bytes()
    sql_project(project, "SELECT * FROM a.t", attach).write()
    done = subprocess.run(project.command(), cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    done = sql_project(project, "SELECT * FROM a.t", f"{attach}; INSERT INTO a.t {ROW}").build(code=1)
    assert "setup of stats" in done.err and "read-only" in done.err
    assert (project.data / "a.db").read_bytes() == before
    assert sorted(path.name for path in project.data.iterdir()) == ["a.db"]


@pytest.mark.parametrize("attach, says", [
    ("ATTACH 'data/none.db' AS a", "database does not exist"),
    ("ATTACH 'data/a.db' AS a (READ_WRITE)", "a build attaches databases read-only; remove (READ_WRITE)"),
    ("ATTACH 'data/a.db' AS a (READ_ONLY false)", "a build attaches databases read-only"),
    ("ATTACH 'data/a.db' AS a (READ_ONLY 0, TYPE duckdb)", "a build attaches databases read-only"),
    ("ATTACH 'data/none.db' AS a (READ_ONLY 'false')", "a build attaches databases read-only"),
    ("ATTACH 'data/none.db' AS a (TYPE 'duckdb', READ_ONLY\t'no')", "a build attaches databases read-only"),
    ("ATTACH 'data/none.db' AS a (READ_ONLY /* not */ false)", "are not supported"),
    ("ATTACH 'data/none.db' AS a (\"READ_ONLY\" false)", "are not supported"),
    ("ATTACH ('data/' || 'a.db') AS a", "write ATTACH 'path' AS name"),
])
def test_what_an_attach_may_not_do(project: Project, attach: str, says: str) -> None:
    database(project.data / "a.db")
    said = sql_project(project, "SELECT * FROM a.t", attach).build(code=1).err
    assert "setup of stats" in said and says in said
    assert not (project.data / "none.db").exists()


def test_tables_in_memory_are_attached_as_they_are(project: Project) -> None:
    assert trips(sql_project(project, "SELECT * FROM m.t", f"ATTACH ':memory:' AS m; CREATE TABLE m.t AS {ROW}")) == 5


@pytest.mark.parametrize("query, setup, extension", [
    (f"SELECT st_point(1, 2), * FROM ({ROW})", "", "spatial"),
    (ROW, "LOAD nonsense", "nonsense"),
])
def test_a_missing_extension_has_its_own_code(project: Project, query: str, setup: str, extension: str) -> None:
    done = sql_project(project, query, setup).build(code=5, HOME=str(project.folder))
    assert f"DuckDB's extension {extension} is not installed or not loaded" in done.err
    assert f"INSTALL {extension}" in done.err and done.err.count("\n") == 1 and project.manifests() == []


def test_paths_on_the_command_line_are_relative_to_the_working_directory(project: Project) -> None:
    sql_project(project, ROW).write()
    work = project.folder / "work"
    work.mkdir()
    (work / "tmp").mkdir()
    done = subprocess.run([*project.command()[:3], "../p.yaml", "--store", "dir:here", "--tmp", "tmp"], cwd=work,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0 and (work / "here" / "views").is_dir(), done.stderr
    assert list((work / "tmp").iterdir()) == [] and not (project.folder / "here").exists()
