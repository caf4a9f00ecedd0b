# SPDX-License-Identifier: Apache-2.0
"""Builds one view, from its source to a release. One thread reads and converts batches; the other hands them to the C
core, which encodes, merges, writes and publishes. A message about a bad row names its file, row group and number."""
from __future__ import annotations

import bisect
import functools
import json
import os
import queue
import threading
import time
from dataclasses import dataclass, replace
from typing import Any, Callable, Iterator, Optional, Union

import pyarrow as pa

from pillion import _core
from pillion.build import check, memory, scalar
from pillion.build.errors import BadInput, from_core
from pillion.build.progress import Progress
from pillion.build.project import Column, Project, View
from pillion.build.source import Chunk, Malformed, Place, Source
from pillion.build.sources import open_source
from pillion.build.terminal import Messages

CLOCK_SKEW_US = 5 * 60 * 1_000_000
AS_OF_NONE = 2**63 - 1
_NANOSECONDS = {_core.EVENT_COLUMN: _core.EVENT_NS_COLUMN, _core.CREATED_COLUMN: _core.CREATED_NS_COLUMN}
BATCHES_WAITING = 1
REPORTED_MAX = 10
NOT_READ_MAX = 100  # names in a manifest
SKIP = "or leave such rows out with --on-bad-row=skip"

_FIXES = {
    "null_key": "give each row a key, ",
    "null_timestamp": "give each row a time, ",
    "absurd_timestamp": "fix the clock or the unit (milliseconds taken for microseconds?), ",
    "null_element": "write lists without nulls, ",
    "vector_length": "write vectors of one length, declare another dimension, ",
    "invalid_utf8": "declare bytes, write UTF-8, ",
    "out_of_range": "declare vector<float32,…>, ",
    "too_large": "write less (a value may have 16 MiB, a key 64 KiB), ",
}


@dataclass(frozen=True)
class Options:
    store: Optional[str]  # None: a dry run
    as_of_ns: Optional[int]  # since 1970
    memory_limit: int
    skip_bad_rows: bool
    max_bad_rows: int
    fail_on_conflict: bool
    temporary: str
    err: Messages


class BadRows:
    """Decides about rows that cannot be used. Called by both threads."""

    def __init__(self, options: Options, progress: Progress) -> None:
        self._options = options
        self._progress = progress
        self._lock = threading.Lock()
        self.count = 0
        self.limit = options.max_bad_rows + 1 if options.skip_bad_rows else 1  # this many end the build
        self.error: Optional[BadInput] = None

    def take(self, where: Callable[[], str], what: str, fix: str) -> None:
        """Counts and reports a bad row, or raises BadInput. `where` may be slow, so it is called only when its text is
        shown. `fix` ends in a comma."""
        with self._lock:
            self.count += 1
            if not self._options.skip_bad_rows:
                self.error = BadInput(f"{where()}: {what}; {fix}{SKIP}")
            elif self.count >= self.limit:
                self.error = BadInput(f"more than {self._options.max_bad_rows} bad rows (--max-bad-rows); "
                                      f"the last: {where()}: {what}")
            if self.error is not None:
                raise self.error
            if self.count <= REPORTED_MAX:
                self._progress.message(f"skipped: {where()}: {what}")


@dataclass(frozen=True)
class Sent:
    """A batch that went to the core, kept so that its rows can be found again."""
    first: int  # number of its first row in the stream
    place: Place
    kept: Optional[pa.Array]  # indices of its rows in the chunk; None: all of them
    kinds: dict[str, pa.DataType]

    def text(self, row: int) -> str:
        index = row - self.first
        return self.place.text(index if self.kept is None else self.kept[index].as_py())


class Reader:
    """Reads, converts and queues batches in its own thread."""

    def __init__(self, view: View, source: Source, bad_rows: BadRows) -> None:
        self._view = view
        self._source = source
        self._bad_rows = bad_rows
        self._queue: queue.Queue[Union[pa.RecordBatch, BaseException, None]] = queue.Queue(BATCHES_WAITING)
        self._stopped = threading.Event()
        self._sent: list[Sent] = []
        self._rows_sent = 0
        self.rows_dropped = 0
        self.rounded: dict[str, int] = {}  # by label
        self.error: Optional[BaseException] = None  # the exception that ended the stream
        self.schema = pa.schema([pa.field(column.name, column.target.arrow) for column in view.columns]
                                + [pa.field(_NANOSECONDS[column.name], pa.int32()) for column in view.columns
                                   if column.name in _NANOSECONDS])
        self._thread = threading.Thread(target=self._run, name="read", daemon=True)
        self._thread.start()

    def _put(self, item: Union[pa.RecordBatch, BaseException, None]) -> None:
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=0.1)
                return
            except queue.Full:
                pass

    def _run(self) -> None:
        try:
            for chunk in self._source.chunks():
                if self._stopped.is_set():
                    return
                if isinstance(chunk, Malformed):
                    self._bad_rows.take(functools.partial(str, chunk.place), chunk.what, chunk.fix)
                    self.rows_dropped += 1
                    continue
                batch = self._convert(chunk)
                if batch.num_rows > 0:
                    self._put(batch)
            self._put(None)
        except BaseException as error:  # pylint: disable=broad-except; the consumer raises it again
            self._put(error)

    def _convert_column(self, chunk: Chunk, column: Column) -> scalar.Converted:
        origin = scalar.Origin(self._source.is_text, chunk.legacy_calendar)
        array = self._source.canonical(chunk.batch.column(column.source), column)
        try:
            converted = check.convert(array, column.target, self._bad_rows.limit, origin)
        except check.WrongType as error:
            raise BadInput(f"{chunk.place.text(0)}: column {column.source} {error}") from None
        if converted.rounded > 0:
            self.rounded[column.label] = self.rounded.get(column.label, 0) + converted.rounded
        return converted

    def _convert(self, chunk: Chunk) -> pa.RecordBatch:
        bad: dict[int, tuple[Column, scalar.Misfit]] = {}
        arrays, nanoseconds = [], []
        for column in self._view.columns:
            converted = self._convert_column(chunk, column)
            arrays.append(converted.array)
            if column.name in _NANOSECONDS:
                nanoseconds.append(converted.nanoseconds or pa.nulls(chunk.batch.num_rows, pa.int32()))
            for row, misfit in converted.bad.items():
                bad.setdefault(row, (column, misfit))
        kinds = {c.name: chunk.batch.schema.field(c.source).type for c in self._view.columns}
        for row in sorted(bad):
            column, misfit = bad[row]
            if self._source.is_text and misfit.element == 0:
                misfit = replace(misfit, cell=chunk.batch.column(column.source)[row])
            what, fix = check.describe(misfit, column.target, column.is_key, column.is_pii)
            if self._source.is_text:
                fix = self._source.advice((misfit.cell or misfit.value).as_py(), column, misfit.element > 0) + fix
            self._bad_rows.take(functools.partial(chunk.place.text, row), f"column {column.source} {what}", fix)
        batch = pa.RecordBatch.from_arrays(arrays + nanoseconds, schema=self.schema)
        kept = None
        if bad:
            kept = pa.array([row for row in range(batch.num_rows) if row not in bad], pa.int64())
            batch = batch.take(kept)
            self.rows_dropped += len(bad)
        # The core is behind by at most the queue and two batches.
        self._sent = self._sent[-(BATCHES_WAITING + 3):] + [Sent(self._rows_sent, chunk.place, kept, kinds)]
        self._rows_sent += batch.num_rows
        return batch

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The batches for Arrow's stream. A failure ends the stream and is left in `error`, because Arrow would keep a
        raised exception for ever, and through its frames the source. The same holds for an interrupt of the thread that
        waits here."""
        try:
            while isinstance(item := self._queue.get(), pa.RecordBatch):
                yield item
            self.error = item
        except KeyboardInterrupt as interrupt:
            self.error = interrupt

    def sent(self, row: int) -> Sent:
        known = self._sent
        return known[bisect.bisect_right([sent.first for sent in known], row) - 1]

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()


def check_store(options: Options, view: str, channel: str) -> None:
    """Checks before hours of reading rather than after that a release of the view (PROJECT/VIEW), and the channel
    unless it is "", can be written."""
    if options.store is None:
        return
    try:
        _core.check_store(os.fsencode(options.store), view, channel)
    except _core.Error as error:
        raise from_core(*error.args) from None


class ViewBuild:
    """One build of one view."""

    def __init__(self, project: Project, view: View, options: Options) -> None:
        self._project = project
        self._view = view
        self._options = options
        self._labels = {column.name: column for column in view.columns}
        self._progress = Progress(options.err, f"{project.name}/{view.name}")
        self._bad_rows = BadRows(options, self._progress)
        self._reader: Optional[Reader] = None

    def _on_flaw(self, row: int, name: str, flaw: str, text: str) -> bool:
        assert self._reader is not None
        sent, column = self._reader.sent(row), self._labels[name]
        what = f"column {column.source} ({sent.kinds[name]}) {text}"
        self._bad_rows.take(functools.partial(sent.text, row), what, _FIXES[flaw])
        return True

    def _on_conflict(self, key: bytes, event_us: int, lost: int) -> bool:
        where = f"key {check.shown(key.decode('utf-8', 'surrogateescape'))}" if self._view.has_keys else "its one key"
        if not self._view.is_static:
            where += f" at {check.shown(pa.scalar(event_us, pa.timestamp('us', 'UTC')))}"
        if self._options.fail_on_conflict:
            raise BadInput(f"{self._project.name}/{self._view.name}: {lost + 1} rows of {where} have different values; "
                           "name a created_timestamp_column that decides, remove the wrong ones, "
                           "or let the greater values win with --on-conflict=resolve")
        self._progress.message(f"conflict: {where}: {lost} row{'s' if lost != 1 else ''} with other values lost")
        return True

    def run(self) -> dict[str, Any]:
        started = time.monotonic()
        options = self._options
        as_of_ns = None if self._view.is_static else options.as_of_ns
        as_of_us = None if as_of_ns is None else as_of_ns // 1000
        shares = memory.Shares(options.memory_limit, self._view.source["type"] != "parquet")
        source = open_source(self._view, self._project.folder, shares.duckdb, options.temporary)
        try:
            shares.give_reader(source.reader_bytes, source.reader_why)
            core = _core.Ingest(
                project=self._project.text, view=self._view.name, temporary=os.fsencode(options.temporary),
                memory_bytes=shares.core, outside_bytes=options.memory_limit - shares.core,
                threads=len(os.sched_getaffinity(0)), event_ts_us_max=time.time_ns() // 1000 + CLOCK_SKEW_US,
                as_of_us=AS_OF_NONE if as_of_us is None else as_of_us, as_of_ns=(as_of_ns or 0) % 1000,
                on_flaw=self._on_flaw, on_conflict=self._on_conflict, on_progress=self._progress)
            self._progress.rows_expected = source.rows_expected
            counts, read_s = self._read(core, source)
            sources = source.lineage()
            not_read = {"count": len(source.passed), "paths": list(source.passed[:NOT_READ_MAX])}
            extra = {"sources": sources, "not_read": not_read, "counts": counts, "as_of_us": as_of_us,
                     "builder": {"name": "pillion-build", "version": _core.VERSION}}
            result = json.loads(core.publish(os.fsencode(options.store or ""), json.dumps(extra)))
        except _core.Error as error:
            raise from_core(*error.args) from None
        finally:
            self._progress.close()
            source.close()
        seconds = {"source": read_s - result["seconds"]["read"], **result["seconds"],
                   "total": time.monotonic() - started}
        return {**result, "previous": result["previous"] or None,
                "view": f"{self._project.name}/{self._view.name}", "counts": counts, "seconds": seconds,
                "sources": sources, "not_read": not_read, "dry_run": options.store is None}

    def _read(self, core: _core.Ingest, source: Source) -> tuple[dict[str, int], float]:
        started = time.monotonic()
        self._reader = reader = Reader(self._view, source, self._bad_rows)
        try:
            # No variable holds the stream: Arrow's reader would keep the source alive in the frames of an exception.
            core.stream(pa.RecordBatchReader.from_batches(reader.schema, reader.batches()).__arrow_c_stream__())
        finally:
            reader.stop()
        if reader.error is not None:
            raise reader.error
        pa.default_memory_pool().release_unused()
        read_s = time.monotonic() - started
        counts = json.loads(core.merge())
        counts["rows_in"] += reader.rows_dropped
        counts["bad_rows"] += reader.rows_dropped
        counts["rounded"] = reader.rounded
        self._refuse_nothing(counts)
        return counts, read_s

    def _refuse_nothing(self, counts: dict[str, int]) -> None:
        where = self._view.source.get("path") or f"query of {self._view.name}"
        if counts["rows_in"] == 0:
            raise BadInput(f"{where}: the source is empty; a release without rows is of no use")
        if counts["rows_out"] == 0:
            raise BadInput(f"{where}: none of {counts['rows_in']} rows is left: "
                           f"{counts['after_as_of']} are after --as-of, "
                           f"{counts['null_keys'] + counts['bad_rows']} are bad; nothing is published")
