# SPDX-License-Identifier: Apache-2.0
"""Asks the same entities of a running pilliond with three tools (pillion get, redis-cli, curl) and compares every value
with the Parquet files, as DuckDB reads them. Prints some entities as the tools answered them, then the count. Exit 1
when any value differs.
"""
from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Sequence

import truth

Key = tuple[Any, ...]
Row = dict[str, Any]
SHOWN_FEATURES = 4


def run(argv: Sequence[str], text: str | None = None) -> str:
    done = subprocess.run(argv, input=text, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(argv[:6])}…: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def absent_keys(view: truth.View) -> list[Key]:
    """Keys that nobody has."""
    return [tuple(2_000_000_000 + i if key.type != "string" else f"nobody-{i}" for key in view.keys) for i in range(3)]


def row_of(view: truth.View, texts: Sequence[Any]) -> Row:
    return {feature.name: truth.value_of(text, feature) for feature, text in zip(view.features, texts)}


# ---- The three tools: keys to rows. Values are what the tool printed, read back by the type.

def by_redis_cli(view: truth.View, keys: Sequence[Key], options: argparse.Namespace) -> list[Row]:
    names = " ".join(feature.name for feature in view.features)
    quoted = (json.dumps(f"{view.name}:{truth.key_text(key)}", ensure_ascii=False) for key in keys)
    commands = "".join(f"HMGET {key} {names}\n" for key in quoted)
    lines = run(["redis-cli", "-s", options.socket, "--json"], commands).splitlines()
    return [row_of(view, json.loads(line)) for line in lines]


def by_curl(view: truth.View, keys: Sequence[Key], options: argparse.Namespace) -> list[Row]:
    body = {"entities": {part.name: [key[i] for key in keys] for i, part in enumerate(view.keys)},
            "features": [f"{view.name}:{feature.name}" for feature in view.features]}
    reply = json.loads(run(["curl", "-sS", "--fail-with-body", "-d", "@-", f"{options.feast}/get-online-features"],
                           json.dumps(body)))
    columns = dict(zip(reply["metadata"]["feature_names"], (column["values"] for column in reply["results"])))
    return [row_of(view, [columns[feature.name][i] for feature in view.features]) for i in range(len(keys))]


def by_pillion(view: truth.View, keys: Sequence[Key], options: argparse.Namespace) -> list[Row]:
    names = ",".join(feature.name for feature in view.features)
    printed = run(["pillion", "get", "--socket", f"unix:{options.socket}", "--json", "--features", names, view.name,
                   *(truth.key_text(key) for key in keys)])
    rows = [json.loads(line) for line in printed.splitlines()]
    return [row_of(view, [row[feature.name] for feature in view.features]) for row in rows]


TOOLS: dict[str, Callable[[truth.View, Sequence[Key], argparse.Namespace], list[Row]]] = {
    "pillion get": by_pillion, "redis-cli HMGET": by_redis_cli, "curl (Feast API)": by_curl}


def as_feast_has_it(row: Row, view: truth.View) -> Row:
    """Feast's JSON has timestamps in whole seconds."""
    made = dict(row)
    for feature in view.features:
        value = made[feature.name]
        if feature.type == "unix_timestamp" and value is not None:
            made[feature.name] = value // 1_000_000 * 1_000_000
    return made


def short(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, tuple):
        return f"[{short(value[0])} … {len(value)}]" if value else "[]"
    return str(value) if len(str(value)) <= 18 else str(value)[:17] + "…"


def show(view: truth.View, key: Key, answers: dict[str, Row]) -> None:
    # One feature of each kind says more than four numbers; the last is often an embedding.
    by_kind = {feature.type: feature for feature in reversed(view.features)}
    kinds = [feature for feature in view.features if by_kind[feature.type] is feature]
    shown = kinds[: SHOWN_FEATURES - 1] + kinds[max(SHOWN_FEATURES - 1, len(kinds) - 1) :]
    label = f"{view.name}:{truth.key_text(key)}"
    print(f"    {label:28}" + "".join(f"{feature.name:>20}" for feature in shown))
    for name, row in answers.items():
        print(f"      {name:26}" + "".join(f"{short(row[feature.name]):>20}" for feature in shown))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--release", required=True, help="project/view@release that is served")
    parser.add_argument("--files", required=True, help="glob of the Parquet files")
    parser.add_argument("--as-of")
    parser.add_argument("--socket", required=True)
    parser.add_argument("--feast", required=True, help="http://host:port")
    parser.add_argument("--sample", type=int, default=500)
    parser.add_argument("--show", type=int, default=1)
    options = parser.parse_args()
    view = truth.view_of(options.store, options.release)
    answer = truth.Truth(view, options.files, options.as_of)
    wanted = answer.sample(options.sample) + [(key, {feature.name: None for feature in view.features})
                                              for key in absent_keys(view)]
    keys = [key for key, _ in wanted]
    got = {name: tool(view, keys, options) for name, tool in TOOLS.items()}
    whole = [(key, row) for key, row in wanted if None not in row.values()]
    for key, row in (whole or wanted)[: options.show]:
        show(view, key, {"Parquet (DuckDB)": row, **{name: rows[keys.index(key)] for name, rows in got.items()}})
    wrong = []
    for name, rows in got.items():
        if len(rows) != len(wanted):
            wrong.append(f"{name}: {len(rows)} answers to {len(wanted)} keys")
        for (key, row), found in zip(wanted, rows):
            row = as_feast_has_it(row, view) if "Feast" in name else row
            wrong += [f"{name}: {view.name}:{truth.key_text(key)} {feature}: {found[feature]!r}, Parquet has {value!r}"
                      for feature, value in row.items() if found[feature] != value]
    if wrong:
        print("\n".join(wrong[:10]) + f"\n{len(wrong)} values differ", file=sys.stderr)
        return 1
    values = len(wanted) * len(view.features) * len(got)
    print(
        f"    {len(wanted) - 3:,} of {answer.rows:,} entities and 3 unknown ones, {len(view.features)} features, "
        f"{len(got)} tools: {values:,} values, all right\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
