"""What the SQL page shows beside the box, and how values become JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from functools import cache, lru_cache
from typing import Any

import duckdb

from reports.warehouse.execute import COHORTS, LIVE
from reports.warehouse.views import TABLES
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
_COHORTS = (
    Column("cohort", "STRING", "Name of the cohort."),
    Column("id", "STRING", "What one of its people goes by: as person, or as an id of events."),
)
_MADE = {
    "people": (
        Column("person", "STRING", "The person: as in identities, or the only id of an event."),
        Column("user_ids", "ARRAY<STRING>", "User ids of its events, in order of the alphabet."),
        Column("anonymous_ids", "ARRAY<STRING>", "Anonymous ids of its events, likewise."),
        Column("first_seen", "TIMESTAMP", "event_time of the first event."),
        Column("last_seen", "TIMESTAMP", "event_time of the last event."),
        Column("events", "INT64", "Events."),
        Column("orders", "INT64", "Different order ids of events that are no refunds."),
        Column("traits", "STRING", "Properties of the newest identify, as a JSON object."),
    ),
    "experiments": (
        Column("experiment", "STRING", "What the exposures call the experiment, or the flag."),
        Column("variant", "STRING", "The variant that was shown; null where they name none."),
        Column("person", "STRING", "The person, as in people."),
        Column("first_exposed", "TIMESTAMP", "event_time of the first exposure to the variant."),
        Column("last_exposed", "TIMESTAMP", "event_time of the last one."),
        Column("exposures", "INT64", "Exposures of the person to the variant."),
        Column("variants", "INT64", "Different variants of the experiment that the person saw."),
    ),
}
_TYPES = {
    "VARCHAR": "STRING", "JSON": "STRING", "BIGINT": "INT64", "INTEGER": "INT64",
    "HUGEINT": "INT64", "BLOB": "BYTES", "TIMESTAMP WITH TIME ZONE": "TIMESTAMP",
    "TIMESTAMP": "DATETIME", "DATE": "DATE", "TIME": "TIME", "DOUBLE": "FLOAT64",
    "FLOAT": "FLOAT64", "BOOLEAN": "BOOL",
}  # fmt: skip
_ADDED = {
    "dead_letters": (
        Column("original_text", "STRING", "The original as UTF-8 text; other bytes are ?."),
    )
}

# What the editor offers: BigQuery's functions that are translated, by far not all of them.
FUNCTIONS = (
    "ABS", "ANY_VALUE", "APPROX_COUNT_DISTINCT", "ARRAY_AGG", "ARRAY_LENGTH", "ARRAY_TO_STRING",
    "AVG", "BIT_COUNT", "CAST", "CEIL", "COALESCE", "CONCAT", "CORR", "COUNT", "COUNTIF",
    "CURRENT_DATE", "CURRENT_TIMESTAMP", "DATE", "DATE_ADD", "DATE_DIFF", "DATE_SUB", "DATE_TRUNC",
    "DENSE_RANK", "DIV", "ENDS_WITH", "EXP", "EXTRACT", "FIRST_VALUE", "FLOOR", "FORMAT",
    "FORMAT_DATE", "GENERATE_ARRAY", "GENERATE_DATE_ARRAY", "GREATEST", "IF", "IFNULL",
    "JSON_QUERY", "JSON_VALUE", "LAG", "LAST_DAY", "LAST_VALUE", "LEAD", "LEAST", "LENGTH", "LN",
    "LOG10", "LOGICAL_AND", "LOGICAL_OR", "LOWER", "LPAD", "LTRIM", "MAX", "MAX_BY", "MIN",
    "MIN_BY", "MOD", "NTILE", "NULLIF", "PERCENT_RANK", "POW", "RANK", "REGEXP_CONTAINS",
    "REGEXP_EXTRACT", "REGEXP_REPLACE", "REPLACE", "REVERSE", "ROUND", "ROW_NUMBER", "RPAD",
    "RTRIM", "SAFE_CAST", "SAFE_DIVIDE", "SIGN", "SPLIT", "SQRT", "STARTS_WITH", "STDDEV",
    "STRING_AGG", "SUBSTR", "SUM", "TIMESTAMP", "TIMESTAMP_ADD", "TIMESTAMP_DIFF",
    "TIMESTAMP_MICROS", "TIMESTAMP_MILLIS", "TIMESTAMP_SECONDS", "TIMESTAMP_SUB",
    "TIMESTAMP_TRUNC", "TRIM", "TRUNC", "UNIX_MICROS", "UNIX_MILLIS", "UNIX_SECONDS", "UNNEST",
    "UPPER", "VARIANCE",
)  # fmt: skip

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
    """Every table that SQL can read in any project, with its columns."""
    return {
        **{view: (*_columns(table), *_ADDED.get(view, ())) for view, table in TABLES.items()},
        **_MADE,
        COHORTS: _COHORTS,
        LIVE: _LIVE,
    }


def typed_tables(typed: Mapping[str, str]) -> dict[str, tuple[Column, ...]]:
    """The views of a project's registered schemas, by name; properties first.

    typed: DuckDB's SELECT over `events` of each
    """
    return {name: _typed_columns(sql) for name, sql in typed.items()}


@lru_cache(maxsize=1000)
def _typed_columns(sql: str) -> tuple[Column, ...]:
    of_events = {column.name: column for column in tables()["events"]}
    with duckdb.connect() as connection:
        connection.execute(f"CREATE VIEW events AS {derive.duckdb_empty(load('event'))}")
        found = connection.execute(f"DESCRIBE {sql}").fetchall()
    own = [Column(name, bigquery_type(kind), f"Property of the event: {name}.")
           for name, kind, *_ in found if name not in of_events]  # fmt: skip
    return (*own, *of_events.values())


def bigquery_type(kind: str) -> str:
    """BigQuery's name of a type of DuckDB's."""
    if kind.endswith("[]"):
        return f"ARRAY<{bigquery_type(kind[:-2])}>"
    return _TYPES.get(kind, re.sub(r"^DECIMAL\(.*\)$", "NUMERIC", kind))


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
