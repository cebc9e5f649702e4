"""The numbers again, the slow and plain way: loops over dictionaries, nothing of the product."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo


def first_copies(
    rows: Iterable[dict[str, Any]],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(counted, repeats): of equal (project, source, type, id) the first received counts."""
    kept, repeats, seen = [], [], set()
    order = ("received_time", "producer", "seq", "row")
    for row in sorted(rows, key=lambda r: tuple(r.get(c) or 0 for c in order)):
        key = (row["project"], row["source"], row["type"], row["event_id"])
        (repeats if key in seen else kept).append(row)
        seen.add(key)
    return kept, repeats


def person(row: dict[str, Any]) -> str | None:
    return row.get("user_id") or row.get("anonymous_id")


def day_of(row: dict[str, Any], zone: str) -> date:
    at = datetime.fromtimestamp(row["event_time"] / 1e6, UTC)
    return at.astimezone(ZoneInfo(zone)).date()


def daily(rows: list[dict[str, Any]], zone: str) -> dict[date, dict[str, Any]]:
    """Every metric of every day, by day."""
    kept, repeats = first_copies(rows)
    days: dict[date, dict[str, Any]] = defaultdict(
        lambda: {"events": 0, "people": set(), "buyers": set(), "orders": set(),
                 "revenue": defaultdict(int), "names": defaultdict(int), "sessions": 0,
                 "repeats": 0}
    )  # fmt: skip
    last_seen: dict[str, int] = {}
    for row in sorted(kept, key=lambda r: r["event_time"]):
        day, who = days[day_of(row, zone)], person(row)
        day["events"] += 1
        day["names"][row.get("name") or ""] += 1
        if who is not None:
            day["people"].add(who)
            before = last_seen.get(who)
            day["sessions"] += before is None or row["event_time"] - before > 30 * 60 * 1_000_000
            last_seen[who] = row["event_time"]
        if row.get("revenue_minor") is not None:
            day["revenue"][row["currency"]] += row["revenue_minor"]
        if row.get("order_id") is not None and (row.get("revenue_minor") or 0) >= 0:
            day["orders"].add(row["order_id"])
            if who is not None:
                day["buyers"].add(who)
    for row in repeats:
        days[day_of(row, zone)]["repeats"] += 1
    return dict(days)


MINUTE_US = 60_000_000
Live = dict[tuple[str, int, str, str], int]  # project, minute, statistic, dimension value


def timely(rows: Iterable[dict[str, Any]], horizon_us: int) -> list[dict[str, Any]]:
    """Those received soon enough after they happened to move live numbers."""
    return [row for row in rows if row["received_time"] - row["event_time"] <= horizon_us]


def live(rows: Iterable[dict[str, Any]], horizon_us: int = 600_000_000) -> Live:
    """Every live statistic of every minute that has a value."""
    counts: Live = defaultdict(int)
    sets: dict[tuple[str, int, str, str], set[str]] = defaultdict(set)
    kept, _ = first_copies(timely(rows, horizon_us))
    for row in kept:
        minute = row["event_time"] - row["event_time"] % MINUTE_US
        where = (row["project"], minute)
        who, pence, order_id = person(row), row.get("revenue_minor"), row.get("order_id")
        counts[(*where, "events", row.get("name") or "")] += 1
        if pence is not None:
            counts[(*where, "revenue", row["currency"])] += pence
        if who is not None:
            sets[(*where, "people", "")].add(who)
        if order_id is not None and (pence or 0) >= 0:
            sets[(*where, "orders", "")].add(order_id)
            if who is not None:
                sets[(*where, "buyers", "")].add(who)
    return {**counts, **{key: len(found) for key, found in sets.items()}}
