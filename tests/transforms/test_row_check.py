"""Rows that another system would refuse are found before, the rest go on."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas_avro import derive, load
from transforms.row_check import REASON, Limits, split

RECORD = load("live_value")
KEY = ("project", "statistic", "dimensions")
GOOD = {
    "project": "p", "statistic": "s", "dimensions": "{}", "minute": 0, "total": 1, "sketch": None,
    "pane": "early", "pane_index": 0, "run": 1, "updated_at": 1,
}  # fmt: skip


def frame(*rows: dict[str, object]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=derive.wire(RECORD), orient="row")


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("project", None, "project is missing"),
        ("minute", None, "minute is missing"),
        ("minute", 2**62, "minute = 4611686018427387904 us is in no year 1-9999"),
        ("updated_at", -(2**62), "updated_at = -4611686018427387904 us is in no year 1-9999"),
        ("sketch", b"x" * 1000, "row of 1049 bytes, at most 500"),
        ("dimensions", "é" * 20, "key of 42 bytes, at most 30"),
    ],
)
def test_one_bad_row_of_many_is_named_and_the_rest_go_on(field, value, why) -> None:
    rows = frame(*[GOOD] * 50, {**GOOD, field: value}, *[GOOD] * 50)
    fit, refused = split(rows, RECORD, Limits(500, KEY, 30))
    assert fit.equals(frame(*[GOOD] * 100))
    assert refused[REASON].to_list() == [why]


def test_a_column_that_is_not_there_is_missing_in_every_row() -> None:
    fit, refused = split(frame(GOOD, GOOD).drop("run"), RECORD, Limits(500))
    assert fit.height == 0
    assert refused[REASON].to_list() == ["run is missing"] * 2


def test_nothing_is_nothing() -> None:
    assert [part.height for part in split(frame(), RECORD, Limits(1))] == [0, 0]


@given(st.lists(st.tuples(st.text(max_size=30), st.none() | st.binary(max_size=60)), max_size=20))
def test_sizes_are_those_of_a_loop(drawn) -> None:
    rows = [{**GOOD, "dimensions": text, "sketch": sketch} for text, sketch in drawn]
    fit, refused = split(frame(*rows), RECORD, Limits(100))

    def size(row) -> int:
        texts = ("project", "statistic", "dimensions", "pane")
        return sum(len(row[t].encode()) for t in texts) + len(row["sketch"] or b"") + 5 * 8

    assert fit.to_dicts() == [row for row in rows if size(row) <= 100]
    assert refused.height == sum(size(row) > 100 for row in rows)


def test_limits_that_make_no_sense_are_refused() -> None:
    for bad in ({"row_bytes": 0}, {"row_bytes": 1, "key": KEY}, {"row_bytes": 1, "key_bytes": 5}):
        with pytest.raises(ValueError, match="a key has a size"):
            Limits(**bad)
