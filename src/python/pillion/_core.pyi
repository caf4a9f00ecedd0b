# SPDX-License-Identifier: Apache-2.0
from typing import Any, Callable

VERSION: str
EVENT_COLUMN: str
STORE_FORMS: str
CREATED_COLUMN: str
EVENT_NS_COLUMN: str
CREATED_NS_COLUMN: str
MEMORY_MIN: int

class Error(Exception):
    """args = (code, text); code is a name of pil_status: "INVALID", "IO", …"""

def project_json(path: str) -> str: ...

def check_store(store: bytes, view: str, channel: str) -> None: ...
def check_channel(name: bytes) -> None: ...
def promote(store: bytes, release: str, channel: str) -> None: ...

class Ingest:
    def __init__(self, project: str, view: str, temporary: bytes, memory_bytes: int, outside_bytes: int, threads: int,
                 event_ts_us_max: int, as_of_us: int, as_of_ns: int, on_flaw: Callable[[int, str, str, str], bool],
                 on_conflict: Callable[[bytes, int, int], bool],
                 on_progress: Callable[[str, int, int], Any]) -> None: ...
    def stream(self, capsule: object) -> None: ...
    def merge(self) -> str: ...
    def publish(self, store: bytes, extra: str) -> str: ...
