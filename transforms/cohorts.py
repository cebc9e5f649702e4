"""Cohorts: which people meet a rule, from what is known of each person.

A rule is a tree whose leaves ask one thing of a person: how often she did something, when first,
what her newest value of something is, whether she is on a list. The leaves come as columns, one
item a person; the tree is the same for all, so it is worked out on whole columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Times = Literal["at_least", "at_most", "exactly"]
Combination = Literal["all", "any", "not"]
Mask: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True)
class Leaf:
    """The answer in column `number` of those handed to `members`."""

    number: int


@dataclass(frozen=True)
class Branch:
    """all: every part holds; any: one does; not: none does."""

    how: Combination
    parts: tuple[Tree, ...]


Tree: TypeAlias = Leaf | Branch


def members(tree: Tree, leaves: Sequence[Mask]) -> Mask:
    """Who meets the rule. Raises ValueError for a branch without parts."""
    if isinstance(tree, Leaf):
        return leaves[tree.number]
    if not tree.parts:
        raise ValueError(f"{tree.how!r} of nothing has no meaning; give it at least one condition")
    parts = [members(part, leaves) for part in tree.parts]
    found: Mask = parts[0]
    for part in parts[1:]:
        found = found & part if tree.how == "all" else found | part
    return ~found if tree.how == "not" else found


def did(counts: NDArray[np.int64], times: Times, count: int) -> Mask:
    """Who did it that often; counts are 0 for those who never did."""
    match times:
        case "at_least":
            return counts >= count
        case "at_most":
            return counts <= count
        case "exactly":
            return np.equal(counts, count)


def first_within(firsts: NDArray[np.int64], span: tuple[int, int]) -> Mask:
    """Whose first time (us) lies in [start, end). Never is a number before all spans."""
    return (firsts >= span[0]) & (firsts < span[1])


def newest(met: NDArray[np.bool_], has_value: NDArray[np.bool_], without: bool) -> Mask:
    """Whose newest value met the condition. without: whether having no value meets it."""
    return (has_value & met) | (~has_value & np.bool_(without))


def can_be_silent(tree: Tree, silent: Sequence[bool]) -> bool:
    """Does somebody meet the rule of whom nothing is known? silent: what each leaf says of her."""
    return bool(members(tree, [np.array([value]) for value in silent])[0])
