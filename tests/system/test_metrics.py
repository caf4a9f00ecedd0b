# SPDX-License-Identifier: Apache-2.0
"""What an SRE sees: /metrics by promtool and a real Prometheus, counts that are the requests made, bounded labels,
the pages and commands that draw them, and logs without keys and values."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.parse
from typing import Any, Iterator

import feast_redis as layout
import harness
import pytest
import redis
import xxhash

sys.path.insert(0, str(harness.ROOT / "tests" / "python"))
from mapped_reader import MappedClient  # noqa: E402


@pytest.fixture
def daemon(store, start_pilliond) -> harness.Pilliond:
    store.make_release(rows=1000, seed=1)
    return start_pilliond(store, args=["--slowlog", "0us"])


def ask(daemon: harness.Pilliond) -> None:
    client = daemon.redis()
    for key in range(20):
        client.hmget(f"driver_stats:{key}", "f0", "f1", "nosuch")
    client.hget("driver_stats:5000", "f0")
    with pytest.raises(redis.ResponseError):
        client.hget("nosuchview:1", "f0")
    assert daemon.online_features({"id": [1, 2, 9999]}, ["driver_stats:f0"]).status == 200
    assert daemon.online_features({"id": ["x"]}, ["driver_stats:f0"]).status == 422


def test_promtool_accepts_the_page_and_counts_are_the_requests_made(daemon):
    before = daemon.metrics()
    ask(daemon)
    page = harness.http(daemon.admin, "GET", "/metrics")
    assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
    done = subprocess.run(
        [harness.tool("promtool"), "check", "metrics"], input=page.text, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    after = daemon.metrics()

    def grown(name: str) -> float:
        return after.get(name, 0) - before.get(name, 0)

    view = 'view="rides/driver_stats"'
    assert grown(f'pillion_lookups_total{{{view},status="hit"}}') == 22
    assert grown(f'pillion_lookups_total{{{view},status="not_found"}}') == 2
    assert grown(f'pillion_values_total{{{view},status="present"}}') == 42
    assert grown(f'pillion_values_total{{{view},status="null_value"}}') == 20
    assert grown(f'pillion_values_total{{{view},status="not_found"}}') == 2
    assert grown('pillion_requests_total{protocol="feast",code="ok"}') == 1
    assert grown('pillion_requests_total{protocol="feast",code="error"}') == 1
    assert grown('pillion_requests_total{protocol="resp",code="error"}') == 1
    assert grown(f'pillion_request_duration_seconds_count{{protocol="resp",{view},stage="total"}}') == 21


def test_openmetrics_where_the_scraper_asks(daemon):
    page = harness.http(
        daemon.admin, "GET", "/metrics", headers={"accept": "application/openmetrics-text;version=1.0.0"}
    )
    assert page.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert page.text.endswith("# EOF\n")


def ask_what_is_not_there(daemon: harness.Pilliond, numbers: range) -> None:
    """Keys, views, features, commands, services, paths: each of a new name."""
    client = daemon.redis()
    for i in numbers:
        client.hget(f"driver_stats:{i * 7}", f"feature{i}")
        for command in (("hget", f"nosuch{i}:1", "f0"), ("hget", f"driver_stats:k{i}", "f0"), (f"command{i}", "x")):
            with pytest.raises(redis.ResponseError):
                client.execute_command(*command)
        assert daemon.online_features({"id": [i]}, ["driver_stats:f0"]).status == 200
        assert daemon.online_features({"id": [i]}, [f"view{i}:f"]).status >= 400
        assert daemon.online_features({"id": [i]}, [f"driver_stats:feature{i}"]).status >= 400
        service = {"entities": {"id": [i]}, "feature_service": f"service{i}"}
        assert harness.http(daemon.feast, "POST", "/get-online-features", service).status >= 400
        assert harness.http(daemon.feast, "GET", f"/path{i}").status == 404


def test_series_do_not_grow_with_what_is_asked(daemon):
    ask(daemon)
    ask_what_is_not_there(daemon, range(1))
    before = set(daemon.metrics())
    ask_what_is_not_there(daemon, range(1, 100))
    assert set(daemon.metrics()) == before


def described_families() -> dict[str, tuple[str, set[str]]]:
    """Type and labels of each family, as the reference page has them."""
    page = harness.run([harness.program("pilliond"), "--describe", "metrics"]).stdout
    rows = re.findall(r"^\| `(pillion_\w+)` \| (\w+) \| ([\w,]*) \|", page, re.MULTILINE)
    return {name: (kind, set(filter(None, labels.split(",")))) for name, kind, labels in rows}


def test_every_family_is_set_by_somebody_and_described_with_its_labels(folder, store, start_pilliond):
    store.make_release(rows=1000, seed=1)
    mapped = folder / "mapped.sock"
    daemon = start_pilliond(store, args=["--listen", f"mapped=unix:{mapped}"])
    ask(daemon)
    reader = MappedClient(str(mapped), "test")
    assert reader.read("rides/driver_stats", [5])["f0"] == 156.0
    described, types = described_families(), {}
    for line in harness.http(daemon.admin, "GET", "/metrics").text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            types[name] = kind
            continue
        if line.startswith("#"):
            continue
        name, labels = re.fullmatch(r"(\w+)(?:\{(.*)\})? \S+", line).groups()
        family = name if name in types else re.sub(r"_(bucket|sum|count)$", "", name)
        kind, wanted = described[family]
        assert types[family] == {"info": "gauge"}.get(kind, kind), line
        assert set(re.findall(r'(\w+)="(?:[^"\\]|\\.)*"', labels or "")) - {"le"} == wanted, line
    assert set(described) - set(types) == set(), "nobody sets these"


@pytest.fixture
def prometheus(folder, daemon) -> Iterator[str]:
    config, port = folder / "prometheus.yml", harness.free_port()
    target = daemon.admin.partition(":")[2]
    config.write_text(
        "global: {scrape_interval: 1s}\nscrape_configs:\n  - job_name: pillion\n"
        f"    static_configs: [{{targets: ['{target}']}}]\n"
    )
    process = harness.Process(
        "prometheus",
        [
            harness.tool("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={folder}/tsdb",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        folder,
    )
    yield f"tcp:127.0.0.1:{port}"
    process.destroy()


def query(prometheus: str, expression: str) -> list[Any]:
    answer = harness.http(prometheus, "GET", f"/api/v1/query?query={urllib.parse.quote(expression)}")
    return answer.json()["data"]["result"] if answer.status == 200 else []


def test_prometheus_scrapes_and_answers_quantiles(daemon, prometheus):
    ask(daemon)
    harness.wait_until("a scrape", lambda: query(prometheus, "up{job='pillion'} == 1"), 60)
    ask(daemon)
    expression = (
        "histogram_quantile(0.99, sum by (le) (pillion_request_duration_seconds_bucket"
        "{protocol='resp',stage='total',view='rides/driver_stats'}))"
    )

    def quantile() -> float:
        result = query(prometheus, expression)
        return float(result[0]["value"][1]) if result else 0

    assert 0 < harness.wait_until("a quantile", quantile, 60) < 10
    assert query(prometheus, "pillion_ready")[0]["value"][1] == "1"


def test_pages_are_json_and_count_the_same(daemon):
    ask(daemon)
    status = daemon.status()
    assert status["ready"] is True and status["views"][0]["rows"] == 1000
    hist = harness.http(daemon.admin, "GET", "/hist").json()
    total = next(
        s
        for s in hist["series"]
        if s["stage"] == "total" and s["view"] == "rides/driver_stats" and s["protocol"] == "resp"
    )
    assert total["count"] == sum(count for _, count in total["buckets"]) == 21
    slow = harness.http(daemon.admin, "GET", "/slowlog").json()
    assert slow["threshold_us"] == 0 and any(request["what"].startswith("hmget") for request in slow["requests"])


@pytest.mark.parametrize(
    "command,part",
    [
        (["status"], "rides/driver_stats"),
        (["hist", "--once"], "lookup"),
        (["top", "--once"], "requests"),
        (["slowlog"], "hmget"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_commands_draw_the_pages(daemon, command, part):
    ask(daemon)
    argv = [harness.program("pillion"), *command, "--admin"]
    assert part in harness.run([*argv, daemon.admin]).stdout
    shown = json.loads(harness.run([*argv, daemon.admin, "--json"]).stdout)
    path = {"top": "/hist"}.get(command[0], f"/{command[0]}")
    assert shown.keys() == harness.http(daemon.admin, "GET", path).json().keys()
    nobody = f"tcp:127.0.0.1:{harness.free_port()}"
    for more in ([], ["--json"]):
        done = harness.run([*argv, nobody, *more], code=3)
        assert nobody in done.stderr and "is pilliond running there" in done.stderr and done.stdout == ""
    other = harness.run([*argv, daemon.resp_tcp], code=3)
    assert "is this the admin listener" in other.stderr


def number_of(features: list[str]) -> str:
    """The number of a selection, by schemas/wire.md."""
    number = 0
    for feature in features:
        number = xxhash.xxh3_64_intdigest(f"rides/driver_stats:{feature}".encode(), seed=number)
    return f"{number:016x}"


def test_a_selection_has_one_number_in_all_protocols(store, start_pilliond):
    store.make_release(rows=1000, features=10, seed=1)
    daemon = start_pilliond(store, args=["--slowlog", "0us"])
    client, names, every = daemon.redis(), ["f3", "f0", "f9"], [f"f{i}" for i in range(10)]
    references = [f"driver_stats:{name}" for name in names]

    def last(what: str) -> dict[str, Any]:
        return next(r for r in harness.http(daemon.admin, "GET", "/slowlog").json()["requests"] if what in r["what"])

    client.hmget("driver_stats:1", names)
    assert (last("hmget")["selection"], last("hmget")["features"]) == (number_of(names), 3)
    client.hmget("driver_stats:1", ["f3", "none of the release"])
    assert last("hmget")["selection"] == number_of(["f3", ""])
    key, fields = layout.key("rides", {"id": layout.int64(1)}), [layout.field("driver_stats", name) for name in names]
    client.hmget(key, [*fields, layout.time("driver_stats")])
    assert (last("hmget")["selection"], last("hmget")["features"]) == (number_of(names), 3)
    daemon.online_features({"id": [1, 2]}, references)
    assert last("get-online-features")["selection"] == number_of(names)
    plan = client.execute_command("PIL.PLAN", *references)
    client.execute_command("PIL.VECTOR", plan, "1", "1")
    assert last("pil.vector")["selection"] == number_of(names)
    assert last("pil.vector")["selection"] != number_of(sorted(names))
    client.execute_command("PIL.VECTOR", "every", "1")
    assert last("pil.vector")["selection"] == number_of(every)
    tensor = {"name": "id", "shape": [1], "datatype": "INT64", "data": [1]}
    assert harness.http(daemon.oip, "POST", "/v2/models/every/infer", {"inputs": [tensor]}).status == 200
    assert last("infer")["selection"] == number_of(every)
    client.hgetall("driver_stats:1")
    assert last("hgetall")["features"] == 0 and "selection" not in last("hgetall")


def test_logs_and_slowlog_hold_no_keys_and_no_values(store, start_pilliond):
    store.make_release(rows=1000, seed=1)
    daemon = start_pilliond(store, args=["--slowlog", "0us", "--log_format", "json", "--log_level", "debug"])
    client = daemon.redis()
    client.hget("driver_stats:987654321", "f0")
    value = client.hget("driver_stats:777", "f3").decode()
    with pytest.raises(redis.ResponseError):
        client.hget("driver_stats:secret-key-text", "f0")
    with pytest.raises(redis.ResponseError):
        client.execute_command("secret-key-text", "driver_stats:777")
    daemon.online_features({"id": ["secret-key-text", 987654321]}, ["driver_stats:f0"])
    shown = harness.http(daemon.admin, "GET", "/slowlog").text + repr(client.slowlog_get()) + daemon.log
    for hidden in ("987654321", "secret-key-text", value):
        assert hidden not in shown
    for line in daemon.log.splitlines():
        assert {"time", "level", "component", "event"} <= set(json.loads(line))
