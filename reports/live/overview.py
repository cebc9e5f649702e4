"""The live page's numbers, as one JSON-ready value."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from reports.live.store import LiveStore
from reports.present import money, when
from transforms.grid import MINUTE_US, day_span_us
from transforms.readout import ratio

RECENT_MINUTES = 30
_NOW_MINUTES = 5
_TOP = 8


def overview(store: LiveStore, zone: str, now_us: int) -> dict[str, Any]:
    """Everything the live page shows. now_us: the present, in us."""
    end = now_us // MINUTE_US * MINUTE_US + MINUTE_US
    recent = end - RECENT_MINUTES * MINUTE_US
    today = datetime.fromtimestamp(now_us / 1e6, UTC).astimezone(ZoneInfo(zone)).date()
    day, _ = day_span_us(today, zone)
    progress = store.progress()
    names = store.totals("events", day, end)
    users_recent = store.distinct("people", recent, end)
    orders, buyers = store.distinct("orders", day, end), store.distinct("buyers", day, end)
    people = store.distinct("people", day, end)
    by_minute = store.per_minute("events", recent, end)
    conversion = ratio(buyers.value, people.value, of="active users today")
    return {
        "status": "live, approximate",
        "as_of": when(progress.updated_at, zone),
        "as_of_us": progress.updated_at,
        "complete_until": when(progress.complete_until, zone),
        "identity": "device or user id",
        "time_zone": zone,
        "today": today.isoformat(),
        "active_users_now": store.distinct("people", end - _NOW_MINUTES * MINUTE_US, end).value,
        "active_users_recent": users_recent.value,
        "active_users_today": people.value,
        "distinct_error": max(users_recent.error, people.error, orders.error, buyers.error),
        "events_today": sum(names.values()),
        "events_recent": sum(by_minute.values()),
        "orders_today": orders.value,
        "conversion_today": conversion.value,
        "conversion_reason": conversion.reason,
        "revenue_today": [
            money(total, json.loads(dimensions)["currency"])
            for dimensions, total in sorted(store.totals("revenue", day, end).items())
        ],
        "minutes": [
            {"minute": when(minute, zone), "events": by_minute.get(minute, 0)}
            for minute in range(recent, end, MINUTE_US)
        ],
        "top_events": [
            {"name": json.loads(dimensions)["name"] or "(no name)", "events": events}
            for dimensions, events in sorted(names.items(), key=lambda kv: (-kv[1], kv[0]))[:_TOP]
        ],
    }
