# SPDX-License-Identifier: Apache-2.0
"""What `pillion` promotes and applies: releases by their names, whole projects, and nothing that breaks a service."""

from __future__ import annotations

import json
import os
from pathlib import Path

import harness
import pytest
from cli import PROJECT, channel_of, pillion, says, shard_files

NOBODY = "0123456789abcdef"


@pytest.fixture
def project(folder: Path) -> Path:
    path = folder / "rides.yaml"
    path.write_text(PROJECT)
    return path


# ---- The guard


def released_as(project: Path) -> Path:
    """The project file, with the keys that make_release gives to its views."""
    project.write_text(project.read_text().replace("join_key: driver_id", "join_key: id"))
    return project


def test_a_channel_is_not_pointed_to_what_breaks_a_service(project: Path, store: harness.Store) -> None:
    whole, narrow = store.make_release(features=2, channel=None), store.make_release(features=1, channel=None)
    keyed = released_as(project).read_text()
    store.pillion("apply", str(project))
    channel = ["--channel", "production"]
    store.pillion("promote", whole, *channel)
    done = store.pillion("promote", narrow, *channel, code=1)
    assert "driver_stats:f1 is missing" in done.stderr and "--force" in done.stderr
    assert channel_of(store)["release"] == whole.rpartition("@")[2]
    project.write_text(keyed.replace("name: f0, type: float32", "name: f0, type: int64"))
    assert "channel production, release" in store.pillion("apply", str(project), code=1).stderr
    store.pillion("apply", str(project), "--force")
    done = store.pillion("pin", whole, *channel, code=1)
    assert "f0 is float32, and int64 in the project; feature service eta needs it" in done.stderr
    assert store.pillion("pin", whole, *channel, "--force").stderr.count("f0") == 1
    assert channel_of(store)["pinned"] == whole.rpartition("@")[2]
    done = store.pillion("unpin", "rides/driver_stats", *channel, "--json", code=1)
    message = json.loads(done.stderr)
    assert message["exit_code"] == 1 and len(message["because"]) == 1 and done.stdout == ""
    forced = json.loads(store.pillion("unpin", "rides/driver_stats", *channel, "--json", "--force").stdout)
    assert forced["pinned"] is None and forced["breaking"] == message["because"]


def test_a_release_with_more_than_the_project_says_is_taken(project: Path, store: harness.Store) -> None:
    wide = store.make_release(features=3, channel=None)
    keyed = released_as(project).read_text()
    store.pillion("apply", str(project))
    store.promote(wide)
    project.write_text(keyed.replace("name: f1, type: float32", "name: f2, type: float32"))
    store.pillion("apply", str(project), code=1)  # f1 is removed
    project.write_text(keyed.replace("features:\n", "features:\n      - {name: f2, type: float32}\n", 1))
    store.pillion("apply", str(project))


# ---- Names of releases, projects


def test_a_release_is_named_by_what_makes_it_the_one(store: harness.Store) -> None:
    def promoted(name: str) -> str:
        store.pillion("promote", f"rides/driver_stats@{name}", "--channel", "staging")
        return channel_of(store, "staging")["release"]

    refs, ids = [], []
    for seed in range(5):
        refs.append(store.make_release(seed=seed, channel=None))
        ids.append(refs[-1].rpartition("@")[2])
        assert promoted("latest") == ids[-1]
    assert ids not in (sorted(ids), sorted(ids, reverse=True))
    assert promoted("staging") == ids[-1]
    for one in ids:
        others = [len(os.path.commonprefix([one, other])) for other in ids if other != one]
        assert promoted(one[: max(others) + 1]) == one
    store.promote(refs[0], "latest")  # a channel of that name is meant
    assert promoted("latest") == ids[0]
    view = store.path / "views/rides/driver_stats/releases"
    for digit in "01":  # two ids with one beginning
        (view / f"abcdef{digit}000000000.json").write_text("{}")
    says(store.pillion("verify", "rides/driver_stats@abcdef", code=1), "2 releases", "more digits")


def test_a_project_is_promoted_as_a_whole(project: Path, store: harness.Store) -> None:
    first, second = (store.make_release(view=view, channel=None) for view in ("driver_stats", "riders"))
    store.pillion("promote", "--all", "rides", "--channel", "staging")
    moved = json.loads(
        store.pillion("promote", "--all", "rides@staging", "--channel", "production", "--json").stdout
    )
    assert [f"{one['project']}/{one['view']}@{one['release']}" for one in moved] == [first, second]
    says(store.pillion("promote", "--all", "none", "--channel", "production", code=1), "no releases")
    says(store.pillion("promote", "--all", "rides/riders", "--channel", "production", code=2), "expected PROJECT")
    # One that would be refused keeps all back.
    project.write_text(PROJECT.replace("name: f0, type: float32", "name: f0, type: int64"))
    store.pillion("apply", str(project), "--force")
    newer = store.make_release(view="riders", seed=9, channel=None)
    store.make_release(seed=9, channel=None)
    store.pillion("apply", str(project), "--force")
    says_of = store.pillion("promote", "--all", "rides", "--channel", "production", code=1)
    assert "driver_stats" in says_of.stderr
    assert channel_of(store, view="rides/riders")["release"] == second.rpartition("@")[2] != newer.rpartition("@")[2]


def test_what_stays_where_it_is_holds_no_view_back(project: Path, store: harness.Store) -> None:
    first, second = (store.make_release(view=view, channel=None) for view in ("driver_stats", "riders"))
    store.pillion("promote", "--all", "rides", "--channel", "production")
    project.write_text(PROJECT.replace("name: f0, type: float32", "name: f0, type: int64"))
    store.pillion("apply", str(project), "--force")  # driver_stats does not answer it, and is served already
    newer = store.make_release(view="riders", seed=9, channel=None)
    store.pillion("apply", str(project), "--force")
    store.pillion("promote", "--all", "rides", "--channel", "production")
    assert channel_of(store)["release"] == first.rpartition("@")[2]
    assert channel_of(store, view="rides/riders")["release"] == newer.rpartition("@")[2] != second.rpartition("@")[2]


def test_a_release_that_is_not_whole_keeps_all_back(project: Path, store: harness.Store) -> None:
    store.make_release(channel=None)
    riders = store.make_release(view="riders", channel=None)
    shard = shard_files(store, riders)[0]
    shard.unlink()
    done = store.pillion("promote", "--all", "rides", "--channel", "production", code=3)
    assert shard.stem in done.stderr
    assert not list((store.path / "views/rides/driver_stats").glob("channels/*"))


# ---- Messages for programs


def test_with_json_every_message_is_json(project: Path, store: harness.Store, folder: Path) -> None:
    store.make_release()
    (store.path / "views/rides/driver_stats/channels/odd.json").write_text("nonsense")
    cases = [
        (["apply", project, "--json", "--stor"], 2),
        (["promote", f"rides/driver_stats@{NOBODY}", "--channel", "x", "--store", store.url, "--json"], 1),
        (["rollback", "rides/driver_stats", "--channel", "odd", "--store", store.url, "--json"], 4),
        (["get", "v", "1", "--socket", f"unix:{folder}/none", "--json"], 3),
        (["status", "--admin", f"unix:{folder}/none", "--json"], 3),
    ]
    for args, code in cases:
        done = pillion(*args, code=code)
        for line in done.stderr.splitlines():
            message = json.loads(line)
            assert message["exit_code"] == code and message["error"], line
        assert done.stderr and done.stdout == "", args
    done = store.pillion("releases", "--json", code=4)
    assert len(json.loads(done.stdout)) == 1 and "odd.json" in json.loads(done.stderr)["error"]
    project.write_text("project: rides\nfeature_view: []\n")
    done = store.pillion("apply", str(project), "--json", code=1)
    assert any("feature_view" in line for line in json.loads(done.stderr)["because"])
