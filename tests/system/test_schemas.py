# SPDX-License-Identifier: Apache-2.0
"""Goal: every JSON output of the programs and of the admin listener is what its schema in schemas/cli says, and no
more. Method: the table in schemas/cli/README.md names the schema of each command and page; real commands are run in
many states, and each line that they print is held against its schema. Objects in the schemas are closed, so an output
with a new member fails here."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Iterator

import harness
import pytest
from cli import PROJECT, pillion
from test_static import build as build_static
from test_static import write as write_static
from test_status import build

sys.path.insert(0, str(harness.ROOT / "tests" / "python"))
from mapped_reader import MappedClient  # noqa: E402

jsonschema = pytest.importorskip("jsonschema")
referencing = pytest.importorskip("referencing")

FOLDER = harness.ROOT / "schemas"
ROW = re.compile(r"^\| (.+?) \|(.*?)\| \[(\w+)\]\((\w+)\.schema\.json\) \|$", re.M)
NOBODY = "0123456789abcdef"


def schemas() -> dict[str, Any]:
    return {path.name.partition(".")[0]: json.loads(path.read_text()) for path in (FOLDER / "cli").glob("*.json")}


def table() -> tuple[dict[str, str], dict[str, str]]:
    """The schema of each command, and of each page."""
    commands, pages = {}, {}
    for names, page, label, name in ROW.findall((FOLDER / "cli" / "README.md").read_text()):
        assert label == name
        for command in re.findall("`([^`]+)`", names) or ["messages"]:
            commands[command] = name
        for path in re.findall("`([^`]+)`", page):
            pages[path] = name
    return commands, pages


@pytest.fixture(scope="module")
def check() -> Callable[[str, Any], None]:
    manifest = json.loads((FOLDER / "manifest.schema.json").read_text())
    registry = referencing.Registry().with_resource(manifest["$id"], referencing.Resource.from_contents(manifest))
    validators = {name: jsonschema.Draft202012Validator(schema, registry=registry)
                  for name, schema in schemas().items()}

    def validate(name: str, document: Any) -> None:
        error = jsonschema.exceptions.best_match(validators[name].iter_errors(document))
        assert error is None, (name, error.message, list(error.path), document)

    return validate


class Runner:
    """Runs commands with --json and holds all that they say against the schemas; remembers which commands it ran."""

    def __init__(self, check: Callable[[str, Any], None]):
        self.check, self.seen, self.kinds = check, set[str](), set[str]()
        self.schemas, _ = table()

    def __call__(self, *args: Any, code: int = 0) -> list[Any]:
        command = "status --mapped" if "--mapped" in args else str(args[0])
        argv = [sys.executable, "-m", f"pillion.{command}", *args[1:]] if command in ("build", "init") else [
            harness.program("pillion"), *args]
        done = subprocess.run([*map(str, argv), "--json"], text=True, capture_output=True, check=False, timeout=120,
                              stdin=subprocess.DEVNULL)
        assert done.returncode == code, (args, done)
        documents = [json.loads(line) for line in done.stdout.splitlines()]
        for document in documents:
            self.check(self.schemas[command], document)
        messages = [json.loads(line) for line in done.stderr.splitlines()]  # each line is JSON
        for message in messages:
            self.check("message", message)
            self.kinds.update(message)
        errors = [message for message in messages if "error" in message]
        if documents:
            self.seen.add(command)
        else:
            assert errors and errors[-1]["exit_code"] == code, (args, done)
        return documents


@pytest.fixture
def run(check: Callable[[str, Any], None]) -> Iterator[Runner]:
    yield Runner(check)


def commands_with_json() -> set[str]:
    help_text = pillion("help").stdout
    return {match[1] for match in re.finditer(r"^usage: pillion (\w+)[^\n]*(?:\n     [^\n]*)*", help_text, re.M)
            if "--json" in match[0]}


def test_each_command_and_page_has_a_schema_and_the_schemas_are_closed() -> None:
    commands, pages = table()
    assert {command.split()[0] for command in commands} - {"messages"} == commands_with_json()
    assert set(commands.values()) == set(schemas())
    for name, schema in schemas().items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["$id"] == f"urn:pillion:cli:{name}:1" and schema["title"] and schema["description"]

        def closed(node: Any, where: str) -> None:
            if isinstance(node, dict):
                if "properties" in node and node is not schema.get("properties"):
                    assert node.get("additionalProperties") is False, where
                for key in node.keys() - {"if"}:  # which is only a condition
                    closed(node[key], f"{where}/{key}")
            elif isinstance(node, list):
                for index, value in enumerate(node):
                    closed(value, f"{where}/{index}")

        closed(schema, name)
    assert pages and set(pages.values()) <= set(schemas())


def test_commands_of_a_store_print_what_their_schemas_say(
    store: harness.Store, folder: Path, run: Runner
) -> None:
    at, channel = ["--store", store.url], ["--channel", "production"]
    first, second = build(store, folder, [0]), build(store, folder, [0, 30])
    yaml, view = folder / "rides.yaml", "rides/driver_stats"
    every = store.make_release(project="other", view="every", kind="all", rows=20)
    run("init", folder / "rows.csv", "--entity", "driver_id", "--out", folder / "new")
    run("init", folder / "rows.csv", "--out", folder / "new", code=1)  # the files are there
    run("init", folder / "rows.csv", "--out", folder / "newer", code=2)  # a question, and nobody to ask
    run("init", folder / "rows.csv", "--entiti", "driver_id", code=2)
    run("check", yaml)
    (folder / "bad.yaml").write_text(PROJECT.replace("float32", "flaot32"))
    assert run("check", folder / "bad.yaml", code=1)[0]["mistakes"]
    run("apply", yaml, *at)
    run("apply", folder / "bad.yaml", *at, code=1)
    run("apply", folder / "none.yaml", *at, code=3)
    (folder / "less.yaml").write_text(yaml.read_text().replace("eta", "eta2"))
    run("apply", folder / "less.yaml", *at, code=1)
    assert run("apply", folder / "less.yaml", *at, "--force")[0]["breaking"]
    for more in ([], ["--dry-run"], ["--promote", "blue"]):
        run("build", yaml, *at, *more)
    query = yaml.read_text().replace("{type: csv, path: rows.csv, ", "{type: sql, query: FROM 'rows.csv', ")
    (folder / "sql.yaml").write_text(query)
    run("build", folder / "sql.yaml", *at)
    (folder / "rows.csv").write_text("driver_id,event_timestamp,f0\n1,yesterday,1\n")
    run("build", yaml, *at, code=1)
    run("build", yaml, *at, "--prmote", "x", code=2)
    run("promote", f"{view}@{first}", *at, *channel)
    run("rollback", view, *at, *channel)
    run("pin", f"{view}@{second}", *at, *channel)
    run("unpin", view, *at, *channel)
    assert len(run("promote", "--all", "rides", *at, "--channel", "green", "--force")[0]) == 1
    run("promote", f"{view}@{NOBODY}", *at, *channel, code=1)
    run("releases", *at)
    run("releases", "rides", "--store", f"dir:{folder}/none", code=3)
    run("inspect", f"{view}@{second}", *at)
    run("inspect", every, *at, "--rows", 20)
    assert build_static(write_static(folder), store, "--promote", "production").code == 0
    run("inspect", "shop/countries@latest", *at)
    shard = next((store.path / "shards").rglob("*.shard"))
    run("inspect", shard)
    run("gc", "--keep", 1, *at, "--dry-run")
    run("gc", "--keep", 1, *at, "--grace", 0)
    run("gc", *at, code=2)
    run("verify", store.url)
    run("verify", shard)
    shard = next((store.path / "shards").rglob("*.shard"))
    shard.chmod(0o644)
    shard.write_bytes(b"x" + shard.read_bytes()[1:])
    assert run("verify", store.url, code=1)[0]["problems"]
    run("inspect", shard, code=4)
    run("nosuch", code=2)
    wanted = commands_with_json() - {"get", "status", "hist", "top", "slowlog", "doctor"}
    assert run.seen == wanted and run.kinds >= {"error", "exit_code", "note", "because"}


def test_commands_and_pages_of_a_daemon_are_what_their_schemas_say(
    store: harness.Store, folder: Path, start_pilliond: Callable[..., harness.Pilliond], run: Runner
) -> None:
    build(store, folder, [0, 30])
    store.make_release(project="other", view="every", kind="all", rows=20)
    assert build_static(write_static(folder), store, "--promote", "production").code == 0
    listen = {name: f"unix:{folder}/{name}" for name in ("resp", "admin", "mapped")}
    listen["feast"] = f"tcp:127.0.0.1:{harness.free_port()}"
    daemon = start_pilliond(store, listen=listen, args=["--slowlog", "0us", "--poll_interval", "50ms"], ready=False,
                            serve=[f"{view}@production"
                                   for view in ("rides/driver_stats", "other/every", "shop/countries", "rides/none")])
    daemon.resp_unix, daemon.admin, daemon.feast = listen["resp"], listen["admin"], listen["feast"]
    harness.wait_until("it answers", lambda: len([view for view in daemon.status()["views"] if "release" in view]) == 3)
    harness.wait_until("it looked", lambda: "refused" in daemon.view_status("none"))
    at, ask = ["--admin", daemon.admin], ["get", "--socket", daemon.resp_unix]
    run(*ask, "driver_stats", "0", "1", "999")
    run(*ask, "every", "0", "1", "999")
    run(*ask, "driver_stats", "0", "--features", "f0")
    run(*ask, "driver_stats", "0", "--features", "f9", code=1)
    run(*ask, "diver_stats", "0", code=1)
    client = daemon.redis()
    client.execute_command("HMGET", "driver_stats:0", "f0")
    daemon.online_features({"driver_id": [0]}, ["driver_stats:f0"])
    reader = MappedClient(listen["mapped"].partition(":")[2], "test")
    assert reader.read("rides/driver_stats", [0]) is not None
    assert run("status", "--mapped", *at)[0]["holders"]
    for command in ("hist", "top", "slowlog"):
        run(command, *at)
    run("top", "--view", "nosuch", *at, code=1)
    run("status", *at, code=1)
    run("doctor", *at, code=1)
    _, pages = table()
    for path, name in pages.items():
        run.check(name, harness.http(daemon.admin, "GET", path).json())
    (store.path / "projects" / "rides.json").write_text("nonsense")
    (store.path / "views/rides/driver_stats/channels/production.json").write_text("nonsense")
    harness.wait_until("it is told", lambda: "project_refused" in daemon.view_status())
    harness.wait_until("it is told", lambda: "refused" in daemon.view_status())
    run("status", *at, code=1)
    assert run.seen == {"get", "status", "status --mapped", "hist", "top", "slowlog", "doctor"}
    assert daemon.stop() == 0
    for command in ("status", "hist", "top", "slowlog"):
        run(command, *at, code=3)
    run("status", "--mapped", *at, code=3)
    run("doctor", *at, code=3)
