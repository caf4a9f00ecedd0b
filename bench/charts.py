# SPDX-License-Identifier: Apache-2.0
"""Charts as SVG text: bars, ranges of quantiles, lines. No library, no pixels.

The background is transparent, and the colours follow the reader's light or dark scheme. Marks show their values, so
that little axis is needed. Pillion has the only strong colour, peers are grey, limits are outlined.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import Callable, Sequence

WIDTH = 760
LABEL_X, PLOT_X, PLOT_END = 196, 208, 664  # where labels end, marks begin, marks end; values are written to the right
HEAD, ROW, FOOT = 72, 34, 34

STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #424a53 }
.title { font-size: 16px; font-weight: 600; fill: #1f2328 }
.note, .tick { fill: #656d76; font-size: 12px }
.ours { fill: #0a7f8c } .peer { fill: #9aa4af } .limit { fill: #9aa4af33; stroke: #818b96 }
rect.limit, .line.limit { stroke-dasharray: 4 3 }
text.ours, text.value-ours { fill: #07656f; font-weight: 600 } text.peer, text.limit { fill: #424a53; stroke: none }
.grid { stroke: #818b96; stroke-opacity: .28 } .goal { stroke: #b35900; stroke-dasharray: 5 4; stroke-width: 1.5 }
text.goal { fill: #964a00; stroke: none; font-size: 12px }
.line { stroke-width: 2.25 } .line.ours, .line.peer, .line.limit { fill: none }
.line.ours { stroke: #0a7f8c } .line.peer { stroke: #9aa4af } .line.limit { stroke: #818b96 }
@media (prefers-color-scheme: dark) {
text { fill: #c3ccd6 } .title { fill: #f0f6fc } .note, .tick { fill: #9aa4af }
.ours { fill: #35b8c6 } .peer { fill: #6b7683 } .limit { fill: #6b768333; stroke: #8b95a1 }
text.ours, text.value-ours { fill: #56cbd8 } text.peer, text.limit { fill: #c3ccd6 }
.goal { stroke: #e8a15a } text.goal { fill: #e8a15a }
.line.ours { stroke: #35b8c6 } .line.peer { stroke: #6b7683 } .line.limit { stroke: #8b95a1 }
}
"""

Format = Callable[[float], str]


@dataclass(frozen=True)
class Mark:
    """One row of a chart. kind: "ours", "peer" or "limit"."""

    label: str
    kind: str
    values: tuple[float, ...]  # of bars: one value; of ranges: p50 first, then higher quantiles


@dataclass(frozen=True)
class Goal:
    value: float
    text: str


class Scale:
    """Maps values to x. A logarithmic scale begins at a power of ten, a linear one at 0."""

    def __init__(self, values: Sequence[float], is_log: bool):
        self.is_log = is_log
        if is_log:
            self.low = 10 ** math.floor(math.log10(min(values)) - 0.001)
            self.high = max(values) * 1.05
        else:
            self.low, self.high = 0.0, max(values) * 1.02

    def x(self, value: float) -> float:
        if self.is_log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = value / self.high
        return PLOT_X + share * (PLOT_END - PLOT_X)

    def ticks(self) -> list[float]:
        if self.is_log:
            first = round(math.log10(self.low))
            return [10.0**n for n in range(first, math.floor(math.log10(self.high)) + 1)]
        step = 10 ** math.floor(math.log10(self.high))
        step *= 1 if self.high / step >= 4 else 0.5 if self.high / step >= 1.5 else 0.25
        return [step * n for n in range(int(self.high / step) + 1)]


def _text(x: float, y: float, text: str, style: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}" text-anchor="{anchor}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>'


def _document(title: str, note: str, height: float, parts: Sequence[str]) -> str:
    head = [_text(4, 20, title, "title"), _text(4, 41, note, "note")]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
        f'height="{height:.0f}" role="img">\n<title>{escape(title)}</title>\n<style>{STYLE}</style>\n'
        + "\n".join([*head, *parts])
        + "\n</svg>\n"
    )


def _axis(scale: Scale, bottom: float, form: Format) -> list[str]:
    parts = []
    for tick in scale.ticks():
        x = scale.x(tick)
        parts += [_line(x, HEAD - 6, x, bottom, "grid"), _text(x, bottom + 17, form(tick), "tick", "middle")]
    return parts


def _goal(goal: Goal | None, scale: Scale, bottom: float) -> list[str]:
    if goal is None or not scale.low <= goal.value <= scale.high:
        return []
    x = scale.x(goal.value)
    side = "end" if x > (PLOT_X + PLOT_END) / 2 else "start"
    return [
        _line(x, HEAD - 6, x, bottom, "goal"),
        _text(x + (-6 if side == "end" else 6), HEAD - 10, goal.text, "goal", side),
    ]


def _value_style(mark: Mark) -> str:
    return "value-ours" if mark.kind == "ours" else ""


def bars(
    title: str, note: str, marks: Sequence[Mark], form: Format, is_log: bool = False, goal: Goal | None = None
) -> str:
    """A bar chart, in the given order."""
    extra = [goal.value] if goal else []
    scale = Scale([mark.values[0] for mark in marks] + extra, is_log)
    bottom = HEAD + ROW * len(marks)
    parts = _axis(scale, bottom, form)
    for number, mark in enumerate(marks):
        y, x = HEAD + ROW * (number + 0.5), scale.x(mark.values[0])
        text_x = x + 8
        if goal is not None and x - 8 < scale.x(goal.value) < x + 60:
            text_x = max(text_x, scale.x(goal.value) + 8)
        parts += [
            _text(LABEL_X, y + 4.5, mark.label, mark.kind, "end"),
            f'<rect x="{PLOT_X}" y="{y - 10:.1f}" width="{max(1.0, x - PLOT_X):.1f}" height="20" rx="2" '
            f'class="{mark.kind}"/>',
            _text(text_x, y + 4.5, form(mark.values[0]), _value_style(mark)),
        ]
    return _document(title, note, bottom + FOOT, [*parts, *_goal(goal, scale, bottom)])


def ranges(title: str, note: str, marks: Sequence[Mark], form: Format, goal: Goal | None = None) -> str:
    """Ranges on a logarithmic scale: a dot at the first quantile, with its value, and ticks at the others, joined by a
    line. The last one also has its value."""
    extra = [goal.value] if goal else []
    scale = Scale([value for mark in marks for value in mark.values] + extra, True)
    bottom = HEAD + ROW * len(marks)
    parts = _axis(scale, bottom, form) + _goal(goal, scale, bottom)
    for number, mark in enumerate(marks):
        y = HEAD + ROW * (number + 0.5) + 5
        xs = [scale.x(value) for value in mark.values]
        style = f"line {mark.kind}"
        shift, anchor = 0.0, "middle"
        if goal is not None and abs(scale.x(goal.value) - xs[0]) < 34:  # beside the line of the goal, not across it
            shift, anchor = (4.0, "end") if scale.x(goal.value) > xs[0] else (-4.0, "start")
        parts += [_text(LABEL_X, y + 4, mark.label, mark.kind, "end"), _line(xs[0], y, xs[-1], y, style)]
        parts += [_line(x, y - 5, x, y + 5, style) for x in xs[1:]]
        parts += [
            f'<circle cx="{xs[0]:.1f}" cy="{y:.1f}" r="5.5" class="{mark.kind}"/>',
            _text(xs[0] + shift, y - 9, form(mark.values[0]), _value_style(mark), anchor),
            _text(xs[-1] + 7, y + 4, form(mark.values[-1]), "tick"),
        ]
    return _document(title, note, bottom + FOOT, parts)


def _spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Positions near the wanted ones, in their order, at least `gap` apart."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = [0.0] * len(wanted)
    below = -math.inf
    for i in order:
        below = placed[i] = max(wanted[i], below + gap)
    return placed


def lines(title: str, note: str, xs: Sequence[int], x_title: str, marks: Sequence[Mark], form: Format) -> str:
    """One line per mark over xs, which are spaced evenly. The y axis is logarithmic; names and last values are at the
    right."""
    top, bottom, left, right = HEAD, HEAD + 300, 52, 480
    values = [value for mark in marks for value in mark.values]
    low, high = 10 ** math.floor(math.log10(min(values))), max(values) * 1.2

    def at_y(value: float) -> float:
        return bottom - math.log(value / low) / math.log(high / low) * (bottom - top)

    def at_x(number: int) -> float:
        return left + (right - left) * number / max(1, len(xs) - 1)

    parts = []
    for power in range(round(math.log10(low)), math.floor(math.log10(high)) + 1):
        y = at_y(10.0**power)
        parts += [_line(left, y, right, y, "grid"), _text(left - 8, y + 4, form(10.0**power), "tick", "end")]
    for number, x in enumerate(xs):
        parts.append(_text(at_x(number), bottom + 20, str(x), "tick", "middle"))
    parts.append(_text((left + right) / 2, bottom + 38, x_title, "tick", "middle"))
    labels = _spread([at_y(mark.values[-1]) for mark in marks], 17)
    for mark, label_y in sorted(zip(marks, labels), key=lambda pair: pair[0].kind == "ours"):  # ours on top
        points = [(at_x(number), at_y(value)) for number, value in enumerate(mark.values)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" class="line {mark.kind}"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" class="{mark.kind}"/>' for x, y in points]
        parts.append(_line(right + 6, points[-1][1], right + 18, label_y, "grid"))
        parts.append(_text(right + 22, label_y + 4.5, f"{mark.label}  {form(mark.values[-1])}", mark.kind))
    return _document(title, note, bottom + 50, parts)
