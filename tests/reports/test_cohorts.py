"""Who is in a cohort: every kind of condition against loops over the rows."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from catalog.documents import Documents
from reports.cohorts.definition import read
from reports.cohorts.shelf import Cohorts
from reports.insights.question import QuestionError
from tests import people
from tests.reports import world
from tests.reports.streams_of_people import (
    NOW,
    TODAY,
    ZONE,
    Row,
    app_of,
    midnight,
    random_rows,
    who,
)
from tests.streams import event

Rule = dict[str, Any]
EVERYBODY = {f"u{n}" for n in range(14) if n % 3} | {f"a{n}" for n in range(0, 14, 3)}


def shelf(directory: Path, clock: Callable[[], int] = lambda: NOW) -> Cohorts:
    """Cohorts on a directory's archive, with a catalogue of their own."""
    catalog = world.catalogue(directory)
    warehouse = world.app(directory, NOW).extensions["reports"].warehouse
    return Cohorts(Documents(catalog), warehouse, directory / "cohorts", clock, lambda: world.ZONES)


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    rng = random.Random(2)
    found = random_rows(33, 500)
    for number in range(40):
        plan, seats = rng.choice(["free", "pro", None]), rng.choice([1, 5, 20, None])
        traits = {k: v for k, v in (("plan", plan), ("seats", seats)) if v is not None}
        day = date(2026, 9, 1 + number % 28)
        found.append(
            event(f"i{number}", midnight(day, rng.choice([0, 60])), type="identify", name=None,
                  user_id=f"u{rng.choice([1, 2, 4, 5, 7, 8])}", properties=json.dumps(traits),
                  country=None)
        )  # fmt: skip
    return found


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory: pytest.TempPathFactory, rows: list[Row]) -> Cohorts:
    directory = tmp_path_factory.mktemp("cohorts")
    app_of(directory, rows)
    return shelf(directory)


def found(cohorts: Cohorts, rule: Rule) -> set[str]:
    members = cohorts.members("demo", read({"rule": rule}))
    assert not members.state.error
    names = [str(name) for name in members.people["person"].to_pylist()]
    assert names == sorted(set(names))
    assert members.state.size == len(names)
    return set(names)


def by_person(rows: list[Row]) -> dict[str, list[Row]]:
    """Each person's events in the order of the archive."""
    half = len(rows) // 2
    placed: dict[str, list[tuple[int, bool, int, Row]]] = {}
    for number, row in enumerate(rows):
        if (person := who(row)) is not None:
            place = (row["event_time"], number >= half, number if number < half else number - half)
            placed.setdefault(person, []).append((*place, row))
    return {p: [one[3] for one in sorted(own, key=lambda o: o[:3])] for p, own in placed.items()}


def those(rows: list[Row], holds: Callable[[list[Row]], bool]) -> set[str]:
    return {person for person, own in by_person(rows).items() if holds(own)}


def is_in(row: Row, first: date, last: date = TODAY) -> bool:
    return first <= people.day_of(row["event_time"], ZONE) <= last


def plan_of(row: Row) -> Any:
    return json.loads(row["properties"] or "{}").get("plan")


@pytest.mark.parametrize("times", ["at_least", "at_most", "exactly"])
@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize(
    ("dates", "first"), [("", date(2000, 1, 1)), ("last_30_days", date(2026, 10, 1)),
                         ("2026-10-25..2026-10-30", date(2026, 10, 25))],
)  # fmt: skip
def test_did_so_often(
    cohorts: Cohorts, rows: list[Row], times: str, count: int, dates: str, first: date
) -> None:
    def holds(own: list[Row]) -> bool:
        number = len([row for row in own if row["name"] == "cart" and is_in(row, first)])
        return {"at_least": number >= count, "at_most": number <= count}.get(times, number == count)

    rule = {"is": "did", "event": {"name": "cart"}, "times": times, "count": count, "dates": dates}
    assert found(cohorts, rule) == those(rows, holds)


def test_did_with_conditions(cohorts: Cohorts, rows: list[Row]) -> None:
    where = [{"property": "properties.plan", "operator": "is", "values": ["pro"]}]
    rule = {"is": "did", "event": {"name": "order", "where": where}, "count": 2}
    assert found(cohorts, rule) == those(
        rows, lambda own: sum(r["name"] == "order" and plan_of(r) == "pro" for r in own) >= 2
    )


def test_first_did(cohorts: Cohorts, rows: list[Row]) -> None:
    rule = {"is": "first_did", "event": {"name": "cart"}, "dates": "2026-08-21..2026-08-28"}

    def holds(own: list[Row]) -> bool:
        carts = [row for row in own if row["name"] == "cart"]
        return bool(carts) and is_in(carts[0], date(2026, 8, 21), date(2026, 8, 28))

    wanted = those(rows, holds)
    assert found(cohorts, rule) == wanted
    assert wanted


OPERATORS: list[tuple[Rule, Callable[[Any], bool]]] = [
    ({"name": "plan", "values": ["pro"]}, lambda v: v == "pro"),
    ({"name": "plan", "operator": "is_not", "values": ["pro"]}, lambda v: v != "pro"),
    ({"name": "plan", "operator": "is_set"}, lambda v: v is not None),
    ({"name": "plan", "operator": "is_not_set"}, lambda v: v is None),
    ({"name": "plan", "operator": "contains", "values": ["RE"]}, lambda v: "re" in (v or "")),
    (
        {"name": "plan", "operator": "not_contains", "values": ["re"]},
        lambda v: "re" not in (v or ""),
    ),
    ({"name": "seats", "operator": "at_least", "values": [5]}, lambda v: v is not None and v >= 5),
]


@pytest.mark.parametrize(("asked", "holds"), OPERATORS)
def test_the_newest_trait_counts(
    cohorts: Cohorts, rows: list[Row], asked: Rule, holds: Callable[[Any], bool]
) -> None:
    def newest(own: list[Row]) -> Any:
        values = [
            json.loads(r["properties"]).get(asked["name"]) for r in own if r["type"] == "identify"
        ]
        return next((value for value in reversed(values) if value is not None), None)

    wanted = those(rows, lambda own: holds(newest(own)))
    assert found(cohorts, {"is": "trait", **asked}) == wanted
    assert wanted


@pytest.mark.parametrize("when", ["ever", "last"])
def test_properties_of_events(cohorts: Cohorts, rows: list[Row], when: str) -> None:
    rule = {
        "is": "property", "event": {"name": "view"}, "when": when, "dates": "last_12_weeks",
        "where": {"property": "properties.plan", "operator": "is", "values": ["team"]},
    }  # fmt: skip

    def holds(own: list[Row]) -> bool:
        plans = [p for r in own if r["name"] == "view" and (p := plan_of(r)) is not None]
        return "team" in plans if when == "ever" else plans[-1:] == ["team"]

    assert found(cohorts, rule) == those(rows, holds)


def test_rules_combine(cohorts: Cohorts, rows: list[Row]) -> None:
    many = {"is": "did", "event": {"name": "cart"}, "count": 8}
    pro = {"is": "trait", "name": "plan", "values": ["pro"]}
    few = {"is": "did", "event": {"name": "order"}, "times": "at_most", "count": 5}
    a, b, c = (found(cohorts, rule) for rule in (many, pro, few))
    for how, wanted in (("all", a & b & c), ("any", a | b | c)):
        assert found(cohorts, {"is": how, "of": [many, pro, few]}) == wanted
    nested = {"is": "any", "of": [{"is": "all", "of": [many, {"is": "not", "of": few}]}, pro]}
    assert found(cohorts, nested) == (a - c) | b
    assert found(cohorts, {"is": "not", "of": nested}) == EVERYBODY - ((a - c) | b)


def test_lists_and_queries(cohorts: Cohorts) -> None:
    name = cohorts.put_list("demo", ["u1", "a3", "nobody", "u2"])
    rule = {"is": "upload", "list": name}
    assert found(cohorts, rule) == {"u1", "u2", "a3"}
    remarks = cohorts.members("demo", read({"rule": rule})).state.remarks
    assert remarks == ("1 of the ids in the list belong to nobody with an event",)
    query = {
        "is": "sql",
        "sql": "SELECT user_id AS person FROM events WHERE user_id IN ('u1', 'u4')",
    }
    assert found(cohorts, query) == {"u1", "u4"}
    assert found(cohorts, {"is": "all", "of": [rule, query]}) == {"u1"}
    assert found(cohorts, {"is": "not", "of": rule}) == EVERYBODY - {"u1", "u2", "a3"}


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT user_id FROM events", "name one `person`"),
        ("DROP TABLE events", "only SELECT can run"),
        ("SELECT person FROM secrets", "there is no table 'secrets'"),
        ("SELECT 1 / 'x' AS person", ""),
    ],
)
def test_a_query_that_fails_says_why(cohorts: Cohorts, sql: str, message: str) -> None:
    state = cohorts.members("demo", read({"rule": {"is": "sql", "sql": sql}})).state
    assert state.error
    assert message in state.error
    assert state.size == 0


def test_a_list_of_another_project_is_not_there(cohorts: Cohorts) -> None:
    name = cohorts.put_list("other", ["u1", "spy"])
    state = cohorts.members("demo", read({"rule": {"is": "upload", "list": name}})).state
    assert "is not there; upload it again" in state.error


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, "rule"),
        ({"rule": {"is": "knows"}}, "`is` is one of all, any, not, did"),
        ({"rule": {"is": "all", "of": []}}, "`of` is empty"),
        ({"rule": {"is": "did", "count": -1}}, "count"),
        ({"rule": {"is": "did", "dates": "soon"}}, "dates='soon' are no days"),
        ({"rule": {"is": "first_did", "dates": ""}}, "are no days"),
        ({"rule": {"is": "trait", "name": 'a"b', "values": ["x"]}}, "is none of an event"),
        ({"rule": {"is": "trait", "name": "plan"}}, "needs a value"),
        (
            {"rule": {"is": "property", "where": {"property": "project", "values": ["x"]}}},
            "none of",
        ),
        ({"rule": {"is": "upload", "list": "../../etc"}}, "upload one"),
        ({"rule": {"is": "any", "of": [{"is": "did"}] * 51}}, "51 conditions"),
        ({"rule": {"is": "did"}, "extra": 1}, "extra"),
    ],
)
def test_a_definition_that_means_nothing_is_refused(value: Any, message: str) -> None:
    with pytest.raises(QuestionError) as error:
        read(value)
    assert message in str(error.value)


def test_a_rule_may_not_be_nested_for_ever() -> None:
    rule: Rule = {"is": "did"}
    for _ in range(100_000):
        rule = {"is": "not", "of": rule}
    with pytest.raises(QuestionError, match="nested more than 8 deep"):
        read({"rule": rule})
