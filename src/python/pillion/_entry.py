# SPDX-License-Identifier: Apache-2.0
"""The program pillion-build. What it needs may be missing, and importing it takes long enough to be interrupted."""
from __future__ import annotations

import sys


def build() -> int:
    try:
        from pillion.build.cli import main  # pylint: disable=import-outside-toplevel
        return main()
    except ImportError as error:
        sys.stderr.write(f"pillion build: {error}\n")
        return 3
    except KeyboardInterrupt:
        sys.stderr.write("pillion build: interrupted; nothing was published\n")
        return 130
