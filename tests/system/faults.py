# SPDX-License-Identifier: Apache-2.0
"""The nth allocation or the nth system call of a chosen process fails: tests/support/fail_nth.c, driven from a test.

    faults = Faults(folder)
    daemon = start_pilliond(store, env=faults.env)
    with faults.armed("server", "call", 3):     # the third call from here on
        ...
    assert faults.fired
"""
from __future__ import annotations

import contextlib
import mmap
import os
import re
import struct
import subprocess
from pathlib import Path
from typing import Iterator

import harness

_PAGE = 8192
_KINDS = {"alloc": 0, "call": 1}
# struct control of fail_nth.c.
_HEAD = struct.Struct("<IIIIQQQQ32s64s32s")
_COUNT, _FIRED, _REPORT = 32, 40, _HEAD.size


class Faults:
    """The control page, and the environment of the processes that are to look at it."""

    def __init__(self, folder: Path):
        library = Path(harness.program("libfail_nth.so"))
        self.path = folder / "faults"
        self.path.write_bytes(bytes(_PAGE))
        self.path.chmod(0o666)
        with open(self.path, "r+b") as file:
            self.page = mmap.mmap(file.fileno(), _PAGE)
        options = os.environ.get("ASAN_OPTIONS", "")
        self.env = {"LD_PRELOAD": str(library), "PIL_FAIL_FILE": str(self.path),
                    "ASAN_OPTIONS": f"{options}:verify_asan_link_order=0".lstrip(":")}

    @contextlib.contextmanager
    def armed(self, role: str, kind: str, nth: int, span: int = 1, call: str = "", obj: str = "",
              stalls: bool = False) -> Iterator[None]:
        """Calls `nth` … `nth + span - 1` of the process fail, counted from here; 0: they are only counted. `stalls`:
        they wait until the end of the block instead."""
        self.page[_REPORT:_PAGE] = bytes(_PAGE - _REPORT)
        self.page[:_HEAD.size] = _HEAD.pack(0, _KINDS[kind], stalls, 0, nth, span, 0, 0, role.encode(), obj.encode(),
                                               call.encode())
        self.page[:4] = struct.pack("<I", 1)
        try:
            yield
        finally:
            self.page[:4] = struct.pack("<I", 0)

    @property
    def count(self) -> int:
        return struct.unpack_from("<Q", self.page, _COUNT)[0]

    @property
    def fired(self) -> int:
        return struct.unpack_from("<Q", self.page, _FIRED)[0]

    def where(self) -> str:
        """Which call failed and who made it: names of functions, innermost first."""
        lines = bytes(self.page[_REPORT:_PAGE]).split(b"\0")[0].decode(errors="replace").splitlines()
        if not lines:
            return "nothing"
        names = []
        for line in lines[1:]:
            path, _, offset = line.rpartition("+")
            path = harness.program("pilliond") if path in ("pilliond", "/proc/self/exe") else path
            if path.startswith(str(harness.BIN_DIR.parent)) and "fail_nth" not in path:
                done = subprocess.run(["addr2line", "-f", "-s", "-e", path, offset], text=True, capture_output=True,
                                      check=False)
                names.append(re.sub(r"(\S+)\s+(\S+).*", r"\1 (\2)", done.stdout.strip(), flags=re.DOTALL))
        return f"{lines[0]}: " + " < ".join(names[:8])
