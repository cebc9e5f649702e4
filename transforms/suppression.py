"""Finds the events of suppressed people. The list of them holds digests, never ids."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Set
from hashlib import sha256

import msgspec
import polars as pl

from transforms.candidates import Candidates

_IDS = ("user_id", "anonymous_id")
_QUOTE = re.compile(rb'(?<!\\)"')
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")


def digest(project: str, person: str) -> bytes:
    """What the list holds of a user id or anonymous id: 32 bytes, another one in each project."""
    return sha256(f"{project}\0{person}".encode("utf-8", "surrogatepass")).digest()


def suppress(candidates: Candidates, project: str, people: Set[bytes]) -> Candidates:
    """The candidates without those of suppressed people. people: their digests.

    What was refused already would keep its original in the dead letters; it goes as well where
    the original names one of the people in any text or number, whatever field and protocol.
    """
    if not people:
        return candidates
    columns = [candidates.columns.get(name) or () for name in _IDS]
    named = {person for column in columns for person in column if person}
    found = {person for person in named if digest(project, person) in people}
    places = {
        candidates.places[row]
        for column in columns
        for row, person in enumerate(column)
        if found and person in found
    }
    places |= {
        at
        for at, rejection in candidates.refused.items()
        if any(digest(project, word) in people for word in _words(rejection.original))
    }
    return candidates.suppress(places)


def is_named(rows: pl.DataFrame, people: Mapping[str, Set[bytes]]) -> list[bool]:
    """Of each stored row: is its user id or anonymous id a suppressed one of its project?"""
    owners = rows.select("project", *_IDS)
    who = {pair for name in _IDS for pair in owners.select("project", name).unique().iter_rows()}
    named = {(p, i) for p, i in who if i and digest(p, i) in people.get(p, ())}
    if not named:
        return [False] * rows.height
    return [(p, u) in named or (p, a) in named for p, u, a in owners.iter_rows()]


def _words(original: bytes) -> Iterator[str]:
    """Every text and number of a message that may be broken.

    A quote too many turns inside out what is a text, so what stands between two quotes counts,
    whichever they are.
    """
    for part in {*_QUOTE.split(original), *_NUMBER.findall(original)}:
        if b"\\" in part:
            try:
                yield msgspec.json.decode(b'"' + part + b'"', type=str)
                continue
            except (msgspec.MsgspecError, UnicodeDecodeError):
                pass
        yield part.decode(errors="replace")
