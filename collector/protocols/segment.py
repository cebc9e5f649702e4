"""Segment-compatible messages, as its server and browser SDKs and their kin send them.

Nearly every batch fits the types that the SDKs have: it is decoded in one go, straight into
columns. What does not is read message by message, with the same outcome for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
from flask import Blueprint, Response, jsonify, request

from catalog.settings import Settings
from collector import desk
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

bp = Blueprint("segment", __name__)

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
_MONEY_COLUMNS = ("revenue", "currency", "order_id")


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
            body.isascii() or body.decode()  # the decoder passes over values, right or wrong
            message = _USUAL.decode(body)
        except BROKEN:
            pass
        else:
            return _as_columns([message], kind, lambda: [body], None)
    members(body)
    return Candidates.of([_candidate(body, None, kind)], [body])


def batch(body: bytes, limits: Settings) -> Candidates:
    """Body of `/v1/batch`.

    Raises Problem: 400, 413 for too many messages, or where the context that they share makes
    too many bytes of them: a small body must not become a large one.
    """
    try:
        body.isascii() or body.decode()  # the decoder passes over values, right or wrong
        found = _USUAL_BATCH.decode(body)
    except BROKEN:
        return _message_by_message(body, limits)
    messages = found.batch
    if (
        len(messages) > limits.max_batch_events
        or json_object(found.context) != b"{}"
        or any(m.type in ("group", "alias") for m in messages)
    ):
        return _message_by_message(body, limits)

    def originals() -> Sequence[bytes]:
        return [bytes(raw) for raw in _ORIGINALS.decode(body).batch]

    return _as_columns(messages, None, originals, found.sentAt)


def _as_columns(
    messages: Sequence[_Usual], kind: str | None, originals: Any, sent: Time
) -> Candidates:
    """Columns of messages that are neither group nor alias; `kind` is that of the route."""
    kinds = [kind or m.type or "" for m in messages]
    tracks = [kind == "track" for kind in kinds]
    found: dict[str, Sequence[Any]] = {
        "name": [m.event if t else m.name for m, t in zip(messages, tracks, strict=True)],
        "event_id": [m.messageId for m in messages],
        "user_id": [m.userId for m in messages],
        "anonymous_id": [m.anonymousId or m.previousId for m in messages],
        "timestamp": [m.originalTimestamp or m.timestamp for m in messages],
        "sent_time": [m.sentAt for m in messages],
        "properties": [
            bytes(m.traits if k == "identify" else m.properties)
            for m, k in zip(messages, kinds, strict=True)
        ],
        "context": [bytes(m.context) for m in messages],
    }
    columns = {name: values for name, values in found.items() if any(values)}
    columns["type"] = kinds
    if "sent_time" in columns:
        columns["sent_time"] = [sent_us(at) if at else None for at in columns["sent_time"]]
    _add_money(columns)
    return Candidates(columns, len(kinds), originals, sent_us(sent))


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


def _add_money(columns: dict[str, Sequence[Any]]) -> None:
    properties = columns.get("properties", ())
    if not _may_hold_money(b"".join(properties)):  # one look at all is cheaper than one at each
        return
    hinted = [at for at, text in enumerate(properties) if _may_hold_money(text)]
    if not hinted:
        return
    kinds, names = columns["type"], columns.get("name")
    money: list[tuple[str | None, ...]] = [(None, None, None)] * len(kinds)
    for at in hinted:
        if kinds[at] == "track":
            money[at] = _money(names[at] if names else None, properties[at])
    columns |= zip(_MONEY_COLUMNS, zip(*money, strict=True), strict=True)


def _may_hold_money(properties: bytes) -> bool:
    """A look before the decoder's: few events have money. An escape could hide a name from it."""
    return (
        b"\\" in properties
        or b"revenue" in properties
        or b"order_id" in properties
        or b"total" in properties
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


# -- Routes.


@bp.post("/v1/batch")
@bp.post("/v1/b")
@bp.post("/v1/import")
def post_batch() -> Response:
    """Segment batch: {"batch": […], "sentAt"}. 200 once every event is durable.

    A bad event goes to the dead letters; the batch is still answered 200.
    """
    desk.take(batch)
    return desk.success()


@bp.post("/v1/<any(track,identify,page,screen,group,alias,t,i,p,s,g,a):kind>")
def post_message(kind: str) -> Response:
    """One Segment message, from a server SDK or (short form) from the browser's."""
    desk.take(partial(single, SHORT.get(kind, kind)))
    return desk.success()


@bp.get("/v1/projects/<key>/settings")
def get_segment_settings(key: str) -> Response:
    """What Segment's browser SDK asks for at start, so that it needs no CDN."""
    desk.collaborators().keys.owner(key)
    integration = {"apiKey": key, "apiHost": f"{request.host}/v1"}
    return jsonify(integrations={"Segment.io": integration}, plan={}, edgeFunction={})
