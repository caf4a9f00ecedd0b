# SPDX-License-Identifier: Apache-2.0
"""What the rules need to know about source text: C without comments and strings, and where functions start and end.

By pattern, not by a parser: it relies on the house style (bodies open at file scope after a closing parenthesis), and a
program that fools it on purpose is a matter for review.
"""
from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from typing import Iterator

_NOISE = re.compile(r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.DOTALL)
_DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.MULTILINE)
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+(["<])([^">]+)[">]', re.MULTILINE)
_SHELL_FUNCTION = re.compile(r"^(?:function\s+)?([A-Za-z_]\w*)\s*\(\)\s*\{\s*$")


@dataclass(frozen=True)
class Function:
    name: str
    first_line: int
    last_line: int
    head: str = field(default="", compare=False, repr=False)  # of C: result type, name, parameters; comments blanked
    body: str = field(default="", compare=False, repr=False)  # of C: what stands between its braces

    @property
    def lines(self) -> int:
        return self.last_line - self.first_line + 1

    @property
    def is_static(self) -> bool:
        return re.match(r"(?:\w+\s+)*?static\b", self.head) is not None

    @property
    def parameters(self) -> int:
        """Of a C function."""
        listed = self.head[_opening(self.head, len(self.head) - 1) + 1:-1]
        listed = re.sub(r"\([^()]*\)", "", re.sub(r"\([^()]*\)", "", listed)).strip()
        return 0 if listed in ("", "void") else listed.count(",") + 1

    @property
    def nesting(self) -> int:
        """How many ifs, loops and switches of a C function stand in each other."""
        depth, deepest, open_braces = 0, 0, []
        for match in re.finditer(r"[{}]", self.body):
            if match.group() == "{":
                open_braces.append(_is_control(self.body[:match.start()].rstrip()))
                depth += open_braces[-1]
                deepest = max(deepest, depth)
            elif open_braces:
                depth -= open_braces.pop()
        return deepest


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match.group())


def strip_c(text: str) -> str:
    """C text with comments and literals blanked out: same length, same lines."""
    return _NOISE.sub(_blank, text)


def includes(text: str) -> Iterator[tuple[int, str, bool]]:
    """Line, path, and whether it stands in quotes."""
    for match in _INCLUDE.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match.group(2), match.group(1) == '"'


def _opening(text: str, closing: int) -> int:
    """Where the parenthesis stands that the one at `closing` closes; -1: nowhere."""
    depth = 0
    for at in range(closing, -1, -1):
        depth += {")": 1, "(": -1}.get(text[at], 0)
        if depth == 0:
            return at
    return -1


def _is_control(before: str) -> bool:
    """Whether a brace after this text opens a branch or a loop: not a value's, not a bare block's. Loops may be macros,
    as PIL_LIST_EACH (...) is."""
    if not before.endswith(")"):
        return re.search(r"\b(else|do)$", before) is not None
    word = re.search(r"(\w+)\s*$", before[:max(0, _opening(before, len(before) - 1))])
    return word is not None and word.group(1) not in ("return", "sizeof", "typeof", "_Alignof")


def _name_before(head: str) -> str:
    """Name of the function whose head ends in ')'."""
    found = re.search(r"(\w+)\s*$", head[:max(0, _opening(head, len(head) - 1))])
    return found.group(1) if found else "?"


def c_functions(text: str) -> list[Function]:
    code = _DIRECTIVE.sub(_blank, strip_c(text))
    functions: list[Function] = []
    depth, start, opened, brace = 0, 0, None, 0
    for match in re.finditer(r"[{};]", code):
        mark, at = match.group(), match.start()
        if mark == "{":
            if depth == 0:
                head = code[start:at].rstrip()
                opened = start + len(code[start:at]) - len(code[start:at].lstrip()) if head.endswith(")") else None
                name, brace = _name_before(head) if opened is not None else "", at
            depth += 1
            continue
        if mark == "}":
            depth = max(0, depth - 1)
            if depth == 0 and opened is not None:
                functions.append(Function(name, code.count("\n", 0, opened) + 1, code.count("\n", 0, at) + 1,
                                          code[opened:brace].rstrip(), code[brace + 1:at]))
                opened = None
        if depth == 0:
            start = at + 1
    return functions


def python_functions(text: str) -> list[Function]:
    return [Function(node.name, node.lineno, node.end_lineno or node.lineno) for node in ast.walk(ast.parse(text))
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


def shell_functions(text: str) -> list[Function]:
    functions, opened = [], None
    for number, line in enumerate(text.splitlines(), 1):
        match = _SHELL_FUNCTION.match(line)
        if match:
            opened = (match.group(1), number)
        elif line == "}" and opened is not None:
            functions.append(Function(opened[0], opened[1], number))
            opened = None
    return functions
