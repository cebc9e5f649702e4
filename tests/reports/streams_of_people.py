"""Random events of some people over ten weeks in which the clocks change, and questions on them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from flask import Flask

from tests import people
from tests.reports import world
from tests.streams import event

ZONE = "Europe/London"  # of project demo
FIRST, TODAY = date(2026, 8, 20), date(2026, 10, 30)  # summer time ends on 25 October
NAMES = ("view", "cart", "order")
PLANS = ("free", "pro", "team", None)
Row = dict[str, Any]


def midnight(day: date, plus_s: float = 0) -> int:
    """So many seconds after a local midnight, us."""
    at = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(ZONE))
    return round((at.timestamp() + plus_s) * 1_000_000)


NOW = midnight(TODAY, 43_200)


def random_rows(seed: int, count: int = 400) -> list[Row]:
    """Events of 14 people and of nobody; many lie at local midnights, or at the same instant."""
    rng = random.Random(seed)
    rows: list[Row] = []
    for number in range(count):
        day = FIRST + timedelta(rng.randrange((TODAY - FIRST).days))
        within = rng.choice([0, 0, -0.000001, 0.5, 3600, 43_200, rng.uniform(0, 82_000)])
        who = int(rng.triangular(0, 14, 0))
        ids: Row = (
            {"user_id": f"u{who}"} if who % 3 else {"user_id": None, "anonymous_id": f"a{who}"}
        )
        if rng.random() < 0.02:
            ids = {"user_id": None, "anonymous_id": None}
        plan = rng.choice(PLANS)
        rows.append(
            event(
                f"e{number}",
                midnight(day, within),
                name=rng.choice(NAMES),
                country=rng.choice(["GB", "FR"]),
                properties=json.dumps({} if plan is None else {"plan": plan}),
                **ids,
            )
        )
    return rows


def app_of(directory: Path, rows: list[Row], now: int = NOW) -> Flask:
    """Reports on these events."""
    half = len(rows) // 2
    for part in (rows[:half], rows[half:]):
        if part:
            world.archive(directory, part)
    return world.app(directory, now)


def ask(app: Flask, kind: str, **question: Any) -> dict[str, Any]:
    """The answer as JSON."""
    answer = app.test_client().post(f"/p/demo/api/insights/{kind}", json=question)
    assert answer.status_code == 200, answer.get_json()
    found: dict[str, Any] = answer.get_json()
    return found


def refused(app: Flask, kind: str, **question: Any) -> str:
    """What a question is told that cannot be asked."""
    answer = app.test_client().post(f"/p/demo/api/insights/{kind}", json=question)
    assert answer.status_code == 400, answer.get_json()
    message: str = answer.get_json()["message"]
    return message


def who(row: Row) -> str | None:
    """The person of an event, by device."""
    return row["user_id"] or row.get("anonymous_id")


def did(
    rows: list[Row], grain: str, met: Callable[[Row], bool] = lambda row: True
) -> dict[str, set[date]]:
    """Periods in which each person did something, of all time."""
    found: dict[str, set[date]] = {}
    for row in rows:
        person = who(row)
        if person is not None and met(row):
            day = people.start_of(people.day_of(row["event_time"], ZONE), grain)
            found.setdefault(person, set()).add(day)
    return found


def named(name: str) -> Callable[[Row], bool]:
    """Is an event called so?"""
    return lambda row: bool(row["name"] == name)


def label(period: date, grain: str) -> str:
    """How answers name a period."""
    return f"{period:%Y-%m}" if grain == "month" else period.isoformat()
