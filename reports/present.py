"""How values are shown: money with its own decimals, times in the site's zone."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from babel.numbers import format_currency

from transforms.money import exponent

_LOCALE = "en_GB"


def money(minor: int, currency: str) -> dict[str, Any]:
    """An exact amount: minor units for programs, text for people."""
    major = Decimal(minor).scaleb(-exponent(currency))
    return {
        "currency": currency,
        "minor": minor,
        "text": format_currency(major, currency, locale=_LOCALE, decimal_quantization=False),
    }


def when(instant_us: int | None, zone: str) -> str | None:
    """An instant as ISO 8601 in the zone, to the second."""
    if instant_us is None:
        return None
    at = datetime.fromtimestamp(instant_us / 1e6, UTC).astimezone(ZoneInfo(zone))
    return at.isoformat(timespec="seconds")


def percent(value: float | None) -> str:
    """0.1234 -> 12.3 %; a dash for no value."""
    return "\u2013" if value is None else f"{value:.1%}".replace("%", " %")
