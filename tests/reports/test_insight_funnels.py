"""Funnels over a real archive: against the attempts that a loop over the rows finds."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from reports.insights.funnels import FunnelPeople, FunnelQuestion, answer, people
from reports.insights.question import QuestionError, read
from reports.insights.source import Source
from reports.warehouse.engine import Warehouse
from tests.reports import world
from tests.reports.test_insight_base import join
from tests.streams import DAY_US, NOON, event
from tests.transforms.test_funnels import brute
from transforms.funnels import EXCLUSION_BIT, Funnel

DAY = datetime.fromtimestamp(NOON / 1e6, UTC).date()
FIRST, LAST = DAY - timedelta(1), DAY
DATES = f"{FIRST}..{LAST}"
MINUTE_US = 60_000_000


def random_rows(seed: int, people: int = 40) -> list[dict[str, Any]]:
    """Few minutes, so that many times are equal; the rows of a time are in no order."""
    rng = random.Random(seed)
    rows = []
    for number in range(people * 12):
        who = rng.randrange(people)
        ids = {"user_id": f"u{who}"} if who % 4 else {"user_id": None, "anonymous_id": f"a{who}"}
        at = NOON - DAY_US + rng.choice([0, DAY_US]) + rng.randrange(40) * MINUTE_US
        plan = rng.choice(["pro", "free", "trial", None])
        rows.append(
            event(f"e{number}", at, name=rng.choice("aaabbcdx"),
                  properties=json.dumps({"plan": plan}), **ids)
        )  # fmt: skip
    rows += [event(f"n{n}", NOON + n, name="a", user_id=None, properties="{}") for n in range(3)]
    return rows


ROWS = random_rows(1)


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    made = tmp_path_factory.mktemp("funnels")
    world.archive(made, ROWS)
    world.archive(made, [{**row, "project": "other"} for row in ROWS])
    return Warehouse(world.settings(made), lambda _: pytest.fail("live was read"))


def source_on(warehouse: Warehouse, zone: str = "UTC") -> Source:
    return Source(warehouse, "demo", zone, world.NOW)


def ask(warehouse: Warehouse, **question: Any) -> Any:
    asked = read(FunnelQuestion, {"dates": DATES, "window_s": 1200, **question})
    return answer(asked, source_on(warehouse))


def steps(*names: str) -> list[dict[str, Any]]:
    return [{"name": name} for name in names]


Hit = Callable[[dict[str, Any]], bool]


def by_hand(
    rows: list[dict[str, Any]],
    hits: list[Hit],
    excluding: list[Hit] = (),  # type: ignore[assignment]
    **funnel: Any,
) -> dict[str, tuple[int, list[int], int]]:
    """Best attempts by person, with the number of the row they begin with."""
    names = sorted({row["user_id"] or row.get("anonymous_id") or "" for row in rows} - {""})
    events = []
    for place, row in enumerate(rows):
        who = row["user_id"] or row.get("anonymous_id")
        bits = sum(1 << n for n, hit in enumerate(hits) if hit(row))
        bits += sum(1 << EXCLUSION_BIT + n for n, hit in enumerate(excluding) if hit(row))
        if who and (bits or funnel.get("mode") == "strict"):
            events.append((names.index(who), row["event_time"], bits, place))
    usual = {"mode": "ordered", "window_us": 1200 * 1_000_000, "starts_before": NOON + DAY_US // 2}
    found = brute(events, Funnel(len(hits), **{**usual, **funnel}))
    return {names[who]: best for who, best in found.items()}


def named(name: str) -> Hit:
    return lambda row: row["name"] == name


CASES: list[tuple[dict[str, Any], list[Hit], list[Hit], dict[str, Any]]] = [
    ({"steps": steps("a", "b", "c")}, [named("a"), named("b"), named("c")], [], {}),
    ({"steps": steps("a", "a", "b")}, [named("a"), named("a"), named("b")], [], {}),
    (
        {"steps": steps("a", "b"), "mode": "strict"},
        [named("a"), named("b")], [], {"mode": "strict"},
    ),
    (
        {"steps": steps("b", "c", "d"), "mode": "any_order"},
        [named("b"), named("c"), named("d")], [], {"mode": "any_order"},
    ),
    (
        {"steps": steps("a", "b", "c"), "exclusions": [{"event": {"name": "x"}}]},
        [named("a"), named("b"), named("c")], [named("x")], {"exclusions": ((0, 2),)},
    ),
    (
        {"steps": [{"where": [{"property": "properties.plan", "values": ["pro", "trial"]}]},
                   {"name": "b"}, {}], "window_s": 300},
        [lambda row: "pro" in row["properties"] or "trial" in row["properties"], named("b"),
         lambda row: True],
        [], {"window_us": 300_000_000},
    ),
]  # fmt: skip


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(("question", "hits", "excluding", "funnel"), CASES)
def test_people_and_times_are_those_of_the_loop(
    warehouse: Warehouse,
    question: dict[str, Any],
    hits: list[Hit],
    excluding: list[Hit],
    funnel: dict[str, Any],
) -> None:
    expected = by_hand(ROWS, hits, excluding, **funnel)
    table = ask(warehouse, **question)
    counts = [sum(best[0] > step for best in expected.values()) for step in range(len(hits))]
    rows = [dict(zip([c.name for c in table.columns], row, strict=True)) for row in table.rows]
    assert [row["people"] for row in rows] == counts
    assert counts[0] > counts[1] > 0
    for step, row in enumerate(rows):
        taken = [times for number, times, _ in expected.values() if number > step]
        assert row["of_first"] == counts[step] / counts[0]
        if step:
            gaps = sorted((times[step] - times[step - 1]) / 1e6 for times in taken)
            assert row["of_previous"] == counts[step] / counts[step - 1]
            assert gaps[0] <= row["median_s"] <= row["p90_s"] <= gaps[-1]
            middle = (gaps[(len(gaps) - 1) // 2] + gaps[len(gaps) // 2]) / 2
            assert row["median_s"] == pytest.approx(middle)
    assert {title: value for title, value, _ in table.totals}["Began"] == counts[0]


@pytest.mark.usefixtures("at_once")
def test_a_breakdown_is_by_the_event_that_took_the_first_step(warehouse: Warehouse) -> None:
    expected = by_hand(ROWS, [named("a"), named("b")])
    counts: dict[Any, list[int]] = {}
    for taken, _, first in expected.values():
        group = counts.setdefault(json.loads(ROWS[first]["properties"])["plan"], [0, 0])
        group[0] += 1
        group[1] += taken == 2
    table = ask(warehouse, steps=steps("a", "b"), breakdown="properties.plan", top=2)
    found: dict[str, list[int]] = {}
    for value, _, people_there, *_ in table.rows:
        found.setdefault(value, []).append(people_there)
    ordered = sorted(counts, key=lambda v: (-counts[v][0], v is None, v))
    shown = {("(none)" if v is None else v): counts[v] for v in ordered[:2]}
    rest = [sum(counts[v][step] for v in ordered[2:]) for step in (0, 1)]
    assert found == {**shown, "(other)": rest}
    assert list(found) == [*shown, "(other)"]
    assert table.chart.color == "breakdown"
    assert any("2 more values" in note for note in table.notes)


def test_what_begins_in_the_days_may_end_after_them(warehouse: Warehouse, tmp_path: Path) -> None:
    midnight = NOON + DAY_US // 2
    world.archive(tmp_path, [
        event("1", midnight - 1, name="a"), event("2", midnight + 60_000_000, name="b"),
        event("3", midnight, name="a", user_id="late"), event("4", midnight + 1, name="b",
                                                              user_id="late"),
    ])  # fmt: skip
    here = Warehouse(world.settings(tmp_path), lambda _: pytest.fail("live was read"))
    asked = [row[1] for row in ask(here, steps=steps("a", "b"), window_s=61).rows]
    assert asked == [1, 1]
    assert [row[1] for row in ask(here, steps=steps("a", "b"), window_s=60).rows] == [1, 0]
    table = ask(here, steps=steps("a", "b"), window_s=864_000)
    assert any("still has time to go on" in note for note in table.notes)


def test_copies_and_the_order_of_rows_change_nothing(warehouse: Warehouse, tmp_path: Path) -> None:
    """Copies are received later; times that are equal keep the order of the first block."""
    rows = [row for row in ROWS if row["event_id"] != "x"]
    world.archive(tmp_path, rows)
    late = [{**row, "received_time": row["received_time"] + 7_000_000} for row in rows[::2]]
    world.archive(tmp_path, late)
    again = Warehouse(world.settings(tmp_path), lambda _: pytest.fail("live was read"))
    for mode in ("ordered", "strict", "any_order"):
        question = {"steps": steps("a", "b", "c"), "mode": mode}
        assert ask(again, **question).rows == ask(warehouse, **question).rows


def test_joined_ids_are_one_person(tmp_path: Path) -> None:
    world.archive(tmp_path, [
        event("1", NOON, name="a", user_id=None, anonymous_id="device"),
        event("2", NOON + 1, name="b", user_id="ann"),
    ])  # fmt: skip
    join(tmp_path, ("anonymous", "device", "p"), ("user", "ann", "p"))
    here = Warehouse(world.settings(tmp_path), lambda _: pytest.fail("live was read"))
    question = {"steps": steps("a", "b")}
    assert [row[1] for row in ask(here, **question).rows] == [1, 1]
    assert [row[1] for row in ask(here, **question, identity="device").rows] == [1, 0]


@pytest.mark.usefixtures("at_once")
def test_who_dropped_out_is_listed_a_page_at_a_time(warehouse: Warehouse) -> None:
    expected = by_hand(ROWS, [named("a"), named("b"), named("c")])
    for step, outcome in ((1, "dropped"), (2, "dropped"), (2, "reached"), (3, "reached")):
        wanted = sorted(
            who for who, (taken, _, _) in expected.items()
            if (taken == step if outcome == "dropped" else taken >= step)
        )  # fmt: skip
        question = {"steps": steps("a", "b", "c"), "step": step, "outcome": outcome, "limit": 3,
                    "dates": DATES, "window_s": 1200}  # fmt: skip
        found: list[str] = []
        while True:
            after = found[-1] if found else ""
            page = people(read(FunnelPeople, {**question, "after": after}), source_on(warehouse))
            assert page.totals == (("People", len(wanted), "count"),)
            found += [row[0] for row in page.rows]
            if len(page.rows) < 3:
                break
        assert found == wanted
    for person, began, took in page.rows:
        _, times, _ = expected[person]
        shown = [datetime.fromisoformat(at).timestamp() for at in (began, took)]
        assert shown == [times[0] // 1_000_000, times[2] // 1_000_000]


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ({"steps": []}, "length >= 1"),
        ({"steps": steps(*"a" * 17)}, "length <= 16"),
        ({"steps": steps("a"), "window_s": 0}, "window_s"),
        ({"steps": steps("a"), "mode": "loose"}, "loose"),
        ({"steps": steps("a", "b"), "breakdown": "nope"}, "property='nope'"),
        (
            {"steps": steps("a", "b"), "mode": "strict", "exclusions": [{"event": {}}]},
            "a funnel in strict has no exclusions",
        ),
        (
            {"steps": steps("a", "b"), "exclusions": [{"event": {}, "after": 2, "before": 1}]},
            "exclusions: an exclusion between steps 2 and 1",
        ),
    ],
)
def test_a_funnel_that_cannot_be_is_explained(
    warehouse: Warehouse, question: dict[str, Any], text: str
) -> None:
    with pytest.raises(QuestionError) as refused:
        ask(warehouse, **question)
    assert text in str(refused.value)


@pytest.mark.parametrize(("step", "text"), [(3, "has 2 steps"), (2, "is the last one")])
def test_a_step_that_nobody_drops_out_after_is_explained(
    warehouse: Warehouse, step: int, text: str
) -> None:
    asked = read(FunnelPeople, {"steps": steps("a", "b"), "step": step})
    with pytest.raises(QuestionError, match=text):
        people(asked, source_on(warehouse))


def test_over_http(tmp_path: Path) -> None:
    world.archive(tmp_path, ROWS[:50])
    client: FlaskClient = world.app(tmp_path).test_client()
    asked = {"steps": steps("a", "b"), "dates": DATES}
    found = client.post("/p/demo/api/insights/funnel", json=asked).get_json()
    assert [column["name"] for column in found["columns"]][:2] == ["step", "people"]
    assert [row[0] for row in found["rows"]] == ["1. a", "2. b"]
    assert found["chart"]["mark"] == "funnel"
    nobody = client.post("/p/other/api/insights/funnel", json=asked).get_json()
    assert [row[1:3] for row in nobody["rows"]] == [[0, None], [0, None]]
