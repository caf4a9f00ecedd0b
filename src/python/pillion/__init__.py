# SPDX-License-Identifier: Apache-2.0
"""Pillion for Python: the client (docs/python.md) and, with the extra [build], the programs pillion-build and
pillion-init (pillion.build, pillion.init)."""

from pillion._client import VERSION as __version__
from pillion.client import Answer, Client, Feature, Info, OnlineResponse, Plan, ViewAnswer, ViewInfo
from pillion.errors import (
    CorruptError,
    FeastObjectNotFoundException,
    FeastPermissionError,
    FeatureNameCollisionError,
    FeatureNotFoundException,
    FeatureServiceNotFoundException,
    FeatureViewNotFoundException,
    InvalidRequestError,
    MissingJoinKeyError,
    NotReadyError,
    PillionError,
    ResourceError,
    TooLargeError,
    UnavailableError,
    UnsupportedError,
)

# Statuses of values; the numbers are those of Feast.
PRESENT = 1
NULL_VALUE = 2
NOT_FOUND = 3
OUTSIDE_MAX_AGE = 4

__all__ = [
    "NOT_FOUND",
    "NULL_VALUE",
    "OUTSIDE_MAX_AGE",
    "PRESENT",
    "Answer",
    "Client",
    "CorruptError",
    "FeastObjectNotFoundException",
    "FeastPermissionError",
    "Feature",
    "FeatureNameCollisionError",
    "FeatureNotFoundException",
    "FeatureServiceNotFoundException",
    "FeatureViewNotFoundException",
    "Info",
    "InvalidRequestError",
    "MissingJoinKeyError",
    "NotReadyError",
    "OnlineResponse",
    "PillionError",
    "Plan",
    "ResourceError",
    "TooLargeError",
    "UnavailableError",
    "UnsupportedError",
    "ViewAnswer",
    "ViewInfo",
    "__version__",
]
