"""The time grid: minutes for live numbers, hours to months of the site's zone for exact ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Literal, assert_never, get_args
from zoneinfo import ZoneInfo

import polars as pl

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)


def minute_of(column: str = "event_time") -> pl.Expr:
    """Start of the minute, int64 us."""
    return pl.col(column) // MINUTE_US * MINUTE_US


def local_day(column: str, zone: str) -> pl.Expr:
    """The calendar day in `zone` on which an instant (int64 us UTC) falls."""
    instant = pl.from_epoch(pl.col(column), time_unit="us").dt.replace_time_zone("UTC")
    return instant.dt.convert_time_zone(zone).dt.date()


def add_local_day(batch: pl.DataFrame, zones: Mapping[str, str]) -> pl.DataFrame:
    """`batch` with a `day` column: each row's day in the zone of its project (default UTC)."""
    day = pl.lit(None, pl.Date)
    projects = batch["project"].unique().to_list()
    for zone in sorted({zones.get(p, "UTC") for p in projects}):
        there = [p for p in projects if zones.get(p, "UTC") == zone]
        day = (
            pl.when(pl.col("project").is_in(there))
            .then(local_day("event_time", zone))
            .otherwise(day)
        )
    return batch.with_columns(day=day)


def day_span_us(day: date, zone: str) -> tuple[int, int]:
    """First instant of the day and first instant after it, in us: 23, 24 or 25 hours apart."""
    return _midnight_us(day, zone), _midnight_us(day + timedelta(days=1), zone)


def _midnight_us(day: date, zone: str) -> int:
    midnight = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))
    return (midnight.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)


def local_days_of(utc_days: Iterable[date], zone: str) -> set[date]:
    """All local days that share an instant with one of the UTC days."""
    found = set()
    for day in utc_days:
        start, end = day_span_us(day, "UTC")
        for instant in (start, end - 1):
            local = _EPOCH + timedelta(microseconds=instant)
            found.add(local.astimezone(ZoneInfo(zone)).date())
    return found


# -- Periods of the exact tables: hours, days, ISO weeks and months of the site's zone.

Grain = Literal["hour", "day", "week", "month"]
GRAINS: tuple[Grain, ...] = get_args(Grain)


def add_periods(batch: pl.DataFrame, zones: Mapping[str, str]) -> pl.DataFrame:
    """`batch` with `hour`, `day`, `week` and `month` of each row in the zone of its project.

    hour:  first instant of the hour on the local clock, int64 us UTC: the hour that comes twice
           when the clocks go back is two, and half-hour zones have their own hours
    day, week, month: the period's first day; weeks begin on Monday, as in ISO 8601
    """
    hour = pl.lit(None, pl.Int64)
    projects = batch["project"].unique().to_list()
    for zone in sorted({zones.get(p, "UTC") for p in projects}):
        there = pl.col("project").is_in([p for p in projects if zones.get(p, "UTC") == zone])
        hour = pl.when(there).then(_local_hour("event_time", zone)).otherwise(hour)
    return add_local_day(batch, zones).with_columns(
        hour=hour,
        week=pl.col("day").dt.truncate("1w"),
        month=pl.col("day").dt.truncate("1mo"),
    )


def first_day(day: date, grain: Grain) -> date:
    """First day of the period that `day` lies in; of an hour and a day the day itself."""
    match grain:
        case "hour" | "day":
            return day
        case "week":
            return day - timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)
        case _:
            assert_never(grain)


def last_day(first: date, grain: Grain) -> date:
    """Last day of the period that begins with `first`."""
    match grain:
        case "hour" | "day":
            return first
        case "week":
            return first + timedelta(days=6)
        case "month":
            return (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
        case _:
            assert_never(grain)


def period_span_us(first: date, grain: Grain, zone: str) -> tuple[int, int]:
    """First instant of a period and first instant after it, in us; for an hour: of its day."""
    return _midnight_us(first, zone), _midnight_us(last_day(first, grain) + _DAY, zone)


def _local_hour(column: str, zone: str) -> pl.Expr:
    instant = pl.from_epoch(pl.col(column), time_unit="us").dt.replace_time_zone("UTC")
    clock = instant.dt.convert_time_zone(zone).dt.replace_time_zone(None).dt.timestamp("us")
    return pl.col(column) - clock % HOUR_US
