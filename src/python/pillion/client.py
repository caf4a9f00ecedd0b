# SPDX-License-Identifier: Apache-2.0
"""The client: feature vectors from the Pillion of this node. docs/python.md has examples."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple, Union

from pillion import _client, frames
from pillion.errors import FeatureNameCollisionError
from pillion.times import from_us

if TYPE_CHECKING:
    import numpy
    import pandas
    import pyarrow

__all__ = ["Answer", "Client", "Feature", "Info", "OnlineResponse", "Plan", "ViewAnswer", "ViewInfo"]

Service = Union[str, Sequence[str]]


@dataclass(frozen=True)
class ViewAnswer:
    """What a call read from one view."""

    view: str  # "project/view"
    release: str
    generation: int  # counted by the server process
    worst_age: Optional[float]  # seconds since the oldest event among the rows found; None: none of them has one
    not_found: int  # number of rows
    created: datetime  # when the release was made


@dataclass(frozen=True, eq=False)
class Answer:
    """The result of Client.read for n keys."""

    values: Any  # [n, width]; this is `out` if it was given
    statuses: "numpy.ndarray"  # [n, features] of uint8: pillion.PRESENT, NULL_VALUE, NOT_FOUND, OUTSIDE_MAX_AGE
    event_timestamps: "numpy.ndarray"  # [n, views] of datetime64[us]; NaT when not found, 1970 in static views
    views: Tuple[ViewAnswer, ...]
    is_mapped: bool  # read in this process; otherwise over the socket
    staleness: float  # mapped: seconds for which the server has not confirmed that this is current; 0 while it does


@dataclass(frozen=True)
class Feature:
    """One feature of a plan, and its elements in a row of the tensor."""

    view: str
    name: str
    type: str  # "float32", "vector<int8,128>"
    first: int
    count: int  # 0: not part of a tensor


@dataclass(frozen=True)
class Plan:
    """The features that a service or a list of features reads."""

    features: Tuple[Feature, ...]  # columns of Answer.statuses
    width: int  # columns of the tensor
    join_keys: Dict[str, str]  # name to type


@dataclass(frozen=True)
class ViewInfo:
    """A view that this node serves."""

    view: str
    release: str
    generation: int
    mapped_bytes: int
    row_count: int
    is_mapped: bool
    why_not: str  # when it is not mapped: the server's sentence


@dataclass(frozen=True)
class Info:
    """State of a client."""

    is_connected: bool  # to the mapped listener, with a heartbeat in the last two seconds
    staleness: float  # seconds
    refreshes: int  # releases mapped so far
    reconnects: int
    socket_calls: int  # reads over the socket
    why_not_mapped: str
    views: Tuple[ViewInfo, ...]


class _Column(NamedTuple):
    """A feature of an OnlineResponse."""

    type: str  # "list<int32>"
    values: List[Any]
    statuses: bytes
    times: List[int]


class OnlineResponse:
    """The result of get_online_features, with the methods of Feast's OnlineResponse."""

    __slots__ = ("_entities", "_entity_types", "_features")

    def __init__(self, entities: Dict[str, List[Any]], entity_types: Dict[str, str], features: Dict[str, _Column]):
        self._entities = entities
        self._entity_types = entity_types
        self._features = features

    def to_dict(self, include_event_timestamps: bool = False) -> Dict[str, List[Any]]:
        """Columns by name: join keys, then features; None when there is no value. With event timestamps, each column is
        followed by NAME__ts in whole seconds, 0 when there is none."""
        response: Dict[str, List[Any]] = {}
        for name, keys in self._entities.items():
            response[name] = list(keys)
            if include_event_timestamps:
                response[name + "__ts"] = [0] * len(keys)
        for name, column in self._features.items():
            response[name] = list(column.values)
            if include_event_timestamps:
                response[name + "__ts"] = list(column.times)
        return response

    def to_df(self, include_event_timestamps: bool = False) -> "pandas.DataFrame":
        """The same as a pandas DataFrame (needs pandas). Integers and bools are pandas' nullable types, so that a
        missing one leaves the others as they are; a missing float is NaN."""
        columns: Dict[str, Any] = self.to_dict(include_event_timestamps)
        for name, column in self._features.items():
            columns[name] = frames.series_of(column.values, column.type)
        return frames.frame_of(columns)

    def to_arrow(self, include_event_timestamps: bool = False) -> "pyarrow.Table":
        """The same as an Arrow table (needs pyarrow), in the types of the features, with null when there is no
        value."""
        columns: Dict[str, Any] = self.to_dict(include_event_timestamps)
        for name, column in self._features.items():
            columns[name] = frames.arrow_of(column.values, column.type)
        for name, keys in self._entities.items():
            columns[name] = frames.arrow_of_keys(keys, self._entity_types[name])
        return frames.table_of(columns)

    def statuses(self) -> Dict[str, List[int]]:
        """The status of each value: pillion.PRESENT, NULL_VALUE, NOT_FOUND or OUTSIDE_MAX_AGE (the value exists, but is
        old)."""
        return {name: list(column.statuses) for name, column in self._features.items()}


class Client(_client.Client):
    """Reads from the Pillion of this node: from memory that it shares, or over its socket where mapping is refused.

    mapped   "unix:PATH" of the mapped listener; None: use only the socket
    resp     "unix:PATH" or "tcp:HOST:PORT" of a resp listener; None: no fallback
    name     shown to operators; None: the name of the program
    timeout  seconds, for socket calls
    refresh  seconds that the call which first sees a new release waits for it, at most

    Any number of threads may use a client at once. A forked child goes on reading the releases that were mapped."""

    __slots__ = ()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(
        self,
        service: Service,
        keys: Any,
        out: Any = None,
        *,
        defaults: bool = False,
        max_age: Optional[float] = None,
        dtype: Any = "float32",
        min_release: Optional[str] = None,
    ) -> Answer:
        """Like vectors(), with the status of each value, event timestamps, and the release of each view."""
        values, statuses, times, (is_mapped, staleness, views) = self._read(
            service, keys, out, defaults=defaults, max_age=max_age, dtype=dtype, min_release=min_release
        )
        said = tuple(
            ViewAnswer(view, release, generation, worst_age, not_found, from_us(created))
            for view, release, generation, worst_age, not_found, created in views
        )
        return Answer(values, statuses, times, said, is_mapped, staleness)

    def get_online_features(
        self,
        features: Union[None, Sequence[str], Any] = None,
        entity_rows: Union[None, Sequence[Mapping[str, Any]], Mapping[str, Any]] = None,
        full_feature_names: bool = False,
        *,
        feature_service: Optional[str] = None,
    ) -> OnlineResponse:
        """Typed values of any features, as Feast's SDK returns them.

        features     list of "view:feature", or a feature service of Feast (only its name is read)
        entity_rows  list of {join key: value}, or {join key: column}; other names in it are ignored
        full_feature_names  "view__feature" instead of "feature"; "project/view__feature" where two projects are
                            asked for a view of that name
        feature_service     name of a feature service, instead of features"""
        if (features is None) == (feature_service is None):
            raise ValueError("give features or feature_service")
        service: Any = feature_service if features is None else getattr(features, "name", features)
        if features is not None and isinstance(features, str):
            raise TypeError("features is a list of 'view:feature'; a service is given as feature_service")
        columns = _columns_of(entity_rows)
        join_keys, key_types, found = self._columns(service, columns)
        shown: Dict[str, _Column] = {}
        names = _names_of({view for view, *_ in found})
        for view, feature, *column in found:
            name = f"{names[view]}__{feature}" if full_feature_names else feature
            if name in shown:
                raise FeatureNameCollisionError(
                    f"Duplicate features named {name} found."
                    + ("" if full_feature_names else " full_feature_names=True tells them apart.")
                )
            shown[name] = _Column(*column)
        entities = {name: _to_list(column) for name, column in columns.items() if name in join_keys}
        return OnlineResponse(entities, dict(zip(join_keys, key_types)), shown)

    def describe(self, service: Service) -> Plan:
        """What a service reads: features in the order of their columns, and the join keys."""
        features, width, join_keys, types = self._describe(service, False)
        return Plan(tuple(Feature(*feature) for feature in features), width, dict(zip(join_keys, types)))

    def services(self) -> Tuple[str, ...]:
        """All feature services of this node that this process may read, as "project/service", sorted."""
        return tuple(sorted(self._list(0)))

    def views(self) -> Tuple[str, ...]:
        """All views of this node that this process may read, as "project/view", sorted."""
        return tuple(sorted(self._list(1)))

    def features(self, service: Service) -> Tuple[Feature, ...]:
        """The features of a service, of a view, or of a list, also those that no tensor holds (their count is 0)."""
        return tuple(Feature(*feature) for feature in self._describe(service, True)[0])

    def info(self) -> Info:
        """How reads are done (mapped or over the socket), and why."""
        is_connected, staleness, refreshes, reconnects, socket_calls, why_not_mapped, views = self._info()
        said = tuple(ViewInfo(*view) for view in views)
        return Info(is_connected, staleness, refreshes, reconnects, socket_calls, why_not_mapped, said)


def _to_list(column: Any) -> List[Any]:
    if getattr(getattr(column, "dtype", None), "kind", "") == "M":  # tolist() makes integers of nanoseconds
        import numpy

        return [from_us(int(us)) for us in numpy.asarray(column, "datetime64[us]").astype("int64")]
    for method in ("tolist", "to_pylist", "to_list"):
        if hasattr(column, method):
            column = getattr(column, method)()
    return list(column)


def _names_of(views: Set[str]) -> Dict[str, str]:
    """The names of "project/view" in an answer: without the project unless views of two projects have one name."""
    bare = [view.rpartition("/")[2] for view in views]
    return {view: name if bare.count(name) == 1 else view for view, name in zip(views, bare)}


def _columns_of(entity_rows: Any) -> Dict[str, Any]:
    if isinstance(entity_rows, Mapping):
        return dict(entity_rows)
    if hasattr(entity_rows, "columns") or hasattr(entity_rows, "column_names"):
        return frames.columns_of(entity_rows)
    rows = list(entity_rows or ())
    if not rows:
        raise ValueError("No entity_rows specified for retrieval")
    names = rows[0].keys()
    if any(row.keys() != names for row in rows):
        raise ValueError("All entity rows must have the same columns.")
    return {name: [row[name] for row in rows] for name in names}
