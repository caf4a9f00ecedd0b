#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""House style as a test: `tests/tidy/tidy.py --layers build/dev/layers.txt`, exit 1 when a rule is broken.

Each rule is one function that yields findings; its docstring says the rule. Standard library only. The generated pages
of docs/reference are compared by reference.py.
"""
from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Callable, Iterator

sys.path.insert(0, str(Path(__file__).resolve().parent))
import source  # noqa: E402
import structure  # noqa: E402
from tree import ALLOWED, File, Finding, Tree, accept, module_of, read_allowed, read_tree  # noqa: E402

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 800
COLUMNS_MAX = 120
FILE_BYTES_MAX = 1 << 20
TOP_LEVEL = {"CMakeLists.txt", "CMakePresets.json", "src", "include", "schemas", "ebpf", "tests", "bench", "deploy",
             "docs", "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"}
CHANGELOG_HEADINGS = ["Safety and performance", "Features", "Internals"]
BANNED_CALLS = {
    "strcpy": "memcpy with a known length, or pil_text_append",
    "strncpy": "memcpy with a known length",
    "strcat": "pil_text_append",
    "strncat": "pil_text_append",
    "sprintf": "snprintf",
    "vsprintf": "vsnprintf",
    "gets": "fgets, or pil_sys_read_file",
    "strtok": "strchr and lengths",
    "atoi": "strtol with its end checked",
    "atol": "strtol with its end checked",
    "atoll": "strtoll with its end checked",
    "atof": "strtod with its end checked",
    "alloca": "a fixed array, or malloc",
    "rand": "a generator whose seed the test prints",
    "srand": "a generator whose seed the test prints",
    "gmtime": "pil_clock_format_us",
    "localtime": "pil_clock_format_us",
    "ctime": "pil_clock_format_us",
    "asctime": "pil_clock_format_us",
    "system": "posix_spawn",
    "popen": "posix_spawn and a pipe",
}
_BANNED = re.compile(r"(?<![\w.>])(" + "|".join(BANNED_CALLS) + r")\s*\(")
# The character classes keep these patterns from matching themselves.
_MARKER = re.compile(r"\b(FIXM[E]|TOD[O]|XX[X])\b")
_MACHINE_PATH = re.compile(r"/wor[k]/|/tmp/bas[h]|/hom[e]/[a-z]")
_ROOT_PATH = re.compile(r"(?<![\w.}])/roo[t]/")
_REGISTRY = re.compile(r"https?://[^\s\"')>]*(debian\.or[g]|ubuntu\.co[m]|pypi\.or[g]|pythonhosted\.or[g]"
                       r"|npmjs\.(or[g]|co[m])|crates\.i[o]|repo1?\.maven|maven\.(apache|googl[e])|proxy\.golan[g])",
                       re.IGNORECASE)


def each_line(pattern: re.Pattern[str], file: File) -> Iterator[tuple[int, re.Match[str]]]:
    for number, line in enumerate(file.lines, 1):
        match = pattern.search(line)
        if match:
            yield number, match


# ---- Rules over one file

def layers(file: File, tree: Tree) -> Iterator[tuple[int, str] | tuple[int, str, str]]:
    """A module includes itself and what its NEEDS names, always as "module/thing.h"; internal.h stays inside. A test
    includes what its module may and what that leads to, and a header beside it by its name."""
    parts = file.path.split("/")
    if file.kind not in ("c", "header", "table") or len(parts) < 3:
        return
    in_source = parts[0] == "src"
    folder = parts[1:-1] if in_source else parts[2:-1] if parts[0] == "tests" else []
    module = module_of("/".join(folder), tree.needs)
    allowed = None if module not in tree.needs else tree.needs[module] if in_source else tree.closure[module]
    for line, path, quoted in source.includes(file.text):
        folder, _, name = path.rpartition("/")
        target = module_of(folder, tree.needs)
        if path == "liburing.h" and module != "engine":
            yield line, "liburing.h is for src/engine only; use engine/engine.h"
        if not quoted or allowed is None:
            continue
        if not folder:
            if not in_source and f"{file.path.rpartition('/')[0]}/{path}" in tree.paths:
                continue
            yield line, f'"{path}": write the module, too: "{module}/{path}"'
        elif target and target != module and target not in allowed:
            yield line, f'{module} may not include "{path}": {target} is not in its NEEDS (src/CMakeLists.txt)', path
        elif target and target != module and name == "internal.h":
            yield line, f'"{path}" is for {target} alone'


def function_lines(file: File, _: Tree) -> Iterator[tuple[int, str]]:
    """A function has at most 70 lines."""
    finders: dict[str, Callable[[str], list[source.Function]]] = {
        "c": source.c_functions, "header": source.c_functions,
        "python": source.python_functions, "shell": source.shell_functions}
    for function in finders.get(file.kind, lambda text: [])(file.text):
        if function.lines > FUNCTION_LINES_MAX:
            yield (function.first_line,
                   f"{function.name} has {function.lines} lines, at most {FUNCTION_LINES_MAX}: split it")


def file_lines(file: File, _: Tree) -> Iterator[tuple[int, str]]:
    """A source file has at most 800 lines."""
    if file.kind in ("c", "header", "python", "shell", "cmake") and len(file.lines) > FILE_LINES_MAX:
        yield len(file.lines), f"{len(file.lines)} lines, at most {FILE_LINES_MAX}: split it"


def columns(file: File, _: Tree) -> Iterator[tuple[int, str]]:
    """A line has at most 120 columns; rows of tables and lines with a link may be longer."""
    if file.kind not in ("c", "header", "python", "shell", "cmake", "markdown"):
        return
    for number, line in enumerate(file.lines, 1):
        generated = file.path.startswith("docs/reference/")
        free = file.kind == "markdown" and (line.lstrip().startswith("|") or "](" in line or generated)
        if len(line) > COLUMNS_MAX and not free:
            yield number, f"{len(line)} columns, at most {COLUMNS_MAX}"


def banned_calls(file: File, _: Tree) -> Iterator[tuple[int, str]]:
    """Calls that have a better replacement."""
    if file.kind not in ("c", "header"):
        return
    for number, line in enumerate(source.strip_c(file.text).splitlines(), 1):
        for match in _BANNED.finditer(line):
            yield number, f"{match.group(1)}() is banned; use {BANNED_CALLS[match.group(1)]}"


def licence(file: File, _: Tree) -> Iterator[tuple[int, str]]:
    """Source starts with its SPDX line."""
    if file.kind not in ("c", "header", "table", "python", "shell", "cmake"):
        return
    first = file.lines[1:2] if file.text.startswith("#!") else file.lines[:1]
    mark = "/* " if file.kind in ("c", "header", "table") else "# "
    if not first or not first[0].startswith(mark + "SPDX-License-Identifier: Apache-2.0"):
        yield 1, f'the first line must be "{mark}SPDX-License-Identifier: Apache-2.0"'


def pragma_once(file: File, _: Tree) -> Iterator[tuple[int, str]]:
    """Headers are included once."""
    if file.kind == "header" and "#pragma once" not in file.lines:
        yield 1, "no #pragma once"


def white_space(file: File, _: Tree) -> Iterator[tuple[int, str]]:
    """No tabs, no blanks at the end of a line, no carriage returns, one line feed at the end of the file."""
    if file.kind == "data" or not file.data:
        return
    for number, line in enumerate(file.text.split("\n"), 1):
        if line != line.rstrip():
            yield number, "white space at the end of the line"
        if "\t" in line:
            yield number, "tab; use spaces"
    if not file.text.endswith("\n") or file.text.endswith("\n\n"):
        yield max(1, len(file.lines)), "the file must end in exactly one line feed"


def markers(file: File, _: Tree) -> Iterator[tuple[int, str]]:
    """Nothing is left for later in the text: an issue is the place."""
    for number, match in each_line(_MARKER, file):
        yield number, f"{match.group()}: do it, or file an issue"


def machine_paths(file: File, _: Tree) -> Iterator[tuple[int, str]]:
    """No path of somebody's machine."""
    patterns = [_MACHINE_PATH] if file.path.startswith("tests/") else [_MACHINE_PATH, _ROOT_PATH]
    for pattern in patterns:
        for number, match in each_line(pattern, file):
            yield number, f"{match.group()}: a path of a machine"


def registries(file: File, _: Tree) -> Iterator[tuple[int, str]]:
    """Packages come from wherever the machine's own settings say: no host of a registry."""
    for number, match in each_line(_REGISTRY, file):
        yield number, f"{match.group()}: a registry's host; name the package only"


def executable(file: File, _: Tree) -> Iterator[tuple[int, str]]:
    """Scripts are executable, and only they."""
    is_script = file.data.startswith(b"#!")
    if is_script != file.executable:
        yield 1, "has #! but is not executable: chmod +x" if is_script else "is executable but no script: chmod -x"


def file_bytes(file: File, _: Tree) -> Iterator[tuple[int, str]]:
    """No large file."""
    if len(file.data) > FILE_BYTES_MAX:
        yield 1, f"{len(file.data)} bytes, at most {FILE_BYTES_MAX}"


def top_level(file: File, _: Tree) -> Iterator[tuple[int, str]]:
    """The top level of the repository is fixed."""
    top = file.path.partition("/")[0]
    if top not in TOP_LEVEL and not top.startswith("."):
        yield 1, f"{top}: not a name of the top level; it holds {', '.join(sorted(TOP_LEVEL))} and dotfiles"


def one_title(file: File, _: Tree) -> Iterator[tuple[int, str]]:
    """A document has one title, and starts with it."""
    if file.kind != "markdown":
        return
    titles, fenced = [], False
    for number, line in enumerate(file.lines, 1):
        fenced ^= line.lstrip().startswith("```")
        if line.startswith("# ") and not fenced:
            titles.append(number)
    if titles != [1]:
        yield (titles[1] if len(titles) > 1 else 1), "a document starts with its one '# Title'"


def changelog(file: File, _: Tree) -> Iterator[tuple[int, str]]:
    """CHANGELOG.md: '## version' parts, each with the three headings in order, no empty one."""
    if file.path != "CHANGELOG.md":
        return
    last, number_of_last = -1, 0
    for number, line in enumerate(file.lines, 1):
        if line.startswith("## "):
            if not re.match(r"## (Unreleased|\d+\.\d+\.\d+)( \(\d{4}-\d\d-\d\d\))?$", line):
                yield number, "'## 1.2.3 (2026-01-31)' or '## Unreleased'"
            last = -1
        elif line.startswith("### "):
            heading = line[4:]
            if heading not in CHANGELOG_HEADINGS:
                yield number, f"{heading!r}: the headings are {', '.join(CHANGELOG_HEADINGS)}"
            elif CHANGELOG_HEADINGS.index(heading) <= last:
                yield number, f"{heading!r} is out of order"
            else:
                last, number_of_last = CHANGELOG_HEADINGS.index(heading), number
                following = next((text for text in file.lines[number:] if text), "")
                if not following.startswith("- "):
                    yield number_of_last, f"{heading!r} is empty"


RULES = [layers, function_lines, file_lines, columns, banned_calls, licence, pragma_once, white_space, markers,
         machine_paths, registries, executable, file_bytes, top_level, one_title, changelog]


# ---- The run

def check(tree: Tree, allowed: str = "") -> list[Finding]:
    """All findings but those that `allowed`, the text of tests/tidy/allowed.txt, accepts."""
    found = [Finding(file.path, line, rule.__name__, *text)
             for file in tree.files for rule in RULES for line, *text in rule(file, tree)]
    found += [Finding(path, line, rule.__name__, text, name)
              for rule in structure.RULES for path, line, name, text in rule(tree)]
    return accept(found, read_allowed(allowed))


def main() -> int:
    parser = argparse.ArgumentParser(description="Checks the house style; prints file:line: rule: what.")
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[2])
    parser.add_argument("--layers", type=Path, help="layers.txt of a build folder (CMake writes it)")
    parser.add_argument("--rules", action="store_true", help="say what the rules are")
    parser.add_argument("--asserts", action="store_true", help="print assertions per thousand lines of each module")
    parser.add_argument("--allowed", action="store_true", help=f"print {ALLOWED} as the tree needs it today")
    options = parser.parse_args()
    if options.rules:
        for rule in RULES + structure.RULES:
            print(f"{rule.__name__:16} {' '.join((rule.__doc__ or '').split())}")
        return 0
    if options.layers is None:
        parser.error("--layers is missing")
    try:
        tree = read_tree(options.root, options.layers.read_text())
        text = (options.root / ALLOWED).read_text()
        accepted = len(read_allowed(text).entries)
        findings = check(tree, "" if options.allowed else text)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    if options.asserts or options.allowed:
        print(structure.assert_report(tree) if options.asserts else read_allowed(text).rewritten(findings))
        return 0
    for finding in findings:
        print(finding)
    rules = len(RULES) + len(structure.RULES)
    print(f"{len(tree.files)} files, {rules} rules, {len(findings)} findings, {accepted} accepted ({ALLOWED})")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
