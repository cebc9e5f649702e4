"""A small real world for the tests of reports: archive, daily table, live store, an app on them."""

from __future__ import annotations

import itertools
import tempfile
import time
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
from flask import Flask

from beam_pipelines.connectors.exact_tables import days_filter, replace_rows, write_rows
from beam_pipelines.connectors.live import open_store
from beam_pipelines.connectors.warehouse import Added, Warehouse
from catalog.settings import Settings, read
from catalog.store import Catalog
from reports.app import create_app
from schemas_avro import block, derive, load
from schemas_avro.tables import DAILY, DEAD_LETTERS, EVENTS, REPEATS, Table
from tests.streams import NOON, frame_of
from transforms.panes import EARLY, ON_TIME, final_until
from transforms.positions import Positions
from transforms.statistics import DistinctSketch, Statistic, Total

NOW = NOON + 3_600_000_000
ZONES = {"demo": "Europe/London", "other": "UTC"}
_NUMBERS = itertools.count()


def settings(directory: Path, **values: Any) -> Settings:
    given = {f"HEADWATER_{name.upper()}": str(value) for name, value in values.items()}
    return read({"HEADWATER_DATA_DIR": str(directory), **given})


@cache
def _migrated() -> bytes:
    """A catalogue with the projects of `ZONES`: made once, as migrations take their time."""
    with tempfile.TemporaryDirectory() as made:
        catalog = Catalog(f"sqlite:///{made}/catalog.db")
        catalog.migrate()
        for project, zone in ZONES.items():
            catalog.add_project(project, time_zone=zone)
        return Path(made, "catalog.db").read_bytes()


def catalogue(directory: Path) -> Catalog:
    """The catalogue of a data directory, made where there is none."""
    path = directory / "catalog.db"
    if not path.exists():
        path.write_bytes(_migrated())
    return Catalog(f"sqlite:///{path}")


def app(directory: Path, now: int = NOW, **values: Any) -> Flask:
    catalogue(directory)
    made = create_app(settings(directory, **values), lambda: ZONES, lambda: now)
    made.testing = False  # what a page raises becomes the page that a reader sees
    return made


def us(*at: int) -> int:
    """An instant in UTC, in us."""
    return int(datetime(*at, tzinfo=UTC).timestamp()) * 1_000_000


def archive(directory: Path, rows: list[dict[str, Any]], producer: str = "p-0") -> None:
    """Events into the raw archive, as one more block."""
    number = next(_NUMBERS)
    _, frame = block.decode(load("event"), frame_of(rows, producer, number).payload)
    _add(directory, EVENTS, frame, producer, number)


def settle(directory: Path) -> None:
    """As after a rollup that found no repeats in the archive as it is."""
    warehouse = Warehouse(f"{directory}/archive")
    snapshot = warehouse.table(EVENTS).current_snapshot()
    assert snapshot is not None
    replace_rows(warehouse, REPEATS, [], days_filter([]), {"": snapshot.snapshot_id})


def refuse(directory: Path, rows: list[dict[str, Any]]) -> None:
    """Dead letters into the archive; what a row leaves out is filled."""
    number = next(_NUMBERS)
    some = {"project": "demo", "source": "web", "step": "intake", "reason": "bad_money"}
    usual = {**some, "message": "no", "original": b"{}", "received_time": NOON}
    filled = [{"dead_letter_id": f"d{number}-{i}", **usual, **r} for i, r in enumerate(rows)]
    frame = pl.DataFrame(filled, schema=derive.wire(load("dead_letter")), orient="row")
    _add(directory, DEAD_LETTERS, frame, "p-0", number)


def _add(directory: Path, table: Table, frame: pl.DataFrame, producer: str, number: int) -> None:
    warehouse = Warehouse(f"{directory}/archive")
    files = warehouse.write_files(table, frame)
    positions = Positions.of([(producer, number, number)])
    warehouse.add(table, Added(files, positions, {"demo": ("2026-01-01",)}, NOON))


def keep(directory: Path, table: Table, rows: list[dict[str, Any]]) -> None:
    """All that a table of the project holds, as a job leaves it."""
    warehouse = Warehouse(f"{directory}/archive")
    frame = pl.DataFrame(rows, schema=derive.wire(load(table.record)), orient="row")
    # A file each: one file is of one day.
    files = [file for row in frame.iter_slices(1) for file in write_rows(warehouse, table, row)]
    replace_rows(warehouse, table, files, "project = 'demo'", {})


def ledger_minute(at: int, **numbers: int) -> dict[str, Any]:
    """A minute of receipt in the books; what is not said is nought."""
    names = ("received", "archived", "duplicates", "dead_lettered", "suppressed", "in_flight",
             "missing", "doubled", "imported")  # fmt: skip
    known = {"project": "demo", "source": "web", "minute": at, "computed_at": NOON}
    return {**dict.fromkeys(names, 0), **known, **numbers}


def compared_day(day: date, **numbers: int) -> dict[str, Any]:
    """A day's events, live against exact; what is not said is nought."""
    names = ("live", "exact", "repeated_orders", "imported", "before_live", "late", "repeats",
             "sketch", "unexplained", "bound")  # fmt: skip
    known = {"project": "demo", "day": day, "statistic": "events", "dimensions": "{}",
             "computed_at": NOON}  # fmt: skip
    return {**dict.fromkeys(names, 0), **known, **numbers}


def count_day(
    directory: Path,
    day: date,
    *numbers: tuple[str, str, int, int | None],
    project: str = "demo",
    **stamp: int,
) -> None:
    """One day of the exact table: (metric, dimensions, value, denominator) each."""
    shared = {
        "computed_at": NOON,
        "complete_until": NOON - 1_000_000,
        "events_in": 1,
        "duplicates": 0,
        **stamp,
    }
    rows = [
        {"project": project, "day": day, "metric": m, "dimensions": d, "value": v,
         "denominator": below, **shared}
        for m, d, v, below in numbers
    ]  # fmt: skip
    warehouse = Warehouse(f"{directory}/archive")
    frame = pl.DataFrame(rows, schema=derive.wire(load(DAILY.record)), orient="row")
    files = write_rows(warehouse, DAILY, frame)
    replace_rows(warehouse, DAILY, files, days_filter([(project, day)]), {"": 1})


class Live:
    """Writes live minutes as the pipeline does."""

    def __init__(self, directory: Path) -> None:
        self._store = open_store(f"sqlite:{directory}/live.db")

    def close(self) -> None:
        self._store.close()

    def put(
        self,
        at: int,
        statistic: str,
        value: Statistic,
        dimensions: str = "{}",
        *,
        project: str = "demo",
        final: bool = False,
    ) -> None:
        """The value of the minute that `at` (us) is in."""
        row = {
            "project": project,
            "statistic": statistic,
            "dimensions": dimensions,
            "minute": at // 60_000_000 * 60_000_000,
            "total": value.value if isinstance(value, Total) else None,
            "sketch": value.sketch if isinstance(value, DistinctSketch) else None,
            "pane": ON_TIME if final else EARLY,
            "pane_index": 0,
            "run": 1,
            "updated_at": time.time_ns() // 1000,
        }
        rows = pl.DataFrame([row], schema=derive.wire(load("live_value")), orient="row")
        self._store.upsert(rows, 1, final_until(rows))
