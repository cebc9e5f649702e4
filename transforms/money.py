"""Money as whole minor units: exact, in any currency, never a float."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from functools import cache

from babel.core import get_global
from babel.numbers import get_currency_precision

_MAX = 2**63 - 1


class MoneyError(ValueError):
    """The amount or the currency cannot be used; the message names it and the remedy."""


@cache
def exponent(currency: str) -> int:
    """Decimals of a currency by ISO 4217: 2 for GBP, 0 for JPY. Raises MoneyError."""
    if currency not in get_global("all_currencies"):
        raise MoneyError(f"currency {currency!r} is unknown; send its ISO 4217 code, such as EUR")
    return int(get_currency_precision(currency))


def to_minor(amount: Decimal | str | int, currency: str) -> int:
    """`12.50` GBP -> 1250. Raises MoneyError for what is no exact amount of that currency."""
    decimals = exponent(currency)
    try:
        minor = Decimal(amount).scaleb(decimals)
    except (InvalidOperation, ValueError):
        raise MoneyError(f"revenue {amount!r} is no number") from None
    if not minor.is_finite() or abs(minor) > _MAX:
        raise MoneyError(f"revenue {amount} {currency} is out of range")
    if minor != minor.to_integral_value():
        raise MoneyError(
            f"revenue {amount} has more than the {decimals} decimals of {currency}; "
            "round it before sending"
        )
    return int(minor)
