"""Beyond capacity: some are served in good time, the rest are sent away at once.

Outside of Flask, because a refusal must cost a small part of what it saves.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from collector.bus.port import BusBusy

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_TEXT = "too many requests wait; try again"
_BODY = json.dumps({"code": "busy", "message": _TEXT, "detail": _TEXT}).encode()
_HEADERS = [
    ("Content-Type", "application/json"),
    ("Content-Length", str(len(_BODY))),
    ("Retry-After", str(BusBusy.retry_after_s)),
]


def refuse_crowds(
    app: WSGIApplication, crowded: Callable[[], bool], note: Callable[[], None]
) -> WSGIApplication:
    """The app, which answers 503 to whoever sends events while `crowded`; `note` counts them."""

    def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "POST" or not crowded():
            return app(environ, start_response)
        note()
        origin = environ.get("HTTP_ORIGIN")
        start_response("503 Service Unavailable", _HEADERS + (_cors(origin) if origin else []))
        return [_BODY]

    return guarded


def _cors(origin: str) -> list[tuple[str, str]]:
    """Without these a page cannot see that it is to try again."""
    return [
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Allow-Credentials", "true"),
        ("Access-Control-Expose-Headers", "Retry-After"),
        ("Vary", "Origin"),
    ]
