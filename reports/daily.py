"""The exact daily table as days x metrics."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

from reports.present import money, when
from reports.warehouse.engine import Warehouse
from transforms.metrics import METRICS
from transforms.readout import ratio

_SQL = {n: (Path(__file__).parent / "sql" / f"{n}.sql").read_text() for n in ("daily", "days")}
_TOTAL = "{}"


def span(warehouse: Warehouse, project: str) -> tuple[date, date] | None:
    """First and last day that the table has; None while it is empty."""
    rows = warehouse.run(project, _SQL["days"]).rows
    first, last = rows[0]
    return None if first is None else (first, last)


def table(warehouse: Warehouse, project: str, zone: str, first: date, last: date) -> dict[str, Any]:
    """Days between two, newest first, and the exact sums over them where sums have a meaning.

    People, sessions across days and ratios are never added up: distinct counts do not add.
    """
    found = warehouse.run(project, _SQL["daily"], [first, last])
    days: dict[date, dict[str, Any]] = {}
    revenue: dict[str, int] = {}
    for (
        day,
        metric,
        dimensions,
        value,
        denominator,
        computed_at,
        until,
        events_in,
        dup,
    ) in found.rows:
        row = days.setdefault(
            day,
            {
                "day": day.isoformat(),
                "revenue": [],
                "by_name": {},
                "status": "exact",
                "computed_at": computed_at.isoformat(timespec="seconds"),
                "complete_until": until.isoformat(timespec="seconds"),
                "events_in": events_in,
                "duplicates": dup,
            },
        )
        if metric == "revenue":
            currency = json.loads(dimensions)["currency"]
            row["revenue"].append(money(value, currency))
            revenue[currency] = revenue.get(currency, 0) + value
        elif metric == "events" and dimensions != _TOTAL:
            row["by_name"][json.loads(dimensions)["name"]] = value
        elif METRICS[metric].denominator:
            read = ratio(value, denominator, of="active users")
            row[metric], row[f"{metric}_reason"] = read.value, read.reason
        else:
            row[metric] = value
    return {
        "project": project,
        "time_zone": zone,
        "first": first.isoformat(),
        "last": last.isoformat(),
        "status": "exact",
        "as_of": when(found.as_of, zone),
        "days": list(days.values()),
        "events": sum(row["events"] for row in days.values()),
        "orders": sum(row["orders"] for row in days.values()),
        "revenue": [money(minor, currency) for currency, minor in sorted(revenue.items())],
    }
