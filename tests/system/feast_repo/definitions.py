# SPDX-License-Identifier: Apache-2.0
"""A Feast repository with every type that Feast serves online: what Pillion is compared with."""

from datetime import timedelta

from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.types import Array, Bool, Bytes, Float32, Float64, Int32, Int64, String, UnixTimestamp

driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
city = Entity(name="city", join_keys=["city_name"], value_type=ValueType.STRING)

SCALARS = {
    "bool": Bool,
    "int32": Int32,
    "int64": Int64,
    "float32": Float32,
    "float64": Float64,
    "string": String,
    "bytes": Bytes,
    "unix_timestamp": UnixTimestamp,
}

everything = FeatureView(
    name="everything",
    entities=[driver],
    ttl=timedelta(0),
    online=True,
    schema=[Field(name=f"s_{name}", dtype=dtype) for name, dtype in SCALARS.items()]
    + [Field(name=f"l_{name}", dtype=Array(dtype)) for name, dtype in SCALARS.items()],
    source=FileSource(path="everything.parquet", timestamp_field="event_timestamp", created_timestamp_column="created"),
)

by_city = FeatureView(
    name="by_city",
    entities=[driver, city],
    ttl=timedelta(0),
    online=True,
    schema=[Field(name="trips", dtype=Int64), Field(name="rate", dtype=Float32)],
    source=FileSource(path="by_city.parquet", timestamp_field="event_timestamp", created_timestamp_column="created"),
)

# Values that JSON, or Feast's SDK, cannot hold; and nulls
EDGE_SCALARS = ("float32", "float64", "string", "bytes", "unix_timestamp")
edges = FeatureView(
    name="edges",
    entities=[driver],
    ttl=timedelta(0),
    online=True,
    schema=[Field(name=f"s_{name}", dtype=SCALARS[name]) for name in EDGE_SCALARS]
    + [Field(name=f"l_{name}", dtype=Array(dtype)) for name, dtype in SCALARS.items()],
    source=FileSource(path="edges.parquet", timestamp_field="event_timestamp", created_timestamp_column="created"),
)

# One row of today, one of last year
hourly = FeatureView(
    name="hourly",
    entities=[driver],
    ttl=timedelta(hours=1),
    online=True,
    schema=[Field(name="trips", dtype=Int64), Field(name="rate", dtype=Float32)],
    source=FileSource(path="hourly.parquet", timestamp_field="event_timestamp", created_timestamp_column="created"),
)

# One row, without a key
rates = FeatureView(
    name="rates",
    entities=[],
    ttl=timedelta(0),
    online=True,
    schema=[Field(name="usd", dtype=Float32), Field(name="note", dtype=String)],
    source=FileSource(path="rates.parquet", timestamp_field="event_timestamp", created_timestamp_column="created"),
)

mixed = FeatureService(name="mixed", features=[everything[["s_float32", "s_string", "l_int64"]], by_city[["rate"]]])
