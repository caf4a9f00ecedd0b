# SPDX-License-Identifier: Apache-2.0
"""The Open Inference Protocol by unmodified KServe: its REST client, and a transformer under its model server that
has features from Pillion where it would call a predictor. JSON and binary tensors, both back ends."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any, Awaitable, Callable

import harness
import httpx
import numpy as np
import pytest
import synthetic
from kserve import InferenceRESTClient, InferInput, InferRequest, InferResponse, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

TRANSFORMER = Path(__file__).with_name("kserve_transformer.py")


@pytest.fixture
def daemon(store: harness.Store, start_pilliond: Any, engine: str) -> harness.Pilliond:
    store.make_release(rows=1000)
    return start_pilliond(store, engine=engine)


def ask(daemon: harness.Pilliond, call: Callable[[InferenceRESTClient, str], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with InferenceRESTClient(RESTConfig(protocol="v2", timeout=harness.DEADLINE_S)) as client:
            return await call(client, "http://" + daemon.oip.partition(":")[2])

    return asyncio.run(run())


def request(keys: list[int], binary_in: bool, binary_out: bool, request_id: str = "r-1") -> InferRequest:
    tensor = InferInput("id", [len(keys)], "INT64")
    tensor.set_data_from_numpy(np.array(keys, dtype=np.int64), binary_data=binary_in)
    outputs = [RequestedOutput(name, {"binary_data": binary_out}) for name in ("features", "statuses")]
    return InferRequest("every", [tensor], request_id=request_id, request_outputs=outputs)


def expect(response: InferResponse, keys: list[int]) -> None:
    features = response.get_output_by_name("features").as_numpy()
    statuses = response.get_output_by_name("statuses").as_numpy()
    assert features.dtype == np.float32 and statuses.dtype == np.uint8
    for key, values, status in zip(keys, features, statuses):
        there = key < 1000
        expected = list(synthetic.row("floats", key, 1).values()) if there else [np.nan] * 10
        assert np.array_equal(values, np.array(expected, dtype=np.float32), equal_nan=True)
        assert set(status) == {1 if there else 3}


@pytest.mark.parametrize("binary_in", [True, False], ids=["binary", "json"])
@pytest.mark.parametrize("binary_out", [True, False], ids=["to-binary", "to-json"])
def test_the_client_gets_the_right_tensors(daemon, binary_in, binary_out):
    keys = [5, 999, 1000, 0, 2**62, 5]
    response = ask(daemon, lambda client, url: client.infer(url, request(keys, binary_in, binary_out), "every"))
    expect(response, keys)
    assert response.model_name == "every" and response.id == "r-1"
    assert response.parameters["driver_stats.not_found"] == 2
    assert daemon.serving(response.parameters["driver_stats.release"])


def test_over_a_unix_socket(store, start_pilliond, engine, folder):
    store.make_release(rows=1000)
    path = str(folder / "oip.sock")
    listen = {"oip": f"unix:{path}", "admin": f"tcp:127.0.0.1:{harness.free_port()}"}
    start_pilliond(store, engine=engine, listen=listen)

    async def run() -> InferResponse:
        config = RESTConfig(protocol="v2", transport=httpx.AsyncHTTPTransport(uds=path))
        async with InferenceRESTClient(config) as client:
            return await client.infer("http://pillion", request([1, 2], True, True), "every")

    expect(asyncio.run(run()), [1, 2])


def test_health_and_errors(daemon):
    assert ask(daemon, lambda client, url: client.is_server_live(url)) is True
    assert ask(daemon, lambda client, url: client.is_server_ready(url)) is True
    assert ask(daemon, lambda client, url: client.is_model_ready(url, "every")) is True
    assert ask(daemon, lambda client, url: client.is_model_ready(url, "nobody")) is False
    wrong = InferRequest("every", [InferInput("driver", [1], "INT64", [1])])
    with pytest.raises(httpx.HTTPStatusError, match=r"input driver is not one of the model's; they are: id \(INT64\)"):
        ask(daemon, lambda client, url: client.infer(url, wrong, "every"))


def test_a_transformer_has_its_features_from_here(daemon, folder):
    keys = list(range(990, 1010))
    port = str(harness.free_port())
    options = ("--http_port", port, "--enable_grpc", "false", "--model_name", "every", "--workers", "1")
    predictor = ("--predictor_host", daemon.oip.partition(":")[2], "--predictor_protocol", "v2")
    transformer = harness.Process("transformer", [sys.executable, str(TRANSFORMER), *options, *predictor], folder)
    address = f"tcp:127.0.0.1:{port}"
    try:
        harness.wait_until("kserve's server", lambda: harness.connect(address).close() or True, 60)
        body = {"instances": [{"id": key} for key in keys]}
        answer = harness.http(address, "POST", "/v1/models/every:predict", body, {"Content-Type": "application/json"})
        assert answer.status == 200, answer.text + transformer.log
    finally:
        transformer.destroy()
    told = answer.json()
    for key, values, statuses in zip(keys, told["predictions"], told["statuses"]):
        there = key < 1000
        assert values == (list(synthetic.row("floats", key, 1).values()) if there else [None] * 10), key
        assert set(statuses) == {1 if there else 3}
    assert told["content_type"] == "application/octet-stream"
    assert daemon.serving(told["parameters"]["driver_stats.release"])
