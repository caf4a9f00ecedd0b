# SPDX-License-Identifier: Apache-2.0
"""The extension module: the C core of the build, compiled from its modules beside this folder.

Builds in the tree (pip does so for a folder); all that is made lies in the repository's build/ folder.
"""
from __future__ import annotations

import re
from pathlib import Path

from setuptools import Extension, setup

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parent
BUILD = SOURCE.parent / "build" / "python"
MODULES = ("base", "schema", "snapshot", "store", "release", "ingest")


def version() -> str:
    """The one version of the project, from CMakeLists.txt."""
    found = re.search(r"project\(pillion VERSION ([0-9.]+)", (SOURCE.parent / "CMakeLists.txt").read_text())
    if found is None:
        raise SystemExit("CMakeLists.txt states no version")
    return found.group(1)


def files(pattern: str) -> list[str]:
    """Relative to this folder, as setuptools wants them; in a fixed order."""
    return sorted(f"../{path.relative_to(SOURCE)}" for name in MODULES for path in (SOURCE / name).glob(pattern))


CORE = Extension(
    "pillion._core",
    sources=["core.c", *files("*.c")],
    depends=files("*.h"),
    include_dirs=[".."],
    define_macros=[("Py_LIMITED_API", "0x03090000"), ("_GNU_SOURCE", None), ("PIL_VERSION", f'"{version()}"')],
    extra_compile_args=["-std=gnu17", "-O2", "-fno-strict-aliasing", "-fvisibility=hidden"],
    libraries=["yaml", "jansson", "xxhash", "crypto"],
    py_limited_api=True,
)

BUILD.mkdir(parents=True, exist_ok=True)
setup(
    version=version(),
    ext_modules=[CORE],
    # One level down, because the sources' "../" is kept below build_temp.
    options={
        "build": {"build_base": str(BUILD), "build_temp": str(BUILD / "objects" / "core")},
        "egg_info": {"egg_base": str(BUILD)},
        "bdist_wheel": {"py_limited_api": "cp39"},
    },
)
