# SPDX-License-Identifier: Apache-2.0
"""get_online_features as Arrow tables and pandas frames: every type of feature keeps its type, its values and its
nulls."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import synthetic
from build_project import UTC
from test_python_client import pillion, start, typed  # noqa: F401


def test_arrow_keeps_types_and_nulls(typed):
    """Of every feature type: what it is called in Arrow, and each value."""
    names = [f"all_types:{name}" for name in synthetic.NAMES]
    keys = {"id": [11, 1, 99], "zone": ["z4", "z1", "z1"]}
    response = typed.get_online_features(names, keys)
    table, plain = response.to_arrow(), response.to_dict()
    scalars = {"bool": pa.bool_(), "int8": pa.int8(), "int32": pa.int32(), "int64": pa.int64(), "bytes": pa.binary(),
               "float16": pa.float16(), "bfloat16": pa.float32(), "float32": pa.float32(), "float64": pa.float64(),
               "string": pa.string(), "unix_timestamp": pa.timestamp("us", "UTC")}  # fmt: skip
    nulls = 0
    for kind, name in zip(synthetic.TYPES, synthetic.NAMES):
        shape, _, rest = kind.rstrip(">").rpartition("<")
        scalar, _, dimension = rest.partition(",")
        wanted = {"": scalars[scalar], "list": pa.list_(scalars[scalar])}.get(shape)
        assert table.schema.field(name).type == (wanted or pa.list_(scalars[scalar], int(dimension))), kind
        assert table[name].to_pylist() == plain[name], kind
        assert plain[name][2] is None
        nulls += table[name].null_count
    assert nulls > len(names)  # the row that is not there, and some null values
    assert table.schema.field("id").type == pa.int64() and table.schema.field("zone").type == pa.string()
    timed = response.to_arrow(include_event_timestamps=True)
    assert timed.schema.field("int64__ts").type == pa.int64() and timed["int64"].equals(table["int64"])
    nothing = typed.get_online_features(names, {"id": [99], "zone": ["z1"]}).to_arrow()
    assert nothing.schema.types == table.schema.types
    digits = typed.get_online_features(names[:1], {"id": ["11"], "zone": ["z4"]}).to_arrow()
    assert digits["id"].to_pylist() == ["11"]


def test_frames_keep_integers(folder, store, start_pilliond):
    """2^53 + 1 beside a missing value."""
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    large = (1 << 53) + 1
    at = pa.array([datetime(2025, 1, 1, tzinfo=UTC)] * 2)
    rows = {"id": [large, 2], "n": [large, None], "i": pa.array([7, None], pa.int32())}
    rows.update({"b": [True, None], "f": [0.5, None]})
    pq.write_table(pa.table({**rows, "at": at}), folder / "rows.parquet")
    (folder / "p.yaml").write_text(
        "project: p\nentities:\n  - {name: e, join_key: id, type: int64}\nfeature_views:\n  - name: v\n"
        "    entities: [e]\n    source: {type: parquet, path: rows.parquet, timestamp_field: at}\n    features:\n"
        "      - {name: n, type: int64}\n      - {name: i, type: int32}\n      - {name: b, type: bool}\n"
        "      - {name: f, type: float64}\n"
    )
    store.build(folder / "p.yaml")
    daemon = start_pilliond(store, serve=["p/v@production"])
    with pillion.Client(None, daemon.resp_unix) as client:
        frame = client.get_online_features(["v:n", "v:i", "v:b", "v:f"], {"id": [large, 2, 3]}).to_df()
    assert [str(dtype) for dtype in frame.dtypes] == ["int64", "Int64", "Int32", "boolean", "float64"]
    assert frame["id"][0] == large and int(frame["n"][0]) == large and frame["i"][0] == 7 and frame["b"][0]
    assert frame[["n", "i", "b", "f"]].isna().to_numpy().tolist() == [[False] * 4, [True] * 4, [True] * 4]
    assert frame["n"][1] is pandas.NA
