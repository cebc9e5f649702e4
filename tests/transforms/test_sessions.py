"""Sessions against a plain loop, at the edge of the gap too."""

from __future__ import annotations

from collections import defaultdict

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from transforms.sessions import GAP_US, mark_starts

EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["u", None]),
        st.sampled_from(["a", "b", None]),
        st.integers(0, 8).map(lambda n: n * GAP_US // 2),
    ),
    max_size=25,
)


@given(EVENTS)
def test_starts_are_events_with_no_other_within_the_gap_before(events: list[tuple]) -> None:  # type: ignore[type-arg]
    rows = [
        {"project": "p", "user_id": u, "anonymous_id": a, "event_time": t, "event_id": str(n)}
        for n, (u, a, t) in enumerate(events)
    ]
    types = {"project": pl.String, "user_id": pl.String, "anonymous_id": pl.String,
             "event_time": pl.Int64, "event_id": pl.String}  # fmt: skip
    marked = mark_starts(pl.DataFrame(rows, schema=types, orient="row"))
    by_person: dict[str, list[int]] = defaultdict(list)
    for user, anonymous, at in events:
        if user or anonymous:
            by_person[user or anonymous].append(at)
    starts = 0
    for times in by_person.values():
        ordered = sorted(times)
        starts += sum(
            n == 0 or at - ordered[n - 1] > GAP_US for n, at in enumerate(ordered)
        )  # exactly the gap is still the same session
    assert marked["session_start"].sum() == starts
    assert marked.height == len(events)
