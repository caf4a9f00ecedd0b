# SPDX-License-Identifier: Apache-2.0
"""Goal: one rule says what becomes of a value, whatever the source and the shape; what is lost is refused or counted,
and rows that contradict each other are no copies.

Method: docs/values.md has the rule as a table. Each of its rows is put into each kind of source that it
names, alone and in a list, read by that source, and converted to every type. The expected value is computed from the
text of the table with exact arithmetic. Messages, counts and decisions are those of whole builds.
"""
from __future__ import annotations

import datetime
import json
import math
import random
import re
import struct
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any, Iterator, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from build_project import UTC, Project, release_of, us

from pillion.build import check, scalar
from pillion.build.check import Target
from pillion.build.project import Column, View
from pillion.build.sources import open_source

PAGE = Path(__file__).resolve().parents[2] / "docs" / "values.md"
VECTOR_ONLY = ("float16", "bfloat16", "int8")
ARROW = {
    "bool": pa.bool_(), "int32": pa.int32(), "int64": pa.int64(), "uint64": pa.uint64(), "float": pa.float32(),
    "double": pa.float64(), "decimal(38,0)": pa.decimal128(38, 0), "decimal(20,19)": pa.decimal128(20, 19),
    "decimal(10,2)": pa.decimal128(10, 2), "string": pa.string(), "binary": pa.binary(), "date": pa.date32(),
    "timestamp[us]": pa.timestamp("us"), "timestamp[ns]": pa.timestamp("ns", "UTC"),
}


# ---- The table

class Row(NamedTuple):
    given: str               # "double 0.1", "text 0.1", or for SQL alone an expression
    by: list[str]
    fates: dict[str, str]    # type → held, rounded, refused or never


def table() -> list[Row]:
    rows, types = [], []
    for line in PAGE.read_text().splitlines():
        if not line.startswith("| "):
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if cells[0] == "given":
            types = cells[2:]
        elif types and len(cells) > 2:  # the page has another table, of two columns
            assert len(cells) == len(types) + 2, line
            rows.append(Row(cells[0].strip("`"), cells[1].split(), dict(zip(types, cells[2:]))))
    assert len(rows) > 50
    return rows


def cell(given: str) -> pa.Array:
    kind, text = given.split(" ", 1)
    if kind.startswith(("timestamp", "date")):
        whole, _, fraction = text.partition(".")
        seconds = us(datetime.datetime.fromisoformat(whole).replace(tzinfo=UTC)) // 1_000_000
        scale = {"timestamp[us]": 10**6, "timestamp[ns]": 10**9}.get(kind)
        if scale is None:
            return pa.array([seconds // 86400], pa.int32()).cast(pa.date32())
        return pa.array([seconds * scale + int(fraction.ljust(len(str(scale)) - 1, "0"))], ARROW[kind])
    value: Any = {"true": True, "false": False}.get(text, text)
    if kind.startswith("decimal"):
        value = Decimal(text)
    elif kind in ("float", "double"):
        value = float(text)
    elif kind in ("int32", "int64", "uint64"):
        value = int(text)
    elif kind == "binary":
        value = text.encode()
    return pa.array([value], ARROW[kind])


def source_of(row: Row, by: str, folder: Path) -> dict[str, Any]:
    """Writes a source with the value in column x, and in column l alone in a list."""
    if row.given.startswith("text "):
        text = row.given[5:].encode().decode("unicode_escape")
        quoted = [part.replace('"', '""') for part in (text, f"[{json.dumps(text)}]")]
        (folder / "a.csv").write_text('x,l\n"{}","{}"\n'.format(*quoted))
        return {"type": "csv", "path": "a.csv", "timestamp_field": "x"}
    if "::" in row.given:
        return {"type": "sql", "query": f"SELECT {row.given} AS x, [{row.given}] AS l", "timestamp_field": "x"}
    array = cell(row.given)
    pq.write_table(pa.table({"x": array, "l": pa.ListArray.from_arrays([0, 1], array)}), folder / "a.parquet")
    if by == "SQL":
        return {"type": "sql", "query": "FROM 'a.parquet'", "timestamp_field": "x"}
    return {"type": "parquet", "path": "a.parquet", "timestamp_field": "x"}


def targets(kind: str) -> Iterator[tuple[str, Target]]:
    if kind not in VECTOR_ONLY:
        yield "x", Target.parse(kind)
        yield "l", Target.parse(f"list<{kind}>")
    if kind in (*VECTOR_ONLY, "float32"):
        yield "l", Target.parse(f"vector<{kind},1>")


def fate(array: pa.Array, target: Target, origin: scalar.Origin) -> tuple[str, Any]:
    """What became of the only value, and the value."""
    try:
        converted = check.convert(array, target, 10, origin)
    except check.WrongType:
        return "never", None
    if converted.bad:
        assert converted.array.null_count == 1
        return "refused", converted.bad[0]
    held = converted.array if target.shape == "scalar" else pc.list_flatten(converted.array)
    if pa.types.is_timestamp(held.type):
        held = pc.cast(held, pa.int64())
    return "rounded" if converted.rounded else "held", held[0].as_py()


def truth(given: str, kind: str) -> Any:
    """The value of the table's text as a value of the type, by exact arithmetic and the nearest float."""
    text = given.split(" ", 1)[1].encode().decode("unicode_escape")
    if kind in ("string", "bytes"):
        return text if kind == "string" else text.encode()
    text = text.strip(" \t")
    if kind == "unix_timestamp":
        whole, dot, rest = text.partition(".")
        digits, zone = re.fullmatch(r"(\d*)(.*)", rest).groups() if dot else ("", "")  # type: ignore[union-attr]
        moment = datetime.datetime.fromisoformat((whole + zone).replace("Z", "+00:00"))
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return us(moment) + int(digits.ljust(6, "0")[:6])
    if kind == "bool":
        return text in ("true", "1")
    if kind in ("int8", "int32", "int64"):
        return int(Decimal(text))
    number = float(text)
    if not math.isfinite(number) or kind == "float64" and not given.startswith("float "):
        return number
    return struct.unpack("f", struct.pack("f", number))[0]


@pytest.mark.parametrize("row", table(), ids=lambda row: row.given)
def test_the_table_of_values_holds(row: Row) -> None:
    assert set(row.by) <= {"Parquet", "CSV", "SQL"} and len(row.fates) == 11
    for by in row.by:
        with tempfile.TemporaryDirectory(prefix="pil-") as folder:
            source = source_of(row, by, Path(folder))
            view = View("v", source, [Column(name, name, Target.parse("string"), name) for name in ("x", "l")],
                        is_static=False)
            opened = open_source(view, Path(folder), 64 << 20, folder)
            try:
                batch = next(iter(opened.chunks())).batch
            finally:
                opened.close()
            for kind, wanted in row.fates.items():
                for column, target in targets(kind):
                    found, value = fate(batch.column(column), target, scalar.Origin(opened.is_text))
                    assert found == wanted, (by, target.text, value)
                    if wanted in ("held", "rounded") and "::" not in row.given:
                        right = truth(row.given, kind)
                        assert value == right or right != right and value != value, (by, target.text, value, right)


# ---- Messages

SHOWN: dict[str, tuple[str, str, str, str]] = {  # source, text of its data, type, message
    "parquet": ("parquet", "double 1.5", "int64", "column x holds 1.5 (double), which does not fit int64 without loss"),
    "parquet_list": ("parquet", "double 1.5", "list<int64>", "x holds 1.5 (double) as element 1 of list<int64>, which "
                     "does not fit int64 without loss; declare list<float64> in"),
    "sql": ("sql", "1e300::DOUBLE", "float32", "column x holds 1e+300 (double), which does not fit float32"),
    "half": ("sql", "[70000]", "vector<float16,1>", "x holds 70000 (int32) as element 1 of vector<float16,1>, which "
             "does not fit float16 without loss; declare vector<float32,1> in"),
    "csv": ("csv", "1e400", "float64", "line 2: column x holds '1e400', which is not float64"),
    "csv_list": ("csv", "[1.5]", "list<int64>", "line 2: column x holds '1.5' as element 1 of list<int64>, which is "
                 "not int64; declare list<float64> in the project file"),
    "csv_null": ("csv", "[1, 2, 'NA']".replace("'", '"'), "list<int64>", "column x holds 'NA' as element 3 of "
                 "list<int64>, which is not int64; if it stands for null, leave it out, since lists have no nulls, "),
    "csv_time": ("csv", '["2025-01-01", "noon"]', "list<unix_timestamp>", "column x holds 'noon' as element 2 of "
                 "list<unix_timestamp>, which is not unix_timestamp; write 2026-01-31T12:00:00Z"),
    "csv_wider": ("csv", "3000000000", "int32", "x holds '3000000000', which is not int32; declare int64 in the"),
    "csv_unsigned": ("csv", "[18446744073709551615]", "list<int64>", "column x holds '18446744073709551615' "
                     "as element 1 of list<int64>, which is not int64; fix the row"),
    "csv_deep": ("csv", "[" * 100_000, "list<int64>", "column x holds '" + "[" * 40 + "'…'" + "[" * 20
                 + "' (100,000 characters), which is not list<int64>"),
    "csv_surrogate": ("csv", r'["\ud800"]', "list<string>", "which is not list<string>"),
    "csv_number_in_texts": ("csv", '["a", 1]', "list<string>", """x holds '["a", 1]', which is not list<string>"""),
    "csv_infinite": ("csv", "[1e39]", "list<float32>", "column x holds '1e39' as element 1 of list<float32>, "
                     "which is not float32; declare list<float64> in"),
    "csv_escape": ("csv", "\x1b[31m7", "int32", r"column x holds '\x1b[31m7', which is not int32"),
}


def put(project: Project, kind: str, text: str, feature: str) -> None:
    """A source with the value of the text as x of driver 1, and a good row of driver 2 where it can be skipped."""
    project.features = {"x": feature}
    times = pa.array([datetime.datetime(2025, 1, 1)], pa.timestamp("us"))
    if kind == "sql":
        project.source = f'{{type: sql, query: "SELECT 1 AS driver_id, now() AS t, {text} AS x", timestamp_field: t}}'
        return
    project.source = f"{{type: {kind}, path: data, timestamp_field: t}}"
    if kind == "csv":
        (project.data / "a.csv").write_text(f"driver_id;t;x\n1;2025-01-01;{quoted(text)}\n"
                                            "2;2025-01-01;\n")
        return
    array = cell(text)
    array = pa.ListArray.from_arrays([0, 1], array) if feature.startswith("list") else array
    pq.write_table(pa.table({"driver_id": [1], "t": times, "x": array}), project.data / "a.parquet")


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


@pytest.mark.parametrize("name", SHOWN)
def test_what_is_refused_is_shown_unless_it_is_pii(project: Project, name: str) -> None:
    kind, text, feature, message = SHOWN[name]
    put(project, kind, text, feature)
    done = project.build(code=1)
    assert message in done.err and len(done.err.splitlines()) == 1 and project.manifests() == []
    project.write()
    path = project.folder / "p.yaml"
    path.write_text(path.read_text().replace(f'type: "{feature}"}}', f'type: "{feature}", tags: [pii]}}'))
    done = project.run()
    assert done.code == 1 and "column x holds " in done.err and len(done.err.splitlines()) == 1
    value = re.split(r", which| as element| \(", message.partition("holds ")[2])[0]
    assert value == "" or value not in done.err
    assert re.search("text (as element .*)?that is not" if kind == "csv" else "value (as element .*)?that does not fit",
                     done.err)


def test_a_list_that_is_none_can_be_skipped(project: Project) -> None:
    put(project, "csv", "[" * 100_000, "list<int64>")
    done = project.build("--on-bad-row=skip", "--json")
    assert (done.result["counts"]["rows_out"], done.result["counts"]["bad_rows"]) == (1, 1)


def test_advice_can_be_taken(project: Project) -> None:
    for text, feature, advice in (
            ("uint64 9223372036854775808", "int64", "declare float64"),
            ("uint64 18446744073709551615", "int64", "fix"),
            ("int64 16777217", "float32", "declare int64"), ("int64 9007199254740993", "float64", "declare int64"),
            ("double 1e39", "float32", "declare float64"), ("double 1e39", "list<float32>", "declare list<float64>")):
        put(project, "parquet", text, feature)
        done = project.build(code=1)
        assert f"without loss; {advice}" in done.err
        if advice.startswith("declare "):
            put(project, "parquet", text, advice.removeprefix("declare "))
            project.build()


WIDER = [
    ("uint64", 2**63, "int64", "float64"), ("uint64", 2**64 - 1, "int64", ""), ("uint64", 2**63 + 1, "float64", ""),
    ("uint64", 2**53 + 1, "float64", "int64"), ("int64", -2**53 - 1, "float64", "int64"),
    ("int64", 2**24 + 1, "float32", "int64"), ("int64", -2**31 - 1, "int32", "int64"),
    ("double", 1.5, "int32", "float64"), ("double", math.nan, "int32", "float64"),
    ("double", 1e39, "float32", "float64"), ("double", 3e9, "int32", "int64"), ("float", 2.0**24, "int32", "float64"),
    ("decimal(38,0)", Decimal(10**20), "int64", "float64"), ("decimal(38,0)", Decimal(10**20 + 1), "int64", ""),
    ("decimal(38,0)", Decimal(3 * 10**9), "int32", "int64"), ("decimal(10,2)", Decimal("1.50"), "int64", "float64"),
    ("string", "3000000000", "int32", "int64"), ("string", "1.5", "int64", "float64"), ("string", "0x10", "int32", ""),
    ("string", "18446744073709551615", "int64", ""), ("string", "9007199254740993", "float64", "int64"),
    ("int64", 300, "vector<int8,1>", "float16"), ("int64", -129, "vector<int8,1>", "float16"),
    ("int64", 2049, "vector<float16,1>", "float32"), ("int64", 2**24 + 1, "vector<float32,1>", ""),
    ("int64", 257, "vector<bfloat16,1>", "float16"), ("double", 1e5, "vector<float16,1>", "float32"),
    ("double", 1e39, "vector<float16,1>", ""), ("int64", 2**53 + 1, "list<float64>", "int64"),
]


@pytest.mark.parametrize("kind, value, target, wider", WIDER)
def test_the_type_that_is_proposed_takes_the_value(kind: str, value: Any, target: str, wider: str) -> None:
    array, origin = pa.array([value], ARROW[kind]), scalar.Origin(kind == "string")

    def misfits(of: Target) -> list[scalar.Misfit]:
        if origin.is_text:
            return list(scalar.convert_text(array, of.scalar, 2).bad.values())
        given = array if of.shape == "scalar" else pa.ListArray.from_arrays([0, 1], array)
        return list(check.convert(given, of, 2, origin).bad.values())

    [misfit] = misfits(Target.parse(target))
    _, fix = check.describe(misfit, Target.parse(target), False, False)
    found = re.match("declare (.*) in the project file, ", fix)
    assert (Target.parse(found[1]).scalar if found else "") == wider, fix
    assert found is None or not misfits(Target.parse(found[1]))


@pytest.mark.parametrize("one, other", [
    ("a" * 200, "a" * 199 + "b"), ("a" * 200, "a" * 201), ("ä" * 100, "ä" * 100 + "\x1b"), ("a" * 39 + "\\|" * 40,) * 2,
    (b"\xff" * 200, b"\xff" * 201),
])
def test_texts_that_differ_are_shown_differently(one: Any, other: Any) -> None:
    shown = check.shown(one)
    assert (shown == check.shown(other)) == (one == other) and len(shown) < 300 and shown.isprintable()
    assert "\\'" not in shown, "an escape is not cut"


# ---- Keys


def test_long_keys_in_conflict_are_told_apart(project: Project) -> None:
    project.features, project.keys = {"x": "int32"}, {"a": "string", "b": "bytes"}
    project.source = "{type: parquet, path: data, timestamp_field: t}"
    keys = ["ä|" * 500 + "1", "ä|" * 500 + "2"]
    times = pa.array([datetime.datetime(2025, 1, 1)] * 4, pa.timestamp("us"))
    pq.write_table(pa.table({"a": [*keys, *keys], "b": [b"\xff"] * 4, "t": times, "x": [1, 2, 3, 4]}),
                   project.data / "a.parquet")
    shown = [line.partition("conflict: ")[2] for line in project.build().err.splitlines()
             if line.startswith("conflict: ")]
    assert len(set(shown)) == 2
    assert all(line.startswith("key 'ä\\|ä") and "(1,503 characters)" in line for line in shown)
    assert all(any(f"{end}|\\xff'" in line for line in shown) for end in "12"), shown

@pytest.mark.parametrize("kind, keys, shown", [
    (pa.float64(), [2.0**53, 2.0**53 + 2], "9007199254740992.0 (double)"), (pa.float64(), [1.0, math.nan], "nan"),
    (pa.uint64(), [1, 2**63], "9223372036854775808 (uint64)"), (pa.float32(), [2.0**24], "16777216.0 (float)"),
    (pa.decimal128(4, 1), [Decimal("1.5")], "1.5 (decimal128(4, 1))"),
])
def test_a_key_that_is_not_exact_is_refused(project: Project, kind: pa.DataType, keys: list[Any], shown: str) -> None:
    project.features = {"x": "int32"}
    project.source = "{type: parquet, path: data, timestamp_field: t}"
    times = pa.array([datetime.datetime(2025, 1, 1)] * len(keys), pa.timestamp("us"))
    pq.write_table(pa.table({"driver_id": pa.array(keys, kind), "t": times, "x": [1] * len(keys)}),
                   project.data / "a.parquet")
    done = project.build(code=1)
    assert f"column driver_id holds {shown}" in done.err and "declare string" in done.err
    assert "declare float64" not in done.err


def test_a_control_character_is_part_of_a_value(project: Project) -> None:
    project.features = {"x": "int32"}
    project.source = "{type: csv, path: data, timestamp_field: t}"
    (project.data / "a.csv").write_text("driver_id,t,x\n1\x1f,2025-01-01,7\n1,2025-01-01,7\n")
    assert r"line 2: column driver_id holds '1\x1f', which is not int64" in project.build(code=1).err
    project.keys = {"driver_id": "string"}
    assert project.build("--json").result["counts"]["rows_out"] == 2


# ---- Times

def times_project(project: Project, times: list[datetime.datetime], seen: list[datetime.datetime],
                  metadata: dict[str, str]) -> None:
    """A file with INT96, as Spark writes it."""
    project.features = {"seen": "unix_timestamp"}
    project.source = "{type: parquet, path: data, timestamp_field: t}"
    table = pa.table({"driver_id": list(range(len(times))), "t": pa.array(times, pa.timestamp("us")),
                      "seen": pa.array(seen, pa.timestamp("us"))})
    pq.write_table(table.replace_schema_metadata(metadata), project.data / "a.parquet",
                   use_deprecated_int96_timestamps=True, store_schema=bool(metadata))


def test_int96_does_not_wrap(project: Project) -> None:
    day = datetime.datetime(2025, 1, 1)
    seen = [datetime.datetime(9999, 12, 31), datetime.datetime(1600, 1, 1), day]
    times_project(project, [day] * 3, seen, {})
    found = project.content(release_of(project.build()))
    wanted = [us(moment.replace(tzinfo=UTC)) for moment in seen]
    assert [found[key.to_bytes(8, "little")][1]["seen"] for key in range(3)] == wanted
    times_project(project, [day, datetime.datetime(9999, 12, 31)], [day] * 2, {})
    assert "row 2: column t (timestamp[us]) is 9999-12-31T00:00:00Z, in the future" in project.build(code=1).err


@pytest.mark.parametrize("mark", ["org.apache.spark.legacyDateTime", "org.apache.spark.legacyINT96",
                                  "org.apache.spark.version"])
def test_old_times_in_a_legacy_calendar_are_named(project: Project, mark: str) -> None:
    day, old = datetime.datetime(2025, 1, 1), datetime.datetime(1899, 12, 31)
    metadata = {mark: "2.4.8" if mark.endswith("version") else ""}
    times_project(project, [day] * 2, [day, datetime.datetime(1900, 1, 1)], metadata)
    project.build()  # nothing old in it
    times_project(project, [day] * 2, [day, old], metadata)
    done = project.build(code=1)
    assert "row 2: column seen holds 1899-12-31T00:00:00" in done.err and mark in done.err
    times_project(project, [day] * 2, [day, old], {"org.apache.spark.version": "4.0.0"})
    project.build()


def test_dates_in_a_legacy_calendar_are_named() -> None:
    dates = pa.array([datetime.date(1582, 10, 14), datetime.date(1582, 10, 15)])
    converted = check.convert(dates, Target.parse("unix_timestamp"), 10, scalar.Origin(False, "mark"))
    assert list(converted.bad) == [0] and "mark" in converted.bad[0].why
    assert check.convert(dates, Target.parse("unix_timestamp"), 10, scalar.Origin()).bad == {}


@pytest.mark.parametrize("column", ["t", "created"])
def test_nanoseconds_decide_before_they_are_rounded(project: Project, column: str) -> None:
    project.features = {"x": "int32"}
    project.source = "{type: parquet, path: data, timestamp_field: t, created_timestamp_column: created}"
    day = 1_735_689_600_000_000_000
    table = {"driver_id": [1, 1, 1], "t": [day] * 3, "created": [day] * 3, "x": [1, 2, 3]}
    table[column] = [day + 900, day + 100, day + 100]
    kinds = {"t": pa.timestamp("ns"), "created": pa.timestamp("ns")}
    pq.write_table(pa.table({name: pa.array(cells, kinds.get(name)) for name, cells in table.items()}),
                   project.data / "a.parquet")
    done = project.build("--json")
    found = project.content(done.result["release"])
    assert found[(1).to_bytes(8, "little")] == (day // 1000, {"x": 1})
    counts = done.result["counts"]
    assert (counts["late"], counts["conflicts"], counts["rounded"]) == (2, 0, {column: 3})


def test_infinite_times_are_refused(project: Project) -> None:
    for text in ("'infinity'::TIMESTAMP", "'-infinity'::TIMESTAMPTZ", "'infinity'::DATE"):
        put(project, "sql", text, "unix_timestamp")
        assert "infinity is not a time" in project.build(code=1).err
        project.source = project.source.replace("now() AS t", f"{text} AS t")
        assert "column t holds" in project.build(code=1).err


def test_a_type_that_duckdb_wraps_is_refused(project: Project) -> None:
    for text, feature in (("340282366920938463463374607431768211455::UHUGEINT", "float64"),
                          ("[1::UHUGEINT]", "list<int64>")):
        put(project, "sql", text, feature)
        done = project.build(code=1)
        assert "column x is UHUGEINT" in done.err and "cast it in the query" in done.err


# ---- Counts

def test_digits_are_lost_where_exact_arithmetic_says_so() -> None:
    rng = random.Random(5)
    texts = ["0", "-0.000", "1e-400", "5e-324", "4.9e-324", "4.94065645841246544e-324", ".5000000000000000000000", "5.",
             "00012345678901234567890", "9007199254740993", "9007199254740992.0000000000000000000", "1" + "0" * 300]
    for _ in range(3000):
        [value] = struct.unpack("d", struct.pack("Q", rng.getrandbits(64)))
        if math.isfinite(value):
            text = rng.choice(["%.17g", "%.16g", "%.15g", "%.18g", "%.20e", "%r"]) % value
            at = rng.randrange(len(text))
            texts += [text, text[:at] + "7" + text[at + 1:] if text[at].isdigit() else text]
    values = [float(text) for text in texts]
    texts = [text for text, value in zip(texts, values) if math.isfinite(value)]

    def is_lost(text: str) -> bool:
        digits = len("".join(map(str, Decimal(text).as_tuple().digits)).rstrip("0")) or 1
        return Decimal(f"{float(text):.{digits - 1}e}") != Decimal(text)

    lost = [text for text in texts if is_lost(text)]
    assert 1000 < len(lost) < len(texts) - 1000
    array = pa.array([*texts, None])
    found = scalar._lost_digits(array, pc.cast(array, pa.float64()))  # pylint: disable=protected-access
    assert [text for text, one in zip(texts, found) if one] == lost


def test_rounding_is_counted_by_column_in_every_source(project: Project) -> None:
    project.features = {"a": "float32", "b": "list<float32>", "c": "vector<float16,2>", "d": "float64", "e": "float32"}
    columns = {"a": pa.array([0.1, 0.5, 0.1]), "b": pa.array([[0.1, 0.2], [], [0.5]]),
               "c": pa.array([[0.1, 1.0]] * 3, pa.list_(pa.float32())),
               "d": pa.array([Decimal(2**53 + 1), Decimal(1), None], pa.decimal128(38, 0)), "e": pa.array([0.5] * 3)}
    table = pa.table({"driver_id": [1, 2, 3], "t": pa.array([datetime.datetime(2025, 1, 1)] * 3, pa.timestamp("us")),
                      **columns})
    pq.write_table(table, project.data / "a.parquet")
    lines = ["driver_id;t;a;b;c;d;e"]
    lines += [f"{row['driver_id']};2025-01-01;{row['a']};{row['b']};[0.1, 1.0];"
              f"{row['d'] or ''}{'.0' if row['d'] else ''};0.5" for row in table.to_pylist()]
    (project.data / "a.csv").write_text("\n".join(lines) + "\n")
    wanted = {"a": 2, "b": 2, "c": 3, "d": 1}
    releases = set()
    for source in ("type: parquet, path: data", "type: csv, path: data", "type: sql, query: \"FROM 'data/a.parquet'\""):
        project.source = f"{{{source}, timestamp_field: t}}"
        done = project.build("--json")
        assert done.result["counts"]["rounded"] == wanted
        assert "rounded to the nearest that the type holds: 3 of c, 2 of a, 2 of b, 1 of d" in done.err
        releases.add(json.dumps(sorted(project.content(done.result["release"]).items()), default=str))
    assert len(releases) == 1


# ---- Conflicts

def rows_of_one_time(project: Project, values: list[Any], created: Any = None) -> None:
    project.features = {"x": "int64"}
    extra = ", created_timestamp_column: created" if created else ""
    project.source = f"{{type: parquet, path: data, timestamp_field: t{extra}}}"
    day = datetime.datetime(2025, 1, 1)
    columns = {"driver_id": [1] * len(values), "t": pa.array([day] * len(values), pa.timestamp("us")),
               "x": pa.array(values, pa.int64())}
    if created:
        columns["created"] = pa.array([day + datetime.timedelta(days=days) for days in created], pa.timestamp("us"))
    pq.write_table(pa.table(columns), project.data / "a.parquet")


@pytest.mark.parametrize("values, winner, counts", [
    ([7, 7], 7, (1, 0)), ([1, 256], 256, (0, 1)), ([None, 1], 1, (0, 1)), ([-1, 1], 1, (0, 1)),
    ([3, 3, 1, 2], 3, (1, 2)),
])
def test_duplicate_is_not_conflict(project: Project, values: list[Any], winner: int, counts: tuple[int, int]) -> None:
    for ordered in (values, values[::-1]):
        rows_of_one_time(project, ordered)
        done = project.build("--json")
        found = done.result["counts"]
        assert (found["duplicates"], found["conflicts"]) == counts and found["late"] == 0
        assert project.content(done.result["release"])[(1).to_bytes(8, "little")][1] == {"x": winner}
        lost = f"{counts[1]} row{'s' if counts[1] > 1 else ''}"
        named = f"conflict: key '1' at 2025-01-01T00:00:00Z: {lost} with other values lost"
        assert (named in done.err and f"{lost} in conflict:" in done.err) == (counts[1] > 0)
        assert ("in conflict" in done.err) == (counts[1] > 0)
        assert project.manifest(done.result["release"])["counts"] == found


def test_conflicts_may_end_the_build(project: Project) -> None:
    rows_of_one_time(project, [7, 7])
    project.build("--on-conflict=fail")
    before = project.manifests()
    rows_of_one_time(project, [1, 2, 3])
    done = project.build("--on-conflict=fail", code=1)
    assert "p/stats: 3 rows of key '1' at 2025-01-01T00:00:00Z have different values" in done.err
    assert "created_timestamp_column" in done.err and project.manifests() == before
    rows_of_one_time(project, [1, 2, 2], created=[9, 3, 4])
    counts = project.build("--on-conflict=fail", "--json").result["counts"]
    assert (counts["late"], counts["conflicts"], counts["duplicates"]) == (2, 0, 0)
