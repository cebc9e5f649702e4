"""Of all panes the newest counts, in whatever order and batches they come."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from schemas_avro import derive, load
from transforms.panes import final_until, newest, wanted

MINUTE = 60_000_000
TIMINGS = ("early", "on_time", "late", "late")
PANE = st.tuples(st.sampled_from("ab"), st.integers(0, 2), st.integers(1, 3), st.integers(0, 3))
PANES = st.lists(PANE, unique=True, max_size=20)


def frame(panes) -> pl.DataFrame:
    rows = [
        {"project": "p", "statistic": "s", "dimensions": d, "minute": m * MINUTE, "total": i,
         "pane": TIMINGS[i], "pane_index": i, "run": r, "updated_at": 0}
        for d, m, r, i in panes
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=derive.wire(load("live_value")), orient="row")


@given(PANES, st.randoms(), st.integers(0, 20))
def test_the_newest_of_each_number(panes, rng, cut) -> None:
    best: dict[tuple[str, int], tuple[int, int]] = {}
    for d, m, r, i in panes:
        best[d, m] = max(best.get((d, m), (0, 0)), (r, i))
    shuffled = rng.sample(panes, len(panes))
    parts = [newest(frame(shuffled[:cut])), newest(frame(shuffled[cut:]))]
    found = newest(pl.concat([*parts, parts[0]]))
    assert {(row["dimensions"], row["minute"] // MINUTE): (row["run"], row["pane_index"])
            for row in found.to_dicts()} == best  # fmt: skip
    assert found.height == len(best)
    assert found["minute"].is_sorted()


@given(PANES)
def test_final_is_the_end_of_the_newest_minute_that_is_over(panes) -> None:
    over = [(m + 1) * MINUTE for _, m, _, i in panes if i > 0]
    assert final_until(frame(panes)) == max(over, default=None)


def test_a_minute_that_a_store_holds_is_taken_when_it_is_over_again() -> None:
    rows = frame([("a", minute, 2, index) for minute in (0, 1, 2) for index in (0, 1, 2)])
    taken = wanted(rows, from_us=MINUTE, held_us=2 * MINUTE)
    found = sorted((row["minute"] // MINUTE, row["pane"]) for row in taken.to_dicts())
    assert found == [(1, "late"), (1, "on_time"), (2, "early"), (2, "late"), (2, "on_time")]
