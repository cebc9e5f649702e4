"""Live numbers as server-sent events."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Blueprint, Flask, Response, current_app, jsonify
from flask.typing import ResponseReturnValue

from reports.access.needs import needs
from reports.boards.tiles import TILES, tile
from reports.charts.drawn import drawn
from reports.insights.routes import source_of
from reports.live.feed import Feed, TooMany
from reports.live.overview import overview
from reports.live.store import LiveStore
from reports.present import when

bp = Blueprint("live", __name__)
_EVERY_S, _LEDGER_EVERY_S = 1.0, 3.0
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def install(app: Flask) -> None:
    """Put the routes onto the app, after its collaborators."""
    me = app.extensions["reports"]

    def live(project: str) -> dict[str, Any]:
        return overview(LiveStore(me.live_path, project), me.projects()[project], me.clock())

    def tiles(project: str) -> dict[str, Any]:
        numbers = live(project)
        return {name: drawn(tile(name, numbers)) for name in TILES}

    def ledger(project: str) -> dict[str, Any]:
        as_of, found = me.clock(), me.books.read()
        derived = {n: getattr(found, n) for n in ("in_flight", "uncounted", "balanced")}
        stamp = when(as_of, me.projects()[project])
        return {**asdict(found), **derived, "status": "exact", "as_of": stamp}

    app.extensions["live"] = Feed({"live": (live, _EVERY_S), "ledger": (ledger, _LEDGER_EVERY_S)})
    app.extensions["live_tiles"] = Feed({"tiles": (tiles, _EVERY_S)})
    app.register_blueprint(bp)


@bp.get("/p/<project>/api/live/events")
@needs("viewer")
def events(project: str) -> ResponseReturnValue:
    """Events `live` and `ledger`, each as its JSON route has it, whenever they change."""
    return _stream("live", project)


@bp.get("/p/<project>/api/live/tiles")
@needs("viewer")
def tile_events(project: str) -> ResponseReturnValue:
    """Event `tiles`: the live tiles of dashboards by name, ready to be shown."""
    return _stream("live_tiles", project)


def _stream(feed: str, project: str) -> ResponseReturnValue:
    source_of(project)
    try:
        body = current_app.extensions[feed].stream(project)
    except TooMany:
        answer = jsonify(message="All live streams are taken; ask /api/live every few seconds.")
        answer.headers["Retry-After"] = "10"
        return answer, 503
    return Response(body, content_type="text/event-stream; charset=utf-8", headers=_HEADERS)
