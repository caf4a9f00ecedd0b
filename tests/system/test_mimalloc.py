# SPDX-License-Identifier: Apache-2.0
"""Goal: mimalloc really is the allocator of the programs. Debian's shared library takes malloc over only while it
stands before libc among the needed libraries, which a linker flag can undo without any error. Method: the order of
NEEDED, then what the dynamic linker says when it binds malloc. (unit.base.mimalloc asks the allocator itself.)"""
from __future__ import annotations

import os
import re

import harness
import pytest


@pytest.fixture(autouse=True, params=("pillion", "pilliond"))
def binary(request: pytest.FixtureRequest) -> str:
    path = harness.program(request.param)
    if "__asan_init" in harness.run([harness.tool("readelf"), "-W", "--dyn-syms", path]).stdout:
        pytest.skip("a sanitizer brings its own allocator")
    return path


def test_mimalloc_is_needed_before_libc(binary: str) -> None:
    dynamic = harness.run([harness.tool("readelf"), "-W", "-d", binary]).stdout
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic)
    names = [name.partition(".so")[0] for name in needed]
    assert names.index("libmimalloc") < names.index("libc"), needed


def test_malloc_of_every_library_is_bound_to_mimalloc(binary: str) -> None:
    done = harness.run([binary, "--help"], code=None, env={**os.environ, "LD_DEBUG": "bindings", "LD_BIND_NOW": "1"})
    bound = re.findall(r"binding file (\S+) \[0\] to (\S+) \[0\]: normal symbol `(malloc|calloc|free)'", done.stderr)
    assert bound, done.stderr[:2000]
    foreign = [line for line in bound if "libmimalloc" not in line[1] and "ld-linux" not in line[1]]
    assert not foreign, foreign
