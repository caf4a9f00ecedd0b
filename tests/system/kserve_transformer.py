# SPDX-License-Identifier: Apache-2.0
"""A KServe transformer as one writes it, run by kserve's own server: entities in, by protocol v1; their features from
what --predictor_host names, by protocol v2 with binary tensors; features and statuses out. For test_oip_kserve.py."""

from __future__ import annotations

import argparse
from typing import Any

import kserve
import numpy as np
from kserve.protocol.infer_type import RequestedOutput


class Transformer(kserve.Model):
    def __init__(self, name: str) -> None:
        super().__init__(name, return_response_headers=True)
        self.ready = True

    async def preprocess(self, payload: Any, headers: Any = None) -> kserve.InferRequest:
        keys = np.array([row["id"] for row in payload["instances"]], dtype=np.int64)
        tensor = kserve.InferInput("id", list(keys.shape), "INT64")
        tensor.set_data_from_numpy(keys, binary_data=True)
        outputs = [RequestedOutput(name, {"binary_data": True}) for name in ("features", "statuses")]
        return kserve.InferRequest(self.name, [tensor], request_outputs=outputs)

    async def postprocess(self, result: Any, headers: Any = None, response_headers: Any = None) -> Any:
        features, statuses = (result.get_output_by_name(name).as_numpy() for name in ("features", "statuses"))
        return {
            "predictions": [[None if np.isnan(value) else float(value) for value in row] for row in features],
            "statuses": statuses.tolist(),
            "parameters": result.parameters,
            "content_type": response_headers["content-type"],
        }


if __name__ == "__main__":
    arguments, _ = argparse.ArgumentParser(parents=[kserve.model_server.parser]).parse_known_args()
    kserve.ModelServer().start([Transformer(arguments.model_name)])
