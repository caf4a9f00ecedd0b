# SPDX-License-Identifier: Apache-2.0
"""The parts of the project file that the builder needs, as plain objects made from the C parser's result."""
from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from pillion import _core
from pillion.build.check import Target
from pillion.build.errors import BadInput, from_core


@dataclass(frozen=True)
class Column:
    """A column that the core needs, and its source."""
    name: str     # in the stream to the core
    source: str   # in the file or query
    target: Target
    label: str    # for messages: "conv_rate", "event_timestamp"
    is_key: bool = False
    is_pii: bool = False  # no message shows its values


@dataclass(frozen=True)
class View:
    name: str
    source: dict[str, Any]  # as schemas/project.schema.json says
    columns: list[Column]
    is_static: bool  # rows have no event time

    @property
    def has_keys(self) -> bool:
        return any(column.is_key for column in self.columns)

    @property
    def row_bytes_guess(self) -> int:
        """Estimated bytes of one row in Arrow, to size batches."""
        def guess(target: Target) -> int:
            return 4 * target.dimension if target.shape == "vector" else 64 if target.shape == "list" else 16
        return sum(guess(column.target) for column in self.columns)


@dataclass(frozen=True)
class Project:
    text: str  # JSON, for the core
    name: str
    folder: Path  # paths in the file are relative to this
    views: list[View] = field(default_factory=list)

    def chosen(self, name: Optional[str]) -> list[View]:
        if name is None:
            if not self.views:
                raise BadInput(f"project {self.name} has no feature views")
            return self.views
        name = name[len(self.name) + 1:] if name.startswith(f"{self.name}/") else name
        views = [view for view in self.views if view.name == name]
        if not views:
            known = ", ".join(view.name for view in self.views)
            raise BadInput(f"there is no feature view {name} in project {self.name}; it has: {known}")
        return views


def _view(document: dict[str, Any], entities: dict[str, dict[str, Any]]) -> View:
    source = document["source"]
    origin = {name: column for column, name in source.get("field_mapping", {}).items()}
    columns = []
    for entity in (entities[name] for name in document["entities"]):
        key = entity["join_key"]
        columns.append(Column(key, origin.get(key, key), Target.parse(entity["type"]), key, is_key=True))
    for name, key in ((_core.EVENT_COLUMN, "timestamp_field"), (_core.CREATED_COLUMN, "created_timestamp_column")):
        if label := source.get(key):
            columns.append(Column(name, label, Target.parse("unix_timestamp"), label))
    for feature in document["features"]:
        name = feature["name"]
        columns.append(Column(name, origin.get(name, name), Target.parse(feature["type"]), name,
                              is_pii="pii" in (feature.get("tags") or [])))
    return View(document["name"], source, columns, document.get("static", False))


def load(path: str) -> Project:
    try:
        text = _core.project_json(path)
    except _core.Error as error:
        code, problems = error.args
        raise from_core(code, problems.rstrip("\n")) from None
    document = json.loads(text)
    entities = {entity["name"]: entity for entity in document["entities"]}
    views = [_view(view, entities) for view in document["feature_views"]]
    return Project(text, document["project"], Path(path).resolve().parent, views)
