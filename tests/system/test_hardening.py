# SPDX-License-Identifier: Apache-2.0
"""Goal: the programs as shipped carry every hardening that the build asks for. Method: readelf on the release binaries,
so that a flag that the linker or a dependency silently dropped is seen."""
from __future__ import annotations

import platform
import re
from functools import lru_cache

import harness
import pytest

PROGRAMS = ("pillion", "pilliond")


@lru_cache
def readelf(program: str, what: str) -> str:
    return harness.run([harness.tool("readelf"), "-W", what, harness.program(program)]).stdout


@pytest.fixture(autouse=True, params=PROGRAMS)
def binary(request: pytest.FixtureRequest) -> str:
    if "__asan_init" in readelf(request.param, "--dyn-syms"):
        pytest.skip("a sanitized build is not hardened")
    return request.param


def undefined_symbols(binary: str) -> set[str]:
    return set(re.findall(r"UND\s+(\w+)", readelf(binary, "--dyn-syms")))


def test_is_position_independent(binary: str) -> None:
    assert re.search(r"Type:\s+DYN", readelf(binary, "-h"))
    assert re.search(r"FLAGS_1\).*\bPIE\b", readelf(binary, "-d"))


def test_relocations_are_read_only_before_main(binary: str) -> None:
    assert "GNU_RELRO" in readelf(binary, "-l")
    assert re.search(r"BIND_NOW|FLAGS_1\).*\bNOW\b", readelf(binary, "-d"))


def test_no_memory_is_writable_and_executable(binary: str) -> None:
    headers = readelf(binary, "-l")
    assert re.search(r"GNU_STACK(\s+0x\w+){5}\s+RW\s", headers)
    for flags in re.findall(r"^\s+LOAD(?:\s+0x\w+){5}\s+([RWE ]{3})", headers, re.MULTILINE):
        assert not ("W" in flags and "E" in flags)
    assert "TEXTREL" not in readelf(binary, "-d")


def test_stack_protector_is_used(binary: str) -> None:
    assert "__stack_chk_fail" in undefined_symbols(binary)


def test_libc_calls_are_fortified(binary: str) -> None:
    # Fortified, a call goes to its checked twin and the plain function is not imported at all; but for snprintf, where
    # the compiler sees by itself that the text fits.
    symbols = undefined_symbols(binary)
    assert not {"printf", "fprintf", "vprintf", "vfprintf", "vsnprintf"} & symbols
    assert {"__printf_chk", "__fprintf_chk", "__snprintf_chk", "__vsnprintf_chk", "__memcpy_chk"} <= symbols


def test_no_library_comes_from_a_path_of_the_build(binary: str) -> None:
    assert not re.search(r"\((RPATH|RUNPATH)\)", readelf(binary, "-d"))


@pytest.mark.skipif(platform.machine() != "x86_64", reason="CET is part of x86-64")
def test_our_code_has_landing_pads(binary: str) -> None:
    # The note that turns IBT on is not asked for: Debian 12's start files lack it, so the linker drops it everywhere.
    code = harness.run([harness.tool("objdump"), "-d", "--disassemble=main", harness.program(binary)]).stdout
    assert re.search(r"<main>:\n[^\n]*endbr64", code), code[:500]


def test_no_path_of_the_build_machine_is_in_the_file(binary: str) -> None:
    with open(harness.program(binary), "rb") as file:
        assert str(harness.ROOT / "src").encode() not in file.read()
