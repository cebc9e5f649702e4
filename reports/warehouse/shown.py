"""What the SQL page shows beside the box, and how values become JSON."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

LIVE_COLUMNS = (
    ("minute", "timestamp", "Start of the minute of event time."),
    ("statistic", "string", "Name in the registry of statistics."),
    ("dimensions", "string", "Dimension values as a JSON object."),
    ("value", "long", "Live, approximate: count, sum or estimate of the minute."),
)

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
        case datetime() | date():
            return value.isoformat()
        case list() | tuple():
            return [plain(item) for item in value]
        case dict():
            return {str(key): plain(item) for key, item in value.items()}
        case _:
            return str(value)
