"""Table `repeats` beside the files of `events` that compaction parts by it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from functools import lru_cache

import polars as pl
import pyarrow.parquet as pq

from beam_pipelines.connectors.exact_tables import computed_from
from beam_pipelines.connectors.maintenance import DataFile, files_by_day, local
from beam_pipelines.connectors.warehouse import Warehouse
from schemas_avro.tables import EVENTS, MARK, REPEATS, Table
from transforms.marks import DAYS_AROUND, KNOWN, Mark
from transforms.repeats import REPEAT_KINDS


@lru_cache(maxsize=20_000)
def mark_of(path: str) -> Mark | None:
    """What a file says of its copies; None: nothing. It never changes."""
    found = (pq.read_metadata(path).metadata or {}).get(MARK.encode())
    return None if found is None else Mark.from_json(found)


def repeats_for(warehouse: Warehouse, spec: Table, day: date) -> pl.DataFrame | None:
    """The copies among the table's rows of a UTC day, as in KNOWN; None: nobody has looked yet."""
    if spec != EVENTS or computed_from(warehouse, REPEATS) is None:
        return None
    return _known(_around(files_by_day(warehouse, REPEATS), day))


def stale_files(
    warehouse: Warehouse, days: Mapping[date, Sequence[DataFile]], today: date
) -> set[str]:
    """Files of `events` whose marks are missing or no longer true, on days that have come to rest.

    Such a day is over, and rollup has seen all of it: before that its copies are not known.
    """
    based_on = computed_from(warehouse, REPEATS)
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


@lru_cache(maxsize=20_000)
def _is_marked(path: str, repeats: tuple[str, ...]) -> bool:
    mark = mark_of(path)
    return mark is not None and mark.is_true(_known(repeats))


def _around(repeats: Mapping[date, Iterable[DataFile]], day: date) -> tuple[str, ...]:
    days = [day + timedelta(days=n) for n in DAYS_AROUND]
    return tuple(local(file.path) for one in days for file in repeats.get(one, ()))


def _known(paths: Iterable[str]) -> pl.DataFrame:
    return pl.concat([pl.DataFrame(schema=KNOWN), *map(_copies, paths)])


@lru_cache(maxsize=256)
def _copies(path: str) -> pl.DataFrame:
    rows = pl.read_parquet(path, columns=[*KNOWN, "kind"], hive_partitioning=False)
    return rows.filter(pl.col("kind") == REPEAT_KINDS[0]).select(*KNOWN)
