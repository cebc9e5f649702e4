"""Headwater's own JSON: one event, a list, or {"events": […]}; an answer for every event."""

from __future__ import annotations

from typing import Any

import msgspec

from catalog.settings import Settings
from collector.intake import Outcome
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


def answer(outcomes: list[Outcome]) -> dict[str, Any]:
    """{"accepted": n, "results": [{"index", "event_id"?, "result", "reason"?, "message"?}]}."""
    return {
        "accepted": sum(outcome.result != "drop" for outcome in outcomes),
        "results": [
            {
                "index": index,
                **{
                    name: value
                    for name in ("event_id", "result", "reason", "message")
                    if (value := getattr(outcome, name)) is not None
                },
            }
            for index, outcome in enumerate(outcomes)
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
