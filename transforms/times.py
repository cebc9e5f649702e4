"""When an event happened: the sender's clock, corrected and never trusted beyond receipt."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
OLDEST_US = 946_684_800_000_000  # 2000-01-01: a device that says less never had its clock set
YEARS_US = (-62_135_596_800_000_000, 253_402_300_799_999_999)  # 0001-01-01 to 9999-12-31
SKEW_US = 1_000_000  # differences below a second are the network, not the clock


class TimeError(ValueError):
    """The text or number is no time."""


def parse_us(value: str | int | float) -> int:
    """ISO 8601 text (UTC where it has no offset) or epoch milliseconds -> us. Raises TimeError."""
    try:
        if isinstance(value, str):
            instant = datetime.fromisoformat(value)
            if instant.tzinfo is None:
                instant = instant.replace(tzinfo=UTC)
            at = (instant - _EPOCH) // _MICROSECOND
        else:
            at = round(value * 1000)
    except (ValueError, OverflowError):
        at = None
    if at is None or not YEARS_US[0] <= at <= YEARS_US[1]:
        raise TimeError(f"time {value!r} is unreadable; send ISO 8601 or epoch milliseconds")
    return at
