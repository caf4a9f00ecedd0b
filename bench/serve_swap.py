# SPDX-License-Identifier: Apache-2.0
"""Latency while releases are swapped: an open loop whose values are checked, promotions meanwhile, and the quantiles of
requests that were due during a swap beside those of the others."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Sequence

from serve_servers import VIEW, Pilliond, make_release

SEEDS = (1, 2, 3)  # more than a node keeps: each swap fetches, verifies, publishes and lets one go
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
    """Promotes; returns when the swap began and when it was over and the old release gone for a while."""
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
    """A store with releases to go through, the first promoted. It is kept; their list says that it is whole."""
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
    """One after the other, each followed by about as much time without one; returns their times."""
    found = []
    time.sleep(2 * PAUSE_S)
    for number in range(1, count + 1):
        begin, end = swap(options, store, pillion, releases[number % len(releases)])
        found.append((begin, end))
        time.sleep(min(max((end - begin) / 1e9, PAUSE_S), PAUSE_MAX_S))
    return found


def load_argv(options: argparse.Namespace, pillion: Pilliond, windows: Path) -> list[str]:
    what = ["--command", "hmget", "--features", str(options.features), "--keys", str(options.swap_rows)]
    how = ["--rate", str(options.swap_rate), "--connections", str(CONNECTIONS), "--duration", "3600", "--allow-late"]
    return [
        *[str(options.bin / "pillion-load"), "--address", pillion.addresses["unix"], *what, *how],
        *["--key-prefix", f"{VIEW}:", "--verify", ",".join(map(str, SEEDS)), "--window-file", str(windows), "--json"],
    ]


def run_swap(options: argparse.Namespace, folder: Path, engine: str, count: int = SWAPS) -> dict:
    store, releases = prepare(options)
    windows = folder / "windows"
    windows.write_text("")
    pillion = Pilliond(options.bin, folder, store, engine, options.spin_us, set(range(1024)))
    try:
        with subprocess.Popen(load_argv(options, pillion, windows), stdout=subprocess.PIPE, text=True) as load:
            try:
                times = swap_all(options, store, pillion, releases, count)
                windows.write_text("".join(f"{begin} {end}\n" for begin, end in times))
            finally:
                load.send_signal(signal.SIGINT)
            result = json.loads(load.communicate()[0].splitlines()[-1])
    finally:
        pillion.stop()
    inside, outside = result["inside"], result["outside"]
    late = result["late"] / max(1, result["sent"])
    result["line"] = (
        f"swap x {count} of {options.swap_rows:,} rows, {engine}: p99.9 inside {inside['p999_us']:.0f} µs, outside "
        f"{outside['p999_us']:.0f} µs, ratio {inside['p999_us'] / outside['p999_us']:.2f}; p99 {inside['p99_us']:.0f} "
        f"/ {outside['p99_us']:.0f}; max {inside['max_us']:.0f} / {outside['max_us']:.0f}; {inside['count']:,} and "
        f"{outside['count']:,} requests at {options.swap_rate:,.0f}/s, {late:.2%} sent late; wrong {result['wrong']}, "
        f"mixed {result['mixed']}, missing {result['missing']}, errors {result['errors']}"
    )
    return result
