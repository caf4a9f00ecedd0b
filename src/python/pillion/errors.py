# SPDX-License-Identifier: Apache-2.0
"""The exceptions, each for a different reaction of the caller. Names and bases are Feast's where Feast has one, so that
code which catches them keeps working when the import changes; Python's own (ValueError, KeyError …) can be caught,
too."""

from __future__ import annotations

import re
from typing import Dict, Type

__all__ = [
    "CorruptError",
    "FeastObjectNotFoundException",
    "FeastPermissionError",
    "FeatureNameCollisionError",
    "FeatureNotFoundException",
    "FeatureServiceNotFoundException",
    "FeatureViewNotFoundException",
    "InvalidRequestError",
    "MissingJoinKeyError",
    "NotReadyError",
    "PillionError",
    "ResourceError",
    "TooLargeError",
    "UnavailableError",
    "UnsupportedError",
]


class PillionError(Exception):
    """Base class of all exceptions of this package."""


class InvalidRequestError(PillionError, ValueError):
    """The call is wrong: correct it."""


class MissingJoinKeyError(PillionError, KeyError):
    """Keys lack a join key."""

    __str__ = Exception.__str__  # KeyError shows the repr


class FeastObjectNotFoundException(PillionError):
    """An object that does not exist on this node."""


class FeatureServiceNotFoundException(FeastObjectNotFoundException):
    """No such feature service on this node."""


class FeatureViewNotFoundException(FeastObjectNotFoundException):
    """No such feature view on this node."""


class FeatureNotFoundException(FeastObjectNotFoundException, KeyError):
    """The view has no such feature (a KeyError in Feast)."""

    __str__ = Exception.__str__


class FeatureNameCollisionError(PillionError):
    """Features of different views have the same name: use full_feature_names."""


class FeastPermissionError(PillionError, PermissionError):
    """This process may not read that view."""


class UnsupportedError(PillionError, TypeError):
    """A type that no tensor holds (use get_online_features), or a newer protocol."""


class TooLargeError(PillionError, ValueError):
    """A limit of the server is exceeded."""


class NotReadyError(PillionError):
    """A view has no release yet, or min_release has not arrived yet: try again later."""


class UnavailableError(PillionError, ConnectionError):
    """Nothing is mapped, and the server does not answer."""


class CorruptError(PillionError):
    """Mapped or received data failed a check; none of it was used."""


class ResourceError(PillionError, OSError):
    """No memory, no descriptors …"""


# By pillion_result of libpillion.
_BY_RESULT: Dict[int, Type[PillionError]] = {
    1: InvalidRequestError,
    2: FeastObjectNotFoundException,
    3: FeastPermissionError,
    4: UnsupportedError,
    5: TooLargeError,
    6: NotReadyError,
    7: UnavailableError,
    8: CorruptError,
    9: ResourceError,
    10: ResourceError,
}
_NOT_FOUND = (
    (re.compile(r"\bhas no feature\b"), FeatureNotFoundException),
    (re.compile(r"\bservice\b"), FeatureServiceNotFoundException),
    (re.compile(r"\bview\b"), FeatureViewNotFoundException),
)


def error_of(result: int, text: str) -> PillionError:
    """For the extension: makes the exception for a result and its sentence."""
    kind = _BY_RESULT.get(result, PillionError)
    if kind is FeastObjectNotFoundException:
        kind = next((found for pattern, found in _NOT_FOUND if pattern.search(text)), kind)
    return kind(text)
