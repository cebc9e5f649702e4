"""Values of a query's parameters: read from JSON, of BigQuery's types, and only ever bound."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

MOST = 100
NAME = re.compile(r"[a-z_][a-z0-9_]{0,127}", re.IGNORECASE)
_ARRAY = re.compile(r"ARRAY<(\w+)>")
_INT64 = 1 << 63
_SHOWN = 60  # characters of a bad value


class ParameterError(ValueError):
    """A parameter cannot be used; the message names it, its value, and what is wanted."""


def values_of(given: Any) -> dict[str, Any]:
    """Values by name in lower case, of {"name": value} or {"name": {"type": …, "value": …}}.

    A bare text, number, truth or list of these has the type that JSON says; a text stands for a
    day or an instant where it is compared with one. Types: STRING, INT64, FLOAT64, NUMERIC, BOOL,
    DATE, DATETIME, TIMESTAMP, and ARRAY<…> of one of them. Raises ParameterError.
    """
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise ParameterError('parameters must be an object: {"day": "2026-01-01"}')
    if len(given) > MOST:
        raise ParameterError(f"{len(given)} parameters; at most {MOST} can be given")
    found: dict[str, Any] = {}
    for name, value in given.items():
        if not NAME.fullmatch(name):
            raise ParameterError(
                f"parameter {name[:_SHOWN]!r}: a name is letters, digits and _, and begins with no "
                "digit"
            )
        if name.lower() in found:
            raise ParameterError(f"parameter {name!r} is given twice: case does not count")
        found[name.lower()] = _value(name, value)
    return found


def _value(name: str, given: Any) -> Any:
    if isinstance(given, dict):
        if set(given) != {"type", "value"} or not isinstance(given["type"], str):
            raise ParameterError(
                f'parameter {name!r} must be a value, or {{"type": "DATE", "value": "2026-01-01"}}'
            )
        return _typed(name, given["type"].upper().replace(" ", ""), given["value"])
    if isinstance(given, list):
        kinds = {type(item) for item in given if item is not None}
        if kinds - {str, int, float, bool} or (len(kinds) > 1 and kinds != {int, float}):
            raise ParameterError(f"parameter {name!r}: the values of a list must be of one type")
        return [_value(name, item) for item in given]
    if isinstance(given, int) and not isinstance(given, bool):
        return _whole(given)
    return given


def _typed(name: str, kind: str, value: Any) -> Any:
    array = _ARRAY.fullmatch(kind)
    if array:
        if not isinstance(value, list):
            raise ParameterError(f"parameter {name!r}: the value of {kind} must be a list")
        return [_typed(name, array[1], item) for item in value]
    if kind not in _READ:
        known = ", ".join(_READ)
        raise ParameterError(f"parameter {name!r}: there is no type {kind[:_SHOWN]!r}; use {known}")
    if value is None:
        return None
    read, wanted = _READ[kind]
    try:
        return read(value)
    except (ValueError, TypeError, OverflowError, InvalidOperation):
        shown = str(value)[:_SHOWN]
        raise ParameterError(f"parameter {name}={shown!r} is no {kind}: {wanted}") from None


def _whole(value: Any) -> int:
    if isinstance(value, bool | float):
        raise ValueError
    number = int(value)
    if not -_INT64 <= number < _INT64:
        raise ParameterError(f"{str(number)[:_SHOWN]} is no INT64: 64 bits do not hold it")
    return number


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _true_or_false(value: Any) -> bool:
    text = str(value).lower()
    if text not in ("true", "false"):
        raise ValueError
    return text == "true"


def _exact(value: Any) -> Decimal:
    if isinstance(value, bool):
        raise TypeError
    number = Decimal(str(value))
    if not number.is_finite() or number.adjusted() > 28:
        raise ValueError
    return number


def _float(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError
    return float(value)


def _instant(value: Any) -> datetime:
    at = datetime.fromisoformat(_text(value))
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _local(value: Any) -> datetime:
    at = datetime.fromisoformat(_text(value))
    if at.tzinfo is not None:
        raise ValueError
    return at


_READ: dict[str, tuple[Callable[[Any], Any], str]] = {
    "STRING": (_text, "give a text"),
    "INT64": (_whole, "give a whole number"),
    "FLOAT64": (_float, "give a number"),
    "NUMERIC": (_exact, "give a number, at best as text"),
    "BOOL": (_true_or_false, "give true or false"),
    "DATE": (lambda v: date.fromisoformat(_text(v)), "write it as 2026-01-01"),
    "DATETIME": (_local, "write it as 2026-01-01 12:30:00"),
    "TIMESTAMP": (_instant, "write it as 2026-01-01 12:30:00+00:00"),
}
