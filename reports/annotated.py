"""Notes of a day, such as a launch: kept per project, shown on charts, asked for by name."""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec
from flask import Blueprint, Flask, Response, current_app, jsonify
from flask.typing import ResponseReturnValue

from catalog.documents import Document, Documents
from catalog.store import CatalogError
from reports.access.needs import needs
from reports.query.here import body, page, takes, user, zone_of

bp = Blueprint("annotations", __name__, url_prefix="/p/<project>")
KIND = "annotation"
Day = date  # the field below has the name of the type


class Annotation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A note. date: its day in the project's zone; text: what happened, the note's name too."""

    date: Day
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


def install(app: Flask, documents: Documents) -> None:
    """Put the routes onto the app."""
    app.extensions["annotations"] = documents
    app.register_blueprint(bp)


def _documents() -> Documents:
    found: Documents = current_app.extensions["annotations"]
    return found


def annotated_days(project: str) -> dict[str, date]:
    """Text -> day of the project's annotations, in order of their days."""
    found = {
        one.name: date.fromisoformat(one.body["date"]) for one in _documents().all(project, KIND)
    }
    return dict(sorted(found.items(), key=lambda one: (one[1], one[0])))


@bp.get("/annotations")
@needs("viewer")
def annotations_page(project: str) -> str:
    """The page of the notes, the newest first."""
    zone = zone_of(project)
    found = [
        {**one, "asked": json.dumps({"annotation": one["text"]})}
        for one in reversed(_listed(project))
    ]
    today = datetime.now(ZoneInfo(zone)).date().isoformat()
    return page("annotations.html", project, zone=zone, annotations=found, today=today)


@bp.get("/api/annotations")
@needs("viewer")
def list_annotations(project: str) -> Response:
    """{"annotations": [{id, date, text, author}]} in order of their days."""
    zone_of(project)
    return jsonify(annotations=_listed(project))


@bp.post("/api/annotations")
@needs("analyst")
@takes(Annotation)
def annotate(project: str) -> ResponseReturnValue:
    """Keep {"date": "2026-03-01", "text": "New checkout"}; one of the same text is replaced."""
    zone_of(project)
    try:
        note = msgspec.convert(body(), Annotation, strict=True)
        named = note.text.strip()
        if not named:
            return jsonify(message="the annotation has no text; say what happened"), 400
        kept = {"date": note.date.isoformat(), "text": named}
        saved = _documents().put(project, KIND, named, kept, author=user())
    except msgspec.ValidationError as error:
        said = str(error).replace("Object ", "the annotation ", 1)
        return jsonify(message=f"{said}; write date as 2026-03-01 and some text"), 400
    except CatalogError as error:
        return jsonify(message=str(error)), 400
    return jsonify(_shown(saved)), 201


@bp.delete("/api/annotations/<id_>")
@needs("analyst")
def forget(project: str, id_: str) -> ResponseReturnValue:
    """Remove an annotation."""
    zone_of(project)
    try:
        _documents().remove(project, KIND, id_)
    except CatalogError as error:
        return jsonify(message=str(error)), 404
    return "", 204


def _listed(project: str) -> list[dict[str, Any]]:
    found = [_shown(one) for one in _documents().all(project, KIND)]
    return sorted(found, key=lambda one: (one["date"], one["text"]))


def _shown(one: Document) -> dict[str, Any]:
    return {"id": one.id, **one.body, "author": one.author}
