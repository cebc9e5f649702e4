"""What the stores hold, in the words of the brute-force loops of `tests.brute`."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from beam_pipelines.connectors.warehouse import Warehouse
from reports.ledger import Books, Ledger
from reports.warehouse.files import WarehouseFiles
from schemas_avro.tables import DAILY, DEAD_LETTERS, EVENTS, Table
from tests.brute import Live
from transforms.statistics import DistinctSketch

_DAY_COUNTS = {"active_users": "people", "orders": "orders", "sessions": "sessions"}


class Value(NamedTuple):
    """A live value with its relative standard error; 0.0 where it is exact."""

    value: int
    error: float

    def is_close(self, wanted: int) -> bool:
        """Equal where exact, else within three standard errors."""
        return abs(self.value - wanted) <= 3 * self.error * wanted


def live(data: Path) -> dict[tuple[str, int, str, str], Value]:
    """The newest pane of every number and minute."""
    path = data / "live.db"
    if not path.exists():
        return {}
    sql = "SELECT project, minute, statistic, dimensions, total, sketch FROM live_values"
    found = {}
    with closing(sqlite3.connect(path, timeout=30)) as store:
        for project, minute, statistic, dimensions, total, sketch in store.execute(sql):
            value = Value(total or 0, 0.0)
            if sketch is not None:
                distinct = DistinctSketch(sketch)
                value = Value(distinct.value, distinct.error)
            dimension = "".join(json.loads(dimensions).values())
            found[project, minute, statistic, dimension] = value
    return found


def live_differences(data: Path, expected: Live) -> list[str]:
    """One line for each live number that is wrong, missing or too many; [] where all agree."""
    found = live(data)
    return [
        f"{key}: {found.get(key)} where {expected.get(key)} is right"
        for key in sorted(found.keys() | expected.keys())
        if key not in found or key not in expected or not found[key].is_close(expected[key])
    ]


def complete_until(data: Path) -> int:
    """End of the newest final minute, us; 0 where there is none."""
    if not (data / "live.db").exists():
        return 0
    with closing(sqlite3.connect(data / "live.db", timeout=30)) as store:
        row = store.execute("SELECT max(complete_until) FROM live_progress").fetchone()
    return int(row[0] or 0)


def daily(data: Path, project: str) -> dict[date, dict[str, Any]]:
    """The exact table, by day."""
    days: dict[date, dict[str, Any]] = {}
    for row in _rows(data, DAILY).to_pylist():
        if row["project"] != project:
            continue
        day = days.setdefault(row["day"], {"revenue": {}, "names": {}})
        dimensions = json.loads(row["dimensions"])
        match row["metric"]:
            case "revenue":
                day["revenue"][dimensions["currency"]] = row["value"]
            case "events":
                where = day["names"] if dimensions else day
                where[dimensions.get("name", "events")] = row["value"]
            case "conversion_rate":
                day["buyers"] = row["value"]
            case metric if metric in _DAY_COUNTS:
                day[_DAY_COUNTS[metric]] = row["value"]
        day["repeats"] = row["duplicates"]
    return days


def as_counts(days: dict[date, dict[str, Any]]) -> dict[date, dict[str, Any]]:
    """What `brute.daily` says, with sets as their sizes."""
    return {
        day: {
            name: len(value) if isinstance(value, set) else
            dict(value) if isinstance(value, dict) else value
            for name, value in numbers.items()
        }
        for day, numbers in days.items()
    }  # fmt: skip


def archived(data: Path) -> Counter[tuple[str, int]]:
    """(event id, received time) of every row of the raw archive, and how often it is there."""
    rows = _rows(data, EVENTS)
    received = rows["received_time"].cast(pa.int64())
    return Counter(
        (str(event_id), int(at or 0))
        for event_id, at in zip(rows["event_id"].to_pylist(), received.to_pylist(), strict=True)
    )


def dead_letters(data: Path) -> list[dict[str, Any]]:
    """Rows of the dead letter table."""
    found: list[dict[str, Any]] = _rows(data, DEAD_LETTERS).to_pylist()
    return found


def ledger(data: Path) -> Ledger:
    """The books of one data directory, as the report pages read them."""
    return Books(data / "spool", WarehouseFiles(str(data / "archive"))).read()


def archived_rows(data: Path, table: Table) -> int:
    """How many rows a table holds, without reading them."""
    return WarehouseFiles(str(data / "archive")).of(table).rows


def _rows(data: Path, table: Table) -> pa.Table:
    return Warehouse(str(data / "archive")).table(table).scan().to_arrow()
