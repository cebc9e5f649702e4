"""Which periods new arrivals change, and what has to be read to compute them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from transforms.exact import Periods
from transforms.grid import Grain, first_day, last_day, local_days_of, period_span_us
from transforms.positions import merge
from transforms.repeats import EVENT_REACH_US, ORDER_REACH_US
from transforms.sessions import GAP_US

Spans = Mapping[str, tuple[tuple[int, int], ...]]  # by project, [start, end) in us
Days = Mapping[str, Set[date]]

_DAY = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A new event takes the place of a later received copy of itself on the day before or after. That
# can move the start of a session until the second midnight from there.
CHANGED = range(-1, 4)
CHANGED_SESSIONS = range(-2, 4)  # and a session holds events of the day after its start


def changed_days(
    touched: Days, zones: Mapping[str, str], received_until: int, around: range = CHANGED
) -> Days:
    """Local days whose numbers the arrivals on UTC days `touched` can change.

    received_until: no event happened after it, in us
    """
    return {
        project: _around(local_days_of(days, zone), around, _local_day(received_until, zone))
        for project, days, zone in _with_zones(touched, zones)
    }


def _around(days: Iterable[date], offsets: Iterable[int], last: date) -> set[date]:
    found = {day + _DAY * n for day in days for n in offsets}
    return {day for day in found if day <= last}


def _local_day(instant_us: int, zone: str) -> date:
    return (_EPOCH + timedelta(microseconds=instant_us)).astimezone(ZoneInfo(zone)).date()


def _with_zones(days: Days, zones: Mapping[str, str]) -> Iterable[tuple[str, Set[date], str]]:
    return [(project, found, zones.get(project, "UTC")) for project, found in days.items()]


def periods_of(days: Days, grains: Iterable[Grain]) -> Periods:
    """The periods that the local days lie in, by grain."""
    return {
        grain: {
            (project, first_day(day, grain)) for project, found in days.items() for day in found
        }
        for grain in grains
    }


def reads_of(periods: Periods, zones: Mapping[str, str], days_after: int = 0) -> Spans:
    """Events that must be read to compute the periods, and what goes on for some days after.

    Before a period, the day before it and half an hour: whether its first event goes on with a
    session of that day, or with one of the day before that and so begins a new one. And on both
    sides as far as copies of an event may lie apart.
    """
    found: dict[str, list[tuple[int, int]]] = {}
    for grain, wanted in periods.items():
        for project, first in wanted:
            zone = zones.get(project, "UTC")
            before, _ = period_span_us(first - _DAY, "day", zone)
            _, end = period_span_us(last_day(first, grain) + _DAY * days_after, "day", zone)
            span = (before - GAP_US - EVENT_REACH_US, end + EVENT_REACH_US)
            found.setdefault(project, []).append(span)
    return {project: merge(spans) for project, spans in found.items()}


def order_reads_of(spans: Spans) -> Spans:
    """Events to look at for orders that were counted outside of what is read."""
    return {
        project: merge((start - ORDER_REACH_US, end + ORDER_REACH_US) for start, end in ranges)
        for project, ranges in spans.items()
    }
