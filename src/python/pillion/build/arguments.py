# SPDX-License-Identifier: Apache-2.0
"""The command lines of pillion-build and pillion-init."""
from __future__ import annotations

import argparse
import difflib
import sys
from typing import NoReturn, Optional, Sequence

from pillion.build.terminal import Messages, printable

EXIT_USAGE = 2


class Parser(argparse.ArgumentParser):
    """Proposes the option that a mistyped one is near to, and with --json explains a mistake as JSON."""
    _as_json = False

    def parse_args(self, args: Optional[Sequence[str]] = None,  # type: ignore[override]
                   namespace: Optional[argparse.Namespace] = None) -> argparse.Namespace:
        self._as_json = "--json" in (sys.argv[1:] if args is None else args)
        return super().parse_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        unknown = message.removeprefix("unrecognized arguments: ").split(" ")[0].split("=")[0]
        near = difflib.get_close_matches(unknown, self._option_string_actions, 1) if unknown.startswith("--") else []
        if near:
            message += f"; did you mean {near[0]}?"
        if self._as_json:
            sys.exit(Messages(sys.stderr, as_json=True).fail(message, EXIT_USAGE))
        super().error(printable(message))
