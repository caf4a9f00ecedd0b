# SPDX-License-Identifier: Apache-2.0
"""The programs pillion-build and pillion-init. What they need may be missing, and importing it takes long enough to be
interrupted."""
from __future__ import annotations

import importlib
import sys


def _run(name: str, undone: str) -> int:
    try:
        return importlib.import_module(f"pillion.{name}.cli").main()
    except ImportError as error:
        sys.stderr.write(f"pillion {name}: {error}\n")
        return 3
    except KeyboardInterrupt:
        sys.stderr.write(f"pillion {name}: interrupted; nothing was {undone}\n")
        return 130


def build() -> int:
    return _run("build", "published")


def init() -> int:
    return _run("init", "written")
