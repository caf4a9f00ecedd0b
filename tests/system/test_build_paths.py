# SPDX-License-Identifier: Apache-2.0
"""Goal: what source.path names is what is read: each kind of entry is read, refused or listed as not read, by one rule
for folders and globs, for Parquet and CSV alike, and the report and the release name the files and their rows.

Method: one entry of each kind beside a sound file, named as a folder, by a glob and by its own path. The rows have the
number of their file, so the release itself says what was read.
"""
from __future__ import annotations

import gzip
import json
import os
import socket
import subprocess
from pathlib import Path
from typing import Callable

import harness
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from build_project import AS_NOBODY, BUILDER, START, Done, Project, release_of

KINDS = ("parquet", "csv")
FORMS = ("folder", "glob", "path")
SOUND, ENTRY = 1, 2  # keys of the row in data/sound.KIND, and of the row in the entry


def put(path: Path, key: int, kind: str, value: int = 0) -> Path:
    """A file with one row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "parquet":
        table = pa.table({"driver_id": [key], "ts": pa.array([START], pa.timestamp("us", "UTC")), "x": [value or key]})
        pq.write_table(table, path)
    else:
        text = f"driver_id,ts,x\n{key},2025-01-01T00:00:00Z,{value or key}\n"
        path.write_bytes(gzip.compress(text.encode()) if path.name.endswith(".gz") else text.encode())
    return path


def name_source(project: Project, kind: str, path: str) -> None:
    project.features = {"x": "int64"}
    project.source = f"{{type: {kind}, path: '{path}', timestamp_field: ts}}"


def read_by(project: Project, done: Done) -> set[int]:
    """The values of x in the release."""
    return {row["x"] for _, row in project.content(done.out.split("@")[-1].strip()).values()}


# ---- One row for each kind of entry

Make = Callable[[Path, str], Path]


def link_to(place: Callable[[Path, str], Path]) -> Make:
    """A symbolic link in data to what `place` makes outside of it."""
    def make(data: Path, kind: str) -> Path:
        path = data / f"link.{kind}"
        path.symlink_to(place(data.parent / "elsewhere", kind))
        return path
    return make


def new(name: str) -> Make:
    """A file with a row; KIND in its name is the kind."""
    return lambda data, kind: put(data / name.replace("KIND", kind), ENTRY, kind)


def new_folder(name: str) -> Make:
    """A folder that has a file with a row."""
    return lambda data, kind: put(data / name.replace("KIND", kind) / f"a.{kind}", ENTRY, kind).parent


def empty(name: str) -> Make:
    def make(data: Path, kind: str) -> Path:
        path = data / name.replace("KIND", kind)
        path.write_bytes(b"")
        return path
    return make


def pipe(data: Path, kind: str) -> Path:
    os.mkfifo(data / f"pipe.{kind}")
    return data / f"pipe.{kind}"


def listening(data: Path, kind: str) -> Path:
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(data / f"s.{kind}"))
    return data / f"s.{kind}"


def loop(data: Path, kind: str) -> Path:
    (data / f"deep.{kind}").mkdir()
    (data / f"deep.{kind}" / "up").symlink_to(data / f"deep.{kind}")
    return data / f"deep.{kind}"


def new_text(name: str) -> Make:
    """A file that is neither Parquet nor CSV of the view."""
    def make(data: Path, kind: str) -> Path:
        (data / name).write_text("# Notes\n")
        return data / name
    return make


def table(marker: str) -> Make:
    def make(data: Path, kind: str) -> Path:
        root = new_folder(f"table.{kind}")(data, kind)
        (root / marker).parent.mkdir(parents=True, exist_ok=True)
        (root / marker).write_text("{}")
        return root
    return make


READ, LISTED = "read", "listed"
ROW = (READ, READ, READ)
HIDDEN = (LISTED, LISTED, READ)
# The entry, and what becomes of it in a folder, by the glob data/*, and by its own path: it is READ, or LISTED as not
# read, or the build ends, naming it and saying one of these texts.
ENTRIES: dict[str, tuple[Make, tuple[str, str, str]]] = {
    "a file": (new("a.KIND"), ROW),
    "capitals": (lambda data, kind: put(data / f"A.{kind.upper()}", ENTRY, kind), ROW),
    "a name of Hive": (new("000000_0"), ROW),
    "another suffix": (new_text("notes.md"), (LISTED, LISTED, "cannot be read|column driver_id is missing")),
    "hidden by a dot": (new(".a.KIND"), HIDDEN),
    "hidden by an underscore": (new("_a.KIND"), HIDDEN),
    "a folder": (new_folder("deep"), ROW),
    "a folder with the suffix": (new_folder("deep.KIND"), ROW),
    "a folder in a folder": (new_folder("deep/deeper"), ROW),
    "a folder of Hive": (new_folder("x=77"), ROW),
    "a folder with a name of DuckDB's columns": (new_folder("c0=77"), ROW),
    "a hidden folder": (new_folder("_temporary"), HIDDEN),
    "brackets": (new("a[1].KIND"), ROW),
    "a question mark": (new("a?.KIND"), ROW),
    "a star": (new("a*.KIND"), ROW),
    "a folder with brackets": (new_folder("[ab]"), ROW),
    "a link to a file": (link_to(lambda there, kind: put(there / f"x.{kind}", ENTRY, kind)), ROW),
    "a link to a folder": (link_to(new_folder("y")), ROW),
    "a link to nothing": (link_to(lambda there, _: there / "none"), ("is a symbolic link to",) * 3),
    "a link that leads back": (loop, ("is a symbolic link to a folder that it lies in",) * 3),
    "no bytes": (empty("empty.KIND"), ("0 bytes|is empty",) * 3),
    "no bytes and another suffix": (empty("done.flag"), ("0 bytes|is empty",) * 3),
    "a pipe": (pipe, ("is a named pipe",) * 3),
    "a socket": (listening, ("is a socket",) * 3),
    "a Delta table": (table("_delta_log/00000000000000000000.json"), ("is a Delta table: |delta_scan",) * 3),
    "an Iceberg table": (table("metadata/00000-0.metadata.json"), ("is an Iceberg table: ",) * 3),
    "a Hudi table": (table(".hoodie/hoodie.properties"), ("is a Hudi table: ",) * 3),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("entry", ENTRIES)
def test_one_rule_for_folders_globs_and_paths(project: Project, entry: str, kind: str, form: str) -> None:
    make, outcomes = ENTRIES[entry]
    put(project.data / f"sound.{kind}", SOUND, kind)
    made = make(project.data, kind)
    relative = str(made.relative_to(project.folder))
    name_source(project, kind, {"folder": "data", "glob": "data/*", "path": relative}[form])
    outcome = outcomes[FORMS.index(form)]
    if outcome not in (READ, LISTED):
        done = project.build(code=1)
        assert relative in done.err and any(text in done.err for text in outcome.split("|")), done.err
        assert len(done.err.splitlines()) == 1 and project.manifests() == []
        return
    done = project.build()
    sound = {SOUND} if form != "path" else set()
    assert read_by(project, done) == sound | ({ENTRY} if outcome == READ else set())
    manifest = project.manifest(done.out.split("@")[-1].strip())
    assert all((project.folder / source["path"]).exists() and source["rows"] == 1 for source in manifest["sources"])
    assert f"{len(manifest['sources'])} file" in done.err and f"{manifest['sources'][0]['path']} (1 row)" in done.err
    listed = [relative + ("/" if made.is_dir() else "")] if outcome == LISTED else []
    assert manifest["not_read"] == {"count": len(listed), "paths": listed}
    if listed:
        assert f"1 other file in {project.source.split(chr(39))[1]} was not read: {listed[0]} " in done.err


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name, decoy", [("a[1]", "a1"), ("a?", "ab"), ("a*", "abc"), ("**", "x"), ("[!x]", "y")])
def test_a_file_that_is_there_is_no_pattern(project: Project, name: str, decoy: str, kind: str) -> None:
    put(project.data / f"{name}.{kind}", ENTRY, kind)
    put(project.data / f"{decoy}.{kind}", SOUND, kind)
    name_source(project, kind, f"data/{name}.{kind}")
    assert read_by(project, project.build()) == {ENTRY}


PATTERNS = {
    "data/*.KIND": {"a.KIND", "d.KIND/part-0"},
    "data/?.KIND": {"a.KIND", "d.KIND/part-0"},
    "data/[!d].KIND": {"a.KIND"},
    "data/**": {"a.KIND", "d.KIND/part-0", "day=1/e.KIND", "day=2/deep/f.KIND"},
    "data/**/*.KIND": {"a.KIND", "d.KIND/part-0", "day=1/e.KIND", "day=2/deep/f.KIND"},
    "data/**/deep": {"day=2/deep/f.KIND"},
    "data/day=*": {"day=1/e.KIND", "day=2/deep/f.KIND"},
    "data/day=*/*.KIND": {"day=1/e.KIND"},
    "data/*/*": {"d.KIND/part-0", "day=1/e.KIND", "day=2/deep/f.KIND"},
    "data/_old/*": {"_old/g.KIND"},
    "data/_*/*": {"_old/g.KIND"},
    "data/*.other": {"h.other"},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_match_whole_parts_and_read_the_folders_that_they_match(project: Project, pattern: str,
                                                                         kind: str) -> None:
    everything = sorted({name for names in PATTERNS.values() for name in names})
    for number, name in enumerate(everything, 1):
        if name == "h.other" and pattern != "data/*.other":
            continue  # Parquet is known by its content
        put(project.data / name.replace("KIND", kind), number, kind)
    name_source(project, kind, pattern.replace("KIND", kind))
    assert read_by(project, project.build()) == {everything.index(name) + 1 for name in PATTERNS[pattern]}


def test_parquet_is_known_by_its_content_and_csv_by_its_name(project: Project) -> None:
    put(project.data / "a.parquet.gzip", 1, "parquet")
    put(project.data / "part-00001.c000", 2, "parquet")
    put(project.data / "b.csv.gz", 3, "csv")
    put(project.data / "c.TXT", 4, "csv")
    put(project.data / "d.tsv", 5, "csv")
    (project.data / "e.json").write_text("{}")
    name_source(project, "parquet", "data")
    done = project.build()
    assert read_by(project, done) == {1, 2}
    assert "4 other files in data were not read: data/b.csv.gz, data/c.TXT, data/d.tsv, data/e.json (" in done.err
    name_source(project, "csv", "data")
    done = project.build()
    assert read_by(project, done) == {3, 4, 5}
    assert "3 other files in data were not read: data/a.parquet.gzip, data/e.json, data/part-00001.c000 (" in done.err


def test_long_lists_of_files_are_cut_in_the_report_only(project: Project) -> None:
    for number in range(7):
        put(project.data / f"{number}.csv", number, "csv")
        put(project.data / f"_{number}.csv", number, "csv")
    name_source(project, "csv", "data")
    done = project.build("--json")
    assert "p/stats: 7 files read: data/0.csv (1 row)," in done.err and 'data/4.csv (1 row) and 2 more"' in done.err
    assert "7 other files in data were not read: data/_0.csv," in done.err and "data/_4.csv and 2 more (" in done.err
    assert len(done.result["sources"]) == 7 and len(done.result["not_read"]["paths"]) == 7


def test_a_name_steers_no_terminal(project: Project) -> None:
    put(project.data / "a\x1b[31m.csv", 1, "csv")
    put(project.data / "_b\x1b[31m.csv", 1, "csv")
    name_source(project, "csv", "data")
    done = project.build()
    assert "\x1b" not in done.err and done.err.count("\\x1b[31m.csv") == 2


def test_a_name_that_is_not_utf8_is_refused(project: Project) -> None:
    for kind in KINDS:
        put(project.data / f"a.{kind}", 1, kind).rename(project.data / os.fsdecode(b"\xff." + kind.encode()))
        name_source(project, kind, f"data/*.{kind}")
        assert f"data/\\xff.{kind}: its name is not UTF-8" in project.build(code=1).err


@pytest.mark.parametrize("kind", KINDS)
def test_a_hidden_name_that_is_not_utf8_is_passed_over_and_shown(project: Project, kind: str) -> None:
    put(project.data / f"a.{kind}", 1, kind)
    put(project.data / f"b.{kind}", 1, kind).rename(project.data / os.fsdecode(b"_\xff." + kind.encode()))
    name_source(project, kind, "data")
    done = project.build("--json")
    assert done.result["not_read"] == {"count": 1, "paths": [f"data/_\\xff.{kind}"]}
    assert project.manifest(done.result["release"])["not_read"] == done.result["not_read"]
    notes = [json.loads(line)["note"] for line in done.err.splitlines()]
    assert any(f"was not read: data/_\\xff.{kind} (" in note for note in notes)


# ---- What is no path, and what is not there

@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path, says", [
    ("s3://bucket/a", "is a URL, and type KIND reads files of this machine; copy it, or use a query: {type: sql"),
    ("https://example.com/a?b", "SELECT * FROM read_KIND(\"https://example.com/a?b\")"),
    ("gs://bucket/*.KIND", "is a URL"),
    ("file:///tmp/a", "is a URL; write the path alone"),
    ("~/a", "~, which is not expanded"),
    ("~", "~, which is not expanded"),
    ("$HOME/a", "variables are not expanded"),
    ("data/${day}.KIND", "variables are not expanded"),
    ("data/{a,b}.KIND", "braces, which are not a pattern"),
    ("a.KIND, b.KIND", "a list of paths is not read"),
    ("data\\a.KIND", "has a backslash"),
    ("data/none", "data/none: no such file (paths are relative to"),
    ("data/*/none", "data/*/none: no such file"),
    ("data/sound.KIND/x", "no such file"),
    ("data/[s", "data/[s: no such file"),
])
def test_what_is_no_path_is_refused_by_name(project: Project, path: str, says: str, kind: str) -> None:
    put(project.data / f"sound.{kind}", SOUND, kind)
    name_source(project, kind, path.replace("KIND", kind))
    message = project.build(code=1).err
    assert says.replace("KIND", kind).replace('"', "'") in message.replace('"', "'"), message
    assert path.replace("KIND", kind) in message and len(message.splitlines()) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", ["~", "$x", "a,b", "s3:/x", "{a}", "a b", "x=1&y%20"])
def test_what_is_there_is_a_path_whatever_its_name(project: Project, path: str, kind: str) -> None:
    put(project.folder / path / f"a.{kind}", ENTRY, kind)
    name_source(project, kind, path)
    assert read_by(project, project.build()) == {ENTRY}


def test_a_list_of_paths_is_one_message(project: Project) -> None:
    project.source = "{type: csv, path: [a.csv, b.csv], timestamp_field: ts}"
    message = project.build(code=1).err
    assert "path must be one value; name a folder, or a glob" in message and "missing" not in message


def test_a_folder_without_files_of_the_kind_says_what_it_has(project: Project) -> None:
    put(project.data / "a.csv", 1, "csv")
    put(project.data / "_b.parquet", 1, "parquet")
    name_source(project, "parquet", "data")
    message = project.build(code=1).err
    assert "data: no Parquet file in this folder" in message
    assert "2 other files in data were not read: data/_b.parquet, data/a.csv (" in message


def test_a_column_in_the_names_of_folders_is_told_and_read_by_the_query_of_the_message(project: Project) -> None:
    for kind in KINDS:
        put(project.data / kind / "city=berlin" / f"a.{kind}", 1, kind)
        name_source(project, kind, f"data/{kind}")
        project.features = {"x": "int64", "city": "string"}
        message = project.build(code=1).err
        query = message.partition('query: "')[2].partition('"')[0]
        assert "column city is missing (string of stats), and the name of a folder (city=berlin)" in message
        project.source = f'{{type: sql, query: "{query}", timestamp_field: ts}}'
        done = project.build()
        values = [row for _, row in project.content(done.out.split("@")[-1].strip()).values()]
        assert values == [{"x": 1, "city": "berlin"}]


@pytest.mark.parametrize("path", ["data/table/a.parquet", "data/table/*.parquet", "data/*/*.parquet", "data/link",
                                  "data/table/_delta_log/*.parquet"])
def test_files_of_a_table_are_refused_wherever_they_are_named(project: Project, path: str) -> None:
    put(project.data / "table" / "a.parquet", 1, "parquet")
    put(project.data / "table" / "_delta_log" / "1.checkpoint.parquet", 1, "parquet")
    (project.data / "link").symlink_to(project.data / "table")
    name_source(project, "parquet", path)
    assert "data/table: is a Delta table: " in project.build(code=1).err


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be two users")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_may_not_be_read_is_an_error(project: Project, kind: str, form: str) -> None:
    put(project.data / f"sound.{kind}", SOUND, kind)
    file = put(project.data / f"closed.{kind}", ENTRY, kind)
    folder = put(project.data / "deep" / f"a.{kind}", ENTRY, kind).parent
    project.folder.chmod(0o755)

    def refused(path: Path) -> str:
        name = str(path.relative_to(project.folder))
        name_source(project, kind, {"folder": "data", "glob": "data/*", "path": name}[form])
        project.write()
        path.chmod(0)
        done = subprocess.run([*AS_NOBODY, *project.command("--dry-run")[len(BUILDER):]], capture_output=True,
                              text=True, check=False)
        path.chmod(0o755)
        assert done.returncode == 3 and f"{name}" in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
        return done.stderr

    assert "Permission denied" in refused(file)
    assert "Permission denied" in refused(folder)


# ---- Content

@pytest.mark.parametrize("column", ["driver_id", "x"])
def test_page_checksums_are_verified(project: Project, column: str) -> None:
    count = 1000
    path = project.data / "a.parquet"
    names = {"driver_id": list(range(count)), "ts": pa.array([START] * count, pa.timestamp("us", "UTC")),
             "x": list(range(count)), "unused": list(range(count))}
    pq.write_table(pa.table(names), path, compression="none", use_dictionary=False, write_page_checksum=True)
    name_source(project, "parquet", "data")
    project.build("--dry-run")
    meta = pq.read_metadata(path).row_group(0).column(list(names).index(column))
    data = bytearray(path.read_bytes())
    data[meta.data_page_offset + meta.total_compressed_size // 2] ^= 1
    path.write_bytes(data)
    assert pq.read_table(path)[column].to_pylist() != names[column], "the flip is in a value"
    message = project.build(code=1).err
    assert "data/a.parquet: cannot be read: " in message and "CRC" in message


def test_a_file_that_goes_while_it_is_read_is_an_error(project: Project) -> None:
    """A file that is no longer there when its lineage is taken; removing it in time takes luck, a hook does not."""
    from pillion.build.errors import BadInput
    from pillion.build.files import FileSource
    from pillion.build.project import load

    put(project.data / "a.csv", 1, "csv")
    name_source(project, "csv", "data")
    project.write()
    view = load(str(project.folder / "p.yaml")).views[0]
    files = FileSource(view, project.folder)
    try:
        next(files.reading())
        (project.data / "a.csv").unlink()
        with pytest.raises(BadInput, match="data/a.csv: "):
            files.lineage()
        with pytest.raises(BadInput, match="data/a.csv: "):
            next(files.reading())
    finally:
        files.close()


# ---- Columns of Parquet

def put_dotted(project: Project, **columns: pa.Array) -> None:
    project.features = {"x": "string"}
    project.source = "{type: parquet, path: data, timestamp_field: ts, field_mapping: {a.b: x}}"
    times = pa.array([0], pa.timestamp("us", "UTC"))
    table = pa.table({"driver_id": pa.array([1], pa.int64()), "ts": times, **columns})
    pq.write_table(table, project.data / "a.parquet", compression="none", use_dictionary=False)


STRUCT = pa.array([{"b": "of the struct", "c": [1]}])


@pytest.mark.parametrize("others", [{}, {"a": STRUCT}, {"a": pa.array(["a"])}, {"a.b.c": pa.array(["c"])}])
@pytest.mark.parametrize("is_first", [False, True])
def test_a_column_with_a_dot_is_no_field(project: Project, others: dict[str, pa.Array], is_first: bool) -> None:
    dotted = {"a.b": pa.array(["of the column"])}
    put_dotted(project, **({**dotted, **others} if is_first else {**others, **dotted}))
    shard = next(project.shards(release_of(project.build())))
    assert shard.decode(shard.get(shard.key([1]))) == {"x": "of the column"}


def test_a_field_of_a_struct_is_no_column(project: Project) -> None:
    put_dotted(project, a=STRUCT)
    said = project.build(code=1).err
    assert "column a.b is missing (string of stats); there is a struct a, whose fields are not columns" in said
    put_dotted(project, a=pa.array(["a"]))
    assert "column a.b is missing (string of stats); there are: driver_id, ts, a;" in project.build(code=1).err


def test_only_the_columns_that_are_read_take_memory(project: Project) -> None:
    from pillion.build.project import load
    from pillion.build.sources import open_source

    def reader_bytes(column: str) -> int:
        project.source = project.source.replace("a.b: x", f"{column}: x")
        project.write()
        view = load(str(project.folder / "p.yaml")).views[0]
        source = open_source(view, project.folder, 64 << 20, str(project.folder))
        source.close()
        return source.reader_bytes

    large = pa.array(["x" * 10_000_000])
    put_dotted(project, **{"a": pa.array(["a"]), "a.b": large, "a.c": large})
    assert 20_000_000 < reader_bytes("a.b") < 70_000_000
    put_dotted(project, **{"a": pa.array(["a"]), "a.b": large, "a.c": large})
    assert reader_bytes("a") < 40_000_000
    put_dotted(project, **{"a": pa.array([{"b": large[0]}]), "a.b": pa.array(["small"])})
    assert reader_bytes("a.b") < 40_000_000
    # Nor is the field of the struct read.
    path = project.data / "a.parquet"
    pq.write_table(pq.read_table(path), path, compression="none", use_dictionary=False, write_page_checksum=True)
    path.write_bytes(path.read_bytes().replace(b"x" * 1000, b"y" * 1000, 1))
    project.build()


# ---- Inspect

def test_inspect_names_the_files_their_rows_and_what_is_missing(project: Project) -> None:
    put(project.data / "a.csv", 1, "csv")
    put(project.data / "b.csv", 1, "csv", 7)
    (project.data / "b.csv").write_text("driver_id,ts,x\n1,2024-01-01,5\n2,2025-01-01,6\n")
    put(project.data / "_c.csv", 3, "csv")
    name_source(project, "csv", "data")
    release = project.build().out.strip()
    text = inspect(project, release)
    lines = [line.split() for line in text.splitlines()]
    assert "read: 3 rows in, 2 out (1 superseded by newer rows)" in text
    assert ["data/a.csv", "1"] in [line[:2] for line in lines] and ["data/b.csv", "2"] in [line[:2] for line in lines]
    assert "not read: 1 other file: data/_c.csv" in text


def test_inspect_shows_no_more_sources_than_fit(project: Project) -> None:
    for number in range(23):
        put(project.data / f"{number:02}.csv", number, "csv")
        put(project.data / f"_{number:02}.csv", number, "csv")
    name_source(project, "csv", "data")
    text = inspect(project, project.build().out.strip())
    assert "data/19.csv" in text and "data/20.csv" not in text and "… and 3 more sources; --json shows them" in text
    assert "not read: 23 other files: data/_00.csv" in text and "data/_04.csv and 18 more" in text


def test_inspect_trusts_no_manifest(project: Project) -> None:
    put(project.data / "a.csv", 1, "csv")
    name_source(project, "csv", "data")
    release = project.build().out.strip()
    path = project.manifests()[0]
    document = json.loads(path.read_text())
    for sources, counts, not_read, shown in (
            ("x", [], 5, "driver_id"),
            ([5, None, {"path": 7, "rows": -1}, {"path": "a\x1b[31m"}], {"a\x1b": 2, "b": "x"}, {"count": 9},
             r"a\x1b[31m"),
            ([{"path": "a", "rows": 2**62}], {"rows_in": 1.5, "late": True}, {"count": 1, "paths": [["a"], "\x1b"]},
             str(2**62))):
        path.write_text(json.dumps({**document, "sources": sources, "counts": counts, "not_read": not_read}))
        text = inspect(project, release)
        assert "\x1b" not in text and shown in text.replace(",", ""), text
    path.write_text(json.dumps({key: value for key, value in document.items() if key not in ("sources", "counts")}))
    text = inspect(project, release)
    assert "\nread: " not in text and "driver_id" in text


def inspect(project: Project, release: str) -> str:
    return harness.run([harness.program("pillion"), "inspect", release, "--store", f"dir:{project.store}"]).stdout
