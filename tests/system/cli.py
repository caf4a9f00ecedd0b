# SPDX-License-Identifier: Apache-2.0
"""`pillion` for tests: run as its users run it, with a project that synthetic releases of one view answer."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import harness

PROJECT = """\
project: rides
entities:
  - {name: driver, join_key: driver_id, type: int64}
feature_views:
  - name: driver_stats
    entities: [driver]
    ttl: 7d
    source: {type: parquet, path: "data/*.parquet", timestamp_field: event_timestamp}
    features:
      - {name: f0, type: float32}
      - {name: f1, type: float32}
feature_services:
  - {name: eta, features: ["driver_stats:f0"]}
"""


def pillion(
    *args: Any, code: int | None = 0, env: dict[str, str] | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if k != "PILLION_STORE"}
    return harness.run(
        [harness.program("pillion"), *map(str, args)], code=code, env={**clean, **(env or {})}, **options
    )


def pillion_json(*args: Any, code: int | None = 0) -> Any:
    done = pillion(*args, "--json", code=code)
    assert len(done.stdout.splitlines()) == 1, done.stdout
    return json.loads(done.stdout)


def says(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """One message on stderr that begins with the program's name and holds the words."""
    assert done.stderr.startswith("pillion: "), done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


def channel_of(store: harness.Store, channel: str = "production", view: str = "rides/driver_stats") -> dict[str, Any]:
    return json.loads((store.path / "views" / view / "channels" / f"{channel}.json").read_text())


def manifest_of(store: harness.Store, ref: str) -> dict[str, Any]:
    view, _, release = ref.rpartition("@")
    return json.loads((store.path / "views" / view / "releases" / f"{release}.json").read_text())


def shard_files(store: harness.Store, ref: str) -> list[Path]:
    return [
        store.path / "shards" / shard["id"][:2] / f"{shard['id']}.shard" for shard in manifest_of(store, ref)["shards"]
    ]
