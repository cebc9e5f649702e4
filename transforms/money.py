"""Money as whole minor units: exact, in any currency, never a float."""

from __future__ import annotations

from decimal import Context, Decimal, Inexact, InvalidOperation
from functools import cache

from babel.core import get_global
from babel.numbers import get_currency_precision

# A hundred trillion with cents: more is a mistake, and a sum of some hundreds of them
# still fits the 64 bits that every store has.
_MAX = 10**16
# Digits enough for any amount in range; one that has more is refused, never rounded.
_EXACT = Context(prec=100, traps=[InvalidOperation, Inexact])


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
        value = Decimal(amount)
    except (InvalidOperation, ValueError):
        raise MoneyError(f"revenue {amount!r} is no number") from None
    if not value.is_finite() or value.adjusted() > len(str(_MAX)):
        raise MoneyError(f"revenue {amount} {currency} is out of range")
    try:
        minor = value.scaleb(decimals, _EXACT).to_integral_exact(context=_EXACT)
    except Inexact:
        raise MoneyError(
            f"revenue {amount} has more than the {decimals} decimals of {currency}; "
            "round it before sending"
        ) from None
    if abs(minor) > _MAX:
        raise MoneyError(f"revenue {amount} {currency} is out of range")
    return int(minor)
