# SPDX-License-Identifier: Apache-2.0
"""Latency while releases are swapped: an open loop with checked values, promotions during it, and the quantiles of
requests that were due during a swap, beside those of the others."""

from __future__ import annotations

import argparse
import array
import bisect
import json
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Sequence

from serve_servers import VIEW, Pilliond, make_release

SEEDS = (1, 2, 3)  # more than a node keeps: each swap fetches, verifies and publishes a release and drops another
SWAPS, PAUSE_S, PAUSE_MAX_S, SETTLE_S, SWAP_MAX_S = 9, 1.0, 8.0, 0.2, 180.0
CONNECTIONS = 4


def now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def is_served(admin: str, release: str) -> bool:
    with urllib.request.urlopen(f"http://{admin}/metrics", timeout=10) as answer:
        page = answer.read().decode()
    wanted = f'release="{release.rpartition("@")[2]}"'
    return any(line.startswith("pillion_release_info{") and wanted in line for line in page.splitlines())


def swap(options: argparse.Namespace, store: Path, pillion: Pilliond, release: str) -> tuple[int, int]:
    """Promotes a release. Returns when the swap began, and when it was over and the old release had been gone for a
    while."""
    begin = now_ns()
    promote(options, store, release)
    while not is_served(pillion.admin, release):
        if now_ns() - begin > SWAP_MAX_S * 1e9:
            sys.exit(f"{release} is not served after {SWAP_MAX_S:g} s; {pillion.log_path.read_text()[-2000:]}")
        time.sleep(0.02)
    time.sleep(SETTLE_S)
    return begin, now_ns()


def promote(options: argparse.Namespace, store: Path, release: str) -> None:
    argv = [str(options.bin / "pillion"), "promote", release, "--channel", "production", "--store", f"dir:{store}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"pillion promote failed: {done.stdout}{done.stderr}")


def prepare(options: argparse.Namespace) -> tuple[Path, list[str]]:
    """A store with the releases to swap, the first one promoted. The store is kept; the list of releases is written
    when it is complete."""
    store = options.data / f"swap-{options.swap_rows}-{options.features}"
    made = store.with_suffix(".json")
    if not made.exists():
        releases = [make_release(options.bin, store, options.swap_rows, options.features, seed, None) for seed in SEEDS]
        made.write_text(json.dumps(releases))
    releases = json.loads(made.read_text())
    promote(options, store, releases[0])
    return store, releases


def swap_all(
    options: argparse.Namespace, store: Path, pillion: Pilliond, releases: Sequence[str], count: int
) -> list[tuple[int, int]]:
    """Swaps one after another, each followed by about as much time without a swap; returns their times."""
    found = []
    time.sleep(2 * PAUSE_S)
    for number in range(1, count + 1):
        begin, end = swap(options, store, pillion, releases[number % len(releases)])
        found.append((begin, end))
        time.sleep(min(max((end - begin) / 1e9, PAUSE_S), PAUSE_MAX_S))
    return found


def quantiles(latencies_ns: list[int]) -> dict[str, float]:
    latencies_ns.sort()
    count = len(latencies_ns)
    if count == 0:
        sys.exit("no requests to take quantiles of")
    shares = {"p50_us": 0.5, "p99_us": 0.99, "p999_us": 0.999, "max_us": 1.0}
    found = {name: latencies_ns[min(count - 1, int(share * count))] / 1000 for name, share in shares.items()}
    return {"count": count, **found}


def split(samples_path: Path, windows: Sequence[tuple[int, int]]) -> dict:
    """Splits samples (pairs of u64 in ns, due time and latency) by due time: "inside" and "outside" of the windows, and
    "ratios" of p99.9 for each window to the time from its end to the next one. When a machine stands still for a
    moment, as virtual ones do, this spoils one ratio, not their median."""
    samples = array.array("Q")
    samples.frombytes(samples_path.read_bytes())
    begins = [begin for begin, _ in windows]
    inside: list[list[int]] = [[] for _ in windows]
    after: list[list[int]] = [[] for _ in windows]
    before: list[int] = []
    for due, taken in zip(samples[0::2], samples[1::2]):
        at = bisect.bisect_right(begins, due) - 1
        part = before if at < 0 else inside[at] if due < windows[at][1] else after[at]
        part.append(taken)
    each = [(quantiles(swapped), quantiles(rest)) for swapped, rest in zip(inside, after)]
    return {
        "inside": quantiles([taken for part in inside for taken in part]),
        "outside": quantiles(before + [taken for part in after for taken in part]),
        "ratios": [swapped["p999_us"] / rest["p999_us"] for swapped, rest in each],
    }


def describe(found: dict) -> str:
    inside, outside, ratios = found["inside"], found["outside"], found["ratios"]
    return (
        f"p99.9 inside / outside of a swap {statistics.median(ratios):.2f} (median of {len(ratios)}, "
        f"{min(ratios):.2f} to {max(ratios):.2f}); of all: p99.9 {inside['p999_us']:.0f} / {outside['p999_us']:.0f} "
        f"µs, p99 {inside['p99_us']:.0f} / {outside['p99_us']:.0f}, longest {inside['max_us']:.0f} / "
        f"{outside['max_us']:.0f}; {inside['count']:,} and {outside['count']:,} requests"
    )


def load_argv(options: argparse.Namespace, pillion: Pilliond, samples: Path) -> list[str]:
    what = ["--command", "hmget", "--features", str(options.features), "--keys", str(options.swap_rows)]
    how = ["--rate", str(options.swap_rate), "--connections", str(CONNECTIONS), "--duration", "3600", "--allow-late"]
    return [
        *[str(options.bin / "pillion-load"), "--address", pillion.addresses["unix"], *what, *how],
        *["--key-prefix", f"{VIEW}:", "--verify", ",".join(map(str, SEEDS))],
        *["--samples", str(samples), "--json"],
    ]


def run_swap(options: argparse.Namespace, folder: Path, engine: str, count: int = SWAPS) -> dict:
    store, releases = prepare(options)
    samples = folder / "samples"
    pillion = Pilliond(options.bin, folder, store, engine, options.spin_us, set(range(1024)))
    try:
        with subprocess.Popen(load_argv(options, pillion, samples), stdout=subprocess.PIPE, text=True) as load:
            try:
                windows = swap_all(options, store, pillion, releases, count)
            finally:
                load.send_signal(signal.SIGINT)
            result = json.loads(load.communicate()[0].splitlines()[-1])
    finally:
        pillion.stop()
    result |= split(samples, windows)
    late = result["late"] / max(1, result["sent"])
    result["line"] = (
        f"swap x {count} of {options.swap_rows:,} rows, {engine}: {describe(result)} at {options.swap_rate:,.0f}/s, "
        f"{late:.2%} sent late; wrong {result['wrong']}, mixed {result['mixed']}, missing {result['missing']}, "
        f"errors {result['errors']}"
    )
    return result
