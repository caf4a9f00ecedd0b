#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares docs/reference with what the programs say of themselves, or writes it anew: `reference.py [--write]`.

docs/reference/NAME.md is the output of `pilliond --describe NAME`, deploy/pilliond.yaml that of `--describe example`;
pillion.md holds `pillion help`. PILLION_BIN_DIR says where the programs are (default build/release/bin); without them
there is nothing to compare: exit 77, a skip.
"""
from __future__ import annotations

import argparse
import difflib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = Path("docs", "reference")
TABLES = ("commands", "config", "metrics")
SKIP = 77


def output(argv: list[str]) -> str:
    done = subprocess.run(argv, check=False, text=True, capture_output=True, timeout=30)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(argv)}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def pages(bin_dir: Path) -> dict[Path, str]:
    """Path below ROOT to text."""
    pilliond, pillion = str(bin_dir / "pilliond"), str(bin_dir / "pillion")
    made = {PAGES / f"{table}.md": output([pilliond, "--describe", table]) for table in TABLES}
    made[PAGES / "pillion.md"] = f"# pillion\n\n```\n{output([pillion, 'help']).strip()}\n```\n"
    made[Path("deploy", "pilliond.yaml")] = output([pilliond, "--describe", "example"])
    return made


def differences(wanted: dict[Path, str]) -> list[str]:
    lines = []
    for path, text in wanted.items():
        found = (ROOT / path).read_text() if (ROOT / path).exists() else ""
        lines += difflib.unified_diff(found.splitlines(), text.splitlines(), str(path), "the programs", lineterm="",
                                      n=0)
    lines += [f"{PAGES / path.name}: no table of this name" for path in sorted((ROOT / PAGES).glob("*.md"))
              if PAGES / path.name not in wanted]
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the pages instead of comparing them")
    options = parser.parse_args()
    bin_dir = Path(os.environ.get("PILLION_BIN_DIR", ROOT / "build" / "release" / "bin"))
    missing = [name for name in ("pillion", "pilliond") if not (bin_dir / name).is_file()]
    if missing and options.write:
        print(f"{' and '.join(missing)} not built in {bin_dir}: build, or say PILLION_BIN_DIR", file=sys.stderr)
        return 1
    if missing:
        print(f"skipped: {' and '.join(missing)} not built in {bin_dir}")
        return SKIP
    wanted = pages(bin_dir)
    if options.write:
        (ROOT / PAGES).mkdir(parents=True, exist_ok=True)
        for path, text in wanted.items():
            (ROOT / path).write_text(text)
        print(f"{len(wanted)} pages written")
        return 0
    found = differences(wanted)
    if found:
        print("\n".join(found))
        print("write them anew: tests/tidy/reference.py --write")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
