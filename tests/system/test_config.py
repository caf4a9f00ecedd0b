# SPDX-License-Identifier: Apache-2.0
"""docs/reference/config.md and deploy/pilliond.yaml say what the configuration does: every bound is the last value that
is taken, every choice is taken, and the example with all its keys is the configuration by default."""

from __future__ import annotations

import re

import harness
import pytest
import yaml

SERVED = "store: dir:/none\nserve: [{view: a/b, channel: c}]\nlisten: [{protocol: resp, address: 'unix:/none/r'}]\n"
UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}
DURATIONS = {"us": 1, "ms": 1000, "s": 10**6, "m": 60 * 10**6, "h": 3600 * 10**6, "d": 86400 * 10**6}


def described(table: str) -> str:
    return harness.run([harness.program("pilliond"), "--describe", table]).stdout


def options() -> dict[str, dict[str, str]]:
    """The rows of the table of options by key."""
    lines = [line for line in described("config").split("\n## ")[0].splitlines() if line.startswith("| ")]
    names, *rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]
    return {row[0]: dict(zip(names, row)) for row in rows}


def beyond(bound: str, step: int, least: str) -> str:
    """The next value below (step -1) or above (1) a bound, in the smallest unit of the option, which `least` tells."""
    number, unit = re.fullmatch(r"(\d+)([a-zA-Z]*)", bound).groups()
    if unit in UNITS:
        return str(int(number) * UNITS[unit] + step)
    smallest = "us" if least.endswith("us") else "ms"
    return f"{int(number) * DURATIONS[unit] // DURATIONS[smallest] + step}{smallest}"


def problems(folder, values: dict[str, str]) -> dict[str, str]:
    """What --check-config says of each value, by key; all of them are in one file."""
    top = {key: value for key, value in values.items() if "." not in key}
    limits = {key[len("limits."):]: value for key, value in values.items() if "." in key}
    path = folder / "pilliond.yaml"
    path.write_text(SERVED + yaml.safe_dump({**top, "limits": limits}))
    done = harness.run([harness.program("pilliond"), "--config", str(path), "--check-config"], code=None)
    assert done.returncode in (1, 3)  # the store is not there
    found = re.findall(r"yaml:\d+:\d+: (([\w.]+) is .*)", done.stderr)
    return {key: sentence for sentence, key in found}


def bounds(row: dict[str, str]) -> tuple[str, str]:
    found = re.fullmatch(r"(\w+) to (\w+)(, or auto)?", row["allowed"])
    assert found and bool(found[3]) == (row["default"] == "auto")
    return found[1], found[2]


def test_every_bound_is_the_last_value_that_is_taken(folder):
    table = {key: row for key, row in options().items() if row["type"] not in ("text", "choice")}
    assert len(table) > 20
    least = {key: bounds(row)[0] for key, row in table.items()}
    most = {key: bounds(row)[1] for key, row in table.items()}
    # What two options must have in common is told elsewhere.
    assert problems(folder, least) == {} and problems(folder, most) == {}
    above = problems(folder, {key: beyond(value, 1, least[key]) for key, value in most.items()})
    assert set(above) == set(table)
    for key, sentence in above.items():
        assert sentence.endswith(f": {table[key]['allowed']}"), sentence
    below = {key: beyond(value, -1, value) for key, value in least.items() if not value.startswith("0")}
    assert set(problems(folder, below)) == set(below) and len(below) > 15


def test_every_choice_and_no_other_is_taken(folder):
    table = {key: row for key, row in options().items() if row["type"] == "choice"}
    assert len(table) == 5
    for key, row in table.items():
        choices = re.split(", | or ", row["allowed"])
        assert len(choices) > 1 and row["default"] in choices
        for choice in choices:
            assert problems(folder, {key: choice}) == {}, (key, choice)
        assert problems(folder, {key: "other"}) == {key: f"{key} is 'other'; it must be {row['allowed']}"}


def test_texts_have_their_greatest_length(folder):
    table = {key: row for key, row in options().items() if row["type"] == "text"}
    for key, row in table.items():
        length = int(re.fullmatch(r"at most (\d+) bytes", row["allowed"])[1])
        path = folder / "text.yaml"
        for extra, told in ((0, False), (1, True)):
            value = {"store": "dir:/"}.get(key, "")
            path.write_text(f"{key}: {value}{'x' * (length - len(value) + extra)}\n")
            done = harness.run([harness.program("pilliond"), "--config", str(path), "--check-config"], code=None)
            assert (f"{key} is {length + 1} bytes long" in done.stderr) == told, done.stderr


def uncommented(text: str) -> str:
    """The example with every key: "#key:" is a key with its default, "# text" is prose."""
    return re.sub(r"(?m)^( *)#(?=\w+:)", r"\1", text)


def test_the_example_has_every_key_with_its_default():
    text = (harness.ROOT / "deploy" / "pilliond.yaml").read_text()
    assert text == described("example")
    whole = yaml.safe_load(uncommented(text))
    found = {key: value for key, value in whole.items() if key not in ("serve", "listen", "limits")}
    found |= {f"limits.{key}": value for key, value in whole["limits"].items()}
    table = options()
    assert list(found) == list(table)
    assert {key: str(value) for key, value in found.items() if key != "store"} == {
        key: row["default"] for key, row in table.items() if key != "store"}
    for row in table.values():  # the example says all that the page says
        assert f"Type: {row['type']}, {row['allowed']}." in re.sub(r"\n *# ", " ", text)
    assert set(whole["serve"][0]) == {"view", "channel"} and "For example read:" in text and "example map:" in text


@pytest.mark.parametrize("change", [str, uncommented], ids=["as it is", "with every key"])
def test_the_example_is_accepted(folder, store, change):
    store.make_release(rows=10)
    text = change((harness.ROOT / "deploy" / "pilliond.yaml").read_text())
    for old, new in (("dir:/srv/pillion", store.url), ("my_project/my_view", "rides/driver_stats"),
                     ("/run/pillion/", f"{folder}/")):
        assert old in text
        text = text.replace(old, new)
    path = folder / "pilliond.yaml"
    path.write_text(text)
    done = harness.run([harness.program("pilliond"), "--config", str(path), "--check-config"])
    assert done.stdout.startswith("ok: 1 view, 1 listener, "), done.stderr


def test_the_pages_have_the_keys_that_the_lists_take(folder):
    """Both tables of keys of lists are written by hand: the reader says which keys it knows."""
    path = folder / "keys.yaml"
    path.write_text("serve: [{zzzzzz: 1}]\nlisten: [{zzzzzz: 1}]\n")
    done = harness.run([harness.program("pilliond"), "--config", str(path), "--check-config"], code=1)
    for name in ("serve", "listen"):
        known = re.search(rf"entry of {name}: unknown key 'zzzzzz'; remove it \(known are (.*)\)"
                          rf"|entry of {name}: unknown key zzzzzz; remove it \(known are (.*)\)", done.stderr)
        section = described("config").partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        keys = re.findall(r"^\| (\w+) \| ", section, re.MULTILINE)[1:]
        assert known and (known[1] or known[2]).split(", ") == keys


@pytest.mark.parametrize("arguments, code, says", [
    (["--config", "/nowhere/p.yaml"], 3, "/nowhere/p.yaml:1:1: open /nowhere/p.yaml: No such file or directory"),
    (["--config", "/proc/self/mem"], 3, "/proc/self/mem:1:1: "),
    (["--check-confg"], 1, "--check-confg: no such flag; did you mean --check-config\n"),
    (["--worker"], 1, "--worker: no such flag; did you mean --workers\n"),
    (["--workers"], 1, "--workers: needs a value\n"),
    (["--serve"], 1, "--serve: needs a value\n"),
])
def test_the_command_line_and_the_file(arguments: list[str], code: int, says: str) -> None:
    done = harness.run([harness.program("pilliond"), *arguments], code=code)
    assert done.stderr.startswith(says)
    assert code == 1 or len(done.stderr.splitlines()) == 1  # of what the file lacks nothing is known
