# SPDX-License-Identifier: Apache-2.0
"""Runs in Feast's own environment. `prepare FOLDER`: data and an applied, materialized repository. `ask FOLDER [URL]`:
what the unmodified SDK sees, one JSON line for each question: in its own online store, or with `online_store: {type:
remote}` at URL. `read FOLDER URL VIEW IDS FEATURE…`: the same by both ways in which the SDK reads, one JSON line each:
get_online_features, and online_read, which also has the values that a push or an on-demand view reads.

A URL redis:CONNECTION_STRING is `online_store: {type: redis}`; redis2: has entity_key_serialization_version 2, and
cluster: redis_type redis_cluster. `fill FOLDER URL`: materializes into that store. `ask-async FOLDER URL`: as ask, by
get_online_features_async. `try FOLDER URL`: what reads, writes and deletions come to, one JSON line each.
"""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Optional

HERE = Path(__file__).parent
NOW = dt.datetime(2026, 11, 1, 12, tzinfo=dt.timezone.utc)
NAN, INF = float("nan"), float("inf")
SCALARS = ("bool", "int32", "int64", "float32", "float64", "string", "bytes", "unix_timestamp")


def scalar(name: str, i: int) -> Any:
    return {
        "bool": i % 2 == 0,
        "int32": i * 1000 - 7,
        "int64": 2**53 + 2 * i,
        "float32": i + 0.5,
        "float64": i / 3,
        "string": f'naïve "{i}"\n',
        "bytes": bytes([i, 0, 255]),
        "unix_timestamp": NOW - dt.timedelta(days=i),
    }[name]


def write_data(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {
        "bool": pa.bool_(),
        "int32": pa.int32(),
        "int64": pa.int64(),
        "float32": pa.float32(),
        "float64": pa.float64(),
        "string": pa.string(),
        "bytes": pa.binary(),
        "unix_timestamp": pa.timestamp("us", "UTC"),
    }
    rows = range(8)
    # Row 3 has nulls where Feast keeps them apart from values: not in int64 and bool, which its own materialize
    # sends through floats.
    columns: dict[str, Any] = {"driver_id": pa.array([1000 + i for i in rows], pa.int64())}
    for name in SCALARS:
        nulls = name not in ("int32", "int64", "bool", "unix_timestamp")
        columns[f"s_{name}"] = pa.array([None if i == 3 and nulls else scalar(name, i) for i in rows], types[name])
    for name in SCALARS:
        columns[f"l_{name}"] = pa.array(
            [[scalar(name, k + 1) for k in range(1 + i % 3)] for i in rows], pa.list_(types[name])
        )
    stamps = [NOW - dt.timedelta(hours=i) for i in rows]
    columns["event_timestamp"] = pa.array(stamps, pa.timestamp("us", "UTC"))
    columns["created"] = pa.array(stamps, pa.timestamp("us", "UTC"))
    pq.write_table(pa.table(columns), folder / "everything.parquet")
    pairs = [(1000 + i, city) for i in rows for city in ("Graz", "Linz")]
    pq.write_table(
        pa.table(
            {
                "driver_id": pa.array([d for d, _ in pairs], pa.int64()),
                "city_name": pa.array([c for _, c in pairs]),
                "trips": pa.array(range(len(pairs)), pa.int64()),
                "rate": pa.array([i / 8 for i in range(len(pairs))], pa.float32()),
                "event_timestamp": pa.array([NOW] * len(pairs), pa.timestamp("us", "UTC")),
                "created": pa.array([NOW] * len(pairs), pa.timestamp("us", "UTC")),
            }
        ),
        folder / "by_city.parquet",
    )
    stamps = pa.array([NOW - dt.timedelta(hours=1), NOW], pa.timestamp("us", "UTC"))
    rates = {"usd": pa.array([1.5, 2.5], pa.float32()), "note": pa.array(["old", "new"])}
    pq.write_table(pa.table({**rates, "event_timestamp": stamps, "created": stamps}), folder / "rates.parquet")
    write_edges(folder, types)


def write_edges(folder: Path, types: dict[str, Any]) -> None:
    """Rows: NaN and infinities; NaN among numbers; empty lists; values that everybody can read; nulls. Times before
    1970, between seconds, and null."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    floats = {"float32": [INF, NAN, 0.5, 0.25, None], "float64": [NAN, -INF, 0.5, 0.1, None]}
    lists = {name: [[scalar(name, 1)], [scalar(name, 2)], [], [scalar(name, 3)] * 2, None] for name in SCALARS}
    lists["float32"][:2] = [[NAN, INF, -INF], [0.25, NAN]]
    lists["float64"][:2] = [[INF], [NAN, 0.1]]
    epoch, half = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc), dt.timedelta(milliseconds=500)
    scalars = {
        **floats,
        "string": ["", "\0", "x" * 130, "y", None],
        "bytes": [b"", b"\0", b"\xff" * 20000, b"y", None],
        "unix_timestamp": [epoch - half, NOW + half, epoch, epoch + dt.timedelta(seconds=2**33), None],
    }
    columns: dict[str, Any] = {"driver_id": pa.array([1000 + i for i in range(5)], pa.int64())}
    columns.update({f"s_{name}": pa.array(values, types[name]) for name, values in scalars.items()})
    columns.update({f"l_{name}": pa.array(values, pa.list_(types[name])) for name, values in lists.items()})
    stamps = pa.array([NOW + dt.timedelta(microseconds=i) for i in range(5)], pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({**columns, "event_timestamp": stamps, "created": stamps}), folder / "edges.parquet")
    today = dt.datetime.now(dt.timezone.utc)
    stamps = pa.array([today, NOW - dt.timedelta(days=365)], pa.timestamp("us", "UTC"))
    pq.write_table(
        pa.table(
            {
                "driver_id": pa.array([1000, 1001], pa.int64()),
                "trips": pa.array([7, 8], pa.int64()),
                "rate": pa.array([0.5, 0.75], pa.float32()),
                "event_timestamp": stamps,
                "created": stamps,
            }
        ),
        folder / "hourly.parquet",
    )


def prepare(folder: Path) -> None:
    from feast import FeatureStore

    for name in ("definitions.py", "everything.yaml"):
        (folder / name).write_text((HERE / name).read_text())
    (folder / "feature_store.yaml").write_text(
        "project: conformance\nprovider: local\nregistry: registry.db\nonline_store: {type: sqlite, path: online.db}\n"
        "entity_key_serialization_version: 3\n"
    )
    write_data(folder)
    subprocess.run([str(Path(sys.executable).with_name("feast")), "apply"], cwd=folder, check=True, capture_output=True)
    FeatureStore(str(folder)).materialize(NOW - dt.timedelta(days=30), NOW + dt.timedelta(days=1))


EVERY = [f"everything:{shape}_{name}" for shape in "sl" for name in SCALARS]
QUESTIONS: list[dict[str, Any]] = [
    {"features": EVERY, "entity_rows": [{"driver_id": 1000 + i} for i in range(8)]},
    {"features": EVERY[:8], "entity_rows": [{"driver_id": 1001}, {"driver_id": 999}]},
    {"features": ["everything:s_int64"], "entity_rows": [{"driver_id": 1002}], "full_feature_names": True},
    {
        "features": ["by_city:trips", "by_city:rate"],
        "entity_rows": [{"driver_id": 1003, "city_name": "Graz"}, {"driver_id": 1003, "city_name": "Rom"}],
    },
    {
        "features": ["everything:s_string", "by_city:rate"],
        "entity_rows": [{"driver_id": 1000 + i, "city_name": "Linz"} for i in range(5)],
        "full_feature_names": True,
    },
    {"features": ["nosuch:x"], "entity_rows": [{"driver_id": 1001}]},
    {
        "service": "mixed",
        "entity_rows": [{"driver_id": 1004, "city_name": "Graz"}, {"driver_id": 1, "city_name": "Graz"}],
    },
    {"features": ["rates:usd", "rates:note"], "entity_rows": [{"any": 1}, {"any": 2}]},
    {
        "features": ["rates:usd", "by_city:rate"],
        "entity_rows": [{"driver_id": 1004, "city_name": "Graz"}, {"driver_id": 1, "city_name": "Graz"}],
    },
    {"service": "nosuch", "entity_rows": [{"driver_id": 1004, "city_name": "Graz"}]},
]


def open_remote(folder: Path, url: str) -> Any:
    from feast import FeatureStore, RepoConfig

    scheme, _, rest = url.partition(":")
    online: dict[str, Any] = {"type": "remote", "path": url}
    if scheme in ("redis", "redis2", "cluster"):
        online = {"type": "redis", "connection_string": rest}
    if scheme == "cluster":
        online["redis_type"] = "redis_cluster"
    return FeatureStore(
        config=RepoConfig(
            project="conformance",
            provider="local",
            registry=f"{folder}/registry.db",
            repo_path=folder,
            online_store=online,
            entity_key_serialization_version=2 if scheme == "redis2" else 3,
        )
    )


def fill(folder: Path, url: str) -> None:
    open_remote(folder, url).materialize(NOW - dt.timedelta(days=3000), NOW + dt.timedelta(days=3000))


def ask(folder: Path, url: Optional[str], by_async: bool = False) -> None:
    import asyncio

    from feast import FeatureStore

    store = open_remote(folder, url) if url else FeatureStore(str(folder))
    with asyncio.Runner() as runner:
        ask_all(store, lambda **k: runner.run(store.get_online_features_async(**k)) if by_async
                else store.get_online_features(**k))


def ask_all(store: Any, get: Any) -> None:
    for question in QUESTIONS:
        try:
            features = store.get_feature_service(question["service"]) if "service" in question else question["features"]
            answer = get(
                features=features,
                entity_rows=question["entity_rows"],
                full_feature_names=question.get("full_feature_names", False),
            )
            frame = answer.to_df()
            seen: Any = {"dict": answer.to_dict(), "dtypes": {k: str(v) for k, v in frame.dtypes.items()}}
        except Exception as error:  # noqa: BLE001: the class is what is compared
            seen = {"error": type(error).__name__}
        print(json.dumps(seen, sort_keys=True, default=str))


def plain(value: Any) -> Any:
    """A ValueProto as what it holds, with its type; None when it holds nothing."""
    which = value.WhichOneof("val")
    held = getattr(value, which) if which else None
    return [which, repr(list(held.val) if which.endswith("_list_val") else held)] if which else None


def read(folder: Path, url: str, view: str, ids: list[int], features: list[str]) -> None:
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    store = open_remote(folder, url)
    keys = [EntityKey(join_keys=["driver_id"], entity_values=[Value(int64_val=i)]) for i in ids]
    ways = {
        "get_online_features": lambda: store.get_online_features(
            features=[f"{view}:{name}" for name in features], entity_rows=[{"driver_id": i} for i in ids]
        ).to_dict(),
        "online_read": lambda: [
            {name: plain(value) for name, value in row.items()}
            for _, row in store._get_provider().online_read(
                store.config, store.get_feature_view(view), keys, requested_features=features
            )
        ],
    }
    for name, way in ways.items():
        try:
            print(json.dumps({name: way()}, sort_keys=True, default=str))
        except Exception as error:  # noqa: BLE001
            print(json.dumps({name: {"error": type(error).__name__}}))


def attempt(folder: Path, url: str) -> None:
    import pandas as pd

    store = open_remote(folder, url)
    now = pd.Timestamp.now(tz="UTC")
    row = {"driver_id": [1000], "trips": [1], "rate": [1.0], "event_timestamp": [now], "created": [now]}
    online = store._get_provider().online_store
    hourly = store.get_feature_view("hourly")
    ways = {
        "read": lambda: store.get_online_features(
            features=["hourly:trips"], entity_rows=[{"driver_id": 1000}]
        ).to_dict()["trips"],
        "write": lambda: store.write_to_online_store("hourly", pd.DataFrame(row)),
        "delete_table": lambda: online.delete_table(store.config, hourly),
        "teardown": lambda: online.teardown(store.config, [hourly], []),
    }
    for name, way in ways.items():
        try:
            print(json.dumps({name: way()}))
        except Exception as error:  # noqa: BLE001: what is raised is what is looked at
            print(json.dumps({name: {"error": type(error).__name__, "message": str(error)}}))


if __name__ == "__main__":
    if sys.argv[1] == "prepare":
        prepare(Path(sys.argv[2]))
    elif sys.argv[1] == "fill":
        fill(Path(sys.argv[2]), sys.argv[3])
    elif sys.argv[1] == "try":
        attempt(Path(sys.argv[2]), sys.argv[3])
    elif sys.argv[1] == "ask-async":
        ask(Path(sys.argv[2]), sys.argv[3], by_async=True)
    elif sys.argv[1] == "read":
        read(Path(sys.argv[2]), sys.argv[3], sys.argv[4], [int(i) for i in sys.argv[5].split(",")], sys.argv[6:])
    else:
        ask(Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None)
