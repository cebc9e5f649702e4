"""Trends over a real archive, across a change of clocks, against loops over the rows."""

from __future__ import annotations

import json
import math
import random
from collections import defaultdict
from collections.abc import Iterable
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from reports.insights.question import QuestionError, read
from reports.insights.source import Source
from reports.insights.trend_question import TrendQuestion
from reports.insights.trends import answer
from reports.warehouse.engine import Warehouse
from tests import exact_brute
from tests.brute import person
from tests.reports import world
from tests.streams import DAY_US, event, order
from transforms.grid import day_span_us
from transforms.trends import Grid

ZONE = "Europe/London"
FIRST, LAST = date(2026, 10, 23), date(2026, 10, 27)  # the 25th has 25 hours
DATES = f"{FIRST}..{LAST}"
START, END = day_span_us(FIRST, ZONE)[0], day_span_us(LAST, ZONE)[1]
NOW = END + 3_600_000_000


def random_rows(seed: int, count: int = 900) -> list[dict[str, Any]]:
    """Events from two days before the first day on; orders in two currencies, some sent again."""
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        at = rng.randrange(START - 2 * DAY_US, END + DAY_US)
        at -= at % rng.choice([1, 60_000_000])
        who = rng.randrange(12)
        ids = {"user_id": f"u{who}"} if who % 3 else {"user_id": None, "anonymous_id": f"a{who}"}
        size = rng.choice([None, 1, 2.5, "7", "many", -4])
        more = {
            "country": rng.choice(["GB", "DE", "FR", "", None]),
            "properties": json.dumps({"size": size, "plan": rng.choice(["pro", "free"])}),
            "producer": "p-0", **ids,
        }  # fmt: skip
        match rng.randrange(6):
            case 0:
                currency = rng.choice(["GBP", "JPY"])
                again = f"o{rng.randrange(60)}" if rng.random() < 0.4 else f"e{number}"
                pence = rng.choice([0, 500, 1999, -300])
                rows.append(
                    order(f"e{number}", at, pence, currency=currency, order_id=again, **more)
                )
            case 1:
                rows.append(event(f"e{number}", at, name="Line", order_id=f"l{rng.randrange(9)}",
                                  revenue_minor=5, currency="GBP", **more))  # fmt: skip
            case _:
                rows.append(event(f"e{number}", at, name=rng.choice(["view", "cart"]), **more))
    copies = [{**row, "received_time": row["received_time"] + 9_000_000} for row in rows[::9]]
    return rows + copies + [event("nobody", START + 5, user_id=None)]


def placed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "producer": "p-0", "seq": 0, "row": at} for at, row in enumerate(rows)]


ROWS = random_rows(1)
SETTLED = exact_brute.counted(placed(ROWS))[0]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("trends")
    world.archive(made, [{k: v for k, v in row.items() if k != "producer"} for row in ROWS])
    world.archive(made, [event("foreign", START + DAY_US, project="other", user_id="secret")])
    return made


@pytest.fixture(scope="module")
def warehouse(directory: Path) -> Warehouse:
    return Warehouse(world.settings(directory), lambda _: pytest.fail("live was read"))


def source_on(warehouse: Warehouse, now: int = NOW) -> Source:
    return Source(warehouse, "demo", ZONE, now)


def ask(warehouse: Warehouse, *series: dict[str, Any], now: int = NOW, **question: Any) -> Any:
    asked = read(TrendQuestion, {"dates": DATES, "series": list(series), **question})
    return answer(asked, source_on(warehouse, now))


Lines = dict[tuple[str, str], list[Any]]


def lines(table: Any, column: str = "value") -> Lines:
    """(breakdown, currency) -> values, of a table with one series."""
    names = [c.name for c in table.columns]
    found: Lines = defaultdict(list)
    for row in table.rows:
        one = dict(zip(names, row, strict=True))
        found[one.get("breakdown", ""), one.get("currency", "")].append(one[column])
    return dict(found)


# -- Each measure by hand.


def number_of(row: dict[str, Any]) -> float | None:
    size = json.loads(row.get("properties") or "{}").get("size")
    try:
        return None if size is None else float(size)
    except ValueError:
        return None


def quantile(values: list[float], at: float) -> float:
    ordered = sorted(values)
    place = at * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def measured(rows: list[dict[str, Any]], measure: str) -> Any:
    people = {person(row) for row in rows} - {None}
    numbers = [n for row in rows if (n := number_of(row)) is not None]
    orders = [row for row in rows if exact_brute.is_order(row)]
    match measure:
        case "events":
            return len(rows)
        case "people":
            return len(people)
        case "orders":
            return len({row["order_id"] for row in orders})
        case "conversion_rate":
            return len({person(row) for row in orders} - {None}) / len(people) if people else None
        case "events_per_person":
            return sum(person(r) is not None for r in rows) / len(people) if people else None
        case "sum":
            return math.fsum(numbers)
        case "average":
            return math.fsum(numbers) / len(numbers) if numbers else None
        case "minimum":
            return min(numbers, default=None)
        case "maximum":
            return max(numbers, default=None)
    shares = {"median": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
    return quantile(numbers, shares[measure]) if numbers else None


def of_period(rows: Iterable[dict[str, Any]], grain: Any) -> list[list[dict[str, Any]]]:
    periods = Grid.of((FIRST, LAST), grain, ZONE).periods
    return [[r for r in rows if p.start <= r["event_time"] < p.end] for p in periods]


PLAIN = ["events", "people", "orders", "conversion_rate", "events_per_person"]
OF_NUMBERS = ["sum", "average", "minimum", "maximum", "median", "p90", "p95", "p99"]


@pytest.mark.parametrize("grain", ["hour", "day", "week", "month"])
@pytest.mark.parametrize("measure", [*PLAIN, *OF_NUMBERS])
def test_a_measure_is_what_the_loop_says(warehouse: Warehouse, grain: str, measure: str) -> None:
    of = {"property": "properties.size"} if measure in OF_NUMBERS else {}
    table = ask(warehouse, {"measure": measure, **of}, grain=grain)
    expected = [measured(rows, measure) for rows in of_period(SETTLED, grain)]
    if measure in OF_NUMBERS and measure != "sum":
        assert None in expected or grain != "hour"
    assert lines(table)["", ""] == [None if v is None else pytest.approx(v) for v in expected]
    within = [row for row in SETTLED if START <= row["event_time"] < END]
    ((_, total, _),) = table.totals
    assert total == pytest.approx(measured(within, measure))


@pytest.mark.parametrize("grain", ["hour", "day", "week"])
def test_revenue_is_exact_by_currency_and_an_order_counts_once(
    warehouse: Warehouse, grain: str
) -> None:
    table = ask(warehouse, {"measure": "revenue"}, grain=grain)
    expected = {
        ("", currency): [
            sum(r["revenue_minor"] for r in rows if r.get("currency") == currency)
            for rows in of_period(SETTLED, grain)
        ]
        for currency in ("GBP", "JPY")
    }
    assert lines(table) == expected
    twice = sum(r.get("revenue_minor") or 0 for r in ROWS if START <= r["event_time"] < END)
    assert twice > sum(map(sum, expected.values()))
    assert [c.unit for c in table.columns if c.name == "value"] == ["money"]


@pytest.mark.parametrize("grain", ["hour", "day", "week"])
@pytest.mark.parametrize(("name", "country"), [(None, None), ("cart", None), ("view", "GB")])
@pytest.mark.usefixtures("at_once")
def test_sessions_are_visits_with_such_an_event(
    warehouse: Warehouse, grain: Any, name: str | None, country: str | None
) -> None:
    where = [{"property": "country", "values": [country]}] if country else []
    table = ask(warehouse, {"measure": "sessions", "event": {"name": name}},
                grain=grain, where=where)  # fmt: skip
    firsts = []
    for session in exact_brute.sessions(SETTLED, ZONE):
        hits = [r for r in session if name in (None, r["name"])
                and country in (None, r.get("country"))]  # fmt: skip
        firsts += hits[:1]
    expected = [len(rows) for rows in of_period(firsts, grain)]
    assert sum(expected) > 20
    assert lines(table)["", ""] == expected


def test_a_breakdown_has_the_largest_values_and_the_rest(warehouse: Warehouse) -> None:
    within = [r for r in SETTLED if START <= r["event_time"] < END and r["name"] == "view"]
    by_value: dict[Any, list[Any]] = defaultdict(list)
    for row in within:
        by_value[row.get("country")].append(row)
    ordered = sorted(by_value, key=lambda v: (-len(by_value[v]), v is None, v))
    for measure in ("events", "people", "median", "sessions"):
        of = {"property": "properties.size"} if measure == "median" else {}
        table = ask(warehouse, {"measure": measure, "event": {"name": "view"}, **of},
                    breakdown="country", top=2)  # fmt: skip
        found = lines(table)
        names = ["(none)" if v is None else v for v in ordered[:2]]
        assert [key[0] for key in found] == [*names, "(other)"]
        if measure == "sessions":
            continue
        rest = [row for value in ordered[2:] for row in by_value[value]]
        for name, rows in [
            *zip(names, [by_value[v] for v in ordered], strict=False),
            ("(other)", rest),
        ]:
            expected = [measured(some, measure) for some in of_period(rows, "day")]
            assert found[name, ""] == [None if v is None else pytest.approx(v) for v in expected]


def test_filters_and_a_step_hold_together(warehouse: Warehouse) -> None:
    where = [{"property": "properties.plan", "values": ["pro"]}]
    step = {"name": "view", "where": [{"property": "properties.size", "operator": "above",
                                       "values": [2]}]}  # fmt: skip
    table = ask(warehouse, {"event": step}, where=where)
    hits = [
        r for r in SETTLED
        if r["name"] == "view" and '"pro"' in r.get("properties", "") and (number_of(r) or 0) > 2
    ]  # fmt: skip
    assert lines(table)["", ""] == [len(rows) for rows in of_period(hits, "day")]


def test_people_and_orders_so_far_count_once(warehouse: Warehouse) -> None:
    for measure, of in (("people", person), ("orders", lambda r: r["order_id"])):
        table = ask(warehouse, {"measure": measure}, cumulative=True)
        seen: set[Any] = set()
        expected = []
        for rows in of_period(SETTLED, "day"):
            some = rows if measure == "people" else filter(exact_brute.is_order, rows)
            seen |= {of(row) for row in some} - {None}
            expected.append(len(seen))
        assert lines(table)["", ""] == expected


def test_sums_so_far_and_means(warehouse: Warehouse) -> None:
    plain = lines(ask(warehouse, {"event": {"name": "view"}}))["", ""]
    table = ask(warehouse, {"event": {"name": "view"}}, cumulative=True, moving_average=2)
    sums = [sum(plain[: at + 1]) for at in range(len(plain))]
    assert lines(table)["", ""] == sums
    means = [None, *((a + b) / 2 for a, b in pairwise(sums))]
    assert lines(table, "average")["", ""] == means


def test_the_periods_before_stand_beside(warehouse: Warehouse) -> None:
    days = "2026-10-26..2026-10-27"
    table = ask(warehouse, {"event": {"name": "view"}}, dates=days, compare="previous")
    whole = lines(ask(warehouse, {"event": {"name": "view"}}))["", ""]
    assert lines(table)["", ""] == whole[3:]
    assert lines(table, "previous")["", ""] == whole[1:3]
    assert lines(table, "previous_time")["", ""] == ["2026-10-24", "2026-10-25"]
    assert (table.chart.before, table.chart.grain) == ("previous", "day")
    change = [(now - then) / then for now, then in zip(whole[3:], whole[1:3], strict=True)]
    assert lines(table, "change")["", ""] == pytest.approx(change)
    same = ask(warehouse, {}, dates="2026-10-30..2026-10-30", compare="previous_same_weekdays")
    assert lines(same, "previous")["", ""] == [len(of_period(SETTLED, "day")[0])]
    assert same.chart.before == ""  # one period is no line


def test_formulas_are_worked_out_for_each_value_and_currency(warehouse: Warehouse) -> None:
    series = [
        {"measure": "revenue", "hidden": True},
        {"measure": "orders", "hidden": True},
        {"event": {"name": "nope"}, "hidden": True},
    ]
    formulas = [{"formula": "A / B", "label": "Per order"}, {"formula": "B / C * 100"}]
    table = ask(warehouse, *series, formulas=formulas)
    found: dict[str, list[Any]] = defaultdict(list)
    for _, title, _, value in table.rows:
        found[title].append(value)
    assert list(found) == ["Per order GBP", "Per order JPY", "B / C * 100"]
    for currency, units in (("GBP", 100), ("JPY", 1)):
        expected = [
            sum(r["revenue_minor"] for r in rows if r.get("currency") == currency) / units
            / measured(rows, "orders")
            for rows in of_period(SETTLED, "day")
        ]  # fmt: skip
        assert found[f"Per order {currency}"] == pytest.approx(expected)
    assert found["B / C * 100"] == [None] * 5
    assert any("B / C * 100: 5 periods have no value" in note for note in table.notes)


def test_what_is_not_over_or_cut_is_said(warehouse: Warehouse) -> None:
    table = ask(warehouse, {}, now=END - 3_600_000_000)
    assert "The day from 2026-10-27 is not over." in table.notes
    assert not any("not over" in note for note in ask(warehouse, {}).notes)
    weeks = ask(warehouse, {}, grain="week").notes
    assert "Of the week from 2026-10-19 only the days asked for count." in weeks
    assert [row[0] for row in ask(warehouse, {}, grain="week").rows] == ["2026-10-23", "2026-10-26"]


def test_series_of_different_kinds_are_told_apart(warehouse: Warehouse) -> None:
    view = {"event": {"name": "view"}}
    table = ask(warehouse, view, view, {"measure": "people", **view}, {"measure": "revenue"})
    titles = list(dict.fromkeys(row[1] for row in table.rows))
    assert titles == ["view (A)", "view (B)", "People: view", "Net revenue GBP", "Net revenue JPY"]
    assert [c.unit for c in table.columns if c.name == "value"] == ["number"]
    assert any("whole units of its currency" in note for note in table.notes)
    minor = lines(ask(warehouse, {"measure": "revenue"}))["", "GBP"]
    assert [row[3] for row in table.rows if row[1] == "Net revenue GBP"] == [
        value / 100 for value in minor
    ]


def test_no_events_are_zeros_and_no_money_no_line(tmp_path: Path) -> None:
    empty = Warehouse(world.settings(tmp_path), lambda _: pytest.fail("live was read"))
    assert lines(ask(empty, {}))["", ""] == [0] * 5
    assert lines(ask(empty, {"measure": "average", "property": "country"}))["", ""] == [None] * 5
    assert ask(empty, {"measure": "revenue"}).rows == []
    assert ask(empty, {}, breakdown="country").rows == []
    assert lines(ask(empty, {"measure": "sessions"}))["", ""] == [0] * 5


# -- What cannot be asked.


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ({"series": []}, "length >= 1"),
        ({"series": [{}] * 11}, "length <= 10"),
        ({"series": [{"measure": "mode"}]}, "mode"),
        ({"series": [{"measure": "sum"}]}, "series A: measure='sum' needs a property"),
        ({"series": [{}, {"property": "country"}]}, "series B: measure='events' takes no property"),
        ({"series": [{"measure": "median", "property": "nope"}]}, "property='nope'"),
        ({"series": [{"hidden": True}]}, "hidden: every series is"),
        ({"formulas": [{"formula": "A / B"}]}, "there is no series B; there are A"),
        ({"formulas": [{"formula": "A /"}]}, "wanted at character 4"),
        ({"grain": "minute"}, "minute"),
        ({"grain": "month", "compare": "previous_same_weekdays"}, "months begin on any weekday"),
        ({"series": [{"measure": "conversion_rate"}], "cumulative": True}, "does not add up"),
        ({"grain": "hour", "dates": "2020-01-01..2026-01-01", "breakdown": "country"}, "200,000"),
        ({"breakdown": "nope"}, "property='nope'"),
    ],
)
def test_a_trend_that_cannot_be_is_explained(
    warehouse: Warehouse, question: dict[str, Any], text: str
) -> None:
    with pytest.raises(QuestionError) as refused:
        answer(read(TrendQuestion, question), source_on(warehouse))
    assert text in str(refused.value)


def test_over_http(directory: Path) -> None:
    client: FlaskClient = world.app(directory, NOW).test_client()
    asked = {"series": [{"measure": "revenue"}], "dates": DATES, "compare": "previous"}
    found = client.post("/p/demo/api/insights/trend", json=asked).get_json()
    assert (found["status"], found["chart"]["mark"]) == ("exact", "line")
    assert all(isinstance(row[3], int) for row in found["rows"])
    hours = {"series": [{}], "dates": "2026-10-25..2026-10-25", "grain": "hour"}
    found = client.post("/p/demo/api/insights/trend", json=hours).get_json()
    assert len(found["rows"]) == 25
    assert len({row[0] for row in found["rows"]}) == 25
    foreign = client.post("/p/other/api/insights/trend", json={"dates": DATES}).get_json()
    assert sum(row[2] for row in foreign["rows"]) == 1
