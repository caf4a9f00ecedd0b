# SPDX-License-Identifier: Apache-2.0
"""The Open Inference Protocol by unmodified clients, tritonclient and kserve: every value, status and release against
the synthetic values, computed apart; JSON and binary tensors; mistakes; swaps; one connection for many requests. Both
back ends. kserve's own tests are in test_oip_kserve.py."""

from __future__ import annotations

import datetime
import json
import math
import struct
from pathlib import Path
from typing import Any, Iterator, Sequence

import harness
import numpy as np
import pytest
import synthetic
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

PRESENT, NULL_VALUE, NOT_FOUND, OUTSIDE_MAX_AGE = 1, 2, 3, 4
NUMBERS = tuple(
    name
    for name in synthetic.NAMES
    if name in ("bool", "int32", "int64", "float32", "float64", "unix_timestamp") or name.startswith("vector")
)
MODES = [(True, True), (True, False), (False, True), (False, False)]
MODE_IDS = ["binary-binary", "binary-json", "json-binary", "json-json"]


@pytest.fixture
def clients() -> Iterator[Any]:
    """Makes clients of a daemon, and closes them."""
    made: list[triton.InferenceServerClient] = []

    def make(daemon: harness.Pilliond) -> triton.InferenceServerClient:
        made.append(triton.InferenceServerClient(daemon.oip.partition(":")[2], network_timeout=harness.DEADLINE_S))
        return made[-1]

    yield make
    for client in made:
        client.close()


def tensor(name: str, values: Any, datatype: str, binary: bool, column: bool = False) -> triton.InferInput:
    array = np.array(values, dtype=np.object_ if datatype == "BYTES" else datatype.lower())
    array = array.reshape(-1, 1) if column else array
    made = triton.InferInput(name, list(array.shape), datatype)
    return made.set_data_from_numpy(array, binary_data=binary)


def wanted(names: Sequence[str], binary: bool) -> list[triton.InferRequestedOutput]:
    return [triton.InferRequestedOutput(name, binary_data=binary) for name in names]


def parameters(result: triton.InferResult) -> dict[str, Any]:
    return result.get_response()["parameters"]


def apply(store: harness.Store, folder: Path, text: str) -> None:
    path = folder / "project.yaml"
    path.write_text(text)
    store.pillion("apply", str(path), "--force")


def view_yaml(name: str, entities: str, features: Sequence[tuple[str, str]]) -> str:
    listed = "".join(f'      - {{name: {n}, type: "{t}"}}\n' for n, t in features)
    return (
        f"  - name: {name}\n    entities: [{entities}]\n    ttl: 0\n"
        "    source: {type: parquet, path: none.parquet, timestamp_field: event_timestamp}\n"
        f"    features:\n{listed}"
    )


@pytest.fixture
def daemon(store: harness.Store, start_pilliond: Any, engine: str) -> harness.Pilliond:
    store.make_release(rows=1000)
    return start_pilliond(store, engine=engine)


# ---- Right tensors.


@pytest.mark.parametrize("binary_in,binary_out", MODES, ids=MODE_IDS)
@pytest.mark.parametrize("datatype,column", [("INT64", False), ("INT32", True)], ids=["int64-n", "int32-n1"])
def test_values_and_statuses(daemon, clients, binary_in, binary_out, datatype, column):
    keys = [5, 999, 1000, 0, -1, 5]
    result = clients(daemon).infer(
        "every",
        [tensor("id", keys, datatype, binary_in, column)],
        outputs=wanted(["features", "statuses"], binary_out),
        request_id="r-1",
    )
    features, statuses = result.as_numpy("features"), result.as_numpy("statuses")
    assert features.dtype == np.float32 and features.shape == (6, 10)
    assert statuses.dtype == np.uint8 and statuses.shape == (6, 10)
    for key, values, status in zip(keys, features, statuses):
        there = 0 <= key < 1000
        assert set(status) == {PRESENT if there else NOT_FOUND}
        expected = list(synthetic.row("floats", key, 1).values()) if there else [math.nan] * 10
        assert np.array_equal(values, np.array(expected, dtype=np.float32), equal_nan=True), key
    response = result.get_response()
    assert (response["model_name"], response["model_version"], response["id"]) == ("every", "1", "r-1")
    told = response["parameters"]
    assert told["driver_stats.not_found"] == 2 and told["driver_stats.generation"] == 1
    assert daemon.serving(told["driver_stats.release"])
    assert told["worst_age_us"] == told["driver_stats.worst_age_us"] > 10**6


def test_outputs_default_to_all_and_may_be_chosen(daemon, clients):
    client = clients(daemon)
    everything = client.infer("every", [tensor("id", [1], "INT64", True)])
    assert [output["name"] for output in everything.get_response()["outputs"]] == ["features", "statuses"]
    assert "id" not in everything.get_response()
    only = client.infer("every", [tensor("id", [1], "INT64", True)], outputs=wanted(["statuses"], True))
    assert [output["name"] for output in only.get_response()["outputs"]] == ["statuses"]
    assert only.as_numpy("features") is None
    mixed = [triton.InferRequestedOutput("statuses", binary_data=False), *wanted(["features"], True)]
    both = client.infer("every", [tensor("id", [1], "INT64", False)], outputs=mixed)
    assert "data" in both.get_output("statuses") and "data" not in both.get_output("features")
    assert np.array_equal(both.as_numpy("features"), everything.as_numpy("features"))
    none = client.infer("every", [tensor("id", [], "INT64", True)])
    assert none.as_numpy("features").shape == (0, 10) and parameters(none)["worst_age_us"] == -1


@pytest.fixture
def all_types(store: harness.Store, start_pilliond: Any, engine: str, folder: Path) -> harness.Pilliond:
    store.make_release(view="all_types", rows=40, kind="all")
    services = {
        "numbers": NUMBERS,
        "texts": ("string", "float32", "bytes"),
        "words": ("string",),
        "lists": ("float32", "list_int64"),
    }
    apply(
        store,
        folder,
        "project: rides\nentities:\n  - {name: id, join_key: id, type: int64}\nfeature_views:\n"
        + view_yaml("all_types", "id", list(zip(synthetic.NAMES, synthetic.TYPES)))
        + "feature_services:\n"
        + "".join(
            f"  - {{name: {name}, features: [{', '.join(f'all_types:{f}' for f in features)}]}}\n"
            for name, features in services.items()
        ),
    )
    return start_pilliond(store, serve=["rides/all_types@production"], engine=engine)


def numbers(item: Any, count: int) -> list[float]:
    """The tensor elements of a value; NaN where there is none."""
    if item is None:
        return [math.nan] * count
    return [float(x) for x in item] if isinstance(item, list) else [float(item)]


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
@pytest.mark.parametrize("datatype", ["FP32", "FP64"])
def test_every_numeric_type(all_types, clients, binary, datatype):
    keys = list(range(40)) + [40]
    result = clients(all_types).infer(
        "numbers",
        [tensor("id", keys, "INT64", True)],
        outputs=wanted(["features", "statuses"], binary),
        parameters={"datatype": datatype},
    )
    got = result.as_numpy("features")
    assert got.dtype == (np.float32 if datatype == "FP32" else np.float64)
    for key, values, statuses in zip(keys, got, result.as_numpy("statuses")):
        row = synthetic.row("all", key, 1) if key < 40 else dict.fromkeys(synthetic.NAMES)
        elements: list[float] = []
        for name, status in zip(NUMBERS, statuses):
            missing = NULL_VALUE if key < 40 else NOT_FOUND
            assert status == (missing if row[name] is None else PRESENT), (key, name)
            elements += numbers(row[name], 4 if name.startswith("vector") else 1)
        assert np.array_equal(values, np.array(elements, dtype=got.dtype), equal_nan=True), key


def test_strings_and_bytes_are_tensors_of_their_own(all_types, clients):
    client = clients(all_types)
    keys = list(range(40)) + [40]
    names = ["features", "all_types:bytes", "all_types:string"]
    binary = client.infer("texts", [tensor("id", keys, "INT64", True)], outputs=wanted(names, True))
    plain = client.infer("texts", [tensor("id", keys, "INT64", True)], outputs=wanted(names, False))
    rows = [synthetic.row("all", key, 1) if key < 40 else dict.fromkeys(synthetic.NAMES) for key in keys]
    texts = [row["string"] for row in rows]
    assert list(binary.as_numpy("all_types:string")) == [(text or "").encode() for text in texts]
    assert list(binary.as_numpy("all_types:bytes")) == [row["bytes"] or b"" for row in rows]
    assert list(plain.as_numpy("all_types:string")) == texts
    assert plain.get_output("all_types:bytes")["parameters"] == {"content_type": "base64"}
    shown = [None if row["bytes"] is None else synthetic.base64.b64encode(row["bytes"]).decode() for row in rows]
    assert list(plain.as_numpy("all_types:bytes")) == shown
    assert binary.as_numpy("features").shape == (41, 1)
    metadata = client.get_model_metadata("texts")
    assert [(output["name"], output["datatype"], output["shape"]) for output in metadata["outputs"]] == [
        ("features", "FP32", [-1, 1]),
        ("statuses", "UINT8", [-1, 3]),
        ("all_types:string", "BYTES", [-1]),
        ("all_types:bytes", "BYTES", [-1]),
    ]
    words = client.infer("words", [tensor("id", [1], "INT64", True)])
    assert [output["name"] for output in words.get_response()["outputs"]] == ["statuses", "all_types:string"]


def test_models_that_no_tensor_holds(all_types, clients):
    client = clients(all_types)
    reasons = {model["name"]: model for model in client.get_model_repository_index()}
    assert set(reasons) == {"numbers", "texts", "words", "lists"}
    assert reasons["numbers"] == {"name": "numbers", "version": "1", "state": "READY", "reason": ""}
    assert reasons["lists"]["state"] == "UNAVAILABLE"
    assert reasons["lists"]["reason"] == "all_types:list_int64 is a list, which no tensor holds"
    assert client.is_model_ready("numbers") and not client.is_model_ready("lists")
    with pytest.raises(InferenceServerException, match="list_int64 is a list, which no tensor holds") as refused:
        client.infer("lists", [tensor("id", [1], "INT64", True)])
    assert refused.value.status() == "501"


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_composite_and_string_keys_over_two_views(store, start_pilliond, engine, folder, clients, binary):
    store.make_release(view="pairs", rows=70, features=3, args=("--key", "pair"))
    store.make_release(view="ids", rows=100, features=2, seed=9)
    apply(
        store,
        folder,
        "project: rides\nentities:\n  - {name: id, join_key: id, type: int64}\n"
        "  - {name: zone, join_key: zone, type: string}\nfeature_views:\n"
        + view_yaml("pairs", "id, zone", [(f"f{i}", "float32") for i in range(3)])
        + view_yaml("ids", "id", [(f"f{i}", "float32") for i in range(2)])
        + 'feature_services:\n  - {name: both, features: ["ids:f1", "pairs:f2", "pairs:f0"]}\n',
    )
    daemon = start_pilliond(store, serve=["rides/pairs@production", "rides/ids@production"], engine=engine)
    client = clients(daemon)
    inputs = client.get_model_metadata("both")["inputs"]
    assert inputs == [
        {"name": "id", "datatype": "INT64", "shape": [-1]},
        {"name": "zone", "datatype": "BYTES", "shape": [-1]},
    ]
    ids, zones = [3, 80, 3, 3], [b"z3", b"z3", b"z4", "z\u00fc\\|".encode()]
    result = client.infer(
        "both",
        [tensor("zone", zones, "BYTES", binary), tensor("id", ids, "INT64", binary, column=True)],
        outputs=wanted(["features", "statuses"], binary),
    )
    ids_f1 = [synthetic.value("floats", key, 1, 9) for key in ids]
    assert list(result.as_numpy("features")[:, 0]) == ids_f1
    assert list(result.as_numpy("features")[0, 1:]) == [
        synthetic.value("floats", 3, 2, 1),
        synthetic.value("floats", 3, 0, 1),
    ]
    assert np.isnan(result.as_numpy("features")[1:, 1:]).all()
    assert result.as_numpy("statuses").tolist() == [[1, 1, 1], [1, 3, 3], [1, 3, 3], [1, 3, 3]]
    told = parameters(result)
    assert (told["ids.not_found"], told["pairs.not_found"]) == (0, 3)
    as_text = client.infer("both", [tensor("id", [b"3"], "BYTES", binary), tensor("zone", [b"z3"], "BYTES", binary)])
    assert np.array_equal(as_text.as_numpy("features")[0], result.as_numpy("features")[0])
    with pytest.raises(InferenceServerException, match=r"input zone is missing; .*: id \(INT64\), zone \(BYTES\)"):
        client.infer("both", [tensor("id", [3], "INT64", binary)])


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_a_thousand_wide_rows_many_times_on_one_connection(store, start_pilliond, engine, clients, binary):
    store.make_release(rows=3000, features=300)
    daemon = start_pilliond(store, engine=engine)
    client = clients(daemon)
    for first in range(0, 2500, 500):
        keys = range(first, first + 1000)
        result = client.infer(
            "every", [tensor("id", list(keys), "INT64", binary)], outputs=wanted(["features", "statuses"], binary)
        )
        grid = (np.array(keys)[:, None] * 31 + np.arange(300)[None, :] * 7 + 1) % 1000003
        expected = np.where(np.array(keys)[:, None] < 3000, grid, np.nan).astype(np.float32)
        assert np.array_equal(result.as_numpy("features"), expected, equal_nan=True)
    metrics = daemon.metrics()
    assert metrics['pillion_connections_accepted_total{protocol="oip"}'] == 1
    assert metrics['pillion_requests_total{protocol="oip",code="ok"}'] == 5
    assert metrics['pillion_lookups_total{view="rides/driver_stats",status="hit"}'] == 5000
    assert metrics['pillion_values_total{view="rides/driver_stats",status="present"}'] == 5000 * 300


# ---- Around it.


def test_metadata_health_and_index(daemon, clients):
    client = clients(daemon)
    assert client.is_server_live() and client.is_server_ready()
    server = client.get_server_metadata()
    assert server["name"] == "pillion" and server["extensions"] == ["binary_tensor_data", "model_repository"]
    model = client.get_model_metadata("every", model_version="1")
    columns = ",".join(f"driver_stats:f{i}" for i in range(10))
    assert model == {
        "name": "every",
        "versions": ["1"],
        "platform": "pillion_features",
        "inputs": [{"name": "id", "datatype": "INT64", "shape": [-1]}],
        "outputs": [
            {"name": "features", "datatype": "FP32", "shape": [-1, 10], "parameters": {"columns": columns}},
            {"name": "statuses", "datatype": "UINT8", "shape": [-1, 10], "parameters": {"columns": columns}},
        ],
    }
    assert client.is_model_ready("every") and client.is_model_ready("every", "1")
    assert not client.is_model_ready("every", "2") and not client.is_model_ready("nobody")
    assert client.is_model_ready("rides/every")
    by_project = client.infer("rides/every", [tensor("id", [7], "INT64", True)], model_version="1")
    assert by_project.as_numpy("features")[0, 0] == synthetic.value("floats", 7, 0, 1)


def test_not_ready_before_the_first_release(store, start_pilliond, engine, clients):
    ref = store.make_release(channel=None)
    daemon = start_pilliond(store, engine=engine, ready=False)
    harness.wait_until("the listener", lambda: harness.connect(daemon.oip).close() or True)
    client = clients(daemon)
    assert client.is_server_live() and not client.is_server_ready()
    index = ("POST", "/v2/repository/index")
    harness.wait_until("the project", lambda: harness.http(daemon.oip, *index).status == 200)
    assert client.get_model_repository_index()[0]["reason"] == "view driver_stats has no release loaded yet"
    with pytest.raises(InferenceServerException, match="has no release loaded yet") as refused:
        client.infer("every", [tensor("id", [1], "INT64", True)])
    assert refused.value.status() == "503"
    store.promote(ref)
    daemon.wait_ready()
    assert client.is_server_ready() and client.is_model_ready("every")


def test_each_answer_is_from_one_release_and_says_which(store, start_pilliond, engine, clients):
    releases = [store.make_release(rows=200, seed=seed) for seed in (1, 2)]
    daemon = start_pilliond(store, engine=engine, args=("--poll_interval", "20ms"))
    client = clients(daemon)
    seeds = {ref.rpartition("@")[2]: seed for ref, seed in zip(releases, (1, 2))}
    generations: dict[int, str] = {}
    for turn in range(6):
        ref = releases[turn % 2]
        store.promote(ref)
        for _ in range(int(harness.DEADLINE_S) * 1000):
            result = client.infer("every", [tensor("id", range(200), "INT64", True)])
            told = parameters(result)
            seed = seeds[told["driver_stats.release"]]
            grid = (np.arange(200)[:, None] * 31 + np.arange(10)[None, :] * 7 + seed) % 1000003
            assert np.array_equal(result.as_numpy("features"), grid.astype(np.float32))
            generation = told["driver_stats.generation"]
            assert generations.setdefault(generation, told["driver_stats.release"]) == told["driver_stats.release"]
            if ref.endswith(told["driver_stats.release"]):
                break
        else:
            raise AssertionError(f"{ref} was not served")
    assert sorted(generations) == list(range(min(generations), max(generations) + 1)) and len(generations) >= 6


def test_max_age_and_hidden_rows(store, start_pilliond, engine, clients, folder):
    store.make_release(rows=10)
    hiding = folder / "hiding.sock"
    config = folder / "pilliond.yaml"
    config.write_text(f'listen: [{{protocol: oip, address: "unix:{hiding}", expired: hide}}]\n')
    daemon = start_pilliond(store, engine=engine, args=("--config", str(config)))
    client = clients(daemon)
    age_us = parameters(client.infer("every", [tensor("id", [3], "INT64", True)]))["worst_age_us"]
    for max_age_us, status in ((age_us - 1, OUTSIDE_MAX_AGE), (age_us + 10**9, PRESENT), (0, PRESENT)):
        result = client.infer("every", [tensor("id", [3], "INT64", True)], parameters={"max_age_us": max_age_us})
        assert set(result.as_numpy("statuses")[0]) == {status}
        assert result.as_numpy("features")[0, 0] == synthetic.value("floats", 3, 0, 1)
    body = {**key_input(data=[3]), "parameters": {"max_age_us": age_us - 1}}
    hidden = harness.http(f"unix:{hiding}", "POST", "/v2/models/every/infer", body).json()
    assert [output["data"] for output in hidden["outputs"]] == [[None] * 10, [NOT_FOUND] * 10]
    assert hidden["parameters"]["driver_stats.not_found"] == 1 and hidden["parameters"]["worst_age_us"] == -1


SHOP = """project: shop
entities:
  - {name: user, join_key: user_id, type: string}
feature_views:
  - name: users
    entities: [user]
    ttl: 1d
    source: {type: csv, path: users.csv, timestamp_field: at}
    features:
      - {name: age, type: int32, default: 30}
      - {name: score, type: float32}
feature_services:
  - {name: profile, features: [users]}
"""


def test_a_built_release_with_defaults_and_a_ttl(store, start_pilliond, engine, clients, folder):
    now = datetime.datetime.now(datetime.timezone.utc).isoformat()
    (folder / "users.csv").write_text(f"user_id,at,age,score\nann,{now},,0.5\nbob,2020-01-01T00:00:00Z,41,\n")
    (folder / "shop.yaml").write_text(SHOP)
    store.build(folder / "shop.yaml")
    client = clients(start_pilliond(store, serve=["shop/users@production"], engine=engine))
    keys = tensor("user_id", ["ann", "bob", "zoe"], "BYTES", True)
    for use_defaults, age in ((True, 30.0), (False, math.nan)):
        result = client.infer("profile", [keys], parameters={"use_defaults": use_defaults})
        expected = np.array([[age, 0.5], [41, math.nan], [age, math.nan]], dtype=np.float32)
        assert np.array_equal(result.as_numpy("features"), expected, equal_nan=True)
        assert result.as_numpy("statuses").tolist() == [
            [NULL_VALUE, PRESENT],
            [OUTSIDE_MAX_AGE, NULL_VALUE],
            [NOT_FOUND, NOT_FOUND],
        ]


# ---- Mistakes.


def infer(daemon: harness.Pilliond, body: Any, model: str = "every", **headers: str) -> harness.Answer:
    return harness.http(daemon.oip, "POST", f"/v2/models/{model}/infer", body, headers)


def key_input(**members: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "id", "shape": [1], "datatype": "INT64", "data": [1], **members}]}


@pytest.mark.parametrize(
    "body,status,sentence",
    [
        ("", 400, "the JSON of the request: Expecting value, at byte 0"),
        ("{", 400, "the JSON of the request: Expecting property name enclosed in double quotes, at byte 1"),
        (b'{"id": "\xff"}', 400, "the JSON of the request: Invalid UTF-8, at byte 8"),
        ("[" * 65, 413, "the JSON of the request: arrays and objects are nested too deep, at byte 65"),
        ({}, 400, "the request has no inputs"),
        (key_input(name="driver"), 400, "input driver is not one of the model's; they are: id (INT64)"),
        (key_input(datatype="FP32"), 400, "inputs[0] (id) is FP32; join keys are integers or BYTES"),
        (key_input(datatype="BYTES"), 400, "inputs[0] (id): element 0, 1, is not a string, as BYTES are in JSON"),
        (key_input(datatype="BYTES", data=["x"]), 400, "join key id, row 0: 'x' is not int64"),
        (key_input(shape=[2]), 400, "inputs[0] (id): data has 1 elements; its shape says 2"),
        (key_input(shape=[1, 2]), 400, "inputs[0] (id): the shape of a join key is [n] or [n, 1]"),
        (key_input(data=[None]), 400, "inputs[0] (id): element 0 is null; keys are whole numbers within int64"),
        (key_input(data=None), 400, "inputs[0] (id) has no data"),
        (key_input(shape=[20000], data=[1] * 20000), 413, "20000 rows of 1 view are over the limit of 16384 lookups"),
        (key_input(shape=[70000], data=[1] * 70000), 413, "70000 rows of 1 view are over the limit of 16384 lookups"),
        ({**key_input(), "outputs": [{"name": "x"}]}, 400, "the model has no output x; its metadata lists"),
        ({**key_input(), "outputs": [{"name": "features"}] * 2}, 400, "output features is asked for twice"),
        ({**key_input(), "parameters": {"datatype": "FP16"}}, 400, "parameters.datatype is FP16"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) and " " in value else "",
)
def test_mistakes_have_a_sentence_and_keep_the_connection(daemon, body, status, sentence):
    answer = infer(daemon, body)
    assert (answer.status, answer.json()["error"][: len(sentence)]) == (status, sentence)
    assert answer.headers["content-type"] == "application/json" and "connection" not in answer.headers
    assert daemon.metrics()['pillion_requests_total{protocol="oip",code="error"}'] == 1


def test_binary_that_does_not_add_up(daemon):
    def binary(size: Any, data: bytes, json_bytes: Any = None) -> harness.Answer:
        head = json.dumps(key_input(data=None, parameters={"binary_data_size": size})).encode()
        told = str(len(head) if json_bytes is None else json_bytes)
        return infer(daemon, head + data, **{"Inference-Header-Content-Length": told})

    assert binary(8, struct.pack("<q", 1)).status == 200
    for size, data, sentence in (
        (8, b"1234567", "inputs[0] (id): binary_data_size is 8; 7 bytes of binary data are left"),
        (7, b"1234567", "inputs[0] (id): binary_data_size is 7; 1 elements of INT64 are 8"),
        (8, b"123456789", "1 bytes of binary data are left behind those of the inputs"),
    ):
        assert binary(size, data).json() == {"error": sentence}
    for told in ("x", "-1", "100000", ""):
        answer = binary(8, struct.pack("<q", 1), told)
        assert answer.status == 400 and answer.json()["error"].startswith(
            f"inference-header-content-length is {told}; the body has"
        )


def test_an_answer_over_the_output_limit_is_refused(store, start_pilliond, engine, folder):
    store.make_release(view="all_types", rows=400, kind="all")
    apply(
        store,
        folder,
        "project: rides\nentities:\n  - {name: id, join_key: id, type: int64}\nfeature_views:\n"
        + view_yaml("all_types", "id", list(zip(synthetic.NAMES, synthetic.TYPES)))
        + 'feature_services:\n  - {name: numbers, features: ["all_types:float32", "all_types:float64"]}\n'
        + '  - {name: words, features: ["all_types:string"]}\n',
    )
    limits = ("--limits.output_bytes", "65536")
    daemon = start_pilliond(store, serve=["rides/all_types@production"], engine=engine, args=limits)
    cases = (("numbers", 8000, 413), ("numbers", 1200, 200), ("words", 8000, 413), ("words", 500, 200))
    for model, rows, status in cases:
        answer = infer(daemon, key_input(shape=[rows], data=[key % 400 for key in range(rows)]), model)
        assert answer.status == status, (model, rows)
        if status == 413:
            assert "limits.output_bytes (65536): ask for fewer rows" in answer.json()["error"]


def test_paths_methods_and_encodings(daemon):
    def ask(method: str, path: str, **headers: str) -> tuple[int, str]:
        answer = harness.http(daemon.oip, method, path, key_input() if method == "POST" else None, headers)
        return answer.status, answer.json()["error"] if answer.body else ""

    assert ask("GET", "/v2/models/nobody") == (404, "there is no feature service nobody")
    assert ask("POST", "/v2/models/nobody/infer")[0] == 404
    assert ask("POST", "/v2/models/" + "m" * 1000 + "/infer")[0] == 404
    assert ask("GET", "/v2/models/every/versions/3")[0] == 404
    assert ask("GET", "/v1/models/every") == (404, "there is nothing at this path; the protocol is served at /v2")
    assert ask("GET", "/v2/models/every/infer") == (405, "this path takes POST")
    assert ask("POST", "/v2/health/ready") == (405, "this path takes GET")
    assert ask("POST", "/v2/models/every/infer", **{"Content-Encoding": "gzip"})[0] == 415
    for address in (daemon.oip, daemon.feast):
        with harness.connect(address) as sock:
            path = b"/v2" if address == daemon.oip else b"/health"
            sock.sendall(b"%s %s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"HEAD", path) + b"GET /x HTTP/1.0\r\n\r\n")
            head, _, rest = sock.makefile("rb").read().partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ") and rest.startswith(b"HTTP/1.1 404 ")


def test_before_the_first_project_is_known_nothing_is_said_to_be_missing(store, start_pilliond, engine):
    """503, which clients and probes try again, not 404, which they believe; Feast and the index alike."""
    daemon = start_pilliond(store, engine=engine, ready=False, args=["--poll_interval", "100ms"])
    harness.wait_until("it listens", lambda: harness.http(daemon.oip, "GET", "/v2/health/live").status == 200)

    def statuses(model: str) -> list[int]:
        service = {"entities": {"id": [1]}, "feature_service": model}
        return [
            infer(daemon, key_input(), model).status,
            harness.http(daemon.oip, "GET", f"/v2/models/{model}").status,
            harness.http(daemon.oip, "GET", f"/v2/models/{model}/ready").status,
            harness.http(daemon.oip, "HEAD", f"/v2/models/{model}/ready").status,
            harness.http(daemon.feast, "POST", "/get-online-features", service).status,
        ]

    def index() -> harness.Answer:
        return harness.http(daemon.oip, "POST", "/v2/repository/index")

    assert harness.http(daemon.oip, "GET", "/v2/health/ready").status == 503
    assert statuses("every") == statuses("rides%2Fevery") == [503] * 5 and index().status == 503
    assert "not read yet" in infer(daemon, key_input()).json()["error"]
    assert infer(daemon, key_input(), "elsewhere%2Fevery").status == 404  # none of its views is served here
    store.make_release(rows=100)
    daemon.wait_ready()
    assert statuses("every") == [200] * 5 and statuses("nobody") == [404] * 5
    assert [model["name"] for model in index().json()] == ["every"]


def read_answer(file: Any) -> tuple[int, dict[str, str], bytes]:
    status = int(file.readline().split()[1])
    headers = {}
    while (line := file.readline()) != b"\r\n":
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    return status, headers, file.read(int(headers["content-length"]))


def raw(path: str, body: bytes, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def test_pipelined_requests_in_pieces(daemon):
    """Requests on one connection, cut anywhere, are answered in order and alike."""
    stream = raw("/v2/models/every/infer", json.dumps(key_input(data=[42])).encode()) * 20
    with harness.connect(daemon.oip) as sock:
        file = sock.makefile("rb")
        for begin in range(0, len(stream), 37):
            sock.sendall(stream[begin : begin + 37])
        for _ in range(20):
            status, _, body = read_answer(file)
            assert status == 200
            assert json.loads(body)["outputs"][0]["data"] == list(synthetic.row("floats", 42, 1).values())


def test_requests_of_one_batch_do_not_mix(daemon):
    """JSON, binary, metadata and mistakes in one go: each answer belongs to its request."""
    stream = b""
    for i in range(200):
        request = {**key_input(data=[i]), "id": str(i)}
        if i % 4 == 1:
            request = {**key_input(data=None, parameters={"binary_data_size": 8}), "id": str(i)}
            request["parameters"] = {"binary_data_output": True, "datatype": "FP64"}
            head = json.dumps(request).encode()
            told = f"Inference-Header-Content-Length: {len(head)}"
            stream += raw("/v2/models/every/infer", head + struct.pack("<q", i), told)
        elif i % 4 == 2:
            stream += b"GET /v2/models/every HTTP/1.1\r\nHost: x\r\n\r\n"
        else:
            stream += raw(f"/v2/models/{'every' if i % 4 == 0 else f'no{i}'}/infer", json.dumps(request).encode())
    with harness.connect(daemon.oip) as sock:
        file = sock.makefile("rb")
        sock.sendall(stream)
        for i in range(200):
            status, headers, body = read_answer(file)
            values = list(synthetic.row("floats", i, 1).values())
            if i % 4 == 0:
                answer = json.loads(body)
                assert (status, answer["id"], answer["outputs"][0]["data"]) == (200, str(i), values)
            elif i % 4 == 1:
                head = int(headers["inference-header-content-length"])
                assert json.loads(body[:head])["id"] == str(i)
                assert list(struct.unpack("<10d", body[head : head + 80])) == values
                assert body[head + 80 :] == bytes([PRESENT] * 10)
            elif i % 4 == 2:
                assert status == 200 and json.loads(body)["platform"] == "pillion_features"
            else:
                assert (status, json.loads(body)) == (404, {"error": f"there is no feature service no{i}"})
