"""What the protocols other than Segment's share: forms, base64, and contexts in Segment's shape."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
from flask import Response

from collector.problems import Problem
from collector.protocols.fields import (
    BROKEN,
    Text,
    Time,
    amount,
    elements,
    json_object,
    scalar,
    text,
)
from transforms.context import PATHS

Members = dict[str, msgspec.Raw]
EVENT: msgspec.json.Decoder[Members] = msgspec.json.Decoder(Members)
_GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAICRAEAOw==")  # 43 bytes
_MOST_FIELDS = 1_000  # of a form
_LONGEST_MS = 15  # digits; far beyond any year that a time may lie in
_MOST_LOOKED_AT = 1_000_000  # events of a request, for a key in one of them


# -- Reading.


def unwrapped(body: bytes, name: str = "data") -> bytes:
    """JSON of a body or query that may be a form, its field `name` JSON or base64 of it.

    A body that is JSON already stays as it is. Raises Problem 400.
    """
    if body.lstrip()[:1] in (b"{", b"["):
        return body
    value = form_value(body, name) or body.decode(errors="replace").strip()
    if value[:1] in ("{", "["):
        return value.encode()
    data = from_base64(value)
    if not data:
        raise Problem(400, "bad_json", f"the body is no JSON and no form with JSON as `{name}`")
    return data


def form_value(body: bytes, name: str) -> str | None:
    """A field of a form; None where there is none. Raises Problem 400 for too many fields."""
    if body.lstrip()[:1] in (b"{", b"["):
        return None
    try:
        form = parse_qs(body.decode(errors="replace"), max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise Problem(400, "bad_json", f"the form is unreadable: {error}") from error
    return form.get(name, [""])[0].strip() or None


def from_base64(value: str) -> bytes | None:
    """Bytes of either base64 alphabet, with or without padding; None where it is none."""
    # In a form, + is a space.
    standard = value.replace(" ", "+").replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except ValueError:
        return None


def members_of(raw: msgspec.Raw | bytes | None) -> Members:
    """Members of an object; {} where there is none or something else."""
    return EVENT.decode(json_object(raw or b""))


def value_of(found: Members, *names: str) -> Text:
    """The first of these members that is a text or number and not empty."""
    for name in names:
        if name in found and (value := scalar(bytes(found[name]).strip())) not in (None, ""):
            return value
    return None


def text_of(found: Members, *names: str) -> str | None:
    """The same as text."""
    return text(value_of(found, *names))


def amount_of(found: Members, *names: str) -> str | None:
    """The first of these members that is there, a number as it was written."""
    return next((a for name in names if name in found and (a := amount(found[name]))), None)


def says(found: Members, name: str, value: bool) -> bool:
    """Whether the member is there and this truth value."""
    return bytes(found.get(name, b"")).strip() == (b"true" if value else b"false")


def milliseconds(value: Time) -> Time:
    """A time in which digits alone are epoch milliseconds, even as text."""
    if isinstance(value, str) and len(value) < _LONGEST_MS and value.isascii() and value.isdigit():
        return int(value)
    return value


def seconds(value: Time) -> Time:
    """Epoch seconds, or milliseconds where that many seconds would lie beyond any year."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return value
    return value * 1000 if value is not None and abs(value) < 1e11 else value


def key_of_events(body: bytes, *names: str) -> str | None:
    """The key that the first event which has one carries, in itself or among its properties.

    body:  one event, a list of them, or an object with the list as `batch` or `data`
    names: of the member that is the key
    """
    if body.lstrip()[:1] == b"[":
        return _key_of_list(body, names)
    found = _members_if_any(body)
    key = _key_of(found, names)
    for listed in ("batch", "data"):
        if key is None and listed in found:
            key = _key_of_list(bytes(found[listed]), names)
    return key


def _key_of_list(array: bytes, names: tuple[str, ...]) -> str | None:
    try:
        originals = elements(array, _MOST_LOOKED_AT)
    except Problem:
        return None
    return next((k for one in originals if (k := _key_of(_members_if_any(one), names))), None)


def _key_of(found: Members, names: tuple[str, ...]) -> str | None:
    return text_of(found, *names) or text_of(members_of(found.get("properties")), *names)


def _members_if_any(original: bytes) -> Members:
    try:
        return EVENT.decode(original)
    except BROKEN:
        return {}


# -- Writing.


def context(columns: Mapping[str, str | None], more: Mapping[str, Any] | None = None) -> bytes:
    """A context in Segment's shape, from which transforms.context promotes.

    columns: promoted column -> value; path and campaign come out of the page's address where
             they are not given
    more:    further members, such as what only this protocol knows, under its name
    """
    shaped = {name: value for name, value in (more or {}).items() if value not in (None, {}, [])}
    for name, value in {**_of_address(columns.get("page_url")), **_filled(columns)}.items():
        *heads, last = PATHS[name]
        inner = shaped
        for head in heads:
            inner = inner.setdefault(head, {})
        inner[last] = value
    return msgspec.json.encode(shaped)


def _filled(columns: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in columns.items() if value}


def _of_address(url: str | None) -> dict[str, str]:
    if not url:
        return {}
    try:
        parts = urlsplit(url)
        query = parse_qs(parts.query, max_num_fields=_MOST_FIELDS)
    except ValueError:
        return {}
    found = {"page_path": parts.path}
    for column, name in (
        ("campaign_source", "utm_source"),
        ("campaign_medium", "utm_medium"),
        ("campaign_name", "utm_campaign"),
        ("campaign_term", "utm_term"),
        ("campaign_content", "utm_content"),
    ):
        found[column] = query.get(name, [""])[0]
    return _filled(found)


def without(found: Members, *names: str) -> bytes:
    """The object without these members, as JSON text."""
    return msgspec.json.encode({n: raw for n, raw in found.items() if n not in names})


def merged(*objects: msgspec.Raw | bytes | None) -> dict[str, Any]:
    """Members of all objects; those of a later one go before."""
    return {name: raw for one in objects for name, raw in members_of(one).items()}


def with_currency(
    own: str | None, common: str | None, currency: str | None
) -> tuple[str | None, str | None]:
    """(revenue, currency).

    own:    from a field that the protocol means for money: without a currency it is refused
    common: from one that anyone may have named so: without a currency it is no money
    """
    if own is not None:
        return own, currency
    return (common, currency) if currency else (None, None)


def gif() -> Response:
    """What a pixel is answered: the smallest picture there is, not to be cached."""
    return Response(_GIF, mimetype="image/gif", headers={"Cache-Control": "no-store"})
