# SPDX-License-Identifier: Apache-2.0
"""docs/tutorial.md is true: its commands run word by word, in their order, in one shell in an empty folder, and print
what the page shows. Only what differs between machines and runs is not compared: names of releases, the folder, and
what --check-config says of the machine."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import harness
import pytest

pytest.importorskip("pillion", reason="the package is not installed")
PAGE = harness.ROOT / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FOLDER = "/srv/rides"  # where the page was written
MARK = "--- step "


def steps() -> list[tuple[str, str]]:
    """Commands, and what they print."""
    found: list[tuple[str, str]] = []
    for kind, text in BLOCK.findall(PAGE.read_text()):
        if kind == "sh":
            found.append((text, ""))
        elif kind == "text":
            found[-1] = (found[-1][0], text)
    return found


def alike(text: str, folder: str = FOLDER) -> str:
    """A text without what differs between runs."""
    text = re.sub(r"\b[0-9a-f]{16}\b", "RELEASE", text.replace(folder, FOLDER))
    text = re.sub(r" +$", "", text, flags=re.MULTILINE)  # of tables
    return re.sub(r"(ok: \d+ views?, \d+ listeners?), .*", r"\1", text)


def test_the_tutorial_works_word_by_word(folder):
    harness.tool("redis-cli")
    written = steps()
    assert len(written) >= 10 and sum(bool(shown) for _, shown in written) >= 8
    # Whatever step fails, nothing is left running.
    script = "set -e -o pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || :; wait' EXIT\n"
    script += "".join(f"echo '{MARK}{number}'\n{commands}" for number, (commands, _) in enumerate(written))
    found = [str(Path(harness.program("pillion")).parent), str(Path(sys.executable).parent)]
    clean = {name: value for name, value in os.environ.items() if name != "PILLION_STORE"}
    done = harness.run(["bash", "-c", script], cwd=folder,
                       env={**clean, "PATH": ":".join([*found, os.environ["PATH"]])})
    printed = re.split(rf"^{MARK}\d+\n", done.stdout, flags=re.MULTILINE)[1:]
    assert len(printed) == len(written)
    for (commands, shown), actual in zip(written, printed):
        assert alike(actual, str(folder / "rides")) == alike(shown), commands
    assert not list((folder / "rides").glob("*.sock"))  # the daemon has ended
