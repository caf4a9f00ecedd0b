# SPDX-License-Identifier: Apache-2.0
"""Frames and tables of other libraries, which this package does not import."""

from __future__ import annotations

from typing import Any, Dict


def columns_of(frame: Any) -> Dict[str, Any]:
    """The columns of a pandas or polars frame or an Arrow table, by name. The index of pandas is not a column."""
    names = frame.column_names if hasattr(frame, "column_names") else list(frame.columns)
    twice = sorted({str(name) for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two columns have one name: {', '.join(twice)}")
    return {name: frame[name] for name in names}
