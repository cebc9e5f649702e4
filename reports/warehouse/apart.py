"""Which files of `events` hold only rows that count, or only copies, by `repeats` as it is now."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import polars as pl

from reports.warehouse.files import Files
from schemas_avro.archive_files import mark_in, places_in
from transforms.repeats import REPEAT_KINDS
from transforms.settled import AROUND_DAYS, KNOWN, Mark, kind_of


def kinds_of(paths: Iterable[str], now: Files, repeats: Files, project: str) -> dict[str, str]:
    """Of the files of `events` those of one kind, as far as the project's rows go, and which."""
    by_day: dict[int, list[str]] = {}
    for path, day in repeats.days.items():
        if repeats.projects.get(path) == project:
            by_day.setdefault(day, []).append(path)
    found = {}
    for path in paths:
        kind, day = kind_of(path), now.days[path]
        days = range(day - AROUND_DAYS, day + AROUND_DAYS + 1)
        around = tuple(file for one in days for file in by_day.get(one, ()))
        if kind is not None and _is_marked(path, around, project):
            found[path] = kind
    return found


def _is_marked(path: str, repeats: tuple[str, ...], project: str) -> bool:
    try:
        return _is_true(path, repeats, project)
    except FileNotFoundError:  # the tables changed meanwhile, as the query will find out
        return False


@lru_cache(maxsize=50_000)
def _is_true(path: str, repeats: tuple[str, ...], project: str) -> bool:
    """Files never change: what is true of these stays so."""
    copies = (places_in(file, REPEAT_KINDS[0]) for file in repeats)
    known = pl.concat([pl.DataFrame(schema=KNOWN), *copies])
    mark = mark_in(path)
    return mark is not None and Mark.from_json(mark).is_true_of(project, known)
