"""Segment-compatible messages, as its server and browser SDKs and their kin send them.

Nearly every batch fits the types that the SDKs have: it is decoded in one go, straight into
columns. What does not is read message by message, with the same outcome for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from catalog.settings import Settings
from collector.problems import Problem, too_large
from collector.protocols.fields import (
    BROKEN,
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
    whole,
)
from transforms.candidates import Candidate, Candidates
from transforms.failures import Rejection

SHORT = {"t": "track", "i": "identify", "p": "page", "s": "screen", "g": "group", "a": "alias"}
# Money is only promised in these, or it is that of another event of the same order.
_NOT_EARNED = {
    "checkout started",
    "order updated",
    "order cancelled",
    "payment info entered",
    "checkout step viewed",
    "checkout step completed",
}
_REFUND = "order refunded"
_EMPTY = msgspec.Raw(b"")
_NULL = msgspec.Raw(b"null")
_COLUMNS = ("type", "name", "event_id", "user_id", "anonymous_id", "timestamp", "sent_time",
            "properties", "context", "revenue", "currency", "order_id")  # fmt: skip
_Row = tuple[Any, ...]


class _Message(msgspec.Struct, gc=False):
    """Whatever senders have been seen to send under these names."""

    type: str | None = None
    messageId: Text = None
    userId: Text = None
    anonymousId: Text = None
    previousId: Text = None
    groupId: Text = None
    event: str | None = None
    name: str | None = None
    timestamp: Time = None
    originalTimestamp: Time = None
    sentAt: Time = None
    properties: msgspec.Raw = _EMPTY
    traits: msgspec.Raw = _EMPTY
    context: msgspec.Raw = _EMPTY


class _Usual(msgspec.Struct, gc=False):
    """A message as SDKs make it: ids and times are text."""

    type: str | None = None
    messageId: str | None = None
    userId: str | None = None
    anonymousId: str | None = None
    previousId: str | None = None
    event: str | None = None
    name: str | None = None
    timestamp: str | None = None
    originalTimestamp: str | None = None
    sentAt: str | None = None
    properties: msgspec.Raw = _EMPTY
    traits: msgspec.Raw = _EMPTY
    context: msgspec.Raw = _EMPTY


class _UsualBatch(msgspec.Struct, gc=False):
    batch: list[_Usual]
    sentAt: Time = None
    context: msgspec.Raw = _EMPTY


class _Originals(msgspec.Struct):
    batch: list[msgspec.Raw]


class _Money(msgspec.Struct):
    revenue: msgspec.Raw = _NULL
    total: msgspec.Raw = _NULL
    currency: msgspec.Raw = _NULL
    order_id: msgspec.Raw = _NULL


_MESSAGE = msgspec.json.Decoder(_Message)
_USUAL = msgspec.json.Decoder(_Usual)
_USUAL_BATCH = msgspec.json.Decoder(_UsualBatch)
_ORIGINALS = msgspec.json.Decoder(_Originals)
_MONEY = msgspec.json.Decoder(_Money)


def single(kind: str, body: bytes, limits: Settings) -> Candidates:
    """Body of `/v1/track` and its sisters. Raises Problem 400 for what is no object at all."""
    if kind not in ("group", "alias"):
        try:
            message = _USUAL.decode(body)
            body.isascii() or body.decode()
        except BROKEN:
            pass
        else:
            return _as_columns([_row(message, kind)], lambda: [body], None)
    members(body)
    return Candidates.of([_candidate(body, None, kind)], [body])


def batch(body: bytes, limits: Settings) -> Candidates:
    """Body of `/v1/batch`.

    Raises Problem: 400, 413 for too many messages, or where the context that they share makes
    too many bytes of them: a small body must not become a large one.
    """
    try:
        found = _USUAL_BATCH.decode(body)
        body.isascii() or body.decode()  # the decoder passes over values, right or wrong
        rows = [_row(m, m.type) for m in found.batch if m.type not in ("group", "alias")]
    except BROKEN:
        return _message_by_message(body, limits)
    shared = json_object(found.context) != b"{}"
    if shared or len(rows) < len(found.batch) or len(rows) > limits.max_batch_events:
        return _message_by_message(body, limits)

    def originals() -> Sequence[bytes]:
        return [bytes(raw) for raw in _ORIGINALS.decode(body).batch]

    return _as_columns(rows, originals, sent_us(found.sentAt))


def _as_columns(rows: list[_Row], originals: Any, sent: int | None) -> Candidates:
    columns = dict(zip(_COLUMNS, zip(*rows, strict=True), strict=True)) if rows else {}
    return Candidates(columns, len(rows), originals, sent_time=sent)


def _row(m: _Usual, kind: str | None) -> _Row:
    """Values of _COLUMNS."""
    carried = m.traits if kind == "identify" else m.properties
    properties = bytes(carried)
    money: tuple[str | None, ...] = (None, None, None)
    if kind == "track" and _may_hold_money(m.event, properties):
        money = _money(m.event, properties)
    return (
        kind or "",
        m.event if kind == "track" else m.name,
        m.messageId,
        m.userId,
        m.anonymousId or m.previousId,
        m.originalTimestamp or m.timestamp,
        sent_us(m.sentAt) if m.sentAt else None,
        properties,
        bytes(m.context),
        *money,
    )


def _message_by_message(body: bytes, limits: Settings) -> Candidates:
    found = members(body)
    if "batch" not in found:
        raise Problem(400, "bad_json", "the body has no `batch`: send a list of messages there")
    originals = elements(found["batch"], limits.max_batch_events)
    context = json_object(found.get("context", b""))
    if len(context) * len(originals) > limits.max_decoded_bytes:
        raise too_large(limits.max_decoded_bytes)
    shared = whole(context, dict[str, msgspec.Raw])
    made = [_candidate(original, shared, None) for original in originals]
    return Candidates.of(made, originals, sent_us(scalar(found.get("sentAt", b""))))


def _candidate(
    original: bytes, shared: dict[str, msgspec.Raw] | None, kind: str | None
) -> Candidate | Rejection:
    parsed = one(original, _MESSAGE)
    if isinstance(parsed, Rejection):
        return parsed
    context = json_object(parsed.context)
    if shared:
        own = msgspec.json.decode(context, type=dict[str, msgspec.Raw])
        context = msgspec.json.encode({**shared, **own})
    message_type = kind or parsed.type or ""
    carries = parsed.traits if message_type in ("identify", "group") else parsed.properties
    properties = json_object(carries)
    if message_type == "group" and (group := text(parsed.groupId)) is not None:
        traits = msgspec.json.decode(properties, type=dict[str, msgspec.Raw])
        properties = msgspec.json.encode({"groupId": group, **traits})
    candidate = Candidate(
        type=message_type,
        name=parsed.event if message_type == "track" else parsed.name,
        event_id=text(parsed.messageId),
        user_id=text(parsed.userId),
        anonymous_id=_anonymous(message_type, parsed),
        timestamp=_first(parsed.originalTimestamp, parsed.timestamp),
        sent_time=sent_us(parsed.sentAt),
        properties=properties,
        context=context,
    )
    if message_type == "track":
        candidate.revenue, candidate.currency, candidate.order_id = _money(
            candidate.name, properties
        )
    return candidate


def _anonymous(message_type: str, parsed: _Message) -> str | None:
    ids = [text(parsed.anonymousId), text(parsed.previousId)]
    if message_type == "alias":  # browsers send both, and it is the previous id that it is about
        ids.reverse()
    return ids[0] or ids[1]


def _first(*times: Time) -> Time:
    return next((time for time in times if time not in (None, "")), None)


def _may_hold_money(name: str | None, properties: bytes) -> bool:
    """A look at the bytes: most events have none, and an escape could hide a name from the look."""
    return (
        b'"revenue"' in properties
        or b'"order_id"' in properties
        or b"\\u" in properties
        or (name or "").lower() == _REFUND
    )


def _money(name: str | None, properties: bytes) -> tuple[str | None, str | None, str | None]:
    """(revenue, currency, order id) by Segment's e-commerce meaning; refunds are negative."""
    found = _MONEY.decode(json_object(properties))
    order_id, event = text(scalar(bytes(found.order_id))), (name or "").lower()
    if event in _NOT_EARNED:
        return None, None, None
    written = amount(found.revenue)
    if event == _REFUND:
        written = written or amount(found.total)
        if written is not None and not written.startswith("-"):
            written = f"-{written}"
    return written, amount(found.currency), order_id


def check_type(kind: str) -> str:
    """The message type of a route's last part, long or short. Raises Problem 404."""
    long = SHORT.get(kind, kind)
    if long not in SHORT.values():
        raise Problem(404, "unknown_route", f"/v1/{kind} is no route")
    return long
