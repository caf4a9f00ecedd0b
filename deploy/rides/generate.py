#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the history that rides.yaml describes as Parquet files: the same bytes in every run with the same options.

    generate.py --out data                    two weeks, and the second day's events (--release 2)
    generate.py --out data --release 1        without the second day
    generate.py --out data --end 2026-01-31   so that the last event is just before that day (UTC)

210,000 drivers, 2.3 million events in ten files, and 0.6 million events of drivers in cities. Events come out of
order: one in 50 is late (written hours after it happened, into a later file), one in 40 was delivered twice, one in 100
was corrected (the same time, created later, other values). Some values are null. The second day is the last one; a
build with --as-of at its start sees what --release 1 wrote. It changes every third driver.

Numbers come from integer arithmetic on the event's number, not from a random generator: no version changes them.
"""
from __future__ import annotations

import argparse
import datetime
import shutil
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

DRIVERS = 210_000
FIRST_DRIVER = 1_000
EVENTS, CITY_EVENTS = 2_000_000, 500_000  # of the first thirteen days
DAY_EVENTS, CITY_DAY_EVENTS = 200_000, 100_000  # of the second day
FILES = 8
DAYS = 13
DIMENSION = 32
DAY_US = 86_400_000_000

# mix(i, salt) is 0 .. 2^31 - 2 and looks random: two multiplications modulo a prime with a shift between them.
MACROS = """
CREATE MACRO mix1(i, salt) AS ((i + salt * 1000003) * 48271 + salt) % 2147483647;
CREATE MACRO mix2(m) AS (xor(m, m >> 13) % 2147483647) * 69621 % 2147483647;
CREATE MACRO mix(i, salt) AS mix2(xor(mix2(mix1(i, salt)), 1234567));
CREATE MACRO city(m) AS ['berlin', 'essen', 'graz', 'köln', 'linz', 'münchen', 'salzburg', 'zürich'][m % 8 + 1];
"""

# i: number of the event; v: of the values, which a corrected event has anew; t_us: when it happened.
DRIVER_COLUMNS = """
  driver_id, event_timestamp, created,
  CASE WHEN mix(v, 10) % 20 > 0 THEN (mix(v, 11) % 10000 / 10000.0)::FLOAT END AS conv_rate,
  CASE WHEN mix(v, 12) % 25 > 0 THEN (mix(v, 13) % 1000 / 1000.0)::FLOAT END AS acc_rate,
  CASE WHEN mix(v, 14) % 15 > 0 THEN (mix(v, 15) % 120)::INTEGER END AS trips,
  (100 + mix(v, 16) % 401) / 100.0::DOUBLE AS rating,
  mix(v, 17) % 10 > 0 AS active,
  CASE WHEN mix(v, 18) % 30 > 0 THEN city(mix(v, 19)) END AS last_city,
  CASE WHEN mix(v, 20) % 12 > 0 THEN event_timestamp - to_seconds(mix(v, 21) % 86400) END AS last_trip,
  CASE WHEN mix(v, 22) % 18 > 0 THEN list_filter(
    [CASE WHEN mix(driver_id, 23) % 3 = 0 THEN 'electric' END,
     CASE WHEN mix(driver_id, 24) % 4 = 0 THEN 'wheelchair' END,
     CASE WHEN mix(driver_id, 25) % 2 = 0 THEN 'child seat' END], lambda x: x IS NOT NULL) END AS vehicle,
  '+49 30 ' || lpad((mix(driver_id, 26) % 10000000)::VARCHAR, 7, '0') AS phone
"""
CITY_COLUMNS = """
  driver_id, city, event_timestamp, created,
  CASE WHEN mix(v, 30) % 15 > 0 THEN (mix(v, 31) % 400)::INTEGER END AS trips,
  (mix(v, 32) % 500000) / 100.0::DOUBLE AS earnings,
  CASE WHEN mix(v, 33) % 20 > 0 THEN (mix(v, 34) % 900 / 10.0)::FLOAT END AS idle_minutes,
  [(mix(v, 35) % 24)::INTEGER, (mix(v, 36) % 24)::INTEGER, (mix(v, 37) % 24)::INTEGER][:mix(v, 38) % 4] AS hours
"""


def events(first: int, count: int, start_us: int, span_us: int, third_only: bool, key: str) -> str:
    """Events [first, first + count), each a moment after the one before, plus copies and corrections."""
    driver = f"{FIRST_DRIVER} + mix(i, 1) % {DRIVERS}"
    if third_only:
        driver = f"{FIRST_DRIVER} + mix(i, 1) % {DRIVERS // 3} * 3"
    return f"""
      WITH happened AS (SELECT i, {driver} AS driver_id, {key}
                        {start_us} + (i - {first}) * {span_us // count} + mix(i, 2) % {span_us // count} AS t_us
                        FROM range({first}, {first + count}) r(i)),
      written AS (SELECT *, i AS v, t_us + CASE WHEN mix(i, 3) % 50 = 0 THEN 7200000000 + mix(i, 4) * 10
                                                ELSE mix(i, 5) % 60000000 END AS created_us FROM happened),
      repeated AS (SELECT * FROM written UNION ALL SELECT * FROM written WHERE mix(i, 6) % 40 = 0 UNION ALL
                   SELECT * REPLACE (i + 100000000 AS v, created_us + 600000000 AS created_us) FROM written
                   WHERE mix(i, 7) % 100 = 0)
      SELECT *, make_timestamptz(t_us) AS event_timestamp, make_timestamptz(created_us) AS created FROM repeated
    """


def taste_of(connection: duckdb.DuckDBPyConnection, table: str) -> pa.Array:
    """An embedding for each row, in its order: 256 steps between -1 and 1."""
    values = connection.sql(f"SELECT ((mix(v * {DIMENSION} + k, 40) % 257 - 128) / 128.0)::FLOAT AS x FROM {table}, "
                            f"range({DIMENSION}) d(k) ORDER BY n, k").to_arrow_table()
    return pa.FixedSizeListArray.from_arrays(values["x"].combine_chunks(), DIMENSION)


def write_file(connection: duckdb.DuckDBPyConnection, path: Path, columns: str, where: str, with_taste: bool) -> None:
    connection.execute("CREATE OR REPLACE TEMP TABLE part AS "
                       "SELECT *, row_number() OVER (ORDER BY created_us, i, v) AS n "
                       f"FROM all_events WHERE {where}")
    table = connection.sql(f"SELECT {columns} FROM part ORDER BY n").to_arrow_table()
    if with_taste:
        table = table.append_column("taste", taste_of(connection, "part"))
    pq.write_table(table, path, compression="zstd", row_group_size=100_000)


def write_view(connection: duckdb.DuckDBPyConnection, folder: Path, end_us: int, release: int) -> None:
    is_city = folder.name == "driver_city_stats"
    key = "city(mix(i, 1) * 3 + mix(i, 8) % 3) AS city," if is_city else ""
    columns = CITY_COLUMNS if is_city else DRIVER_COLUMNS
    count, day_count = (CITY_EVENTS, CITY_DAY_EVENTS) if is_city else (EVENTS, DAY_EVENTS)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    day_us = end_us - DAY_US
    connection.execute("CREATE OR REPLACE TEMP TABLE all_events AS "
                       + events(0, count, day_us - DAYS * DAY_US, DAYS * DAY_US, False, key))
    # By the time of writing: what is late lies in a later file than its neighbours in time.
    for number in range(FILES):
        bounds = [day_us - DAYS * DAY_US + DAYS * DAY_US * n // FILES for n in (number, number + 1)]
        last = number == FILES - 1
        write_file(connection, folder / f"part-{number}.parquet", columns,
                   f"created_us >= {bounds[0]}" + ("" if last else f" AND created_us < {bounds[1]}"), not is_city)
    if release == 2:
        connection.execute("CREATE OR REPLACE TEMP TABLE all_events AS "
                           + events(50_000_000, day_count, day_us + 1, DAY_US - 1, True, key))
        for number in range(2):
            write_file(connection, folder / f"second-day-{number}.parquet", columns,
                       f"created_us {'<' if number == 0 else '>='} {day_us + DAY_US // 2}", not is_city)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder; one folder a view is made in it")
    parser.add_argument("--release", type=int, choices=(1, 2), default=2, help="2 (default): with the second day")
    parser.add_argument("--end", type=datetime.date.fromisoformat, default=datetime.date(2025, 11, 15),
                        help="first day without events (default: 2025-11-15)")
    options = parser.parse_args()
    end_us = (options.end - datetime.date(1970, 1, 1)).days * DAY_US
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(MACROS)
    for name in ("driver_stats", "driver_city_stats"):
        write_view(connection, options.out / name, end_us, options.release)


if __name__ == "__main__":
    main()
