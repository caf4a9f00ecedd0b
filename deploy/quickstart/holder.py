# SPDX-License-Identifier: Apache-2.0
"""Who listens where we want to: `holder.py PORT... [SOCKET_PATH...]` prints a line for each that is taken, exit 1.

Reads /proc only, so that nothing needs to be installed; names of other users' processes are seen by root alone.
"""
from __future__ import annotations

import os
import sys
from pathlib import Path

LISTEN = "0A"


def inodes_of_port(port: int) -> set[str]:
    found = set()
    for table in ("tcp", "tcp6"):
        path = Path("/proc/net") / table
        for line in path.read_text().splitlines()[1:] if path.exists() else []:
            fields = line.split()
            if fields[3] == LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(fields[9])
    return found


def inodes_of_socket(name: str) -> set[str]:
    rows = (line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:])
    return {fields[6] for fields in rows if len(fields) > 7 and fields[7] == name}


def owner_of(inodes: set[str]) -> str:
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            for entry in os.listdir(f"/proc/{process}/fd"):
                if os.readlink(f"/proc/{process}/fd/{entry}") in wanted:
                    words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
                    return f"process {process}: {b' '.join(words).decode(errors='replace').strip()[:80]}"
        except OSError:
            continue
    return "a process of another user"


def main() -> int:
    taken = 0
    for place in sys.argv[1:]:
        inodes = inodes_of_port(int(place)) if place.isdigit() else inodes_of_socket(place)
        if inodes:
            what = f"port {place}" if place.isdigit() else f"socket {place}"
            print(f"{what} is in use by {owner_of(inodes)}")
            taken = 1
    return taken


if __name__ == "__main__":
    sys.exit(main())
