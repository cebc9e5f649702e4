"""HTTP surface of the collector. Every route is: read, who, adapt, take, answer."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Blueprint, Response, current_app, jsonify, request

from catalog.settings import Settings
from collector.body import read_body
from collector.intake import Envelope, Intake
from collector.keys import KeyRing, key_of_headers
from collector.protocols import native, segment

bp = Blueprint("collector", __name__)


@dataclass(frozen=True)
class Collaborators:
    """What the routes call; put in place by `create_app`."""

    settings: Settings
    keys: KeyRing
    intake: Intake


def _with() -> Collaborators:
    found: Collaborators = current_app.extensions["collector"]
    return found


@bp.post("/v1/batch")
@bp.post("/v1/b")
@bp.post("/v1/import")
def post_batch() -> Response:
    """Segment batch: {"batch": […], "sentAt"}. 200 once every event is durable.

    A bad event goes to the dead letters; the batch is still answered 200.
    """
    body = _body()
    envelope = _envelope(body)
    messages, sent = segment.batch(body)
    _with().intake.take(messages, _sent(envelope, sent))
    return jsonify(success=True)


@bp.post("/v1/<any(track,identify,page,screen,group,alias,t,i,p,s,g,a):kind>")
def post_message(kind: str) -> Response:
    """One Segment message, from a server SDK or (short form) from the browser's."""
    body = _body()
    envelope = _envelope(body)
    messages, sent = segment.single(body, segment.check_type(kind))
    _with().intake.take(messages, _sent(envelope, sent))
    return jsonify(success=True)


@bp.post("/v1/events")
def post_events() -> Response:
    """Native JSON: one event, a list, or {"events": […]}; answers a result for each event."""
    body = _body()
    envelope = _envelope(body)
    messages, sent = native.events(body)
    return jsonify(native.answer(_with().intake.take(messages, _sent(envelope, sent))))


@bp.get("/v1/projects/<key>/settings")
def get_segment_settings(key: str) -> Response:
    """What Segment's browser SDK asks for at start, so that it needs no CDN."""
    _with().keys.owner(key)
    integration = {"apiKey": key, "apiHost": f"{request.host}/v1"}
    return jsonify(integrations={"Segment.io": integration}, plan={}, edgeFunction={})


@bp.get("/health")
def health() -> Response:
    """Alive: touches nothing."""
    return jsonify(alive=True)


@bp.get("/health/bus")
def bus_health() -> tuple[Response, int]:
    """Ready: can an event be handed over now? 503 if not."""
    healthy = _with().intake.bus_is_healthy()
    return jsonify(healthy=healthy), 200 if healthy else 503


def _body() -> bytes:
    limits = _with().settings
    return read_body(
        request.stream,
        request.content_length,
        request.headers.get("Content-Encoding", ""),
        limits.max_body_bytes,
        limits.max_decoded_bytes,
    )


def _envelope(body: bytes) -> Envelope:
    key = key_of_headers(request.headers, request.args) or segment.key_of(body)
    return Envelope(
        owner=_with().keys.owner(key),
        headers=dict(request.headers),
        retry_count=_retries(request.headers.get("X-Retry-Count", "")),
    )


def _sent(envelope: Envelope, sent: int | None) -> Envelope:
    return Envelope(envelope.owner, envelope.headers, sent, envelope.retry_count)


def _retries(header: str) -> int | None:
    return int(header) if header.isascii() and header.isdigit() and len(header) < 7 else None
