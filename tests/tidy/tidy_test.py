#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: each rule of tidy.py catches what it forbids and nothing of a clean tree.

Method: a small clean tree has no finding; then one violation at a time is planted in a copy, and exactly the expected
rule must speak, at the expected line. Violations are put together from halves, so that tidy.py passes this file.
"""
from __future__ import annotations

import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent))
import source  # noqa: E402
import structure  # noqa: E402
import tidy  # noqa: E402
import tree  # noqa: E402

SPDX = "SPDX-License-Identifier: Apache-2.0"
LAYERS = "base: \nschema: \ncache: schema base\nengine: \n"
CLEAN = {
    "src/base/status.h": f"/* {SPDX} */\n#pragma once\nint pil_status_get(void);\n",
    "src/cache/cache.c": f'/* {SPDX} */\n#include "cache/internal.h"\n#include "base/status.h"\n\n'
                         "int pil_cache_get(void) {\n    return pil_status_get();\n}\n",
    "src/cache/internal.h": f'/* {SPDX} */\n#pragma once\n#include "schema/view.h"\nint pil_cache_get(void);\n',
    "src/schema/view.h": f"/* {SPDX} */\n#pragma once\n",
    "tests/unit/cache/cache_test.c": f'/* {SPDX} */\n#include "cache/internal.h"\n#include "support/heap.h"\n',
    "deploy/start.sh": f"#!/bin/sh\n# {SPDX}\n",
    "tests/tool.py": f"# {SPDX}\n",
    "README.md": "# Pillion\n\n```\n# not a title\n```\n",
    "CHANGELOG.md": "# Changelog\n\n## Unreleased\n\n### Safety and performance\n\n- A.\n\n### Internals\n\n- B.\n",
}


def findings(extra: dict[str, str | bytes], executable: tuple[str, ...] = ("deploy/start.sh",), layers: str = LAYERS,
             allowed: str = "", floors: dict[str, float] | None = None) -> list[tidy.Finding]:
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(structure, "ASSERT_FLOORS", floors or {}):
        root = Path(folder)
        for name, text in {**CLEAN, **extra}.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
            path.chmod(0o755 if name in executable else 0o644)
        return tidy.check(tree.read_tree(root, layers), allowed)


def c(body: str) -> str:
    return f"/* {SPDX} */\n{body}"


class Rules(unittest.TestCase):
    def expect(self, rule: str, path: str, text: str | bytes, line: int) -> None:
        found = [(f.rule, f.path, f.line) for f in findings({path: text})]
        self.assertEqual(found, [(rule, path, line)])

    def test_a_clean_tree_has_no_finding(self) -> None:
        self.assertEqual(findings({}), [])

    def test_every_rule_has_a_test_here(self) -> None:
        text = Path(__file__).read_text()
        for rule in tidy.RULES + structure.RULES:
            self.assertIn(f'"{rule.__name__}"', text)

    def test_upward_include(self) -> None:
        self.expect("layers", "src/base/a.c", c('#include "cache/cache.h"\n'), 2)

    def test_include_of_a_peer_that_is_not_needed(self) -> None:
        self.expect("layers", "src/engine/a.c", c('#include "schema/view.h"\n'), 2)

    def test_include_without_its_module(self) -> None:
        self.expect("layers", "src/base/a.c", c('#include "status.h"\n'), 2)

    def test_a_test_may_include_the_header_beside_it(self) -> None:
        text = c('#include "loop.h"\n')
        self.expect("layers", "tests/unit/base/a_test.c", text, 2)
        header = {"tests/unit/base/loop.h": c("#pragma once\n")}
        self.assertEqual(findings({"tests/unit/base/a_test.c": text, **header}), [])

    def test_internal_header_of_another_module(self) -> None:
        self.expect("layers", "src/cache/a.c", c('#include "schema/internal.h"\n'), 2)

    def test_liburing_outside_the_engine(self) -> None:
        self.expect("layers", "src/cache/a.c", c("#include <liburing.h>\n"), 2)
        self.assertEqual(findings({"src/engine/a.c": c("#include <liburing.h>\n")}), [])

    def test_unit_test_beyond_its_module(self) -> None:
        self.expect("layers", "tests/unit/base/a_test.c", c('#include "cache/cache.h"\n'), 2)

    def test_commented_include_still_counts_for_nobody(self) -> None:
        self.assertEqual(findings({"src/base/a.c": c("/* see cache/cache.h */\n")}), [])

    def test_long_functions(self) -> None:
        body = "    f();\n" * 69
        self.expect("function_lines", "src/base/a.c", c("static int\nf(void) {\n" + body + "}\n"), 2)
        self.expect("function_lines", "tests/a.py", f"# {SPDX}\ndef f():\n" + "    f()\n" * 70, 2)
        self.expect("function_lines", "deploy/a.sh", f"# {SPDX}\nf() {{\n" + body + "}\n", 2)
        self.assertEqual(findings({"src/base/a.c": c("static int f(void) {\n" + "    f();\n" * 68 + "}\n")}), [])

    def test_long_file(self) -> None:
        self.expect("file_lines", "src/base/a.c", c("int x;\n" * 800), 801)

    def test_long_line(self) -> None:
        self.expect("columns", "src/base/a.c", c("/* " + "x" * 118 + " */\n"), 2)
        self.assertEqual(findings({"docs/a.md": "# A\n\n| " + "x" * 130 + " |\n"}), [])

    def test_banned_calls(self) -> None:
        for call in tidy.BANNED_CALLS:
            self.expect("banned_calls", "src/base/a.c", c(f"int x = {call}(y);\n"), 2)
        for fine in ("pil_system(y)", "ops->system(y)", 'say("system(y)")', "snprintf(y)", "gmtime_r(y)"):
            self.assertEqual(findings({"src/base/a.c": c(f"int x = {fine};\n")}), [])
        self.assertIn("snprintf", findings({"src/base/a.c": c("int x = sprintf(y);\n")})[0].text)

    def test_missing_licence_line(self) -> None:
        self.expect("licence", "src/base/a.c", "int x;\n", 1)
        self.expect("licence", "tests/a.py", "pass\n", 1)

    def test_header_that_may_be_included_twice(self) -> None:
        self.expect("pragma_once", "src/base/a.h", c("int x;\n"), 1)

    def test_white_space(self) -> None:
        self.expect("white_space", "src/base/a.c", c("int x; \n"), 2)
        self.expect("white_space", "src/base/a.c", c("int\tx;\n"), 2)
        self.expect("white_space", "src/base/a.c", c("int x;\r\n"), 2)
        self.expect("white_space", "src/base/a.c", c("int x;"), 2)
        self.expect("white_space", "src/base/a.c", c("int x;\n\n"), 3)

    def test_marker_of_work_left(self) -> None:
        self.expect("markers", "src/base/a.c", c("/* TO" "DO: later */\n"), 2)
        self.expect("markers", "docs/a.md", "# A\n\nFIX" "ME\n", 3)

    def test_path_of_a_machine(self) -> None:
        self.expect("machine_paths", "docs/a.md", "# A\n\nin /wo" "rk/main\n", 3)
        self.expect("machine_paths", "deploy/a.yaml", "store: /ro" "ot/x\n", 1)
        self.assertEqual(findings({"tests/a.py": f"# {SPDX}\nHOME = '/ro" "ot/x'\n"}), [])

    def test_host_of_a_registry(self) -> None:
        self.expect("registries", "deploy/a.yaml", "from: https://files.pytho" "nhosted.org/x\n", 1)
        self.assertEqual(findings({"deploy/a.yaml": "see: https://example.org/pypi\n"}), [])

    def test_executable_bits(self) -> None:
        self.expect("executable", "deploy/a.sh", f"#!/bin/sh\n# {SPDX}\n", 1)
        found = findings({"src/base/a.c": c("int x;\n")}, executable=("deploy/start.sh", "src/base/a.c"))
        self.assertEqual([f.rule for f in found], ["executable"])

    def test_large_file(self) -> None:
        self.expect("file_bytes", "schemas/golden/a.bin", b"\0" * ((1 << 20) + 1), 1)

    def test_new_name_at_the_top(self) -> None:
        self.expect("top_level", "scripts/a.md", "# A\n", 1)

    def test_document_without_one_title(self) -> None:
        self.expect("one_title", "docs/a.md", "text\n", 1)
        self.expect("one_title", "docs/a.md", "# A\n\n# B\n", 3)

    def test_changelog(self) -> None:
        head = "# Changelog\n\n"
        self.expect("changelog", "CHANGELOG.md", head + "## Soon\n", 3)
        self.expect("changelog", "CHANGELOG.md", head + "## 0.1.0 (2026-01-31)\n\n### Fixes\n\n- A.\n", 5)
        swapped = "### Internals\n\n- A.\n\n### Features\n\n- A.\n"
        self.expect("changelog", "CHANGELOG.md", head + "## Unreleased\n\n" + swapped, 9)
        self.expect("changelog", "CHANGELOG.md", head + "## Unreleased\n\n### Features\n", 5)

    def test_module_that_needs_itself(self) -> None:
        with self.assertRaisesRegex(ValueError, "a needs b needs a"):
            tree.Tree([], tree.read_layers("a: b\nb: a\n"))

    def test_include_that_only_a_needed_module_needs(self) -> None:
        layers = "base: \nschema: base\ncache: schema\n"
        extra = {"src/schema/view.h": c('#pragma once\n#include "base/status.h"\n')}
        found = [(f.rule, f.path, f.line) for f in findings(extra, layers=layers)]
        self.assertEqual(found, [("layers", "src/cache/cache.c", 3)])
        used = {**extra, "src/cache/cache.c": c("int pil_cache_get(void) {\n    return 1;\n}\n"),
                "tests/unit/cache/cache_test.c": c('#include "base/status.h"\n')}
        self.assertEqual(findings(used, layers=layers), [])

    def test_need_that_nothing_includes(self) -> None:
        table = c("").replace("/* ", "# ").replace(" */", "") + "pil_module(engine NEEDS base)\n"
        extra = {"src/engine/a.c": c("int x;\n"), "src/CMakeLists.txt": table}
        found = findings(extra, layers=LAYERS + "engine: base\n")
        self.assertEqual([(f.rule, f.path, f.line, f.name) for f in found],
                         [("needs", "src/CMakeLists.txt", 2, "engine base")])

    def test_too_many_parameters(self) -> None:
        many = "static int f(int a, int (*b)(int, int), int c, int d, int e, int f{}) {{\n    return a;\n}}\n"
        self.expect("parameters", "src/base/a.c", c(many.format(", int g")), 2)
        self.assertEqual(findings({"src/base/a.c": c(many.format(""))}), [])

    def test_too_deep(self) -> None:
        deep = ("static void f(struct a *list) {{\n    EACH (at, list) {{\n        if (at->x) {{\n            do {{\n"
                "                struct a y = (struct a){{.x = {{1}}}};\n{}            }} while (at->y);\n        }}\n"
                "    }}\n}}\n")
        self.expect("nesting", "src/base/a.c", c(deep.format("                switch (y.x) {\n                }\n")), 2)
        self.assertEqual(findings({"src/base/a.c": c(deep.format(""))}), [])

    def test_long_header(self) -> None:
        body = "#pragma once\n" + "int x;\n" * 199
        self.expect("header_lines", "src/base/a.h", c(body), 201)
        self.assertEqual(findings({"include/pillion/a.h": c(body)}), [])
        self.expect("header_lines", "include/pillion/a.h", c(body + "int x;\n" * 200), 401)

    def test_name_away_from_home(self) -> None:
        text = "int {}(void) {{\n    return 1;\n}}\n"
        for name in ("pil_other_get", "pil_entrance_get", "pil_list_get"):
            self.expect("prefix_home", "src/base/entry_list.c", c(text.format(name)), 2)
        for name in ("pil_entry_get", "pil_entry_lists", "pil_entry", "pil_entrys_get", "pil_base_get", "own"):
            self.assertEqual(findings({"src/base/entry_list.c": c(text.format(name))}), [])
        self.expect("prefix_home", "src/base/a.h", c("#pragma once\nstatic inline int pil_b(void) {\n}\n"), 3)

    def test_files_in_a_circle(self) -> None:
        one = "int pil_one_get(void) {\n    return pil_two_get();\n}\n"
        two = "int pil_two_get(void) {{\n    return {};\n}}\nint pil_two_put(void) {{\n    return 1;\n}}\n"
        files = {"src/base/one.c": c(one), "src/base/two.c": c(two.format("pil_one_get()"))}
        found = findings(files)
        self.assertEqual([(f.rule, f.path, f.name) for f in found], [("circles", "src/base", "one two")])
        self.assertIn("one.c uses pil_two_get of two.c, two.c uses pil_one_get of one.c", found[0].text)
        self.assertEqual(findings({**files, "src/base/two.c": c(two.format("pil_two_put()"))}), [])
        # Through an object that a header declares, and through a table.
        declared = {"src/base/one.h": c("#pragma once\nextern const int pil_one_ops;\n")}
        objects = {"src/base/one.c": c("const int pil_one_ops = 1;\n" + one),
                   "src/base/two.c": c(two.format("pil_one_ops"))}
        self.assertEqual([f.rule for f in findings({**declared, **objects})], ["circles"])
        table = {"src/base/two.def": c("ROW(pil_one_get)\n"),
                 "src/base/two.c": c('#include "base/two.def"\n' + two.format("1"))}
        self.assertEqual([f.rule for f in findings({"src/base/one.c": c(one), **table})], ["circles"])

    def test_too_few_assertions(self) -> None:
        allocation = "void f(void) {\n    char *x = malloc(1);\n    PIL_ASSERT(x != NULL);\n}\n"
        rest = "int x;\n" * 95
        found = findings({"src/engine/a.c": c(allocation + rest)}, floors={"engine": 10})
        self.assertEqual([(f.rule, f.path) for f in found], [("asserts", "src/engine")])
        invariant = allocation.replace("malloc(1)", "other(1)")
        self.assertEqual(findings({"src/engine/a.c": c(invariant + rest)}, floors={"engine": 10}), [])

    def test_accepted_findings_are_counted_and_must_be_there(self) -> None:
        files = {"src/base/a.c": c("int pil_b(void) {\n    return 1;\n}\n")}
        row = "src/base/a.c pil_b\n"
        self.assertEqual(findings(files, allowed=f"[prefix_home] 1: why\n{row}"), [])
        for allowed, line in ((f"[prefix_home] 2: why\n{row}", 1), (f"[prefix_home] 2: why\n{row}src/a.c pil_c\n", 3),
                              (f"[nesting] 1: why\n{row}[prefix_home] 1: why\n{row}", 2)):
            found = [(f.rule, f.path, f.line) for f in findings(files, allowed=allowed)]
            self.assertEqual(found, [("allowed", tree.ALLOWED, line)])
        with self.assertRaisesRegex(ValueError, "allowed.txt:2"):
            findings(files, allowed="# x\n[prefix_home]: no count\n")


class Source(unittest.TestCase):
    def test_functions_are_found_with_their_names_and_lines(self) -> None:
        text = ('struct a {\n    int x;\n};\nint g = 1;\nstatic int\nf(int a) {\n    if (a) {\n        return "}"[0];\n'
                "    }\n    return '{';\n}\n#define M(x) \\\n    do { \\\n    } while (0)\nint h(void) { return 1; }\n"
                "static const struct a t[] = {\n    {1},\n};\n")
        self.assertEqual(source.c_functions(text), [source.Function("f", 5, 11), source.Function("h", 15, 15)])

    def test_comments_and_strings_are_blanked_in_place(self) -> None:
        text = 'a /* b\n c */ "d\\"e" + \'f\' // g\nh'
        stripped = source.strip_c(text)
        self.assertEqual(stripped.split(), ["a", "+", "h"])
        self.assertEqual([len(line) for line in stripped.split("\n")], [len(line) for line in text.split("\n")])


if __name__ == "__main__":
    unittest.main()
