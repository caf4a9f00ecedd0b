# SPDX-License-Identifier: Apache-2.0
"""The file that soak.py shares with its checkers: what was promoted when, and what each checker has found. truth.h has
the same layout."""
from __future__ import annotations

import mmap
import time
from pathlib import Path

VIEWS = (("soak", "plain", "int64"), ("pairs", "zones", "pair"))
RESULTS = ("ok", "invalid", "not found", "denied", "unsupported", "too large", "not ready", "unavailable", "corrupt",
           "system")


class Truth:
    """Opens the file; `create` makes it first."""

    RELEASES, PROMOTIONS, CHECKERS = 16, 1 << 16, 16
    FIELDS = ("calls", "mapped_calls", "reads", "values", "wrong", "mixed", "stale", "stale_us_max",
              *(f"failed {name}" for name in RESULTS), "refreshes", "reconnects")
    RELEASE_AT = 32 + 8 * len(VIEWS)
    COUNT_AT = RELEASE_AT + len(VIEWS) * RELEASES * 24
    PROMOTION_AT = COUNT_AT + 8 * len(VIEWS)
    SCORE_AT = PROMOTION_AT + len(VIEWS) * PROMOTIONS * 24
    BYTES = SCORE_AT + CHECKERS * 8 * len(FIELDS)

    def __init__(self, path: Path):
        self.path = path
        with path.open("r+b") as file:
            self.memory = mmap.mmap(file.fileno(), self.BYTES)
        # A word in one store: struct.pack_into zeroes it first, which the checkers would see.
        self.words = memoryview(self.memory).cast("Q")
        self.counts = [0] * len(VIEWS)

    @classmethod
    def create(cls, path: Path, rows: int, features: int) -> Truth:
        path.write_bytes(bytes(cls.BYTES))
        truth = cls(path)
        truth.put(8, rows)
        truth.put(16, features)
        return truth

    def put(self, offset: int, word: int) -> None:
        self.words[offset // 8] = word

    def add_release(self, view: int, number: int, release: str, seed: int) -> None:
        at = self.RELEASE_AT + (view * self.RELEASES + number) * 24
        self.memory[at : at + 16] = release.encode()
        self.put(at + 16, seed)
        self.put(32 + 8 * view, number + 1)

    def promote(self, view: int, number: int, bound_us: int) -> int:
        """Before the channel is changed; the entry's offset, for served()."""
        at = self.PROMOTION_AT + (view * self.PROMOTIONS + self.counts[view]) * 24
        self.put(at, number)
        self.put(at + 16, bound_us)
        self.counts[view] += 1
        self.put(self.COUNT_AT + 8 * view, self.counts[view])
        return at

    def served(self, at: int) -> None:
        self.put(at + 8, time.monotonic_ns() // 1000)

    def server_ends(self, count: int) -> None:
        """Before it is killed."""
        self.put(24, count)

    def end(self) -> None:
        self.put(0, 1)

    # ---- For checkers.

    @property
    def is_over(self) -> bool:
        return self.words[0] != 0

    @property
    def rows(self) -> int:
        return self.words[1]

    @property
    def features(self) -> int:
        return self.words[2]

    def releases(self, view: int) -> dict[str, int]:
        """The seed of each, by its id."""
        first = self.RELEASE_AT + view * self.RELEASES * 24
        entries = [first + i * 24 for i in range(self.words[4 + view])]
        return {self.memory[at : at + 16].decode(): self.words[(at + 16) // 8] for at in entries}

    def add(self, checker: int, field: str, count: int = 1) -> None:
        """By that checker alone."""
        self.words[self.SCORE_AT // 8 + checker * len(self.FIELDS) + self.FIELDS.index(field)] += count

    def scores(self) -> list[dict[str, int]]:
        first, size = self.SCORE_AT // 8, len(self.FIELDS)
        words = [self.words[first + i * size : first + (i + 1) * size] for i in range(self.CHECKERS)]
        return [dict(zip(self.FIELDS, of_one)) for of_one in words]
