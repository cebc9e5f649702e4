"""Series over time: their periods, what was there a period before, and what is made of values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TypeAlias
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from transforms.compiled import compiled
from transforms.grid import HOUR_US, Grain, day_span_us, first_day, last_day

_DAY = timedelta(days=1)
_SECOND_US = 1_000_000
_GAP_US = 30 * 60 * _SECOND_US
Value: TypeAlias = float | int | None


@dataclass(frozen=True)
class Period:
    """[start, end) in us. label: ISO day, or of an hour ISO 8601 with its offset from UTC.

    key: of an hour the first instant of the hour on the local clock, us, as in exact tables: it is
         `start` but for hours that a change of the clocks cuts
    """

    label: str
    first: date
    start: int
    end: int
    key: int
    is_cut: bool = False


@dataclass(frozen=True)
class Grid:
    """The periods of some days without a gap. The first and the last may be cut by the days."""

    grain: Grain
    zone: str
    periods: tuple[Period, ...]

    @classmethod
    def of(cls, days: tuple[date, date], grain: Grain, zone: str) -> Grid:
        """The periods of days, both included, in a time zone."""
        if grain == "hour":
            return cls(grain, zone, tuple(_hours(days, zone)))
        found = []
        day = days[0]
        while day <= days[1]:
            first = first_day(day, grain)
            end = min(last_day(first, grain), days[1])
            start_us, end_us = day_span_us(day, zone)[0], day_span_us(end, zone)[1]
            is_cut = (day, end) != (first, last_day(first, grain))
            found.append(Period(day.isoformat(), first, start_us, end_us, start_us, is_cut))
            day = end + _DAY
        return cls(grain, zone, tuple(found))

    @property
    def span(self) -> tuple[int, int]:
        """[start, end) of all, us."""
        return self.periods[0].start, self.periods[-1].end

    def unit(self) -> int:
        """The longest stretch of time, us, of which every period has a whole number."""
        start = self.periods[0].start
        return math.gcd(*(period.end - start for period in self.periods))

    def numbers(self) -> NDArray[np.int32]:
        """For each unit from the start on, the number of its period."""
        unit = self.unit()
        lengths = [(period.end - period.start) // unit for period in self.periods]
        return np.repeat(np.arange(len(self.periods), dtype=np.int32), lengths)


def most_periods(days: tuple[date, date], grain: Grain) -> int:
    """About how many periods there would be."""
    count = (days[1] - days[0]).days + 1
    return {"hour": count * 24, "day": count, "week": count // 7, "month": count // 30}[grain]


def _hours(days: tuple[date, date], zone: str) -> list[Period]:
    found = []
    place = ZoneInfo(zone)
    day = days[0]
    while day <= days[1]:
        at, end = day_span_us(day, zone)
        while at < end:
            key = at - _clock_us(at, place) % HOUR_US
            until = min(_hour_end(at, key, place), end)
            label = _local(at, place).isoformat(timespec="minutes")
            found.append(Period(label, day, at, until, key))
            at = until
        day += _DAY
    return found


def _hour_end(at: int, key: int, zone: ZoneInfo) -> int:
    """First instant of the next hour on the local clock."""
    end = key + HOUR_US
    if _clock_us(end - 1, zone) - _clock_us(at, zone) == end - 1 - at:
        return end
    low, high = at // _SECOND_US, -(-end // _SECOND_US)  # clocks change at whole seconds
    while high - low > 1:
        middle = (low + high) // 2 * _SECOND_US
        same = _clock_us(middle, zone) - _clock_us(at, zone) == middle - at
        low, high = (middle // _SECOND_US, high) if same else (low, middle // _SECOND_US)
    change = high * _SECOND_US
    return end if change - _clock_us(change, zone) % HOUR_US == key else change


def _local(us: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(us // _SECOND_US, UTC).astimezone(zone)


def _clock_us(us: int, zone: ZoneInfo) -> int:
    """What the clock on the wall shows, as if it were UTC."""
    offset = _local(us, zone).utcoffset()
    assert offset is not None
    return us + offset // timedelta(microseconds=1)


def days_before(
    days: tuple[date, date], grain: Grain, *, same_weekdays: bool = False
) -> tuple[date, date]:
    """As many periods right before, cut as these are.

    same_weekdays: so many whole weeks before that no day is in both
    """
    first, last = days
    if grain == "month":
        months = (last.year - first.year) * 12 + last.month - first.month + 1
        is_end = last == last_day(first_day(last, grain), grain)
        return _months_back(first, months), _months_back(last, months, is_end=is_end)
    count = (last - first).days + 1
    if grain == "week":
        count = (first_day(last, grain) - first_day(first, grain)).days + 7
    elif same_weekdays:
        count = -(-count // 7) * 7
    return first - timedelta(count), last - timedelta(count)


def _months_back(day: date, months: int, *, is_end: bool = False) -> date:
    """The same day of an earlier month, or its last one."""
    number = day.year * 12 + day.month - 1 - months
    first = date(number // 12, number % 12 + 1, 1)
    end = last_day(first, "month")
    return end if is_end else min(end, first + timedelta(day.day - 1))


def partners(grid: Grid, before: Grid) -> list[int | None]:
    """Of each period the number of the one before that it is compared to.

    Hours are those of the same name on the clock: where it has none that day, there is no partner.
    """
    if grid.grain != "hour":
        count = len(before.periods)
        return [number if number < count else None for number in range(len(grid.periods))]
    known = {name: number for number, name in enumerate(_names(before))}
    return [known.get(name) for name in _names(grid)]


def _names(grid: Grid) -> list[tuple[int, str, int]]:
    """Of each hour: which day, what the clock shows, and which of that name."""
    first = grid.periods[0].first
    seen: dict[tuple[int, str], int] = {}
    names = []
    for period in grid.periods:
        name = ((period.first - first).days, period.label[11:16])
        seen[name] = seen.get(name, -1) + 1
        names.append((*name, seen[name]))
    return names


def moving_average(values: Sequence[Value], count: int) -> list[Value]:
    """Mean of so many values up to each; None where there are fewer, or one has no value."""
    found: list[Value] = []
    for end in range(1, len(values) + 1):
        there = [value for value in values[max(0, end - count) : end] if value is not None]
        found.append(math.fsum(there) / count if len(there) == count else None)
    return found


def cumulative(values: Sequence[Value]) -> list[Value]:
    """Sum of the values up to each."""
    total: float | int = 0
    found: list[Value] = []
    for value in values:
        total += value or 0
        found.append(total)
    return found


def visits(
    person: NDArray[np.uint64],
    time: NDArray[np.int64],
    matching: NDArray[np.bool_],
    midnights: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Numbers of the rows that are the first matching one of their visit.

    Rows are sorted by person and time; all events of the person are there, from two days before the
    first that counts. A visit is one of `transforms.sessions`: no gap of more than 30 minutes, and
    it ends at the second midnight. midnights: of the site's zone, sorted, us; the first of them
    lies before every row.
    """
    days = np.searchsorted(midnights, time, side="right").astype(np.int64)
    taken = np.zeros(len(person), np.bool_)
    _visits(person, time, matching, days, taken)
    return np.flatnonzero(taken)


@compiled
def _visits(
    person: NDArray[np.uint64],
    time: NDArray[np.int64],
    matching: NDArray[np.bool_],
    days: NDArray[np.int64],
    taken: NDArray[np.bool_],
) -> None:
    began = np.int64(0)  # day on which the chain without a gap began
    is_open = False  # the visit has no matching event yet
    for at in range(len(person)):
        gap = at == 0 or person[at] != person[at - 1] or time[at] - time[at - 1] > _GAP_US
        if gap:
            began, is_open = days[at], True
        elif days[at] != days[at - 1] and days[at] - began >= 2:
            is_open = True
        if is_open and matching[at]:
            taken[at] = True
            is_open = False
