"""Exact periods, orders and sessions again, by plain loops over all events at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tests.brute import person

Row = dict[str, Any]
HOUR_US = 3_600_000_000
_TWO_DAYS = timedelta(days=2)
EVENT_REACH_US, ORDER_REACH_US = 23 * HOUR_US, 32 * 24 * HOUR_US


def _order(row: Row) -> tuple[Any, ...]:
    return tuple(row.get(c) or 0 for c in ("received_time", "producer", "seq", "row"))


def counted(rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """(events that count, copies of them); of a repeated order later events lose the order."""
    rows = list(rows)
    copies = _groups(rows, _id)
    orders = _groups([r for r in rows if _is_whole_order(r)], _order_key)
    settled, repeats = [], []
    for row in rows:
        if _has_earlier(row, copies[_id(row)], _order, EVENT_REACH_US):
            repeats.append(row)
        elif _is_whole_order(row) and _has_earlier(
            row, orders[_order_key(row)], _unpaid_last, ORDER_REACH_US
        ):
            settled.append({**row, "order_id": None, "revenue_minor": None, "currency": None})
        else:
            settled.append(row)
    return settled, repeats


def _groups(rows: Iterable[Row], key: Any) -> dict[Any, list[Row]]:
    found: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        found[key(row)].append(row)
    return found


def is_order(row: Row) -> bool:
    return row.get("order_id") is not None and (row.get("revenue_minor") or 0) >= 0


def _is_whole_order(row: Row) -> bool:
    return is_order(row) and (row.get("name") or "").lower() == "order completed"


def _id(row: Row) -> tuple[Any, ...]:
    return tuple(row[c] for c in ("project", "source", "type", "event_id"))


def _order_key(row: Row) -> tuple[Any, ...]:
    return row["project"], row["order_id"]


def _unpaid_last(row: Row) -> tuple[Any, ...]:
    return not (row.get("revenue_minor") or 0) > 0, *_order(row)


def _has_earlier(row: Row, same: list[Row], order: Any, reach: int) -> bool:
    return any(
        other is not row
        and order(other) < order(row)
        and abs(other["event_time"] - row["event_time"]) <= reach
        for other in same
    )


def local(us: int, zone: str) -> datetime:
    return datetime.fromtimestamp(us // 1_000_000, UTC).astimezone(ZoneInfo(zone))


def period_of(us: int, grain: str, zone: str) -> date | datetime:
    """Hours as the instant in UTC they begin, others as their first day."""
    at = local(us, zone)
    match grain:
        case "hour":
            return at.replace(minute=0, second=0).astimezone(UTC)
        case "day":
            return at.date()
        case "week":
            return date.fromisocalendar(*at.date().isocalendar()[:2], 1)
    return at.date().replace(day=1)


def sessions(rows: Iterable[Row], zone: str) -> list[list[Row]]:
    """Events of each session, in order; a session ends at the second midnight."""
    by_person: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if person(row) is not None:
            by_person[row["project"], person(row)].append(row)  # type: ignore[index]
    found: list[list[Row]] = []
    for events in by_person.values():
        events.sort(key=lambda r: (r["event_time"], r["event_id"]))
        began = date.max  # of the chain without a gap
        before: Row | None = None
        for row in events:
            day = local(row["event_time"], zone).date()
            if before is None or row["event_time"] - before["event_time"] > HOUR_US // 2:
                began = day
                found.append([])
            elif day > local(before["event_time"], zone).date() and day - began >= _TWO_DAYS:
                found.append([])
            found[-1].append(row)
            before = row
    return found


def periods(rows: list[Row], grain: str, zone: str) -> dict[date | datetime, dict[str, Any]]:
    """Every number of every period of a grain."""
    settled, repeats = counted(rows)
    found: dict[date | datetime, dict[str, Any]] = defaultdict(
        lambda: {"events": 0, "people": set(), "buyers": set(), "orders": set(), "sessions": 0,
                 "revenue": defaultdict(int), "names": defaultdict(int), "repeats": 0}
    )  # fmt: skip
    for row in settled:
        one, who = found[period_of(row["event_time"], grain, zone)], person(row)
        one["events"] += 1
        one["names"][row.get("name") or ""] += 1
        bought = is_order(row)
        if who is not None:
            one["people"].add(who)
            if bought:
                one["buyers"].add(who)
        if row.get("revenue_minor") is not None:
            one["revenue"][row["currency"]] += row["revenue_minor"]
        if bought:
            one["orders"].add(row["order_id"])
    for row in repeats:
        found[period_of(row["event_time"], grain, zone)]["repeats"] += 1
    for session in sessions(settled, zone):
        found[period_of(session[0]["event_time"], grain, zone)]["sessions"] += 1
    for one in found.values():
        one.update({name: len(one[name]) for name in ("people", "buyers", "orders")})
        one["revenue"], one["names"] = dict(one["revenue"]), dict(one["names"])
    return dict(found)
