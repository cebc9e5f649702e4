"""Formulas over series, such as `A / B * 100`: read once, worked out for each period.

sum     = product { ("+" | "-") product }
product = factor { ("*" | "/") factor }
factor  = ["-" | "+"] factor | number | letter | "(" sum ")"
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

MOST_CHARACTERS, MOST_NESTED = 200, 30
_TOKEN = re.compile(r"\s*(?:(\d+(?:\.\d+)?)|([A-Za-z])|([-+*/()]))")
Value: TypeAlias = float | None
Values: TypeAlias = Mapping[str, Value]


class FormulaError(ValueError):
    """The formula cannot be read; the message says where, and what is wanted."""


@dataclass(frozen=True)
class Formula:
    """letters: the series that it reads."""

    text: str
    letters: frozenset[str]
    _work: Callable[[Values], Value]

    def __call__(self, values: Values) -> Value:
        """The result; None where a series has no value, or where it divides by zero."""
        try:
            found = self._work(values)
        except (ZeroDivisionError, OverflowError):
            return None
        return found if found is not None and math.isfinite(found) else None


def read(text: str) -> Formula:
    """Raises FormulaError."""
    if len(text) > MOST_CHARACTERS:
        raise FormulaError(f"formula of {len(text)} characters; at most {MOST_CHARACTERS}")
    reader = _Reader(text)
    work = reader.sum()
    if reader.token:
        raise reader.error("an operator or the end")
    return Formula(text, frozenset(reader.letters), work)


class _Reader:
    """token: the next one; '' at the end."""

    def __init__(self, text: str) -> None:
        self._text, self._at, self._began, self._depth = text, 0, 0, 0
        self.letters: set[str] = set()
        self.token = ""
        self._advance()

    def error(self, wanted: str) -> FormulaError:
        found = repr(self.token) if self.token else "nothing"
        return FormulaError(
            f"formula {self._text!r}: {wanted} wanted at character {self._began + 1}, "
            f"there is {found}"
        )

    def _advance(self) -> None:
        rest = self._text[self._at :]
        self._began = self._at + len(rest) - len(rest.lstrip())
        found = _TOKEN.match(self._text, self._at)
        if found is None:
            self.token = rest.strip()[:1]
            if self.token:
                raise self.error("a number, a letter of a series, + - * / ( or )")
            return
        self.token, self._at = found[0].strip().upper(), found.end()

    def _take(self, *tokens: str) -> str:
        """The next token where it is one of these; else ''."""
        found = self.token if self.token in tokens else ""
        if found:
            self._advance()
        return found

    def sum(self) -> Callable[[Values], Value]:
        left = self.product()
        while sign := self._take("+", "-"):
            left = _joined(sign, left, self.product())
        return left

    def product(self) -> Callable[[Values], Value]:
        left = self.factor()
        while sign := self._take("*", "/"):
            left = _joined(sign, left, self.factor())
        return left

    def factor(self) -> Callable[[Values], Value]:
        self._depth += 1
        if self._depth > MOST_NESTED:
            raise FormulaError(f"formula {self._text!r}: nested deeper than {MOST_NESTED}")
        found = self._factor()
        self._depth -= 1
        return found

    def _factor(self) -> Callable[[Values], Value]:
        if sign := self._take("-", "+"):
            return _joined(sign, lambda values: 0.0, self.factor())
        if self._take("("):
            inner = self.sum()
            if not self._take(")"):
                raise self.error(")")
            return inner
        token = self.token
        if not token or token in "+-*/()":
            raise self.error("a number, a letter or (")
        self._advance()
        if token.isalpha():
            self.letters.add(token)
            return lambda values: values[token]
        return lambda values: float(token)


def _joined(
    sign: str, left: Callable[[Values], Value], right: Callable[[Values], Value]
) -> Callable[[Values], Value]:
    def work(values: Values) -> Value:
        one, other = left(values), right(values)
        if one is None or other is None:
            return None
        match sign:
            case "+":
                return one + other
            case "-":
                return one - other
            case "*":
                return one * other
        return one / other

    return work
