#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The table at the end of tests/run.sh: `summary.py REPORTS TITLE CODE SECONDS [TITLE CODE SECONDS...]`.

REPORTS is a folder of JUnit files, named after their titles. A step without a file (a build) is a row without counts,
and counts as one failure when its exit code says so. Exit 1 when anything failed or no test ran.
"""
from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Row:
    title: str
    code: int
    seconds: int
    passed: int | None = None  # None: the step ran no tests
    failed: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)


def reason_of(case: ElementTree.Element, skipped: ElementTree.Element) -> str:
    """pytest puts the reason into the message; of a C test it is the last line that it printed."""
    message = skipped.get("message", "")
    if "SKIP_RETURN_CODE" in message or not message:
        lines = [line for line in (case.findtext("system-out") or "").splitlines() if line.strip()]
        message = lines[-1].strip() if lines else "no reason printed"
    return re.sub(r"^(Skipped|skipped): ", "", message)


def read(row: Row, report: Path) -> None:
    row.passed = 0
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        name = case.get("name", "?")
        skipped = case.find("skipped")
        # CTest says "notrun" also of programs that are not there; only our exit code 77 is a skip.
        not_run = case.get("status") == "notrun" and skipped is not None and "SKIP_" not in skipped.get("message", "")
        if case.find("failure") is not None or case.find("error") is not None or not_run:
            row.failed.append(name)
        elif skipped is not None:
            row.skipped.append((name, reason_of(case, skipped)))
        else:
            row.passed += 1


def rows_from(reports: Path, arguments: list[str]) -> list[Row]:
    rows = []
    for title, code, seconds in zip(*[iter(arguments)] * 3):
        row = Row(title, int(code), int(seconds))
        report = reports / (re.sub(r"[^A-Za-z0-9]", "-", title) + ".xml")
        if report.is_file():
            read(row, report)
        if row.code != 0 and not row.failed:
            row.failed.append(f"exit {row.code}")
        rows.append(row)
    return rows


def main() -> int:
    rows = rows_from(Path(sys.argv[1]), sys.argv[2:])
    print(f"  {'':24} {'passed':>7} {'failed':>7} {'skipped':>8} {'time':>7}")
    for row in rows:
        counts = (row.passed, len(row.failed), len(row.skipped)) if row.passed is not None else ("", "", "")
        mark = "  FAILED" if row.failed else ""
        print(f"  {row.title:24} {counts[0]:>7} {counts[1]:>7} {counts[2]:>8} {row.seconds:>5} s{mark}")
    for title, lines in (
            ("skipped", [f"{row.title}: {reason} ({count})" for row in rows
                         for reason, count in Counter(reason for _, reason in row.skipped).items()]),
            ("failed", [f"{row.title}: {name}" for row in rows for name in row.failed])):
        if lines:
            print(f"\n  {title}")
            print("\n".join(f"    {line}" for line in lines))
    passed = sum(row.passed or 0 for row in rows)
    failed = sum(len(row.failed) for row in rows)
    print(f"\n{passed} passed, {failed} failed, {sum(len(row.skipped) for row in rows)} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
