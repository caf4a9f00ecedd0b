# SPDX-License-Identifier: Apache-2.0
"""`pillion init` on files as users have them: the types are those that hold all of the data, what is written is
accepted and builds, the commands that it prints work when they are pasted, and nothing is asked where nobody can answer
or overwritten where nobody said so."""

from __future__ import annotations

import datetime
import gzip
import json
import os
import pty
import select
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import harness
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

pytest.importorskip("pillion", reason="the package is not installed")
INIT = (sys.executable, "-m", "pillion.init")
UTC = datetime.timezone.utc
START = datetime.datetime(2025, 1, 1, tzinfo=UTC)


def clean() -> dict[str, str]:
    """Where pillion finds pillion-init and the others, and no store of somebody."""
    found = [str(Path(harness.program("pillion")).parent), str(Path(sys.executable).parent)]
    kept = {name: value for name, value in os.environ.items() if name != "PILLION_STORE"}
    return {**kept, "PATH": ":".join([*found, os.environ["PATH"]])}


def init(folder: Path, *args: Any, code: int = 0) -> subprocess.CompletedProcess[str]:
    return harness.run([*INIT, *map(str, args)], code=code, cwd=folder, env=clean(), stdin=subprocess.DEVNULL)


def view_of(folder: Path, index: int = 0) -> dict[str, Any]:
    return yaml.safe_load((folder / "project.yaml").read_text())["feature_views"][index]


def types_of(folder: Path, index: int = 0) -> dict[str, str]:
    return {feature["name"]: feature["type"] for feature in view_of(folder, index)["features"]}


def csv(folder: Path, text: str, name: str = "a.csv") -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def check(folder: Path) -> None:
    harness.run([harness.program("pillion"), "check", folder / "project.yaml"])


def build(folder: Path, *options: str, code: int = 0) -> str:
    """All rows of the data are taken by what was written."""
    done = harness.run([sys.executable, "-m", "pillion.build", folder / "project.yaml", "--dry-run", *options],
                       code=code)
    return done.stderr


# ---- Types

COLUMNS = {  # name: values of a CSV, type
    "whole": (["1", "-2", "9223372036854775807"], "int64"),
    "fraction": (["1", "2.5", "-1e3"], "float64"),
    "point": (["1.0", "2.0", "3"], "float64"),
    "beyond": (["1", "12345678901234567891234567", "3"], "string"),
    "zip": (["01234", "50667", "1"], "string"),
    "phone": (["+49123", "1", "2"], "string"),
    "truth": (["true", "false", "TRUE"], "bool"),
    "bit": (["0", "1", "0"], "int64"),
    "since": (["2024-01-01", "2024-01-01 12:00:00", "2024-01-01T12:00:00.123456789Z"], "unix_timestamp"),
    "german": (["31/01/2026", "01/02/2026", "02/02/2026"], "string"),
    "comma": (['"1.234,5"', '"2,5"', "3"], "string"),
    "missing": (["NA", "5", "NULL"], "int64"),
    "not_a_number": (["nan", "5.5", "1"], "float64"),
    "text": (["NA", "b", '"c, ""d"""'], "string"),
    "empty": (["", "", ""], None),
    "numbers": (['"[1, 2]"', '"[]"', '"[3]"'], "list<int64>"),
    "floats": (['"[1, 2.5]"', '"[]"', '"[3]"'], "list<float64>"),
    "words": (["\"[\"\"a\"\"]\"", "[]", '"[""b"", ""c""]"'], "list<string>"),
    "short": (['"[1.5, 2]"', '"[1, 2]"', '"[3, 4]"'], "list<float64>"),
    "taste": ([f'"[{", ".join(["0.5"] * 8)}]"'] * 3, "vector<float32,8>"),
    "fine": ([f'"[{", ".join(["0.1"] * 8)}]"'] * 3, "list<float64>"),
}


def test_types_of_csv_hold_every_value(folder):
    lines = [",".join(["id", "ts", *COLUMNS])]
    for row in range(3):
        lines.append(",".join([str(row), f"2026-01-0{row + 1}", *(values[row] for values, _ in COLUMNS.values())]))
    csv(folder, "\n".join(lines) + "\n")
    done = init(folder, "a.csv", "--entity", "id")
    assert types_of(folder) == {name: kind for name, (_, kind) in COLUMNS.items() if kind is not None}
    text = (folder / "project.yaml").read_text()
    assert "#   empty has no value" in text and "left out: empty has no value" in done.stderr
    assert "looks like a time, %d/%m/%Y" in text and "looks like numbers: decimal_separator" in text
    assert view_of(folder)["source"]["null_values"] == ["NA", "NULL"]
    check(folder)
    assert "3 rows in, 3 out" in build(folder)


@pytest.mark.parametrize("last, kind", [("7", "int64"), ("7.5", "float64"), ("x", "string"), ("07", "string")])
def test_the_last_row_counts(folder, last, kind):
    rows = [f"{row},2026-01-01,{row}" for row in range(150_000)]
    csv(folder, "\n".join(["id,ts,v", *rows, f"-1,2026-01-01,{last}"]) + "\n")
    init(folder, "a.csv", "--entity", "id")
    assert types_of(folder) == {"v": kind}


PARQUET = {  # name: column, type
    "small": (pa.array([1, 2, None], pa.int8()), "int32"),
    "unsigned": (pa.array([1, 2**32 - 1, None], pa.uint32()), "int64"),
    "huge": (pa.array([1, 2**63 - 1, None], pa.uint64()), "int64"),
    "too_huge": (pa.array([1, 2**64 - 1, None], pa.uint64()), None),
    "half": (pa.array([1, 2, None], pa.float16()), "float32"),
    "single": (pa.array([0.5, 2, None], pa.float32()), "float32"),
    "price": (pa.array([None, "1.10", "2.25"]).cast(pa.decimal128(10, 2)), "float64"),
    "share": (pa.array([None, "0.1234567890123456789", "0.5"]).cast(pa.decimal128(20, 19)), "float64"),
    "count": (pa.array([None, 1, 2]).cast(pa.decimal128(20, 0)), "int64"),
    "truth": (pa.array([True, None, False]), "bool"),
    "city": (pa.array(["a", None, "b"]).dictionary_encode(), "string"),
    "iso": (pa.array(["2024-01-01", None, "2024-01-02"]), "string"),
    "token": (pa.array([b"a", None, b"\xff"]), "bytes"),
    "day": (pa.array([datetime.date(2024, 1, 1), None, None]), "unix_timestamp"),
    "fine_time": (pa.array([1, None, 2], pa.timestamp("ns")), "unix_timestamp"),
    "hours": (pa.array([[1], None, [2, 3]], pa.list_(pa.int16())), "list<int32>"),
    "holes": (pa.array([[1, None], None, [2]], pa.list_(pa.int64())), None),
    "taste": (pa.array([[0.1, 0.2], [0.3, 0.4], None], pa.list_(pa.float32(), 2)), "vector<float32,2>"),
    "deep": (pa.array([[[1]], None, [[2]]]), None),
    "pair": (pa.array([{"a": 1}, None, {"a": 2}]), None),
    "clock": (pa.array([1, None, 2], pa.time64("us")), None),
    "nothing": (pa.nulls(3), None),
}


def parquet(folder: Path, columns: dict[str, pa.Array], name: str = "a.parquet") -> None:
    rows = len(next(iter(columns.values()))) if columns else 3
    base = {"driver_id": pa.array(range(rows), pa.int64()),
            "event_timestamp": pa.array([START] * rows, pa.timestamp("us", "UTC"))}
    (folder / name).parent.mkdir(exist_ok=True)
    pq.write_table(pa.table({**base, **columns}), folder / name)


def test_types_of_parquet_hold_every_value(folder):
    parquet(folder, {name: column for name, (column, _) in PARQUET.items()})
    init(folder, "a.parquet", "--entity", "driver_id")
    assert types_of(folder) == {name: kind for name, (_, kind) in PARQUET.items() if kind is not None}
    text = (folder / "project.yaml").read_text()
    for name, (_, kind) in PARQUET.items():
        assert (f"#   {name} " in text) == (kind is None), name
    assert "decimals that are rounded to the nearest float64: 1" in text
    assert "looks like a time, %Y-%m-%dT%H:%M:%S" in text
    check(folder)
    assert "3 rows in, 3 out" in build(folder)


def test_files_of_pandas(folder):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"driver_id": [1, 2], "ts": pd.to_datetime(["2025-01-01", "2025-01-02"]),
                          "city": pd.Categorical(["a", None]), "trips": pd.array([1, None], dtype="Int64"),
                          "tags": [["x"], None]}, index=[5, 9])
    frame.to_parquet(folder / "a.parquet")
    init(folder, "a.parquet", "--entity", "driver_id")
    assert types_of(folder) == {"city": "string", "trips": "int64", "tags": "list<string>"}
    assert "__index_level_0__ is an index of pandas without a name" in (folder / "project.yaml").read_text()
    frame.set_index("driver_id").to_parquet(folder / "a.parquet")
    init(folder, "a.parquet", "--entity", "driver_id", "--force")
    assert view_of(folder)["entities"] == ["driver_id"]
    assert "2 rows in, 2 out" in build(folder)


def test_files_that_differ_get_what_holds_both(folder):
    parquet(folder, {"a": pa.array([1], pa.int32()), "b": pa.array([1]), "c": pa.array([1])}, "data/1.parquet")
    parquet(folder, {"a": pa.array([2**40]), "b": pa.array([0.5]), "d": pa.array([1])}, "data/2.parquet")
    parquet(folder, {"a": pa.array([3], pa.int8()), "b": pa.array(["x"])}, "data/3.parquet")
    init(folder, "data", "--entity", "driver_id")
    assert types_of(folder) == {"a": "int64"}
    text = (folder / "project.yaml").read_text()
    assert "c is not in 2.parquet" in text and "d is not in 1.parquet" in text
    assert "b is double and int64 and string, and no type holds both exactly" in text
    assert view_of(folder)["source"]["path"] == "data" and view_of(folder)["name"] == "data"
    assert "3 rows in, 1 out" in build(folder)


# ---- CSV as it is

@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_and_quotes(folder, delimiter):
    text = delimiter.join(["id", "ts", '"a ""b"""', "c"]) + "\n"
    text += delimiter.join(["1", "2025-01-01", f'"x{delimiter}y"', "2"]) + "\n"
    csv(folder, text)
    init(folder, "a.csv", "--entity", "id")
    source = view_of(folder)["source"]
    assert source["delimiter"] == delimiter and source["field_mapping"] == {'a "b"': "a__b_"}
    assert types_of(folder) == {"a__b_": "string", "c": "int64"}
    assert "1 rows in, 1 out" in build(folder)


def test_compressed_files_of_a_glob(folder):
    for number in range(3):
        (folder / f"part-{number}.csv.gz").write_bytes(gzip.compress(f"id,ts,v\n{number},2025-01-01,1\n".encode()))
    init(folder, "part-*.csv.gz", "--entity", "id", "--view", "parts")
    assert view_of(folder)["name"] == "parts" and "3 rows in, 3 out" in build(folder)


def test_names_that_are_not_legal_get_legal_ones(folder):
    header = 'driver id,ts,größe,gr__e,1st,no,"a: b",\x1b[31mred,,x,x'
    csv(folder, f"{header}\n1,2025-01-01,1,2,3,4,5,6,7,8,9\n", "2026 März.csv")
    done = init(folder, "2026 März.csv", "--entity", "driver id", "--project", "my rides!")
    assert view_of(folder)["name"] == "_2026_M_rz"
    assert yaml.safe_load((folder / "project.yaml").read_text())["project"] == "my_rides_"
    assert list(types_of(folder)) == ["gr__e", "gr__e_2", "_1st", "no", "a__b", "__31mred"]
    text = (folder / "project.yaml").read_text()
    assert "x is there more than once" in text and "\x1b" not in text + done.stdout + done.stderr
    check(folder)
    build(folder)


# ---- Keys and times

def test_composite_keys_and_one_entity_for_two_views(folder):
    csv(folder, "a,b,ts,v\n1,x,2025-01-01,1\n1,y,2025-01-01,2\n")
    csv(folder, "a,ts,v\nq,2025-01-01,1\n", "b.csv")
    csv(folder, "a,ts,v\n3,2025-01-01,1\n", "c.csv")
    init(folder, "a.csv", "b.csv", "c.csv", "--entity", "a,b", "--entity", "a", "--entity", "a")
    project = yaml.safe_load((folder / "project.yaml").read_text())
    assert project["entities"] == [{"name": "a", "type": "int64"}, {"name": "b", "type": "string"},
                                   {"name": "a_2", "join_key": "a", "type": "string"}]
    assert [view["entities"] for view in project["feature_views"]] == [["a", "b"], ["a_2"], ["a"]]
    check(folder)
    assert "2 rows in, 2 out" in build(folder)


def test_the_time_is_found_by_its_name_or_asked_for(folder):
    csv(folder, "id,signed_up,event_timestamp\n1,2024-01-01,2025-01-01\n")
    init(folder, "a.csv", "--entity", "id")
    assert view_of(folder)["source"]["timestamp_field"] == "event_timestamp"
    csv(folder, "id,signed_up,seen\n1,2024-01-01,2025-01-01\n")
    done = init(folder, "a.csv", "--entity", "id", "--force", code=2)
    assert "--timestamp is missing" in done.stderr and "signed_up, seen" in done.stderr
    init(folder, "a.csv", "--entity", "id", "--timestamp", "seen", "--force")
    assert view_of(folder)["source"]["timestamp_field"] == "seen"
    assert types_of(folder) == {"signed_up": "unix_timestamp"}
    csv(folder, "id,ts,created\n1,2024-01-01,2025-01-01\n")
    init(folder, "a.csv", "--entity", "id", "--force")
    assert view_of(folder)["source"]["created_timestamp_column"] == "created" and types_of(folder) == {}


@pytest.mark.parametrize("text, words", [
    ("id,v\n1,2\n", "there is no column of times; so the view is static"),
    ("id,when\n1,31/01/2026\n", "when looks like a time (%d/%m/%Y): write it as a timestamp"),
    ("id,ts\n1,1767225600\n", "ts has numbers, which have no unit"),
])
def test_without_a_time_the_view_is_static(folder, text, words):
    csv(folder, text)
    done = init(folder, "a.csv", "--entity", "id")
    assert words in done.stderr and view_of(folder)["static"] is True
    assert "timestamp_field" not in view_of(folder)["source"] and "ttl" not in view_of(folder)
    check(folder)
    assert "1 rows in, 1 out" in build(folder) and done.stdout.endswith("/a 1\n")
    done = init(folder, "a.csv", "--entity", "id", "--ttl", "7d", "--force", code=1)
    assert "leave out --ttl" in done.stderr


def test_rows_that_a_build_refuses_are_skipped_by_the_one_that_is_printed(folder):
    csv(folder, "id,ts,v\nNA,2025-01-01,1\n,2025-01-01,1\n3,,1\n4,2999-01-01,1\n5,2025-01-01,1\n")
    done = init(folder, "a.csv", "--entity", "id")
    assert "4 or fewer rows have no key, no time or one in the future" in done.stderr
    assert "--on-bad-row=skip --max-bad-rows 4" in done.stdout and done.stdout.endswith("/a 5\n")
    assert types_of(folder) == {"v": "int64"} and view_of(folder)["source"]["null_values"] == ["NA"]
    assert "5 rows in, 1 out" in build(folder, "--on-bad-row=skip", "--max-bad-rows", "4")


@pytest.mark.parametrize("option, column, words", [
    ("--entity", "nowhere", "there is no such column; there are: id, ts, v, empty"),
    ("--entity", "v", "is float64, which cannot be a key"),
    ("--entity", "ts", "is the event timestamp"),
    ("--entity", "id,id", "name 1 to 8 columns, each once"),
    ("--timestamp", "v", "is float64; write it as a timestamp"),
    ("--timestamp", "nowhere", "there is no such column"),
])
def test_wrong_columns_are_told(folder, option, column, words):
    csv(folder, "id,ts,v,empty\n1,2025-01-01,1.5,\n")
    args = {"--entity": "id", "--timestamp": "ts", option: column}
    done = init(folder, "a.csv", *(word for pair in args.items() for word in pair), code=1)
    assert words in done.stderr and not (folder / "project.yaml").exists()


# ---- Files that are there, and files that are not

def test_nothing_is_overwritten(folder):
    csv(folder, "id,ts\n1,2025-01-01\n")
    (folder / "pilliond.yaml").write_text("mine")
    done = init(folder, "a.csv", "--entity", "id", code=1)
    assert "pilliond.yaml is in " in done.stderr and "--force" in done.stderr
    assert (folder / "pilliond.yaml").read_text() == "mine" and not (folder / "project.yaml").exists()
    init(folder, "a.csv", "--entity", "id", "--out", "new/deep")
    assert view_of(folder / "new" / "deep")["source"]["path"] == str(folder / "a.csv")
    init(folder, "a.csv", "--entity", "id", "--force")
    assert "rides" not in (folder / "pilliond.yaml").read_text() and (folder / "pilliond.yaml").read_text() != "mine"


def broken(folder: Path) -> dict[str, tuple[str, str]]:
    """Paths and what is said of them."""
    csv(folder, "", "empty.csv")
    csv(folder, "", "empty.parquet")
    csv(folder, "id,ts\n", "header.csv")
    csv(folder, "id,ts\n1,2025-01-01\n2\n", "short.csv")
    csv(folder, 'id,ts\n1,"2025-01-01\n', "quote.csv")
    parquet(folder, {})
    whole = (folder / "a.parquet").read_bytes()
    (folder / "torn.parquet").write_bytes(whole[:-20])
    (folder / "sheet.csv").write_bytes(b"PK\x03\x04" + bytes(100))
    csv(folder, "id,ts\n1,2025-01-01\n", "both/a.csv")
    (folder / "both" / "a.parquet").write_bytes(whole)
    (folder / "none").mkdir()
    return {
        "empty.csv": ("empty.csv", "is empty"), "empty.parquet": ("empty.parquet", "cannot be read"),
        "header.csv": ("header.csv", "has no rows"), "short.csv": ("short.csv, line 3", "has 1 field where the header"),
        "quote.csv": ("quote.csv", "quote"), "torn.parquet": ("torn.parquet", "cannot be read"),
        "sheet.csv": ("sheet.csv", "a ZIP archive"), "both": ("both", "there are Parquet and CSV files"),
        "none": ("none", "none: there is no Parquet and no CSV file in this folder; name a file, a folder"),
        "nowhere.csv": ("nowhere.csv", "there is no such file; name a file, a folder, or a glob in quotes"),
        "s3://b/a.csv": ("s3:", "is a URL"),
    }


def test_what_cannot_be_read_is_named(folder):
    for path, words in broken(folder).items():
        done = init(folder, path, "--entity", "id", "--out", "out", code=1)
        assert done.stderr.startswith("pillion init: ") and all(word in done.stderr for word in words), done.stderr
        assert "fault of this program" not in done.stderr and not (folder / "out" / "project.yaml").exists()


def test_a_folder_that_cannot_be_written_is_an_exit_code_of_its_own(folder):
    csv(folder, "id,ts\n1,2025-01-01\n")
    done = init(folder, "a.csv", "--entity", "id", "--out", "a.csv/x", code=3)
    assert "Not a directory" in done.stderr


def test_wide_files(folder):
    features = {f"f{number}": pa.array([number * 0.5, 1.0], pa.float64()) for number in range(2000)}
    parquet(folder, features)
    init(folder, "a.parquet", "--entity", "driver_id")
    assert types_of(folder) == dict.fromkeys(features, "float64")
    lines = [",".join(["id", "ts", *features]), ",".join(["1", "2025-01-01", *(["7"] * 2000)])]
    csv(folder, "\n".join(lines) + "\n")
    init(folder, "a.csv", "--entity", "id", "--force")
    assert types_of(folder) == dict.fromkeys(features, "int64")
    check(folder)
    build(folder)


# ---- Questions

def on_a_terminal(folder: Path, answers: list[str], *args: str) -> tuple[int, str]:
    """Answers the questions, each of which ends in "]: "."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execvpe(INIT[0], [*INIT, *args], clean())
    shown, asked, deadline = "", 0, time.monotonic() + 60
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # the end, as Linux says it
            break
        shown += piece.decode(errors="replace")
        if shown.count("]: ") > asked:
            os.write(terminal, (answers[asked] + "\n").encode())
            asked += 1
    os.close(terminal)
    assert asked == len(answers), shown
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown


def test_a_terminal_is_asked(folder):
    csv(folder, "event_id,driver_id,a,b,v\n1,7,2025-01-01,2025-01-02,1\n", "drivers.csv")
    code, shown = on_a_terminal(folder, ["b", ""], "drivers.csv")
    assert code == 0 and "the column of the event time; there are a, b [a]: " in shown
    assert "there are event_id, driver_id, v [driver_id]: " in shown
    assert view_of(folder)["entities"] == ["driver_id"]
    code, shown = on_a_terminal(folder, ["x", "a", "v,event_id"], "drivers.csv", "--force")
    assert code == 0 and "there is no such column" in shown
    assert view_of(folder)["entities"] == ["v", "event_id"]
    assert view_of(folder)["source"]["timestamp_field"] == "a"


def test_an_answer_that_does_not_come_writes_nothing(folder):
    csv(folder, "driver_id,ts,v\n7,2025-01-01,1\n", "drivers.csv")
    code, shown = on_a_terminal(folder, ["\x04"], "drivers.csv")
    assert code == 2 and "the input ended before the answer; nothing was written" in shown
    code, shown = on_a_terminal(folder, ["\x03"], "drivers.csv")
    assert code == 130 and "interrupted; nothing was written" in shown and "Traceback" not in shown
    assert os.listdir(folder) == ["drivers.csv"]


def test_a_full_standard_output_is_told(folder):
    csv(folder, "id,ts\n1,2025-01-01\n")
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([*INIT, "a.csv", "--entity", "id"], cwd=folder, env=clean(), stdout=full,
                              stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 3 and "Traceback" not in done.stderr
    assert done.stderr.endswith("pillion init: standard output: No space left on device; both files are written\n")
    check(folder)


def test_nobody_is_asked_without_a_terminal(folder):
    csv(folder, "event_id,driver_id,ts,v\n1,7,2025-01-01,1\n", "drivers.csv")
    done = init(folder, "drivers.csv", code=2)
    assert "--entity is missing" in done.stderr and "perhaps --entity driver_id" in done.stderr
    done = init(folder, "drivers.csv", "--json", code=2)
    note, problem = map(json.loads, done.stderr.splitlines())
    assert list(note) == ["note"]
    assert problem["exit_code"] == 2 and "--entity is missing" in problem["error"] and done.stdout == ""
    assert os.listdir(folder) == ["drivers.csv"]


# ---- To the end

def run_commands(folder: Path, commands: list[str]) -> str:
    """Pastes them into a shell; returns what the last one printed. The daemon ends with the shell."""
    script = "set -e\ntrap 'kill $! && wait' EXIT\n" + "\n".join(commands[:-1]) + f"\n{commands[-1]} >last\n"
    harness.run(["bash", "-c", script], cwd=folder, env=clean())
    return (folder / "last").read_text()


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_commands_that_are_printed_work(folder, kind):
    data = folder / "my data"
    data.mkdir()
    if kind == "csv":
        csv(data, "city,driver_id,ts,trips\n'a|b\\,-5,2025-01-01,10\nk,2,2025-01-01,20\n", "drivers.csv")
    else:
        pq.write_table(pa.table({"city": ["'a|b\\", "k"], "driver_id": [-5, 2],
                                 "ts": pa.array([START] * 2, pa.timestamp("ms")), "trips": [10, 20]}),
                       data / "drivers.parquet")
    done = harness.run([harness.program("pillion"), "init", f"my data/drivers.{kind}", "--entity", "city,driver_id",
                        "--project", "rides", "--ttl", "9000d", "--json"], cwd=folder, env=clean())
    report = json.loads(done.stdout)
    schema = json.loads((harness.ROOT / "schemas" / "cli" / "init.schema.json").read_text())
    pytest.importorskip("jsonschema").validate(report, schema)
    assert report["project"] == "rides" and report["views"][0]["features"] == [
        {"column": "trips", "name": "trips", "type": "int64"}]
    assert report["views"][0]["rows"] == 2 and report["views"][0]["rows_to_skip"] == 0
    printed = report["next"]
    assert [shlex.split(line)[:2] for line in printed[:4]] == [
        ["pillion", "check"], ["pillion", "apply"], ["pillion", "build"], ["pilliond", "--config"]]
    assert "10" in run_commands(folder, printed)
