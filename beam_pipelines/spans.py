"""Ranges of days as people write them."""

from __future__ import annotations

from datetime import date

from beam_pipelines.connectors.uri import UriError
from transforms.grid import day_span_us

BEGINNING_US, END_US = -(1 << 62), 1 << 62


def span_us(first: str, last: str) -> tuple[int, int]:
    """[start, end) in us of the UTC days from `first` to `last`; empty: no bound.

    Raises UriError for what is no day.
    """
    start, end = days(first, last)
    since = BEGINNING_US if start is None else day_span_us(start, "UTC")[0]
    return since, END_US if end is None else day_span_us(end, "UTC")[1]


def days(first: str, last: str) -> tuple[date | None, date | None]:
    """--from and --to as days; None: no bound. Raises UriError."""
    start, end = _day(first, "from"), _day(last, "to")
    if start and end and end < start:
        raise UriError(f"--to={last} lies before --from={first}")
    return start, end


def _day(text: str, flag: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise UriError(f"--{flag}={text!r} is no day; write YYYY-MM-DD") from None
