# SPDX-License-Identifier: Apache-2.0
"""Which column is the time of an event, which make the key, and what everything is called. Proposals come from names
first: values cannot tell an order's number from its customer's."""
from __future__ import annotations

import re
from typing import Any, Container, Iterable, Optional

import pyarrow as pa
import pyarrow.compute as pc

from pillion.build.check import Target, convert
from pillion.build.errors import BadInput
from pillion.build.scalar import Origin
from pillion.build.terminal import names, printable
from pillion.init.guess import NULLS, Guess, now_us
from pillion.init.survey import Survey

NAME_BYTES_MAX = 128
ENTITIES_MAX = 8
KEY_TYPES = ("int64", "int32", "string", "bytes", "unix_timestamp")
# Names of the time of an event, the most telling first.
_TIMES = ("event_timestamp", "event_time", "timestamp", "event_ts", "ts", "datetime", "time", "event_date", "date",
          "as_of", "updated_at", "last_updated", "modified_at", "created_at", "dt", "day")
_CREATED = ("created", "created_timestamp", "created_ts", "ingested_at")
_OWN_KEYS = ("id", "event_id", "row_id", "record_id", "uuid", "guid", "index")  # of the row, not of what it is about


def legal_name(text: str, taken: Container[str]) -> str:
    """A name that a project file takes: every character but ASCII letters, digits, _ and - becomes _, a name that does
    not begin with a letter or _ gets one before it, what is then taken gets _2, _3, …"""
    name = re.sub(r"[^A-Za-z0-9_-]", "_", text)
    name = name if re.match(r"[A-Za-z_]", name) else f"_{name}"
    name = name[:NAME_BYTES_MAX]
    number, made = 2, name
    while made in taken:
        suffix = f"_{number}"
        made = name[:NAME_BYTES_MAX - len(suffix)] + suffix
        number += 1
    return made


# ---- The time

def time_columns(survey: Survey) -> list[str]:
    """Columns that can be the time of an event, the likeliest first."""
    found = [guess for guess in survey.columns.values() if guess.type == "unix_timestamp" and guess.has_values]

    def rank(guess: Guess) -> tuple[bool, bool, int]:
        name = guess.name.lower()
        place = _TIMES.index(name) if name in _TIMES else len(_TIMES)
        return guess.future > 0, guess.nulls > 0, place

    return [guess.name for guess in sorted(found, key=rank)]


def is_conventional_time(name: str) -> bool:
    return name.lower() in _TIMES


def created_column(survey: Survey, timestamp: str) -> Optional[str]:
    """The column that decides between rows of one time, by the names that Feast gives it."""
    return next((name for name, guess in survey.columns.items()
                 if name.lower() in _CREATED and name != timestamp and guess.type == "unix_timestamp"), None)


def no_time(survey: Survey) -> str:
    """What is said of a path that has no time."""
    hints = []
    for name, guess in survey.columns.items():
        if guess.time_format:
            form = "ISO 8601, but as text" if survey.kind == "parquet" and "T" in guess.time_format and \
                guess.time_format.startswith("%Y-%m") else guess.time_format
            hints.append(f"{printable(name)} looks like a time ({form}): write it as a timestamp")
        elif guess.type in ("int64", "int32", "float64") and (name.lower() in _TIMES or name.lower().endswith("_ts")):
            hints.append(f"{printable(name)} has numbers, which have no unit: write it as a timestamp")
    more = f" ({'; '.join(hints)}; in CSV as 2026-01-31T12:00:00Z)" if hints else ""
    return f"{printable(survey.path)}: there is no column of times{more}"


# ---- The key

def key_columns(survey: Survey, timestamp: str) -> list[str]:
    """Columns that can be a key, but for the times."""
    return [name for name, guess in survey.columns.items()
            if guess.type in KEY_TYPES and guess.type != "unix_timestamp" and guess.has_values and name != timestamp]


def _is_like_key(name: str) -> bool:
    return re.search(r"(^|[_ -]|[a-z])(id|ID|Id|key|Key|uuid|guid|code|number|no)$", name) is not None


def propose_key(survey: Survey, timestamp: str, view: str) -> str:
    """By names: the key of what the view is called after, what ends in id; then by values: without nulls, most
    distinct. "": there is no column that could be one."""
    columns = key_columns(survey, timestamp)
    stem = re.sub(r"(ies|s)?(_?(stats|features|data|events?|daily|hourly))*$", "", view.lower())

    def rank(name: str) -> tuple[bool, bool, bool, bool, int, int]:
        guess, lower = survey.columns[name], name.lower()
        is_like = _is_like_key(name)
        of_view = is_like and bool(stem) and (lower.startswith(stem) or stem.startswith(re.sub(r"_?id$", "", lower)
                                                                                        or lower))
        distinct = 0
        if survey.head is not None and not is_like:
            column = survey.head[name]
            distinct = pc.count_distinct(column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
                                         ).as_py()
        return guess.nulls > 0, not of_view, not is_like, lower in _OWN_KEYS, -distinct, columns.index(name)
    return min(columns, key=rank, default="")


def checked_key(survey: Survey, wanted: Iterable[str], timestamp: str) -> list[str]:
    """Raises BadInput unless these columns can be the key."""
    columns = [name.strip() for name in wanted]
    where = printable(survey.path)
    for name in columns:
        if name not in survey.columns:
            why = f"it {survey.left_out[name]}" if name in survey.left_out else \
                f"there are: {names(list(survey.columns))}"
            raise BadInput(f"{where}: --entity {printable(name)}: there is no such column; {why}")
        guess = survey.columns[name]
        if guess.type not in KEY_TYPES:
            raise BadInput(f"{where}: --entity {printable(name)}: is {guess.type or 'of no type'}, which cannot be a "
                           f"key; {', '.join(KEY_TYPES)} can")
        if name == timestamp:
            raise BadInput(f"{where}: --entity {printable(name)}: is the event timestamp; name another")
    if len(set(columns)) < len(columns) or not 1 <= len(columns) <= ENTITIES_MAX:
        raise BadInput(f"{where}: --entity: name 1 to {ENTITIES_MAX} columns, each once")
    return columns


def checked_time(survey: Survey, wanted: str) -> str:
    """Raises BadInput unless this column can be the event timestamp."""
    guess = survey.columns.get(wanted)
    where = f"{printable(survey.path)}: --timestamp {printable(wanted)}"
    if guess is None:
        raise BadInput(f"{where}: there is no such column; there are: {names(list(survey.columns))}")
    if guess.type != "unix_timestamp":
        like = f", {guess.time_format}" if guess.time_format else ""
        raise BadInput(f"{where}: is {guess.type or 'of no type'}{like}; write it as a timestamp (CSV: "
                       "2026-01-31T12:00:00Z; numbers have no unit)")
    return wanted


def _text_of(part: Any, guess: Guess) -> Optional[str]:
    """A part of a key as `pillion get` takes it; None: it is null, or nobody can type it."""
    if part is None or guess.type in ("bytes", "unix_timestamp"):
        return None
    if guess.type == "string":
        return part if part.isprintable() and part else None
    text = str(part).strip(" \t")
    return None if text.lower() in NULLS else str(int(text))


def sample_key(survey: Survey, columns: list[str], timestamp: str) -> str:
    """A key of the data as `pillion get` takes it; "" when the first rows have none that a build takes."""
    if survey.head is None:
        return ""
    micro: list[Optional[int]] = [0] * survey.head.num_rows
    if timestamp:
        times = convert(survey.head[timestamp].combine_chunks(), Target.parse("unix_timestamp"),
                        survey.head.num_rows + 1, Origin(is_text=survey.kind == "csv")).array
        micro = pc.cast(times, pa.int64()).to_pylist()
    for row in range(survey.head.num_rows):
        texts = [_text_of(survey.head[name][row].as_py(), survey.columns[name]) for name in columns]
        moment = micro[row]
        if None in texts or moment is None or moment > now_us():
            continue
        if len(texts) > 1:
            texts = [text.replace("\\", "\\\\").replace("|", "\\|") for text in texts if text is not None]
        return "|".join(text for text in texts if text is not None)
    return ""
