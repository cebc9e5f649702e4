"""Pages and JSON of cohorts: list, make, change, look at, take away."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from flask import Blueprint, Flask, Response, abort, current_app, jsonify, request
from flask.typing import ResponseReturnValue

from catalog.documents import Document, Documents
from catalog.settings import Settings
from catalog.store import Catalog, CatalogError
from reports.access.needs import needs
from reports.access.record import record
from reports.cohorts.definition import (
    Definition,
    Did,
    FirstDid,
    Property,
    Sql,
    Trait,
    Upload,
    read,
)
from reports.cohorts.shelf import KIND, Cohorts, Members, State
from reports.cohorts.words import in_words
from reports.insights.question import QuestionError
from reports.insights.source import Source
from reports.present import when
from reports.query.here import body, page, takes, user, zone_of
from reports.warehouse.engine import Warehouse
from transforms.csv_safe import safe
from transforms.id_list import IdList, IdListError, of_values, read_csv

bp = Blueprint("cohorts", __name__, url_prefix="/p/<project>")
SHOWN = 100  # people, and bad lines of a list
MOST_BYTES = 64 << 20  # of an uploaded list
_CSV_ROWS = 10_000
_TITLES = {
    Did: "Did an event",
    FirstDid: "Did it for the first time",
    Trait: "Trait of the person",
    Property: "Property of events",
    Sql: "Query",
    Upload: "Uploaded list",
}


class Save(msgspec.Struct, frozen=True):
    """A cohort under a name."""

    name: str
    definition: Definition


class Preview(msgspec.Struct, frozen=True):
    """A cohort that is not kept."""

    definition: Definition


def install(app: Flask, settings: Settings, warehouse: Warehouse) -> None:
    """Put the routes onto the app."""
    others = app.extensions["reports"]
    app.extensions["cohorts"] = Cohorts(
        Documents(Catalog(settings.catalog_url)),
        warehouse,
        settings.path("cohorts"),
        others.clock,
        others.projects,
        user,
    )
    app.register_blueprint(bp)


def cohort_table(project: str, name: str) -> pa.Table | None:
    """What questions take to look at a cohort's people alone: see reports.insights.source."""
    return _cohorts().table(project, name)


def cohort_names(project: str) -> tuple[str, ...]:
    """What questions may name as `cohort`, in the order of the alphabet."""
    return tuple(sorted(one.name for one in _cohorts().documents.all(project, KIND)))


def _cohorts() -> Cohorts:
    found: Cohorts = current_app.extensions["cohorts"]
    return found


def _known(project: str, cohort: str) -> Document:
    found = _cohorts().documents.get(project, KIND, cohort)
    if found is None:
        abort(404, f"There is no cohort {cohort!r} in {project}; it may have been removed.")
    return found


# -- Pages.


@bp.get("/cohorts")
@needs("viewer")
def cohorts_page(project: str) -> str:
    """The project's cohorts, with their sizes."""
    return page("cohorts.html", project, zone=zone_of(project), cohorts=_listed(project))


@bp.get("/cohorts/new")
@needs("analyst")
def new_cohort_page(project: str) -> str:
    """Make a cohort."""
    return _edit_page(project, "New cohort", "")


@bp.get("/cohorts/<cohort>")
@needs("viewer")
def cohort_page(project: str, cohort: str) -> str:
    """One cohort: its rule, its size, its people."""
    zone_of(project)
    found = _known(project, cohort)
    return _edit_page(project, found.name, found.id)


def _edit_page(project: str, title: str, cohort: str) -> str:
    return page("cohorts_one.html", project, zone=zone_of(project), title=title, cohort=cohort)


@bp.get("/cohorts/<cohort>/people.csv")
@needs("analyst")
def people_csv(project: str, cohort: str) -> Response:
    """All people of a cohort as CSV with one column, `person`; safe to open in a spreadsheet."""
    zone_of(project)
    saved = _known(project, cohort)
    found = _found(project, read(saved.body))
    record("cohort.export", saved.name)
    name = "".join(c if c.isalnum() and c.isascii() else "-" for c in saved.name).strip("-")
    headers = {"Content-Disposition": f'attachment; filename="cohort-{name or "people"}.csv"'}
    return Response(_rows(found.people), mimetype="text/csv", headers=headers)


def _rows(people: pa.Table) -> Iterator[str]:
    yield "person\r\n"
    for batch in people.to_batches(max_chunksize=_CSV_ROWS):
        written = io.StringIO(newline="")
        csv.writer(written).writerows([safe(str(person))] for person in batch["person"].to_pylist())
        yield written.getvalue()


# -- JSON.


@bp.get("/api/cohorts")
@needs("viewer")
def cohorts_json(project: str) -> Response:
    """{"cohorts": […]}: each with its rule, and the size that was worked out last, if any."""
    zone_of(project)
    return jsonify(cohorts=_listed(project))


@bp.get("/api/cohorts/schema")
@needs("viewer")
def schema_json(project: str) -> Response:
    """{"definition", "conditions"}: JSON schemas of a cohort and of each kind of condition."""
    zone_of(project)
    conditions = {
        kind.__struct_config__.tag: {
            "title": _TITLES[kind],
            "schema": msgspec.json.schema(kind),
        }
        for kind in _TITLES
    }
    return jsonify(definition=msgspec.json.schema(Definition), conditions=conditions)


@bp.post("/api/cohorts")
@needs("analyst")
@takes(Save)
def save_cohort(project: str) -> ResponseReturnValue:
    """Keep {"name", "definition"}: 201; 400 with a message where it cannot be."""
    zone_of(project)
    name, definition = _given()
    record("cohort.save", name)
    return jsonify(_shown(project, _cohorts().save(project, name, definition, author=user()))), 201


@bp.put("/api/cohorts/<cohort>")
@needs("analyst")
@takes(Save)
def change_cohort(project: str, cohort: str) -> ResponseReturnValue:
    """Put {"name", "definition"} in a cohort's place."""
    zone_of(project)
    _known(project, cohort)
    name, definition = _given()
    record("cohort.change", name)
    return jsonify(_shown(project, _cohorts().save(project, name, definition, known=cohort)))


@bp.delete("/api/cohorts/<cohort>")
@needs("analyst")
def remove_cohort(project: str, cohort: str) -> Response:
    """Forget a cohort. Questions that name it will say that it is gone."""
    zone_of(project)
    found = _known(project, cohort)
    record("cohort.remove", found.name)
    _cohorts().remove(project, cohort)
    return jsonify(removed=found.name)


@bp.get("/api/cohorts/<cohort>")
@needs("viewer")
def cohort_json(project: str, cohort: str) -> Response:
    """A cohort with its size, worked out now where events came since."""
    zone_of(project)
    found = _known(project, cohort)
    return jsonify(_shown(project, found, _cohorts().members(project, read(found.body)).state))


@bp.post("/api/cohorts/<cohort>/refresh")
@needs("analyst")
def refresh_cohort(project: str, cohort: str) -> Response:
    """Work a cohort out anew, whatever is remembered."""
    zone_of(project)
    found = _known(project, cohort)
    state = _cohorts().members(project, read(found.body), anew=True).state
    return jsonify(_shown(project, found, state))


@bp.get("/api/cohorts/<cohort>/people")
@needs("analyst")
def people_json(project: str, cohort: str) -> Response:
    """{"people": […], "size"}: ids in order; ?after=ID goes on, ?first=100 of 10,000 at most."""
    zone_of(project)
    found = _found(project, read(_known(project, cohort).body))
    return jsonify(_people(found, request.args.get("after", ""), _first()))


@bp.post("/api/cohorts/preview")
@needs("analyst")
@takes(Preview)
def preview_json(project: str) -> Response:
    """Size and first people of {"definition"}, without keeping it."""
    zone = zone_of(project)
    definition = read(body().get("definition"))
    found = _cohorts().members(project, definition)
    shown = {"words": in_words(definition.rule), "identity": _identity(definition)}
    return jsonify({**shown, **_people(found, "", SHOWN), **_state(found.state, zone)})


@bp.post("/api/cohorts/lists")
@needs("analyst")
def upload_list(project: str) -> ResponseReturnValue:
    """Ids, as CSV (text/csv) or as {"ids": […]}: {"list", "ids", "repeated", "bad", "bad_lines"}.

    201; `list` goes into a rule, {"is": "upload", "list": …}. `bad_lines` has the first 100 of the
    `bad` lines that gave no id: {line, text, message}. 400 where none did.
    """
    zone_of(project)
    request.max_content_length = MOST_BYTES
    found = _ids()
    bad = [asdict(one) for one in found.bad[:SHOWN]]
    if not found.ids:
        return jsonify(message="there is no id in the list", bad=len(found.bad), bad_lines=bad), 400
    record("cohort.upload", f"{len(found.ids)} ids")
    name = _cohorts().put_list(project, found.ids)
    counts = {"ids": len(found.ids), "repeated": found.repeated, "bad": len(found.bad)}
    return jsonify(list=name, **counts, bad_lines=bad), 201


def _ids() -> IdList:
    """Of the request's body. Raises IdListError."""
    if request.is_json:
        ids = body().get("ids")
        if not isinstance(ids, list):
            raise IdListError('send {"ids": ["…"]} as JSON, or the file itself as text/csv')
        return of_values(ids)
    try:
        text = request.get_data().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise IdListError(f"byte {error.start} is no UTF-8; save the file as UTF-8") from None
    return read_csv(text)


# -- Shared.


def _given() -> tuple[str, Any]:
    given = body()
    name = given.get("name")
    if not isinstance(name, str) or "definition" not in given:
        raise QuestionError('send {"name": "…", "definition": {"rule": …}} as JSON')
    return name, given["definition"]


def _first() -> int:
    text = request.args.get("first", str(SHOWN))
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= 10_000):
        abort(400, f"first={text!r} must be a number from 1 to 10,000.")
    return int(text)


def _found(project: str, definition: Definition) -> Members:
    found = _cohorts().members(project, definition)
    if found.state.error:
        raise QuestionError(found.state.error)
    return found


def _people(found: Members, after: str, first: int) -> dict[str, Any]:
    people = found.people
    later = people.filter(pc.greater(people["person"], pa.scalar(after))) if after else people
    return {"people": later["person"].slice(0, first).to_pylist(), "size": found.state.size}


def _listed(project: str) -> list[dict[str, Any]]:
    zone_of(project)
    try:
        return [_shown(project, one) for one in _cohorts().documents.all(project, KIND)]
    except CatalogError as error:
        abort(404, str(error))


def _shown(project: str, saved: Document, state: State | None = None) -> dict[str, Any]:
    """A cohort in JSON's values; sizes are null while nothing was worked out."""
    definition, zone = read(saved.body), zone_of(project)
    known = state or _cohorts().state(project, definition)
    return {
        "id": saved.id,
        "name": saved.name,
        "author": saved.author,
        "description": definition.description,
        "definition": saved.body,
        "words": in_words(definition.rule),
        "identity": _identity(definition),
        **_state(known, zone),
    }


def _identity(definition: Definition) -> str:
    return Source.identity_text(definition.identity)


def _state(state: State | None, zone: str) -> dict[str, Any]:
    if state is None:
        return {"size": None, "status": None, "as_of": None, "complete_until": None,
                "remarks": [], "error": "", "elapsed_ms": None}  # fmt: skip
    return {
        "size": None if state.error else state.size,
        "status": None if state.error else "exact",
        "as_of": when(state.computed_at, zone),
        "complete_until": when(state.complete_until, zone),
        "remarks": list(state.remarks),
        "error": state.error,
        "elapsed_ms": round(state.elapsed_s * 1000),
    }


@bp.errorhandler(QuestionError)
@bp.errorhandler(IdListError)
@bp.errorhandler(CatalogError)
def _wrong(error: ValueError) -> tuple[Response, int]:
    return jsonify(message=str(error)), 400
