"""Exports over HTTP: make, watch, download, cancel and remove them; the page that shows them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

import msgspec
from flask import Blueprint, Flask, Response, abort, current_app, jsonify, request, send_file
from flask.typing import ResponseReturnValue

from catalog.documents import Document, Documents
from catalog.settings import Settings
from catalog.store import CatalogError
from reports.access.needs import needs
from reports.access.record import record
from reports.exports import schedules
from reports.exports.asked import Asked, ExportError, asked
from reports.exports.shelf import MANIFEST, SUMS, Job, Shelf, ShelfError
from reports.exports.targets import target
from reports.exports.work import see_to_it, shelf_of
from reports.insights.kinds import KINDS
from reports.present import when
from reports.query.here import body, page, takes, user, zone_of
from reports.warehouse.parameters import values_of
from reports.warehouse.views import TABLES

bp = Blueprint("exports", __name__)


@dataclass(frozen=True)
class Collaborators:
    """What the handlers call; put in place by `install`. start: sees to the jobs that wait."""

    settings: Settings
    shelf: Shelf
    documents: Documents
    start: Callable[[Settings], None] = see_to_it


def install(app: Flask, settings: Settings, documents: Documents) -> None:
    """Put the routes onto the app."""
    app.extensions["exports"] = Collaborators(settings, shelf_of(settings), documents)
    app.register_blueprint(bp)


def me() -> Collaborators:
    """The collaborators of this app."""
    found: Collaborators = current_app.extensions["exports"]
    return found


def checked(project: str, value: Any) -> Asked:
    """What JSON's values ask to export, or 400 with the reason. Raises ExportError."""
    warehouse = current_app.extensions["reports"].warehouse

    def admitted(sql: str, parameters: Any) -> None:
        warehouse.prepare(project, sql, values_of(parameters))

    return asked(value, admitted, today(project))


def today(project: str) -> date:
    """The present day in the project's zone."""
    now: int = current_app.extensions["reports"].clock()
    return datetime.fromtimestamp(now / 1e6, UTC).astimezone(ZoneInfo(zone_of(project))).date()


@bp.get("/p/<project>/exports")
@needs("analyst")
def exports(project: str) -> str:
    """Exports, schedules; ?sql=…, or ?kind=…&question={…}, or ?table=…&dates=… fills the form."""
    zone = zone_of(project)
    kinds = [(kind.name, kind.title, kind.example) for kind in KINDS.values()]
    return page("exports.html", project, zone=zone, tables=list(TABLES), kinds=kinds)


@bp.post("/p/<project>/api/exports")
@needs("analyst")
@takes(Asked)
def make(project: str) -> ResponseReturnValue:
    """Begin an export: 202 with its `id`; 400 with message, line and column.

    {"format": "csv" | "json" | "jsonl" | "parquet"} and one of {"sql", "parameters"?},
    {"kind", "question"} and {"table", "dates"?, "columns"?}; "raw": true leaves cells of CSV that
    look like formulas, "name" is shown and begins the files' names.
    """
    zone_of(project)
    try:
        wanted = checked(project, body())
        job = me().shelf.add(project, msgspec.to_builtins(wanted), user())
    except ExportError as error:
        return jsonify(message=str(error), line=error.line, column=error.column), 400
    except ShelfError as error:
        return jsonify(message=str(error)), 409
    me().start(me().settings)
    return jsonify(shown(job, zone_of(project))), 202


@bp.get("/p/<project>/api/exports")
@needs("analyst")
def list_exports(project: str) -> Response:
    """{"exports": […]}: newest first, each with state, progress and files."""
    zone = zone_of(project)
    me().shelf.expire()
    me().start(me().settings)
    found = []
    for job in me().shelf.all(project):
        with suppress(FileNotFoundError):  # removed meanwhile
            found.append(shown(job, zone))
    return jsonify(exports=found)


@bp.get("/p/<project>/api/exports/<id_>")
@needs("analyst")
def one_export(project: str, id_: str) -> Response:
    """One export: state (queued, running, done, failed, cancelled), progress, files, manifest."""
    zone, job = zone_of(project), _job(project, id_)
    me().start(me().settings)
    try:
        manifest = me().shelf.manifest(job) if job.state == "done" else None
        return jsonify(**shown(job, zone), manifest=manifest)
    except FileNotFoundError:  # removed meanwhile
        _gone(id_)


@bp.post("/p/<project>/api/exports/<id_>/cancel")
@needs("analyst")
def cancel(project: str, id_: str) -> Response:
    """Stop an export that waits or runs; its files so far go."""
    zone, job = zone_of(project), _job(project, id_)
    me().shelf.cancel(job)
    return jsonify(shown(me().shelf.get(project, id_) or job, zone))


@bp.delete("/p/<project>/api/exports/<id_>")
@needs("analyst")
def remove(project: str, id_: str) -> ResponseReturnValue:
    """Remove an export and its files; one that runs is stopped first."""
    zone_of(project)
    try:
        me().shelf.remove(_job(project, id_))
    except ShelfError as error:
        return jsonify(message=str(error)), 409
    return "", 204


@bp.get("/p/<project>/api/exports/<id_>/files/<name>")
@needs("analyst")
def download(project: str, id_: str, name: str) -> ResponseReturnValue:
    """A file of an export that is done: whole, or the bytes of a Range; ETag is its SHA-256."""
    zone_of(project)
    job = _job(project, id_)
    path = me().shelf.file(job, name)
    if path is None:
        abort(404, f"This export has no file {name!r}; it is {job.state}.")
    if "Range" not in request.headers:  # what goes on with a download is the same one
        record("export.download", f"{id_}/{name}")
    sums = {one["name"]: one["sha256"] for one in me().shelf.manifest(job)["files"]}
    return send_file(
        path, as_attachment=True, conditional=True, etag=sums.get(name, True), max_age=0
    )


@bp.get("/p/<project>/api/exports/schedules")
@needs("analyst")
def list_schedules(project: str) -> Response:
    """{"schedules": […]}: by name, each with when it runs next and how it went last."""
    zone = zone_of(project)
    found = me().documents.all(project, schedules.KIND)
    return jsonify(schedules=[shown_schedule(one, zone) for one in found])


@bp.post("/p/<project>/api/exports/schedules")
@needs("analyst")
@takes(schedules.Schedule)
def keep_schedule(project: str) -> ResponseReturnValue:
    """Keep a new schedule; 400 with a message, 409 with the `id` of one that has its name.

    {"name", "export": as an export is asked for, "every": "day" | "week" | "month", "at": "06:00",
    "to": a folder, or gs://BUCKET/PREFIX}
    """
    return _kept(project)


@bp.put("/p/<project>/api/exports/schedules/<id_>")
@needs("analyst")
@takes(schedules.Schedule)
def change_schedule(project: str, id_: str) -> ResponseReturnValue:
    """Change a schedule, given whole as a new one is; with another `export` it begins anew."""
    zone_of(project)
    if me().documents.get(project, schedules.KIND, id_) is None:
        abort(404, f"{project} has no schedule with id {id_!r}.")
    return _kept(project, id_)


def _kept(project: str, known: str = "") -> ResponseReturnValue:
    zone, now = zone_of(project), current_app.extensions["reports"].clock()
    try:
        wanted = schedules.read(body())
        checked(project, msgspec.to_builtins(wanted.export))
        target(me().settings, project, wanted.to)
        kept = schedules.save(me().documents, project, wanted, user(), now, zone, known=known)
    except ExportError as error:
        return jsonify(message=str(error), line=error.line, column=error.column), 400
    except schedules.NameTaken as error:
        return jsonify(message=str(error), id=error.known), 409
    except CatalogError as error:
        return jsonify(message=str(error)), 400
    return jsonify(shown_schedule(kept, zone)), 200 if known else 201


@bp.delete("/p/<project>/api/exports/schedules/<id_>")
@needs("analyst")
def remove_schedule(project: str, id_: str) -> ResponseReturnValue:
    """Forget a schedule; what it made stays."""
    zone_of(project)
    try:
        me().documents.remove(project, schedules.KIND, id_)
    except CatalogError as error:
        return jsonify(message=str(error)), 404
    return "", 204


def shown_schedule(document: Document, zone: str) -> dict[str, Any]:
    """A schedule in JSON's values."""
    kept = schedules.kept_of(document)
    return {
        "id": document.id,
        **msgspec.to_builtins(kept.schedule),
        "title": kept.schedule.export.title,
        "author": document.author,
        "next_at": when(kept.next_at, zone),
        "last_at": when(kept.last_at, zone),
        "last_state": kept.last_state,
        "last_said": kept.last_said,
    }


def _job(project: str, id_: str) -> Job:
    job = me().shelf.get(project, id_)
    return _gone(id_) if job is None else job


def _gone(id_: str) -> NoReturn:
    abort(404, f"There is no export {id_!r}; it is kept for some days only.")


def shown(job: Job, zone: str) -> dict[str, Any]:
    """A job in JSON's values."""
    what = msgspec.convert(job.asked, Asked)
    files: list[dict[str, Any]] = []
    if job.state == "done":
        base = f"/p/{job.project}/api/exports/{job.id}/files"
        listed = me().shelf.manifest(job)["files"]
        files = [{**one, "url": f"{base}/{one['name']}"} for one in listed]
        files += [{"name": name, "url": f"{base}/{name}"} for name in (MANIFEST, SUMS)]
    return {
        "id": job.id,
        "title": what.title,
        "format": what.format,
        "asked": job.asked,
        "author": job.author,
        "state": job.state,
        "rows": job.rows,
        "bytes": job.bytes,
        "progress": job.share,
        "message": job.message,
        "attempts": job.attempts,
        "created_at": when(job.created_at, zone),
        "started_at": when(job.started_at, zone),
        "ended_at": when(job.ended_at, zone),
        "expires_at": when(job.expires_at, zone),
        "files": files,
    }
