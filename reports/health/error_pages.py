"""Pages for engineers: errors, one group of them, and how fast pages are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, abort, jsonify, request

from reports.access.needs import needs
from reports.insights.errors import ErrorGroup, days_between, errors_sql, one_group
from reports.insights.filters import Bindings
from reports.insights.kinds import ask
from reports.insights.question import QuestionError, read
from reports.insights.routes import as_json, source_of
from reports.insights.source import Source
from reports.present import when
from reports.query.here import page
from transforms.error_groups import normalised

bp = Blueprint("engineers", __name__, url_prefix="/p/<project>")
PRESETS = (
    ("today", "Today"),
    ("yesterday", "Yesterday"),
    ("last_7_days", "Last 7 days"),
    ("last_30_days", "Last 30 days"),
    ("last_90_days", "Last 90 days"),
)
_EVENTS = 50  # newest ones on a group's page
_BY = ("page", "browser", "device", "os", "country", "version", "day", "all")


def dates() -> str:
    """?dates=, or the last 30 days."""
    return request.args.get("dates") or "last_30_days"


def choices(chosen: str) -> list[tuple[str, str]]:
    """The presets, and what was asked where it is none of them."""
    known = dict(PRESETS)
    return [*PRESETS, *([] if chosen in known else [(chosen, chosen)])]


def answered(kind: str, question: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """An answer as JSON has it; 400 for what cannot be asked."""
    try:
        return as_json(ask(kind, dict(question), source))
    except QuestionError as error:
        abort(400, str(error))


@bp.get("/errors")
@needs("viewer")
def errors_page(project: str) -> str:
    """Groups of errors; ?dates=last_30_days&search=."""
    search = request.args.get("search", "")
    asked = {"dates": dates(), "search": search}
    found = answered("errors", asked, source_of(project))
    names = [column["name"] for column in found["columns"]]
    return page(
        "errors.html",
        project,
        answer=found,
        groups=[dict(zip(names, row, strict=True)) for row in found["rows"]],
        dates=dates(),
        choices=choices(dates()),
        search=search,
        query=urlencode({"dates": dates()}),
    )


@bp.get("/errors/<group>")
@needs("viewer")
def error_page(project: str, group: str) -> str:
    """One group: stack, days, where, newest events; ?dates=last_30_days."""
    return page(
        "error_group.html",
        project,
        group=_group(project, group),
        dates=dates(),
        choices=choices(dates()),
        query=urlencode({"dates": dates()}),
    )


@bp.get("/api/errors/<group>")
@needs("viewer")
def error_json(project: str, group: str) -> Response:
    """One group whole: problem, frames, days, versions, browsers, newest 50 events; ?dates=."""
    return jsonify(_group(project, group))


def _group(project: str, group: str) -> dict[str, Any]:
    source = source_of(project)
    try:
        question = read(ErrorGroup, {"group": group, "dates": dates()})
        one, found = one_group(question, source)
        every = days_between(*source.days(question))
    except QuestionError as error:
        abort(400 if "group=" not in str(error) else 404, str(error))
    bind = Bindings()
    sql = errors_sql(question, source, bind)
    start, _ = source.span(question)
    events = source.read(
        f"""SELECT event_id, event_time, person, app_version, browser_name, browser_version,
          os_name, page_path, json_extract_string(properties, '$.message') AS message
        FROM {sql}
        WHERE list_contains({bind.add(found.keys[group])}::UBIGINT[], evidence_hash)
          AND epoch_us(event_time) >= {start}
        ORDER BY event_time DESC, event_id
        LIMIT {_EVENTS}""",
        bind,
    ).to_pylist()
    problem = one.problem
    return {
        "id": one.id,
        "title": problem.title,
        "type": problem.type,
        "message": problem.message,
        "pattern": normalised(problem.message),
        "culprit": problem.culprit,
        "frames": [asdict(frame) for frame in problem.frames],
        "stack": problem.stack,
        "events": one.events,
        "people": one.people,
        "first_seen": when(found.first[one.id], source.zone),
        "last_seen": when(one.last, source.zone),
        "versions": [{"value": v or "(none)", "events": n} for v, n in one.versions],
        "browsers": [{"value": v or "(none)", "events": n} for v, n in one.browsers],
        "days": [{"day": day.isoformat(), "events": one.days.get(day, 0)} for day in every],
        "newest": [
            {**event, "event_time": when(event["event_time"], source.zone)} for event in events
        ],
        "notes": list(found.notes),
        "status": "exact",
        "as_of": when(source.as_of, source.zone),
        "complete_until": when(source.complete_until, source.zone),
        "time_zone": source.zone,
        "identity": source.identity_text(question.identity),
    }


@bp.get("/errors/vitals")
@needs("viewer")
def performance_page(project: str) -> str:
    """Web vitals; ?dates=last_30_days&by=page."""
    by = request.args.get("by") or "page"
    source = source_of(project)
    found = answered("vitals", {"dates": dates(), "by": by}, source)
    names = [column["name"] for column in found["columns"]]
    return page(
        "performance.html",
        project,
        answer=found,
        rows=[dict(zip(names, row, strict=True)) for row in found["rows"]],
        dates=dates(),
        choices=choices(dates()),
        by=by,
        every_by=_BY,
    )
