# SPDX-License-Identifier: Apache-2.0
"""get_online_features against Feast's own SDK: both answer the questions of feast_repo/peer.py over the same data,
Feast from its own online store. The dicts are equal, and exceptions have the same class names."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import harness
import pytest

pillion = pytest.importorskip("pillion", reason="the package is not installed")
FOLDER = Path(__file__).parent / "feast_repo"
FEAST_PYTHON = harness.ROOT / "build" / "feast-venv" / "bin" / "python"
sys.path.insert(0, str(FOLDER))
import peer  # noqa: E402


VIEWS = ("everything", "by_city", "rates")


def ask_peer(*args: str) -> str:
    env = {**os.environ, "FEAST_USAGE": "False", "PYTHONWARNINGS": "ignore"}
    return harness.run([FEAST_PYTHON, FOLDER / "peer.py", *args], timeout=300, env=env).stdout


def seen_by(client: Any, question: dict[str, Any]) -> Any:
    try:
        response = client.get_online_features(
            features=question.get("features"),
            feature_service=question.get("service"),
            entity_rows=question["entity_rows"],
            full_feature_names=question.get("full_feature_names", False),
        )
    except pillion.PillionError as error:
        return {"error": type(error).__name__}
    return {"dict": json.loads(json.dumps(response.to_dict(), default=str))}


def test_answers_are_those_of_feasts_sdk(folder, store, start_pilliond):
    if not FEAST_PYTHON.exists():
        pytest.skip("Feast is not installed in build/feast-venv")
    repo = folder / "repo"
    repo.mkdir()
    ask_peer("prepare", str(repo))
    store.build(repo / "everything.yaml")
    config, mapped = folder / "pilliond.yaml", f"unix:{folder}/mapped.sock"
    views = "".join(f"  - {{view: conformance/{view}, channel: production}}\n" for view in VIEWS)
    config.write_text(f"serve:\n{views}")
    daemon = start_pilliond(store, serve=[], args=["--config", str(config), "--listen", f"mapped={mapped}"])
    theirs = [json.loads(line) for line in ask_peer("ask", str(repo)).splitlines()]
    assert len(theirs) == len(peer.QUESTIONS)
    for addresses in ((mapped, None), (None, daemon.resp_unix)):
        with pillion.Client(*addresses, timeout=10) as client:
            for question, real in zip(peer.QUESTIONS, theirs):
                real.pop("dtypes", None)  # of pandas; versions differ
                assert seen_by(client, question) == real, question
