"""Retention as it is asked: against loops over the rows, in a zone whose clocks change."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests import people
from tests.reports.streams_of_people import (
    TODAY,
    Row,
    app_of,
    ask,
    did,
    label,
    midnight,
    named,
    random_rows,
    refused,
    who,
)
from tests.streams import event

DATES = {"day": (date(2026, 10, 20), TODAY), "week": (date(2026, 9, 2), date(2026, 10, 29)),
         "month": (date(2026, 8, 25), TODAY)}  # fmt: skip
Cells = dict[tuple[str, int], tuple[int, int | None]]


def by_hand(rows: list[Row], grain: str, mode: str, *, rolling: bool, longest: int) -> Cells:
    """(size, back) by (cohort, later)."""
    starts, returns = did(rows, grain, named("cart")), did(rows, grain, named("order"))
    if mode == "first_time":
        starts = {person: {min(periods)} for person, periods in starts.items()}
    periods = people.calendar(*DATES[grain], grain)
    found: Cells = {}
    for place, cohort in enumerate(periods):
        members = [person for person, when in starts.items() if cohort in when]
        for later in range(min(longest, len(periods) - 1) + 1):
            at = place + later
            is_over = at < len(periods) - 1  # the last one holds today
            back: int | None = None
            if is_over and rolling:
                wanted = set(periods[at:])
                back = sum(bool(returns.get(person, set()) & wanted) for person in members)
            elif is_over:
                back = sum(periods[at] in returns.get(person, set()) for person in members)
            found[label(cohort, grain), later] = (len(members), back)
    return found


@pytest.mark.parametrize("grain", ["day", "week", "month"])
@pytest.mark.parametrize("mode", ["recurring", "first_time"])
@pytest.mark.parametrize("rolling", [False, True])
def test_every_cell_is_what_a_loop_counts(
    tmp_path: Path, grain: str, mode: str, rolling: bool
) -> None:
    rows = random_rows(len(grain) * 10 + len(mode))
    first, last = DATES[grain]
    answer = ask(
        app_of(tmp_path, rows), "retention", start={"name": "cart"}, returning={"name": "order"},
        mode=mode, rolling=rolling, period=grain, longest=5, dates=f"{first}..{last}",
    )  # fmt: skip
    wanted = by_hand(rows, grain, mode, rolling=rolling, longest=5)
    got = {
        (cohort, later): (size, back)
        for cohort, size, later, back, _ in answer["rows"]
        if cohort != "Weighted average"
    }
    assert got == wanted
    for cohort, size, later, back, share in answer["rows"]:
        if back is None or not size:
            assert share is None
        elif cohort != "Weighted average":
            assert share == pytest.approx(back / size)
        else:
            known = [(s, b) for (_, k), (s, b) in wanted.items() if k == later and b is not None]
            assert share == pytest.approx(sum(b for _, b in known) / sum(s for s, _ in known))
    assert answer["chart"]["mark"] == "heatmap"
    assert any("is not over" in note for note in answer["notes"])


def test_the_first_time_is_looked_for_before_the_days_shown(tmp_path: Path) -> None:
    old = event("old", midnight(date(2026, 9, 1)), name="cart", user_id="old")
    rows = [
        old,
        event("again", midnight(date(2026, 10, 20)), name="cart", user_id="old"),
        event("new", midnight(date(2026, 10, 20)), name="cart", user_id="new"),
        event("back", midnight(date(2026, 10, 21)), name="cart", user_id="new"),
    ]
    app = app_of(tmp_path, rows)
    asked: dict[str, Any] = {"start": {"name": "cart"}, "dates": "2026-10-20..2026-10-22"}
    first = {row[0]: row for row in ask(app, "retention", mode="first_time", **asked)["rows"]
             if row[2] == 1}  # fmt: skip
    assert first["2026-10-20"][1:4] == [1, 1, 1]
    assert first["2026-10-21"][1] == 0
    every = ask(app, "retention", mode="recurring", **asked)["rows"]
    assert [row[1] for row in every if row[0] == "2026-10-20"] == [2, 2, 2]


def test_wide_table_has_a_column_for_each_period(tmp_path: Path) -> None:
    app = app_of(tmp_path, random_rows(3))
    asked: dict[str, Any] = {"dates": "2026-10-26..2026-10-30", "longest": 30}
    long = ask(app, "retention", **asked)["rows"]
    answer = ask(app, "retention", layout="table", **asked)
    assert [column["name"] for column in answer["columns"]] == [
        "cohort", "people", "p0", "p1", "p2", "p3", "p4",
    ]  # fmt: skip
    shares = {(cohort, later): share for cohort, _, later, _, share in long}
    for cohort, _, *cells in answer["rows"]:
        assert cells == [shares[cohort, later] for later in range(5)]
    assert answer["rows"][-1][0] == "Weighted average"


@pytest.mark.parametrize("mode", ["recurring", "first_time"])
def test_a_breakdown_has_the_value_of_the_first_start_in_the_period(
    tmp_path: Path, mode: str
) -> None:
    rows = random_rows(11)
    answer = ask(
        app_of(tmp_path, rows), "retention", start={"name": "cart"}, mode=mode, period="week",
        dates="2026-08-17..2026-10-25", longest=2, breakdown="properties.plan", values_shown=2,
    )  # fmt: skip
    weeks = people.calendar(date(2026, 8, 17), date(2026, 10, 25), "week")
    cohorts: dict[str, list[tuple[date, str]]] = defaultdict(list)
    carts = did(rows, "week", named("cart"))
    # Rows lie in the archive in their order, so the row decides between equal times.
    places = [*range(len(rows) // 2), *range(len(rows) - len(rows) // 2)]
    firsts: dict[tuple[str, date], tuple[int, int, int, str]] = {}
    for number, (row, place) in enumerate(zip(rows, places, strict=True)):
        person = who(row)
        if person is None or row["name"] != "cart":
            continue
        week = people.start_of(people.day_of(row["event_time"], "Europe/London"), "week")
        plan = "(not set)"
        for value in ("free", "pro", "team"):
            if f'"{value}"' in row["properties"]:
                plan = value
        block = int(number >= len(rows) // 2)
        at = (row["event_time"], block, place, plan)
        firsts[person, week] = min(firsts.get((person, week), at), at)
    for (person, week), (*_, plan) in firsts.items():
        if week in weeks and (mode == "recurring" or week == min(carts[person])):
            cohorts[plan].append((week, person))
    ranked = sorted(cohorts, key=lambda plan: (-len(cohorts[plan]), plan))
    wanted = {plan: cohorts[plan] for plan in ranked[:2]}
    wanted["(other)"] = [pair for plan in ranked[2:] for pair in cohorts[plan]]
    got = {(value, later): (size, back) for value, size, later, back, _ in answer["rows"]}
    for plan, pairs in wanted.items():
        for later in range(3):
            known = [
                (weeks.index(w) + later, p) for w, p in pairs if weeks.index(w) + later < len(weeks)
            ]
            back = sum(weeks[at] in carts[p] for at, p in known)
            assert got[plan, later] == (len(pairs), back if known else None), (plan, later)


def test_conditions_and_the_same_event_twice(tmp_path: Path) -> None:
    rows = random_rows(4)
    app = app_of(tmp_path, [*rows, *rows[:150]])  # copies count once
    where = [{"property": "country", "operator": "is", "values": ["GB"]}]
    answer = ask(app, "retention", dates="2026-10-20..2026-10-30", where=where, longest=1)
    starts = did(rows, "day", lambda row: bool(row["country"] == "GB"))
    for cohort, size, *_ in answer["rows"][:-2]:
        assert size == sum(date.fromisoformat(cohort) in days for days in starts.values())


def test_what_cannot_be_asked_says_what_to_do(tmp_path: Path) -> None:
    app = app_of(tmp_path, random_rows(1, 10))
    assert "choose fewer, or period='week'" in refused(app, "retention", dates="last_500_days")
    assert "longest" in refused(app, "retention", longest=0)
    assert "name a column" in refused(app, "retention", breakdown="nonsense")
    assert "period" in refused(app, "retention", period="year")


def test_no_event_at_all(tmp_path: Path) -> None:
    answer = ask(app_of(tmp_path, []), "retention", dates="last_7_days")
    assert {row[1] for row in answer["rows"]} == {0}
    assert {row[4] for row in answer["rows"]} == {None}
    assert answer["rows"][-2][0] == "Weighted average"
