"""PostHog's capture: v0 as most of its SDKs speak it, and v1 with a result for each event.

`/batch` is Amplitude's as well; what the body holds decides:

| body | read as |
| --- | --- |
| object with `batch`, one event, a list, or `data=` with base64 of them | PostHog v0 |
| object with `events` | Amplitude |

A request is durable as a whole or answered 503 as a whole, so that `retry` is never the result
of a single event: it would say that the others of its request are safe although the bus failed.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
from flask import Blueprint, Response, jsonify, request

from catalog.settings import Settings
from collector import desk
from collector.gather import Receipt
from collector.intake import outcomes
from collector.keys import key_of_body
from collector.protocols import amplitude
from collector.protocols.fields import Text, elements, members, one, scalar, sent_us
from collector.protocols.shape import (
    EVENT,
    Members,
    amount_of,
    context,
    key_of_events,
    members_of,
    merged,
    milliseconds,
    says,
    text_of,
    unwrapped,
    value_of,
    with_currency,
    without,
)
from transforms.candidates import Candidate, Candidates
from transforms.failures import Rejection

bp = Blueprint("posthog", __name__)

_TRAITS = ("$set", "$set_once")
# Promoted column -> properties that hold it, the first that is there.
_COLUMNS = {
    "page_url": ("$current_url",),
    "page_path": ("$pathname",),
    "page_title": ("$title", "title"),
    "referrer": ("$referrer",),
    "campaign_source": ("utm_source",),
    "campaign_medium": ("utm_medium",),
    "campaign_name": ("utm_campaign",),
    "campaign_term": ("utm_term",),
    "campaign_content": ("utm_content",),
    "user_agent": ("$raw_user_agent", "$user_agent", "$useragent"),
    "app_name": ("$app_name",),
    "app_version": ("$app_version",),
    "os_name": ("$os", "$os_name"),
    "os_version": ("$os_version",),
    "device_type": ("$device_type",),
    "device_model": ("$device_model",),
    "locale": ("$locale", "$browser_language"),
    "time_zone": ("$timezone",),
    "country": ("$geoip_country_code",),
    "region": ("$geoip_subdivision_1_name",),
    "city": ("$geoip_city_name",),
    "library_name": ("$lib",),
    "library_version": ("$lib_version",),
}


# -- The adapters.


def v0(query_sent: str | None, body: bytes, limits: Settings) -> Candidates:
    """One event, a list, or {"batch", "sent_at"}. Raises Problem: 400, 413 for too many.

    query_sent: `?_=`, when the browser's SDK sent it, in ms
    """
    sent: Text = query_sent
    if body.lstrip()[:1] == b"[":
        originals = elements(body, limits.max_batch_events)
    else:
        found = members(body)
        sent = scalar(found.get("sent_at", b"")) or sent
        originals = [body]
        if "batch" in found:
            originals = elements(found["batch"], limits.max_batch_events)
    return _candidates(originals, sent_us(milliseconds(sent)), ("", ""))


def v1(sent: str | None, sdk: str, body: bytes, limits: Settings) -> Candidates:
    """{"batch", "created_at"}. Raises Problem: 400, 413 for too many.

    sent: PostHog-Request-Timestamp; `created_at` stays the same for every resend and so says
          nothing of the clock
    sdk:  PostHog-Sdk-Info, name/version
    """
    found = members(body)
    originals = elements(found.get("batch", b""), limits.max_batch_events)
    name, _, version = sdk.partition("/")
    return _candidates(originals, sent_us(sent), (name, version))


def _candidates(originals: list[bytes], sent: int | None, library: tuple[str, str]) -> Candidates:
    return Candidates.of([_candidate(original, sent, library) for original in originals], originals)


def _candidate(
    original: bytes, sent: int | None, library: tuple[str, str]
) -> Candidate | Rejection:
    event = one(original, EVENT)
    if isinstance(event, Rejection):
        return event
    properties, options = members_of(event.get("properties")), members_of(event.get("options"))
    name = text_of(event, "event")
    user, anonymous = _people(event, properties, options)
    ignore_sent = says(properties, "$ignore_sent_at", True) or says(
        options, "disable_skew_correction", True
    )
    candidate = Candidate(
        type="track",
        name=name,
        event_id=text_of(event, "uuid") or text_of(properties, "$insert_id"),
        user_id=user,
        anonymous_id=anonymous,
        session_id=text_of(event, "session_id") or text_of(properties, "$session_id"),
        timestamp=milliseconds(value_of(event, "timestamp")),
        sent_time=None if ignore_sent else sent,
        order_id=text_of(properties, "$order_id", "order_id"),
        properties=without(properties, "$ip", "token"),
        context=_context(event, properties, library),
    )
    candidate.revenue, candidate.currency = with_currency(
        amount_of(properties, "$revenue"),
        amount_of(properties, "revenue"),
        text_of(properties, "$currency", "currency"),
    )
    if name in _SPECIAL:
        _SPECIAL[name](candidate, event, properties)
    return candidate


def _people(event: Members, properties: Members, options: Members) -> tuple[str | None, str | None]:
    """(user id, anonymous id): both come as `distinct_id`."""
    distinct = text_of(event, "distinct_id") or text_of(properties, "distinct_id")
    device = text_of(properties, "$device_id", "$anon_distinct_id")
    is_anonymous = (
        distinct == device
        or says(properties, "$is_identified", False)
        or says(properties, "$process_person_profile", False)
        or says(options, "process_person_profile", False)
    )
    return (None, distinct or device) if is_anonymous else (distinct, device)


def _context(event: Members, properties: Members, library: tuple[str, str]) -> bytes:
    columns = {column: text_of(properties, *names) for column, names in _COLUMNS.items()}
    if columns["referrer"] == "$direct":
        columns["referrer"] = None
    columns["library_name"] = columns["library_name"] or library[0]
    columns["library_version"] = columns["library_version"] or library[1]
    size = {"width": properties.get("$screen_width"), "height": properties.get("$screen_height")}
    kept = {n: raw for n, raw in event.items() if n in ("options", "window_id")}
    return context(
        columns,
        {
            "ip": text_of(properties, "$ip"),
            "screen": {n: raw for n, raw in size.items() if raw is not None},
            "posthog": kept,
        },
    )


# -- Events with a meaning of their own.


def _page(candidate: Candidate, event: Members, properties: Members) -> None:
    candidate.type, candidate.name = "page", text_of(properties, "$title", "title")


def _screen(candidate: Candidate, event: Members, properties: Members) -> None:
    candidate.type, candidate.name = "screen", text_of(properties, "$screen_name")


def _identify(candidate: Candidate, event: Members, properties: Members) -> None:
    candidate.type, candidate.name = "identify", None
    candidate.anonymous_id = text_of(properties, "$anon_distinct_id") or candidate.anonymous_id
    sides = [side.get(name) for name in reversed(_TRAITS) for side in (properties, event)]
    candidate.properties = msgspec.json.encode(merged(*sides))
    candidate.context = msgspec.json.encode(
        {
            **members_of(candidate.context),
            "posthog": {n: raw for n, raw in properties.items() if n not in (*_TRAITS, "$ip")},
        }
    )


def _alias(candidate: Candidate, event: Members, properties: Members) -> None:
    """`distinct_id` is the id before, `alias` the one from now on."""
    candidate.type, candidate.name = "alias", None
    candidate.anonymous_id = text_of(properties, "distinct_id") or text_of(event, "distinct_id")
    candidate.user_id = text_of(properties, "alias")


def _group(candidate: Candidate, event: Members, properties: Members) -> None:
    candidate.type, candidate.name = "group", None
    named = {
        "groupId": text_of(properties, "$group_key"),
        "groupType": text_of(properties, "$group_type"),
    }
    traits = members_of(properties.get("$group_set"))
    candidate.properties = msgspec.json.encode({**named, **traits})


_SPECIAL = {
    "$pageview": _page,
    "$screen": _screen,
    "$identify": _identify,
    "$set": _identify,
    "$create_alias": _alias,
    "$groupidentify": _group,
}


def results(receipt: Receipt) -> dict[str, dict[str, str]]:
    """uuid -> {"result", "details"?}; an event that does not say its uuid has none."""
    ids = [
        None if isinstance(event := one(original, EVENT), Rejection) else text_of(event, "uuid")
        for original in receipt.candidates.originals()
    ]
    return {
        uuid: {"result": o.result, **({"details": f"{o.reason}: {o.message}"} if o.reason else {})}
        for uuid, o in zip(ids, outcomes(receipt), strict=True)
        if uuid is not None
    }


# -- Routes.


@bp.post("/batch")
def post_shared_batch() -> Response:
    """PostHog v0 where the body holds `batch`; Amplitude where it holds `events`."""
    data = unwrapped(desk.posted())
    return amplitude.answered(data) if amplitude.owns(data) else _post_v0(data)


@bp.route("/capture", methods=["GET", "POST"])
@bp.route("/e", methods=["GET", "POST"])
@bp.post("/i/v0/e")
@bp.post("/i/v0/ai/batch")
def post_posthog() -> Response:
    """PostHog v0: one event, a list or {"batch"}; JSON, or a form with base64 as `data`."""
    return _post_v0(unwrapped(desk.posted()))


def _post_v0(data: bytes) -> Response:
    key = desk.key_of_request() or key_of_body(data) or key_of_events(data, "token", "api_key")
    desk.take_in(data, partial(v0, request.args.get("_")), key)
    return jsonify(status=1)


@bp.post("/i/v1/analytics/events")
def post_posthog_v1() -> Response:
    """PostHog v1: {"batch"}, a Bearer key; answers a result for each uuid."""
    headers = request.headers
    sent, sdk = headers.get("PostHog-Request-Timestamp"), headers.get("PostHog-Sdk-Info", "")
    return jsonify(results=results(desk.take(partial(v1, sent, sdk))))


@bp.route("/flags", methods=["GET", "POST"])
@bp.route("/decide", methods=["GET", "POST"])
def no_flags() -> Response:
    """No feature flags, so that PostHog's SDKs go on with their defaults."""
    return jsonify(
        {
            **_NO_CONFIG,
            "flags": {},
            "featureFlags": {},
            "featureFlagPayloads": {},
            "errorsWhileComputingFlags": False,
        }
    )


@bp.get("/flags/definitions")
@bp.get("/api/feature_flag/local_evaluation")
def no_definitions() -> Response:
    """No feature flags to evaluate on servers."""
    return jsonify(flags=[], group_type_mapping={}, cohorts={})


@bp.get("/array/<key>/config")
def no_remote_config(key: str) -> Response:
    """What PostHog's browser SDK asks for at its start: nothing is switched on."""
    return jsonify({**_NO_CONFIG, "hasFeatureFlags": False})


# Nothing but events is taken: what is not switched on is not sent.
_NO_CONFIG: dict[str, Any] = {
    "config": {"enable_collect_everything": True},
    "supportedCompression": ["gzip", "gzip-js", "base64"],
    "sessionRecording": False,
    "capturePerformance": False,
    "autocaptureExceptions": False,
    "surveys": False,
    "heatmaps": False,
    "toolbarParams": {},
    "isAuthenticated": False,
    "siteApps": [],
}
