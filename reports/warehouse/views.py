"""What SQL sees as its tables: views over the files of one project, events counted once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from reports.warehouse.apart import kinds_of
from reports.warehouse.days import ALL, Days, parts_within
from reports.warehouse.execute import quoted
from reports.warehouse.files import Files, WarehouseFiles
from schemas_avro import derive, load
from schemas_avro.tables import (
    DAILY,
    DEAD_LETTERS,
    EVENTS,
    IDENTITIES,
    LEDGER,
    PARITY,
    PERIODS,
    REPEATS,
    SESSIONS,
    Table,
)
from transforms.positions import Positions
from transforms.repeats import REPEAT_KINDS
from transforms.settled import AROUND_DAYS, COPIES, ONCE

TABLES = {
    "events": EVENTS,
    "daily": DAILY,
    "periods": PERIODS,
    "sessions": SESSIONS,
    "identities": IDENTITIES,
    "dead_letters": DEAD_LETTERS,
    "ledger": LEDGER,
    "parity": PARITY,
}
_SQL = {p.stem: p.read_text() for p in (Path(__file__).parent.parent / "sql").glob("view*.sql")}
_NEAR_DAYS = 2  # copies lie less than a day apart, on whichever days of UTC that is


@dataclass(frozen=True)
class View:
    """A statement that makes a view, and the files that it reads.

    stored:         all files of the table at that time
    committed_at:   when these were written, us
    received_until: events received up to here are in it, us; None where the table does not say
    rows, bytes:    of the files
    """

    sql: str
    paths: tuple[str, ...]
    committed_at: int | None
    received_until: int | None
    rows: int
    bytes: int
    stored: tuple[str, ...] = ()


def view(
    name: str, files: WarehouseFiles, project: str, days: Days = ALL, *, kept: str = ""
) -> View:
    """The view of a table: rows of this project only, no relation with anybody else's exists.

    days: all that will be asked for, of UTC; files that cannot have rows of them are left out
    kept: a condition that rows of events are held to
    """
    found = files.of(TABLES[name])
    if name == "events":
        repeats = files.of(REPEATS)
        settled = files.of(EVENTS, repeats.based_on) if repeats.based_on else Files()
        body, paths = _events(found, settled, repeats, project, days)
        body = f"SELECT * FROM ({body}) WHERE {kept}" if kept else body
    else:
        paths = parts_within(TABLES[name], found.days, days)
        # Files may be older than the record's newest field: the empty part brings every column.
        body = _SQL.get(f"view_{name}", _SQL["view"]).format(
            source=f"({_source(TABLES[name], paths)})", project=quoted(project)
        )
    return View(
        f"CREATE VIEW {name} AS {body}",
        tuple(paths),
        found.committed_at,
        found.received_until,
        found.rows,
        found.bytes,
        found.paths,
    )


def _source(table: Table, paths: Sequence[str]) -> str:
    empty = derive.duckdb_empty(load(table.record))
    return f"{empty} UNION ALL BY NAME SELECT * FROM {_files(paths)}" if paths else empty


def _files(paths: Iterable[str]) -> str:
    listed = ", ".join(map(quoted, paths))
    return f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false)"


def _events(
    now: Files, settled: Files, repeats: Files, project: str, days: Days
) -> tuple[str, list[str]]:
    """Each event once, and the files that takes.

    What the last rollup saw is settled: it wrote down which rows are copies, and compaction puts
    these into files of their own, which are not read. What came since is compared here, with itself
    and with what is settled of the days around.
    """
    of_project = f"project = {quoted(project)}"
    new = now.positions - settled.positions
    is_new = _held(new) if settled.days or settled.positions.by_producer else "true"
    wanted = parts_within(EVENTS, now.days, days)
    kinds = kinds_of(wanted, now, repeats, project) if is_new != "true" else {}
    # Of later files compaction made some anew: their blocks tell what is new.
    new_files = [
        path for path in now.days if path not in settled.days and kinds.get(path) != COPIES
    ]
    once = _rows((path for path in wanted if kinds.get(path) == ONCE), settled, of_project, is_new)
    mixed = _rows((path for path in wanted if path not in kinds), settled, of_project, is_new)
    # A day of the project lies on two or three of UTC.
    of_repeats = [
        path
        for path in parts_within(REPEATS, repeats.days, days.wider(AROUND_DAYS))
        if repeats.projects.get(path) == project
    ]
    paths = [path for path in wanted if kinds.get(path) != COPIES]
    if mixed and of_repeats:
        paths += of_repeats
        looked_up = _SQL["view_events_settled"].format(
            rows=f"({' UNION ALL BY NAME '.join(mixed)})",
            repeats=_files(of_repeats),
            project=quoted(project),
            kind=quoted(REPEAT_KINDS[0]),
        )
        mixed = [f"({looked_up})"]
    all_parts = [derive.duckdb_empty(load(EVENTS.record)), *once, *mixed]
    counted = " UNION ALL BY NAME ".join(all_parts)
    if not new_files or is_new == "false":
        return counted, paths
    # Which of them count hangs on the others, so they are compared whatever days are asked for.
    fresh_days = [now.days[path] for path in new_files]
    around = Days(min(fresh_days), max(fresh_days)).wider(_NEAR_DAYS)
    near = parts_within(EVENTS, now.days, around)
    body = _SQL["view_events"].format(
        counted=f"({counted})",
        fresh=f"(SELECT * FROM {_files(new_files)} WHERE {of_project} AND ({is_new}))",
        near=f"({_source(EVENTS, near)})",
        project=quoted(project),
        is_new=is_new,
    )
    return body, list(dict.fromkeys([*paths, *near]))


def _rows(paths: Iterable[str], settled: Files, of_project: str, is_new: str) -> list[str]:
    """SELECTs of what the last rollup saw of these files."""
    old, later = list[str](), list[str]()
    for path in paths:
        (old if path in settled.days else later).append(path)
    found = [f"SELECT * FROM {_files(old)} WHERE {of_project}"] if old else []
    if is_new != "true" and later:
        found.append(f"SELECT * FROM {_files(later)} WHERE {of_project} AND NOT ({is_new})")
    return found


def _held(positions: Positions) -> str:
    """Is a row's block one of these?"""
    found = [
        f"producer = {quoted(producer)} AND seq BETWEEN {first} AND {last}"
        for producer, ranges in sorted(positions.by_producer.items())
        for first, last in ranges
    ]
    return " OR ".join(found) or "false"
