"""Live numbers as server-sent events."""

from __future__ import annotations

from typing import Any, NamedTuple

from flask import Blueprint, Flask, Response, current_app, jsonify
from flask.typing import ResponseReturnValue

from reports.access.needs import needs
from reports.access.scope import sees_all_projects
from reports.boards.tiles import TILES, tile
from reports.charts.drawn import drawn
from reports.insights.routes import source_of
from reports.ledger_shown import shown
from reports.live.feed import Feed, TooMany
from reports.live.overview import overview
from reports.live.store import LiveStore

bp = Blueprint("live", __name__)
_EVERY_S, _LEDGER_EVERY_S = 1.0, 3.0
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class Seen(NamedTuple):
    """A project as a reader may see it. whole: the ledger is of all projects together."""

    project: str
    whole: bool


def install(app: Flask) -> None:
    """Put the routes onto the app, after its collaborators."""
    me = app.extensions["reports"]

    def live(project: str) -> dict[str, Any]:
        return overview(LiveStore(me.live_path, project), me.projects()[project], me.clock())

    def tiles(project: str) -> dict[str, Any]:
        numbers = live(project)
        return {name: drawn(tile(name, numbers)) for name in TILES}

    def ledger(seen: Seen) -> dict[str, Any]:
        zone = me.projects()[seen.project]
        return shown(me.books, seen.project, zone, me.clock(), whole=seen.whole)

    app.extensions["live"] = Feed(
        {
            "live": (lambda seen: live(seen.project), _EVERY_S),
            "ledger": (ledger, _LEDGER_EVERY_S),
        }
    )
    app.extensions["live_tiles"] = Feed({"tiles": (tiles, _EVERY_S)})
    app.register_blueprint(bp)


@bp.get("/p/<project>/api/live/events")
@needs("viewer")
def events(project: str) -> ResponseReturnValue:
    """Events `live` and `ledger`, each as its JSON route has it, whenever they change."""
    source_of(project)
    return _stream("live", Seen(project, sees_all_projects()))


@bp.get("/p/<project>/api/live/tiles")
@needs("viewer")
def tile_events(project: str) -> ResponseReturnValue:
    """Event `tiles`: the live tiles of dashboards by name, ready to be shown."""
    source_of(project)
    return _stream("live_tiles", project)


def _stream(feed: str, subject: str | Seen) -> ResponseReturnValue:
    try:
        body = current_app.extensions[feed].stream(subject)
    except TooMany:
        answer = jsonify(message="All live streams are taken; ask /api/live every few seconds.")
        answer.headers["Retry-After"] = "10"
        return answer, 503
    return Response(body, content_type="text/event-stream; charset=utf-8", headers=_HEADERS)
