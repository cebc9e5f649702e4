"""Mixpanel's track, import and engage.

PostHog's oldest clients post to `/track` and `/engage`, too, in what was Mixpanel's format then:
they are read as Mixpanel, with the same outcome for each event.
"""

from __future__ import annotations

import msgspec
from flask import Blueprint, Response, jsonify

from catalog.settings import Settings
from collector import desk
from collector.gather import Receipt
from collector.intake import outcomes
from collector.keys import key_of_body
from collector.protocols.fields import BROKEN, elements, members, one
from collector.protocols.shape import (
    EVENT,
    Members,
    amount_of,
    context,
    key_of_events,
    members_of,
    merged,
    seconds,
    text_of,
    unwrapped,
    value_of,
    with_currency,
    without,
)
from transforms.candidates import Candidate, Candidates
from transforms.failures import Rejection

bp = Blueprint("mixpanel", __name__)

_DEVICE = "$device:"  # how the id of somebody not yet known begins
# Promoted column -> properties that hold it, the first that is there.
_COLUMNS = {
    "page_url": ("current_url", "$current_url"),
    "page_title": ("current_page_title",),
    "referrer": ("$referrer",),
    "campaign_source": ("utm_source",),
    "campaign_medium": ("utm_medium",),
    "campaign_name": ("utm_campaign",),
    "campaign_term": ("utm_term",),
    "campaign_content": ("utm_content",),
    "user_agent": ("$user_agent",),
    "app_version": ("$app_version_string", "$app_version"),
    "os_name": ("$os",),
    "os_version": ("$os_version",),
    "device_type": ("$device",),
    "device_model": ("$model",),
    "locale": ("$locale", "$browser_language"),
    "time_zone": ("$timezone",),
    "country": ("mp_country_code", "$country_code"),
    "region": ("$region",),
    "city": ("$city",),
    "library_name": ("mp_lib",),
    "library_version": ("$lib_version",),
}
_SET, _SET_ONCE = "$set", "$set_once"


# -- The adapters.


def events(body: bytes, limits: Settings) -> Candidates:
    """One event, a list, or one a line. Raises Problem: 400, 413 for too many."""
    originals = _originals(body, limits)
    return Candidates.of([_event(original) for original in originals], originals)


def profiles(body: bytes, limits: Settings) -> Candidates:
    """One update of a profile or a list of them. Raises Problem: 400, 413 for too many."""
    originals = _originals(body, limits)
    return Candidates.of([_profile(original) for original in originals], originals)


def _originals(body: bytes, limits: Settings) -> list[bytes]:
    if body.lstrip()[:1] == b"[":
        return elements(body, limits.max_batch_events)
    lines = [line for line in body.splitlines() if line.strip()]
    if len(lines) > 1 and not _is_object(body):
        return elements(b"[" + b",".join(lines) + b"]", limits.max_batch_events)
    members(body)
    return [body]


def _is_object(body: bytes) -> bool:
    try:
        EVENT.decode(body)
    except BROKEN:
        return False
    return True


def _event(original: bytes) -> Candidate | Rejection:
    event = one(original, EVENT)
    if isinstance(event, Rejection):
        return event
    properties = members_of(event.get("properties"))
    name = text_of(event, "event")
    user, anonymous = _people(properties)
    candidate = Candidate(
        type="track",
        name=name,
        event_id=text_of(properties, "$insert_id"),
        user_id=user,
        anonymous_id=anonymous,
        session_id=text_of(properties, "$session_id"),
        timestamp=seconds(value_of(properties, "time")),
        order_id=text_of(properties, "order_id", "$order_id"),
        properties=without(properties, "token", "ip", "$ip"),
        context=_context(properties),
    )
    candidate.revenue, candidate.currency = with_currency(
        None,
        amount_of(properties, "$amount", "revenue", "$revenue"),
        text_of(properties, "currency", "$currency"),
    )
    if name == "$mp_web_page_view":
        candidate.type, candidate.name = "page", text_of(properties, "current_page_title")
    elif name == "$identify":
        candidate.type, candidate.name = "identify", None
        candidate.user_id = text_of(properties, "$identified_id") or candidate.user_id
        candidate.anonymous_id = _device(text_of(properties, "$anon_id")) or anonymous
    elif name == "$create_alias":
        candidate.type, candidate.name = "alias", None
        candidate.user_id = text_of(properties, "alias")
        candidate.anonymous_id = _device(text_of(properties, "distinct_id"))
    return candidate


def _people(properties: Members) -> tuple[str | None, str | None]:
    """(user id, anonymous id). `distinct_id` is either."""
    distinct, device = text_of(properties, "distinct_id"), text_of(properties, "$device_id")
    if distinct is not None and distinct.startswith(_DEVICE):
        return text_of(properties, "$user_id"), device or _device(distinct)
    return text_of(properties, "$user_id") or distinct, device


def _device(value: str | None) -> str | None:
    return value and value.removeprefix(_DEVICE)


def _context(properties: Members) -> bytes:
    columns = {column: text_of(properties, *names) for column, names in _COLUMNS.items()}
    if columns["referrer"] == "$direct":
        columns["referrer"] = None
    size = {"width": properties.get("$screen_width"), "height": properties.get("$screen_height")}
    screen = {name: raw for name, raw in size.items() if raw is not None}
    address = text_of(properties, "ip", "$ip")
    return context(
        columns, {"ip": address if address not in ("0", "1") else None, "screen": screen}
    )


def _profile(original: bytes) -> Candidate | Rejection:
    update = one(original, EVENT)
    if isinstance(update, Rejection):
        return update
    distinct = text_of(update, "$distinct_id")
    is_device = distinct is not None and distinct.startswith(_DEVICE)
    traits = merged(update.get(_SET_ONCE), update.get(_SET))
    # Other operations are no traits, but what they say is kept.
    for name in ("$add", "$append", "$union", "$remove", "$unset", "$delete"):
        if name in update:
            traits[name] = update[name]
    return Candidate(
        type="identify",
        user_id=None if is_device else distinct,
        anonymous_id=_device(distinct) if is_device else None,
        timestamp=seconds(value_of(update, "$time")),
        properties=msgspec.json.encode(traits),
        context=context({}, {"ip": _profile_address(update)}),
    )


def _profile_address(update: Members) -> str | None:
    address = text_of(update, "$ip")
    return None if address in ("0", "1") else address  # 0 and 1 say whether to take the request's


# -- Routes.


def _taken(adapt: desk.Adapter) -> Receipt:
    data = unwrapped(desk.posted())
    key = desk.key_of_request() or key_of_body(data) or key_of_events(data, "token", "$token")
    return desk.take_in(data, adapt, key)


@bp.route("/track", methods=["GET", "POST"])
def post_track() -> Response:
    """Mixpanel events: JSON, or a form with JSON or base64 as `data`."""
    _taken(events)
    return jsonify(status=1, error=None)


@bp.post("/engage")
def post_engage() -> Response:
    """Updates of Mixpanel's user profiles; each is an identify."""
    _taken(profiles)
    return jsonify(status=1, error=None)


@bp.post("/import")
def post_import() -> Response:
    """Mixpanel events from servers: a list, or one a line; names those that were refused."""
    found = list(enumerate(outcomes(_taken(events))))
    failed = [
        {"index": at, "field": o.reason, "message": o.message}
        for at, o in found
        if o.result == "drop"
    ]
    return jsonify(
        code=200,
        status="OK",
        num_records_imported=len(found) - len(failed),
        failed_records=failed,
    )
