# SPDX-License-Identifier: Apache-2.0
"""project.yaml, pilliond.yaml, and the commands that come next."""
from __future__ import annotations

import os
import re
import shlex
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from pillion import _core
from pillion.build.errors import BadInput, IoFailure, from_core
from pillion.build.terminal import printable
from pillion.init.choose import legal_name, sample_key
from pillion.init.survey import Survey

FEATURES_MAX = 4096
SOCKET_BYTES_MAX = 90
PROJECT_FILE, CONFIG_FILE = "project.yaml", "pilliond.yaml"
CHANNEL = "production"
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_WORDS = ("true", "false", "yes", "no", "on", "off", "null", "none", "y", "n")


def literal(text: str) -> str:
    """In double quotes; what YAML takes for no character of a text is escaped."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    inside = "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped)
    return f'"{inside}"'


def quoted(text: str) -> str:
    """Plain where YAML cannot take it for anything else."""
    is_plain = _PLAIN.fullmatch(text) is not None and text.lower() not in _WORDS
    return text if is_plain else literal(text)


@dataclass
class ViewPlan:
    """A feature view as it will be written."""
    survey: Survey
    name: str
    entities: list[str]   # columns
    timestamp: str        # column; "": the view is static
    created: Optional[str] = None
    ttl: str = ""
    keys: dict[str, str] = field(default_factory=dict)      # column: name of the entity's join key
    features: dict[str, str] = field(default_factory=dict)  # column: name
    left_out: dict[str, str] = field(default_factory=dict)  # column: why

    def name_columns(self) -> None:
        """Gives every column its name: keys first, then features in the order of the file."""
        taken: set[str] = set()
        self.left_out = dict(self.survey.left_out)
        for column in self.entities:
            self.keys[column] = legal_name(column, taken)
            taken.add(self.keys[column])
        for column, guess in self.survey.columns.items():
            if column in self.keys or column in (self.timestamp, self.created):
                continue
            if not guess.type:
                self.left_out[column] = guess.why_none
            elif len(self.features) == FEATURES_MAX:
                self.left_out[column] = f"is beyond the {FEATURES_MAX:,} features of one view"
            else:
                self.features[column] = legal_name(column, taken)
                taken.add(self.features[column])

    @property
    def unkeyed(self) -> int:
        """At most so many rows cannot be taken, because their key or time is null, or their time in the future."""
        columns = self.survey.columns
        nulls = sum(columns[name].nulls for name in (*self.entities, self.timestamp) if name)
        return nulls + (columns[self.timestamp].future if self.timestamp else 0)


@dataclass
class Plan:
    project: str
    folder: Path  # where the files go
    store: str
    views: list[ViewPlan]

    @property
    def socket(self) -> str:
        """Of pilliond: beside its configuration, unless the path is too long for a socket."""
        path = str(self.folder / "pillion.sock")
        return path if len(os.fsencode(path)) <= SOCKET_BYTES_MAX else f"/tmp/pillion-{self.project[:50]}.sock"

    @property
    def admin(self) -> str:
        return f"unix:{self.socket[:-len('.sock')]}-admin.sock"


# ---- The project file

def _entity_of(plan: Plan) -> dict[tuple[str, str], str]:
    """The entity for each join key and type; a key that has another type in another view is another entity."""
    made: dict[tuple[str, str], str] = {}
    for view in plan.views:
        for column, key in view.keys.items():
            kind = view.survey.columns[column].type
            if (key, kind) not in made:
                made[key, kind] = legal_name(key, set(made.values()))
    return made


def _age_line(view: ViewPlan) -> str:
    if not view.timestamp:
        return "    static: true  # rows have no time, and never expire"
    if view.ttl:
        return f"    ttl: {view.ttl}  # older values are marked as too old"
    return "    ttl: 0  # how old a value may get, for instance 7d; 0: any age"


def _time_lines(view: ViewPlan) -> list[str]:
    lines = [f"      timestamp_field: {quoted(view.timestamp)}  # of the rows of one key the latest wins"] \
        if view.timestamp else []
    if view.created is not None:
        lines.append(f"      created_timestamp_column: {quoted(view.created)}  # decides between rows of one time")
    return lines


def _source_lines(view: ViewPlan, folder: Path) -> list[str]:
    survey = view.survey
    path = os.path.relpath(survey.path, folder)
    lines = ["    source:", f"      type: {survey.kind}",
             f"      path: {quoted(os.path.abspath(survey.path) if path.startswith('..') else path)}"]
    if survey.kind == "csv":
        lines.append(f"      delimiter: {literal(survey.delimiter)}")
        if survey.null_values:
            lines.append(f"      null_values: [{', '.join(map(literal, survey.null_values))}]  # found where only "
                         "null can be meant; in texts they are null, too, unless in quotes")
    lines += _time_lines(view)
    renamed = {column: name for column, name in {**view.keys, **view.features}.items() if column != name}
    if renamed:
        lines.append("      field_mapping:  # column: its name here, which has only letters, digits, _ and -")
        lines += [f"        {literal(column)}: {quoted(name)}" for column, name in renamed.items()]
    return lines


def _view_lines(view: ViewPlan, plan: Plan, entities: dict[tuple[str, str], str]) -> list[str]:
    survey = view.survey
    keys = ", ".join(quoted(entities[key, survey.columns[column].type]) for column, key in view.keys.items())
    lines = [f"  - name: {quoted(view.name)}", f"    entities: [{keys}]", _age_line(view),
             *_source_lines(view, plan.folder)]
    lines.append("    features:" if view.features else "    features: []")
    for column, name in view.features.items():
        guess = survey.columns[column]
        remark = f"  # {printable(guess.remark)}" if guess.remark else ""
        lines.append(f"      - {{name: {quoted(name)}, type: \"{guess.type}\"}}{remark}")
    if view.left_out:
        lines.append("    # Left out:")
        lines += [f"    #   {printable(column)} {why}" for column, why in view.left_out.items()]
    return lines


def project_text(plan: Plan) -> str:
    entities = _entity_of(plan)
    lines = ["# Written by pillion init from the data: read it, above all the entities, the timestamp and the ttl.",
             f"project: {quoted(plan.project)}", "entities:"]
    for (key, kind), name in entities.items():
        join_key = f", join_key: {quoted(key)}" if key != name else ""
        lines.append(f"  - {{name: {quoted(name)}{join_key}, type: {kind}}}")
    lines.append("feature_views:")
    for view in plan.views:
        lines += _view_lines(view, plan, entities)
    lines += ["# A service is a named list of features, for instance what a model needs:",
              "# feature_services:",
              f"#   - {{name: my_model, features: [{quoted(plan.views[0].name)}]}}"]
    return "\n".join(lines) + "\n"


# ---- The configuration

def config_text(plan: Plan) -> str:
    lines = ["# Written by pillion init. All other keys: pilliond --describe example.",
             "# Where releases come from.", f"store: {quoted(plan.store)}",
             "# What is served: of each view the release that the channel points to.", "serve:"]
    lines += [f"  - {{view: {quoted(f'{plan.project}/{view.name}')}, channel: {CHANNEL}}}" for view in plan.views]
    lines += ["# Where: resp for Redis clients and pillion get, admin for pillion status and metrics. Also feast, oip, "
              "mapped;", "# and tcp:127.0.0.1:PORT instead of unix:PATH.", "listen:",
              f"  - {{protocol: resp, address: {quoted(f'unix:{plan.socket}')}}}",
              f"  - {{protocol: admin, address: {quoted(plan.admin)}}}"]
    return "\n".join(lines) + "\n"


# ---- The commands

def _near(path: str) -> str:
    """As it is called from the working folder, if it is below it."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


def commands(plan: Plan) -> list[str]:
    """For a shell in the working folder."""
    project, config, log = (shlex.quote(_near(str(plan.folder / name)))
                            for name in (PROJECT_FILE, CONFIG_FILE, "pilliond.log"))
    store = f"dir:{_near(plan.store[4:])}" if plan.store.startswith("dir:") else plan.store
    store, socket, admin = (shlex.quote(text) for text in (store, f"unix:{plan.socket}", plan.admin))
    unkeyed = sum(view.unkeyed for view in plan.views)
    skip = f" --on-bad-row=skip --max-bad-rows {unkeyed}" if unkeyed else ""
    lines = [f"pillion check {project}", f"pillion apply {project} --store {store}",
             f"pillion build {project} --store {store} --promote {CHANNEL}{skip}",
             f"pilliond --config {config} --check-config", f"pilliond --config {config} 2>{log} &",
             f"until pillion status --admin {admin} >/dev/null 2>&1; do sleep 0.1; done"]
    for view in plan.views:
        key = sample_key(view.survey, view.entities, view.timestamp)
        options = "-- " if key.startswith("-") else ""
        lines.append(f"pillion get --socket {socket} {options}{shlex.quote(f'{plan.project}/{view.name}')} "
                     f"{shlex.quote(key) if key else 'KEY'}")
    return lines


# ---- Writing

def report(plan: Plan) -> dict[str, Any]:
    """What --json prints."""
    views = []
    for view in plan.views:
        survey = view.survey
        views.append({
            "name": view.name, "path": printable(survey.path), "type": survey.kind, "files": len(survey.files),
            "rows": survey.rows, "timestamp": view.timestamp or None, "created_timestamp": view.created,
            "entities": [{"column": column, "name": name, "type": survey.columns[column].type}
                         for column, name in view.keys.items()],
            "features": [{"column": column, "name": name, "type": survey.columns[column].type}
                         for column, name in view.features.items()],
            "left_out": [{"column": column, "why": why} for column, why in view.left_out.items()],
            "rows_to_skip": view.unkeyed})
    return {"project": plan.project, "project_file": str(plan.folder / PROJECT_FILE),
            "config_file": str(plan.folder / CONFIG_FILE), "store": plan.store, "views": views,
            "next": commands(plan)}


def refuse_existing(folder: Path) -> None:
    there = [name for name in (PROJECT_FILE, CONFIG_FILE) if os.path.lexists(folder / name)]
    if there:
        raise BadInput(f"{' and '.join(there)} {'are' if len(there) > 1 else 'is'} in {printable(str(folder))} already;"
                       " name another folder (--out), or overwrite (--force)")


def write_files(plan: Plan, force: bool) -> None:
    """Both files or none; the project is read by the parser of pillion first."""
    texts = {PROJECT_FILE: project_text(plan), CONFIG_FILE: config_text(plan)}
    try:
        plan.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=plan.folder, prefix=".pillion-init-") as temporary:
            for name, text in texts.items():
                (Path(temporary) / name).write_text(text, encoding="utf-8")
            try:
                _core.project_json(str(Path(temporary) / PROJECT_FILE))
            except _core.Error as error:
                code, problems = error.args
                raise from_core(code, problems.replace(f"{temporary}/", "").rstrip("\n")) from None
            if not force:
                refuse_existing(plan.folder)
            for name in texts:
                os.replace(Path(temporary) / name, plan.folder / name)
    except OSError as error:
        raise IoFailure(f"{printable(str(plan.folder))}: {error.strerror or error}") from error
