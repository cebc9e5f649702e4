"""Errors through the whole of reports: found, grouped and counted as a loop over the rows does."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from flask.testing import FlaskClient

from tests.reports import world
from tests.streams import DAY_US, NOON, event
from tests.transforms.test_stacks import CHROME, FIREFOX, JAVA, PYTHON
from transforms.error_groups import ERROR_NAMES, Problem, fingerprint, read

ZONE = ZoneInfo("Europe/London")


def day_of(at: int) -> str:
    return f"{datetime.fromtimestamp(at / 1e6, UTC).astimezone(ZONE):%Y-%m-%d}"


FIRST, LAST = day_of(NOON - 5 * DAY_US), day_of(NOON)
WEEK = {"dates": f"{FIRST}..{LAST}"}


def failures(seed: int) -> list[dict[str, Any]]:
    """Errors of every convention, over 30 days, and events that only look like some."""
    rng = random.Random(seed)
    stacks = [CHROME, FIREFOX, PYTHON, JAVA]
    rows = []
    for n in range(300):
        at = NOON - rng.randrange(30 * DAY_US)
        stack, number = rng.choice(stacks), rng.randrange(1000)
        name, properties = rng.choice(
            [
                ("Error", {"message": f"order {number} failed", "stack": stack}),
                ("Error", {"message": "Script error."}),
                ("Error", {}),
                ("$exception", {"$exception_list": [{"type": "E", "value": f"n {number}"}]}),
                ("pay", {"error": {"name": "PayError", "message": f"card {number} declined"}}),
                ("pay", {"exception.type": "E", "exception.message": "x", "n": number}),
                ("pay", {"exception": {"values": [{"type": "V", "value": "y"}]}}),
                ("pay", {"error": "wrong password", "message": "no error"}),
                ("pay", {"error": {"code": 5}, "name": "x", "message": "no error"}),
                ("view", {"message": "error", "type": "x"}),
            ]
        )
        rows.append(
            event(
                f"e{n}", at, name=name, properties=json.dumps(properties),
                user_id=rng.choice(["u1", "u2", "u3", None]), anonymous_id=rng.choice(["a1", None]),
                app_version=rng.choice(["1.0", "1.1", None]),
                browser_name=rng.choice(["Chrome", None]), browser_version="120.0",
            )
        )  # fmt: skip
    rows.append(event("page", NOON, type="page", name="x",
                      properties='{"error": {"message": "of a page"}}'))  # fmt: skip
    midnight = NOON - DAY_US // 2
    rows.append(event("late", midnight - 1_800_000_000, name="Error",
                      properties='{"message": "at midnight"}'))  # fmt: skip
    rows.append(event("broken", NOON, name="Error", properties='{"error": {'))
    rows.append(event("foreign", NOON, project="other", name="Error",
                      properties='{"message": "secret of others"}'))  # fmt: skip
    return rows


ROWS = failures(3)


def is_error(row: dict[str, Any]) -> Problem | None:
    try:
        properties = json.loads(row.get("properties") or "{}")
    except ValueError:
        properties = {}
    named = row["name"] in ERROR_NAMES
    if row["project"] != "demo" or not (named or row["type"] == "track"):
        return None
    if not named:
        for name in ("name", "type", "message", "stack", "file", "line"):
            properties.pop(name, None)
    return read(properties) or (Problem("", "") if named else None)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    made = tmp_path_factory.mktemp("errors")
    world.archive(made, ROWS)
    world.archive(made, ROWS[:40], producer="p-1")  # sent again
    return world.app(made).test_client()


def asked(client: FlaskClient, kind: str, **question: Any) -> dict[str, Any]:
    answer = client.post(f"/p/demo/api/insights/{kind}", json=question)
    assert answer.status_code == 200, answer.text
    names = [column["name"] for column in answer.get_json()["columns"]]
    rows = [dict(zip(names, row, strict=True)) for row in answer.get_json()["rows"]]
    return {**answer.get_json(), "rows": rows}


def expected() -> dict[str, list[dict[str, Any]]]:
    """Rows of each group, of the dates and of 28 days before."""
    found = defaultdict(list)
    for row in ROWS:
        problem = is_error(row)
        if problem is not None and row["event_time"] >= NOON - 40 * DAY_US:
            found[fingerprint(problem)].append(row)
    return found


def test_groups_are_what_a_loop_over_the_rows_finds(client: FlaskClient) -> None:
    found = asked(client, "errors", **WEEK)
    groups = {row["group"]: row for row in found["rows"]}
    wanted = {}
    for id_, rows in expected().items():
        inside = [row for row in rows if day_of(row["event_time"]) >= FIRST]
        if inside:
            first = min(row["event_time"] for row in rows)
            wanted[id_] = (
                len(inside),
                len({row["user_id"] or row["anonymous_id"] for row in inside} - {None}),
                "new" if first == min(row["event_time"] for row in inside) else "",
                datetime.fromtimestamp(first / 1e6 // 1, UTC).astimezone(ZONE).isoformat(),
            )
    assert len(wanted) > 5
    assert wanted == {
        id_: (row["events"], row["people"], row["is_new"], row["first_seen"])
        for id_, row in groups.items()
    }
    totals = {one["title"]: one["value"] for one in found["totals"]}
    assert totals["Errors"] == sum(one[0] for one in wanted.values())
    assert totals["Groups"] == len(wanted)
    assert found["status"] == "exact"
    assert "secret of others" not in json.dumps(found)


def test_versions_and_trend(client: FlaskClient) -> None:
    row = asked(client, "errors", **WEEK)["rows"][0]
    inside = [r for r in expected()[row["group"]] if day_of(r["event_time"]) >= FIRST]
    versions = Counter(r["app_version"] for r in inside if r["app_version"])
    said = dict(part.rstrip(")").split(" (") for part in row["versions"].split(", "))
    assert {name: int(n) for name, n in said.items()} == dict(versions)
    assert len(row["trend"]) == 6


def test_search_rows_and_names_of_ones_own(client: FlaskClient) -> None:
    found = asked(client, "errors", **WEEK, search="SCRIPT err")
    assert [row["message"] for row in found["rows"]] == ["Script error."]
    found = asked(client, "errors", **WEEK, rows=1)
    assert len(found["rows"]) == 1
    assert "groups in all; the 1 with most events shown" in " ".join(found["notes"])
    names = {row["message"] for row in asked(client, "errors", **WEEK, also=["view"])["rows"]}
    assert "error" in names


def test_filters_hold(client: FlaskClient) -> None:
    where = [{"property": "app_version", "operator": "is", "values": ["1.0"]}]
    found = asked(client, "errors", **WEEK, where=where)
    of_one = [
        row for rows in expected().values() for row in rows
        if day_of(row["event_time"]) >= FIRST and row.get("app_version") == "1.0"
    ]  # fmt: skip
    assert sum(row["events"] for row in found["rows"]) == len(of_one) > 0


def test_one_group_by_day(client: FlaskClient) -> None:
    id_, rows = max(expected().items(), key=lambda pair: len(pair[1]))
    found = asked(client, "error_group", group=id_, **WEEK)
    days = Counter(day_of(row["event_time"]) for row in rows if day_of(row["event_time"]) >= FIRST)
    assert len(found["rows"]) == 6
    assert {row["day"]: row["events"] for row in found["rows"] if row["events"]} == dict(days)


@pytest.mark.parametrize(
    ("kind", "question", "said"),
    [
        ("error_group", {"group": "x"}, "group='x' is no id of a group"),
        ("error_group", {"group": "0" * 16, **WEEK}, "no error of these dates belongs to it"),
        ("error_group", {}, "group"),
        ("errors", {"rows": 0}, "rows"),
        ("errors", {"history": 9_999}, "history"),
        ("errors", {"dates": "x"}, "dates='x'"),
    ],
)
def test_what_cannot_be_asked_is_said(
    client: FlaskClient, kind: str, question: dict[str, Any], said: str
) -> None:
    answer = client.post(f"/p/demo/api/insights/{kind}", json=question)
    assert answer.status_code == 400
    assert said in answer.get_json()["message"]


def test_a_group_whole(client: FlaskClient) -> None:
    dates = WEEK["dates"]
    id_ = next(
        one["group"]
        for one in asked(client, "errors", **WEEK)["rows"]
        if one["culprit"].startswith("Cart.total")
    )
    found = client.get(f"/p/demo/api/errors/{id_}?dates={dates}").get_json()
    assert found["frames"][0]["function"] == "Cart.total"
    assert found["pattern"] == "order <n> failed"
    assert found["events"] == sum(day["events"] for day in found["days"])
    inside = [r for r in expected()[id_] if day_of(r["event_time"]) >= FIRST]
    newest = sorted(inside, key=lambda r: (-r["event_time"], r["event_id"]))[:50]
    assert [one["event_id"] for one in found["newest"]] == [r["event_id"] for r in newest]
    assert client.get(f"/p/demo/api/errors/{'0' * 16}?dates={dates}").status_code == 404
    assert client.get(f"/p/demo/api/errors/zz?dates={dates}").status_code == 404
    assert client.get(f"/p/demo/api/errors/{id_}?dates=x").status_code == 400
    assert client.get(f"/p/other/api/errors/{id_}?dates={dates}").status_code == 404


def test_pages(client: FlaskClient, tmp_path: Path) -> None:
    page = client.get(f"/p/demo/errors?dates={WEEK['dates']}")
    assert page.status_code == 200
    assert "order " in page.text
    id_ = asked(client, "errors", **WEEK)["rows"][0]["group"]
    assert client.get(f"/p/demo/errors/{id_}?dates={WEEK['dates']}").status_code == 200
    empty = world.app(tmp_path).test_client()
    assert "No errors" in empty.get("/p/demo/errors").text
    assert "No error fits" in empty.get("/p/demo/errors?search=x").text
    assert empty.get("/p/nobody/errors").status_code == 404
    assert empty.get("/p/demo/errors?dates=soon").status_code == 400


def test_a_day_is_one_of_the_projects_zone(client: FlaskClient) -> None:
    """Half past eleven in the evening of UTC is the next day in London, in September."""
    id_ = fingerprint(Problem("", "at midnight"))
    found = asked(client, "error_group", group=id_, **WEEK)
    assert [row["day"] for row in found["rows"] if row["events"]] == [LAST]
