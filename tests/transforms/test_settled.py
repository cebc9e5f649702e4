"""A file's mark holds while `repeats` says the same of the file's own blocks, and not longer."""

from __future__ import annotations

import polars as pl
import pytest

from transforms.positions import Positions
from transforms.settled import COPIES, KNOWN, ONCE, Mark, kind_of, suffix

BLOCKS = Positions.of([("a", 1, 3), ("b", 7, 7)])
COPIES_THEN = [("shop", "a", 1, 5), ("shop", "b", 7, 0), ("blog", "a", 3, 2), ("shop", "a", 9, 1)]


def known(rows: list[tuple[str, str, int, int]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=KNOWN, orient="row")


def test_the_order_of_rows_and_a_way_through_json_change_nothing() -> None:
    mark = Mark.of(BLOCKS, known(COPIES_THEN))
    assert mark.states.keys() == {"shop", "blog"}
    assert Mark.from_json(mark.to_json()) == mark
    assert mark.is_true(known(COPIES_THEN[::-1]))


@pytest.mark.parametrize(
    ("now", "shop", "blog"),
    [
        ([*COPIES_THEN, ("shop", "a", 4, 0)], True, True),  # a new copy, in a new block
        (COPIES_THEN[:-1], True, True),  # one of another block counts now
        ([*COPIES_THEN, ("shop", "a", 2, 0)], False, True),  # of the file, or its neighbour's
        (COPIES_THEN[1:], False, True),
        ([*COPIES_THEN[:2], ("blog", "a", 3, 3)], True, False),
        ([], False, False),
    ],
)
def test_only_what_changes_in_the_file_s_blocks_counts(
    now: list[tuple[str, str, int, int]], shop: bool, blog: bool
) -> None:
    mark = Mark.of(BLOCKS, known(COPIES_THEN))
    assert mark.is_true(known(now)) == (shop and blog)
    for project, true in (("shop", shop), ("blog", blog), ("none", True)):
        own = [row for row in now if row[0] == project]
        assert mark.is_true_of(project, known(own)) == true


def test_a_file_without_copies_is_true_while_there_are_none() -> None:
    mark = Mark.of(BLOCKS, known([]))
    assert mark.is_true(known([]))
    assert mark.is_true(known([("shop", "a", 4, 0)]))
    assert not mark.is_true(known(COPIES_THEN))


def test_kinds_are_told_by_names() -> None:
    stem = "/w/2026-05-04-0123456789abcdef"
    assert kind_of(f"{stem}{suffix(ONCE)}.parquet") == ONCE
    assert kind_of(f"{stem}{suffix(COPIES)}.parquet") == COPIES
    assert kind_of(f"{stem}.parquet") is None
