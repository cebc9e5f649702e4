"""The audit log as a page: of everything, or of a project."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from urllib.parse import urlencode

from flask import Blueprint, abort, render_template, request

from catalog.audit import Entry
from reports.access.needs import needs
from reports.access.parts import access

bp = Blueprint("audit", __name__)
_PAGE = 100
_TEXTS = ("actor", "action", "outcome")


@bp.get("/audit")
@needs("admin", browser=True)
def page() -> str:
    """Of everything; ?actor=&action=&project=&outcome=&first=2026-09-01&last=2026-09-30."""
    project = request.args.get("project", "").strip()
    return _page("audit.html", project, projects=list(access().projects()))


@bp.get("/p/<project>/audit")
@needs("admin", browser=True)
def project_page(project: str) -> str:
    """Of the project; ?actor=&action=&outcome=&first=2026-09-01&last=2026-09-30."""
    if project not in access().projects():
        abort(404, f"There is no project {project!r}. Make one: python -m catalog add-project")
    return _page("project_audit.html", project, projects=list(access().projects()))


def _page(template: str, project: str, projects: list[str]) -> str:
    asked = {name: request.args.get(name, "").strip()[:200] for name in _TEXTS}
    first, last, before = _day("first"), _day("last"), request.args.get("before", type=int)
    entries: list[Entry] = access().audit.find(
        **asked,
        project=project,
        since=datetime.combine(first, time()) if first else None,
        until=datetime.combine(last + timedelta(days=1), time()) if last else None,
        before=before,
        limit=_PAGE,
    )
    days = {"first": first or "", "last": last or ""}
    kept = {k: v for k, v in {**request.args, "before": ""}.items() if v}
    older = urlencode({**kept, "before": entries[-1].id}) if len(entries) == _PAGE else ""
    return render_template(
        template,
        project=project,
        projects=projects,
        entries=entries,
        asked=asked | days,
        older=older,
    )


def _day(name: str) -> date | None:
    text = request.args.get(name)
    if not text:
        return None
    try:
        found = date.fromisoformat(text)
    except ValueError:
        abort(400, f"{name}={text[:40]!r} is no day; write it as 2026-09-01.")
    if found.year > 9000:
        abort(400, f"{name}={text[:40]!r} is too far off.")
    return found
