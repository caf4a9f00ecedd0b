# SPDX-License-Identifier: Apache-2.0
"""One checker of soak.py that does not use libpillion's C interface: asks for values over one protocol, as its clients
do, until the run is over, and checks each against the release that the answer names, or, where a protocol names none,
that all values of the answer are of one release.

    ask.py TRUTH NUMBER KIND FOLDER     KIND: resp, feast, oip, python-mapped or python-socket

Exit status: 0 nothing was wrong, 1 something was. The first mistake of each kind is told on stderr.
"""
from __future__ import annotations

import json
import random
import struct
import sys
import time
from http.client import HTTPException
from pathlib import Path
from typing import Any, Callable, Sequence

import numpy
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / name) for name in ("system", "python")]
import harness  # noqa: E402
import vector_reader  # noqa: E402
from truth import VIEWS, Truth  # noqa: E402

PLAIN, ZONES = range(len(VIEWS))
MODULUS, BATCHES, TIMEOUT_S = 1000003, (1, 7, 50, 300), 5.0
PRESENT, NOT_FOUND = 1, 3


class Refused(Exception):
    """The server answered with an error that a right request must never get."""


class NotReady(Exception):
    """A view has no release yet: a new daemon may say so."""


class Checker:
    """What to ask, and what must come. Missing rows are NaN."""

    def __init__(self, truth: Truth, number: int):
        self.truth, self.number = truth, number
        self.random = random.Random(number)
        self.releases = [truth.releases(view) for view in range(len(VIEWS))]
        self.told: set[str] = set()

    def keys(self, count: int | None = None) -> list[int]:
        """Few are missing."""
        bound = self.truth.rows + self.truth.rows // 50 + 1
        return [self.random.randrange(bound) for _ in range(count or self.random.choice(BATCHES))]

    def features(self) -> list[int]:
        return self.random.sample(range(self.truth.features), self.random.randrange(1, self.truth.features + 1))

    def expected(self, keys: Sequence[int], features: Sequence[int], seed: int) -> Any:
        key, feature = numpy.asarray(keys, numpy.int64)[:, None], numpy.asarray(features, numpy.int64)[None, :]
        values = ((key * 31 + feature * 7 + seed) % MODULUS).astype(numpy.float64)
        values[(key >= self.truth.rows)[:, 0]] = numpy.nan
        return values

    def tell(self, field: str, text: str) -> None:
        self.truth.add(self.number, field)
        if field not in self.told:
            self.told.add(field)
            print(f"{field}: {' '.join(text.split())}", file=sys.stderr, flush=True)

    def check(self, what: str, keys: Sequence[int], features: Sequence[int], values: Any, release: str | None = None,
              view: int = PLAIN) -> None:
        got = numpy.asarray(values, numpy.float64)
        matching = [name for name, seed in self.releases[view].items()
                    if numpy.array_equal(got, self.expected(keys, features, seed), equal_nan=True)]
        missing = all(key >= self.truth.rows for key in keys)
        if release is not None and release not in self.releases[view]:
            self.tell("wrong", f"{what}: release {release} was never made")
        elif not matching:
            seeds = [[name for name, seed in self.releases[view].items()
                      if numpy.array_equal(row, self.expected([key], features, seed)[0], equal_nan=True)]
                     for key, row in zip(keys, got)]
            self.tell("mixed" if all(seeds) else "wrong", f"{what}: keys {keys[:9]} features {features}: {got[:9]}")
        elif release is not None and release not in matching and not missing:
            self.tell("mixed", f"{what}: says release {release}, has values of {matching}; keys {keys[:9]}")
        self.truth.add(self.number, "reads", len(keys))
        self.truth.add(self.number, "values", got.size)


# ---- RESP, by redis-py.

class Resp:
    def __init__(self, checker: Checker, folder: str):
        self.checker, self.random = checker, checker.random
        self.redis = redis.Redis(unix_socket_path=f"{folder}/resp.sock", socket_timeout=TIMEOUT_S, protocol=2,
                                 single_connection_client=True, retry=Retry(NoBackoff(), 0))
        self.plans: dict[int, list[int]] = {}
        self.columns: dict[int, list[int]] = {}
        self.both: int | None = None

    def close(self) -> None:
        self.redis.close()

    def plan(self, plans: dict[int, list[int]], *options: str) -> tuple[int, list[int]]:
        """A new one, or one of the last; some are forgotten."""
        if len(plans) > 8:
            number = self.random.choice(list(plans))
            self.redis.execute_command("PIL.FORGET", number)
            del plans[number]
        if not plans or self.random.random() < 0.1:
            features = self.checker.features()
            number = self.redis.execute_command("PIL.PLAN", *options, *(f"soak/plain:f{i}" for i in features))
            plans[number] = features
        return self.random.choice(list(plans.items()))

    def vector(self) -> None:
        number, features = self.plan(self.plans)
        keys = self.checker.keys()
        if self.random.random() < 0.5:
            answer = self.redis.execute_command("PIL.VECTOR64", number, struct.pack(f"<{len(keys)}q", *keys))
        else:
            answer = self.redis.execute_command("PIL.VECTOR", number, *keys)
        found = vector_reader.read(answer)
        self.checker.check("PIL.VECTOR", keys, features, found.values, found.views[0].release)

    def both_views(self) -> None:
        """Features in turns; the zone of a key is its remainder by 7."""
        count = self.checker.truth.features
        names = [f"{'pairs/zones' if i % 2 else 'soak/plain'}:f{i}" for i in range(count)]
        if self.both is None:
            self.both = self.redis.execute_command("PIL.PLAN", "FLOAT64", *names)
        keys = self.checker.keys()
        pairs = [f"{key}|z{key % 7}" for key in keys]
        found = vector_reader.read(self.redis.execute_command("PIL.VECTOR", self.both, *pairs))
        for view in (PLAIN, ZONES):
            self.checker.check("PIL.VECTOR", keys, range(view, count, 2), [row[view::2] for row in found.values],
                               found.views[view].release, view)

    def column(self) -> None:
        number, features = self.plan(self.columns, "COLUMNS")
        keys = self.checker.keys()
        found = vector_reader.read_columns(self.redis.execute_command("PIL.COLUMNS", number, *keys))
        values = [[value if status == PRESENT else numpy.nan for value, status in zip(column.values, column.statuses)]
                  for column in found.columns]
        self.checker.check("PIL.COLUMNS", keys, features, numpy.transpose(values), found.views[0].release)

    def rows(self, is_moment: bool) -> None:
        """A pipeline, where each answer is of one release; or MULTI, where all are of one moment."""
        keys, features = self.checker.keys(30), self.checker.features()
        with self.redis.pipeline(transaction=is_moment) as pipeline:
            for key in keys:
                pipeline.hmget(f"soak/plain:{key}", [f"f{i}" for i in features])
            answers = pipeline.execute()
        values = [[numpy.nan if value is None else float(value) for value in row] for row in answers]
        if is_moment:
            self.checker.check("EXEC", keys, features, values)
            return
        for key, row in zip(keys, values):
            self.checker.check("HMGET", [key], features, [row])

    def ask(self) -> None:
        kind = self.random.choice((self.vector, self.vector, self.both_views, self.column,
                                   lambda: self.rows(False), lambda: self.rows(True)))
        kind()


# ---- HTTP.

class Http:
    def __init__(self, checker: Checker, folder: str, protocol: str):
        self.checker, self.random = checker, checker.random
        self.connection = harness.UnixHTTPConnection(f"{folder}/{protocol}.sock", TIMEOUT_S)

    def close(self) -> None:
        self.connection.close()

    def post(self, path: str, body: bytes, headers: dict[str, str]) -> harness.Answer:
        self.connection.request("POST", path, body, headers)
        answer = harness.Answer(self.connection.getresponse())
        if answer.status == 503:
            raise ConnectionError(answer.text)
        if answer.status != 200:
            raise Refused(f"{answer.status} {answer.text}")
        return answer


class Feast(Http):
    def ask(self) -> None:
        keys, features = self.checker.keys(), self.checker.features()
        body = {"features": [f"plain:f{i}" for i in features], "entities": {"id": keys}}
        answer = self.post("/get-online-features", json.dumps(body).encode(), {}).json()
        columns = dict(zip(answer["metadata"]["feature_names"], answer["results"]))
        values = [columns[f"f{i}"]["values"] for i in features]
        statuses = {status for i in features for status in columns[f"f{i}"]["statuses"]}
        if not statuses <= {"PRESENT", "NOT_FOUND"}:
            self.checker.tell("wrong", f"statuses {statuses}")
        self.checker.check("Feast", keys, features, numpy.transpose(numpy.array(values, numpy.float64)))


class Oip(Http):
    def ask(self) -> None:
        keys, count = self.checker.keys(), self.checker.truth.features
        tensor: dict[str, Any] = {"name": "id", "datatype": "INT64", "shape": [len(keys)]}
        output = {"name": "features", "parameters": {"binary_data": self.random.random() < 0.5}}
        raw, headers = b"", {}
        if self.random.random() < 0.5:
            raw = struct.pack(f"<{len(keys)}q", *keys)
            tensor["parameters"] = {"binary_data_size": len(raw)}
        else:
            tensor["data"] = keys
        head = json.dumps({"inputs": [tensor], "outputs": [output]}).encode()
        if raw:
            headers["Inference-Header-Content-Length"] = str(len(head))
        answer = self.post("/v2/models/soak%2Fevery/infer", head + raw, headers)
        length = int(answer.headers.get("inference-header-content-length", len(answer.body)))
        document = json.loads(answer.body[:length])
        data = numpy.frombuffer(answer.body[length:], "<f4") if output["parameters"]["binary_data"] else \
            numpy.array(document["outputs"][0]["data"], numpy.float64)
        self.checker.check("OIP", keys, range(count), data.reshape(len(keys), count),
                           document["parameters"]["plain.release"])


# ---- The Python client.

class Python:
    def __init__(self, checker: Checker, folder: str, is_mapped: bool):
        import pillion
        self.checker, self.pillion = checker, pillion
        self.client = pillion.Client(f"unix:{folder}/mapped.sock" if is_mapped else None, f"unix:{folder}/resp.sock",
                                     timeout=TIMEOUT_S)
        self.chosen = [checker.features() for _ in range(8)]

    def close(self) -> None:
        self.client.close()

    def ask(self) -> None:
        keys, features = self.checker.keys(), self.checker.random.choice(self.chosen)
        try:
            answer = self.client.read([f"soak/plain:f{i}" for i in features], numpy.array(keys, numpy.int64))
        except self.pillion.UnavailableError as error:
            raise ConnectionError(str(error)) from error
        except self.pillion.NotReadyError as error:
            raise NotReady(str(error)) from error
        self.checker.truth.add(self.checker.number, "mapped_calls", answer.is_mapped)
        self.checker.check("read", keys, features, answer.values, answer.views[0].release)


CLIENTS: dict[str, Callable[[Checker, str], Any]] = {
    "resp": Resp,
    "feast": lambda checker, folder: Feast(checker, folder, "feast"),
    "oip": lambda checker, folder: Oip(checker, folder, "oip"),
    "python-mapped": lambda checker, folder: Python(checker, folder, True),
    "python-socket": lambda checker, folder: Python(checker, folder, False),
}


def run(checker: Checker, connect: Callable[[], Any]) -> None:
    """Connects anew after each failure."""
    client = None
    while not checker.truth.is_over:
        checker.truth.add(checker.number, "calls")
        try:
            client = client or connect()
            client.ask()
            checker.truth.add(checker.number, "failed ok")
            continue
        except (NotReady, redis.BusyLoadingError):
            checker.truth.add(checker.number, "failed not ready")
        except (OSError, EOFError, HTTPException, redis.ConnectionError, redis.TimeoutError):
            checker.truth.add(checker.number, "failed unavailable")
        except (Refused, redis.ResponseError) as error:
            if str(error).startswith("NOTREADY "):
                checker.truth.add(checker.number, "failed not ready")
            else:
                checker.tell("failed invalid", str(error))
        if client is not None:
            client.close()
        client = None
        time.sleep(0.01)  # a server that is gone
    if client is not None:
        client.close()


def main() -> int:
    path, number, kind, folder = sys.argv[1:]
    checker = Checker(Truth(Path(path)), int(number))
    run(checker, lambda: CLIENTS[kind](checker, folder))
    score = checker.truth.scores()[checker.number]
    return 1 if score["wrong"] + score["mixed"] > 0 else 0


if __name__ == "__main__":
    sys.exit(main())
