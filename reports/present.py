"""How values are shown: money with its own decimals, times in the site's zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from babel.numbers import format_currency, get_currency_symbol

from transforms.money import exponent

_LOCALE = "en_GB"
_NONE = "\u2013"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def money(minor: int, currency: str) -> dict[str, Any]:
    """An exact amount: minor units for programs, text for people."""
    major = Decimal(minor).scaleb(-exponent(currency))
    # A code in place of a symbol, such as KWD, stands off from the digits.
    letters = get_currency_symbol(currency, locale=_LOCALE)[-1].isalpha()
    text = format_currency(
        major,
        currency,
        "¤\u00a0#,##0.00" if letters else None,
        locale=_LOCALE,
        decimal_quantization=False,
    )
    return {"currency": currency, "minor": minor, "text": text}


def when(instant: int | datetime | None, zone: str) -> str | None:
    """An instant, in us or as a datetime with a zone, as ISO 8601 in `zone`, to the second."""
    if instant is None:
        return None
    if isinstance(instant, int):
        instant = _EPOCH + timedelta(microseconds=instant)
    return instant.astimezone(ZoneInfo(zone)).isoformat(timespec="seconds")


def clock(iso: str | None) -> str:
    """What `when` gave, for people: 2010-12-01 08:26:00; a dash for none."""
    return iso[:19].replace("T", " ") if iso else _NONE


def percent(value: float | None) -> str:
    """0.1234 -> 12.3 %; a dash for no value."""
    return _NONE if value is None else f"{value:.1%}".replace("%", " %")


def number(value: int | None) -> str:
    """1234 -> 1,234; a dash for no value."""
    return _NONE if value is None else f"{value:,}"
