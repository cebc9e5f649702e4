"""CloudEvents 1.0 over HTTP: binary, structured and batched.

The only protocol here whose Content-Type counts: in binary mode the body is nothing but data.
Where it says nothing, the `ce-` headers and then the body's shape decide.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any
from urllib.parse import unquote

import msgspec
from flask import Blueprint, Response, jsonify, request

from catalog.settings import Settings
from collector import desk
from collector.intake import outcomes
from collector.keys import key_of_body
from collector.protocols import native
from collector.protocols.fields import BROKEN, elements, members, one
from collector.protocols.shape import (
    EVENT,
    Members,
    amount_of,
    context,
    members_of,
    text_of,
    value_of,
    with_currency,
)
from transforms.candidates import Candidate, Candidates
from transforms.failures import Reason, Rejection
from transforms.judge import MAX_ID

bp = Blueprint("cloudevents", __name__)

_STRUCTURED, _BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
_NEEDED = ("specversion", "id", "source", "type")
_PLACED = {"specversion", "id", "type", "time", "data", "data_base64"}
_USER, _ANONYMOUS = ("userid", "user_id", "userId"), ("anonymousid", "anonymous_id", "anonymousId")


# -- The adapters.


def structured(body: bytes, limits: Settings) -> Candidates:
    """One event as a JSON object. Raises Problem 400."""
    members(body)
    return Candidates.of([_candidate(body)], [body])


def batched(body: bytes, limits: Settings) -> Candidates:
    """A list of them. Raises Problem: 400, 413 for too many."""
    originals = elements(body, limits.max_batch_events)
    return Candidates.of([_candidate(original) for original in originals], originals)


def as_structured(attributes: dict[str, str], content_type: str, data: bytes) -> bytes:
    """A binary event as a structured one. attributes: `ce-` headers without that prefix."""
    event: dict[str, Any] = {**attributes, "datacontenttype": content_type}
    if not content_type:
        del event["datacontenttype"]
    value = _json_or_text(data)
    if value is None:
        event["data_base64"] = base64.b64encode(data).decode()
    elif data:
        event["data"] = value
    return msgspec.json.encode(event)


def _json_or_text(data: bytes) -> msgspec.Raw | str | None:
    """JSON as it is, other text as text; None for what is neither."""
    try:
        text = data.decode()
        msgspec.json.decode(data, type=msgspec.Raw)
    except UnicodeDecodeError:
        return None
    except BROKEN:
        return text
    return msgspec.Raw(data)


def _candidate(original: bytes) -> Candidate | Rejection:
    event = one(original, EVENT)
    if isinstance(event, Rejection):
        return event
    for name in _NEEDED:
        if text_of(event, name) is None:
            return Rejection(Reason.MISSING_FIELD, f"a CloudEvent needs `{name}`", original)
    version = text_of(event, "specversion") or ""
    if not version.startswith("1."):
        message = f"specversion {version[:20]!r} is none that is read; send 1.0"
        return Rejection(Reason.WRONG_TYPE, message, original)
    data = members_of(event.get("data"))
    anonymous = text_of(event, *_ANONYMOUS) or text_of(data, *_ANONYMOUS)
    user = text_of(event, *_USER) or text_of(data, *_USER)
    candidate = Candidate(
        type="track",
        name=text_of(event, "type"),
        event_id=_id(text_of(event, "source") or "", text_of(event, "id") or ""),
        user_id=user or (None if anonymous else text_of(event, "subject")),
        anonymous_id=anonymous,
        timestamp=value_of(event, "time"),
        order_id=text_of(data, "order_id", "orderId"),
        properties=_properties(event, data),
        context=context(
            {}, {"cloudevents": {n: raw for n, raw in event.items() if n not in _PLACED}}
        ),
    )
    candidate.revenue, candidate.currency = with_currency(
        None, amount_of(data, "revenue"), text_of(data, "currency")
    )
    return candidate


def _id(source: str, own: str) -> str:
    """One id out of source and id, which only together are unique."""
    together = f"{source} {own}"  # a source is a URI and has no space
    if len(together) <= MAX_ID and " " not in source:
        return together
    return hashlib.sha256(f"{len(source)} {together}".encode()).hexdigest()


def _properties(event: Members, data: Members) -> bytes:
    if data:
        return msgspec.json.encode(data)
    return msgspec.json.encode(
        {n: event[n] for n in ("data", "data_base64") if n in event and bytes(event[n]) != b"{}"}
    )


# -- Routes.


@bp.post("/cloudevents")
def post_cloudevents() -> Response:
    """CloudEvents in any of the three modes; answers a result for each event, as natively."""
    data, key = desk.body(), desk.key_of_request()
    kind = request.mimetype
    is_binary = kind not in (_STRUCTURED, _BATCH) and "ce-id" in request.headers
    if is_binary:
        prefix = "ce-"
        attributes = {
            name.lower().removeprefix(prefix): unquote(value)
            for name, value in request.headers.items()
            if name.lower().startswith(prefix)
        }
        data = as_structured(attributes, request.content_type or "", data)
    is_list = kind == _BATCH or (kind != _STRUCTURED and data.lstrip()[:1] == b"[")
    adapt = batched if is_list else structured
    receipt = desk.take_in(data, adapt, key or key_of_body(data))
    return jsonify(native.answer(outcomes(receipt)))
