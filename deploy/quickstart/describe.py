# SPDX-License-Identifier: Apache-2.0
"""Says what lies in a folder of Parquet data, one folder a view: `describe.py DATA`."""
from __future__ import annotations

import sys
from pathlib import Path

import duckdb


def line(folder: Path) -> str:
    files = sorted(folder.glob("*.parquet"))
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    rows, first, last, late = connection.execute(
        "SELECT count(*), min(event_timestamp)::VARCHAR, max(event_timestamp)::VARCHAR, "
        "sum((created > event_timestamp + INTERVAL 1 HOUR)::INT) FROM read_parquet(?)",
        [f"{folder}/*.parquet"]).fetchone()
    size = sum(file.stat().st_size for file in files) / 2**20
    return (f"  {folder.name:16} {rows:>10,} events in {len(files)} files, {size:,.0f} MiB, "
            f"{first[:10]} to {last[:10]}, {late:,} of them late")


def main() -> int:
    for folder in sorted(path for path in Path(sys.argv[1]).iterdir() if path.is_dir()):
        print(line(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
