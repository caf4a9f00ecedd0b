# SPDX-License-Identifier: Apache-2.0
"""The files that the rules look at, the module table, and what a rule says."""
from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterable

ALLOWED = "tests/tidy/allowed.txt"
# Test inputs: whatever bytes they need.
DATA = re.compile(r"^(schemas/golden/|tests/golden/|tests/fuzz/corpus/|tests/[a-z]+/data/|LICENSE$)")


@dataclass(frozen=True)
class Finding:
    path: str
    line: int
    rule: str
    text: str
    name: str = ""  # what tests/tidy/allowed.txt calls it; empty: it cannot be accepted

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.text}"


@dataclass
class File:
    path: str
    data: bytes
    executable: bool
    text: str = ""
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.is_data:
            self.text = self.data.decode("utf-8", "replace")
            self.lines = self.text.splitlines()

    @property
    def is_data(self) -> bool:
        return b"\0" in self.data or DATA.match(self.path) is not None

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def kind(self) -> str:
        """c, header, table, python, shell, cmake, markdown, yaml, other or data."""
        if self.is_data:
            return "data"
        by_suffix = {".c": "c", ".h": "header", ".def": "table", ".py": "python", ".sh": "shell", ".cmake": "cmake",
                     ".md": "markdown", ".yaml": "yaml", ".yml": "yaml"}
        if self.name == "CMakeLists.txt":
            return "cmake"
        if self.text.startswith("#!") and re.match(r"#!.*\b(bash|sh)\b", self.text):
            return "shell"
        return by_suffix.get(os.path.splitext(self.name)[1], "other")


@dataclass
class Tree:
    files: list[File]
    needs: dict[str, list[str]]  # module → what it may include; in the order of the table
    closure: dict[str, set[str]] = field(default_factory=dict)  # and what those need
    paths: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self.paths = frozenset(file.path for file in self.files)
        self.closure = close_layers(self.needs)

    def module(self, file: File) -> str:
        """The module that a source file belongs to; empty: none."""
        folder = file.path.rpartition("/")[0]
        return module_of(folder[4:], self.needs) if folder.startswith("src/") else ""


@dataclass
class Allowed:
    """tests/tidy/allowed.txt: findings that are accepted, by rule."""
    head: str = ""  # comments before the first rule
    rules: dict[str, tuple[int, int, str]] = field(default_factory=dict)  # rule → its line, at most so many, why
    entries: dict[tuple[str, str, str], int] = field(default_factory=dict)  # rule, path, name → its line

    def rewritten(self, findings: list[Finding]) -> str:
        """The file with these findings instead of those that it has."""
        text, rules = self.head, sorted({finding.rule for finding in findings if finding.name})
        for rule in rules:
            rows = sorted({f"{finding.path} {finding.name}" for finding in findings if finding.rule == rule})
            why = self.rules[rule][2] if rule in self.rules else "say here why"
            text += f"\n[{rule}] {len(rows)}: {why}\n" + "".join(row + "\n" for row in rows)
        return text.rstrip("\n")


def read_allowed(text: str) -> Allowed:
    """`[rule] COUNT: why`, then COUNT lines `path name`; # starts a comment. ValueError: a line of another form."""
    allowed, rule = Allowed(), ""
    for number, line in enumerate(text.splitlines(), 1):
        title = re.fullmatch(r"\[(\w+)\] (\d+): (\S.*)", line)
        entry = re.fullmatch(r"(\S+) (\S.*)", line)
        if title:
            rule = title.group(1)
            allowed.rules[rule] = (number, int(title.group(2)), title.group(3))
        elif line.startswith("#") or not line.strip():
            allowed.head += line + "\n" if line and not rule else ""
        elif rule and entry:
            allowed.entries[(rule, entry.group(1), entry.group(2))] = number
        else:
            raise ValueError(f"{ALLOWED}:{number}: neither '[rule] count: why' nor 'path name': {line}")
    return allowed


def accept(findings: list[Finding], allowed: Allowed) -> list[Finding]:
    """The findings that are not accepted; an entry without a finding, and a number that is not that of the entries,
    are findings themselves: so the lists shrink with the code, and growing one takes a change of its number."""
    used = {(finding.rule, finding.path, finding.name) for finding in findings}
    left = [finding for finding in findings if (finding.rule, finding.path, finding.name) not in allowed.entries]
    for key, line in allowed.entries.items():
        if key not in used:
            left.append(Finding(ALLOWED, line, "allowed", f"{' '.join(key)}: there is no such finding; drop the line"))
    for rule, (line, count, _) in allowed.rules.items():
        entries = sum(key[0] == rule for key in allowed.entries)
        if entries != count:
            left.append(Finding(ALLOWED, line, "allowed", f"[{rule}] says {count} and has {entries} lines"))
    return left


def read_layers(text: str) -> dict[str, list[str]]:
    """The module table as CMake wrote it."""
    needs = {}
    for line in text.splitlines():
        module, _, direct = line.partition(":")
        needs[module.strip()] = direct.split()
    return needs


def close_layers(direct: dict[str, list[str]]) -> dict[str, set[str]]:
    """Each module with all that its NEEDS lead to; ValueError names a module that needs itself."""
    closed: dict[str, set[str]] = {}

    def close(module: str, path: tuple[str, ...]) -> set[str]:
        if module in path:
            raise ValueError("module table: " + " needs ".join([*path, module]))
        if module not in closed:
            needs = direct.get(module, [])
            closed[module] = set(needs).union(*(close(need, (*path, module)) for need in needs))
        return closed[module]

    for module in direct:
        close(module, ())
    return closed


def module_of(folder: str, modules: Iterable[str]) -> str:
    """The module that a folder below src (or a mirror of it) belongs to: protocol/resp is one, in a folder of its kind.
    Empty: none."""
    return max((name for name in modules if folder == name or folder.startswith(name + "/")), key=len, default="")


def list_files(root: Path) -> list[str]:
    """What git tracks or would track; without git, all but build/ and caches."""
    try:
        git = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(git, check=True, capture_output=True).stdout
        names: Iterable[str] = listed.decode().split("\0")
    except (OSError, subprocess.CalledProcessError):
        names = (str(path.relative_to(root)) for path in root.rglob("*"))
        names = (n for n in names if not re.search(r"(^|/)(build|\.git|__pycache__|[^/]*\.egg-info)(/|$)", n))
    return sorted(name for name in set(names) if name and (root / name).is_file())


def read_tree(root: Path, layers_text: str) -> Tree:
    files = [File(name, (root / name).read_bytes(), os.access(root / name, os.X_OK)) for name in list_files(root)]
    return Tree(files, read_layers(layers_text))
