# SPDX-License-Identifier: Apache-2.0
"""Goal: CSV is read as DuckDB reads it, and a mistake in it is told with the line that people see in an editor.

Method: small files, also random ones, with mistakes of each kind, built as test_build.py does.
"""
from __future__ import annotations

import bz2
import gzip
import json
import os
import random
import subprocess
import time
from pathlib import Path
from typing import Any, Sequence

import duckdb
import pyarrow as pa
import pytest
from build_project import FUTURE, Project, release_of

CSV_HEADER = "driver_id,ts,trips,city\n"
# Lines of a file (after the header) and what is said about each line that is wrong, by its number.
CSV_LINES = (
    ('1,2025-01-01,5,"two\nlines"', None),
    ("2,2025-01-01T10:00:00Z, 6 ,", None),
    ("3,2025-01-01,7", "has 3 fields where the header has 4 (column city is the first that is missing); write one"),
    ("", None),
    ("4,2025-01-01,seven,x", "column trips holds 'seven', which is not int32"),
    ("5,2025-01-01,8,x,y", "has 5 fields where the header has 4"),
    ('7,2025-01-01,10,"a, ""b"""', None),
    ("8,2025-01-01,11,\udcff", "column city is not UTF-8"),
    (",2025-01-01,12,x", "column driver_id (string) is null"),
    (f"9,{FUTURE.isoformat()},13,x", "in the future"),
    ("10,2025-01-01,14,\"\"", None),
)


def csv_project(project: Project, text: str, name: str = "a.csv") -> Path:
    project.features = {"trips": "int32", "city": "string"}
    project.source = "{type: csv, path: 'data/a.*', timestamp_field: ts}"
    path = project.data / name
    data = text.encode("utf-8", "surrogateescape")
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_skipped_lines_of_csv_are_counted_and_have_their_number(project: Project, name: str, line_end: str) -> None:
    text, wrong, number = CSV_HEADER, {}, 2
    for line, mistake in CSV_LINES:
        if mistake is not None:
            wrong[number] = mistake.partition(";")[0]
        text, number = text + line + "\n", number + line.count("\n") + 1
    csv_project(project, text.replace("\n", line_end), name)
    done = project.build("--on-bad-row=skip", "--json")
    notes = [json.loads(line)["note"] for line in done.err.splitlines()]
    skipped = [note for note in notes if note.startswith("skipped: ")]
    assert len(skipped) == len(wrong) == 6
    for number, mistake in wrong.items():
        assert any(f"data/{name}, line {number}: " in line and mistake in line for line in skipped), (number, skipped)
    counts = done.result["counts"]
    assert (counts["rows_in"], counts["rows_out"]) == (len(CSV_LINES) - 1, 4)
    assert (counts["null_keys"], counts["bad_rows"]) == (1, 5)
    assert project.manifest(done.result["release"])["sources"][0]["rows"] == len(CSV_LINES) - 1
    shard = next(project.shards(done.result["release"]))
    values = [tuple(shard.decode(shard.get(shard.key([key]))).values()) for key in (1, 2, 7, 10)]
    assert values == [(5, f"two{line_end}lines"), (6, None), (10, 'a, "b"'), (14, "")]
    assert "more than 5 bad rows" in project.build("--on-bad-row=skip", "--max-bad-rows", "5", code=1).err


@pytest.mark.parametrize("line, mistake", [pair for pair in CSV_LINES if pair[1] is not None])
def test_a_mistake_in_csv_is_one_message(project: Project, line: str, mistake: str) -> None:
    csv_project(project, CSV_HEADER + '1,2025-01-01,5,"two\nlines"\n' + line + "\n2,2025-01-01,5,x\n")
    done = project.build(code=1)
    assert len(done.err.splitlines()) == 1, done.err  # DuckDB's own complaints about what was not freed among them
    assert "data/a.csv, line 4: " in done.err and mistake in done.err and "--on-bad-row=skip" in done.err
    assert project.manifests() == []


@pytest.mark.parametrize("arguments", [(), ("--on-bad-row=skip",)])
@pytest.mark.parametrize("text", [
    '1,2025-01-01,5,"a"b\n2,2025-01-01,5,x\n',
    '1,2025-01-01,5,"open\n2,2025-01-01,5,v"w\n3,2025-01-01,5,"open\n4,2025-01-01,5,"q,r"\n',
])
def test_a_wrong_quote_cannot_be_skipped(project: Project, text: str, arguments: Sequence[str]) -> None:
    """DuckDB makes a row of the middle of the second one."""
    csv_project(project, CSV_HEADER + text)
    done = project.build(*arguments, code=1)
    assert "data/a.csv, line 2: has a text in quotes that does not end at its quote" in done.err
    assert project.manifests() == []


@pytest.mark.parametrize("text, says", [
    ("", "is empty; write a header line"),
    ("\n \n", "column driver_id is missing"),
    (CSV_HEADER, "the source is empty"),
    (CSV_HEADER.replace("trips", "trip"), "column trips is missing (int32 of stats); there are: driver_id, ts, trip"),
    (CSV_HEADER + "1,2025-01-01,5,x\r\n2,2025-01-01,5,x\n3,2025-01-01,5,x\n", "line 2: ends in CR LF where those "),
])
def test_csv_files_that_cannot_be_read_say_why(project: Project, text: str, says: str) -> None:
    csv_project(project, text)
    done = project.build(code=1)
    assert says in done.err and len(done.err.splitlines()) == 1


@pytest.mark.parametrize("delimiter", list(",;\t|"))
def test_the_header_of_a_csv_file_says_its_delimiter(project: Project, delimiter: str) -> None:
    text = "\ufeffdriver_id,ts,Trips,trips,city\n1,2025-01-01,0,5,\"a,b\"\n".replace(",", delimiter)
    csv_project(project, text)
    shard = next(project.shards(release_of(project.build())))
    assert shard.decode(shard.get(shard.key([1]))) == {"trips": 5, "city": f"a{delimiter}b"}


NAMES = "header: false, column_names: [driver_id, ts, trips, city]"


@pytest.mark.parametrize("begin", ["", "\n", "\ufeff"])
@pytest.mark.parametrize("delimiter", list(",;\t|"))
def test_the_first_row_says_the_delimiter_where_there_is_no_header(project: Project, delimiter: str,
                                                                   begin: str) -> None:
    others = "".join(c for c in ",;|" if c != delimiter)
    csv_project(project, begin + f"1,2025-01-01,5,a{{}}\n2,2025-01-02,6,b\n".replace(",", delimiter).format(others))
    project.source = source_with(NAMES)
    done = project.build("--json")
    assert done.result["counts"]["rows_in"] == 2
    shard = next(project.shards(done.result["release"]))
    assert shard.decode(shard.get(shard.key([1]))) == {"trips": 5, "city": "a" + others}


def test_the_delimiter_of_the_source_counts_where_there_is_no_header(project: Project) -> None:
    csv_project(project, "1|2025-01-01|5|a\n")
    project.source = source_with(f"{NAMES}, delimiter: '|'")
    assert built(project)["city"] == "a"
    project.source = source_with(f"{NAMES}, delimiter: ';'")
    assert "line 1: has 1 field where there are column_names for 4 (column ts is" in project.build(code=1).err


def test_a_first_row_that_lacks_a_field_is_split_by_its_delimiter(project: Project) -> None:
    csv_project(project, "1;2025-01-01;5\n2;2025-01-01;6;x\n")
    project.source = source_with(NAMES)
    said = project.build(code=1).err
    assert "line 1: has 3 fields where there are column_names for 4 (column city is the first that is missing)" in said


# ---- How values are spelled

def built(project: Project, key: int = 1) -> dict[str, Any]:
    """The values of a key in a new release."""
    shard = next(project.shards(release_of(project.build())))
    row = shard.get(shard.key([key]))
    return {"ts": row.event_ts_us, **shard.decode(row)}


def source_with(options: str) -> str:
    return f"{{type: csv, path: 'data/a.*', timestamp_field: ts, {options}}}"


NULLS = CSV_HEADER + '1,2025-01-01,NA,NA\n2,2025-01-01,"NA",\\N\n3,2025-01-01, \\N ,"NA"\n4,2025-01-01,"",""\n'


def test_null_values_are_those_of_the_source(project: Project) -> None:
    csv_project(project, NULLS)
    project.source = source_with("null_values: [NA, '\\N']")
    assert [built(project, key)["trips"] for key in (1, 2, 3, 4)] == [None] * 4
    assert [built(project, key)["city"] for key in (1, 2, 3, 4)] == [None, None, "NA", ""]


@pytest.mark.parametrize("value", ["NA", "\\N", "null", "NaN", "?"])
def test_a_bad_value_is_shown_and_its_option_proposed(project: Project, value: str) -> None:
    csv_project(project, f"{CSV_HEADER}1,2025-01-01,{value},x\n")
    said = project.build(code=1).err
    assert f"line 2: column trips holds '{value}', which is not int32" in said
    assert f"null_values: ['{value}'] into the source" in said
    project.source = source_with(f"null_values: ['{value}']")
    assert built(project)["trips"] is None


def test_a_value_tagged_pii_is_not_shown(project: Project) -> None:
    csv_project(project, f"{CSV_HEADER}1,2025-01-01,secret,x\n")
    project.write()
    path = project.folder / "p.yaml"
    path.write_text(path.read_text().replace('type: "int32"', "type: int32, tags: [pii]"))
    done = subprocess.run(project.command(), capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "column trips holds text that is not" in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize("options, text, wanted", [
    ("header: false, column_names: [driver_id, ts, trips, city]", "1,2025-01-01,5,x\n", (5, "x")),
    ("delimiter: ':'", "driver_id:ts:trips:city\n1:2025-01-01:5:x\n", (5, "x")),
    ("delimiter: ' '", "driver_id ts trips city\n1 2025-01-01 5 x\n", (5, "x")),
    ("delimiter: \"\\u0001\"", "driver_id\x01ts\x01trips\x01city\n1\x012025-01-01\x015\x01x\n", (5, "x")),
    ("quote: \"'\"", CSV_HEADER + "1,2025-01-01,5,'a,''b'\n", (5, "a,'b")),
    ("quote: ''", CSV_HEADER + '1,2025-01-01,5,"a"b\n', (5, '"a"b')),
    ("escape: '\\'", CSV_HEADER + '1,2025-01-01,5,"a\\"b"\n', (5, 'a"b')),
    ("comment: '#'", "# made by hand\n\n" + CSV_HEADER + '# none\n1,2025-01-01,5,"a#b" # five\n', (5, "a#b")),
    ("thousands: ','", CSV_HEADER + '1,2025-01-01,"1,234,567",x\n', (1234567, "x")),
    ("decimal_separator: ',', thousands: .", CSV_HEADER + '1,2025-01-01,"-1.234,0",x\n', (-1234, "x")),
])
def test_options_say_how_a_file_is_written(project: Project, options: str, text: str, wanted: tuple[int, str]) -> None:
    csv_project(project, text)
    project.source = source_with(options)
    project.features = {"trips": "float64" if "decimal" in options else "int32", "city": "string"}
    values = built(project)
    assert (values["trips"], values["city"]) == wanted


@pytest.mark.parametrize("options, value", [
    ("decimal_separator: ','", "1.5"), ("thousands: ','", "1,5"), ("thousands: ','", "12,34"),
    ("decimal_separator: ',', thousands: .", "1,234.5"), ("thousands: ','", "1234,567"), ("header: true", "1,5"),
])
def test_a_separator_in_the_wrong_place_is_no_number(project: Project, options: str, value: str) -> None:
    csv_project(project, f'{CSV_HEADER}1,2025-01-01,"{value}",x\n')
    project.source = source_with(options)
    project.features = {"trips": "float64", "city": "string"}
    said = project.build(code=1).err
    assert f"column trips holds '{value}', which is not float64" in said
    assert ("decimal_separator: ','" in said) == (options == "header: true")


@pytest.mark.parametrize("value, us, rounded", [
    ("2025-01-01T00:00:00Z", 0, 0), ("2025-01-01 00:00:00 UTC", 0, 0), ("2025-01-01 01:00:00+01:00", 0, 0),
    ("2025-01-01 00:00:00.123456789", 123456, 1), ("2025-01-01 00:00:00.123456000 UTC", 123456, 0),
    ("2025-01-01", 0, 0),
    ("2025-01-01T02:00:00.1234567+02:00", 123456, 1),
])
def test_times_as_other_programs_write_them(project: Project, value: str, us: int, rounded: int) -> None:
    csv_project(project, f"{CSV_HEADER}1,{value},5,x\n")
    assert built(project)["ts"] == 1735689600000000 + us
    assert project.build("--json").result["counts"]["rounded"] == ({"ts": rounded} if rounded else {})


@pytest.mark.parametrize("value", ["1735689600", "2025/01/01", "01.02.2025", "noon", "2025-01-01 00:00:00 CET"])
def test_a_time_that_is_not_known_names_the_forms(project: Project, value: str) -> None:
    csv_project(project, f"{CSV_HEADER}1,{value},5,x\n")
    said = project.build(code=1).err
    assert f"column ts holds '{value}', which is not unix_timestamp; write 2026-01-31T12:00:00Z" in said
    assert "UTC" in said and "nine digits" in said and "a number has no unit" in said


# ---- What the bytes are

PACKERS = {"plain": bytes, "gzip": gzip.compress, "bz2": bz2.compress,
           "zstd": lambda data: pa.compress(data, codec="zstd", asbytes=True)}


@pytest.mark.parametrize("packer, name", [
    ("plain", "a.csv.gz"), ("plain", "a.[1].csv"), ("gzip", "a.csv"), ("zstd", "a.csv.zst"),
    ("bz2", "a.csv.bz2")])
def test_the_content_says_how_a_file_is_compressed(project: Project, packer: str, name: str) -> None:
    text = CSV_HEADER + "1,2025-01-01,5,x\n2,2025-01-01,six,x\n"
    csv_project(project, text)
    (project.data / "a.csv").unlink()
    (project.data / name).write_bytes(PACKERS[packer](text.encode()))
    said = project.build(code=1).err
    assert "line 3: column trips holds 'six'" in said
    (project.data / name).write_bytes(PACKERS[packer](text.replace("six", "6").encode()))
    (temporary := project.folder / "t").mkdir()
    project.build("--tmp", str(temporary))
    assert (built(project)["trips"], built(project, 2)["trips"]) == (5, 6)
    assert not list(temporary.iterdir())


def test_a_name_with_brackets_is_no_pattern(project: Project) -> None:
    csv_project(project, f"{CSV_HEADER}1,2025-01-01,5,x\n", "a[1].csv")
    csv_project(project, f"{CSV_HEADER}1,2025-01-01,6,x\n", "a1.csv")
    project.source = project.source.replace("a.*", "a[1].csv")
    assert built(project)["trips"] == 5


@pytest.mark.parametrize("data, says", [
    (CSV_HEADER.encode("utf-16"), "is UTF-16; write UTF-8"), (CSV_HEADER.encode("utf-16-le"), "it contains zero bytes"),
    (b"PAR1\x15\x04", "is Parquet; write type: parquet"), (b"PK\x03\x04\x14", "is a ZIP archive"),
    (b"\xfd7zXZ\0\0", "is xz"), (gzip.compress(b"PAR1\x15\x04"), "is Parquet"), (b"ORC\x0a\x0b\0", "is ORC"),
    (b"ARROW1\0\0", "is Arrow IPC"), (b"Obj\x01\x04", "is Avro"), (b"SQLite format 3\0", "use type: sql"),
    (gzip.compress(CSV_HEADER.encode())[:20], "data/a.csv: "), (bz2.compress(CSV_HEADER.encode())[:20], "data/a.csv: "),
])
def test_what_is_no_text_is_told_by_its_bytes(project: Project, data: bytes, says: str) -> None:
    csv_project(project, "")
    (project.data / "a.csv").write_bytes(data)
    said = project.build(code=1).err
    assert "data/a.csv: " in said and says in said and said.count("\n") == 1 and said[:-1].isprintable()


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("name", ["ORCID", "ORC", "PAR1", "ARROW1", "BZh", "BZh9", "Obj", "SQLite format 3"])
def test_a_column_may_be_named_like_a_format(project: Project, packer: str, name: str) -> None:
    csv_project(project, "")
    text = f"{name},driver_id,ts,trips,city\r\n7,1,2025-01-01,5,x\r\n"
    (project.data / "a.csv").write_bytes(PACKERS[packer](text.encode()))
    assert built(project)["trips"] == 5


def test_a_header_cannot_steer_the_terminal(project: Project) -> None:
    csv_project(project, '\x1b[31mred\x1b[0m,"\x07two\nlines",\u202eright\n')
    said = project.build(code=1).err
    assert "there are: \\x1b[31mred\\x1b[0m, \\x07two\\x0alines, \\xe2\\x80\\xaeright" in said


DIALECTS = ({}, {"comment": "#"}, {"escape": "\\"}, {"quote": "'"}, {"quote": "'", "escape": "\\", "comment": "%"},
            {"quote": ""})


@pytest.mark.parametrize("options", DIALECTS)
def test_lines_of_random_csv_are_those_of_duckdbs_rows(folder: Path, options: dict[str, str]) -> None:
    from pillion.build.csv_dialect import Dialect
    from pillion.build.csv_lines import Lines, malformed, read_header
    from pillion.build.csv_source import Opened, csv_relation

    seed = int(os.environ.get("PIL_SEED", time.time_ns()))
    print(f"PIL_SEED={seed}")
    dialect = Dialect.parse(options)
    rng, path = random.Random(seed), folder / "a.csv"
    fields = ["a", "", '""', '"q,r"', '"a""b"', '"n\nm"', "\u00e9", ' "s"', '"t" ', " u ", 'v"w',  # good
              "\udcff"]
    if dialect.escape != dialect.quote:
        fields[4] = f'"a{dialect.escape}"b{dialect.escape * 2}"'
    if dialect.comment:
        fields[3] = f'"q,{dialect.comment}r"'
    if dialect.quote:
        fields = [field.replace('"', dialect.quote) for field in fields]
    else:
        fields = [field for field in fields if field not in ('"q,r"', '"n\nm"')]
    for _ in range(60):
        connection = duckdb.connect()
        lines = ["n,x,y"]
        for number in range(rng.randrange(40)):
            count = rng.choice([0, 1, 3]) if rng.random() < 0.1 else 2
            line = ",".join([str(number), *rng.choices(fields, [9] * (len(fields) - 1) + [2], k=count)])
            if dialect.comment and rng.random() < 0.2:
                line = rng.choice([dialect.comment, f"  {dialect.comment} a,b", f"{line}{dialect.comment}c,d"])
            lines.append("" if rng.random() < 0.05 else line)
        lines = [rng.choice(["", f"{dialect.comment}x" if dialect.comment else ""]) for _ in range(rng.randrange(4))
                 ] + lines
        path.write_bytes(rng.choice(["\n", "\r\n"]).join(lines).encode("utf-8", "surrogateescape"))
        header = read_header(path, ["n", "x", "y"], dialect)
        assert header.names == ["n", "x", "y"]
        opened = Opened(path, str(folder))
        wanted = [number for number, *_ in csv_relation(connection, opened, header).fetchall()]
        opened.close()
        physical = path.read_bytes().decode("utf-8", "surrogateescape").splitlines()
        where = Lines(path, header, [0, 1, 2])
        found = [where.of(row) for row in range(1, len(wanted) + 1)]
        assert [physical[line - 1].partition(",")[0] for line in found if line is not None] == wanted
        assert where.of(len(wanted) + 1) is None
        bad = [line for line, _, _ in malformed(path, header, [0, 1, 2])]
        assert not set(bad) & set(found) and bool(bad) == bool(connection.execute("FROM reject_errors").fetchone())
