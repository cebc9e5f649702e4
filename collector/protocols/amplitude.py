"""Amplitude's HTTP API v2, its batch upload and its identify API."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

import msgspec
from flask import Blueprint, Response, jsonify

from catalog.settings import Settings
from collector import desk
from collector.keys import key_of_body
from collector.protocols.fields import elements, members, one, scalar, sent_us
from collector.protocols.shape import (
    EVENT,
    Members,
    amount_of,
    context,
    form_value,
    members_of,
    merged,
    milliseconds,
    text_of,
    unwrapped,
    value_of,
    with_currency,
)
from transforms.candidates import Candidate, Candidates
from transforms.failures import Rejection

bp = Blueprint("amplitude", __name__)

# Promoted column -> fields of the event that hold it, the first that is there.
_COLUMNS = {
    "user_agent": ("user_agent",),
    "app_version": ("app_version", "version_name"),
    "os_name": ("os_name", "platform"),
    "os_version": ("os_version",),
    "device_type": ("device_type",),
    "device_model": ("device_model",),
    "locale": ("language",),
    "country": ("country",),
    "region": ("region",),
    "city": ("city",),
}
_PAGE = {
    "page_url": "[Amplitude] Page Location",
    "page_path": "[Amplitude] Page Path",
    "page_title": "[Amplitude] Page Title",
}
_PLACED = {
    *("event_type", "user_id", "device_id", "insert_id", "session_id", "time", "ip", "library"),
    *("event_properties", "user_properties", "revenue", "currency", "language", "user_agent"),
}
_PAGE_VIEW = "[Amplitude] Page Viewed"
_NO_SESSION = "-1"
_MOST_DIGITS = 14  # of a factor; their product is exact


# -- The adapters.


def owns(data: bytes) -> bool:
    """Whether a body of `/batch` is Amplitude's. Raises Problem 400."""
    return data.lstrip()[:1] == b"{" and "events" in members(data)


def events(body: bytes, limits: Settings) -> Candidates:
    """{"api_key", "events"}. Raises Problem: 400, 413 for too many."""
    found = members(body)
    originals = elements(found.get("events", b""), limits.max_batch_events)
    sent = sent_us(milliseconds(scalar(found.get("client_upload_time", b""))))
    return Candidates.of([_event(original) for original in originals], originals, sent)


def identifications(body: bytes, limits: Settings) -> Candidates:
    """One identification or a list of them. Raises Problem: 400, 413 for too many."""
    is_list = body.lstrip()[:1] == b"["
    originals = elements(body, limits.max_batch_events) if is_list else [body]
    if not is_list:
        members(body)
    return Candidates.of([_identification(original) for original in originals], originals)


def _event(original: bytes) -> Candidate | Rejection:
    event = one(original, EVENT)
    if isinstance(event, Rejection):
        return event
    properties = members_of(event.get("event_properties"))
    name = text_of(event, "event_type")
    session = text_of(event, "session_id")
    candidate = Candidate(
        type="track",
        name=name,
        event_id=text_of(event, "insert_id"),
        user_id=text_of(event, "user_id"),
        anonymous_id=text_of(event, "device_id"),
        session_id=None if session == _NO_SESSION else session,
        timestamp=milliseconds(value_of(event, "time")),
        order_id=text_of(properties, "order_id", "$orderId"),
        properties=msgspec.json.encode(properties),
        context=_context(event, properties),
    )
    candidate.revenue, candidate.currency = _money(event, properties)
    if name == _PAGE_VIEW:
        candidate.type, candidate.name = "page", text_of(properties, _PAGE["page_title"])
    elif name == "$identify":
        _as_identify(candidate, event)
    elif name == "$groupidentify":
        groups = members_of(event.get("groups"))
        candidate.type, candidate.name = "group", None
        candidate.properties = msgspec.json.encode(
            {"groupId": text_of(groups, *groups), **_traits(event, "group_properties")}
        )
    return candidate


def _identification(original: bytes) -> Candidate | Rejection:
    event = one(original, EVENT)
    if isinstance(event, Rejection):
        return event
    candidate = Candidate(
        type="identify",
        event_id=text_of(event, "insert_id"),
        user_id=text_of(event, "user_id"),
        anonymous_id=text_of(event, "device_id"),
        timestamp=milliseconds(value_of(event, "time")),
        context=_context(event, {}),
    )
    _as_identify(candidate, event)
    return candidate


def _as_identify(candidate: Candidate, event: Members) -> None:
    candidate.type, candidate.name = "identify", None
    candidate.properties = msgspec.json.encode(_traits(event, "user_properties"))


def _traits(event: Members, name: str) -> Members:
    """What is set, on one level; other operations such as `$add` under their names."""
    found = members_of(event.get(name))
    kept = {n: raw for n, raw in found.items() if n not in ("$set", "$setOnce")}
    return {**kept, **merged(found.get("$setOnce"), found.get("$set"))}


def _money(event: Members, properties: Members) -> tuple[str | None, str | None]:
    """price times quantity where both are there, else revenue, else the price of one.

    SDKs send them as `$price` and so on among the properties, older APIs beside the event.
    """
    price = amount_of(event, "price") or amount_of(properties, "$price")
    quantity = amount_of(event, "quantity") or amount_of(properties, "$quantity")
    revenue = amount_of(event, "revenue") or amount_of(properties, "$revenue")
    if price is not None and quantity is not None:
        revenue = _product(price, quantity)
    currency = text_of(event, "currency") or text_of(properties, "$currency", "currency")
    return with_currency(None, revenue or price, currency)


def _product(price: str, quantity: str) -> str:
    """Exact; what is no number stays readable in the refusal that follows."""
    try:
        factors = [Decimal(text) for text in (price, quantity)]
        if all(f.is_finite() and len(f.as_tuple().digits) <= _MOST_DIGITS for f in factors):
            return f"{factors[0] * factors[1]}"
    except InvalidOperation:
        pass
    return f"{price} x {quantity}"


def _context(event: Members, properties: Members) -> bytes:
    columns = {column: text_of(event, *names) for column, names in _COLUMNS.items()}
    columns |= {column: text_of(properties, name) for column, name in _PAGE.items()}
    columns["referrer"] = text_of(properties, "referrer")
    library = text_of(event, "library") or ""
    columns["library_name"], _, columns["library_version"] = library.rpartition("/")
    columns["library_name"] = columns["library_name"] or library
    used = {name for names in _COLUMNS.values() for name in names}
    return context(
        columns,
        {
            "ip": _address(event),
            "traits": _traits(event, "user_properties"),
            "amplitude": {n: raw for n, raw in event.items() if n not in {*_PLACED, *used}},
        },
    )


def _address(event: Members) -> str | None:
    address = text_of(event, "ip")
    return None if address == "$remote" else address  # "$remote": that of the request


# -- Routes.


def answered(data: bytes) -> Response:
    """Take in events and answer as Amplitude's SDKs expect it."""
    receipt = desk.take_in(data, events, desk.key_of_request() or key_of_body(data))
    ingested = receipt.candidates.messages
    return jsonify(code=200, events_ingested=ingested, payload_size_bytes=len(data))


@bp.post("/2/httpapi")
def post_amplitude() -> Response:
    """Amplitude HTTP API v2: {"api_key", "events"}; its `/batch` is answered likewise."""
    return answered(unwrapped(desk.posted()))


@bp.post("/identify")
def post_identify() -> Response:
    """Amplitude's identify API: a form with `api_key` and, as JSON, `identification`."""
    body = desk.posted()
    data = unwrapped(body, "identification")
    desk.take_in(data, identifications, desk.key_of_request() or form_value(body, "api_key"))
    return jsonify(code=200)
