# SPDX-License-Identifier: Apache-2.0
"""Which files a source names, and what they were when they were read. docs/operating.md has the rule as a table."""
from __future__ import annotations

import contextlib
import errno
import fnmatch
import hashlib
import os
import re
import stat
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Iterator, Optional, Sequence

from pillion.build.errors import BadInput, NoFiles
from pillion.build.project import View
from pillion.build.source import Source, failure
from pillion.build.terminal import printable

LISTED_MAX = 5  # names in one line of a message
_WORDS = {"parquet": "Parquet", "csv": "CSV"}
_PARQUET = (".parquet", ".parq", ".pq")
_PARQUET_MAGIC = (b"PAR1", b"PARE")
_CSV = ("", ".csv", ".tsv", ".txt")  # "": names such as 000000_0 and part-00000
_COMPRESSED = (".gz", ".bz2", ".zst")
_NOT_FILES = ((stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"), (stat.S_ISCHR, "a device"),
              (stat.S_ISBLK, "a device"))

# What people write instead of a path, and what to do. Used only for paths that do not exist.
_NOT_PATHS = (
    (r"file:", "is a URL; write the path alone, without file://"),
    (r"[A-Za-z][A-Za-z0-9+.-]+:/", "is a URL, and type KIND reads files of this machine; copy it, or use a query: "
     "{type: sql, setup: \"INSTALL httpfs; LOAD httpfs\", query: \"SELECT * FROM read_KIND('PATH')\"}"),
    (r"~", "begins with ~, which is not expanded; write the folder's whole path"),
    (r".*\$[\w{]", "has a $, and variables are not expanded; write their value"),
    (r".*\{.*\}", "has braces, which are not a pattern; *, ?, [ab] and ** are"),
    (r".*,", "is not there, and a list of paths is not read; name the folder of the files, or a glob"),
    (r".*\\", "has a backslash; write / between folders"),
)

# Tables are more than their files: only a log says which files and rows are live. What to do instead of reading all.
_TABLES = {
    "a Delta table": "read it with a query: {type: sql, setup: \"INSTALL delta; LOAD delta\", "
                     "query: \"SELECT * FROM delta_scan('ROOT')\"}",
    "an Iceberg table": "read it with a query: {type: sql, setup: \"INSTALL iceberg; LOAD iceberg\", query: \"SELECT "
                        "* FROM iceberg_scan('ROOT/metadata/FILE.metadata.json')\"}, FILE being what the catalog names",
    "a Hudi table": "write its latest snapshot to a folder of its own, as Parquet, and name that",
}


def _is_pattern(part: str) -> bool:
    return any(letter in part for letter in "*?[")


def _is_of_kind(path: Path, kind: str) -> bool:
    """Whether a file that the path does not name itself is read: decided by its name, and for Parquet also by its first
    bytes. Raises OSError."""
    name = path.name.lower()
    if kind == "parquet":
        if name.endswith(_PARQUET):
            return True
        with open(path, "rb") as file:
            return file.read(4) in _PARQUET_MAGIC
    stem, suffix = os.path.splitext(name)
    return (os.path.splitext(stem)[1] if suffix in _COMPRESSED else suffix) in _CSV


def _table_format(folder: Path) -> Optional[str]:
    """What the folder is, if it is the root of a table (a key of _TABLES)."""
    if os.path.isdir(folder / "_delta_log"):
        return "a Delta table"
    if os.path.isdir(folder / ".hoodie"):
        return "a Hudi table"
    try:
        there = os.listdir(folder / "metadata")
    except OSError:
        return None
    is_iceberg = any(".metadata.json" in name or name == "version-hint.text" for name in there)
    return "an Iceberg table" if is_iceberg else None


class _Search:
    """Collects the files of a path in `files`, and in `passed` what it passes over (folders end in a slash)."""

    def __init__(self, kind: str, folder: Path) -> None:
        self._kind = kind
        self._folder = folder
        self._no_tables: set[Path] = set()
        self.files: dict[Path, None] = {}
        self.passed: dict[str, None] = {}

    def name(self, path: Path) -> str:
        return os.path.relpath(path, self._folder)

    def expand(self, base: Path, parts: Sequence[str], is_named: bool = True) -> None:
        """Takes what the parts of a path match below `base`. A part that exists as written is not a pattern.
        is_named: the last part gives the whole name of the file, or its suffix."""
        if not parts:
            self._take(base, is_named)
            return
        head, rest = parts[0], parts[1:]
        if self._is_there(base / head):
            self.expand(base / head, rest)
        elif head == "**" and not rest:
            self._take(base, False)
        elif head == "**" and os.path.isdir(base):
            for folder in self._tree(base):
                self.expand(folder, rest)
        elif _is_pattern(head) and os.path.isdir(base):
            suffix = os.path.splitext(head)[1]
            for path in self._shown(base, head):
                self.expand(path, rest, bool(suffix) and not _is_pattern(suffix))

    def _is_there(self, path: Path) -> bool:
        try:
            os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except (OSError, ValueError) as error:
            raise failure(self.name(path), error) from error
        return True

    def _shown(self, folder: Path, pattern: str) -> list[Path]:
        """The entries that match, sorted; passes over the hidden ones, unless the pattern writes what hides them."""
        try:
            with os.scandir(folder) as entries:
                found = sorted(entry.name for entry in entries if fnmatch.fnmatchcase(entry.name, pattern))
        except OSError as error:
            raise failure(self.name(folder), error) from error
        shown = []
        for path in (folder / name for name in found):
            if path.name[0] in "._" and path.name[0] != pattern[0]:
                self.passed[self.name(path) + ("/" if os.path.isdir(path) else "")] = None
            else:
                shown.append(path)
        return shown

    def _tree(self, root: Path) -> Iterator[Path]:
        """The folder and all below it that are not hidden. Follows symbolic links."""
        waiting: list[tuple[Path, tuple[tuple[int, int], ...]]] = [(root, ())]
        while waiting:
            folder, above = waiting.pop()
            found = self._stat(folder)
            here = (found.st_dev, found.st_ino)
            if here in above:
                raise BadInput(f"{self.name(folder)}: is a symbolic link to a folder that it lies in; remove the link, "
                               "or name the folders in source.path")
            yield folder
            above += (here,)
            waiting += [(path, above) for path in self._shown(folder, "*") if os.path.isdir(path)]

    def _take(self, path: Path, is_named: bool) -> None:
        name, found = self.name(path), self._stat(path)
        if stat.S_ISDIR(found.st_mode):
            for folder in self._tree(path):
                self._refuse_table(folder)
                for entry in self._shown(folder, "*"):
                    if not os.path.isdir(entry):
                        self._take(entry, False)
            return
        if not stat.S_ISREG(found.st_mode):
            what = next((word for test, word in _NOT_FILES if test(found.st_mode)), "no file")
            raise BadInput(f"{name}: is {what}; files are read twice, so write its content to a regular file, "
                           "or remove it")
        try:
            # An empty file is an error of its reader, whatever its name.
            is_taken = is_named or found.st_size == 0 or _is_of_kind(path, self._kind)
        except OSError as error:
            raise failure(name, error) from error
        if is_taken:
            self._refuse_table(path.parent)
            self.files[path] = None
        else:
            self.passed[name] = None

    def _stat(self, path: Path) -> os.stat_result:
        try:
            self.name(path).encode()
            return os.stat(path)
        except UnicodeEncodeError as error:
            shown = os.fsencode(self.name(path)).decode(errors="backslashreplace")
            raise BadInput(f"{shown}: its name is not UTF-8 and cannot be stored in the release; rename it") from error
        except OSError as error:
            if path.is_symlink() and error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise BadInput(f"{self.name(path)}: is a symbolic link to {os.readlink(path)}, which leads to no file; "
                               "fix or remove it") from error
            raise failure(self.name(path), error) from error

    def _refuse_table(self, folder: Path) -> None:
        """Raises BadInput if the folder lies in a table of a format that decides which files and rows are live."""
        real = Path(os.path.realpath(folder))
        for root in (real, *real.parents):
            if root in self._no_tables:
                return
            what = _table_format(root)
            if what is not None:
                raise BadInput(f"{self.name(root)}: is {what}: its files do not say which of them, and which rows, are "
                               f"live; {_TABLES[what].replace('ROOT', str(root))}")
            self._no_tables.add(root)


def find_files(pattern: str, kind: str, folder: Path) -> tuple[list[Path], list[str]]:
    """The files of a path, which is a file, a folder or a glob, sorted; and the names of what it passes over."""
    search = _Search(kind, folder)
    path = folder / pattern
    search.expand(Path(path.anchor), path.parts[1:])
    passed = sorted(search.passed)
    if search.files:
        return sorted(search.files), passed
    form = next((what for wrong, what in _NOT_PATHS if re.match(wrong, pattern)), None)
    if form is not None and not passed:
        raise BadInput(f"{pattern}: {form.replace('KIND', kind).replace('PATH', pattern)}")
    what = f"no {_WORDS[kind]} file in this folder" if os.path.isdir(path) else "no such file"
    others = f"; {passed_over(pattern, kind, passed, len(passed))}" if passed else ""
    raise NoFiles(f"{pattern}: {what} (paths are relative to {folder}){others}; fix source.path or write the data")


def passed_over(pattern: str, kind: str, names: Sequence[str], count: int) -> str:
    """A sentence without a full stop; `names` are the first of `count`, of which there is at least one."""
    word, verb = ("files", "were") if count > 1 else ("file", "was")
    return (f"{count:,} other {word} in {pattern} {verb} not read: {listed(names, count)} "
            f"(hidden by . or _, or not {_WORDS[kind]})")


def listed(names: Sequence[str], count: int) -> str:
    """The first of `count` names."""
    more = f" and {count - LISTED_MAX:,} more" if count > LISTED_MAX else ""
    return ", ".join(names[:LISTED_MAX]) + more


class FileSource(Source):
    """The files of a source, and their lineage: their size and hash when they were read."""

    def __init__(self, view: View, folder: Path) -> None:
        self.view = view
        self.paths, passed = find_files(view.source["path"], view.source["type"], folder)
        self.passed = [printable(name) for name in passed]  # a name that is not UTF-8, too, can be shown and stored
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

    def reading(self) -> Iterator[tuple[int, Path, str]]:
        """Each file: its index in `rows`, its path and its name. It is hashed in another thread meanwhile."""
        for index, path in enumerate(self.paths):
            with self._naming(index):
                self._stats[index] = os.stat(path)
            self._hashes[index] = self._pool.submit(self._sha256, path)
            yield index, path, self.names[index]

    @contextlib.contextmanager
    def _naming(self, index: int) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise failure(self.names[index], error) from error

    def lineage(self) -> list[dict[str, Any]]:
        result = []
        for index, (path, name) in enumerate(zip(self.paths, self.names)):
            with self._naming(index):
                digest, before, after = self._hashes[index].result(), self._stats[index], os.stat(path)
            if (before.st_size, before.st_mtime_ns, before.st_ino) != (after.st_size, after.st_mtime_ns, after.st_ino):
                raise BadInput(f"{name}: changed while it was being read; build again when it is complete")
            result.append({"path": name, "bytes": after.st_size, "sha256": digest, "rows": self.rows[index]})
        return result

    def close(self) -> None:
        self._pool.shutdown(wait=True)
