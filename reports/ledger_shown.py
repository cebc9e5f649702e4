"""The ledger as a page and a program get it: of all projects, or of the one that may be seen."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from reports.ledger import Books, Ledger, ProjectLedger
from reports.present import when

_OF_BOOKS = ("accepted", "dead_lettered", "in_flight")
_DERIVED = ("in_flight", "uncounted", "balanced")
OWN_ONLY = (
    "The bus counts all projects together, which only an admin of everything sees. Of this "
    "project alone, what was accepted, refused and is under way is as of its books, which the job "
    "reconcile draws up; all else is of now."
)


def shown(books: Books, project: str, zone: str, now_us: int, *, whole: bool) -> dict[str, Any]:
    """In JSON's values.

    whole: over all projects; else of this one, with accepted, dead_lettered and in_flight as of
    `books_as_of`, null while there are no books, and `note`, which says so
    """
    found: Ledger = books.read() if whole else books.of(project)
    shown = {name: getattr(found, name) for name in (*(f.name for f in fields(Ledger)), *_DERIVED)}
    drawn = found.books if isinstance(found, ProjectLedger) else None
    if not whole and drawn is None:
        shown |= dict.fromkeys(_OF_BOOKS)
    return {
        **shown,
        "scope": "all projects" if whole else "project",
        "books_as_of": when(drawn.at, zone) if drawn else None,
        "note": "" if whole else OWN_ONLY,
        "status": "exact",
        "as_of": when(now_us, zone),
    }
