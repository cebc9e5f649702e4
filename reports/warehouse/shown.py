"""What the SQL page shows beside the box, and how values become JSON."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from functools import cache
from typing import Any

from reports.warehouse.engine import TABLES
from reports.warehouse.execute import LIVE
from schemas_avro import derive, load
from schemas_avro.tables import Table


@dataclass(frozen=True)
class Column:
    """A column of a table that SQL can read; kind is BigQuery's type."""

    name: str
    kind: str
    doc: str


_LIVE = (
    Column("minute", "TIMESTAMP", "Start of the minute of event time."),
    Column("statistic", "STRING", "Name in the registry of statistics."),
    Column("dimensions", "STRING", "Dimension values as a JSON object."),
    Column("value", "INT64", "Live, approximate: count, sum or estimate of the minute."),
)
_ADDED = {
    "dead_letters": (
        Column("original_text", "STRING", "The original as UTF-8 text; other bytes are ?."),
    )
}

EXAMPLES = (
    (
        "Events by name",
        "SELECT name, COUNT(*) AS events\nFROM events\nGROUP BY name\nORDER BY events DESC",
    ),
    (
        "Net revenue",
        "SELECT currency, SUM(revenue_minor) / 100 AS net_revenue\nFROM events\n"
        "WHERE revenue_minor IS NOT NULL\nGROUP BY currency",
    ),
    (
        "Exact table",
        "SELECT day, metric, dimensions, value, denominator\nFROM daily\nORDER BY day DESC, metric",
    ),
    (
        "A property",
        "SELECT JSON_VALUE(properties, '$.StockCode') AS stock_code, COUNT(*) AS lines\n"
        "FROM events\nGROUP BY stock_code\nORDER BY lines DESC\nLIMIT 20",
    ),
)


@cache
def tables() -> dict[str, tuple[Column, ...]]:
    """Every table that SQL can read, with its columns."""
    return {view: (*_columns(table), *_ADDED.get(view, ())) for view, table in TABLES.items()} | {
        LIVE: _LIVE
    }


def _columns(table: Table) -> list[Column]:
    # JSON lies in the archive as text: JSON_VALUE reads it, and so does LIKE.
    return [
        Column(c["name"], c["type"].replace("JSON", "STRING"), c["description"])
        for c in derive.bigquery(load(table.record))
    ]


def plain(value: Any) -> Any:
    """A JSON value that keeps every digit: integers beyond 2**53 and decimals become text."""
    match value:
        case bytes():
            return value.decode(errors="replace")
        case bool() | None | str():
            return value
        case int():
            return value if abs(value) < 1 << 53 else str(value)
        case float():
            return value if value == value and abs(value) != float("inf") else str(value)
        case Decimal():
            return str(value)
        case datetime() | date() | time():
            return value.isoformat()
        case list() | tuple():
            return [plain(item) for item in value]
        case dict():
            return {str(key): plain(item) for key, item in value.items()}
        case _:
            return str(value)
