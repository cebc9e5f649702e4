"""Headwater's own JSON: one event, a list, or {"events": […]}; an answer for every event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from flask import Blueprint, Response, jsonify, request

from catalog.settings import Settings
from collector import desk
from collector.intake import Outcome, outcomes
from collector.problems import Problem
from collector.protocols import shape
from collector.protocols.fields import (
    Text,
    Time,
    amount,
    elements,
    json_object,
    members,
    one,
    scalar,
    sent_us,
    text,
)
from transforms.candidates import Candidate, Candidates
from transforms.failures import Rejection

bp = Blueprint("native", __name__)

_EMPTY = msgspec.Raw(b"")
_NULL = msgspec.Raw(b"null")


class _Event(msgspec.Struct):
    type: str = "track"
    name: str | None = None
    event_id: Text = None
    user_id: Text = None
    anonymous_id: Text = None
    session_id: Text = None
    time: Time = None
    revenue: msgspec.Raw = _NULL
    currency: str | None = None
    order_id: Text = None
    properties: msgspec.Raw = _EMPTY
    context: msgspec.Raw = _EMPTY


_EVENT = msgspec.json.Decoder(_Event)


def events(body: bytes, limits: Settings) -> Candidates:
    """One event, a list of them, or an envelope. Raises Problem: 400, 413 for too many."""
    if body.lstrip()[:1] == b"[":
        return _candidates(elements(body, limits.max_batch_events))
    found = members(body)
    if "events" not in found:
        return _candidates([body])
    originals = elements(found["events"], limits.max_batch_events)
    return _candidates(originals, sent_us(scalar(found.get("sent_at", b""))))


def answer(found: list[Outcome]) -> dict[str, Any]:
    """{"accepted": n, "results": [{"index", "event_id"?, "result", "reason"?, "message"?}]}."""
    return {
        "accepted": sum(outcome.result != "drop" for outcome in found),
        "results": [
            {
                "index": index,
                **{
                    name: value
                    for name in ("event_id", "result", "reason", "message")
                    if (value := getattr(outcome, name)) is not None
                },
            }
            for index, outcome in enumerate(found)
        ],
    }


def _candidates(originals: list[bytes], sent_time: int | None = None) -> Candidates:
    return Candidates.of([_candidate(original) for original in originals], originals, sent_time)


def _candidate(original: bytes) -> Candidate | Rejection:
    parsed = one(original, _EVENT)
    if isinstance(parsed, Rejection):
        return parsed
    return Candidate(
        type=parsed.type,
        name=parsed.name,
        event_id=text(parsed.event_id),
        user_id=text(parsed.user_id),
        anonymous_id=text(parsed.anonymous_id),
        session_id=text(parsed.session_id),
        timestamp=parsed.time,
        revenue=amount(parsed.revenue),
        currency=parsed.currency,
        order_id=text(parsed.order_id),
        properties=json_object(parsed.properties),
        context=json_object(parsed.context),
    )


# -- The pixel: an event in a query, by the names above or as browsers write them.

_ALIASES = {
    "messageId": "event_id",
    "userId": "user_id",
    "anonymousId": "anonymous_id",
    "sessionId": "session_id",
    "event": "name",
    "timestamp": "time",
}
_PREFIX = "p."  # of a property on its own


def of_query(query: Mapping[str, str]) -> bytes:
    """A pixel's query as an event. Raises Problem 400 where `properties` is no JSON object."""
    named = {_ALIASES.get(name, name): value for name, value in query.items()}
    event: dict[str, Any] = {
        name: value for name, value in named.items() if name in _Event.__struct_fields__ and value
    }
    given = {name: shape.members_of(_json(named, name)) for name in ("properties", "context")}
    single = {n.removeprefix(_PREFIX): v for n, v in query.items() if n.startswith(_PREFIX)}
    event["time"] = shape.milliseconds(named.get("time"))
    event["properties"] = {**given["properties"], **single}
    event["context"] = given["context"]
    return msgspec.json.encode(event)


def _json(query: Mapping[str, str], name: str) -> bytes:
    written = query.get(name, "{}").encode(errors="replace")
    found = one(written, shape.EVENT)
    if isinstance(found, Rejection):
        raise Problem(400, "bad_json", f"`{name}` is no JSON object")
    return written


# -- Routes.


@bp.post("/v1/events")
def post_events() -> Response:
    """Native JSON: one event, a list, or {"events": […]}; answers a result for each event."""
    return jsonify(answer(outcomes(desk.take(events))))


@bp.get("/v1/pixel.gif")
def get_pixel() -> Response:
    """One native event in the query; properties as JSON or one by one as p.NAME; answers a GIF."""
    desk.take_in(of_query(request.args), events, desk.key_of_request())
    return shape.gif()
