# SPDX-License-Identifier: Apache-2.0
"""The reader of schemas/wire.md and the golden answer: what every later version must still mean by these bytes."""

import math
from pathlib import Path

import vector_reader

GOLDEN = Path(__file__).resolve().parents[2] / "schemas" / "golden" / "vector-1" / "answer.bin"


def test_golden_answer():
    vectors = vector_reader.read(GOLDEN.read_bytes())
    assert vectors.element_bytes == 4 and vectors.now_us == 1700086400000000
    assert vectors.statuses == [(1, 2, 3), (3, 3, 3)]
    assert vectors.times_us == [(1700000000000000, -(2**63)), (-(2**63), -(2**63))]
    assert vectors.values[0][:2] == (1.5, 0.0) and math.copysign(1, vectors.values[0][1]) == -1
    assert all(map(math.isnan, vectors.values[0][2:] + vectors.values[1]))
    assert vectors.views == [
        vector_reader.View("0123456789abcdef", 3, 86400000000, 1, 1700000000000000),
        vector_reader.View("fedcba9876543210", 1, -1, 2, 0),
    ]
