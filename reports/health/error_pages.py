"""Pages for engineers: errors, one group of them, and how fast pages are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, abort, jsonify, request

from reports.access.needs import needs
from reports.health.scope import Scope, scope
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
_EVENTS = 50  # newest ones on a group's page
_BY = ("page", "browser", "device", "os", "country", "version", "day", "all")


def answered(kind: str, question: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """An answer as JSON has it; 400 for what cannot be asked."""
    try:
        return as_json(ask(kind, dict(question), source))
    except QuestionError as error:
        abort(400, str(error))


@bp.get("/errors")
@needs("viewer")
def errors_page(project: str) -> str:
    """Groups of errors; ?dates=last_30_days&cohort=&search=."""
    search, asked = request.args.get("search", ""), scope(project)
    found = answered("errors", {**asked.asked, "search": search}, source_of(project))
    names = [column["name"] for column in found["columns"]]
    return page(
        "errors.html",
        project,
        answer=found,
        groups=[dict(zip(names, row, strict=True)) for row in found["rows"]],
        scope=asked,
        search=search,
    )


@bp.get("/errors/<group>")
@needs("viewer")
def error_page(project: str, group: str) -> str:
    """One group: stack, days, where, newest events; ?dates=last_30_days&cohort=."""
    asked = scope(project)
    return page("error_group.html", project, group=_group(project, group, asked), scope=asked)


@bp.get("/api/errors/<group>")
@needs("viewer")
def error_json(project: str, group: str) -> Response:
    """One group whole: problem, frames, days, versions, newest 50 events; ?dates=&cohort=."""
    return jsonify(_group(project, group, scope(project)))


def _group(project: str, group: str, asked: Scope) -> dict[str, Any]:
    source = source_of(project)
    try:
        question = read(ErrorGroup, {"group": group, **asked.asked})
        one, found = one_group(question, source)
        every = days_between(*source.days(question))
    except QuestionError as error:
        abort(400 if "group=" not in str(error) else 404, str(error))
    bind, person = Bindings(), "person" if source.may_list_people else "NULL"
    sql = errors_sql(question, source, bind)
    start, _ = source.span(question)
    events = source.read(
        f"""SELECT event_id, event_time, {person} AS person, app_version, browser_name,
          browser_version, os_name, page_path,
          json_extract_string(properties, '$.message') AS message
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
    """Web vitals; ?dates=last_30_days&cohort=&by=page."""
    by, asked = request.args.get("by") or "page", scope(project)
    found = answered("vitals", {**asked.asked, "by": by}, source_of(project))
    names = [column["name"] for column in found["columns"]]
    return page(
        "performance.html",
        project,
        answer=found,
        rows=[dict(zip(names, row, strict=True)) for row in found["rows"]],
        scope=asked,
        by=by,
        every_by=_BY,
    )
