# SPDX-License-Identifier: Apache-2.0
"""The proof of correctness in tests/soak, in the shorter of its lengths: every value checked while releases are
swapped, rolled back and pinned, and processes are killed and stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import harness
import pytest

SOAK = harness.ROOT / "tests" / "soak" / "soak.py"


def soak(folder, reads: int, seconds: int, *more: str) -> None:
    result = folder / "result.json"
    argv = [sys.executable, str(SOAK), "--reads", str(reads), "--seconds", str(seconds), "--json", str(result),
            "--folder", str(folder), *more]
    harness.program("pillion-soak"), harness.program("pillion-load")
    done = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    try:
        output, _ = done.communicate(timeout=seconds + 120)
    except BaseException:
        os.killpg(done.pid, signal.SIGKILL)  # the daemon and the readers, too
        done.wait()
        raise
    assert done.returncode == 0, output
    found = json.loads(result.read_text())
    assert found["failures"] == [] and sum(reader["reads"] for reader in found["readers"]) >= reads
    assert output.endswith("nothing wrong\n")


def test_a_hundred_million_reads(folder):
    soak(folder, 100_000_000, 300, "--slowness", "2")


def test_all_protocols_and_clients(folder, engine):
    soak(folder, 100_000, 120, "--protocols", "--engine", engine, "--swaps", "20", "--rows", "20000",
         "--disturbance", "0.7", "--slowness", "2")


@pytest.mark.long
def test_all_protocols_and_clients_for_long(folder, engine):
    soak(folder, 500_000_000, 1800, "--protocols", "--engine", engine, "--swaps", "2000", "--slowness", "2")


@pytest.mark.long
def test_a_billion_reads(folder):
    soak(folder, 1_000_000_000, 1800)
