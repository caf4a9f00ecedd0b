# SPDX-License-Identifier: Apache-2.0
"""libpillion over the socket. First half: whatever a caller may give, and whatever is wrong with it, the call ends as
the mapped one does; two clients of the same daemon are asked the same and their results, bytes and answers compared.
Second half: connections, with servers that are slow, send little at a time, break off, or are restarted."""

from __future__ import annotations

import contextlib
import ctypes
import datetime
import os
import signal
import socket
import sys
import threading
import time
from typing import Any, Iterator

import harness
import libpillion as lp
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import synthetic
from libpillion import GivenKeys

UTC = datetime.timezone.utc
START = datetime.datetime(2025, 1, 1, tzinfo=UTC)
ROWS = 1200
# Each type: its Arrow type, what row i has, and a default. Every type is there without a default, too.
TYPES: dict[str, tuple[Any, Any, str]] = {
    "bool": (pa.bool_(), lambda i: i % 3 == 0, "true"),
    "int32": (pa.int32(), lambda i: i - 600, "-7"),
    "int64": (pa.int64(), lambda i: i << 33, "99"),
    "float32": (pa.float32(), lambda i: i / 8, "0.5"),
    "float64": (pa.float64(), lambda i: i / 7, "2.5"),
    "string": (pa.string(), lambda i: "é" * (i % 13), "none"),
    "bytes": (pa.binary(), lambda i: bytes([i % 256, 0]) * (i % 17), "AAH/"),
    "unix_timestamp": (pa.timestamp("us", "UTC"), lambda i: START + datetime.timedelta(microseconds=i), "100"),
    "list<bool>": (pa.list_(pa.bool_()), lambda i: [i % 2 == 0] * (i % 3), "[true, false]"),
    "list<int32>": (pa.list_(pa.int32()), lambda i: list(range(i % 5)), "[7, 8]"),
    "list<int64>": (pa.list_(pa.int64()), lambda i: [i << 40] * (i % 2), "[5]"),
    "list<float32>": (pa.list_(pa.float32()), lambda i: [i / 4] * (i % 4), "[0.5]"),
    "list<float64>": (pa.list_(pa.float64()), lambda i: [i / 3] * (i % 4), "[0.25]"),
    "list<string>": (pa.list_(pa.string()), lambda i: ["x" * (k * 9) for k in range(i % 4)], "[x, yz]"),
    "list<bytes>": (pa.list_(pa.binary()), lambda i: [b"\0" * k for k in range(i % 3)], "[AAH/, AA==]"),
    "list<unix_timestamp>": (
        pa.list_(pa.timestamp("us", "UTC")),
        lambda i: [START + datetime.timedelta(microseconds=k) for k in range(i % 3)],
        "[100, -1]",
    ),
    "vector<float32,3>": (pa.list_(pa.float32(), 3), lambda i: [i, -i, 0.5], "[1, 2, 3]"),
    "vector<float16,3>": (pa.list_(pa.float32(), 3), lambda i: [i % 9, -1, 0.5], "[1, -2, 0.5]"),
    "vector<bfloat16,2>": (pa.list_(pa.float32(), 2), lambda i: [i % 4, -3], "[1, 0.5]"),
    "vector<int8,2>": (pa.list_(pa.int32(), 2), lambda i: [i % 100, -5], "[3, -4]"),
}
# View: join key and its type; what row i has there.
KEYS: dict[str, tuple[str, Any, Any]] = {
    "int64": ("int64", pa.int64(), lambda i: i - 3),
    "int32": ("int32", pa.int32(), lambda i: i - 3),
    "string": ("string", pa.string(), lambda i: str(i - 3) + ("|\\é" if i % 5 == 0 else "")),
    "bytes": ("bytes", pa.binary(), lambda i: str(i - 3).encode()),
    "time": ("unix_timestamp", pa.timestamp("us", "UTC"), lambda i: START + datetime.timedelta(seconds=i)),
}
EPOCH_S = int(START.timestamp())


def name_of(kind: str) -> str:
    return kind.replace("<", "_").replace(",", "_").replace(">", "")


def feature_lines() -> list[str]:
    plain = [f'      - {{name: {name_of(kind)}, type: "{kind}"}}' for kind in TYPES]
    default = [f'      - {{name: d_{name_of(k)}, type: "{k}", default: {d[2]}}}' for k, d in TYPES.items()]
    return plain + default


def project_file(ttl: str = "0") -> str:
    lines = ["project: p", "entities:"]
    lines += [f"  - {{name: {key}, join_key: k_{key}, type: {kind}}}" for key, (kind, _, _) in KEYS.items()]
    lines += ["feature_views:"]
    views = {"wide": "int64", "pair": "int64, string", "young": "string"} | {f"by_{key}": key for key in KEYS}
    for view, entities in views.items():
        source = f"{{type: parquet, path: {view}.parquet, timestamp_field: event_timestamp}}"
        lines += [f"  - name: {view}", f"    entities: [{entities}]", f"    ttl: {'1h' if view == 'young' else 0}"]
        lines += [f"    source: {source}", "    features:"]
        lines += feature_lines() if view == "wide" else ["      - {name: x, type: float32, default: 0.5}"]
        lines += [] if view == "wide" else ["      - {name: text, type: string}"]
    lines += ["feature_services:", '  - {name: mixed, features: ["young:x", "by_int32:x", "pair:x", "wide:int64"]}']
    lines += ['  - {name: texts, features: ["young:text", "wide:list_string", "pair:x"]}']
    return "\n".join(lines) + "\n"


def table_of(view: str, entities: list[str], now: datetime.datetime) -> pa.Table:
    """One value in five is null; half of the rows of `young` are."""
    columns: dict[str, Any] = {f"k_{key}": pa.array(map(KEYS[key][2], range(ROWS)), KEYS[key][1]) for key in entities}
    ages = [datetime.timedelta(minutes=1 if i % 2 else 120) if view == "young" else now - START for i in range(ROWS)]
    columns["event_timestamp"] = pa.array([now - age for age in ages], pa.timestamp("us", "UTC"))
    if view == "wide":
        for place, (kind, (arrow, value, _)) in enumerate(TYPES.items()):
            made = pa.array([None if (i + place) % 5 == 0 else value(i) for i in range(ROWS)], arrow)
            columns[name_of(kind)] = columns[f"d_{name_of(kind)}"] = made
    else:
        columns["x"] = pa.array([None if i % 5 == 0 else i / 2 for i in range(ROWS)], pa.float32())
        columns["text"] = pa.array([None if i % 7 == 0 else f"t{i}" for i in range(ROWS)], pa.string())
    return pa.table(columns)


@pytest.fixture(scope="module", name="built")
def _built(tmp_path_factory) -> harness.Store:
    """The store with all views, made once."""
    folder = tmp_path_factory.mktemp("socket")
    (folder / "p.yaml").write_text(project_file())
    now = datetime.datetime.now(UTC)
    views = {"wide": ["int64"], "pair": ["int64", "string"], "young": ["string"]} | {f"by_{k}": [k] for k in KEYS}
    for view, entities in views.items():
        pq.write_table(table_of(view, entities, now), folder / f"{view}.parquet")
    store = harness.Store(folder / "store")
    assert len(store.build(folder / "p.yaml")) == len(views)
    return store


@pytest.fixture
def start(start_pilliond, folder):
    def start(store: harness.Store, *views: str, map_rule: str = "", **options: Any) -> harness.Pilliond:
        config = folder / "pilliond.yaml"
        serve = "".join(f"  - {{view: {view}, channel: production{map_rule}}}\n" for view in views)
        config.write_text(f"serve:\n{serve}")
        mapped = f"unix:{folder}/mapped.sock"
        args = ["--config", str(config), "--listen", f"mapped={mapped}", *options.pop("args", [])]
        daemon = start_pilliond(store, serve=[], args=args, **options)
        daemon.mapped = mapped
        return daemon

    return start


class Both:
    """The same asked of a mapped client and of one over the socket."""

    def __init__(self, daemon: harness.Pilliond):
        self.clients = lp.Client(daemon.mapped, None), lp.Client(None, daemon.resp_unix)

    def plans(self, what: Any, **options: Any) -> tuple[lp.Plan, lp.Plan]:
        mapped, asked = (client.plan(what, **options) for client in self.clients)
        assert mapped.shape() == asked.shape()
        return mapped, asked

    def refusal(self, what: Any, **options: Any) -> tuple[int, list[str]]:
        found = []
        for client in self.clients:
            with pytest.raises(lp.Error) as caught:
                client.plan(what, **options)
            found.append(caught.value)
        assert found[0].result == found[1].result, found
        return found[0].result, [error.text for error in found]

    def ask(self, what: Any, keys: GivenKeys, **options: Any) -> lp.Got:
        """The answer of both; of columns when the plan is for these."""
        plans = self.plans(what, **options)
        as_columns = options.get("flags", 0) & lp.COLUMNS
        got = [plan.get_columns(keys) if as_columns else plan.get(keys) for plan in plans]
        assert got[0].content == got[1].content
        assert (got[0].answer.is_mapped, got[1].answer.is_mapped) == (1, 0)
        assert got[0].answer.staleness_us == got[1].answer.staleness_us == 0
        for one, other in zip(got[0].answer.views, got[1].answer.views):
            assert abs(one.worst_age_us - other.worst_age_us) < 60_000_000
        for plan in plans:
            plan.free()
        return got[1]

    def close(self) -> None:
        for client in self.clients:
            client.close()


@pytest.fixture
def both(built, start) -> Iterator[Both]:
    views = ["wide", "pair", "young"] + [f"by_{key}" for key in KEYS]
    found = Both(start(built, *(f"p/{view}" for view in views)))
    yield found
    found.close()


TENSORS = [k for k in TYPES if not k.startswith("list") and k not in ("string", "bytes")]
VARIANTS = [{}, {"flags": lp.USE_DEFAULTS}, {"max_age_us": 1}, {"max_age_us": 10**17}, {"dtype": lp.FLOAT64}]
VARIANT_NAMES = ["plain", "defaults", "old", "young", "float64"]


def of_wide(kinds: Any) -> list[str]:
    return [f"wide:{prefix}{name_of(kind)}" for kind in kinds for prefix in ("", "d_")]


@pytest.mark.parametrize("count", [0, 1, 40, 1000])
@pytest.mark.parametrize("options", VARIANTS, ids=VARIANT_NAMES)
def test_every_type_agrees(both, options, count):
    keys = GivenKeys([(i * 7) % (ROWS + 50) - 20 for i in range(count)])
    tensor = both.ask(of_wide(TENSORS), keys, **options)
    flags = options.get("flags", 0) | lp.COLUMNS
    columns = both.ask(of_wide(TYPES), keys, **{**options, "flags": flags})
    assert tensor.result == columns.result == lp.OK
    if count == 1000:
        present = lp.OUTSIDE_MAX_AGE if options.get("max_age_us") == 1 else lp.PRESENT
        for seen in (tensor.statuses, b"".join(column[3] for column in columns.columns)):
            assert set(seen) == {present, lp.NULL_VALUE, lp.NOT_FOUND_KEY}
        assert 0 < tensor.answer.views[0].not_found < 100


def test_what_defaults_are(both):
    """Once, by their bytes: that both agree on them would not tell that they are right."""
    got = both.ask(of_wide(["string", "list<string>", "int32"]), GivenKeys([10**6]), flags=lp.COLUMNS | lp.USE_DEFAULTS)
    assert [column[3] for column in got.columns] == [b"\3"] * 6
    assert got.columns[0][0] == b"" and got.columns[1][0] == b"none"
    assert got.columns[2][0] == b"" and got.columns[3][0] == b"xyz"
    assert got.columns[3][2] == bytes([0, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0])
    assert got.columns[4][0] == bytes(4) and got.columns[5][0] == (-7).to_bytes(4, "little", signed=True)


NUMBERS = [-3, 0, 5, 1196, 1197, 10**6]
KEY_FORMS: list[tuple[str, tuple[Any, dict[str, Any]]]] = [
    *((f"by_{view}", (NUMBERS, {"narrow": narrow})) for view in ("int64", "int32", "string", "bytes")
      for narrow in (False, True)),
    *((f"by_{view}", ([str(n) for n in NUMBERS], {"wide": wide})) for view in ("int64", "int32", "string", "bytes")
      for wide in (False, True)),
    ("by_string", (["2|\\é", "", "z" * 1000, "\0"], {})),
    ("by_time", ([EPOCH_S, EPOCH_S + 7, -1], {})),
    ("by_time", ([str(EPOCH_S), f"{EPOCH_S + 1}.000000", f"{EPOCH_S}.5"], {})),
]  # fmt: skip


@pytest.mark.parametrize("view,form", KEY_FORMS, ids=lambda x: x if isinstance(x, str) else repr(x)[:30])
def test_keys_agree(both, view, form):
    got = both.ask([f"{view}:x"], GivenKeys(form[0], **form[1]))
    assert got.result == lp.OK and got.answer.views[0].not_found < len(form[0])


def test_composite_keys_and_several_views_agree(both):
    ids = [i % 40 - 5 for i in range(300)]
    zones = [KEYS["string"][2](i % 40 - 2) if i % 3 else "no|such\\zone" for i in range(300)]
    pair = both.ask(["pair:x"], GivenKeys(ids, zones))
    assert 0 < pair.answer.views[0].not_found < 300
    # young: string; by_int32: int32; pair: int64 and string; wide: int64.
    given = GivenKeys(zones, [i + 1 for i in ids], ids)
    for service, flags in (("mixed", 0), ("mixed", lp.COLUMNS | lp.USE_DEFAULTS), ("p/mixed", lp.USE_DEFAULTS)):
        got = both.ask(service, given, flags=flags)
        assert got.answer.view_count == 4 and len(set(got.views)) == 4
    texts = both.ask("texts", GivenKeys(zones, ids), flags=lp.COLUMNS)
    assert set(texts.columns[0][3]) == {lp.PRESENT, lp.NULL_VALUE, lp.OUTSIDE_MAX_AGE, lp.NOT_FOUND_KEY}
    numbers = GivenKeys([1, 2], [1, 2], [1, 2])  # of strings, too: in one blob
    assert both.ask("mixed", numbers).result == lp.OK


@pytest.mark.parametrize("view,keys,result,what", [
    ("by_int32", [1, 2**31], lp.INVALID, "k_int32|1"),
    ("by_int32", ["1", "x"], lp.INVALID, "k_int32|1"),
    ("by_int64", ["1", ""], lp.INVALID, "k_int64|1"),
    ("by_int64", ["9223372036854775808"], lp.INVALID, "k_int64|0"),
    ("by_time", [2**62], lp.INVALID, "k_time|0"),
    ("by_time", ["yesterday"], lp.INVALID, "k_time|0"),
    ("by_string", ["1", "x" * 70000], lp.TOO_LARGE, "1|bytes"),
])  # fmt: skip
def test_wrong_keys_agree(both, view, keys, result, what):
    for flags in (0, lp.COLUMNS):
        got = [plan.get_columns(GivenKeys(keys)) if flags else plan.get(GivenKeys(keys))
               for plan in both.plans([f"{view}:x"], flags=flags)]  # fmt: skip
        assert [one.result for one in got] == [result] * 2, [one.error for one in got]
        for one in got:
            assert all(word in one.error for word in what.split("|")), one.error


@pytest.mark.parametrize("what,options,result,word", [
    ("nosuch", {}, lp.NOT_FOUND, "nosuch"),
    ("q/mixed", {}, lp.NOT_FOUND, "q/mixed"),
    (["nosuch:x"], {}, lp.NOT_FOUND, "nosuch"),
    (["wide:nosuch"], {}, lp.NOT_FOUND, "nosuch"),
    (["q/wide:int64"], {}, lp.NOT_FOUND, "q/wide"),
    (["wide"], {}, lp.INVALID, "'wide' is not view:feature"),
    (["wide:"], {}, lp.INVALID, "'wide:' is not view:feature"),
    ([":x"], {}, lp.INVALID, "':x' is not view:feature"),
    (["wide:string"], {}, lp.UNSUPPORTED, "wide:string is string, which has no place in a tensor"),
    ("texts", {}, lp.UNSUPPORTED, "which has no place in a tensor"),
    (["wide:int64"], {"dtype": 7}, lp.INVALID, "dtype 7"),
    (["wide:int64"], {"flags": 64}, lp.UNSUPPORTED, "0x40"),
    (["wide:int64"], {"max_age_us": -1}, lp.INVALID, "max_age_us"),
    (["wide:int64"], {"min_release": "x"}, lp.INVALID, "16 hex digits"),
    ("mixed", {"min_release": "0" * 16}, lp.INVALID, "min_release is for plans of one view; this one has 4"),
], ids=lambda item: str(item)[:30])  # fmt: skip
def test_refused_plans_agree(both, what, options, result, word):
    found, texts = both.refusal(what, **options)
    assert found == result and all(word in text for text in texts), texts


def test_one_view_by_two_names_agrees(both):
    both.ask(["wide:int64", "p/wide:int32", "young:x"], GivenKeys([1, 2], ["1", "2"]))


def test_wrong_calls_agree(both):
    tensor, columns = both.plans(["wide:int64", "wide:bool"]), both.plans(["wide:string"], flags=lp.COLUMNS)
    one, none, two = GivenKeys([1]), GivenKeys(), GivenKeys([1], [2])
    falls, odd, short = GivenKeys(["ab", "c"]), GivenKeys([1]), GivenKeys([1])
    ctypes.cast(falls.struct.columns[0].offsets, ctypes.POINTER(ctypes.c_int32))[1] = -1
    odd.struct.columns[0].kind = 9
    short.struct.columns[0].values = None
    unsized = lp.Answer(8)
    cases = [
        (lambda plan: plan.get(one, room=4), tensor, lp.TOO_LARGE, "8 bytes do not fit into 4 bytes"),
        (lambda plan: plan.get(none), tensor, lp.INVALID, "0 key columns were given; the plan has 1"),
        (lambda plan: plan.get(two), tensor, lp.INVALID, "2 key columns were given; the plan has 1"),
        (lambda plan: plan.get(falls), tensor, lp.INVALID, "join key k_int64, row 0: its offsets fall"),
        (lambda plan: plan.get(odd), tensor, lp.INVALID, "key column 0 has kind 9"),
        (lambda plan: plan.get(short), tensor, lp.INVALID, "key column 0 has kind 0 and no values"),
        (lambda plan: plan.get(one, flags=6), tensor, lp.UNSUPPORTED, "flags 0x6"),
        (lambda plan: plan.get(one, answer=unsized), tensor, lp.INVALID, ""),
        (lambda plan: plan.get(one), columns, lp.INVALID, "the plan is for pillion_get_columns"),
        (lambda plan: plan.get_columns(one), tensor, lp.INVALID, "the plan is for pillion_get: make it with"),
        (lambda plan: plan.columns_once(one, [(9, 1)] * 2)[0], columns, lp.INVALID, "2 columns were given"),
        (lambda plan: plan.columns_once(two, [(9, 1)])[0], columns, lp.INVALID, "2 key columns were given"),
        (
            lambda plan: plan.columns_once(falls, [(9, 1)])[0],
            columns,
            lp.INVALID,
            "join key k_int64, row 0: its offsets fall",
        ),
    ]
    for call, plans, result, text in cases:
        got = [call(plan) for plan in plans]
        assert [one.result for one in got] == [result] * 2, (text, [one.error for one in got])
        assert all(text in one.error for one in got), [one.error for one in got]
        assert got[0].error == got[1].error


def test_columns_that_are_too_small_say_what_they_need_as_mapped(both):
    plans = both.plans(of_wide(TYPES), flags=lp.COLUMNS)
    keys = GivenKeys(list(range(50)))
    count = 2 * len(TYPES)  # with a default and without
    for room in ((0, 1), (100, 3), (10**5, 1), (0, 10**4)):
        (mapped, first), (asked, second) = (plan.columns_once(keys, [room] * count) for plan in plans)
        assert mapped.result == asked.result == lp.TOO_LARGE
        assert first == second and mapped.error == asked.error
    for plan in plans:
        needed = plan.columns_once(keys, [(0, 1)] * count)[1]
        assert plan.columns_once(keys, needed)[0].result == lp.OK


@pytest.mark.parametrize("limits", [[], ["--limits.output_bytes", "64K"], ["--limits.keys_per_request", "1000"]])
def test_a_call_of_many_rows_is_several_requests(built, start, limits):
    daemon = start(built, "p/wide", "p/by_string", "p/pair", args=limits)
    both = Both(daemon)
    ids = [(i * 7) % (ROWS + 50) - 20 for i in range(20000)]
    assert both.ask(["wide:int32", "wide:d_bool"], GivenKeys(ids * 7)).result == lp.OK
    assert both.ask(of_wide(TYPES), GivenKeys(ids), flags=lp.COLUMNS).result == lp.OK
    texts = [str(i) for i in ids]
    assert both.ask(["by_string:x", "by_string:text"], GivenKeys(texts, wide=True), flags=lp.COLUMNS).result == lp.OK
    assert both.ask(["pair:x", "wide:bool"], GivenKeys(ids, texts)).result == lp.OK
    large = GivenKeys([str(i) * 600 for i in range(2000, 6000)])  # megabytes of keys
    assert both.ask(["by_string:x"], large).answer.views[0].not_found == 4000
    for plan in both.plans(["by_string:x"]):
        got = plan.get(GivenKeys([*texts[:18000], "x" * 70000]))
        assert got.result == lp.TOO_LARGE and "bytes" in got.error, got.error
    both.close()


def test_min_release_agrees(store, start):
    first = store.make_release(rows=10).rpartition("@")[2]
    second, third = (store.make_release(rows=10, seed=seed, channel=None).rpartition("@")[2] for seed in (2, 3))
    daemon = start(store, "rides/driver_stats")
    both, keys = Both(daemon), GivenKeys([5])
    plans = [[c.plan(["driver_stats:f0"], min_release=r) for r in (first, second, third)] for c in both.clients]

    def results() -> list[list[int]]:
        return [[plan.get(keys).result for plan in of] for of in plans]

    def become(release: str, *wanted: int) -> None:
        store.promote(f"rides/driver_stats@{release}")
        daemon.wait_serving(release)
        # A mapped client asks once a second when a release was made.
        harness.wait_until(f"{release}: {wanted}", lambda: results() == [list(wanted)] * 2)

    ok, not_yet = lp.OK, lp.NOT_READY
    assert results() == [[ok, not_yet, not_yet]] * 2
    errors = [of[1].get(keys).error for of in plans]
    wanted = f"view rides/driver_stats is at release {first}, which is not {second} nor made after it"
    assert errors == [wanted] * 2
    become(third, ok, not_yet, ok)
    become(second, ok, ok, not_yet)
    become(third, ok, ok, ok)
    become(first, ok, not_yet, not_yet)
    both.close()


def test_views_without_a_release_agree(store, start):
    store.make_release(rows=10, channel=None)
    daemon = start(store, "rides/driver_stats", ready=False)
    harness.wait_until("listeners", lambda: harness.connect(daemon.resp_unix).close() or True)
    harness.wait_until("mapped", lambda: os.path.exists(daemon.mapped.partition(":")[2]))
    both = Both(daemon)
    result, texts = both.refusal(["rides/driver_stats:f0"])
    assert result == lp.NOT_READY and all("rides/driver_stats" in text for text in texts), texts
    both.close()
    daemon.destroy()


def test_types_that_change_are_told_both_ways(store, start):
    store.make_release(view="v", rows=10, kind="all", channel="production")
    daemon = start(store, "rides/v")
    both = Both(daemon)
    plans = both.plans(["v:int32", "v:float32"])
    yaml = daemon.folder / "v.yaml"
    yaml.write_text("project: rides\nentities:\n  - {name: id, join_key: id, type: int64}\nfeature_views:\n"
                    "  - name: v\n    entities: [id]\n    ttl: 0\n"
                    "    source: {type: parquet, path: v.parquet, timestamp_field: event_timestamp}\n    features:\n"
                    "      - {name: int32, type: int64}\n      - {name: float32, type: float64}\n")  # fmt: skip
    rows = {"id": [1], "event_timestamp": [START], "int32": [1 << 40], "float32": [0.1]}
    pq.write_table(pa.table(rows), yaml.with_suffix(".parquet"))
    done = harness.run([sys.executable, "-m", "pillion.build", yaml, "--store", store.url])
    release = done.stdout.splitlines()[-1]
    store.pillion("promote", release, "--channel", "production", "--force")
    daemon.wait_serving(release, "rides/v")
    keys = GivenKeys([1, 2])
    harness.wait_until("the release", lambda: all(p.get(keys).views[0][0].decode() in release for p in plans))
    assert plans[0].get(keys).content == plans[1].get(keys).content
    assert plans[0].shape() == plans[1].shape() and plans[1].features()[0][2] == b"int64"
    both.close()


# ---- Connections.


class Between:
    """A proxy in front of the daemon that passes requests on, and answers as it is told."""

    def __init__(self, folder: Any, target: str):
        self.target, self.path = target, f"{folder}/between.sock"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(100)
        self.lock, self.open, self.opened = threading.Lock(), 0, 0
        self.piece = 65536  # bytes that are sent at a time
        self.break_after: list[int] = []  # bytes of the next answers to vectors, after which the connection closes
        self.hold: list[threading.Event] = []  # the next answers to vectors wait for them
        self.replace: list[bytes] = []  # what is said instead of the next answers to vectors
        threading.Thread(target=self.accept, daemon=True).start()

    @property
    def address(self) -> str:
        return f"unix:{self.path}"

    def accept(self) -> None:
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                self.open, self.opened = self.open + 1, self.opened + 1
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def serve(self, peer: socket.socket) -> None:
        try:
            with harness.connect(self.target) as server:
                self.pass_on(peer, server)
        except OSError:
            pass
        peer.close()
        with self.lock:
            self.open -= 1

    def pass_on(self, peer: socket.socket, server: socket.socket) -> None:
        requests, answers = peer.makefile("rb"), server.makefile("rb")
        while True:
            head = requests.readline()
            if not head:
                return
            words = [requests.read(int(requests.readline()[1:]) + 2)[:-2] for _ in range(int(head[1:]))]
            server.sendall(head + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
            answer = answers.readline()
            answer += answers.read(int(answer[1:]) + 2) if answer[:1] == b"$" else b""
            if words[0] in (b"PIL.VECTOR64", b"PIL.COLUMNS64") and not self.give(peer, answer):
                return
            if words[0] not in (b"PIL.VECTOR64", b"PIL.COLUMNS64"):
                peer.sendall(answer)

    def give(self, peer: socket.socket, answer: bytes) -> bool:
        with self.lock:
            end = self.break_after.pop(0) if self.break_after else None
            event = self.hold.pop(0) if self.hold else None
            answer = self.replace.pop(0) if self.replace else answer
        if event is not None:
            event.wait(harness.DEADLINE_S)
        for at in range(0, len(answer[:end]), self.piece):
            peer.sendall(answer[:end][at : at + self.piece])
        return end is None

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def between(store, start_pilliond, folder) -> Iterator[Between]:
    store.make_release(rows=1000)
    daemon = start_pilliond(store)
    found = Between(folder, daemon.resp_unix)
    found.daemon = daemon
    yield found
    found.close()


def row_of(key: int, *features: int) -> bytes:
    return bytes((ctypes.c_float * len(features))(*(synthetic.value("floats", key, f, 1) for f in features)))


def test_answers_may_come_in_any_pieces(between):
    with lp.Client(None, between.address) as client:
        plan, keys = client.plan(["driver_stats:f3", "driver_stats:f0"]), GivenKeys(list(range(100)))
        for piece in (1, 7, 63, 64, 65, 1000):
            between.piece = piece
            got = plan.get(keys)
            assert got.result == lp.OK and got.values == b"".join(row_of(key, 3, 0) for key in range(100))
        assert between.opened == 1


def test_a_call_whose_connection_breaks_is_asked_once_more(between):
    with lp.Client(None, between.address) as client:
        plan, keys, wanted = client.plan(["driver_stats:f1"]), GivenKeys([5]), row_of(5, 1)
        for end in (0, 1, 5, 20, 100, 200):
            between.break_after = [end]
            got = plan.get(keys)
            assert got.result == lp.OK and got.values == wanted
        assert between.opened == 7
        between.break_after = [10, 10]
        got = plan.get(keys)
        assert got.result == lp.UNAVAILABLE and "connection" in got.error
        assert plan.get(keys).values == wanted


@pytest.mark.parametrize("flags", [0, lp.COLUMNS], ids=["tensor", "columns"])
def test_a_call_of_several_requests_is_of_one_release(store, between, flags):
    second = store.make_release(rows=1000, seed=2, channel=None).rpartition("@")[2]
    with lp.Client(None, between.address, timeout_ms=20000) as client:
        plan, ended = client.plan(["driver_stats:f1"], flags=flags), []
        keys = GivenKeys([i % 1001 for i in range(40000)])
        at_once, later = threading.Event(), threading.Event()
        at_once.set()
        between.hold = [at_once, later]  # of three
        ask = (lambda: plan.columns_once(keys, [(160000, 0)])[0]) if flags else (lambda: plan.get(keys))
        thread = threading.Thread(target=lambda: ended.append(ask()))
        thread.start()
        harness.wait_until("the second request", lambda: not between.hold)
        store.promote(f"rides/driver_stats@{second}")
        between.daemon.wait_serving(second)
        later.set()
        thread.join()
        got = ended[0]
        assert got.result == lp.OK and got.answer.views[0].release.decode() == second
        assert got.answer.views[0].not_found == 39
        values = (ctypes.c_float * 40000).from_buffer_copy(got.columns[0][0] if flags else got.values)
        wanted = [synthetic.value("floats", key, 1, 2) for key in range(1000)]
        assert all(value == wanted[i % 1001] for i, value in enumerate(values) if i % 1001 < 1000)


def test_a_slow_answer_delays_no_other_call(between):
    with lp.Client(None, between.address, timeout_ms=700) as client:
        plan, keys, slow = client.plan(["driver_stats:f1"]), GivenKeys([5]), threading.Event()
        assert plan.get(keys).result == lp.OK
        between.hold = [slow]
        ended: list[tuple[lp.Got, float]] = []
        began = time.monotonic()
        thread = threading.Thread(target=lambda: ended.append((plan.get(keys), time.monotonic() - began)))
        thread.start()
        harness.wait_until("the call to wait", lambda: not between.hold)
        for _ in range(20):
            assert plan.get(keys).result == lp.OK
        assert client.plan(["driver_stats:f2"]).get(keys).result == lp.OK
        assert not ended
        thread.join()
        got, took = ended[0]
        assert got.result == lp.UNAVAILABLE and "does not answer in time" in got.error
        assert 0.6 < took < harness.DEADLINE_S
        slow.set()  # what comes late is of a connection that is gone
        assert [plan.get(GivenKeys([key])).values for key in (6, 7)] == [row_of(6, 1), row_of(7, 1)]


def test_as_many_connections_as_calls_and_sixteen_that_wait(between):
    with lp.Client(None, between.address, timeout_ms=20000) as client:
        plan, keys, go = client.plan(["driver_stats:f1"]), GivenKeys([5]), threading.Event()
        between.hold, ended = [go] * 40, []
        threads = [threading.Thread(target=lambda: ended.append(plan.get(keys).result)) for _ in range(40)]
        for thread in threads:
            thread.start()
        harness.wait_until("all calls to wait", lambda: not between.hold)
        assert between.open == between.opened == 40
        go.set()
        for thread in threads:
            thread.join()
        assert ended == [lp.OK] * 40
        harness.wait_until("the others to close", lambda: between.open == 16)
        assert plan.get(keys).result == lp.OK and between.opened == 40
    harness.wait_until("all to close", lambda: between.open == 0)


NONSENSE: list[tuple[bytes, int]] = [
    (b"hello\r\n", lp.CORRUPT),
    (b"$x\r\n", lp.CORRUPT),
    (b"*1\r\n:1\r\n", lp.CORRUPT),
    (b"$-1\r\n", lp.CORRUPT),
    (b"$4\r\nPLV1\r\n", lp.CORRUPT),
    (b"$0\r\n\r\n", lp.CORRUPT),
    (b":7\r\n", lp.CORRUPT),
    (b"$2\r\nab\r\n:8\r\n", lp.CORRUPT),
    (b"-LOADING not yet\r\n", lp.NOT_READY),
    (b"-NOTREADY older\r\n", lp.NOT_READY),
    (b"-NOTFOUND gone\r\n", lp.NOT_FOUND),
    (b"-NOPERM not you\r\n", lp.DENIED),
    (b"-TOOLARGE much\r\n", lp.TOO_LARGE),
    (b"-UNSUPPORTED type\r\n", lp.UNSUPPORTED),
    (b"-ERR other\r\n", lp.INVALID),
    (b"-\r\n", lp.INVALID),
]


@pytest.mark.parametrize("flags", [0, lp.COLUMNS], ids=["tensor", "columns"])
def test_nonsense_is_an_error_of_its_call(between, flags):
    with lp.Client(None, between.address) as client:
        plan, keys = client.plan(["driver_stats:f1"], flags=flags), GivenKeys([5])
        ask = plan.get_columns if flags else plan.get
        wanted = ask(keys)
        assert wanted.result == lp.OK
        for answer, result in NONSENSE:
            between.replace = [answer]
            got = ask(keys)
            assert got.result == result, (answer, got.result, got.error)
            assert ask(keys).content == wanted.content


def test_an_answer_to_another_question_is_refused(between):
    with lp.Client(None, between.address) as client:
        asked = harness.connect(between.target)
        file = asked.makefile("rb")
        asked.sendall(b"*3\r\n$12\r\nPIL.VECTOR64\r\n$5\r\nevery\r\n$8\r\n\5\0\0\0\0\0\0\0\r\n")
        head = file.readline()
        other = head + file.read(int(head[1:]) + 2)
        asked.close()
        plan = client.plan(["driver_stats:f1"])
        between.replace = [other]
        got = plan.get(GivenKeys([5]))
        assert got.result == lp.CORRUPT and "not what was asked" in got.error
        between.replace = [other]
        got = client.plan(["driver_stats:f1"], flags=lp.COLUMNS).get_columns(GivenKeys([5]))
        assert got.result == lp.CORRUPT and "PLC1" in got.error


def test_more_plans_than_a_connection_holds(between):
    with lp.Client(None, between.address) as client:
        features = [f % 10 for f in range(100)]
        plans = [client.plan([f"driver_stats:f{feature}"]) for feature in features]
        for _ in range(2):
            for plan, feature in zip(plans, features):
                assert plan.get(GivenKeys([9])).values == row_of(9, feature)
        assert between.opened == 1


def test_signals_do_not_fail_calls(between):
    reading, writing = os.pipe2(os.O_NONBLOCK)
    before, wakeup = signal.signal(signal.SIGALRM, lambda *_: None), signal.set_wakeup_fd(writing)
    try:
        with lp.Client(None, between.address, timeout_ms=20000) as client:
            plan, keys, late = client.plan(["driver_stats:f1"]), GivenKeys(list(range(1000))), threading.Event()
            between.piece, between.hold = 500, [late]
            signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
            threading.Timer(0.3, late.set).start()
            with contextlib.suppress(BlockingIOError):
                os.read(reading, 65536)
            got = plan.get(keys)
            # One byte for each signal, written by the handler itself: these came while the call waited.
            assert len(os.read(reading, 65536)) > 20
            assert got.result == lp.OK and got.values == b"".join(row_of(key, 1) for key in range(1000))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.set_wakeup_fd(wakeup)
        signal.signal(signal.SIGALRM, before)
        os.close(reading)
        os.close(writing)


def test_a_forked_child_asks_over_a_connection_of_its_own(between):
    with lp.Client(None, between.address) as client:
        plan, wanted = client.plan(["driver_stats:f1"]), row_of(5, 1)
        assert plan.get(GivenKeys([5])).values == wanted
        child = os.fork()
        if child == 0:
            good = all(plan.get(GivenKeys([5])).values == wanted for _ in range(20))
            os._exit(0 if good else 1)
        for _ in range(20):
            assert plan.get(GivenKeys([5])).values == wanted
        assert os.waitpid(child, 0)[1] == 0
        assert between.opened == 2


def test_a_queue_that_is_full_is_waited_for(between, folder):
    path = f"{folder}/full.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(0)
    waiting = []
    with pytest.raises(BlockingIOError):
        while True:
            waiting.append(socket.socket(socket.AF_UNIX))
            waiting[-1].setblocking(False)
            waiting[-1].connect(path)
    began = time.monotonic()
    with pytest.raises(lp.Error) as caught:
        lp.Client(None, f"unix:{path}", timeout_ms=200)
    assert caught.value.result == lp.UNAVAILABLE and time.monotonic() - began > 0.15

    def accept() -> None:
        for _ in range(len(waiting)):
            peer, _ = listener.accept()
            threading.Thread(target=between.serve, args=(peer,), daemon=True).start()

    threading.Timer(0.1, accept).start()
    with lp.Client(None, f"unix:{path}", timeout_ms=20000) as client:
        assert client.plan(["driver_stats:f1"]).get(GivenKeys([5])).values == row_of(5, 1)
    for one in [*waiting, listener]:
        one.close()


def test_threads_read_right_values_over_restarts(store, start):
    """The server is killed again and again under calls of two plans from eight threads, mapped and over the socket."""
    store.make_release(rows=1000)
    daemon = start(store, "rides/driver_stats")
    both, stop = Both(daemon), threading.Event()
    pairs = [client.plan([f"driver_stats:f{n}"]) for n in (3, 7) for client in both.clients]
    wrong, results = [], [[0] * 10 for _ in pairs]

    def read(number: int) -> None:
        plan, feature, key = pairs[number], 3 if number < 2 else 7, number
        while not stop.is_set():
            key = (key * 31 + 7) % 1000
            got = plan.get(GivenKeys([key]))
            results[number][got.result] += 1
            if got.result == lp.OK and got.values != row_of(key, feature):
                wrong.append((number, key, got.values))

    threads = [threading.Thread(target=read, args=(i % 4,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        before = [sum(counts[lp.OK] for counts in results[i::2]) for i in (0, 1)]
        os.kill(daemon.child("server"), signal.SIGKILL)
        for i in (0, 1):
            harness.wait_until("answers again", lambda: sum(c[lp.OK] for c in results[i::2]) > before[i] + 50)
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong
    for number, counts in enumerate(results):
        allowed = {lp.OK} if number % 2 == 0 else {lp.OK, lp.UNAVAILABLE, lp.NOT_READY}
        assert {result for result, count in enumerate(counts) if count} <= allowed, results
    assert all(plan.get(GivenKeys([5])).result == lp.OK for plan in pairs)
    both.close()
