"""HTTP surface of the collector. Every route is: take, answer."""

from __future__ import annotations

from functools import partial

from flask import Blueprint, Response, jsonify, request

from collector.desk import collaborators, take
from collector.intake import outcomes
from collector.protocols import native, segment

bp = Blueprint("collector", __name__)


@bp.post("/v1/batch")
@bp.post("/v1/b")
@bp.post("/v1/import")
def post_batch() -> Response:
    """Segment batch: {"batch": […], "sentAt"}. 200 once every event is durable.

    A bad event goes to the dead letters; the batch is still answered 200.
    """
    take(segment.batch)
    return jsonify(success=True)


@bp.post("/v1/<any(track,identify,page,screen,group,alias,t,i,p,s,g,a):kind>")
def post_message(kind: str) -> Response:
    """One Segment message, from a server SDK or (short form) from the browser's."""
    take(partial(segment.single, segment.check_type(kind)))
    return jsonify(success=True)


@bp.post("/v1/events")
def post_events() -> Response:
    """Native JSON: one event, a list, or {"events": […]}; answers a result for each event."""
    return jsonify(native.answer(outcomes(take(native.events))))


@bp.get("/v1/projects/<key>/settings")
def get_segment_settings(key: str) -> Response:
    """What Segment's browser SDK asks for at start, so that it needs no CDN."""
    collaborators().keys.owner(key)
    integration = {"apiKey": key, "apiHost": f"{request.host}/v1"}
    return jsonify(integrations={"Segment.io": integration}, plan={}, edgeFunction={})


@bp.get("/health")
def health() -> Response:
    """Alive: touches nothing."""
    return jsonify(alive=True)


@bp.get("/health/bus")
def bus_health() -> tuple[Response, int]:
    """Ready: can an event be handed over now? 503 if not."""
    healthy = collaborators().intake.bus_is_healthy()
    return jsonify(healthy=healthy), 200 if healthy else 503
