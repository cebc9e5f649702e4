"""Headwater's own JSON: one event, a list, or {"events": […]}; an answer for every event."""

from __future__ import annotations

from typing import Any

import msgspec

from collector.intake import Message, Outcome
from collector.protocols.fields import (
    Text,
    Time,
    amount,
    json_object,
    one,
    sent_us,
    text,
    whole,
)
from transforms.failures import Rejection
from transforms.intake import Candidate

_EMPTY = msgspec.Raw(b"")
_NULL = msgspec.Raw(b"null")


class _Envelope(msgspec.Struct):
    events: list[msgspec.Raw]
    sent_at: Time = None


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


def events(body: bytes) -> tuple[list[Message], int | None]:
    """(messages, when they were sent in us). Raises Problem 400."""
    if body.lstrip()[:1] == b"[":
        return [_message(bytes(raw)) for raw in whole(body, list[msgspec.Raw])], None
    members = whole(body, dict[str, msgspec.Raw])
    if "events" not in members:
        return [_message(body)], None
    envelope = whole(body, _Envelope)
    return [_message(bytes(raw)) for raw in envelope.events], sent_us(envelope.sent_at)


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


def _message(original: bytes) -> Message:
    parsed = one(original, _EVENT)
    if isinstance(parsed, Rejection):
        return Message(parsed, original)
    return Message(
        Candidate(
            type=parsed.type,
            name=parsed.name or None,
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
        ),
        original,
    )
