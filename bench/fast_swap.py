# SPDX-License-Identifier: Apache-2.0
"""Latency of mapped reads, and of requests over the socket, while releases are swapped: quantiles of what was due
during a swap beside those of the rest. What a swap is and how the socket is measured: serve_swap.py."""

from __future__ import annotations

import argparse
import array
import os
import signal
import subprocess
from pathlib import Path
from typing import Callable, Sequence

from fast_measure import Failed
from serve_measure import Watch
from serve_servers import SERVICE, Pilliond
from serve_swap import prepare, run_swap, swap_all

FEATURES, ENGINE = 50, "io_uring"
MAPPED_BATCH, MAPPED_RATE, SOCKET_RATE = 100, 5000, 5000
"""Calls a second. The reader looks at the clock between its calls, as a busy model server would be busy between its."""


def quantiles(latencies_ns: list[int]) -> dict[str, float]:
    latencies_ns.sort()
    count = len(latencies_ns)
    if count == 0:
        raise Failed("no calls to take quantiles of")
    shares = {"p50_us": 0.5, "p99_us": 0.99, "p999_us": 0.999, "max_us": 1.0}
    found = {name: latencies_ns[min(count - 1, int(share * count))] / 1000 for name, share in shares.items()}
    return {"count": count, **found}


def split(path: Path, windows: Sequence[tuple[int, int]]) -> dict[str, dict]:
    """By when a call was due: pairs of u64, due and taken, in ns."""
    samples = array.array("Q")
    with path.open("rb") as file:
        samples.frombytes(file.read())
    parts: dict[str, list[int]] = {"inside": [], "outside": []}
    for due, taken in zip(samples[0::2], samples[1::2]):
        is_inside = any(begin <= due < end for begin, end in windows)
        parts["inside" if is_inside else "outside"].append(taken)
    return {name: quantiles(found) for name, found in parts.items()}


def run_mapped(options: argparse.Namespace, folder: Path, count: int) -> dict:
    store, releases = prepare(options)
    samples = folder / "samples"
    pillion = Pilliond(options.bin, folder, store, ENGINE, options.spin_us, set(range(1024)))
    argv = [str(options.bin / "pillion-embed"), "--reader", "mapped", "--address", pillion.addresses["mapped"]]
    argv += ["--service", SERVICE, "--keys", str(options.swap_rows), "--features", str(options.features)]
    argv += ["--batch", str(MAPPED_BATCH), "--rate", str(MAPPED_RATE), "--duration", "3600", "--samples", str(samples)]
    try:
        with subprocess.Popen([*argv, "--json"], stdout=subprocess.PIPE, text=True) as reader:
            try:
                windows = swap_all(options, store, pillion, releases, count)
            finally:
                reader.send_signal(signal.SIGINT)
            reader.communicate()
    finally:
        pillion.stop()
    return split(samples, windows)


def run_swaps(found: dict[str, dict], options: argparse.Namespace, folder: Path, say: Callable[[str], None]) -> None:
    swap_options = argparse.Namespace(
        **vars(options), swap_rows=options.rows, features=FEATURES, spin_us=0, swap_rate=SOCKET_RATE
    )
    for kind in ("mapped", "socket"):
        watch = Watch([os.getpid()])
        if kind == "mapped":
            result = run_mapped(swap_options, folder, options.swaps)
        else:
            result = run_swap(swap_options, folder, ENGINE, options.swaps)
        inside, outside = result["inside"], result["outside"]
        found[kind] = {"inside": inside, "outside": outside, "noise": watch.noise()}
        say(
            f"  {kind}: p99.9 inside {inside['p999_us']:.1f} µs, outside {outside['p999_us']:.1f} µs, "
            f"ratio {inside['p999_us'] / outside['p999_us']:.2f}; longest {inside['max_us']:.0f} / "
            f"{outside['max_us']:.0f} µs; {inside['count']:,} and {outside['count']:,} calls"
        )
