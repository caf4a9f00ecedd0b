# SPDX-License-Identifier: Apache-2.0
"""Names of views and services where two projects have both: in every protocol a bare name is ambiguous and said to be,
project/name reads that project, and no two columns of an answer have one name (docs/adr/0030)."""

from __future__ import annotations

import datetime
import json
import os
import struct
from typing import Any, Callable

import harness
import libpillion
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import redis
import synthetic
from build_project import UTC
from test_access import FRIEND, STRANGER, as_user

pillion = pytest.importorskip("pillion", reason="the package is not installed")
SEEDS = {"a": 1, "b": 2}


@pytest.fixture
def daemon(folder, store, start_pilliond) -> Any:
    """Both projects have the view v and the service every; only b has w."""
    store.make_release(project="b", view="w", rows=10, features=3, seed=9)
    for project, seed in SEEDS.items():  # the last one makes the project's service
        store.make_release(project=project, view="v", rows=10, features=3, seed=seed)
    serve = ["a/v@production", "b/v@production", "b/w@production"]
    daemon = start_pilliond(store, serve=serve, args=["--listen", f"mapped=unix:{folder}/mapped.sock"])
    daemon.mapped = f"unix:{folder}/mapped.sock"
    return daemon


def f0(seed: int) -> float:
    return synthetic.value("floats", 3, 0, seed)


class Refused(Exception):
    pass


def feast(daemon: Any, path: str = "", **body: Any) -> Any:
    answer = harness.http(daemon.feast, "POST", "/get-online-features" + path, {"entities": {"id": [3]}, **body})
    if answer.status != 200:
        raise Refused(answer.text)
    return dict(zip(answer.json()["metadata"]["feature_names"], (r["values"][0] for r in answer.json()["results"])))


def command(daemon: Any, *args: Any) -> Any:
    try:
        return daemon.redis().execute_command(*args)
    except redis.ResponseError as error:
        raise Refused(str(error)) from None


def infer(daemon: Any, path: str) -> float:
    body = {"inputs": [{"name": "id", "shape": [1], "datatype": "INT64", "data": [3]}]}
    answer = harness.http(daemon.oip, "POST", path, body)
    if answer.status != 200:
        raise Refused(answer.json()["error"])
    return answer.json()["outputs"][0]["data"][0]


def c(daemon: Any, what: Any, **way: Any) -> float:
    ways = {"mapped": None, "resp": None, **{name: getattr(daemon, at) for name, at in way.items()}}
    try:
        with libpillion.Client(**ways) as client:
            return struct.unpack_from("f", client.plan(what).get(libpillion.GivenKeys([3])).values)[0]
    except libpillion.Error as error:
        raise Refused(error.text) from None


VIEWS: dict[str, Callable[[Any, str], Any]] = {
    "HGET": lambda d, name: float(command(d, "HGET", f"{name}:3", "f0")),
    "HMGET": lambda d, name: float(command(d, "HMGET", f"{name}:3", "f0", "f1")[0]),
    "MGET": lambda d, name: struct.unpack_from("<f", command(d, "MGET", f"{name}:3")[0])[0],
    "HGETALL": lambda d, name: float(command(d, "HGETALL", f"{name}:3")[b"f0"]),
    "Feast": lambda d, name: feast(d, features=[f"{name}:f0"])["f0"],
    "Feast latest": lambda d, name: feast(d, features=[f"{name}@latest:f0"])["f0"],
    "mapped": lambda d, name: c(d, [f"{name}:f0"], mapped="mapped"),
    "socket": lambda d, name: c(d, [f"{name}:f0"], resp="resp_unix"),
}
SERVICES: dict[str, Callable[[Any, str], Any]] = {
    "PIL.VECTOR": lambda d, name: struct.unpack_from("<f", command(d, "PIL.VECTOR", name, 3)[-12:])[0],
    "Feast": lambda d, name: feast(d, feature_service=name)["f0"],
    "OIP": lambda d, name: infer(d, f"/v2/models/{name}/infer"),
    "OIP, encoded": lambda d, name: infer(d, f"/v2/models/{name.replace('/', '%2F')}/versions/1/infer"),
    "mapped": lambda d, name: c(d, name, mapped="mapped"),
    "socket": lambda d, name: c(d, name, resp="resp_unix"),
}
IN_PROJECT: dict[str, Callable[[Any, str], Any]] = {
    "Feast view": lambda d, project: feast(d, f"?project={project}", features=["v:f0"])["f0"],
    "Feast service": lambda d, project: feast(d, f"?x=1&project={project}", feature_service="every")["f0"],
    "Feast body": lambda d, project: feast(d, features=["v:f0"], project=project)["f0"],
    "Feast both": lambda d, project: feast(d, f"?project={project}", feature_service="every", project=project)["f0"],
    "OIP": lambda d, project: infer(d, f"/v2/models/every/infer?project={project}"),
}


def reading(read: Callable[[Any, str], Any], daemon: Any, name: str) -> Any:
    try:
        return read(daemon, name)
    except Refused as error:
        return str(error)


def test_a_name_means_the_same_everywhere(daemon):
    for kind, ways in (("v", VIEWS), ("every", SERVICES)):
        for way, read in ways.items():
            for project, seed in SEEDS.items():
                assert reading(read, daemon, f"{project}/{kind}") == f0(seed), way
            assert "is ambiguous" in reading(read, daemon, kind), way
            unknown = reading(read, daemon, f"c/{kind}")
            assert isinstance(unknown, str) and "ambiguous" not in unknown, way
    for way, read in VIEWS.items():
        assert reading(read, daemon, "w") == f0(9), way


@pytest.fixture
def closed(folder, store, start_pilliond, engine) -> Any:
    """Both projects as above, but a's view is for one user alone."""
    folder.chmod(0o755)
    for project, seed in SEEDS.items():
        store.make_release(project=project, view="v", rows=10, features=3, seed=seed)
    at = {protocol: f"unix:{folder}/open-{protocol}.sock" for protocol in ("resp", "mapped")}
    config = folder / "pilliond.yaml"
    config.write_text(f"serve:\n  - {{view: a/v, channel: production, read: {{uids: [{FRIEND}]}}}}\n"
                      "  - {view: b/v, channel: production}\nlisten:\n" + "".join(
                          f"  - {{protocol: {protocol}, address: \"{address}\", mode: \"0666\"}}\n"
                          for protocol, address in at.items()))
    daemon = start_pilliond(store, serve=[], args=["--config", str(config)], engine=engine)
    daemon.resp_unix, daemon.mapped = at["resp"], at["mapped"]
    return daemon


def read_all(daemon: Any) -> dict[str, Any]:
    return {f"{way} {kind}": reading(read, daemon, kind)
            for kind, ways in (("v", VIEWS), ("every", SERVICES)) for way, read in ways.items()}


@pytest.mark.skipif(os.geteuid() != 0, reason="other users can be played by root only")
def test_a_bare_name_is_judged_among_what_the_user_may_read(closed):
    """Who may not read a's view is not told that there is one, whatever others asked before."""
    for _ in range(2):
        for way, said in as_user(FRIEND, read_all, closed).items():
            assert "is ambiguous" in str(said), (way, said)
        for way, said in as_user(STRANGER, read_all, closed).items():
            assert said == f0(SEEDS["b"]), (way, said)
    index = as_user(STRANGER, harness.http, closed.oip, "POST", "/v2/repository/index")
    assert [model["name"] for model in index.json()] == ["every"]


def test_a_project_beside_the_name_is_heeded(daemon):
    for way, read in IN_PROJECT.items():
        for project, seed in SEEDS.items():
            assert reading(read, daemon, project) == f0(seed), way
        assert isinstance(reading(read, daemon, "c"), str), way
    assert feast(daemon, "?project=b", features=["a/v:f0"])["f0"] == f0(1)  # a name with its project says it itself
    assert isinstance(reading(lambda d, p: feast(d, p, features=["w:f0"]), daemon, "?project=a"), str)
    with pytest.raises(Refused, match="for project a in its path and for project b in its body"):
        feast(daemon, "?project=a", features=["v:f0"], project="b")


def test_errors_name_the_project_that_was_meant(daemon):
    for text, path, body in (
        ("Feature view x does not exist in project a, b", "", {"features": ["x:f0"]}),
        ("Feature view x does not exist in project b", "", {"features": ["b/x:f0"]}),
        ("Feature view w does not exist in project a", "?project=a", {"features": ["w:f0"]}),
        ("Feature service x does not exist in project a, b", "", {"feature_service": "x"}),
        ("Feature service x does not exist in project b", "?project=b", {"feature_service": "x"}),
    ):
        with pytest.raises(Refused) as error:
            feast(daemon, path, **body)
        assert text + '\\"' in str(error.value)
    with pytest.raises(Refused, match="a key of view b/v cannot be read: join key id: 'x' is not int64"):
        command(daemon, "HGET", "b/v:x", "f0")


def test_no_two_columns_have_one_name(daemon):
    both = {"features": ["b/v:f0", "a/v:f0", "w:f0"], "full_feature_names": True}
    wanted = {"id": 3, "b/v__f0": f0(2), "a/v__f0": f0(1), "w__f0": f0(9)}
    assert feast(daemon, **both) == wanted
    assert list(feast(daemon, features=["b/v:f0"], full_feature_names=True)) == ["id", "v__f0"]
    with pytest.raises(Refused, match="Duplicate features named f0 found"):
        feast(daemon, features=["b/v:f0", "a/v:f0"])
    with pytest.raises(Refused, match="Duplicate features named b/v__f0 found"):
        feast(daemon, **{**both, "features": [*both["features"], "b/v:f0"]})
    for ways in ((daemon.mapped, None), (None, daemon.resp_unix)):
        with pillion.Client(*ways) as client:
            found = client.get_online_features(both["features"], {"id": [3]}, full_feature_names=True)
            assert found.to_dict() == {name: [value] for name, value in wanted.items()}
            with pytest.raises(pillion.FeatureNameCollisionError, match="named f0 found"):
                client.get_online_features(["b/v:f0", "a/v:f0"], {"id": [3]})
    answer = harness.http(daemon.feast, "POST", "/get-online-features",
                          {"entities": {"id": [3]}, **both, "include_feature_view_version_metadata": True})  # fmt: skip
    assert "a/v" in json.dumps(answer.json()["metadata"]) and "b/v" in json.dumps(answer.json()["metadata"])


def test_full_names_that_meet_are_refused(folder, store, start_pilliond):
    """b__c of the view a, and c of the view a__b."""
    made = datetime.datetime(2025, 1, 1, tzinfo=UTC)
    pq.write_table(pa.table({"id": [3], "b__c": [1], "c": [2], "at": pa.array([made])}), folder / "rows.parquet")
    source = "{type: parquet, path: rows.parquet, timestamp_field: at}"
    views = "".join(
        f"  - name: {name}\n    entities: [e]\n    source: {source}\n    features: [{{name: {feature}, type: int64}}]\n"
        for name, feature in (("a", "b__c"), ("a__b", "c"))
    )
    head = "project: p\nentities:\n  - {name: e, join_key: id, type: int64}\n"
    (folder / "p.yaml").write_text(f"{head}feature_views:\n{views}")
    store.build(folder / "p.yaml")
    daemon = start_pilliond(store, serve=["p/a@production", "p/a__b@production"])
    features = ["a:b__c", "a__b:c"]
    assert feast(daemon, features=features) == {"id": 3, "b__c": 1, "c": 2}
    with pytest.raises(Refused, match="Duplicate features named a__b__c found"):
        feast(daemon, features=features, full_feature_names=True)
    with pillion.Client(None, daemon.resp_unix) as client:
        with pytest.raises(pillion.FeatureNameCollisionError, match="named a__b__c found"):
            client.get_online_features(features, {"id": [3]}, full_feature_names=True)


LONG = {kind: (kind * 128)[:128] for kind in ("view", "service", "feature")}


@pytest.fixture
def long_names(folder, store, start_pilliond) -> Any:
    """Two projects that share the names of a view and of a service; all names are as long as they may be."""
    projects = {name * 128: seed for name, seed in SEEDS.items()}
    made = datetime.datetime(2025, 1, 1, tzinfo=UTC)
    for project, seed in projects.items():
        columns = {"f0": [float(seed)], "f1": [0.5], LONG["feature"]: [0.25]}
        pq.write_table(pa.table({"id": [3], **columns, "at": pa.array([made])}), folder / f"{seed}.parquet")
        features = "".join(f"      - {{name: {name}, type: float32}}\n" for name in columns)
        (folder / f"{seed}.yaml").write_text(
            f"project: {project}\nentities:\n  - {{name: e, join_key: id, type: int64}}\n"
            f"feature_views:\n  - name: {LONG['view']}\n    entities: [e]\n"
            f"    source: {{type: parquet, path: {seed}.parquet, timestamp_field: at}}\n    features:\n{features}"
            f"feature_services:\n  - name: {LONG['service']}\n    features:\n"
            + "".join(f"      - \"{LONG['view']}:{name}\"\n" for name in columns)
        )
        store.build(folder / f"{seed}.yaml")
    daemon = start_pilliond(store, serve=[f"{project}/{LONG['view']}@production" for project in projects],
                            args=["--listen", f"mapped=unix:{folder}/mapped.sock"])
    daemon.mapped, daemon.projects = f"unix:{folder}/mapped.sock", projects
    return daemon


def test_names_may_be_as_long_as_they_may_be(long_names):
    daemon = long_names
    for kind, ways in (("view", VIEWS), ("service", SERVICES)):
        for way, read in ways.items():
            for project, seed in daemon.projects.items():
                assert reading(read, daemon, f"{project}/{LONG[kind]}") == seed, way
            assert "is ambiguous" in reading(read, daemon, LONG[kind]), way
    full = {f"{project}/{LONG['view']}": seed for project, seed in daemon.projects.items()}
    wanted = {f"{view}__{name}": value
              for view, seed in full.items() for name, value in {"f0": seed, LONG["feature"]: 0.25}.items()}
    features = [f"{view}:{name}" for view in full for name in ("f0", LONG["feature"])]
    assert feast(daemon, features=features, full_feature_names=True) == {"id": 3, **wanted}
    with pytest.raises(Refused, match=f"Duplicate features named {features[1][:192]}"):
        feast(daemon, features=[*features, features[1]], full_feature_names=True)
    for ways in ((daemon.mapped, None), (None, daemon.resp_unix)):
        with pillion.Client(*ways) as client:
            found = client.get_online_features(features, {"id": [3]}, full_feature_names=True).to_dict()
            assert found == {"id": [3], **{name: [value] for name, value in wanted.items()}}
            assert client.views() == tuple(full)
    assert {key.decode() for key in daemon.redis().scan_iter()} == {f"{view}:3" for view in full}
    index = harness.http(daemon.oip, "POST", "/v2/repository/index").json()
    assert [model["name"] for model in index] == [f"{project}/{LONG['service']}" for project in daemon.projects]


def test_scan_spells_keys_as_they_are_read(daemon):
    keys = [key.decode() for key in daemon.redis().scan_iter(count=100)]
    assert len(set(keys)) == 30
    assert {key.partition(":")[0] for key in keys} == {"a/v", "b/v", "w"}
    assert daemon.redis().exists(*keys) == 30


def test_what_there_is_can_be_listed(daemon):
    assert json.loads(command(daemon, "PIL.LIST", "services")) == ["a/every", "b/every"]
    assert json.loads(command(daemon, "PIL.LIST", "VIEWS")) == ["a/v", "b/v", "b/w"]
    with pytest.raises(Refused, match="PIL.LIST SERVICES"):
        command(daemon, "PIL.LIST", "keys")
    for ways in ((daemon.mapped, None), (None, daemon.resp_unix)):
        with pillion.Client(*ways) as client:
            assert client.services() == ("a/every", "b/every")
            assert client.views() == ("a/v", "b/v", "b/w")
            for name in ("a/v", "a/every", ["a/v:f0", "a/v:f1", "a/v:f2"]):
                assert [(f.view, f.name, f.type) for f in client.features(name)] == [
                    ("a/v", f"f{i}", "float32") for i in range(3)
                ]


def test_the_c_call_says_how_many_names_there_are(store, start_pilliond, folder):
    for view in range(3):
        store.make_release(project=f"p{view}", view="v", rows=1, features=1)
    serve = [f"p{view}/v@production" for view in range(3)]
    daemon = start_pilliond(store, serve=serve, args=["--listen", f"mapped=unix:{folder}/mapped.sock"])
    for ways in ((f"unix:{folder}/mapped.sock", None), (None, daemon.resp_unix)):
        with libpillion.Client(*ways) as client:
            assert client.names(1, 3) == (libpillion.OK, 3, ["p0/v", "p1/v", "p2/v"])
            assert client.names(0, 2)[:2] == (libpillion.TOO_LARGE, 3)
            assert client.names(2, 3)[0] == libpillion.UNSUPPORTED


def test_more_names_than_python_expects_are_listed(folder, store, start_pilliond):
    """It asks with room for 64 first."""
    pq.write_table(pa.table({"id": [3], "x": [1], "at": pa.array([datetime.datetime(2025, 1, 1, tzinfo=UTC)])}),
                   folder / "rows.parquet")
    services = [f"s{i:02}" for i in range(70)]
    (folder / "p.yaml").write_text(
        "project: p\nentities:\n  - {name: e, join_key: id, type: int64}\nfeature_views:\n  - name: v\n"
        "    entities: [e]\n    source: {type: parquet, path: rows.parquet, timestamp_field: at}\n"
        "    features: [{name: x, type: int64}]\nfeature_services:\n" +
        "".join(f"  - {{name: {service}, features: [v]}}\n" for service in services))
    store.build(folder / "p.yaml")
    mapped = f"unix:{folder}/mapped.sock"
    daemon = start_pilliond(store, serve=["p/v@production"], args=["--listen", f"mapped={mapped}"])
    for ways in ((mapped, None), (None, daemon.resp_unix)):
        with pillion.Client(*ways) as client:
            assert client.services() == tuple(f"p/{service}" for service in services)


def test_the_name_of_a_view_reads_all_its_features(daemon, store, start_pilliond, folder):
    path = f"unix:{folder}/one.sock"
    one = start_pilliond(store, serve=["b/v@production"], args=["--listen", f"mapped={path}"])
    names = [(daemon.mapped, daemon.resp_unix, "a/v", 1), (daemon.mapped, daemon.resp_unix, "b/v", 2),
             (path, one.resp_unix, "v", 2)]  # fmt: skip
    for mapped, resp, name, seed in names:
        wanted = [synthetic.value("floats", 3, i, seed) for i in range(3)]
        for ways in ((mapped, None), (None, resp)):
            with pillion.Client(*ways) as client:
                assert client.read(name, [3]).values[0].tolist() == wanted, name
                online = client.get_online_features(feature_service=name, entity_rows={"id": [3]}).to_dict()
                assert online == {"id": [3], **{f"f{i}": [wanted[i]] for i in range(3)}}
                with pytest.raises(pillion.FeatureServiceNotFoundException, match="x"):
                    client.read("x", [3])
    for ways in ((daemon.mapped, None), (None, daemon.resp_unix)):
        with pillion.Client(*ways) as client, pytest.raises(pillion.InvalidRequestError, match="view v is ambiguous"):
            client.read("v", [3])
