# SPDX-License-Identifier: Apache-2.0
"""Times of the server and datetimes, exactly: both are whole microseconds. For the extension and the client."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Optional

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)


def from_us(microseconds: int) -> datetime:
    """The value of a unix_timestamp."""
    return _EPOCH + timedelta(microseconds=microseconds)


def to_us(moment: datetime) -> Optional[int]:
    """Microseconds since 1970; None for a datetime without a zone, which Python takes for the local time of whoever
    asks."""
    return None if moment.utcoffset() is None else (moment - _EPOCH) // _MICROSECOND
