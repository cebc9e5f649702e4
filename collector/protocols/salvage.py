"""Splits JSON that is broken inside one event, so that this one does not take the others with it.

JavaScript writes half an emoji as a lone surrogate, Python writes NaN, and either makes the whole
body something that is no JSON. Only brackets and quotes are looked at here; what stands between
them is judged event by event.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["{}\[\],]', re.DOTALL)
_MEMBER = re.compile(rb'\s*"([^"\\]*)"\s*:(.*)', re.DOTALL)
_MOST_TOKENS = 1_000_000  # about 0.3 s of work; a body with more is refused as a whole
_OPENING = {b"}": b"{", b"]": b"["}


def members(text: bytes) -> dict[str, bytes] | None:
    """Members of an object as JSON text; None where even its brackets or names are broken."""
    parts = _split(text, b"{")
    if parts is None:
        return None
    found = {}
    for part in parts:
        member = _MEMBER.fullmatch(part)
        if member is None:
            return None
        found[member[1].decode(errors="replace")] = member[2].strip()
    return found


def elements(text: bytes) -> list[bytes] | None:
    """Elements of an array as JSON text; None where even its brackets are broken."""
    return _split(text, b"[")


def _split(text: bytes, opening: bytes) -> list[bytes] | None:
    """What stands between the commas of one array or object."""
    text = text.strip()
    if not text.startswith(opening):
        return None
    parts: list[bytes] = []
    open_brackets: list[bytes] = []
    start = 1
    for number, token in enumerate(_TOKEN.finditer(text)):
        mark = token[0]
        if number > _MOST_TOKENS or mark == b'"':  # a quote without its sister
            return None
        if mark in (b"{", b"["):
            open_brackets.append(mark)
        elif mark in _OPENING and (not open_brackets or open_brackets.pop() != _OPENING[mark]):
            return None
        at_top = len(open_brackets) == (1 if mark == b"," else 0)
        if at_top and mark in (b",", b"}", b"]"):
            parts.append(text[start : token.start()].strip())
            start = token.end()
            if not open_brackets:
                break
    if open_brackets or start != len(text):
        return None
    return [] if parts == [b""] else None if b"" in parts else parts
