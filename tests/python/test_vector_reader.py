# SPDX-License-Identifier: Apache-2.0
"""The reader of schemas/wire.md and the golden answers: what every later version must still mean by these bytes."""

import math
from pathlib import Path

import vector_reader

GOLDEN = Path(__file__).resolve().parents[2] / "schemas" / "golden"


def test_golden_vectors():
    vectors = vector_reader.read((GOLDEN / "vector-1" / "answer.bin").read_bytes())
    assert vectors.element_bytes == 4 and vectors.now_us == 1700086400000000
    assert vectors.statuses == [(1, 2, 3), (3, 3, 3)]
    assert vectors.times_us == [(1700000000000000, -(2**63)), (-(2**63), -(2**63))]
    assert vectors.values[0][:2] == (1.5, 0.0) and math.copysign(1, vectors.values[0][1]) == -1
    assert all(map(math.isnan, vectors.values[0][2:] + vectors.values[1]))
    assert vectors.views == [
        vector_reader.View("0123456789abcdef", 3, 86400000000, 1, 1700000000000000),
        vector_reader.View("fedcba9876543210", 1, -1, 2, 0),
    ]


def test_golden_columns():
    found = vector_reader.read_columns((GOLDEN / "columns-1" / "answer.bin").read_bytes())
    assert found.now_us == 1700086400000000
    assert [(column.type, column.values, column.statuses) for column in found.columns] == [
        ("int64", [-5, 0, 0], (1, 2, 3)),
        ("string", ["hi", "é!", ""], (1, 4, 3)),
        ("list<bool>", [[True, False], [], []], (1, 1, 3)),
        ("list<bytes>", [[b"a", b""], [b"\x00\xff\x7f"], []], (1, 1, 3)),
        ("vector<float16,2>", [[1.5, -2.0], [0.0, 0.0], [0.0, 0.0]], (1, 2, 3)),
        ("unix_timestamp", [1700000000000000] * 3, (3, 3, 3)),  # a default
    ]
    assert found.times_us == [(1700000000000000, -(2**63)), (1700000000000001, -(2**63)), (-(2**63), -(2**63))]
    assert found.views == [
        vector_reader.View("0123456789abcdef", 3, 86400000000, 1, 1700000000000000),
        vector_reader.View("fedcba9876543210", 1, -1, 3, 0),
    ]
