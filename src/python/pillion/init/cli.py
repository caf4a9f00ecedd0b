# SPDX-License-Identifier: Apache-2.0
"""`pillion init PATH...`: arguments, questions, messages, exit codes.

0: written. 1: the data must be corrected, or files are there already. 2: wrong usage, or a question and nobody to
answer it. 3: a disk or permission problem, or a fault of this program. 130: interrupted.
"""
from __future__ import annotations

import argparse
import json
import os
import re
import sys
import traceback
from pathlib import Path
from typing import Optional, Sequence

from pillion import _core
from pillion.build.arguments import Parser
from pillion.build.errors import EXIT_INTERRUPTED, BadInput, BuildError, IoFailure
from pillion.build.terminal import Messages, names, printable
from pillion.init import choose, write
from pillion.init.survey import Survey, survey_path

_TTL = re.compile(r"\d+[smhd]?")
_SUFFIXES = re.compile(r"(\.(parquet|parq|pq|csv|tsv|txt|gz|bz2|zst|snappy))+$", re.IGNORECASE)


class Unanswered(BuildError):
    """There is a question, and no terminal to ask on."""
    code = 2


def _ttl(text: str) -> str:
    if not _TTL.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration; write 45s, 30m, 12h or 7d")
    return text


def _parser() -> Parser:
    parser = Parser(prog="pillion init", description="Writes a project file and a configuration for Parquet or CSV "
                    "files: one feature view for each PATH, its types inferred from all of the data.",
                    epilog="With several paths, --view, --entity and --timestamp may be given once for all, or once "
                           "for each, in the order of the paths.")
    parser.add_argument("paths", metavar="PATH", nargs="+", help="a file, a folder of files, or a glob in quotes")
    parser.add_argument("--entity", metavar="COLUMN[,COLUMN]", action="append", default=[],
                        help="the columns of the key (default: asked on a terminal)")
    parser.add_argument("--timestamp", metavar="COLUMN", action="append", default=[],
                        help="the column of the event time (default: the only one, the one with a usual name, or "
                             "asked on a terminal)")
    parser.add_argument("--view", metavar="NAME", action="append", default=[],
                        help="the name of the feature view (default: that of the path)")
    parser.add_argument("--project", metavar="NAME", help="the name of the project (default: that of --out)")
    parser.add_argument("--ttl", metavar="DURATION", type=_ttl, help="how old a value may get, as in 7d")
    parser.add_argument("--store", metavar="URL", default=os.environ.get("PILLION_STORE") or None,
                        help=f"where releases will live: {_core.STORE_FORMS} (default: $PILLION_STORE, else the "
                             "folder store in --out)")
    parser.add_argument("--out", metavar="DIR", default=".", help="where the files go (default: the working folder)")
    parser.add_argument("--force", action="store_true", help="overwrite files that are there")
    parser.add_argument("--json", action="store_true", help="print JSON for programs; asks nothing")
    parser.add_argument("--version", action="version", version=f"pillion-init {_core.VERSION}")
    return parser


def _nth(values: Sequence[str], index: int) -> Optional[str]:
    """The value of an option that is given once for all paths or once for each."""
    return None if not values else values[0] if len(values) == 1 else values[index]


# ---- Questions

class Asker:
    """Asks on the terminal, if there is one."""

    def __init__(self, err: Messages, may_ask: bool) -> None:
        self._err = err
        self.can_ask = may_ask and sys.stdin is not None and sys.stdin.isatty() and err.isatty()

    def ask(self, question: str, proposal: str) -> str:
        self._err.write(f"{printable(question)} [{printable(proposal)}]: ")
        line = sys.stdin.readline()
        if not line:
            raise Unanswered("the input ended before the answer; nothing was written")
        return line.strip() or proposal


def _timestamp(survey: Survey, wanted: Optional[str], asker: Asker, err: Messages) -> str:
    """"": there is none, so the view is static."""
    if wanted is not None:
        return choose.checked_time(survey, wanted)
    there = choose.time_columns(survey)
    if not there:
        return ""
    if len(there) == 1 or choose.is_conventional_time(there[0]):
        return there[0]
    if not asker.can_ask:
        raise Unanswered(f"{printable(survey.path)}: --timestamp is missing: which column is the time of an event? "
                         f"These have times: {names(there)}")
    while True:
        try:
            return choose.checked_time(survey, asker.ask(
                f"{survey.path}: the column of the event time; there are {names(there)}", there[0]))
        except BadInput as error:
            err.say(str(error))


def _entities(survey: Survey, wanted: Optional[str], timestamp: str, view: str, asker: Asker,
              err: Messages) -> list[str]:
    if wanted is not None:
        return choose.checked_key(survey, wanted.split(","), timestamp)
    proposal = choose.propose_key(survey, timestamp, view)
    if not proposal:
        raise BadInput(f"{printable(survey.path)}: no column can be a key; there are: {names(list(survey.columns))}")
    there = names(choose.key_columns(survey, timestamp))
    if not asker.can_ask:
        raise Unanswered(f"{printable(survey.path)}: --entity is missing: which column is the key, or which are? These "
                         f"can be one: {there}; perhaps --entity {printable(proposal)}")
    while True:
        try:
            answer = asker.ask(f"{survey.path}: the column of the key, several with commas; there are {there}",
                               proposal)
            return choose.checked_key(survey, answer.split(","), timestamp)
        except BadInput as error:
            err.say(str(error))


# ---- The plan

def _view_name(path: str, taken: set[str]) -> str:
    parts = [part for part in Path(path).parts if not any(letter in part for letter in "*?[")]
    stem = _SUFFIXES.sub("", os.path.basename(os.path.abspath(os.path.join(*parts) if parts else ".")))
    return choose.legal_name(stem or "view", taken)


def _plan(arguments: argparse.Namespace, err: Messages) -> write.Plan:
    folder = Path(os.path.abspath(arguments.out))
    if not arguments.force:
        write.refuse_existing(folder)
    asker = Asker(err, not arguments.json)
    temporary = os.environ.get("TMPDIR", "/var/tmp")
    project = choose.legal_name(arguments.project if arguments.project is not None else folder.name or "project", ())
    store = arguments.store or f"dir:{folder / 'store'}"
    if store.startswith("dir:"):
        store = "dir:" + os.path.abspath(store[4:])
    plan = write.Plan(project, folder, store, [])
    taken: set[str] = set()
    for index, path in enumerate(arguments.paths):
        survey = survey_path(path, Path.cwd(), temporary)
        files = f"{len(survey.files):,} file{'s' if len(survey.files) != 1 else ''}"
        err.say(f"{path}: {survey.kind}, {files}, {survey.rows:,} row{'s' if survey.rows != 1 else ''}, "
                f"{len(survey.columns):,} column{'s' if len(survey.columns) != 1 else ''}")
        wanted = _nth(arguments.view, index)
        name = _view_name(path, taken) if wanted is None else choose.legal_name(wanted, taken)
        taken.add(name)
        timestamp = _timestamp(survey, _nth(arguments.timestamp, index), asker, err)
        if not timestamp:
            err.say(f"{choose.no_time(survey)}; so the view is static: of one key there is one row")
        entities = _entities(survey, _nth(arguments.entity, index), timestamp, name, asker, err)
        view = write.ViewPlan(survey, name, entities, timestamp, choose.created_column(survey, timestamp),
                              arguments.ttl if arguments.ttl and timestamp else "")
        view.created = None if view.created in entities else view.created
        view.name_columns()
        plan.views.append(view)
    if arguments.ttl and not any(view.timestamp for view in plan.views):
        raise BadInput("there is no column of times, so rows have no age: leave out --ttl")
    return plan


def _print(text: str) -> None:
    try:
        print(text, flush=True)
    except OSError as error:
        # Python would try again at its end, and say so in its own way.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise IoFailure(f"standard output: {error.strerror}; both files are written") from error


def _tell(plan: write.Plan, err: Messages) -> None:
    for view in plan.views:
        keys = ", ".join(f"{name} ({view.survey.columns[column].type})" for column, name in view.keys.items())
        time = f"time {view.timestamp}" if view.timestamp else "static"
        err.say(f"{view.name}: key {keys}, {time}, {len(view.features):,} features")
        for column, why in view.left_out.items():
            err.say(f"{view.name}: left out: {column} {why}")
        if view.unkeyed:
            err.say(f"{view.name}: {view.unkeyed:,} or fewer rows have no key, no time or one in the future; the build "
                    "below skips them")
    _print("\n".join([f"{write.PROJECT_FILE} and {write.CONFIG_FILE} are in {printable(str(plan.folder))}. Next:", "",
                      *write.commands(plan)]))


def _run(arguments: argparse.Namespace, err: Messages) -> None:
    plan = _plan(arguments, err)
    write.write_files(plan, arguments.force)
    if arguments.json:
        _print(json.dumps(write.report(plan)))
    else:
        _tell(plan, err)


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = _parser()
    arguments = parser.parse_args(argv)
    for option in ("entity", "timestamp", "view"):
        if len(getattr(arguments, option)) not in (0, 1, len(arguments.paths)):
            parser.error(f"--{option} is there {len(getattr(arguments, option))} times for {len(arguments.paths)} "
                         "paths; give it once for all, or once for each")
    if len(arguments.view) == 1 and len(arguments.paths) > 1:
        parser.error("--view: each path is a view of its own; give one name for each")
    err = Messages(sys.stderr, arguments.json, "pillion init")
    try:
        _run(arguments, err)
    except BuildError as error:
        return err.fail(str(error), error.code)
    except KeyboardInterrupt:
        return err.fail("interrupted; nothing was written", EXIT_INTERRUPTED)
    except Exception as error:  # pylint: disable=broad-except; the last resort
        if os.environ.get("PILLION_TRACEBACK"):
            err.say(traceback.format_exc().rstrip())
        return err.fail(f"a fault of this program, {type(error).__name__}: "
                        f"{' '.join(str(error).split())[:500] or 'without a text'}; please report it with what "
                        "PILLION_TRACEBACK=1 prints", IoFailure.code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
