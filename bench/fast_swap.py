# SPDX-License-Identifier: Apache-2.0
"""Latency of mapped reads, and of requests over the socket, while releases are swapped: quantiles of calls that were
due during a swap, beside those of the others. serve_swap.py defines a swap and measures the socket."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Callable

from fast_measure import Failed
from serve_measure import Watch
from serve_servers import SERVICE, Pilliond
from serve_swap import describe, prepare, run_swap, split, swap_all

FEATURES, ENGINE = 50, "io_uring"
BATCH, RATE = 100, 5000
"""Rate: calls a second. The reader looks at the clock between them, as a busy model server would be busy."""


def wait_until_filled(process: subprocess.Popen[str], payload_bytes: int) -> None:
    """Waits until the process has that much resident memory."""
    statm = Path(f"/proc/{process.pid}/statm")
    while int(statm.read_text().split()[1]) * os.sysconf("SC_PAGESIZE") < payload_bytes:
        if process.poll() is not None:
            raise Failed(f"the reader of the array ended with {process.returncode}")
        time.sleep(0.1)


def run_in_process(options: argparse.Namespace, folder: Path, reader: str, count: int) -> dict:
    """Latency of a reader that maps the releases, or of one that reads its own array while releases are swapped."""
    store, releases = prepare(options)
    samples = folder / "samples"
    pillion = Pilliond(options.bin, folder, store, ENGINE, options.spin_us, set(range(1024)))
    argv = [str(options.bin / "pillion-embed"), "--reader", reader, "--address", pillion.addresses["mapped"]]
    argv += ["--service", SERVICE, "--keys", str(options.swap_rows), "--features", str(options.features)]
    argv += ["--batch", str(BATCH), "--rate", str(RATE), "--duration", "3600", "--samples", str(samples), "--json"]
    try:
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
            try:
                if reader == "array":
                    wait_until_filled(process, options.swap_rows * options.features * 4)
                windows = swap_all(options, store, pillion, releases, count)
            finally:
                process.send_signal(signal.SIGINT)
            process.communicate()
    finally:
        pillion.stop()
    return split(samples, windows)


def run_swaps(found: dict[str, dict], options: argparse.Namespace, folder: Path, say: Callable[[str], None]) -> None:
    """The array shows the effect of swaps, and of the machine, on a reader that has nothing to do with them."""
    swap_options = argparse.Namespace(
        **vars(options), swap_rows=options.rows, features=FEATURES, spin_us=0, swap_rate=RATE
    )
    for kind in ("mapped", "array", "socket"):
        watch = Watch([os.getpid()])
        if kind == "socket":
            result = run_swap(swap_options, folder, ENGINE, options.swaps)
        else:
            result = run_in_process(swap_options, folder, kind, options.swaps)
        found[kind] = {name: result[name] for name in ("inside", "outside", "ratios")} | {"noise": watch.noise()}
        say(f"  {kind}: {describe(result)}")
