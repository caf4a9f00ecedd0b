# SPDX-License-Identifier: Apache-2.0
"""Frames and tables of other libraries, which are imported only when they are asked for."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, Dict, List

if TYPE_CHECKING:
    import pandas
    import pyarrow


def columns_of(frame: Any) -> Dict[str, Any]:
    """The columns of a pandas or polars frame or an Arrow table, by name. The index of pandas is not a column."""
    names = frame.column_names if hasattr(frame, "column_names") else list(frame.columns)
    twice = sorted({str(name) for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two columns have one name: {', '.join(twice)}")
    return {name: frame[name] for name in names}


# ---- Arrow


def arrow_type(kind: str) -> "pyarrow.DataType":
    """The Arrow type of a feature's type, such as "vector<float16,64>". Arrow has no bfloat16; float32 holds it."""
    import pyarrow as pa

    scalars = {
        "bool": pa.bool_(),
        "int8": pa.int8(),
        "int32": pa.int32(),
        "int64": pa.int64(),
        "float16": pa.float16(),
        "bfloat16": pa.float32(),
        "float32": pa.float32(),
        "float64": pa.float64(),
        "string": pa.string(),
        "bytes": pa.binary(),
        "unix_timestamp": pa.timestamp("us", "UTC"),
    }
    parts = re.fullmatch(r"(?:(list|vector)<)?(\w+)(?:,(\d+))?>?", kind)
    assert parts is not None
    shape, scalar, dimension = parts.groups()
    if shape is None:
        return scalars[scalar]
    return pa.list_(scalars[scalar], int(dimension)) if shape == "vector" else pa.list_(scalars[scalar])


def arrow_of(values: List[Any], kind: str) -> "pyarrow.Array":
    """Values of a feature as Arrow."""
    import pyarrow as pa

    if "float16" in kind and "bfloat16" not in kind:  # earlier versions take these from numpy only
        import numpy

        values = [None if value is None else [numpy.float16(element) for element in value] for value in values]
    return pa.array(values, arrow_type(kind))


def arrow_of_keys(keys: List[Any], kind: str) -> "pyarrow.Array":
    """Keys in the type of their join key, unless they were given in another, as digits or as seconds."""
    import pyarrow as pa

    wanted = {"string": str, "bytes": bytes, "unix_timestamp": datetime}.get(kind, int)
    is_typed = all(isinstance(key, wanted) for key in keys)
    return pa.array(keys, arrow_type(kind) if is_typed else None)


def table_of(columns: Dict[str, Any]) -> "pyarrow.Table":
    """A table of columns, of which those that are lists get the types that Arrow finds."""
    import pyarrow as pa

    return pa.Table.from_pydict(columns)


# ---- pandas

_NULLABLE = {"bool": "boolean", "int32": "Int32", "int64": "Int64", "float32": "float64", "float64": "float64"}


def series_of(values: List[Any], kind: str) -> "pandas.Series":
    """Values of a feature as pandas has them: without a detour over float."""
    import pandas

    return pandas.Series(values, dtype=_NULLABLE.get(kind))


def frame_of(columns: Dict[str, Any]) -> "pandas.DataFrame":
    """A frame of columns."""
    import pandas

    return pandas.DataFrame(columns)
