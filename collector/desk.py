"""What every protocol's route does with a request: read it, ask who it is, adapt, take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flask import current_app, request

from catalog.settings import Settings
from collector.body import read_body
from collector.gather import Receipt
from collector.intake import Envelope, Intake
from collector.keys import KeyRing, key_of_body, key_of_headers
from transforms.candidates import Candidates

# Adapts a body. Raises Problem for what no retry can mend of the request as a whole.
Adapter = Callable[[bytes, Settings], Candidates]


@dataclass(frozen=True)
class Collaborators:
    """What the routes call; put in place by `create_app`."""

    settings: Settings
    keys: KeyRing
    intake: Intake


def collaborators() -> Collaborators:
    """Those of the running app."""
    found: Collaborators = current_app.extensions["collector"]
    return found


def body() -> bytes:
    """The request's body, decompressed. Raises Problem: 400, 413."""
    limits = collaborators().settings
    return read_body(
        request.stream,
        request.content_length,
        request.headers.get("Content-Encoding", ""),
        limits.max_body_bytes,
        limits.max_decoded_bytes,
    )


def take(adapt: Adapter) -> Receipt:
    """Take in the events of the request's body; durable when this returns. Raises Problem."""
    data = body()
    return take_in(data, adapt, key_of_headers(request.headers, request.args) or key_of_body(data))


def take_in(data: bytes, adapt: Adapter, key: str | None) -> Receipt:
    """Take in events from bytes that are not the body, such as a query, or with another key."""
    me = collaborators()
    envelope = Envelope(
        owner=me.keys.owner(key),
        headers=request.headers,
        body_bytes=len(data),
        retry_count=_retries(request.headers.get("X-Retry-Count", "")),
    )
    return me.intake.take(adapt(data, me.settings), envelope)


def _retries(header: str) -> int | None:
    known = header.isascii() and header.isdigit() and len(header) < 7
    return (int(header) or None) if known else None
