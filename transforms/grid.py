"""The time grid: minutes for live numbers, days of the site's zone for exact ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl

MINUTE_US = 60_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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
