"""Live tiles of dashboards: the live page's numbers, each as an answer that can be shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_NUMBER = {"mark": "number", "x": "", "y": "", "color": "", "row": "", "x_title": "", "y_title": ""}


def _total(title: str, read: Callable[[dict[str, Any]], tuple[Any, str]]) -> Any:
    def tile(live: dict[str, Any]) -> dict[str, Any]:
        value, unit = read(live)
        return {"totals": [{"title": title, "value": value, "unit": unit}]}

    return title, tile


def _conversion(live: dict[str, Any]) -> tuple[Any, str]:
    value = live["conversion_today"]
    return (live["conversion_reason"], "label") if value is None else (value, "ratio")


def _revenue(live: dict[str, Any]) -> dict[str, Any]:
    amounts = live["revenue_today"]
    return {
        "totals": [
            {"title": f"Net revenue today {one['currency']}", "value": one, "unit": "money"}
            for one in amounts
        ]
        or [{"title": "Net revenue today", "value": None, "unit": "label"}]
    }


def _minutes(live: dict[str, Any]) -> dict[str, Any]:
    columns = [_column("minute", "Minute", "time"), _column("events", "Events", "count")]
    rows = [[one["minute"], one["events"]] for one in live["minutes"]]
    return {
        "columns": columns,
        "rows": rows,
        "chart": {**_NUMBER, "mark": "bar", "x": "minute", "y": "events"},
    }


def _top(live: dict[str, Any]) -> dict[str, Any]:
    columns = [_column("name", "Event", "label"), _column("events", "Events", "count")]
    rows = [[one["name"], one["events"]] for one in live["top_events"]]
    return {
        "columns": columns,
        "rows": rows,
        "chart": {**_NUMBER, "mark": "bar", "x": "name", "y": "events"},
    }


def _column(name: str, title: str, unit: str) -> dict[str, str]:
    return {"name": name, "title": title, "unit": unit, "low": "", "high": ""}


_TILES: dict[str, tuple[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    "active_users_now": _total(
        "Active users, last 5 minutes", lambda live: (live["active_users_now"], "count")
    ),
    "active_users_recent": _total(
        "Active users, last 30 minutes", lambda live: (live["active_users_recent"], "count")
    ),
    "active_users_today": _total(
        "Active users today", lambda live: (live["active_users_today"], "count")
    ),
    "events_today": _total("Events today", lambda live: (live["events_today"], "count")),
    "orders_today": _total("Orders today", lambda live: (live["orders_today"], "count")),
    "conversion_today": _total("Conversion today", _conversion),
    "revenue_today": ("Net revenue today", _revenue),
    "minutes": ("Events per minute", _minutes),
    "top_events": ("Top events today", _top),
}
TILES = {name: title for name, (title, _) in _TILES.items()}  # name -> title


def tile(name: str, live: dict[str, Any]) -> dict[str, Any]:
    """The answer of a tile, as `reports.insights.routes.as_json` makes them.

    live: what `reports.live.overview` gives. Raises KeyError for a name that is not in TILES.
    """
    return {
        "kind": "live",
        "question": {},
        "columns": [],
        "rows": [],
        "chart": _NUMBER,
        "totals": [],
        "notes": [],
        "status": live["status"],
        "error": live["distinct_error"],
        "as_of": live["as_of"],
        "complete_until": live["complete_until"],
        "time_zone": live["time_zone"],
        "identity": live["identity"],
        "elapsed_ms": 0,
        **_TILES[name][1](live),
    }
