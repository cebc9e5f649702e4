"""Plausible's events API: a page view or a named event, without any id of a person.

Whom it is about is derived: see `collector.visitors`. There is no key; the site's name (`d`) may
be one, or `?writeKey=` stands in the address of the API.
"""

from __future__ import annotations

from functools import partial

import msgspec
from flask import Blueprint, Response, request

from catalog.settings import Settings
from collector import desk
from collector.keys import key_of_body
from collector.privacy import sender
from collector.protocols.fields import members, one
from collector.protocols.shape import (
    EVENT,
    Members,
    amount_of,
    context,
    key_of_events,
    members_of,
    text_of,
    with_currency,
)
from transforms.candidates import Candidate, Candidates
from transforms.failures import Rejection

bp = Blueprint("plausible", __name__)

# Each has a short name, that of the script, and a long one.
_NAME, _URL, _SITE, _REFERRER = ("n", "name"), ("u", "url"), ("d", "domain"), ("r", "referrer")
_PROPERTIES, _REVENUE, _PLACED = ("p", "props", "m", "meta"), ("$", "revenue"), ("w", "h", "i", "v")


def event(visitor: str | None, key_is_site: bool, body: bytes, limits: Settings) -> Candidates:
    """One event. Raises Problem 400.

    visitor:     id of whoever sent the request
    key_is_site: the site's name was the write key, so that it names no site
    """
    members(body)
    return Candidates.of([_candidate(body, visitor, key_is_site)], [body])


def _candidate(original: bytes, visitor: str | None, key_is_site: bool) -> Candidate | Rejection:
    found = one(original, EVENT)
    if isinstance(found, Rejection):
        return found
    name = text_of(found, *_NAME)
    is_page = name == "pageview"
    properties = _object(found, *_PROPERTIES)
    money = _object(found, *_REVENUE)
    candidate = Candidate(
        type="page" if is_page else "track",
        name=None if is_page else name,
        anonymous_id=visitor,
        properties=msgspec.json.encode(properties),
        context=context(
            {"page_url": text_of(found, *_URL), "referrer": text_of(found, *_REFERRER)},
            {
                "site": None if key_is_site else text_of(found, *_SITE),
                "plausible": {n: raw for n, raw in found.items() if n in _PLACED},
            },
        ),
    )
    candidate.revenue, candidate.currency = with_currency(
        amount_of(money, "amount"), None, text_of(money, "currency")
    )
    return candidate


def _object(found: Members, *names: str) -> Members:
    """The first of these members that is an object, or text that holds one, as old scripts send."""
    for name in names:
        if members_ := members_of(found.get(name)):
            return members_
        inner = one((text_of(found, name) or "{}").encode(), EVENT)
        if inner and not isinstance(inner, Rejection):
            return inner
    return {}


@bp.post("/api/event")
def post_plausible() -> Response:
    """Plausible's script and API: {n, u, d, r, p}; answers `ok`."""
    data = desk.body()
    given = desk.key_of_request() or key_of_body(data)
    key = given or key_of_events(data, *_SITE)
    adapt = partial(event, _visitor(key or ""), given is None)
    desk.take_in(data, adapt, key)
    return Response("ok", mimetype="text/plain")


def _visitor(key: str) -> str:
    """Whoever asks not to be told apart is one visitor with all others who do."""
    me, who = desk.collaborators(), sender(request.environ)
    if who.is_minimal(me.keys.owner(key).policy):
        return me.visitors.id_of(key, "", "")
    return me.visitors.id_of(key, who.address or "", who.user_agent)
