#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One process that reads batches into a preallocated numpy array, again and again: Pillion's Python client and what one
would use instead. Options and the JSON line are those of pillion-embed.

Keys are converted to the form that the client wants (numpy int64 for Pillion, bytes for the others) just before the
clock of a call starts; the cost of that and of the loop is subtracted from CPU time. All values of the first batches
are checked."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from dataclasses import dataclass
from typing import Any, Callable, Iterator, Sequence

import numpy

POOL_KEYS = 1 << 19  # drawn in advance; their rows do not fit into a cache
CHECKED = 8  # number of batches whose values are checked before measuring

Get = Callable[[Any, numpy.ndarray], None]  # takes the keys of a call and the array to fill


@dataclass(frozen=True)
class Opened:
    """A client: the conversion of its keys, and the call that is measured."""

    keys_of: Callable[[numpy.ndarray], Any]
    get: Get


def prefixed(prefix: str) -> Callable[[numpy.ndarray], Any]:
    return lambda ids: [b"%s%d" % (prefix.encode(), row) for row in ids.tolist()]


def fill(rows: Sequence[Any], out: numpy.ndarray) -> None:
    """Copies packed rows of float32; bytes after the values of a row are ignored."""
    packed = numpy.frombuffer(b"".join(rows), numpy.uint8).reshape(len(rows), -1)
    out[:] = packed[:, : out.shape[1] * 4].view(numpy.float32)


@contextlib.contextmanager
def open_pillion(options: argparse.Namespace) -> Iterator[Opened]:
    import pillion

    where = {"resp" if options.reader == "pillion-socket" else "mapped": options.address}
    with pillion.Client(**where) as client:
        if options.reader == "pillion-online":

            def online(ids: numpy.ndarray, out: numpy.ndarray) -> None:
                answer = client.get_online_features(features=names, entity_rows={"id": ids}).to_dict()
                for column, name in enumerate(columns):
                    out[:, column] = answer[name]

            columns = [f"f{f}" for f in range(options.features)]
            names = [f"{options.view}:{name}" for name in columns]
            yield Opened(lambda ids: ids, online)
        else:
            vectors, service = client.vectors, options.service
            yield Opened(lambda ids: ids, lambda ids, out: vectors(service, ids, out))


@contextlib.contextmanager
def open_redis(options: argparse.Namespace) -> Iterator[Opened]:
    import redis
    from redis.utils import HIREDIS_AVAILABLE

    if not HIREDIS_AVAILABLE:
        sys.exit("fast_python: redis-py does not find hiredis")
    client = redis.Redis(unix_socket_path=options.address.partition(":")[2])
    mget = client.mget
    yield Opened(prefixed(options.key_prefix), lambda keys, out: fill(mget(keys), out))
    client.close()


@contextlib.contextmanager
def open_memcached(options: argparse.Namespace) -> Iterator[Opened]:
    from pymemcache.client.base import Client

    client = Client(options.address)

    def get(keys: Sequence[bytes], out: numpy.ndarray) -> None:
        found = client.get_many(keys)
        fill([found[key] for key in keys], out)

    yield Opened(prefixed(options.key_prefix), get)
    client.close()


@contextlib.contextmanager
def open_lmdb(options: argparse.Namespace) -> Iterator[Opened]:
    import lmdb

    env = lmdb.open(options.path, readonly=True, lock=False, readahead=False)

    def get(keys: Sequence[bytes], out: numpy.ndarray) -> None:
        with env.begin(buffers=True) as read:
            fill(list(map(read.get, keys)), out)

    yield Opened(lambda ids: [ids[i : i + 1].tobytes() for i in range(len(ids))], get)
    env.close()


@contextlib.contextmanager
def open_feast(options: argparse.Namespace) -> Iterator[Opened]:
    from feast import FeatureStore

    store = FeatureStore(options.path)
    columns = [f"f{f}" for f in range(options.features)]
    names = [f"{options.view}:{name}" for name in columns]

    def get(rows: list[dict], out: numpy.ndarray) -> None:
        answer = store.get_online_features(features=names, entity_rows=rows).to_dict()
        for column, name in enumerate(columns):
            out[:, column] = answer[name]

    yield Opened(lambda ids: [{"id": row} for row in ids.tolist()], get)


READERS: dict[str, Callable[[argparse.Namespace], contextlib.AbstractContextManager[Opened]]] = {
    "pillion": open_pillion,
    "pillion-socket": open_pillion,
    "pillion-online": open_pillion,
    "redis": open_redis,
    "memcached": open_memcached,
    "lmdb": open_lmdb,
    "feast": open_feast,
}


def expected(ids: numpy.ndarray, features: int, seed: int) -> numpy.ndarray:
    return ((ids[:, None] * 31 + numpy.arange(features) * 7 + seed) % 1000003).astype(numpy.float32)


def nothing(_keys: Any, _out: numpy.ndarray) -> None:
    """Does nothing: measures the cost of the loop itself."""


def measure(
    get: Get, keys_of: Callable[[numpy.ndarray], Any], drawn: numpy.ndarray, out: numpy.ndarray, seconds: float
) -> tuple[list[int], float]:
    """Returns nanoseconds of each call, and CPU microseconds of one iteration of the loop."""
    clock, count = time.perf_counter_ns, len(drawn)
    found: list[int] = []
    cpu, now, at = time.process_time(), clock(), 0
    end = now + int(seconds * 1e9)
    while now < end or not found:
        keys = keys_of(drawn[at])
        begin = clock()
        get(keys, out)
        now = clock()
        found.append(now - begin)
        at = at + 1 if at + 1 < count else 0
    return found, (time.process_time() - cpu) / len(found) * 1e6


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--reader", choices=READERS, required=True)
    add("--address", default="", help="unix:PATH of a server")
    add("--path", default="", help="folder of LMDB's environment or Feast's repository")
    add("--service", default="every")
    add("--view", default="view")
    add("--key-prefix", default="")
    add("--keys", type=int, default=1000)
    add("--features", type=int, default=50)
    add("--batch", type=int, default=1)
    add("--duration", type=float, default=3.0)
    add("--warmup", type=float, default=0.5)
    add("--verify", type=int, default=1, metavar="SEED", help="make_release's")
    add("--random", type=int, default=1)
    add("--json", action="store_true")
    return parser.parse_args()


def main() -> None:
    options = parse()
    chance = numpy.random.default_rng(options.random)
    drawn = chance.integers(0, options.keys, (max(CHECKED, POOL_KEYS // options.batch), options.batch), numpy.int64)
    out = numpy.zeros((options.batch, options.features), numpy.float32)
    wrong = 0
    with READERS[options.reader](options) as opened:
        for ids in drawn[:CHECKED]:
            out[:] = -1
            opened.get(opened.keys_of(ids), out)
            wrong += int((out != expected(ids, options.features, options.verify)).sum())
        measure(opened.get, opened.keys_of, drawn, out, options.warmup)
        calls, cpu_us = measure(opened.get, opened.keys_of, drawn, out, options.duration)
        _, loop_us = measure(nothing, opened.keys_of, drawn, out, options.duration / 5)
    p50, p99, p999 = (float(x) / 1000 for x in numpy.quantile(calls, [0.5, 0.99, 0.999]))
    result = {
        "reader": options.reader,
        "batch": options.batch,
        "features": options.features,
        "calls": len(calls),
        "p50_us": p50,
        "p99_us": p99,
        "p999_us": p999,
        "vectors_per_s": len(calls) * options.batch / sum(calls) * 1e9,
        "cpu_us_per_call": max(0.0, cpu_us - loop_us),
        "wrong": wrong,
        "failed": 0,
    }
    print(json.dumps(result) if options.json else "\n".join(f"{name}: {value}" for name, value in result.items()))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
