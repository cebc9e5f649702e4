"""Whether an exact table has all of the answer that is asked of events."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import pyarrow.parquet as pq

from reports.warehouse.files import Files, WarehouseFiles
from reports.warehouse.rolled import Rolled, doubts
from reports.warehouse.views import TABLES
from schemas_avro.tables import EVENTS, REPEATS
from transforms.repeats import REPEAT_KINDS

_EVENT = REPEAT_KINDS[0]


def is_whole(
    found: Rolled,
    project: str,
    zone: str,
    files: WarehouseFiles,
    counted: Callable[[str, str], int],
) -> bool:
    """Does the table stand for all events that there are, and say of them what is asked?

    counted: the number that DuckDB's SQL over a table of the project gives
    """
    events, exact = files.of(EVENTS), files.of(TABLES[found.table])
    based_on = exact.based_on if found.table == "daily" else exact.marks.get("hour")
    gone = {*events.retired.by_project, *exact.retired.by_project}
    if based_on is None or project in gone:
        return False
    if files.of(EVENTS, based_on).positions != events.positions:
        return False
    if found.money and not _has_each_order_once(project, files.of(REPEATS), based_on):
        return False
    against = doubts(found, zone)
    return against is None or counted(against, found.table) == 0


def _has_each_order_once(project: str, repeats: Files, based_on: int) -> bool:
    """Is no event left without its money because another one has the same order?"""
    if repeats.based_on != based_on:
        return False
    ours = (path for path in repeats.paths if repeats.projects.get(path) == project)
    try:
        return all(map(_has_events_only, ours))
    except FileNotFoundError:  # the tables changed meanwhile, as the query will find out
        return False


@lru_cache(maxsize=50_000)
def _has_events_only(path: str) -> bool:
    """Of a file of `repeats`, which never changes: is each row a copy of an event?"""
    found = pq.read_metadata(path)
    place = found.schema.names.index("kind")
    for group in range(found.num_row_groups):
        values = found.row_group(group).column(place).statistics
        if values is None or not values.has_min_max or {values.min, values.max} != {_EVENT}:
            return False
    return True
