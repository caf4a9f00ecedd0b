# SPDX-License-Identifier: Apache-2.0
"""docs/python.md is true: its examples run in their order, as one program in a process of its own, against a daemon
that serves a release which the builder made."""

from __future__ import annotations

import datetime
import re
import sys
from pathlib import Path
from typing import Callable

import harness
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("pillion", reason="the package is not installed")
DOCS = harness.ROOT / "docs" / "python.md"
BLOCK = re.compile(r"(<!-- (\w+) -->\n)?```python\n(.*?)```", re.DOTALL)
ADDRESSES = "unix:/run/pillion/mapped.sock", "unix:/run/pillion/resp.sock"

PROJECT = """
project: rides
entities:
  - {name: driver, join_key: driver_id, type: int64}
feature_views:
  - name: driver_stats
    entities: [driver]
    source: {type: parquet, path: drivers.parquet, timestamp_field: event_timestamp}
    features:
      - {name: conv_rate, type: float32}
      - {name: trips, type: int32, default: 0}
      - {name: last_city, type: string}
      - {name: taste, type: "vector<float32,32>"}
feature_services:
  - {name: eta_v1, features: ["driver_stats:conv_rate", "driver_stats:trips"]}
"""


def write_drivers(path: Path) -> None:
    now = datetime.datetime.now(datetime.timezone.utc)
    rows = [
        {
            "driver_id": 1001 + i,
            "event_timestamp": now - datetime.timedelta(days=1),
            "conv_rate": i / 128,
            "trips": 12 + i,
            "last_city": "köln",
            "taste": [0.5] * 32,
        }
        for i in range(100)
    ]
    table = pa.Table.from_pylist(rows)
    pq.write_table(table.set_column(5, "taste", table["taste"].cast(pa.list_(pa.float32()))), path)


@pytest.fixture
def run_examples(store, start_pilliond, folder) -> Callable[..., None]:
    """Runs the blocks without a mark, and those that are marked with a module of `modules`."""
    (folder / "rides.yaml").write_text(PROJECT)
    write_drivers(folder / "drivers.parquet")
    store.build(folder / "rides.yaml")
    config, mapped = folder / "pilliond.yaml", f"unix:{folder}/mapped.sock"
    config.write_text("serve:\n  - {view: rides/driver_stats, channel: production}\n")
    daemon = start_pilliond(store, serve=[], args=["--config", str(config), "--listen", f"mapped={mapped}"])

    def run(*modules: str) -> None:
        blocks = [code for _, mark, code in BLOCK.findall(DOCS.read_text()) if mark in ("", *modules)]
        program = "\n".join(blocks)
        assert len(blocks) > 10 and program.count("pillion.Client()") == 1
        path = folder / "examples.py"
        path.write_text(program.replace("pillion.Client()", f"pillion.Client({mapped!r}, {daemon.resp_unix!r})"))
        harness.run([sys.executable, path])

    return run


def test_the_examples_run(run_examples):
    run_examples()


def test_the_example_of_torch_runs(run_examples):
    pytest.importorskip("torch", reason="torch is not installed")
    run_examples("torch")


def test_the_addresses_are_the_defaults():
    assert all(address in DOCS.read_text() for address in ADDRESSES)
