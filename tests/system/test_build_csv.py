# SPDX-License-Identifier: Apache-2.0
"""Goal: CSV is read as DuckDB reads it, and a mistake in it is told with the line that people see in an editor.

Method: small files, also random ones, with mistakes of each kind, built as test_build.py does.
"""
from __future__ import annotations

import gzip
import os
import random
import time
from pathlib import Path
from typing import Sequence

import duckdb
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
    skipped = [line for line in done.err.splitlines() if line.startswith("skipped: ")]
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


def test_lines_of_random_csv_are_those_of_duckdbs_rows(folder: Path) -> None:
    from pillion.build.csv_lines import Header, Lines, malformed
    from pillion.build.csv_source import csv_relation

    seed = int(os.environ.get("PIL_SEED", time.time_ns()))
    print(f"PIL_SEED={seed}")
    rng, path, header = random.Random(seed), folder / "a.csv", Header(",", ["n", "x", "y"])
    fields = ["a", "", '""', '"q,r"', '"a""b"', '"n\nm"', "\u00e9", ' "s"', '"t" ', " u ", 'v"w',  # good
              "\udcff"]
    for _ in range(100):
        connection = duckdb.connect()
        lines = ["n,x,y"]
        for number in range(rng.randrange(40)):
            count = rng.choice([0, 1, 3]) if rng.random() < 0.1 else 2
            line = ",".join([str(number), *rng.choices(fields, [9] * 11 + [2], k=count)])
            lines.append("" if rng.random() < 0.05 else line)
        path.write_bytes(rng.choice(["\n", "\r\n"]).join(lines).encode("utf-8", "surrogateescape"))
        wanted = [number for number, *_ in csv_relation(connection, path, header).fetchall()]
        physical = path.read_bytes().decode("utf-8", "surrogateescape").splitlines()
        where = Lines(path, header, [0, 1, 2])
        found = [where.of(row) for row in range(1, len(wanted) + 1)]
        assert [physical[line - 1].partition(",")[0] for line in found if line is not None] == wanted
        assert where.of(len(wanted) + 1) is None
        bad = [line for line, _, _ in malformed(path, header, [0, 1, 2])]
        assert not set(bad) & set(found) and bool(bad) == bool(connection.execute("FROM reject_errors").fetchone())
