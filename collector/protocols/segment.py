"""Segment-compatible messages, as its server and browser SDKs and their kin send them."""

from __future__ import annotations

from typing import Any

import msgspec

from collector.intake import Message
from collector.problems import Problem
from collector.protocols.fields import (
    Text,
    Time,
    amount,
    json_object,
    one,
    present,
    sent_us,
    text,
    whole,
)
from transforms.failures import Rejection
from transforms.intake import Candidate

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


class _Batch(msgspec.Struct):
    batch: list[msgspec.Raw]
    sentAt: Time = None
    writeKey: str | None = None
    context: dict[str, msgspec.Raw] | None = None


class _Message(msgspec.Struct):
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


class _KeyOf(msgspec.Struct):
    writeKey: str | None = None
    api_key: str | None = None
    token: str | None = None


class _Money(msgspec.Struct):
    revenue: msgspec.Raw = _NULL
    total: msgspec.Raw = _NULL
    currency: str | None = None
    order_id: Text = None


class _Named(msgspec.Struct):
    name: str | None = None
    version: str | None = None


class _Device(msgspec.Struct):
    type: str | None = None
    model: str | None = None


class _Page(msgspec.Struct):
    url: str | None = None
    path: str | None = None
    title: str | None = None
    referrer: str | None = None


class _Campaign(msgspec.Struct):
    source: str | None = None
    medium: str | None = None
    name: str | None = None
    term: str | None = None
    content: str | None = None


class _Location(msgspec.Struct):
    country: str | None = None
    region: str | None = None
    city: str | None = None


class _Context(msgspec.Struct):
    library: _Named | None = None
    page: _Page | None = None
    campaign: _Campaign | None = None
    userAgent: str | None = None
    app: _Named | None = None
    os: _Named | None = None
    device: _Device | None = None
    locale: str | None = None
    timezone: str | None = None
    location: _Location | None = None


_MESSAGE = msgspec.json.Decoder(_Message)
_MONEY = msgspec.json.Decoder(_Money)
_CONTEXT = msgspec.json.Decoder(_Context)


def key_of(body: bytes) -> str | None:
    """The write key inside a body; None where there is none or the body is no object."""
    try:
        found = msgspec.json.decode(body, type=_KeyOf)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return found.writeKey or found.api_key or found.token


def single(body: bytes, kind: str) -> tuple[list[Message], int | None]:
    """Body of `/v1/track` and its sisters: (one message, when it was sent in us)."""
    whole(body, dict[str, msgspec.Raw])
    return [_message(body, None, kind)], None


def batch(body: bytes) -> tuple[list[Message], int | None]:
    """Body of `/v1/batch`: (messages, when it was sent in us). Raises Problem 400."""
    envelope = whole(body, _Batch)
    shared = envelope.context
    return [_message(bytes(raw), shared, None) for raw in envelope.batch], sent_us(envelope.sentAt)


def _message(original: bytes, shared: dict[str, msgspec.Raw] | None, kind: str | None) -> Message:
    parsed = one(original, _MESSAGE)
    if isinstance(parsed, Rejection):
        return Message(parsed, original)
    context = json_object(parsed.context)
    if shared:
        own = msgspec.json.decode(context, type=dict[str, msgspec.Raw])
        context = msgspec.json.encode({**shared, **own})
    message_type = kind or parsed.type or ""
    carries = parsed.traits if message_type in ("identify", "group") else parsed.properties
    properties = json_object(carries)
    name = parsed.event if message_type == "track" else parsed.name
    candidate = Candidate(
        type=message_type,
        name=name or None,
        event_id=text(parsed.messageId),
        user_id=text(parsed.userId),
        anonymous_id=text(parsed.anonymousId) or text(parsed.previousId),
        timestamp=_first(parsed.originalTimestamp, parsed.timestamp),
        properties=properties,
        context=context,
        columns=_columns(context),
    )
    if message_type == "track":
        _add_money(candidate, properties)
    return Message(candidate, original, sent_us(parsed.sentAt))


def _first(*times: Time) -> Time:
    return next((time for time in times if time not in (None, "")), None)


def _add_money(candidate: Candidate, properties: bytes) -> None:
    """Segment's e-commerce meaning: revenue of completed orders, refunds negative."""
    found = one(properties, _MONEY)
    if isinstance(found, Rejection):
        return  # properties of other kinds under these names are nobody's money
    candidate.order_id = text(found.order_id)
    name = (candidate.name or "").lower()
    if name in _NOT_EARNED:
        candidate.order_id = None
        return
    written = amount(found.revenue)
    if name == _REFUND:
        written = written or amount(found.total)
        if written is not None and not written.startswith("-"):
            written = f"-{written}"
    candidate.revenue, candidate.currency = written, found.currency


def _columns(context: bytes) -> dict[str, Any]:
    """Promoted columns. What has another shape stays in `context` only."""
    found = one(context, _CONTEXT)
    if isinstance(found, Rejection):
        return {}
    page, campaign = found.page or _Page(), found.campaign or _Campaign()
    app, system = found.app or _Named(), found.os or _Named()
    library, device = found.library or _Named(), found.device or _Device()
    location = found.location or _Location()
    return present(
        page_url=page.url,
        page_path=page.path,
        page_title=page.title,
        referrer=page.referrer,
        campaign_source=campaign.source,
        campaign_medium=campaign.medium,
        campaign_name=campaign.name,
        campaign_term=campaign.term,
        campaign_content=campaign.content,
        user_agent=found.userAgent,
        app_name=app.name,
        app_version=app.version,
        os_name=system.name,
        os_version=system.version,
        device_type=device.type,
        device_model=device.model,
        locale=found.locale,
        time_zone=found.timezone,
        country=location.country,
        region=location.region,
        city=location.city,
        library_name=library.name,
        library_version=library.version,
    )


def check_type(kind: str) -> str:
    """The message type of a route's last part, long or short. Raises Problem 404."""
    long = SHORT.get(kind, kind)
    if long not in SHORT.values():
        raise Problem(404, "unknown_route", f"/v1/{kind} is no route")
    return long
