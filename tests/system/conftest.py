# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the system tests: a short folder, a store, and factories that clean up after themselves.

    def test_x(store, start_pilliond, engine):
        ref = store.make_release(rows=1000)
        daemon = start_pilliond(store, engine=engine)
        assert daemon.redis().exists("driver_stats:1") == 1
"""
from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any, Callable, Iterator

import harness
import pytest
from build_project import Project


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: minutes; only with PIL_LONG=1 (tests/run.sh --long)")
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        # Programs would inherit it from nohup or a job in the background. A handler ends with exec; we ignore it on.
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("PIL_LONG") != "1":
        for item in items:
            if "long" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="long; PIL_LONG=1 runs it"))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path: the names of Unix sockets have 107 bytes."""
    path = Path(tempfile.mkdtemp(prefix="pil-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def store(folder: Path) -> harness.Store:
    return harness.Store(folder / "store")


@pytest.fixture
def project(folder: Path) -> Project:
    return Project(folder)


@pytest.fixture(params=harness.ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Each test that asks for it runs on both back ends."""
    refusal = harness.io_uring_refusal() if request.param == "io_uring" else None
    if refusal is not None:
        pytest.skip(refusal)
    return request.param


@pytest.fixture
def start_pilliond(folder: Path) -> Iterator[Callable[..., harness.Pilliond]]:
    """Starts daemons; at the end each that still runs must drain and exit 0, and none may have a sanitizer's report."""
    started: list[harness.Pilliond] = []

    def start(store: harness.Store, ready: bool = True, **options: Any) -> harness.Pilliond:
        own = folder / f"pilliond-{len(started)}"
        own.mkdir()
        daemon = harness.Pilliond(own, store, ready=False, **options)
        started.append(daemon)
        if ready:
            daemon.wait_ready()
        return daemon

    yield start
    try:
        for daemon in started:
            if daemon.alive():
                assert daemon.stop() == 0, daemon.log
            daemon.check_log()
    finally:
        for daemon in started:
            daemon.destroy()


@pytest.fixture
def redis_server(folder: Path) -> Iterator[harness.RedisServer]:
    server = harness.RedisServer(folder)
    yield server
    server.destroy()
