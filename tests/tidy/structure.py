# SPDX-License-Identifier: Apache-2.0
"""Rules about shape and structure: sizes of functions and headers, where a name lives, who needs whom.

A rule yields path, line, name, text; `name` is what tests/tidy/allowed.txt calls the finding. What the text of a source
file says is enough for all of them: exported names begin with pil_, and a header declares what another file may use.
"""
from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Iterator

import source
from tree import File, Tree, module_of

Found = Iterator[tuple[str, int, str, str]]
PARAMETERS_MAX = 6
NESTING_MAX = 3
HEADER_LINES_MAX = {"src": 200, "include": 400}
# Assertions of invariants per thousand lines that a module has at least: 12 where state lives; elsewhere what is there.
ASSERT_FLOORS: dict[str, float] = {
    "server": 12, "cache": 12, "node": 12, "mapped": 12, "client": 12,
    "base": 3.5, "schema": 5, "metric": 5.5, "snapshot": 3.5, "engine": 5, "ingest": 3.5, "store": 0.5, "release": 1}
_ASSERT = re.compile(r"\b(PIL_ASSERT(?:_SLOW|_OWNER)?|\w+_ASSERT_OWNER)\s*\(")
_ALLOCATES = re.compile(r"\b(malloc|calloc|realloc|aligned_alloc|strdup|strndup|open_memstream|json_(?:object|array|"
                        r"string\w*|integer|real|pack\w*|deep_copy|dumps)|\w+_(?:alloc|new|create|copy))\s*\(")


def _functions(tree: Tree) -> Iterator[tuple[File, source.Function]]:
    for file in tree.files:
        if file.kind in ("c", "header"):
            for function in source.c_functions(file.text):
                yield file, function


def parameters(tree: Tree) -> Found:
    """A function has at most 6 parameters; more want a struct."""
    for file, function in _functions(tree):
        if function.parameters > PARAMETERS_MAX:
            yield (file.path, function.first_line, function.name,
                   f"{function.name} has {function.parameters} parameters, at most {PARAMETERS_MAX}: pass a struct")


def nesting(tree: Tree) -> Found:
    """Ifs, loops and switches stand in each other at most 3 deep."""
    for file, function in _functions(tree):
        if function.nesting > NESTING_MAX:
            yield (file.path, function.first_line, function.name,
                   f"{function.name} nests {function.nesting} deep, at most {NESTING_MAX}: return early, or split it")


def header_lines(tree: Tree) -> Found:
    """A header of src has at most 200 lines, a public one 400."""
    for file in tree.files:
        most = HEADER_LINES_MAX.get(file.path.partition("/")[0])
        if file.kind == "header" and most is not None and len(file.lines) > most:
            yield (file.path, len(file.lines), "lines",
                   f"{len(file.lines)} lines, at most {most}: split it by what it is about")


# ---- Where names live

@dataclass
class Module:
    """The exported names of a module: functions, and objects that a header declares extern."""
    files: list[File] = field(default_factory=list)
    homes: dict[str, tuple[str, int]] = field(default_factory=dict)  # name → path and line of its definition
    code: dict[str, str] = field(default_factory=dict)  # path → text without comments and literals


_OBJECT = re.compile(r"^(?!static\b|extern\b|typedef\b)[\w \t*]+?\b(pil_\w+)(?:\[[^\]]*\])* = ", re.MULTILINE)


def _modules(tree: Tree) -> dict[str, Module]:
    modules: dict[str, Module] = defaultdict(Module)
    tables = {file.path: file.text for file in tree.files if file.kind == "table"}
    for file in tree.files:
        name = tree.module(file)
        if name and file.kind in ("c", "header"):
            modules[name].files.append(file)
    for module in modules.values():
        declared: set[str] = set()
        for file in module.files:
            # A table is a part of the file that includes it.
            included = "".join(tables.get(f"src/{path}", "") for _, path, _ in source.includes(file.text))
            code = module.code[file.path] = source.strip_c(file.text + included)
            if file.kind == "header":
                declared.update(re.findall(r"\b(pil_\w+)", code))
        for file in module.files:
            code = module.code[file.path]
            for function in source.c_functions(file.text):
                # An inline function lives in its header.
                if function.name.startswith("pil_") and (file.kind == "header" or not function.is_static):
                    module.homes[function.name] = (file.path, function.first_line)
            if file.kind == "c":
                for match in _OBJECT.finditer(code):
                    if match.group(1) in declared:
                        line = code.count("\n", 0, match.start()) + 1
                        module.homes.setdefault(match.group(1), (file.path, line))
    return modules


def _stem(path: str) -> str:
    return path.rpartition("/")[2].rpartition(".")[0]


# Rooms with a word of their own: what pil_resp_ names is the format, in src/wire.
ROOM_WORDS = {"protocol/resp": "redis"}


def prefix_home(tree: Tree) -> Found:
    """An exported function pil_thing_verb lives in thing.{h,c}, in a file whose name begins so (thing_part.c), or in
    the module of that name. A plural is the same thing."""
    for module_name, module in _modules(tree).items():
        room = ROOM_WORDS.get(module_name, module_name.rpartition("/")[2])
        for name, (path, line) in module.homes.items():
            words, parts = name.removeprefix("pil_"), _stem(path).split("_")
            things = [room] + ["_".join(parts[:count + 1]) for count in range(len(parts))]
            if not any(re.match(rf"{thing.removesuffix('s')}s?(_|$)", words) for thing in things):
                yield (path, line, name,
                       f"{name}: its name begins with pil_{parts[0]}_ or pil_{room}_, or it lives elsewhere")


def _circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected parts of more than one node, each sorted."""
    def reached(start: str) -> set[str]:
        seen, left = set(), [start]
        while left:
            for target in edges.get(left.pop(), ()):
                if target not in seen:
                    seen.add(target)
                    left.append(target)
        return seen

    reach = {node: reached(node) for node in edges}
    parts = {tuple(sorted(other for other in reach if other in reach[node] and node in reach[other])) for node in reach}
    return [list(part) for part in sorted(parts) if len(part) > 1]


def _file(path: str) -> str:
    return path.rpartition("/")[2] + ".c"


def _way_round(part: list[str], uses: dict[tuple[str, str], str]) -> str:
    """The shortest circle within a part, in words."""
    inside = {(a, b): name for (a, b), name in uses.items() if a in part and b in part}
    best: list[str] = []
    for start in part:
        ways, seen = [[start]], set()
        while ways:
            way = ways.pop(0)
            if len(way) > 1 and way[-1] == start:
                best = way if not best or len(way) < len(best) else best
                break
            for a, b in inside:
                if a == way[-1] and (b not in seen or b == start):
                    seen.add(b)
                    ways.append([*way, b])
    return ", ".join(f"{_file(a)} uses {inside[(a, b)]} of {_file(b)}" for a, b in zip(best, best[1:]))


def circles(tree: Tree) -> Found:
    """The .c files of a module use each other in one direction. A header's inline functions count as the file of its
    name where they call, and as nobody's where they are called."""
    for name, module in sorted(_modules(tree).items()):
        paths = {path.rpartition(".")[0] for path in module.code if path.endswith(".c")}
        edges: dict[str, set[str]] = {path: set() for path in paths}
        uses: dict[tuple[str, str], str] = {}
        for path, code in module.code.items():
            here = path.rpartition(".")[0]
            for used in sorted(set(re.findall(r"\bpil_\w+", code))):
                there, _, suffix = module.homes.get(used, ("", 0))[0].rpartition(".")
                if here in paths and suffix == "c" and there != here:
                    edges[here].add(there)
                    uses.setdefault((here, there), used)
        for part in _circles(edges):
            files = " ".join(_stem(path + ".c") for path in part)
            text = f"{len(part)} files in a circle ({files}), of which the shortest is: {_way_round(part, uses)}"
            yield f"src/{name}", 1, files, text


def needs(tree: Tree) -> Found:
    """Each module that NEEDS names is included by a file of the one that names it."""
    table = next((file for file in tree.files if file.path == "src/CMakeLists.txt"), None)
    used: dict[str, set[str]] = defaultdict(set)
    for file in tree.files:
        module = tree.module(file)
        if module and file.kind in ("c", "header", "table"):
            used[module].update(module_of(path.rpartition("/")[0], tree.needs)
                                for _, path, quoted in source.includes(file.text) if quoted)
    for module, named in tree.needs.items():
        row = re.search(rf"\((?:{re.escape(module)}|\w+ MODULE {re.escape(module)}) ", table.text if table else "")
        line = table.text.count("\n", 0, row.start()) + 1 if table and row else 1
        for need in named:
            if module in used and need not in used[module]:
                text = f"{module} NEEDS {need} and includes nothing of it"
                yield "src/CMakeLists.txt", line, f"{module} {need}", text


# ---- Assertions

def _count_asserts(file: File) -> tuple[int, int]:
    """Assertions of invariants, and those that only say that there was memory."""
    code, invariants, allocations = source.strip_c(file.text).splitlines(), 0, 0
    for number, line in enumerate(code):
        if line.lstrip().startswith("#"):
            continue
        for match in _ASSERT.finditer(line):
            tested = re.match(r"(\w[\w\->.\[\]]*)\s*!=\s*NULL\b", line[match.end():])
            before = " ".join(code[max(0, number - 4):number])
            made = tested and re.search(re.escape(tested.group(1)) + r"\s*=[^=;]*", before)
            if made and _ALLOCATES.search(made.group()):
                allocations += 1
            else:
                invariants += 1
    return invariants, allocations


def _assert_table(tree: Tree) -> dict[str, tuple[int, int, int]]:
    """Module → lines, assertions of invariants, of allocations."""
    table: dict[str, tuple[int, int, int]] = {}
    for file in tree.files:
        module = tree.module(file)
        if module and file.kind in ("c", "header"):
            lines, invariants, allocations = table.get(module, (0, 0, 0))
            more = _count_asserts(file)
            table[module] = lines + len(file.lines), invariants + more[0], allocations + more[1]
    return table


def asserts(tree: Tree) -> Found:
    """A module has at least so many assertions of invariants per thousand lines as ASSERT_FLOORS says."""
    for module, (lines, invariants, _) in _assert_table(tree).items():
        floor, has = ASSERT_FLOORS.get(module, 0), 1000 * invariants / lines
        if has < floor:
            yield (f"src/{module}", 1, "asserts",
                   f"{has:.1f} assertions of invariants per thousand lines, at least {floor:g}")


def assert_report(tree: Tree) -> str:
    rows = [f"{'module':16}{'lines':>8}{'invariants':>12}{'allocations':>13}{'per kLOC':>10}{'at least':>10}"]
    table = _assert_table(tree)
    for module, (lines, invariants, allocations) in sorted(table.items()):
        rows.append(f"{module:16}{lines:8}{invariants:12}{allocations:13}{1000 * invariants / lines:10.1f}"
                    f"{ASSERT_FLOORS.get(module, 0):10g}")
    lines, invariants, allocations = (sum(row[i] for row in table.values()) for i in range(3))
    rows.append(f"{'all':16}{lines:8}{invariants:12}{allocations:13}{1000 * invariants / max(1, lines):10.1f}")
    return "\n".join(rows)


RULES = [parameters, nesting, header_lines, prefix_home, circles, needs, asserts]
