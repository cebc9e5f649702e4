"""Lifecycle as it is asked, against loops over the rows."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from tests import people
from tests.reports.streams_of_people import TODAY, app_of, ask, did, label, named, random_rows


@pytest.mark.parametrize(
    ("grain", "first"),
    [("day", date(2026, 10, 15)), ("week", date(2026, 9, 9)), ("month", date(2026, 9, 3))],
)
def test_states_are_what_a_loop_counts(tmp_path: Path, grain: str, first: date) -> None:
    rows = random_rows(7)
    answer = ask(app_of(tmp_path, rows), "lifecycle", active={"name": "view"}, period=grain,
                 dates=f"{first}..{TODAY}")  # fmt: skip
    active = did(rows, grain, named("view"))
    known = people.calendar(date(2026, 7, 1), TODAY, grain)
    wanted: dict[tuple[str, str], int | None] = {}
    for period in people.calendar(first, TODAY, grain):
        before = known[known.index(period) - 1]
        here = [p for p, when in active.items() if period in when]
        fresh = [p for p in here if min(active[p]) == period]
        wanted[label(period, grain), "new"] = len(fresh)
        stayed = [p for p in here if before in active[p]]
        wanted[label(period, grain), "returning"] = len(stayed)
        wanted[label(period, grain), "resurrecting"] = len(here) - len(fresh) - len(stayed)
        gone = [p for p, when in active.items() if before in when and period not in when]
        is_over = people.start_of(TODAY, grain) != period
        wanted[label(period, grain), "dormant"] = len(gone) if is_over else None
    assert {(period, state): n for period, state, n, _ in answer["rows"]} == wanted
    for _, state, count, change in answer["rows"]:
        assert change == (-count if state == "dormant" and count is not None else count)
