"""What a project's events are called and have: suggestions for forms, read cheaply.

Names of events come from the daily table with their counts; properties and their values from a
bounded sample of recent events. They are suggestions: what is missing here can be asked for all the
same.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from reports.insights.filters import COLUMNS, Bindings, expression
from reports.insights.source import Source
from reports.insights.trend_metric import BUILT_IN, name_of
from reports.present import when
from reports.warehouse.engine import Warehouse
from transforms.grid import day_span_us
from transforms.metrics import METRICS

_SQL = {
    p.stem.removeprefix("vocabulary_"): p.read_text()
    for p in (Path(__file__).parent.parent / "sql").glob("vocabulary_*.sql")
}
_SAMPLE, _VALUE_SAMPLE = 5_000, 50_000  # events
_RECENT_DAYS = 7
_MOST_PROPERTIES, _MOST_VALUES, _DEPTH = 300, 50, 3


def vocabulary(warehouse: Warehouse, source: Source) -> dict[str, Any]:
    """{"events": [{name, events}], "properties": [{name, seen, example}],
    "metrics": [{name, title, own}], "sample", "as_of"}.

    Events of the last 90 days that have any, most frequent first; `seen`: in how many of the
    `sample` recent events; metrics: those that a trend can name, built-in and of the project's own.
    """
    names = warehouse.read(source.project, _SQL["events"], tables=("daily",))
    rows, as_of = _sample(warehouse, source)
    seen: Counter[str] = Counter()
    examples: dict[str, Any] = {}
    found: Counter[str] = Counter()
    for row in rows:
        found[row["name"] or row["type"]] += 1
        for column in ("properties", "context"):
            for path, value in _paths(json.loads(row[column] or "{}"), column):
                seen[path] += 1
                examples.setdefault(path, value)
    events = {row["name"]: row["events"] for row in names.table.to_pylist() if row["name"]}
    # Events that no rollup has seen yet are known from the sample.
    events |= {name: None for name, _ in found.most_common() if name and name not in events}
    columns = [{"name": name, "seen": None, "example": None} for name in sorted(COLUMNS)]
    properties = [
        {"name": name, "seen": count, "example": str(examples[name])[:80]}
        for name, count in seen.most_common(_MOST_PROPERTIES)
    ]
    return {
        "events": [{"name": name, "events": count} for name, count in events.items()],
        "properties": [*properties, *columns],
        "metrics": [
            *({"name": name, "title": METRICS[name].title, "own": False} for name in BUILT_IN),
            *({"name": m.name, "title": name_of(m), "own": True} for m in source.own_metrics()),
        ],
        "sample": len(rows),
        "as_of": when(as_of, source.zone),
    }


def values(warehouse: Warehouse, source: Source, name: str, event: str = "") -> dict[str, Any]:
    """{"values": [{value, events}]}: the most frequent ones of a property in recent events.

    Raises QuestionError for what events do not have.
    """
    bind = Bindings()
    limits = {"since": _since(source), "rows": _VALUE_SAMPLE, "most": _MOST_VALUES}
    named = f"e.name = {bind.add(event)}" if event else "true"
    sql = _SQL["values"].format(value=expression(name), named=named)
    found = warehouse.read(source.project, sql, parameters={**bind.values, **limits})
    return {"values": found.table.to_pylist(), "as_of": when(found.as_of, source.zone)}


def _since(source: Source) -> int:
    return day_span_us(source.today - timedelta(_RECENT_DAYS), source.zone)[0]


def _sample(warehouse: Warehouse, source: Source) -> tuple[list[dict[str, Any]], int | None]:
    """Some events of the last days; where there are none, some of all."""
    for since in (_since(source), 0):
        limits = {"since": since, "rows": _SAMPLE}
        found = warehouse.read(source.project, _SQL["sample"], parameters=limits)
        if found.table.num_rows:
            break
    return found.table.to_pylist(), found.as_of


def _paths(value: Any, path: str, depth: int = 1) -> Iterator[tuple[str, Any]]:
    """Names that questions can use, and what is there. Lists and names with dots have none."""
    if not isinstance(value, dict):
        return
    for key, inner in value.items():
        if not key or "." in key or '"' in key:
            continue
        if isinstance(inner, dict) and depth < _DEPTH:
            yield from _paths(inner, f"{path}.{key}", depth + 1)
        elif not isinstance(inner, list | dict) and inner is not None:
            yield f"{path}.{key}", inner
