# SPDX-License-Identifier: Apache-2.0
"""Results of run_fast.py as tables, and the goals that they are compared with. The same for terminal and docs."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Sequence

from fast_cases import READERS, Result
from serve_measure import Ratio

NOISE_MAX = 0.02


@dataclass
class Results:
    """All results of a run, as in the JSON file."""

    machine: dict[str, str]
    options: dict
    cases: dict[str, Result] = field(default_factory=dict)
    memory: dict[str, dict] = field(default_factory=dict)  # by reader
    server: list[dict] = field(default_factory=list)  # combinations of run_serve.py
    swaps: dict[str, dict] = field(default_factory=dict)  # by the way of reading
    failures: dict[str, str] = field(default_factory=dict)  # by part

    def to_json(self) -> dict:
        return {**self.__dict__, "cases": {key: result.to_json() for key, result in self.cases.items()}}

    @staticmethod
    def from_json(found: dict) -> "Results":
        cases = {key: Result.from_json(result) for key, result in found["cases"].items()}
        return Results(**{**found, "cases": cases})


# ---- Numbers as text


def time_text(us: float | None) -> str:
    if us is None:
        return "-"
    if us < 1:
        return f"{us * 1000:.0f} ns"
    return f"{us:.3g} µs" if us < 1000 else f"{us / 1000:.3g} ms"


def count_text(value: float | None) -> str:
    if value is None:
        return "-"
    for divisor, unit in ((1e6, " M"), (1e3, " k")):
        if value >= divisor:
            return f"{value / divisor:.3g}{unit}"
    return f"{value:.3g}"


def times_text(ratio: Ratio | None) -> str:
    def digits(value: float) -> str:
        return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"

    if ratio is None:
        return "-"
    return f"{digits(ratio.median)}× [{digits(ratio.low)}–{digits(ratio.high)}]"


# ---- A case

COLUMNS = ("", "p50", "p99", "p99.9", "vectors/s", "per core", "CPU a call", "p50, relative")


def rows_of(result: Result) -> list[list[str]]:
    """The rows of a table, the fastest reader first."""
    first = result.case.readers[0]
    found = sorted(result.samples, key=lambda name: result.median(name, "p50_us") or 0)
    rows = []
    for name in found:
        times = [time_text(result.median(name, what)) for what in ("p50_us", "p99_us", "p999_us")]
        rates = [count_text(result.median(name, "rate")), count_text(result.per_core(name))]
        relative = "1" if name == first else times_text(result.ratio(name, first))
        rows.append([READERS[name][0], *times, *rates, time_text(result.median(name, "cpu_us")), relative])
    return rows


def text_table(rows: Sequence[Sequence[str]], head: Sequence[str], indent: str = "  ") -> str:
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = []
    for row in [head, *rows]:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]
        lines.append(indent + "  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown_table(rows: Sequence[Sequence[str]], head: Sequence[str], is_text: bool = False) -> str:
    rule = ["---"] * len(head) if is_text else ["---", *(["--:"] * (len(head) - 1))]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, rule, *rows])


def noise_text(noise: float) -> str:
    return f"noisy: others took up to {noise:.0%} of the machine" if noise > NOISE_MAX else ""


def case_text(result: Result) -> str:
    noise = noise_text(result.noise)
    text = f"{result.case.title}{'   ' + noise if noise else ''}\n{text_table(rows_of(result), COLUMNS)}"
    for name, why in result.failures.items():
        text += f"\n  {READERS[name][0]}: failed: {why}"
    return text


# ---- Goals


@dataclass(frozen=True)
class Goal:
    figure: str
    wanted: str
    found: str
    is_reached: bool | None  # None: not measured
    noise: float = 0.0

    @property
    def verdict(self) -> str:
        word = {True: "reached", False: "not reached", None: "not measured"}[self.is_reached]
        return word + (" (noisy)" if self.is_reached is not None and self.noise > NOISE_MAX else "")


def _at_least(figure: str, result: Result | None, slow: str, fast: str, times: float) -> Goal:
    ratio = result.ratio(slow, fast) if result else None
    wanted = f"≥ {times:g}×"
    if result is None or ratio is None:
        return Goal(figure, wanted, "-", None)
    return Goal(figure, wanted, times_text(ratio), ratio.median >= times, result.noise)


def _at_most_us(figure: str, result: Result | None, reader: str, limit_us: float) -> Goal:
    found = result.median(reader, "p50_us") if result else None
    wanted = f"≤ {limit_us:g} µs"
    if result is None or found is None:
        return Goal(figure, wanted, "-", None)
    return Goal(figure, wanted, f"{found:.3g} µs", found <= limit_us, result.noise)


def _batch_goals(result: Result | None) -> list[Goal]:
    figure, limit = "mapped, 100 × 50: vectors/s/core", "mapped, 100 × 50: share of the prefetched-memcpy limit"
    found = result.per_core("mapped") if result else None
    share = result.ratio("array", "mapped", "cpu_us") if result else None
    if result is None or found is None or share is None:
        return [Goal(figure, "≥ 25 M", "-", None), Goal(limit, "≥ 0.5", "-", None)]
    spread = f"{share.median:.2f} [{share.low:.2f}–{share.high:.2f}]"
    return [
        Goal(figure, "≥ 25 M", count_text(found), found >= 25e6, result.noise),
        Goal(limit, "≥ 0.5", spread, share.median >= 0.5, result.noise),
    ]


def _server_goals(server: Sequence[dict]) -> list[Goal]:
    goals = []
    for figure, name, other, limit in (
        ("`PIL.VECTOR` 100 × 50: server CPU / Redis MGET", "VECTOR 100 x 50", "redis", 0.25),
        ("one key over a Unix socket: server CPU / null server", "GET packed 50", "null", 1.15),
    ):
        found = [combination for combination in server if combination["case"] == name]
        wanted = f"≤ {limit:g}"
        if not found:
            goals.append(Goal(figure, wanted, "-", None))
        for combination in found:
            ratio = Ratio(**combination["cpu_ratio"][other])
            title = f"{figure} ({combination['engine']}, {combination['connections']} connections)"
            goals.append(Goal(title, wanted, str(ratio), ratio.median <= limit, combination["noise"]))
    return goals


def swap_ratio_text(ratios: Sequence[float]) -> str:
    return f"{statistics.median(ratios):.3g} (median of {len(ratios)} swaps; {min(ratios):.3g}–{max(ratios):.3g})"


def _swap_goals(swaps: dict[str, dict]) -> list[Goal]:
    goals = []
    for kind in ("mapped", "socket"):
        figure, found = f"{kind}, while releases are swapped: p99.9 inside / outside", swaps.get(kind)
        if found is None:
            goals.append(Goal(figure, "≤ 2", "-", None))
            continue
        is_reached = statistics.median(found["ratios"]) <= 2
        goals.append(Goal(figure, "≤ 2", swap_ratio_text(found["ratios"]), is_reached, found["noise"]))
    return goals


def goals(results: Results) -> list[Goal]:
    one, batch, python = (results.cases.get(key) for key in ("1x50", "100x50", "python 100x50"))
    memory = results.memory.get("mapped")
    per_byte = memory["total"] / memory["payload"] if memory else None
    return [
        _at_most_us("mapped, 1 × 50 float32: p50", one, "mapped", 0.35),
        _at_least("mapped, 1 × 50: p50 against Redis over its socket", one, "redis", "mapped", 100),
        _at_least("mapped, 1 × 50: p50 against LMDB", one, "lmdb", "mapped", 2),
        *_batch_goals(batch),
        _at_most_us("Python, 100 × 50 into an array: p50", python, "pillion", 10),
        _at_least("Python, 100 × 50: p50 against redis-py MGET + frombuffer", python, "redis-py", "pillion", 20),
        *_server_goals(results.server),
        *_swap_goals(results.swaps),
        Goal(
            "resident bytes per byte of payload, daemon and 8 readers",
            "≤ 1.15",
            f"{per_byte:.3f}" if per_byte else "-",
            per_byte <= 1.15 if per_byte else None,
        ),
    ]


GOAL_COLUMNS = ("figure", "goal", "measured", "")


def goal_rows(results: Results) -> list[list[str]]:
    return [[goal.figure, goal.wanted, goal.found, goal.verdict] for goal in goals(results)]
