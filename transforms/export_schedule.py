"""When a scheduled export is due, and which days it covers. Times of a project's zone. Pure."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from transforms.grid import first_day

Every = Literal["day", "week", "month"]
_DAY = timedelta(1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def next_slot(after_us: int, every: Every, at: time, zone: str) -> int:
    """The first instant after `after_us` at which it is due, us.

    A week's is on Monday, a month's on the first. Where the clocks jump over `at`, it is as much
    later as they jump; where they show it twice, the first time counts.
    """
    day = _local(after_us, zone).date()
    while (slot := slot_of(day, at, zone)) <= after_us or first_day(day, every) != day:
        day += _DAY
    return slot


def latest_slot(first_us: int, now_us: int, every: Every, at: time, zone: str) -> int:
    """Of the slots from `first_us` on that are past, the last: those that were missed are one."""
    day = first_day(_local(now_us, zone).date(), every)
    while (slot := slot_of(day, at, zone)) > now_us:
        day = first_day(day - _DAY, every)
    return max(slot, first_us)


def slot_of(day: date, at: time, zone: str) -> int:
    """The instant at which a day's clock shows `at`, us."""
    return (datetime.combine(day, at, ZoneInfo(zone)).astimezone(UTC) - _EPOCH) // timedelta(
        microseconds=1
    )


def local_day(at_us: int, zone: str) -> date:
    """The day that an instant is on."""
    return _local(at_us, zone).date()


def days_covered(slot_day: date, every: Every, covered: date | None) -> tuple[date, date] | None:
    """First and last day of a table's rows that the export of a slot holds; None: nothing is new.

    covered: last day that an earlier one held; None: there was none, and it is the period before.
    So days are neither missed nor twice in them, however long nothing ran.
    """
    last = slot_day - _DAY
    first = covered + _DAY if covered else first_day(last, every)
    return (first, last) if first <= last else None


def _local(at_us: int, zone: str) -> datetime:
    return (_EPOCH + timedelta(microseconds=at_us)).astimezone(ZoneInfo(zone))
