"""Paths as they are asked: names, pages, windows, limits; the walk itself has tests of its own."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from reports.insights import paths
from tests.reports.streams_of_people import TODAY, app_of, ask, midnight, random_rows, refused, who
from tests.streams import event

START = midnight(TODAY, 3600)
MINUTE = 60_000_000


def visit(person: str, *steps: tuple[str, float]) -> list[dict[str, Any]]:
    """Page views (/…) and events of a person, each so many minutes after START."""
    rows = []
    for number, (what, minutes) in enumerate(steps):
        at = START + round(minutes * MINUTE)
        page = (
            {"type": "page", "name": None, "page_path": what} if what[0] == "/" else {"name": what}
        )
        rows.append(event(f"{person}-{number}", at, user_id=person, **page))
    return rows


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    rows = [
        *visit("ann", ("/", 0), ("/", 1), ("/shop", 2), ("add", 3), ("/cart", 5), ("buy", 6)),
        *visit("bob", ("/", 0), ("/shop", 4), ("/help", 10)),
        # Half an hour and a second later is another session.
        *visit("cat", ("/shop", 0), ("/", 30 + 1 / 60), ("/shop", 31)),
    ]
    return app_of(tmp_path, rows)


def test_pages_of_each_session(app: Flask) -> None:
    answer = ask(app, "paths", dates="today", nodes="pages", steps=2)
    assert answer["rows"] == [
        [1, "/", "/shop", 3, 3, 120],
        [2, "/shop", "/cart", 1, 1, 180],
        [2, "/shop", "/help", 1, 1, 360],
    ]
    assert [column["name"] for column in answer["columns"]][3:5] == ["people", "events"]
    assert answer["chart"] == {
        "mark": "flow", "row": "from", "x": "to", "y": "events", "color": "depth",
        "x_title": "", "y_title": "",
        "before": "",
        "grain": "",
    }  # fmt: skip


def test_events_after_one_and_repeats(app: Flask) -> None:
    asked: dict[str, Any] = {"dates": "today", "start": {"name": "add"}, "steps": 3}
    assert ask(app, "paths", **asked)["rows"] == [
        [1, "add", "page", 1, 1, 120], [2, "page", "buy", 1, 1, 60],
    ]  # fmt: skip
    kept = ask(app, "paths", dates="today", nodes="pages", steps=1, collapse=False)["rows"]
    assert [1, "/", "/", 1, 1, 60] in kept


def test_pages_before_an_event_that_is_none(app: Flask) -> None:
    answer = ask(app, "paths", dates="today", nodes="pages", start={"name": "buy"},
                 direction="before", ends=True)  # fmt: skip
    assert answer["rows"] == [
        [1, "(start)", "/", 1, 1, None],
        [2, "/", "/shop", 1, 1, 60],
        [3, "/shop", "/cart", 1, 1, 180],
        [4, "/cart", "buy", 1, 1, 60],
    ]


def test_a_window_is_inclusive_and_crosses_sessions(app: Flask) -> None:
    where = [{"property": "user_id", "operator": "is", "values": ["cat"]}]
    asked: dict[str, Any] = {"dates": "today", "nodes": "pages", "within": "time", "where": where}
    inside = ask(app, "paths", window_s=1801, **asked)["rows"]
    assert inside == [[1, "/shop", "/", 1, 1, 1801]]
    assert ask(app, "paths", window_s=1800.9, **asked)["rows"] == []


def test_the_rarest_are_other(app: Flask) -> None:
    rows = ask(app, "paths", dates="today", nodes="pages", steps=2, nodes_shown=1)["rows"]
    assert rows[1:] == [[2, "/shop", "/cart", 1, 1, 180], [2, "/shop", "(other)", 1, 1, 360]]


def test_whole_days_of_many_people_against_a_loop(tmp_path: Path) -> None:
    """Every event a person has in the days, in order: what follows the first cart within a week."""
    rows = random_rows(21)
    answer = ask(
        app_of(tmp_path, rows), "paths", dates="2026-09-01..2026-10-30", within="time",
        window_s=7 * 86_400, start={"name": "cart"}, steps=1, collapse=False, nodes_shown=50,
    )  # fmt: skip
    start, end = midnight(TODAY.replace(month=9, day=1)), midnight(TODAY, 86_400)
    half = len(rows) // 2
    placed = [
        (row["event_time"], number >= half, number % half, row) for number, row in enumerate(rows)
    ]
    wanted: Counter[str] = Counter()
    for person in {who(row) for row in rows} - {None}:
        own = sorted(p for p in placed if who(p[3]) == person and start <= p[0] < end)
        carts = [at for at, one in enumerate(own) if one[3]["name"] == "cart"]
        if carts and carts[0] + 1 < len(own):
            first, then = own[carts[0]], own[carts[0] + 1]
            if then[0] - first[0] <= 7 * 86_400 * 1_000_000:
                wanted[then[3]["name"]] += 1
    assert {row[2]: row[4] for row in answer["rows"]} == wanted


def test_too_many_events_are_refused(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "MOST_EVENTS", 5)
    assert "12 events would be followed, more than 5" in refused(app, "paths", dates="today")


def test_nothing_there(tmp_path: Path) -> None:
    assert ask(app_of(tmp_path, []), "paths", dates="today")["rows"] == []
