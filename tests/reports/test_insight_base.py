"""What all kinds of questions stand on: conditions, days, people, cohorts, and what is refused."""

from __future__ import annotations

import json
import math
import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from beam_pipelines.connectors.exact_tables import replace_rows, write_rows
from beam_pipelines.connectors.warehouse import Warehouse as Writer
from reports.insights.filters import COLUMNS, Bindings, any_named, expression, matches, number
from reports.insights.question import Filter, Question, QuestionError, Step, days_of, read
from reports.insights.source import Source
from reports.warehouse.engine import QueryFailed, Warehouse
from schemas_avro import derive, load
from schemas_avro.tables import IDENTITIES
from tests.reports import world
from tests.streams import NOON, event

ZONE = "Europe/London"
BROKEN = ["{", '{"plan": "\\ud800"}', ""]
VALUES = ["pro", "Pro plan", "5", 5, 5.0, 7.25, -1, 0, "", True, False, None, "é", "a'b", "nan",
          "1e3", [1, 2], {"deep": "pro"}, {"deep": 5}, "x;y", " 5 "]  # fmt: skip
NAMES = ["plan", "size", "it's", "sp ace", "*", "[0]", "a\\b", "ünï", "$", "#", "deep"]


def rows_of(seed: int) -> list[dict[str, Any]]:
    """Events with all sorts of properties, some of them broken."""
    rng = random.Random(seed)
    made = []
    for at in range(120):
        properties = {name: rng.choice(VALUES) for name in rng.sample(NAMES, 4)}
        made.append(
            event(
                f"e{at}", NOON + at, name=rng.choice(["view", "cart", "page", None]),
                type=rng.choice(["track", "page", "identify"]),
                country=rng.choice(["GB", "DE", "", None]), flags=rng.choice([0, 1, 5]),
                revenue_minor=rng.choice([None, 0, 5, -500]), currency="GBP",
                properties=json.dumps(properties), context=json.dumps({"app": properties}),
            )
        )  # fmt: skip
    broken = [event(f"b{n}", NOON + n, properties=text) for n, text in enumerate(BROKEN)]
    return made + broken + [event("none", NOON)]


ROWS = rows_of(1)
DATES = f"{datetime.fromtimestamp(NOON / 1e6, UTC):%Y-%m-%d}"
THAT_DAY = f"{DATES}..{DATES}"


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    made = tmp_path_factory.mktemp("base")
    world.archive(made, ROWS)
    world.archive(made, [event("foreign", NOON, project="other", user_id="secret")])
    return Warehouse(world.settings(made), lambda _: pytest.fail("live was read"))


def source_on(warehouse: Warehouse, zone: str = ZONE, **others: Any) -> Source:
    return Source(warehouse, "demo", zone, others.pop("now", world.NOW), **others)


def ids(source: Source, question: Question) -> list[str]:
    bind = Bindings()
    sql = f"SELECT event_id FROM {source.events(question, bind)} ORDER BY ALL"
    return [str(one) for one in source.read(sql, bind)["event_id"].to_pylist()]


# -- Conditions, against the same in Python.


def text_of(row: dict[str, Any], name: str) -> str | None:
    """A property as text: what JSON says, without quotes around a text."""
    if name in COLUMNS:
        value = row.get(name)
        return None if value is None else str(value)
    top, *path = name.split(".")
    try:
        value = json.loads(row.get(top) or "null")
        "\n".join(map(str, value.values())).encode() if value else None
    except ValueError:
        return None
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def number_of(row: dict[str, Any], name: str) -> float | None:
    try:
        value = float(text_of(row, name) or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def holds(row: dict[str, Any], one: Filter) -> bool:
    text, value = text_of(row, one.property), number_of(row, one.property)
    texts = [str(v).lower() if isinstance(v, bool) else str(v) for v in one.values]
    match one.operator:
        case "is_set" | "is_not_set":
            return (text is None) == (one.operator == "is_not_set")
        case "contains" | "not_contains":
            found = text is not None and any(part.lower() in text.lower() for part in texts)
            return found == (one.operator == "contains")
        case "is" | "is_not":
            found = any(
                text == as_text if isinstance(v, str | bool) else value is not None and value == v
                for v, as_text in zip(one.values, texts, strict=True)
            )
            return found == (one.operator == "is")
    if value is None:
        return False
    bound = float(one.values[0])
    compared = {"above": value > bound, "at_least": value >= bound, "below": value < bound}
    return compared.get(one.operator, value <= bound)


PROPERTIES = st.sampled_from(
    ["country", "name", "flags", "revenue_minor", "user_id"]
    + [f"properties.{name}" for name in NAMES if name not in COLUMNS]
    + ["properties.plan.deep", "context.app.plan", "properties.nothing"]
).filter(lambda name: name != "flags")
WANTED = st.sampled_from(["pro", "5", 5, 7.25, 0, -500, True, "gb", "GB", "", "a'b", "é", "view",
                          "1e3", 1000, "$p0", "' OR 1=1 --", "%"])  # fmt: skip
FILTERS = st.one_of(
    st.builds(
        Filter, property=PROPERTIES,
        operator=st.sampled_from(["is", "is_not", "contains", "not_contains"]),
        values=st.lists(WANTED, min_size=1, max_size=3).map(tuple),
    ),
    st.builds(Filter, property=PROPERTIES, operator=st.sampled_from(["is_set", "is_not_set"])),
    st.builds(
        Filter, property=PROPERTIES,
        operator=st.sampled_from(["above", "at_least", "below", "at_most"]),
        values=st.tuples(st.sampled_from([5, 7.25, 0, -500])),
    ),
)  # fmt: skip


@budget(max_examples=150, deadline=None)
@given(st.lists(FILTERS, min_size=1, max_size=3).map(tuple))
def test_conditions_hold_where_they_hold_in_python(
    warehouse: Warehouse, where: tuple[Filter, ...]
) -> None:
    expected = sorted(r["event_id"] for r in ROWS if all(holds(r, one) for one in where))
    assert ids(source_on(warehouse), Question(dates=THAT_DAY, where=where)) == expected


@budget(max_examples=60, deadline=None)
@given(st.builds(Step, name=st.sampled_from([None, "view", "page", "identify", "nope", "' --"]),
                 where=st.lists(FILTERS, max_size=2).map(tuple)))  # fmt: skip
def test_a_step_matches_where_it_does_in_python(warehouse: Warehouse, step: Step) -> None:
    named = ("page", "identify")
    expected = {
        r["event_id"]
        for r in ROWS
        if (step.name in (None, r["name"]) or (step.name in named and r["type"] == step.name))
        and all(holds(r, one) for one in step.where)
    }
    source, bind = source_on(warehouse), Bindings()
    events = source.events(Question(dates=THAT_DAY), bind)
    sql = (
        f"SELECT event_id, {matches(step, bind)} AS hit, {any_named([step], bind)} AS may "
        f"FROM {events} AS e"
    )
    found = source.read(sql, bind).to_pylist()
    assert None not in {row["hit"] for row in found}
    assert {row["event_id"] for row in found if row["hit"]} == expected
    assert expected <= {row["event_id"] for row in found if row["may"]}


def test_numbers_are_finite_or_none(warehouse: Warehouse) -> None:
    source, bind = source_on(warehouse), Bindings()
    events = source.events(Question(dates=THAT_DAY), bind)
    sql = f"SELECT event_id, {number('properties.plan')} AS n FROM {events} AS e"
    found = {row["event_id"]: row["n"] for row in source.read(sql, bind).to_pylist()}
    assert found == {r["event_id"]: number_of(r, "properties.plan") for r in ROWS}


@pytest.mark.parametrize(
    "name",
    ["", "properties", "properties.", "properties..a", "properties.a.", 'properties.a"b', "nope",
     "e.name", "properties; DROP TABLE events", "producer", "project", "properties.a\nb", "seq",
     "Properties.a", "1", "*", "context"],
)  # fmt: skip
def test_what_events_do_not_have_is_refused_by_name(name: str) -> None:
    with pytest.raises(QuestionError) as refused:
        expression(name)
    assert repr(name) in str(refused.value)


@budget(max_examples=100, deadline=None)
@given(st.text(max_size=12))
def test_any_name_of_a_property_is_an_answer_or_a_refusal(warehouse: Warehouse, name: str) -> None:
    """Never another property's values, and never another project's rows."""
    where = (Filter(property=f"properties.{name}", operator="is_set"),)
    try:
        found = ids(source_on(warehouse), Question(dates=THAT_DAY, where=where))
    except (QuestionError, QueryFailed):
        return
    expected = [r["event_id"] for r in ROWS if text_of(r, f"properties.{name}") is not None]
    assert found == sorted(expected)


@pytest.mark.parametrize(
    ("one", "text"),
    [
        ({"operator": "is"}, "country is needs a value"),
        ({"operator": "is_set", "values": ["x"]}, "country is_set takes no values"),
        ({"operator": "above", "values": ["x"]}, "country above needs one number"),
        ({"operator": "above", "values": [1, 2]}, "country above needs one number"),
        ({"operator": "above", "values": [True]}, "country above needs one number"),
        ({"operator": "like", "values": ["x"]}, "like"),
        ({"values": [float("nan")]}, "values=nan is no number"),
        ({"values": [10**400]}, "beyond 64 bits"),
        ({"values": ["\ud800"]}, "is no text"),
        ({"values": ["a\0"]}, "is no text"),
        ({"values": ["x"] * 1001}, "1000"),
        ({"vales": ["x"]}, "vales"),
    ],
)
def test_a_condition_that_cannot_be_is_explained(
    warehouse: Warehouse, one: dict[str, Any], text: str
) -> None:
    with pytest.raises(QuestionError) as refused:
        ids(source_on(warehouse), read(Question, {"where": [{"property": "country", **one}]}))
    assert text in str(refused.value)


@pytest.mark.parametrize("value", [None, [], "x", 5, {"dates": 5}, {"identity": "x"}, {"x": 1}])
def test_what_is_no_question_is_refused(value: Any) -> None:
    with pytest.raises(QuestionError):
        read(Question, value)


# -- Days.

SATURDAY = date(2026, 10, 24)


@pytest.mark.parametrize(
    ("dates", "first", "last"),
    [
        ("today", SATURDAY, SATURDAY),
        ("yesterday", date(2026, 10, 23), date(2026, 10, 23)),
        ("last_1_days", SATURDAY, SATURDAY),
        ("last_30_days", date(2026, 9, 25), SATURDAY),
        ("last_1_weeks", date(2026, 10, 19), SATURDAY),
        ("last_2_weeks", date(2026, 10, 12), SATURDAY),
        ("last_1_months", date(2026, 10, 1), SATURDAY),
        ("last_11_months", date(2025, 12, 1), SATURDAY),
        ("2026-01-01..2026-01-31", date(2026, 1, 1), date(2026, 1, 31)),
    ],
)
def test_days_in_words(dates: str, first: date, last: date) -> None:
    assert days_of(dates, SATURDAY) == (first, last)


@pytest.mark.parametrize(
    "dates",
    ["", "last_0_days", "last_9999_days", "last_121_months", "last_week", "2026-01-01",
     "2026-01-02..2026-01-01", "2026-13-01..2026-13-02", "0001-01-01..0001-01-02",
     "9999-12-31..9999-12-31", "2000-01-01..2026-01-01", "last_٣_days", ".."],
)  # fmt: skip
def test_days_that_are_none_are_refused(dates: str) -> None:
    with pytest.raises(QuestionError) as refused:
        days_of(dates, SATURDAY)
    assert repr(dates) in str(refused.value)


@pytest.mark.parametrize("zone", ["Europe/London", "Australia/Lord_Howe", "America/Sao_Paulo"])
@pytest.mark.parametrize("middle", [date(2026, 10, 25), date(2026, 3, 29), date(2026, 10, 4)])
def test_days_across_a_change_of_clocks(tmp_path: Path, zone: str, middle: date) -> None:
    start = datetime(middle.year, middle.month, middle.day, tzinfo=UTC) - timedelta(days=2)
    times = [int(start.timestamp()) * 1_000_000 + half * 1_800_000_000 for half in range(240)]
    world.archive(tmp_path, [event(f"{at}", at) for at in times])
    source = source_on(Warehouse(world.settings(tmp_path), lambda _: pytest.fail("live")), zone)
    for day in (middle - timedelta(1), middle, middle + timedelta(1)):
        there = [
            str(at)
            for at in times
            if datetime.fromtimestamp(at / 1e6, UTC).astimezone(ZoneInfo(zone)).date() == day
        ]
        assert ids(source, Question(dates=f"{day}..{day}")) == there


def test_today_is_the_day_of_the_project(warehouse: Warehouse) -> None:
    before_midnight = world.us(2026, 7, 1, 23, 30)
    assert source_on(warehouse, "UTC", now=before_midnight).today == date(2026, 7, 1)
    assert source_on(warehouse, ZONE, now=before_midnight).today == date(2026, 7, 2)


# -- People and cohorts.


def join(directory: Path, *ids_of: tuple[str, str, str]) -> None:
    """(kind, id, person) into the identities."""
    rows = [
        {"project": "demo", "kind": kind, "id": one, "person_id": person, "ids": 2,
         "first_time": NOON}
        for kind, one, person in ids_of
    ]  # fmt: skip
    rows += [{**rows[0], "project": "other", "id": "u3", "person_id": "stranger"}]
    frame = pl.DataFrame(rows, schema=derive.wire(load(IDENTITIES.record)), orient="row")
    writer = Writer(f"{directory}/archive")
    files = write_rows(writer, IDENTITIES, frame)
    replace_rows(writer, IDENTITIES, files, "project != ''", {"": 1})


PEOPLE = [
    event("joined device", NOON, user_id=None, anonymous_id="a1"),
    event("joined user", NOON + 1, user_id="u1", anonymous_id="a9"),
    event("user as device", NOON + 2, user_id="a1"),
    event("alone", NOON + 3, user_id="u3"),
    event("empty user", NOON + 4, user_id="", anonymous_id="a1"),
    event("nobody", NOON + 5, user_id=None),
    event("nothing", NOON + 6, user_id="", anonymous_id=""),
]


@pytest.fixture
def people(tmp_path: Path) -> Warehouse:
    world.archive(tmp_path, PEOPLE)
    join(tmp_path, ("anonymous", "a1", "p1"), ("user", "u1", "p1"))
    return Warehouse(world.settings(tmp_path), lambda _: pytest.fail("live was read"))


def persons(source: Source, question: Question) -> dict[str, str | None]:
    bind = Bindings()
    found = source.read(f"SELECT event_id, person FROM {source.events(question, bind)}", bind)
    return {row["event_id"]: row["person"] for row in found.to_pylist()}


def test_a_person_has_the_ids_that_are_joined(people: Warehouse) -> None:
    found = persons(source_on(people), Question(dates=THAT_DAY))
    assert found == {
        "joined device": "p1", "joined user": "p1", "user as device": "a1", "alone": "u3",
        "empty user": "p1", "nobody": None, "nothing": None,
    }  # fmt: skip


def test_a_device_is_the_user_or_the_visitor(people: Warehouse) -> None:
    found = persons(source_on(people), Question(dates=THAT_DAY, identity="device"))
    assert found == {
        "joined device": "a1", "joined user": "u1", "user as device": "a1", "alone": "u3",
        "empty user": "a1", "nobody": None, "nothing": None,
    }  # fmt: skip


def test_a_cohort_lets_its_people_through_alone(people: Warehouse) -> None:
    asked = []

    def cohort(project: str, name: str) -> pa.Table | None:
        asked.append((project, name))
        return pa.table({"person": ["p1", None]}) if name == "joined" else None

    source = source_on(people, cohort=cohort)
    question = Question(dates=THAT_DAY, cohort="joined")
    assert persons(source, question) == dict.fromkeys(
        ("joined device", "joined user", "empty user"), "p1"
    )
    assert persons(source, question)
    assert asked == [("demo", "joined")]  # once for a question, however often it reads
    with pytest.raises(QuestionError, match="cohort='nope': there is none"):
        source.events(Question(cohort="nope"), Bindings())


def test_a_given_table_is_read(people: Warehouse) -> None:
    source = source_on(people)
    name = source.give(pa.table({"n": [1, 2]}))
    assert source.read(f"SELECT sum(n) AS n FROM {name}")["n"].to_pylist() == [3]


# -- What is said of an answer.


def test_as_of_and_completeness_are_those_of_what_was_read(people: Warehouse) -> None:
    source = source_on(people)
    assert (source.as_of, source.complete_until, source.rows_read) == (None, None, 0)
    source.read("SELECT day FROM daily", tables=("daily",))
    assert (source.as_of, source.complete_until) == (None, None)
    persons(source, Question(dates=THAT_DAY))
    assert source.as_of is not None
    assert source.complete_until == NOON
    assert source.rows_read == len(PEOPLE)
