# SPDX-License-Identifier: Apache-2.0
"""`pillion build PROJECT.yaml --store S`: arguments, messages, exit codes (errors.py)."""
from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import sys
import traceback
from dataclasses import dataclass, field
from typing import Any, Optional, Sequence

from pillion import _core
from pillion.build import builder, files, memory, project
from pillion.build.arguments import Parser
from pillion.build.errors import EXIT_CODES, EXIT_INTERRUPTED, BadInput, BuildError, IoFailure, from_core
from pillion.build.progress import amount
from pillion.build.terminal import Messages, printable

ROUNDED_SHOWN = 10  # columns in the report; --json has all


@dataclass
class Outcome:
    """What a build of several views has achieved so far; reported when the build ends early."""
    waiting: list[str] = field(default_factory=list)    # views that are not published yet
    published: list[str] = field(default_factory=list)  # releases
    promoted: list[str] = field(default_factory=list)   # those of them that the channel points to
    channel: Optional[str] = None

    def text(self) -> str:
        if not self.published:
            return "nothing was published"
        groups = [("published", self.published), ("not published", self.waiting)]
        if self.channel is not None:
            groups += [(f"promoted to {self.channel}", self.promoted),
                       (f"not promoted to {self.channel}", [name for name in self.published
                                                            if name not in self.promoted])]
        return "; ".join(f"{what}: {', '.join(names)}" for what, names in groups if names)


def parse_time(text: str) -> int:
    """Converts ISO 8601, with up to nine digits of a second, to nanoseconds since 1970; a time without a zone is
    UTC."""
    match = re.fullmatch(r"(.*:\d\d)[.,](\d{1,9})(\D.*)?", text)
    begin, fraction, zone = match.groups("") if match is not None else (text, "", "")
    try:
        if match is None and ("." in text or "," in text):
            raise ValueError("not a fraction of a second")
        moment = datetime.datetime.fromisoformat((begin + zone).replace("Z", "+00:00"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time; write 2026-01-31 or 2026-01-31T12:00:00Z, "
                                         "with up to nine digits of a second") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.timezone.utc)
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    return (moment - epoch) // datetime.timedelta(microseconds=1) * 1000 + int(fraction.ljust(9, "0"))


def _size(text: str) -> int:
    try:
        return memory.parse_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _absolute(store: str) -> str:
    """The store's URL, made independent of the working directory."""
    is_relative = store.startswith("dir:") and store[4:5] not in ("", "/", "~", "$")  # the core refuses ~ and $
    return "dir:" + os.path.abspath(store[4:]) if is_relative else store


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of rows")
    return int(text)


def _parser() -> Parser:
    parser = Parser(
        prog="pillion build", description="Builds a release of each feature view and puts it into a store.",
        epilog="Prints PROJECT/VIEW@RELEASE on standard output for each view, as soon as it is published. Exit codes: "
               + "; ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items())
               + ". If a build ends early, its message says which views are published and which are not.")
    parser.add_argument("project", metavar="PROJECT.yaml", help="the project file; its source paths are relative to it")
    parser.add_argument("--view", metavar="V", help="only this feature view (default: all)")
    parser.add_argument("--store", metavar="S", default=os.environ.get("PILLION_STORE") or None,
                        help=f"where releases live: {_core.STORE_FORMS} (default: $PILLION_STORE)")
    parser.add_argument("--promote", metavar="CHANNEL",
                        help="point the channel to what was built, once every view is; refused as by pillion promote")
    parser.add_argument("--as-of", metavar="T", type=parse_time,
                        help="leave out rows with a later event timestamp; static views have none")
    parser.add_argument("--dry-run", action="store_true", help="do everything but put anything into the store")
    parser.add_argument("--json", action="store_true", help="one JSON object for each view instead of its name")
    parser.add_argument("--memory-limit", metavar="SIZE", type=_size,
                        help="cap of the resident memory, like 512M (default: half of what the cgroup allows)")
    parser.add_argument("--on-bad-row", choices=("fail", "skip"), default="fail", help="default: fail")
    parser.add_argument("--max-bad-rows", metavar="N", type=_count, default=1000,
                        help="with --on-bad-row=skip: fail when there are more (default: 1000)")
    parser.add_argument("--on-conflict", choices=("fail", "resolve"), default="resolve",
                        help="rows of one key and time with different values: resolve lets the greater values win "
                             "(default: resolve)")
    parser.add_argument("--tmp", metavar="DIR", default=os.environ.get("TMPDIR", "/var/tmp"),
                        help="folder for what memory cannot hold (default: $TMPDIR or /var/tmp)")
    parser.add_argument("--version", action="version", version=f"pillion-build {_core.VERSION}")
    return parser


def _report_files(result: dict[str, Any], source: dict[str, Any], options: builder.Options) -> None:
    """Reports which files were read and which were not."""
    if source["type"] == "sql":
        return
    read, not_read = result["sources"], result["not_read"]
    names = [f"{file['path']} ({file['rows']:,} row{'s' if file['rows'] != 1 else ''})" for file in read]
    options.err.say(f"{result['view']}: {len(read):,} file{'s' if len(read) != 1 else ''} read: "
                    f"{files.listed(names, len(names))}")
    if not_read["count"]:
        sentence = files.passed_over(source["path"], source["type"], not_read["paths"], not_read["count"])
        options.err.say(f"{result['view']}: {sentence}")


def _report(result: dict[str, Any], is_static: bool, options: builder.Options) -> None:
    counts, seconds, err = result["counts"], result["seconds"], options.err
    left_out = ", ".join(f"{counts[name]:,} {label}" for name, label in (
        ("late", "superseded by newer rows"), ("duplicates", "duplicate"),
        ("conflicts", "in conflict"), ("after_as_of", "after --as-of"),
        ("null_keys", "without a key"), ("bad_rows", "bad")) if counts[name])
    rate = amount(counts["rows_in"] / max(seconds["total"], 1e-3), "rows")
    err.say(f"{result['view']}: {counts['rows_in']:,} rows in, {counts['rows_out']:,} out"
            f"{f' ({left_out})' if left_out else ''}, {seconds['total']:.1f} s, {rate}/s")
    if counts["rounded"]:
        most = sorted(counts["rounded"].items(), key=lambda item: -item[1])
        rest = f" and {len(most) - ROUNDED_SHOWN:,} more columns" if len(most) > ROUNDED_SHOWN else ""
        err.say(f"{result['view']}: values rounded to the nearest that the type holds: "
                  + ", ".join(f"{count:,} of {name}" for name, count in most[:ROUNDED_SHOWN]) + f"{rest}")
    if is_static and options.as_of_ns is not None:
        err.say(f"{result['view']}: static, so --as-of leaves out nothing")
    if counts["conflicts"]:
        time = "" if is_static else " and time"
        plural = "s" if counts["conflicts"] != 1 else ""
        err.say(f"{result['view']}: {counts['conflicts']:,} row{plural} in conflict: "
                  f"another row has the same key{time} and greater values; name a created_timestamp_column that "
                  "decides, or end such builds with --on-conflict=fail")
    done = "dry run, nothing put" if result["dry_run"] else "there already" if result["existed"] else \
        f"{result['shards_uploaded']} put, {amount(result['bytes_uploaded'], 'B')}"
    err.say(f"{result['view']}: {result['shards']} shard{'s' if result['shards'] != 1 else ''}, "
            f"{amount(result['bytes'], 'B')}: {done}")


def _print(line: str) -> None:
    """Prints a line of the result. The release exists even if its name cannot be printed."""
    reason = "is closed"
    try:
        if sys.stdout is not None:
            print(line, flush=True)
            return
    except OSError as error:
        reason = error.strerror
        # Python would try again at its end, and say so in its own way.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise IoFailure(f"standard output: {reason}; it would have said {line}")


def _run(arguments: argparse.Namespace, options: builder.Options, outcome: Outcome) -> None:
    loaded = project.load(arguments.project)
    os.chdir(loaded.folder)  # ATTACH knows no file_search_path
    views = loaded.chosen(arguments.view)
    outcome.waiting = [f"{loaded.name}/{view.name}" for view in views]
    for name in outcome.waiting:
        builder.check_store(options, name, arguments.promote or "")
    for view in views:
        result = builder.ViewBuild(loaded, view, options).run()
        release = f"{result['view']}@{result['release']}"
        outcome.waiting.pop(0)
        if options.store is not None:
            outcome.published.append(release)
        _report(result, view.is_static, options)
        _report_files(result, view.source, options)
        _print(json.dumps(result) if arguments.json else release)
    if arguments.promote is not None and options.store is not None:
        _promote(outcome, arguments.promote, options)


def _promote(outcome: Outcome, channel: str, options: builder.Options) -> None:
    outcome.channel = channel
    for release in outcome.published:
        try:
            _core.promote(os.fsencode(options.store), release, channel)
        except _core.Error as error:
            code, text = error.args
            raise (BadInput(text) if code == "BUSY" else from_core(code, text)) from None
        outcome.promoted.append(release)
        options.err.say(f"{release}: promoted to {channel}")


def _fail(options: builder.Options, outcome: Outcome, text: str, code: int) -> int:
    return options.err.fail(f"{text}; {outcome.text()}" if outcome.published else text, code)


def _guarded(arguments: argparse.Namespace, options: builder.Options, outcome: Outcome) -> int:
    try:
        _run(arguments, options, outcome)
    except BuildError as error:
        return _fail(options, outcome, str(error), error.code)
    except KeyboardInterrupt:
        text = "interrupted" if outcome.published else "interrupted; nothing was published"
        return _fail(options, outcome, text, EXIT_INTERRUPTED)
    except Exception as error:  # pylint: disable=broad-except; the last resort
        text = " ".join(str(error).split())
        code = _fail(options, outcome, f"a fault of this program, {type(error).__name__}: "
                     f"{text[:500] or 'without a text'}; please report it with what PILLION_TRACEBACK=1 prints",
                     IoFailure.code)
        if os.environ.get("PILLION_TRACEBACK"):
            options.err.say(traceback.format_exc().rstrip())
        return code
    return 0


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.store is None and not arguments.dry_run:
        parser.error(f"--store is missing: {_core.STORE_FORMS} (or $PILLION_STORE, or --dry-run)")
    if not os.path.isdir(arguments.tmp) or not os.access(arguments.tmp, os.W_OK | os.X_OK):
        parser.error(f"--tmp: {arguments.tmp} is not a writable folder")
    if arguments.promote is not None:
        try:
            _core.check_channel(os.fsencode(arguments.promote))
        except _core.Error as error:
            parser.error(f"--promote: {error.args[1]}")
    limit = memory.available_bytes() // 2 if arguments.memory_limit is None else arguments.memory_limit
    options = builder.Options(
        store=None if arguments.dry_run else _absolute(arguments.store), as_of_ns=arguments.as_of, memory_limit=limit,
        fail_on_conflict=arguments.on_conflict == "fail", skip_bad_rows=arguments.on_bad_row == "skip",
        max_bad_rows=arguments.max_bad_rows, temporary=os.path.abspath(arguments.tmp),
        err=Messages(sys.stderr, arguments.json))
    outcome = Outcome()
    watch = memory.Watch(limit, options.err.fail, outcome.text)
    code = _guarded(arguments, options, outcome)
    watch.stop()
    if code == 0:
        options.err.say(f"peak memory {memory.peak_bytes() // memory.MIB} MiB, limit {limit // memory.MIB} MiB")
    return code


if __name__ == "__main__":
    sys.exit(main())
