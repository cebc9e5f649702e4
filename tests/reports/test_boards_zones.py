"""Dashboards of a site whose days have 23 and 25 hours: every panel counts its own days."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from flask.testing import FlaskClient

from reports.app import create_app
from schemas_avro.tables import LEDGER
from tests.reports import world
from tests.streams import event

NEW_YORK = ZoneInfo("America/New_York")
SPRING, AUTUMN = date(2026, 3, 8), date(2026, 11, 1)
HOURS = {SPRING: 23, AUTUMN: 25}
HALF_HOUR_US = 1_800_000_000
ASKED = [(day - timedelta(n), day + timedelta(n)) for day in HOURS for n in (0, 1, 4)]


def instants() -> list[int]:
    """Every half an hour of the days of UTC around both, us."""
    starts = [world.us(day.year, day.month, day.day) for day in HOURS]
    return [at + n * HALF_HOUR_US for at in starts for n in range(-48, 3 * 48)]


def there(at_us: int) -> datetime:
    """The time of New York."""
    return datetime.fromtimestamp(at_us / 1e6, UTC).astimezone(NEW_YORK)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    directory: Path = tmp_path_factory.mktemp("new-york")
    world.catalogue(directory)
    shown = json.dumps({"experiment_name": "Button", "variation_name": "blue"})
    world.archive(
        directory,
        [
            event(f"e{at}", at, name="Experiment Viewed", properties=shown, user_id=f"u{at}")
            for at in instants()
        ],
    )
    world.refuse(directory, [{"received_time": at} for at in instants()])
    world.keep(directory, LEDGER, [world.ledger_minute(at, received=1) for at in instants()])
    settings = world.settings(directory)
    return create_app(settings, lambda: {"demo": NEW_YORK.key}, lambda: world.NOW).test_client()


def rows(client: FlaskClient, board: str, number: int, first: date, last: date) -> Any:
    address = f"/p/demo/api/boards/{board}/panels/{number}?dates={first}..{last}"
    answer = client.get(address)
    assert answer.status_code == 200, answer.json
    assert answer.get_json()["trust"][-1] == NEW_YORK.key
    return answer.get_json()["texts"]


@pytest.mark.parametrize(("first", "last"), ASKED)
def test_health_has_all_hours_of_the_days_and_no_others(
    client: FlaskClient, first: date, last: date
) -> None:
    within = [at for at in instants() if first <= there(at).date() <= last]
    hours = Counter(f"{there(at):%Y-%m-%d %H:00}" for at in within)
    found: Counter[str] = Counter()
    for hour, received, *_ in rows(client, "health", 0, first, last):
        found[hour] += int(received)
    assert found == hours
    letters = rows(client, "health", 1, first, last)
    assert letters == [["bad_money", str(len(within))]]
    if first == last:
        assert len(within) == 2 * HOURS[first]


@pytest.mark.parametrize(("first", "last"), ASKED)
def test_experiments_are_counted_by_days_of_the_site(
    client: FlaskClient, first: date, last: date
) -> None:
    people = Counter(str(there(at).date()) for at in instants())
    asked = [str(first + timedelta(n)) for n in range((last - first).days + 1)]
    wanted = {day: people[day] for day in asked}
    assert (0 in wanted.values()) == (len(asked) > 3), "days with nobody have a nought"
    by_day = {day: int(n) for day, _, n in rows(client, "experiments", 1, first, last)}
    assert by_day == wanted
    ((_, _, together, _, _),) = rows(client, "experiments", 3, first, last)
    assert int(together) == sum(wanted.values())


def test_instants_are_shown_as_the_site_has_them_and_wall_clocks_as_they_are(
    client: FlaskClient,
) -> None:
    sql = (
        "SELECT TIMESTAMP '2026-07-01 12:00:00+00' AS instant, "
        "TIMESTAMP '9999-12-31 23:59:00+00' AS late, DATE '2026-07-01' AS day"
    )
    panel = {"sql": sql, "chart": {"mark": "table"}}
    shown = client.post("/p/demo/api/boards/preview", json=panel).get_json()
    assert shown["texts"] == [["2026-07-01 08:00", "9999-12-31 18:59", "2026-07-01"]]
