"""Statistics -> the numbers people read, with a reason where there is none."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ratio:
    """numerator / denominator; `value` is None, and `reason` says why, where it has no meaning."""

    numerator: int
    denominator: int
    value: float | None
    reason: str = ""


def ratio(numerator: int, denominator: int, *, of: str) -> Ratio:
    """`of` names what is counted below the line, for the reason."""
    if denominator == 0:
        return Ratio(numerator, 0, None, f"not computable: no {of}")
    return Ratio(numerator, denominator, numerator / denominator)
