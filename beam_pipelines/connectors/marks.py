"""Files of `events` beside table `repeats`: which rows are copies, and do marks still say so?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from functools import lru_cache

import polars as pl

from beam_pipelines.connectors.exact_tables import computed_from
from beam_pipelines.connectors.maintenance import DataFile, files_by_day, local
from beam_pipelines.connectors.warehouse import Warehouse
from schemas_avro.archive_files import mark_in, places_in
from schemas_avro.tables import EVENTS, REPEATS, Table
from transforms.repeats import REPEAT_KINDS
from transforms.settled import AROUND_DAYS, KNOWN, Mark


def copies_of(warehouse: Warehouse, spec: Table, day: date) -> pl.DataFrame | None:
    """Copies among the table's rows of a UTC day, as in KNOWN; None where nobody has looked yet."""
    if spec != EVENTS or _looked_at(warehouse) is None:
        return None
    return _known(_around(files_by_day(warehouse, REPEATS), day))


def stale_files(
    warehouse: Warehouse, days: Mapping[date, Sequence[DataFile]], today: date
) -> set[str]:
    """Files of `events` that have no mark or one that is no longer true, on days at rest.

    Such a day is over and rollup has seen all of it; before that its copies are not known.
    """
    based_on = _looked_at(warehouse)
    if based_on is None:
        return set()
    touched = set().union(*warehouse.changes(based_on).touched.values())
    repeats = files_by_day(warehouse, REPEATS)
    return {
        file.path
        for day, files in days.items()
        if day < today and day not in touched
        for file in files
        if not _is_marked(local(file.path), _around(repeats, day))
    }


def _looked_at(warehouse: Warehouse) -> int | None:
    """The snapshot of `events` that `repeats` was last computed from; a look makes no table."""
    there = REPEATS.identifier in {table.name() for table in warehouse.tables()}
    return computed_from(warehouse, REPEATS) if there else None


@lru_cache(maxsize=20_000)
def _is_marked(path: str, repeats: tuple[str, ...]) -> bool:
    """Files never change."""
    found = mark_in(path)
    return found is not None and Mark.from_json(found).is_true(_known(repeats))


def _around(repeats: Mapping[date, Iterable[DataFile]], day: date) -> tuple[str, ...]:
    days = [day + timedelta(n) for n in range(-AROUND_DAYS, AROUND_DAYS + 1)]
    return tuple(local(file.path) for one in days for file in repeats.get(one, ()))


def _known(paths: Iterable[str]) -> pl.DataFrame:
    copies = (places_in(path, REPEAT_KINDS[0]) for path in paths)
    return pl.concat([pl.DataFrame(schema=KNOWN), *copies])
