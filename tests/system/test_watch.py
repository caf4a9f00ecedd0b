# SPDX-License-Identifier: Apache-2.0
"""Goal: `pillion top` and `pillion hist` show in any window first whether the node is ready and what is wrong, then the
views in the order that the user wants; keys work, and the terminal is afterwards as it was, however they end. Method:
a daemon with many views, one of them with a broken channel, watched on pseudo-terminals of several sizes."""

from __future__ import annotations

import os
import re
import signal
import tempfile
from pathlib import Path
from typing import Callable, Iterator

import harness
import pytest
from cli import pillion, says
from screens import CLEAR, HIDE, SEQUENCE, SHOW, Screen

VIEWS = [f"view_{number}" for number in range(30)]
BROKEN = "view_7: channel not read"
COMMANDS = ("top", "hist")


def start(folder: Path) -> harness.Pilliond:
    """30 views; of view_N, N + 1 keys were asked for, of which the first ten are there."""
    store = harness.Store(folder / "store")
    for view in VIEWS:
        store.make_release(view=view, rows=10, features=1)
    daemon = harness.Pilliond(folder, store, serve=[f"rides/{view}@production" for view in VIEWS],
                              args=["--poll_interval", "50ms"])
    (store.path / "views/rides/view_7/channels/production.json").write_text("nonsense")
    harness.wait_until("it is told", lambda: BROKEN.partition(": ")[2] in pillion(
        "status", "--admin", daemon.admin, code=None).stdout)
    client = daemon.redis()
    for number, view in enumerate(VIEWS):
        for key in range(number + 1):
            client.hgetall(f"{view}:{key}")
    return daemon


@pytest.fixture(scope="module")
def watched() -> Iterator[harness.Pilliond]:
    with tempfile.TemporaryDirectory(prefix="pil-") as folder:
        daemon = start(Path(folder))
        try:
            yield daemon
            assert daemon.stop() == 0, daemon.log
            daemon.check_log()
        finally:
            daemon.destroy()


def argv(command: str, daemon: harness.Pilliond, *more: str) -> list[str]:
    return [harness.program("pillion"), command, "--admin", daemon.admin, *more]


def assert_fits(picture: list[str], rows: int, columns: int) -> None:
    assert len(picture) <= rows and max(map(len, picture)) <= columns, picture
    assert picture[-1].startswith("q quit; sort by r rate, p p99, n name, h hits"[: columns - 1]), picture
    assert picture[0].startswith(("ready", "not ready"))
    assert any(line.strip().startswith(BROKEN[: columns - 8]) for line in picture[: max(2, rows // 3 + 1)]), picture


@pytest.mark.parametrize("rows, columns", [(24, 80), (15, 60), (50, 200), (6, 30)])
def test_a_window_of_any_size_shows_readiness_and_errors_first(watched, rows, columns):
    for command in COMMANDS:
        with Screen(argv(command, watched), rows, columns) as screen:
            picture = screen.wait("a picture", lambda lines: lines[-1].startswith("q quit"))
            assert_fits(picture, rows, columns)
            assert any("more lines" in line or line.endswith("…") for line in picture) or rows == 50


@pytest.mark.parametrize("rows, columns", [(24, 80), (15, 60)])
def test_a_node_that_is_not_ready_says_so_and_why_in_a_bounded_place(store, start_pilliond, rows, columns):
    """Sixty lines of troubles leave room for the views."""
    store.make_release(view="view_0", rows=10, features=1)
    daemon = start_pilliond(store, ready=False, serve=[f"rides/{view}@production" for view in VIEWS])
    harness.wait_until("it answers", lambda: "no channel production" in pillion(
        "status", "--admin", daemon.admin, code=None).stdout)
    with Screen(argv("top", daemon), rows, columns) as screen:
        picture = screen.wait("a picture", lambda lines: lines[-1].startswith("q quit") and "state" in str(lines))
        assert picture[0].startswith("not ready") and ": no release" in str(picture[1:4])
        assert len(picture) <= rows and max(map(len, picture)) <= columns
        more = [line for line in picture if re.match(r"  … and \d+ more; `pillion status` has them all", line)]
        assert len(more) == 1 and picture.index(more[0]) <= rows // 3
        assert [line for line in picture if line.endswith("no release")]


def test_a_window_that_changes_its_size_is_drawn_again(watched):
    with Screen(argv("top", watched), 24, 80) as screen:
        screen.wait("a picture", lambda lines: lines[-1].startswith("q quit"))
        screen.resize(12, 64)
        assert_fits(screen.wait("a smaller one", lambda lines: lines[-1].startswith("q quit") and len(lines) == 12),
                    12, 64)
        screen.resize(40, 120)
        assert_fits(screen.wait("a larger one", lambda lines: lines[-1].startswith("q quit") and len(lines) > 12),
                    40, 120)


def views_of(lines: list[str]) -> list[str]:
    return [match[1] for line in lines if (match := re.match(r"  (?:\S+) +(view_\d+)", line))]


# view_N had N + 1 lookups, ten of which at most were hits: the more requests, the smaller their share.
ORDERS: dict[str, Callable[[list[str]], list[str]]] = {
    "rate": lambda views: sorted(views, key=lambda view: -int(view[5:])),
    "name": sorted,
    "hits": lambda views: sorted(views, key=lambda view: (min(10, int(view[5:]) + 1) / (int(view[5:]) + 1), view)),
}


@pytest.mark.parametrize("order", ORDERS)
def test_views_are_sorted_by_what_is_asked_for(watched, order):
    shown = views_of(pillion("top", "--sort", order, "--admin", watched.admin).stdout.splitlines())
    assert shown == ORDERS[order](VIEWS)
    hist = pillion("hist", f"--sort={order}", "--admin", watched.admin).stdout
    assert re.findall(r"^  resp rides/(view_\d+)$", hist, re.M) == shown


def test_the_slowest_come_first_by_p99(watched):
    units = {"ns": 1, "µs": 1e3, "ms": 1e6, "s": 1e9}
    top = pillion("top", "--sort", "p99", "--admin", watched.admin).stdout
    times = [float(number) * units[unit] for number, unit in re.findall(
        r"^  resp +view_\d+ +[\d,]+ +[\d.]+ \S+ +([\d.]+) (\S+)", top, re.M)]
    assert len(times) == len(VIEWS) and times == sorted(times, reverse=True)
    says(pillion("top", "--sort", "size", "--admin", watched.admin, code=2), "expected rate, p99, name or hits")


def test_keys_sort_and_quit(watched):
    with Screen(argv("top", watched), 50, 100) as screen:
        screen.wait("a picture", lambda lines: lines[-1].endswith("(now rate)"))
        for key, name in (("n", "name"), ("x", "name"), ("h", "hits"), ("p", "p99"), ("r", "rate")):
            screen.press(key)
            picture = screen.wait(name, lambda lines, name=name: lines[-1].endswith(f"(now {name})"))
            if name == "name":
                assert views_of(picture) == sorted(VIEWS)
        screen.press("q")
        assert screen.end() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGABRT])
def test_the_terminal_is_as_it_was_whatever_ends_the_command(watched, number):
    with Screen(argv("hist", watched)) as screen:
        assert not screen.is_raw()
        screen.wait("a picture", lambda lines: lines[-1].startswith("q quit"))
        assert screen.is_raw() and screen.text.startswith(SHOW)
        os.kill(screen.pid, number)
        assert screen.end() == (0 if number == signal.SIGINT else -number)
        assert not screen.is_raw() and screen.text.rstrip().endswith(HIDE)


def test_a_stopped_command_gives_the_terminal_back_and_takes_it_again(watched):
    with Screen(argv("top", watched)) as screen:
        screen.wait("a picture", lambda lines: lines[-1].startswith("q quit"))
        os.kill(screen.pid, signal.SIGTSTP)
        harness.wait_until("it stops", lambda: screen.read(0.05) and screen.text.endswith(HIDE)
                           and not screen.is_raw())
        os.kill(screen.pid, signal.SIGCONT)
        screen.wait("a picture", lambda lines: lines[-1].startswith("q quit"))
        assert screen.is_raw() and screen.text.count(SHOW) == 2
        screen.press("q")
        assert screen.end() == 0 and not screen.is_raw()


def test_a_server_that_goes_away_is_asked_again(store, start_pilliond):
    store.make_release()
    daemon = start_pilliond(store)
    with Screen(argv("top", daemon)) as screen:
        screen.wait("a picture", lambda lines: lines[0].startswith("ready"))
        assert daemon.stop() == 0
        picture = screen.wait("it is told", lambda lines: lines[0].startswith("no answer"))
        assert "is pilliond running there" in picture[0] and len(picture) <= 24
        screen.press("q")
        assert screen.end() == 0


def test_one_view_alone_and_a_view_that_is_not_there(watched):
    at = ["--admin", watched.admin]
    assert views_of(pillion("top", "--view", "rides/view_3", *at).stdout.splitlines()) == ["view_3"]
    hist = pillion("hist", "--view", "view_3", *at).stdout
    assert "view_3" in hist and "view_4" not in hist
    for command in COMMANDS:
        done = pillion(command, "--view", "veiw_3", *at, code=1)
        says(done, "no view 'veiw_3' is served here; did you mean view_3?")
        assert done.stdout == ""


def words(screen: Screen) -> str:
    """What the first picture says without its numbers, which change."""
    picture = SEQUENCE.sub("", screen.text.split(CLEAR)[1])
    return re.sub(r"[ \d.,]+|[µmn]?s\b", " ", picture)


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_is_said_by_colour_alone(watched, command):
    shown = {}
    for name, env in (("plain", {}), ("coloured", {"NO_COLOR": ""}), ("ascii", {"LC_ALL": "C"})):
        with Screen(argv(command, watched, "--sort", "name"), 24, 80, env) as screen:
            screen.wait("a picture", lambda lines: lines[-1].startswith("q quit"))
            assert ("\x1b[31m" in screen.text) == (name == "coloured")
            assert screen.text.isascii() == (name == "ascii")
            shown[name] = words(screen)
    assert shown["plain"] == shown["coloured"]
    assert "not read" in shown["plain"] if command == "top" else "≤" in shown["plain"]


def test_a_terminal_that_cannot_move_its_cursor_gets_one_picture(watched):
    with Screen(argv("top", watched), env={"TERM": "dumb"}) as screen:
        assert screen.end() == 0
        assert "\x1b" not in screen.text and views_of(screen.text.splitlines())
