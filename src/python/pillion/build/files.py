# SPDX-License-Identifier: Apache-2.0
"""Which files a source names, and what they were when they were read."""
from __future__ import annotations

import glob
import hashlib
import itertools
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Optional

from pillion.build.errors import BadInput
from pillion.build.project import View
from pillion.build.terminal import printable

_SUFFIXES = {"parquet": (".parquet", ".parq", ".pq"), "csv": (
    ".csv", ".csv.gz", ".csv.bz2", ".csv.zst", ".tsv", ".tsv.gz", ".tsv.bz2", ".tsv.zst")}


def find_files(pattern: str, kind: str, folder: Path) -> list[Path]:
    """The files of a path, which is a file, a folder (all files of the kind below it) or a glob; sorted. Leaves out
    hidden files, markers, and what a search at all depths finds in folders such as "_temporary" and "_delta_log"."""
    path = folder / pattern
    searched: Optional[Path] = None
    if path.is_dir():
        searched = path
        found = [p for p in path.rglob("*") if p.name.endswith(_SUFFIXES[kind])]
        wanted = f"{pattern} (a folder without {' or '.join(_SUFFIXES[kind])} files)"
    elif glob.has_magic(pattern) and not path.exists():
        found = [Path(p) for p in glob.glob(str(path), recursive=True)]
        wanted = pattern
        parts = Path(pattern).parts
        if "**" in parts:
            searched = folder.joinpath(*itertools.takewhile(lambda part: not glob.has_magic(part), parts))
    else:
        found, wanted = [path], pattern

    def is_shown(file: Path) -> bool:
        parts = file.relative_to(searched).parts if searched is not None else (file.name,)
        return not any(part.startswith((".", "_")) for part in parts)

    files = sorted(p for p in found if p.is_file() and is_shown(p))
    if not files:
        raise BadInput(f"{wanted}: no such file (paths are relative to {folder}); mend source.path or write the data")
    return files


class Files:
    """Lineage of the files of a source: their size and hash when they were read."""

    def __init__(self, view: View, kind: str, folder: Path) -> None:
        self.paths = find_files(view.source["path"], kind, folder)
        self.names = [printable(os.path.relpath(path, folder)) for path in self.paths]
        self.rows = [0] * len(self.paths)
        self._stats: dict[int, os.stat_result] = {}
        self._hashes: dict[int, Future[str]] = {}
        self._pool = ThreadPoolExecutor(1, "hash")

    @staticmethod
    def _sha256(path: Path) -> str:
        digest = hashlib.sha256()
        with open(path, "rb", buffering=0) as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
        return digest.hexdigest()

    def begin(self, index: int) -> None:
        self._stats[index] = os.stat(self.paths[index])
        self._hashes[index] = self._pool.submit(self._sha256, self.paths[index])

    def lineage(self) -> list[dict[str, Any]]:
        result = []
        for index, (path, name) in enumerate(zip(self.paths, self.names)):
            digest, before, after = self._hashes[index].result(), self._stats[index], os.stat(path)
            if (before.st_size, before.st_mtime_ns, before.st_ino) != (after.st_size, after.st_mtime_ns, after.st_ino):
                raise BadInput(f"{name}: changed while it was read; build again when it is complete")
            result.append({"path": name, "bytes": after.st_size, "sha256": digest, "rows": self.rows[index]})
        return result

    def close(self) -> None:
        self._pool.shutdown(wait=True)
