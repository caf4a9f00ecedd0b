# SPDX-License-Identifier: Apache-2.0
"""The extension modules: the client (pillion._client) and the C core of the build (pillion._core), made from the C
modules beside this folder. Modules that both may need are compiled once, into an archive from which each links what
it needs.

Builds in the source tree (as pip does for a folder); all output is in the repository's build/ folder.
"""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import Extension, setup

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parent
BUILD = SOURCE.parent / "build" / "python"
MODULES = ("base", "schema", "metric", "wire", "snapshot", "cache", "vector", "store", "release", "ingest", "client")
COMPILE = ["-std=gnu17", "-O2", "-fno-strict-aliasing", "-fvisibility=hidden", "-fPIC"]
INCLUDE = ["..", "../../include"]


def version() -> str:
    """The version of the project, which only CMakeLists.txt states."""
    found = re.search(r"project\(pillion VERSION ([0-9.]+)", (SOURCE.parent / "CMakeLists.txt").read_text())
    if found is None:
        raise SystemExit("CMakeLists.txt states no version")
    return found.group(1)


def files(pattern: str, *modules: str) -> list[str]:
    """Paths relative to this folder, as setuptools wants them, in a fixed order."""
    return sorted(f"../{path.relative_to(SOURCE)}" for name in modules for path in (SOURCE / name).glob(pattern))


def extension(name: str, sources: list[str], libraries: list[str]) -> Extension:
    return Extension(
        name,
        sources=sources,
        depends=[*files("*.[ch]", *MODULES), "client/client.h", "exports.map", "../../include/pillion/client.h"],
        include_dirs=INCLUDE,
        define_macros=[("Py_LIMITED_API", "0x03090000"), *MACROS],
        extra_compile_args=[*COMPILE, "-Wall", "-Wextra", "-Werror=switch"],  # every switch must handle a new scalar
        extra_link_args=["-Wl,--version-script=exports.map"],
        libraries=["pillion_parts", *libraries],  # before the libraries that it needs
        py_limited_api=True,
    )


MACROS = [("_GNU_SOURCE", None), ("PIL_VERSION", f'"{version()}"')]
OBJECTS = BUILD / "objects" / "core"  # one level down, because the "../" of the sources is kept in paths below it
PARTS = {
    "sources": files("*.c", *(name for name in MODULES if name != "client")),
    "obj_deps": {"": files("*.h", *MODULES)},
    "include_dirs": INCLUDE,
    "macros": MACROS,
    "cflags": COMPILE,
}
CLIENT = [*files("*.c", "client"), *files("client/*.c", "python")]

BUILD.mkdir(parents=True, exist_ok=True)
(OBJECTS / "libpillion_parts.a").unlink(missing_ok=True)  # it would keep members whose sources are gone
setup(
    version=version(),
    libraries=[("pillion_parts", PARTS)],
    ext_modules=[
        extension("pillion._client", CLIENT, ["xxhash", "crypto", "m"]),
        extension("pillion._core", ["core.c"], ["yaml", "jansson", "xxhash", "crypto", "m"]),
    ],
    options={
        "build": {"build_base": str(BUILD), "build_temp": str(OBJECTS)},
        "egg_info": {"egg_base": str(BUILD)},
        "bdist_wheel": {"py_limited_api": "cp39"},
    },
)
