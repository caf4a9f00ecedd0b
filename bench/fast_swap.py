# SPDX-License-Identifier: Apache-2.0
"""Latency of mapped reads, and of requests over the socket, while releases are swapped: quantiles of what was due
during a swap beside those of the rest. What a swap is and how the socket is measured: serve_swap.py."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
from pathlib import Path
from typing import Callable

from serve_measure import Watch
from serve_servers import SERVICE, Pilliond
from serve_swap import describe, prepare, run_swap, split, swap_all

FEATURES, ENGINE = 50, "io_uring"
MAPPED_BATCH, MAPPED_RATE, SOCKET_RATE = 100, 5000, 5000
"""Calls a second. The reader looks at the clock between its calls, as a busy model server would be busy between its."""


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
        found[kind] = {name: result[name] for name in ("inside", "outside", "ratios")} | {"noise": watch.noise()}
        say(f"  {kind}: {describe(result)}")
