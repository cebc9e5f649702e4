"""Which pages there are, for the menu: those that the app has and that the caller may see."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Flask, current_app, g, request
from werkzeug.exceptions import HTTPException

from reports.access.needs import ROLES, needed

# Group -> (path below /p/PROJECT/, or from the root, and label).
_PAGES: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("Look", (("", "Live"), ("boards", "Dashboards"), ("explore", "Explore"))),
    ("Ask", (("sql", "SQL"), ("cohorts", "Cohorts"), ("exports", "Exports"))),
    (
        "Check",
        (
            ("daily", "Daily"),
            ("errors", "Errors"),
            ("health", "Health"),
            ("quality", "Data quality"),
            ("dead-letters", "Dead letters"),
            ("reconciliation", "Reconciliation"),
        ),
    ),
    (
        "Manage",
        (
            ("annotations", "Annotations"),
            ("people", "Members"),
            ("audit", "Audit log"),
            ("/api", "API"),
        ),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """A page in the menu."""

    path: str
    label: str
    is_here: bool


def install(app: Flask) -> None:
    """Give templates `navigation(project)`: [(group, entries)]."""
    app.jinja_env.globals["navigation"] = navigation


def navigation(project: str) -> list[tuple[str, list[Entry]]]:
    """The menu of a project. The entry of the page that is asked for is here."""
    here = request.path.removeprefix(f"/p/{project}/").split("/")[0]
    groups = []
    for group, pages in _PAGES:
        below = [
            (p if p[:1] == "/" else f"/p/{project}/{p}", p == here, label) for p, label in pages
        ]
        entries = [Entry(path, label, is_here) for path, is_here, label in below if _may_see(path)]
        if entries:
            groups.append((group, entries))
    return groups


def _may_see(path: str) -> bool:
    """Has the app such a page, and may the caller of this request see it?"""
    adapter = current_app.create_url_adapter(request)
    assert adapter is not None
    try:
        endpoint, _ = adapter.match(path, method="GET")
    except HTTPException:
        return False
    role = getattr(g.get("user"), "role", "admin")
    return ROLES.index(role) >= ROLES.index(needed(current_app.view_functions[endpoint]))
