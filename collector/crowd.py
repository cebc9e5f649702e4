"""Beyond capacity: some are served in good time, the rest are sent away at once.

Outside of Flask, because a refusal must cost a small part of what it saves.
"""

from __future__ import annotations

import json

from collector.bus.port import BusBusy

_TEXT = "more requests than this collector can take; try again"
_BODY = json.dumps({"code": "busy", "message": _TEXT, "detail": _TEXT}).encode()
_HEADERS = [
    ("Content-Type", "application/json"),
    ("Content-Length", str(len(_BODY))),
    ("Retry-After", str(BusBusy.retry_after_s)),
]


def refusal(origin: str | None) -> tuple[int, list[tuple[str, str]], bytes]:
    """503 with Retry-After: (status, headers, body). origin: of the page that sends, if any"""
    return 503, _HEADERS + (_cors(origin) if origin else []), _BODY


def _cors(origin: str) -> list[tuple[str, str]]:
    """Without these a page cannot see that it is to try again."""
    return [
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Allow-Credentials", "true"),
        ("Access-Control-Expose-Headers", "Retry-After"),
        ("Vary", "Origin"),
    ]
