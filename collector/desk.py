"""What every protocol's route does with a request: read it, ask who it is, adapt, take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask import Response, current_app, request
from werkzeug.datastructures import EnvironHeaders

from catalog.settings import Settings
from collector.body import read_body
from collector.gather import Receipt
from collector.intake import Envelope, Intake
from collector.keys import KeyRing, key_of_body, key_of_headers
from collector.metrics import Metrics
from collector.privacy import sender
from collector.visitors import Visitors
from transforms.candidates import Candidates

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_SUCCESS = b'{"success":true}\n'
# Adapts a body. Raises Problem for what no retry can mend of the request as a whole.
Adapter = Callable[[bytes, Settings], Candidates]


@dataclass(frozen=True)
class Collaborators:
    """What the routes call; put in place by `create_app`."""

    settings: Settings
    keys: KeyRing
    intake: Intake
    metrics: Metrics
    visitors: Visitors


def collaborators() -> Collaborators:
    """Those of the running app."""
    found: Collaborators = current_app.extensions["collector"]
    return found


def body() -> bytes:
    """The request's body, decompressed. Raises Problem: 400, 413."""
    # From the environment as it is: werkzeug's views of it cost as much as reading the events.
    environ, limits = request.environ, collaborators().settings
    length = environ.get("CONTENT_LENGTH") or ""
    return read_body(
        environ["wsgi.input"],
        int(length) if length.isdecimal() else None,
        environ.get("HTTP_CONTENT_ENCODING", ""),
        limits.max_body_bytes,
        limits.max_decoded_bytes,
    )


def posted() -> bytes:
    """The body, or the query where the method has none, as pixels send it. Raises Problem."""
    return body() if request.method == "POST" else request.query_string


def take(adapt: Adapter) -> Receipt:
    """Take in the events of the request's body; durable when this returns. Raises Problem."""
    data = body()
    return take_in(data, adapt, key_of_request() or key_of_body(data))


def take_in(data: bytes, adapt: Adapter, key: str | None) -> Receipt:
    """Take in events from bytes that are not the body, such as a query, or with another key."""
    me, asked = collaborators(), request
    environ, rule = asked.environ, asked.url_rule
    envelope = Envelope(
        owner=me.keys.owner(key),
        key=key or "",
        protocol=rule.endpoint.partition(".")[0] if rule else "",
        sender=sender(environ),
        headers=EnvironHeaders(environ),
        body_bytes=len(data),
        retry_count=_retries(environ),
    )
    return me.intake.take(adapt(data, me.settings), envelope)


def success() -> Response:
    """{"success": true}: made of bytes, because this is the answer to nearly every request."""
    return Response(_SUCCESS, mimetype="application/json")


def key_of_request() -> str | None:
    """The key in the request's headers or query."""
    environ = request.environ
    found = key_of_headers(
        environ.get("HTTP_AUTHORIZATION", ""), environ.get("HTTP_X_WRITE_KEY", "")
    )
    if found or not environ.get("QUERY_STRING"):
        return found
    return request.args.get("writeKey") or None


def _retries(environ: WSGIEnvironment) -> int | None:
    """Which resend it is by the sender's own header; PostHog counts attempts from 1."""
    for name, first in (("HTTP_X_RETRY_COUNT", 0), ("HTTP_POSTHOG_ATTEMPT", 1)):
        count = environ.get(name, "")
        if count.isascii() and count.isdigit() and len(count) < 7:
            return max(int(count) - first, 0) or None
    return None
