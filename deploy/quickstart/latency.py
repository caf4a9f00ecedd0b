# SPDX-License-Identifier: Apache-2.0
"""Reads the same feature vectors in the process that wants them and over the socket, from C and from Python; compares
every value with the Parquet files, as DuckDB reads them, and draws what a call took. Exit 1 when any value differs.
"""
from __future__ import annotations

import argparse
import http.client
import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Sequence

import numpy
import pillion
import truth

WARM_UP, BATCH = 20, 100
BAR, BAR_FROM_US, BAR_TO_US = 32, 0.1, 10_000.0  # columns, and what they stand for, by powers of ten


def run(argv: Sequence[str]) -> str:
    done = subprocess.run(argv, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(argv[:4])}…: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout


# ---- Values: rows of float32, NaN where there is none.

def service_features(store: Path, view: truth.View, service: str) -> list[truth.Feature]:
    """In the service's order, from the project that was applied (schemas/store.md)."""
    project = json.loads((store / "projects" / f"{view.project}.json").read_text())["project"]
    found = next(entry for entry in project["feature_services"] if entry["name"] == service)
    by_name = {feature.name: feature for feature in view.features}
    return [by_name[reference.partition(":")[2]] for reference in found["features"]]


def expected(row: dict[str, Any], features: Sequence[truth.Feature]) -> list[float]:
    numbers: list[float] = []
    for feature in features:
        value = row[feature.name]
        numbers += value if feature.is_list else [value]
    return [math.nan if number in (None, "nan") else number for number in numbers]


def by_c(options: argparse.Namespace, keys: Sequence[int]) -> numpy.ndarray:
    printed = run([f"{options.programs}/pillion-example-vectors", options.mapped, "-", options.service,
                   *map(str, keys)])
    rows = [line.partition(":")[2].partition("|")[0].split() for line in printed.splitlines() if "|" in line]
    return numpy.array(rows, dtype="float32")


def by_feast(feast: http.client.HTTPConnection, service: str, keys: Sequence[int]) -> dict[str, list[Any]]:
    body = json.dumps({"entities": {"driver_id": list(map(int, keys))}, "feature_service": service})
    feast.request("POST", "/get-online-features", body, {"Content-Type": "application/json"})
    reply = json.loads(feast.getresponse().read())
    return dict(zip(reply["metadata"]["feature_names"], (column["values"] for column in reply["results"])))


# ---- Times: (name, p50, p99) in microseconds.

Line = tuple[str, float, float]


def timed(name: str, call: Callable[[], Any], calls: int) -> Line:
    for _ in range(WARM_UP):
        call()
    times = []
    for _ in range(calls):
        begin = time.perf_counter_ns()
        call()
        times.append((time.perf_counter_ns() - begin) / 1e3)
    times.sort()
    return name, times[calls // 2], times[calls * 99 // 100]


def timed_in_c(options: argparse.Namespace, keys: Sequence[int]) -> dict[str, Line]:
    """Both ways in turns; the program compares their answers bit by bit."""
    printed = run([f"{options.programs}/pillion-example-latency", options.mapped, options.resp, options.service,
                   *map(str, keys)])
    found = {}
    for line in printed.splitlines():
        way, _, _, p50, _, p99, _ = line.split()
        found[way] = (f"C, {'mapped' if way == 'mapped' else 'socket (PIL.VECTOR)'}", float(p50), float(p99))
    return found


def measure(options: argparse.Namespace, clients: dict[str, pillion.Client], keys: Sequence[int]) -> list[Line]:
    ids = numpy.array(keys, dtype="int64")
    out = clients["mapped"].vectors(options.service, ids)
    in_c = timed_in_c(options, keys)
    feast = http.client.HTTPConnection(options.feast.removeprefix("http://"))
    lines = [
        in_c["mapped"],
        timed("Python, mapped", lambda: clients["mapped"].vectors(options.service, ids, out=out), 5000),
        in_c["socket"],
        timed("Python, socket (PIL.VECTOR)", lambda: clients["socket"].vectors(options.service, ids, out=out), 1000),
        timed("Python, HTTP (Feast API)", lambda: by_feast(feast, options.service, keys), 200),
    ]
    feast.close()
    return lines


def short(us: float) -> str:
    return f"{us:.2f}" if us < 10 else f"{us:,.0f}"


def draw(title: str, lines: Sequence[Line]) -> None:
    print(f"    {title:29}{'p50':>9}{'p99':>9}")
    decades = math.log10(BAR_TO_US / BAR_FROM_US)
    for name, p50, p99 in lines:
        length = round(BAR * max(0.0, min(1.0, math.log10(p50 / BAR_FROM_US) / decades)))
        print(f"      {name:27}{short(p50):>9}{short(p99):>9} µs {'█' * max(1, length)}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--release", required=True, help="project/view@release that is served")
    parser.add_argument("--service", required=True)
    parser.add_argument("--files", required=True, help="glob of the Parquet files")
    parser.add_argument("--as-of")
    parser.add_argument("--mapped", required=True)
    parser.add_argument("--resp", required=True)
    parser.add_argument("--feast", required=True, help="http://host:port")
    parser.add_argument("--programs", required=True, help="folder of the examples in C")
    options = parser.parse_args()
    view = truth.view_of(options.store, options.release)
    features = service_features(options.store, view, options.service)
    sample = truth.Truth(view, options.files, options.as_of).sample(BATCH)
    keys = [key[0] for key, _ in sample]
    want = numpy.array([expected(row, features) for _, row in sample], dtype="float32")
    clients = {"mapped": pillion.Client(mapped=options.mapped, resp=None),
               "socket": pillion.Client(mapped=None, resp=options.resp)}
    got = {"C": by_c(options, keys)}
    for name, client in clients.items():
        got[f"Python, {name}"] = client.vectors(options.service, numpy.array(keys))
    wrong = [name for name, values in got.items() if not numpy.array_equal(values, want, equal_nan=True)]
    if wrong:
        print(f"{', '.join(wrong)}: values differ from the Parquet", file=sys.stderr)
        return 1
    print(f"    service {options.service}: {BATCH} drivers x {want.shape[1]} numbers, from C and from Python: "
          f"{want.size * len(got):,} values, all right\n")
    draw("one driver", measure(options, clients, keys[:1]))
    draw(f"{BATCH} drivers in one call", measure(options, clients, keys))
    print("    (bars by powers of ten)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
