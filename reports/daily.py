"""The exact daily table as days x metrics."""

from __future__ import annotations

import json
from datetime import date, datetime
from pathlib import Path
from typing import Any

from reports.present import money, when
from reports.warehouse.engine import Warehouse
from transforms.metrics import METRICS
from transforms.readout import ratio

_SQL = {n: (Path(__file__).parent / "sql" / f"{n}.sql").read_text() for n in ("daily", "days")}
_MONEY = "minor units"


def table(
    warehouse: Warehouse, project: str, zone: str, first: date | None, last: date | None
) -> dict[str, Any]:
    """Days between two, newest first, and the exact sums over them where sums have a meaning.

    first, last: None for the first and last day that there are. People, sessions across days and
    ratios are never added up: distinct counts do not add.
    """
    there = _span(warehouse, project)
    first, last = first or there[0], last or there[1]
    found = warehouse.run(project, _SQL["daily"], table="daily", parameters=(first, last))
    days: dict[date, dict[str, Any]] = {}
    revenue: dict[str, int] = {}
    for day, name, text, value, denominator, *stamp in found.rows:
        if day not in days:
            days[day] = _new_row(day, zone, *stamp)
        dimensions = json.loads(text)
        _put(days[day], name, dimensions, value, denominator)
        if name == "revenue":
            currency = dimensions["currency"]
            revenue[currency] = revenue.get(currency, 0) + value
    return {
        "project": project,
        "time_zone": zone,
        "first": first and first.isoformat(),
        "last": last and last.isoformat(),
        "status": "exact",
        "as_of": when(found.as_of, zone) if there[0] else None,
        "days": list(days.values()),
        "events": sum(row["events"] or 0 for row in days.values()),
        "orders": sum(row["orders"] or 0 for row in days.values()),
        "revenue": [money(minor, currency) for currency, minor in sorted(revenue.items())],
    }


def _span(warehouse: Warehouse, project: str) -> tuple[date | None, date | None]:
    """First and last day that the table has; None, None while it is empty."""
    first, last = warehouse.run(project, _SQL["days"], table="daily").rows[0]
    return first, last


def _new_row(
    day: date,
    zone: str,
    computed_at: datetime,
    complete_until: datetime,
    events_in: int,
    duplicates: int,
) -> dict[str, Any]:
    """A day before its numbers: no amounts, and None for what the registry got only later."""
    return {
        "day": day.isoformat(),
        "status": "exact",
        "computed_at": when(computed_at, zone),
        "complete_until": when(complete_until, zone),
        "events_in": events_in,
        "duplicates": duplicates,
        "by_name": {},
        **{m.name: [] if m.unit == _MONEY else None for m in METRICS.values()},
        **{f"{m.name}_reason": None for m in METRICS.values() if m.denominator},
    }


def _put(
    row: dict[str, Any], name: str, dimensions: dict[str, str], value: int, denominator: int | None
) -> None:
    """One number into its day. Numbers that have left the registry are left out."""
    metric = METRICS.get(name)
    if metric is None:
        return
    if metric.unit == _MONEY:
        row[name].append(money(value, dimensions["currency"]))
    elif metric.denominator:
        read = ratio(value, denominator or 0, of="active users")
        row[name], row[f"{name}_reason"] = read.value, read.reason or None
    elif dimensions:
        row["by_name"][dimensions["name"]] = value
    else:
        row[name] = value
