# SPDX-License-Identifier: Apache-2.0
"""Writes docs/benchmarks.md and its charts from the results of run_fast.py. The text between the two marks of the page
is written by hand and kept."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Callable

import charts
from charts import Mark
from fast_cases import READERS, Result
from fast_report import (
    COLUMNS,
    GOAL_COLUMNS,
    Results,
    count_text,
    goal_rows,
    markdown_table,
    noise_text,
    rows_of,
    swap_ratio_text,
    time_text,
)

PAGE, IMAGES = "docs/benchmarks.md", "docs/images"
NOTES_BEGIN, NOTES_END = "<!-- by hand: begin -->", "<!-- by hand: end -->"

Chart = Callable[[Results], "str | None"]


def _marks(result: Result | None, value: Callable[[str], "tuple[float, ...] | None"]) -> list[Mark]:
    """Marks in rising order of the value, the best first."""
    found = [(name, value(name)) for name in result.samples] if result else []
    marks = [Mark(*READERS[name], values) for name, values in found if values is not None]
    return sorted(marks, key=lambda mark: mark.values[0])


def _times(result: Result | None) -> list[Mark]:
    def quantiles(name: str) -> tuple[float, ...] | None:
        found = [result.median(name, what) for what in ("p50_us", "p99_us", "p999_us")] if result else []
        return tuple(x for x in found if x is not None) or None

    return _marks(result, quantiles)


def _rates(result: Result | None) -> list[Mark]:
    def per_core(name: str) -> tuple[float, ...] | None:
        found = result.per_core(name) if result else None
        return (found,) if found else None

    return _marks(result, per_core)[::-1]


QUANTILES = "Time of a call: dot p50, ticks p99 and p99.9. Logarithmic, less is better."
PER_CORE = "Vectors per second and core, by CPU time of client and server. Logarithmic, more is better."


def chart_one(results: Results) -> str | None:
    marks = _times(results.cases.get("1x50"))
    goal = charts.Goal(0.35, "goal 350 ns")
    return charts.ranges("One vector of 50 float32, from C", QUANTILES, marks, time_text, goal) if marks else None


def chart_batch(results: Results) -> str | None:
    marks = _rates(results.cases.get("100x50"))
    goal = charts.Goal(25e6, "goal 25 M")
    return (
        charts.bars("100 vectors of 50 float32 a call, from C", PER_CORE, marks, count_text, True, goal)
        if marks
        else None
    )


def chart_python(results: Results) -> str | None:
    marks = _times(results.cases.get("python 100x50"))
    feast = results.cases.get("feast 100x50")
    marks = sorted([*marks, *_times(feast)], key=lambda mark: mark.values[0])
    title, goal = "100 vectors of 50 float32 into a numpy array, from Python", charts.Goal(10, "goal 10 µs")
    return charts.ranges(title, QUANTILES, marks, time_text, goal) if marks else None


def chart_processes(results: Results) -> str | None:
    found = {n: results.cases.get("100x50" + (f" p{n}" if n > 1 else "")) for n in (1, 2, 4)}
    first = found[1]
    if first is None or None in found.values():
        return None
    marks = []
    for name in first.samples:
        rates = [result.median(name, "rate") for result in found.values() if result]
        if None not in rates:
            marks.append(Mark(*READERS[name], tuple(rate for rate in rates if rate)))
    note = "Vectors per second of all processes together, servers on one core. Logarithmic, more is better."
    return charts.lines("100 vectors a call, more readers", note, (1, 2, 4), "reader processes", marks, count_text)


def chart_memory(results: Results) -> str | None:
    marks = [Mark(*READERS[name], (found["total"] / found["payload"],)) for name, found in results.memory.items()]
    marks.sort(key=lambda mark: mark.values[0])
    note = "Resident bytes of server and 8 readers for each byte of payload (values and keys). Less is better."
    goal = charts.Goal(1.15, "goal 1.15×")
    return (
        charts.bars("Memory", note, marks, lambda value: f"{value:.3g}×" if value else "0", False, goal)
        if marks
        else None
    )


def chart_swap(results: Results) -> str | None:
    marks = []
    for kind, found in results.swaps.items():
        for part, style in (("outside", "peer"), ("inside", "limit" if kind == "array" else "ours")):
            values = tuple(found[part][what] for what in ("p50_us", "p99_us", "p999_us"))
            marks.append(Mark(f"{kind}, {part} of swaps", style, values))
    note = "Time of a request: dot p50, ticks p99 and p99.9. Logarithmic, less is better."
    return charts.ranges("While releases are swapped", note, marks, time_text) if marks else None


CHARTS: dict[str, tuple[str, Chart]] = {
    "one": ("Time of a call for one vector of 50 float32, by reader", chart_one),
    "batch": ("Vectors per second and core in calls of 100, by reader", chart_batch),
    "processes": ("Vectors per second with 1, 2 and 4 reader processes", chart_processes),
    "python": ("Time of a call for 100 vectors from Python, by client", chart_python),
    "memory": ("Resident bytes per byte of payload, by reader", chart_memory),
    "swap": ("Time of a request inside and outside of swaps", chart_swap),
}


# ---- The page

HEAD = """# Benchmarks

Written by `bash bench/run.sh fast`; run it again and this page is replaced. Readers of a case are measured in turns
within one run; cases may be of several runs, for `--resume` goes on with what is there. How it measures and how to read
it: [bench/README.md](../bench/README.md).
"""

NOTES_FIRST = """## What bounds what is not reached

Nothing has been written here yet.
"""

CAVEATS = """## Caveats

- Ratios are of calls in turns within one run on one machine. Absolute times are this machine's; on a virtual one, a
  sleeping core takes tens of microseconds to wake, and that is most of the p50 of all servers here, null included. CPU
  a call leaves it out.
- Closed loops, but for the swaps: the time of a call, not of a queue in front of it.
- Times include two readings of the clock, some 40 ns. Quantiles from C come from histograms of 128 buckets an octave
  (at most 1 % off), those from Python are exact. Of slow calls there are few: below 1,000, p99.9 is the longest.
- From Python, peers get keys in the form that they want (bytes, dictionaries), made before the clock starts.
- The array is no peer: rows are found by multiplication, so that there is no index, no key is compared, and nothing can
  be missing. It bounds what any table in memory can reach.
- LMDB, RocksDB, Redis and memcached can be written to while they are read; releases cannot.
"""


def _image(name: str, found: dict[str, str]) -> str:
    if name not in found:
        return ""
    return f"\n![{CHARTS[name][0]}](images/benchmarks-{name}.svg)\n"


def _case(result: Result) -> str:
    noise = noise_text(result.noise)
    parts = [f"\n**{result.case.title.replace(' x ', ' × ')}**" + (f" ({noise})" if noise else "") + "\n"]
    parts.append(markdown_table(rows_of(result), COLUMNS) + "\n")
    parts += [f"\n{READERS[name][0]} failed in this run.\n" for name in result.failures]
    return "\n".join(parts)


def _cases(results: Results, pattern: str) -> str:
    return "".join(_case(result) for key, result in results.cases.items() if re.fullmatch(pattern, key))


def _lines(results: Results) -> str:
    """Cache lines per vector: as counted, or computed from the layout of a release."""
    result = results.cases.get("100x50")
    misses = {name: result.median(name, "misses") for name in result.samples} if result else {}
    counted = [f"{READERS[name][0]} {found:.1f}" for name, found in misses.items() if found is not None]
    if counted:
        return "\nCache misses of the reader for each vector, in calls of 100: " + ", ".join(counted) + ".\n"
    return """
This machine does not count cache misses. By the layout of a release a vector of 50 float32 is one line of the index and
four of its row (224 bytes on multiples of 32). The array has no index; its rows of 200 bytes are four or five lines.
"""


def _memory(results: Results) -> str:
    def mib(size: int) -> str:
        return f"{size / 2**20:,.0f}"

    rows = [
        [
            READERS[name][0],
            f"{found['total'] / found['payload']:.3f}",
            mib(found["total"]),
            *(mib(found[part]) for part in ("anonymous", "shared", "files")),
        ]
        for name, found in sorted(results.memory.items(), key=lambda item: item[1]["total"])
    ]
    if not rows:
        return ""
    payload = next(iter(results.memory.values()))["payload"]
    head = ("", "bytes per byte", "MiB", "anonymous", "shared memory", "files")
    text = f"""
PSS of all processes of the server and of 8 readers, each shared page counted once, and of data files what the page
cache holds. Payload: {mib(payload)} MiB of values and keys.

"""
    return text + markdown_table(rows, head) + "\n"


def _server(results: Results) -> str:
    rows = []
    for found in results.server:
        cells = [f"{found['case'].replace(' x ', ' × ')}, {found['engine']}, {found['connections']} connections"]
        for name in ("pillion", "redis", "null"):
            samples = sorted(sample["cpu_us"] for sample in found["samples"].get(name, []))
            cells.append(time_text(samples[len(samples) // 2]) if samples else "-")
        for name in ("redis", "null"):
            ratio = found["cpu_ratio"].get(name)
            cells.append(f"{ratio['median']:.3f} [{ratio['low']:.3f}–{ratio['high']:.3f}]" if ratio else "-")
        rows.append(cells)
    return (
        markdown_table(rows, ("server CPU a request", "Pillion", "Redis", "null", "/ Redis", "/ null")) if rows else ""
    )


def _swaps(results: Results) -> str:
    """The array shows the effect of swaps, and of the machine, on a reader that has nothing to do with them."""
    rows: list[list[str]] = []
    for kind, found in results.swaps.items():
        for part in ("outside", "inside"):
            times = [time_text(found[part][what]) for what in ("p50_us", "p99_us", "p999_us", "max_us")]
            ratio = swap_ratio_text(found["ratios"]) if part == "inside" else ""
            rows.append([f"{kind}, {part}", f"{found[part]['count']:,}", *times, ratio])
    columns = ("", "requests", "p50", "p99", "p99.9", "longest", "p99.9 inside / outside")
    return markdown_table(rows, columns) if rows else ""


def _machine(results: Results) -> str:
    rows = [[name, value] for name, value in results.machine.items()]
    return markdown_table(rows, ("", ""), is_text=True)


def _notes(page: Path) -> str:
    text = page.read_text() if page.exists() else ""
    found = re.search(f"{NOTES_BEGIN}\n(.*?){NOTES_END}", text, re.DOTALL)
    return found.group(1) if found else NOTES_FIRST


def page_text(results: Results, images: dict[str, str], notes: str) -> str:
    options = results.options
    size = f"{options['rows']:,} rows of 50 float32 and an int64 key"
    warning = "" if not options["quick"] else "\nThis was a quick run: small tables, few rounds. Do not quote it.\n"
    parts = [
        HEAD + warning,
        f"## Goals\n\n{markdown_table(goal_rows(results), GOAL_COLUMNS, is_text=True)}\n",
        f"{NOTES_BEGIN}\n{notes}{NOTES_END}\n",
        f"## One vector\n\n{size}: larger than the caches.\n{_image('one', images)}{_cases(results, '1x50( zipf)?')}",
        f"## Batches\n{_image('batch', images)}{_lines(results)}{_cases(results, '(100|1000)x50( zipf)?')}",
        f"## Some of many, and embeddings\n{_cases(results, '100x(10 of 150|128 .*)')}",
        f"## More readers\n{_image('processes', images)}{_cases(results, '.* p[0-9]+')}",
        f"## From Python\n{_image('python', images)}{_cases(results, '(python|feast) .*')}",
        f"## Memory\n{_image('memory', images)}{_memory(results)}",
        f"## Server CPU over a Unix socket\n\n{_server(results)}\n",
        f"## While releases are swapped\n{_image('swap', images)}\n{_swaps(results)}\n",
        f"## Machine\n\n{_machine(results)}\n",
        CAVEATS,
    ]
    return "\n".join(parts)


def write(results: Results, root: Path) -> None:
    found = {name: chart(results) for name, (_, chart) in CHARTS.items()}
    images = {name: text for name, text in found.items() if text is not None}
    (root / IMAGES).mkdir(parents=True, exist_ok=True)
    for name, text in images.items():
        (root / IMAGES / f"benchmarks-{name}.svg").write_text(text)
    page = root / PAGE
    page.write_text(page_text(results, images, _notes(page)))
