"""Event schemas over HTTP: list, show, register, compare, and draft from the events in the archive.

Drafting reads events, so it is here and not in the catalogue: reports may ask the archive. It runs
as the pages' own queries do, with type and name as parameters: they are values, and no text of
theirs becomes SQL.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, Response, abort, current_app, jsonify, request
from flask.typing import ResponseReturnValue

from catalog.schemas import (
    Incompatible,
    NotThere,
    Registered,
    SchemaRegistry,
    checked_rule,
)
from catalog.store import CatalogError
from catalog.typed_views import typed_views
from reports.access.needs import needs
from reports.warehouse.engine import Warehouse
from transforms.event_schema import SchemaError, subject
from transforms.schema_inference import infer

bp = Blueprint("schemas", __name__, url_prefix="/p/<project>/api/schemas")
_SAMPLES = (Path(__file__).parent / "sql" / "schema_samples.sql").read_text()


@dataclass(frozen=True)
class _Collaborators:
    registry: SchemaRegistry
    warehouse: Warehouse


def install(app: Flask, registry: SchemaRegistry, warehouse: Warehouse) -> None:
    """Put the routes onto the app."""
    app.extensions["schemas"] = _Collaborators(registry, warehouse)
    app.register_blueprint(bp)


def views_of(registry: SchemaRegistry, project: str) -> dict[str, str]:
    """DuckDB's SELECT over `events` of each registered schema; none for an unknown project."""
    try:
        return typed_views(registry, project, dialect="duckdb")
    except NotThere:
        return {}


def _with() -> _Collaborators:
    found: _Collaborators = current_app.extensions["schemas"]
    return found


@bp.get("")
@needs("viewer")
def list_schemas(project: str) -> Response:
    """{"schemas": [{type, name, version, compatibility, created_at}]}: the newest of each."""
    found = _with().registry.newest(project)
    return jsonify(schemas=[_heading(one) for one in found])


@bp.get("/one")
@needs("viewer")
def show_schema(project: str) -> Response:
    """One schema as registered; ?type=track&name=Order+Completed&version=2, or the newest."""
    version = _number("version") if "version" in request.args else None
    one = _with().registry.version(project, *_subject(), version)
    return jsonify(**_heading(one), schema=json.loads(one.avro))


@bp.post("")
@needs("analyst")
def register_schema(project: str) -> ResponseReturnValue:
    """Register {"schema": {…}, "type"?, "name"?, "compatibility"?}: 201 for a new version.

    200 where the newest says the same, 400 for what is no schema, 409 with `findings`, a list of
    {field, reason}, for one that is not compatible.
    """
    given = request.get_json(silent=True)
    if not isinstance(given, dict) or not isinstance(given.get("schema"), dict):
        abort(400, 'Send {"schema": {"type": "record", …}} as JSON.')
    text = {name: given.get(name) for name in ("type", "name", "compatibility")}
    for name, value in text.items():
        if not isinstance(value, str | None):
            abort(400, f"{name} {value!r} is no text.")
    rule = text["compatibility"]
    asked: dict[str, Any] = {
        "kind": text["type"],
        "name": text["name"],
        "compatibility": checked_rule(rule) if rule else None,
    }
    avro = json.dumps(given["schema"], indent=2, ensure_ascii=False)
    registry = _with().registry
    if same := registry.plan(project, avro, **asked).unchanged:
        return jsonify(_heading(same)), 200
    return jsonify(_heading(registry.register(project, avro, **asked))), 201


@bp.get("/diff")
@needs("viewer")
def diff_schemas(project: str) -> Response:
    """{"changes": [{field, change, before, after}]}; ?type=&name=&old=1&new=2."""
    rows = _with().registry.diff(project, *_subject(), _number("old"), _number("new"))
    return jsonify(changes=[asdict(row) for row in rows])


@bp.get("/infer")
@needs("analyst")
def infer_schema(project: str) -> Response:
    """{"schema", "samples"}: a draft from the newest 5,000 events of ?type=track&name=…."""
    _with().registry.newest(project)  # 404 for an unknown project
    kind, name = _subject()
    found = _with().warehouse.run(project, _SAMPLES, table="events", parameters=(kind, name))
    if not found.rows:
        abort(404, f"No {kind} {name!r} is in the archive; send some, and wait a few seconds.")
    samples = [str(properties or "{}").encode() for (properties,) in found.rows]
    return jsonify(schema=infer(samples, kind, name), samples=len(samples))


def _subject() -> tuple[str, str]:
    return subject(request.args.get("type", "track"), request.args.get("name", ""))


def _number(name: str) -> int:
    text = request.args.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        abort(400, f"{name}={text!r} is no version; write it as a whole number.")
    return int(text)


def _heading(one: Registered) -> dict[str, Any]:
    return {
        "type": one.type,
        "name": one.name,
        "version": one.version,
        "compatibility": one.compatibility,
        "created_at": f"{one.created_at.isoformat()}Z",
    }


@bp.errorhandler(Incompatible)
def _refused(error: Incompatible) -> tuple[Response, int]:
    return jsonify(message=str(error), findings=[asdict(one) for one in error.findings]), 409


@bp.errorhandler(CatalogError)
@bp.errorhandler(SchemaError)
def _wrong(error: ValueError) -> tuple[Response, int]:
    return jsonify(message=str(error)), 404 if isinstance(error, NotThere) else 400
