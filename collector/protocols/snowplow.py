"""Snowplow's tracker protocol: tp2 bodies and the pixel.

Trackers cannot be told a key, so the app id (`aid`) may be one; `?writeKey=` and the headers go
before it. Its clients send again for ever what is answered 404 or 413, so those become 400 here:
see `softened`.

| `e` | becomes |
| --- | --- |
| pv | page, named after its title |
| pp | track `Page Ping` |
| se | track named after its action |
| ue | track named after its schema; `screen_view` a screen |
| tr, ti | track `Transaction`, `Transaction Item` |
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
from flask import Blueprint, Response, jsonify, request

from catalog.settings import Settings
from collector import desk
from collector.problems import Problem
from collector.protocols import shape
from collector.protocols.fields import BROKEN, elements, members, one, sent_us
from collector.protocols.shape import (
    EVENT,
    Members,
    amount_of,
    context,
    from_base64,
    key_of_events,
    members_of,
    milliseconds,
    text_of,
    value_of,
)
from transforms.candidates import Candidate, Candidates
from transforms.failures import Reason, Rejection

bp = Blueprint("snowplow", __name__)
_PATH = "/com.snowplowanalytics."
_SOFTENED = (404, 405, 413)

# Fields of an event's own -> names of its properties.
_NAMES = {
    "se_ca": "category", "se_ac": "action", "se_la": "label", "se_pr": "property",
    "se_va": "value",
    "tr_id": "order_id", "tr_af": "affiliation", "tr_tt": "total", "tr_tx": "tax",
    "tr_sh": "shipping", "tr_cu": "currency", "tr_ci": "city", "tr_st": "state",
    "tr_co": "country",
    "ti_id": "order_id", "ti_sk": "sku", "ti_nm": "name", "ti_ca": "category", "ti_pr": "price",
    "ti_qu": "quantity", "ti_cu": "currency",
    "pp_mix": "min_x", "pp_max": "max_x", "pp_miy": "min_y", "pp_may": "max_y",
}  # fmt: skip
# Fields that have a place of their own; all others are kept in the context, under `snowplow`.
_PLACED = {
    *_NAMES, *("e", "eid", "uid", "duid", "nuid", "tnuid", "dtm", "ttm", "stm", "sid"),
    *("url", "page", "refr", "ua", "lang", "tz", "tv", "ip", "res", "aid"),
    *("ue_pr", "ue_px", "co", "cx"),
}  # fmt: skip
_NETWORK_IDS = ("nuid", "tnuid")


def softened(status: int, path: str) -> int:
    """The status for Snowplow's clients, which never give up on a 404 or 413."""
    ours = path == "/i" or path.startswith(_PATH)
    return 400 if ours and status in _SOFTENED else status


# -- The adapter.


def events(anonymous: bool, key_is_app: bool, body: bytes, limits: Settings) -> Candidates:
    """Body of `tp2`. Raises Problem: 400, 413 for too many.

    anonymous:  the request says SP-Anonymous: network ids are left out
    key_is_app: the app id was the write key, so that it names no app
    """
    originals = elements(_data(body), limits.max_batch_events)
    made = [_candidate(original, anonymous, key_is_app) for original in originals]
    return Candidates.of(made, originals)


def _data(body: bytes) -> bytes:
    found = members(body)
    if "data" not in found:
        raise Problem(400, "bad_json", "the body has no `data`: send a list of events there")
    return found["data"]


def _candidate(original: bytes, anonymous: bool, key_is_app: bool) -> Candidate | Rejection:
    event = one(original, EVENT)
    if isinstance(event, Rejection):
        return event
    kind = text_of(event, "e") or ""
    if kind not in _KINDS:
        return _refused(original, Reason.UNKNOWN_TYPE, f"e={kind!r} is none of {', '.join(_KINDS)}")
    entities = _entities(event)
    described = _json(event, "ue_pr", "ue_px")
    if entities is None or described is None:
        return _refused(original, Reason.UNREADABLE, "ue_px, cx, ue_pr or co is no JSON object")
    if anonymous:
        event = {name: raw for name, raw in event.items() if name not in _NETWORK_IDS}
    candidate = Candidate(
        type="track",
        event_id=text_of(event, "eid"),
        user_id=text_of(event, "uid"),
        anonymous_id=text_of(event, "duid", *_NETWORK_IDS),
        session_id=text_of(event, "sid"),
        timestamp=milliseconds(value_of(event, "ttm", "dtm")),
        properties=msgspec.json.encode(
            {_NAMES[name]: raw for name, raw in event.items() if name in _NAMES}
        ),
    )
    if "ttm" not in event:  # a true time is not the device's, so nothing corrects it
        candidate.sent_time = sent_us(milliseconds(value_of(event, "stm")))
    _KINDS[kind](candidate, event, described)
    _add_context(candidate, event, entities, described, key_is_app)
    return candidate


def _refused(original: bytes, reason: Reason, message: str) -> Rejection:
    return Rejection(reason, message, original)


def _json(event: Members, plain: str, encoded: str) -> Members | None:
    """Members of self-describing JSON as text or base64; {} where absent, None where broken."""
    written = text_of(event, plain)
    data = written.encode() if written is not None else None
    if data is None and (packed := text_of(event, encoded)) is not None:
        data = from_base64(packed) or b"!"
    if data is None:
        return {}
    found = one(data, EVENT)
    return None if isinstance(found, Rejection) else found


def _entities(event: Members) -> list[Members] | None:
    found = _json(event, "co", "cx")
    if found is None:
        return None
    try:
        listed = msgspec.json.decode(found.get("data", b"[]"), type=list[msgspec.Raw])
    except BROKEN:
        return None
    return [members_of(raw) for raw in listed]


# -- One function for each `e`.

_Kind = Callable[[Candidate, Members, Members], None]


def _page(candidate: Candidate, event: Members, described: Members) -> None:
    candidate.type, candidate.name = "page", text_of(event, "page")


def _named(name: str) -> _Kind:
    def named(candidate: Candidate, event: Members, described: Members) -> None:
        candidate.name = name

    return named


def _structured(candidate: Candidate, event: Members, described: Members) -> None:
    candidate.name = text_of(event, "se_ac")


def _self_describing(candidate: Candidate, event: Members, described: Members) -> None:
    inner = members_of(described.get("data"))
    data = members_of(inner.get("data"))
    candidate.name = _schema_name(inner)
    candidate.properties = msgspec.json.encode(data)
    if candidate.name == "screen_view":
        candidate.type, candidate.name = "screen", text_of(data, "name")


def _transaction(candidate: Candidate, event: Members, described: Members) -> None:
    candidate.name, candidate.order_id = "Transaction", text_of(event, "tr_id")
    candidate.revenue, candidate.currency = amount_of(event, "tr_tt"), text_of(event, "tr_cu")


def _item(candidate: Candidate, event: Members, described: Members) -> None:
    # Its money is part of its transaction's.
    candidate.name, candidate.order_id = "Transaction Item", text_of(event, "ti_id")


_KINDS: dict[str, _Kind] = {
    "pv": _page,
    "pp": _named("Page Ping"),
    "se": _structured,
    "ue": _self_describing,
    "tr": _transaction,
    "ti": _item,
}


def _schema_name(found: Members) -> str | None:
    """`link_click` of `iglu:com.acme/link_click/jsonschema/1-0-0`."""
    parts = (text_of(found, "schema") or "").split("/")
    return parts[1] if len(parts) == 4 else None


def _add_context(
    candidate: Candidate,
    event: Members,
    entities: list[Members],
    described: Members,
    key_is_app: bool,
) -> None:
    found = {_schema_name(one) or "": members_of(one.get("data")) for one in entities}
    session = found.get("client_session", {})
    mobile, app = found.get("mobile_context", {}), found.get("application", {})
    # Mobile trackers name the device and the session only here.
    candidate.anonymous_id = candidate.anonymous_id or text_of(session, "userId")
    candidate.session_id = candidate.session_id or text_of(session, "sessionId")
    kept: dict[str, Any] = {n: raw for n, raw in event.items() if n not in _PLACED}
    if entities:
        kept["contexts"] = entities
    if schema := text_of(members_of(described.get("data")), "schema"):
        kept["schema"] = schema
    library, _, version = (text_of(event, "tv") or "").rpartition("-")
    columns = {
        "page_url": text_of(event, "url"),
        "page_title": text_of(event, "page"),
        "referrer": text_of(event, "refr"),
        "user_agent": text_of(event, "ua"),
        "locale": text_of(event, "lang"),
        "time_zone": text_of(event, "tz"),
        "library_name": f"snowplow-{library or version}" if version else None,
        "library_version": version if library else None,
        "app_name": None if key_is_app else text_of(event, "aid"),
        "app_version": text_of(app, "version"),
        "os_name": text_of(mobile, "osType"),
        "os_version": text_of(mobile, "osVersion"),
        "device_model": text_of(mobile, "deviceModel"),
    }
    width, _, height = (text_of(event, "res") or "").partition("x")
    screen = {"width": int(width), "height": int(height)} if _sizes(width, height) else None
    more = {"ip": text_of(event, "ip"), "screen": screen, "snowplow": kept}
    candidate.context = context(columns, more)


def _sizes(*texts: str) -> bool:
    return all(one.isascii() and one.isdigit() and len(one) < 6 for one in texts)


# -- Routes.


@bp.post("/com.snowplowanalytics.snowplow/tp2")
def post_snowplow() -> Response:
    """Snowplow trackers: {"schema", "data": […]}; a write key, or the app id as one."""
    _take(desk.body())
    return jsonify(ok=True)


@bp.get("/i")
def get_snowplow() -> Response:
    """Snowplow's pixel: one event in the query; answers a GIF of 43 bytes."""
    _take(msgspec.json.encode({"data": [request.args.to_dict()]}))
    return shape.gif()


def _take(data: bytes) -> None:
    given = desk.key_of_request()
    adapt = partial(events, "SP-Anonymous" in request.headers, given is None)
    desk.take_in(data, adapt, given or key_of_events(data, "aid"))
