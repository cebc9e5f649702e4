"""The data-quality page: every type of event, and one of them by day and by field."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, request

from reports.access.needs import needs
from reports.health.error_pages import answered
from reports.health.scope import scope
from reports.insights.routes import source_of
from reports.query.here import page

bp = Blueprint("quality", __name__, url_prefix="/p/<project>")


@bp.get("/quality")
@needs("viewer")
def quality_page(project: str) -> str:
    """Every type of event; ?dates=last_7_days&cohort=. With ?type=track&event=NAME one of them."""
    asked = scope(project, "last_7_days")
    kind, event = request.args.get("type", ""), request.args.get("event", "")
    source = source_of(project)
    if not kind:
        found = answered("quality", asked.asked, source)
        return page("quality.html", project, answer=found, rows=_rows(found), scope=asked)
    one = {"type": kind, "event": event}
    longer = {**asked.asked, "dates": _longer(asked.dates)}
    by_day = answered("quality_days", {**one, **longer}, source_of(project))
    by_field = answered("quality_fields", {**one, **asked.asked}, source)
    return page(
        "quality_event.html",
        project,
        kind=kind,
        event=event,
        by_day=by_day,
        days=_rows(by_day),
        by_field=by_field,
        fields=_rows(by_field),
        scope=asked,
    )


def _longer(dates: str) -> str:
    """A week alone says little about volume: its page shows the month around it."""
    return "last_30_days" if dates in ("today", "yesterday", "last_7_days") else dates


def _rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    names = [column["name"] for column in found["columns"]]
    return [dict(zip(names, row, strict=True)) for row in found["rows"]]
