"""Values of a table for people, by unit: one way to write them, for tables, tips and pictures."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from reports.present import money
from transforms.money import MoneyError, exponent

NONE = "\u2013"
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?(Z|[+-]\d\d:?\d\d)?")
_CURRENCY = re.compile(r"\b([A-Z]{3})\b")
_TIMES = ((86_400, "days"), (3600, "h"), (60, "min"), (1, "s"), (0.001, "ms"))
_SIZES = ((1 << 40, "TB"), (1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "kB"), (1, "bytes"))


def number_of(value: Any) -> float | int | None:
    """A value as a number: those beyond 2**53 come as text; None for what is none, as NaN."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        is_whole = isinstance(value, int) or re.fullmatch(r"-?\d+", str(value))
        number = int(value) if is_whole else float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def text(value: Any, unit: str, currency: str = "") -> str:
    """For people. currency: of money, else it is told in minor units."""
    if value is None or value == "":
        return NONE
    if isinstance(value, dict) and "text" in value:
        return str(value["text"])
    if unit == "time":
        return str(value)[:16].replace("T", " ")
    number = number_of(value)
    if unit == "label" or number is None:
        return str(value)
    match unit:
        case "money" if is_currency(currency):
            return str(money(round(number), currency)["text"])
        case "money":
            return f"{number:,} minor units"
        case "ratio":
            return f"{number:.1%}".replace("%", " %")
        case "seconds":
            return duration(number)
        case "bytes":
            return _in_units(number, _SIZES)
    return plain_number(number)


def plain_number(number: float | int) -> str:
    """1,234 or 1,234.5 or 0.0123: whole numbers whole, others with three digits or more."""
    if number == int(number):
        return f"{int(number):,}"
    size = abs(number)
    if size >= 1:
        return f"{number:,.{1 if size >= 100 else 2}f}"
    return f"{number:.3g}"


def duration(seconds: float) -> str:
    """3 days 4 h, 2 min 5 s, 250 ms: the two largest units."""
    if seconds < 0:
        return "-" + duration(-seconds)
    if seconds < 60:
        return _in_units(seconds, _TIMES)
    whole = round(seconds)
    parts: list[str] = []
    for size, name in _TIMES[:4]:
        count, rest = divmod(whole, int(size))
        if count or parts:
            parts.append(f"{count} {name if count != 1 else name.removesuffix('s') or name}")
        whole = rest
    return " ".join(part for part in parts[:2] if not part.startswith("0 "))


def _in_units(number: float, units: Sequence[tuple[float, str]]) -> str:
    size, name = next(((s, n) for s, n in units if abs(number) >= s), units[-1])
    if not number:
        size, name = next((s, n) for s, n in units if s == 1)
    return f"{float(f'{number / size:.3g}'):,.10g} {name}"


def total_text(title: str, value: Any, unit: str) -> str:
    """Of a single number: money has its currency's code in the title, or is {text, …} already."""
    code = next(filter(is_currency, _CURRENCY.findall(title)), "")
    return text(value, unit, code)


def is_currency(code: str) -> bool:
    """Is it one of ISO 4217?"""
    try:
        return exponent(code) >= 0
    except MoneyError:
        return False


@dataclass(frozen=True)
class Scale:
    """How numbers of a unit stand on an axis: divided, with a format of d3 and a word for it."""

    divisor: float = 1
    format: str = "~s"
    word: str = ""


def scale_of(values: Sequence[Any], unit: str, currency: str = "") -> Scale:
    """The axis of these values. Money: of one currency, in its whole units."""
    numbers = [abs(n) for n in map(number_of, values) if n is not None]
    most = max(numbers, default=0)
    match unit:
        case "ratio":
            return Scale(format=".1%" if most < 0.05 else ".0%")
        case "money" if is_currency(currency):
            divisor = 10 ** exponent(currency)
            return Scale(divisor, "~s" if most >= 10_000 * divisor else ",f", currency)
        case "seconds" | "bytes":
            units = _TIMES if unit == "seconds" else _SIZES
            size, word = next(((s, w) for s, w in units if most >= s), units[-2])
            return Scale(size, ",f", word)
        case "count":
            # Marks between whole numbers are nothing where there are few.
            return Scale(format="~s" if most >= 10_000 else ",d" if most >= 5 else ",f")
    return Scale(format="~s" if most >= 10_000 else ",f")


def is_day(value: Any) -> bool:
    """Is it an ISO day?"""
    return isinstance(value, str) and bool(_DAY.fullmatch(value))


def is_time(value: Any) -> bool:
    """Is it an ISO day or instant?"""
    return is_day(value) or (isinstance(value, str) and bool(_INSTANT.fullmatch(value)))


def wall_clock_ms(value: str) -> int:
    """What the clock on the wall of the project's zone shows, as ms since 1970 on that clock."""
    shown = datetime.fromisoformat(value).replace(tzinfo=None)
    return round((shown - datetime(1970, 1, 1)).total_seconds() * 1000)
