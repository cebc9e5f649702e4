"""Trends of metrics by name: built-in ones from the exact tables, one's own against loops."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from catalog.metrics import MetricStore
from catalog.store import CatalogError
from reports.insights import trend_metric
from reports.insights.question import QuestionError, read
from reports.insights.source import Source
from reports.insights.trend_question import TrendQuestion
from reports.insights.trends import answer
from reports.warehouse.engine import Warehouse
from tests.beam_pipelines.test_rollup import run
from tests.brute import person
from tests.reports import world
from tests.reports.test_insight_base import join
from tests.reports.test_insight_trends import (
    DATES,
    END,
    FIRST,
    NOW,
    ROWS,
    SETTLED,
    START,
    ZONE,
    lines,
    of_period,
)
from tests.reports.test_insight_trends_exact import archive_until, tables_read
from tests.streams import event

Row = dict[str, Any]
Loop = Callable[[list[Row]], Any]


def said(row: Row, name: str) -> Any:
    """A property's value, as JSON has it."""
    return json.loads(row.get("properties") or "{}").get(name)


def size(row: Row) -> Decimal | None:
    """The number that is written there, if one is."""
    value = said(row, "size")
    return None if value in (None, "many") else Decimal(str(value))


def distinct(rows: Sequence[Row], of: Callable[[Row], Any]) -> int:
    return len({of(row) for row in rows} - {None, ""})


def metric(name: str, statistic: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "statistic": statistic, **more}


def at_least(value: float) -> list[dict[str, Any]]:
    return [{"field": "properties.size", "is": ">=", "value": value}]


METRICS: list[tuple[dict[str, Any], Loop]] = [
    (
        metric("pro_views", "count", event="view", dimensions=["country"],
               where=[{"field": "properties.plan", "is": "=", "value": "pro"}]),
        lambda rows: sum(r["name"] == "view" and said(r, "plan") == "pro" for r in rows),
    ),
    (
        metric("large", "count", where=at_least(2.5)),
        lambda rows: sum((size(r) or Decimal(0)) >= Decimal("2.5") for r in rows),
    ),
    (
        metric("nowhere", "count", where=[{"field": "country", "is": "missing"}]),
        lambda rows: sum(r.get("country") is None for r in rows),
    ),
    (
        metric("sizes", "sum", value="properties.size", decimals=1, title="Sizes", unit="cm"),
        lambda rows: float(sum(n for r in rows if (n := size(r)) is not None)),
    ),
    (
        metric("pounds", "sum", value="revenue_minor",
               where=[{"field": "currency", "is": "in", "value": ["GBP"]}]),
        lambda rows: sum(r["revenue_minor"] for r in rows if r.get("currency") == "GBP"),
    ),
    (
        metric("viewers", "distinct", event="view", value="person"),
        lambda rows: distinct([r for r in rows if r["name"] == "view"], person),
    ),
    (
        metric("countries", "distinct", value="country"),
        lambda rows: distinct(rows, lambda r: r.get("country")),
    ),
    (
        metric("carts", "distinct", value="order_id",
               where=[{"field": "event_time", "is": "<", "value": float(END)}]),
        lambda rows: distinct(rows, lambda r: r.get("order_id")),
    ),
]  # fmt: skip
BY_NAME = {definition["name"]: loop for definition, loop in METRICS}


@pytest.fixture(scope="module")
def rolled_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Events, metrics of one's own, and the exact tables after a rollup."""
    made = tmp_path_factory.mktemp("metrics")
    store = MetricStore(world.catalogue(made))
    for definition, _ in METRICS:
        store.put("demo", json.dumps(definition))
    store.put("other", json.dumps(metric("secret", "count")))
    archive_until(made, [{k: v for k, v in row.items() if k != "producer"} for row in ROWS], NOW)
    run(made, all_days=True)
    return made


def ask(directory: Path, *series: dict[str, Any], **question: Any) -> Any:
    warehouse = Warehouse(world.settings(directory), lambda _: pytest.fail("live was read"))
    store = MetricStore(world.catalogue(directory))
    asked = read(TrendQuestion, {"dates": DATES, "series": list(series), **question})
    return answer(asked, Source(warehouse, "demo", ZONE, NOW, metrics=store.of))


@pytest.mark.parametrize("grain", ["hour", "day", "week", "month"])
@pytest.mark.parametrize("name", BY_NAME)
def test_a_metric_of_ones_own_is_what_the_loop_says(rolled_up: Path, name: str, grain: str) -> None:
    table = ask(rolled_up, {"metric": name}, grain=grain)
    expected = [BY_NAME[name](rows) for rows in of_period(SETTLED, grain)]
    assert lines(table)["", ""] == expected
    assert any(expected)
    ((title, total, _),) = table.totals
    assert total == BY_NAME[name]([r for r in SETTLED if START <= r["event_time"] < END])
    assert title == ("Sizes, cm in all" if name == "sizes" else f"{name} in all")


@pytest.mark.parametrize("name", ["sizes", "viewers", "pounds"])
def test_events_read_bit_by_bit_make_the_same(
    rolled_up: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    reads = tables_read(monkeypatch)
    at_once = ask(rolled_up, {"metric": name}, grain="week", breakdown="country")
    once = len(reads)
    monkeypatch.setattr(trend_metric, "_AT_ONCE", 1)
    table = ask(rolled_up, {"metric": name}, grain="week", breakdown="country")
    assert (table.rows, table.totals) == (at_once.rows, at_once.totals)
    assert len(reads) - once == once + 5  # five days have 121 hours, so six reads instead of one


@pytest.mark.parametrize("name", ["pro_views", "sizes", "viewers"])
def test_it_is_split_and_filtered_like_any_other(rolled_up: Path, name: str) -> None:
    free = [{"property": "properties.plan", "values": ["free", "pro"]},
            {"property": "country", "operator": "is_not", "values": ["FR"]}]  # fmt: skip
    table = ask(rolled_up, {"metric": name}, breakdown="country", top=2, where=free)
    found, rest = lines(table), [r for r in SETTLED if r.get("country") != "FR"]
    names = {one for one, _ in found}
    assert {"DE", "GB", "(none)"} >= names - {"(other)", ""}
    shown = names - {"(other)"}
    for one in names:

        def is_of(row: Row, one: str = one) -> bool:
            country = row.get("country")
            said_so = "(none)" if country is None else country
            return said_so == one if one != "(other)" else said_so not in shown

        wanted = [BY_NAME[name](rows) for rows in of_period(list(filter(is_of, rest)), "day")]
        assert found[one, ""] == wanted


def test_it_is_compared_summed_up_and_calculated_with(rolled_up: Path) -> None:
    days = of_period(SETTLED, "day")
    large, everything = [BY_NAME["large"](rows) for rows in days], [len(rows) for rows in days]
    table = ask(rolled_up, {"metric": "large"}, {"metric": "events", "hidden": True},
                formulas=[{"formula": "A / B", "label": "share"}])  # fmt: skip
    assert [row[2] for row in table.rows if row[1] == "share"] == [
        pytest.approx(a / b) for a, b in zip(large, everything, strict=True)
    ]
    summed = ask(rolled_up, {"metric": "large"}, cumulative=True)
    assert lines(summed)["", ""] == [sum(large[: at + 1]) for at in range(len(large))]
    compared = ask(rolled_up, {"metric": "large"}, compare="previous")
    before = [r for r in SETTLED if r["event_time"] < START]
    assert sum(v or 0 for v in lines(compared, "previous")["", ""]) == BY_NAME["large"](before)


BUILT_IN = {
    "events": "events", "active_users": "people", "sessions": "sessions", "revenue": "revenue",
    "orders": "orders", "conversion_rate": "conversion_rate",
}  # fmt: skip


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_metric_comes_from_the_exact_table(
    rolled_up: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    raw = ask(rolled_up, {"measure": BUILT_IN[name], "label": "x"},
              where=[{"property": "event_id", "operator": "is_set"}])  # fmt: skip
    reads = tables_read(monkeypatch)
    table = ask(rolled_up, {"metric": name, "label": "x"})
    assert reads
    assert not any("events" in tables for tables in reads)
    assert table.rows == raw.rows
    assert table.rows


def test_people_of_a_metric_are_those_of_the_question(tmp_path: Path) -> None:
    MetricStore(world.catalogue(tmp_path)).put(
        "demo", json.dumps(metric("who", "distinct", value="person"))
    )
    device, ann = event("1", START, user_id=None, anonymous_id="device"), event("2", START)
    archive_until(tmp_path, [device, {**ann, "user_id": "ann"}], NOW)
    join(tmp_path, ("anonymous", "device", "p"), ("user", "ann", "p"))
    assert lines(ask(tmp_path, {"metric": "who"}))["", ""][0] == 1
    assert lines(ask(tmp_path, {"metric": "who"}, identity="device"))["", ""][0] == 2


@pytest.mark.parametrize(
    ("series", "text"),
    [
        (
            {"metric": "secret"},
            "metric='secret': demo has none of that name; there are events, active_users, ",
        ),
        ({"metric": "secret"}, "python -m catalog metric put demo FILE"),
        ({"metric": "sizes", "measure": "people"}, "leave out event, measure and property"),
        ({"metric": "sizes", "event": {"name": "view"}}, "leave out event, measure and property"),
        ({"metric": "sizes", "property": "properties.size"}, "leave out event"),
    ],
)
def test_what_cannot_be_asked_is_said(rolled_up: Path, series: dict[str, Any], text: str) -> None:
    with pytest.raises(QuestionError) as error:
        ask(rolled_up, series)
    assert text in str(error.value)


def test_different_values_do_not_add_up(rolled_up: Path) -> None:
    with pytest.raises(QuestionError, match="does not add up over periods"):
        ask(rolled_up, {"metric": "viewers"}, cumulative=True)


def test_a_definition_without_any_event_is_nought(rolled_up: Path) -> None:
    MetricStore(world.catalogue(rolled_up)).put(
        "demo", json.dumps(metric("never", "sum", event="never", value="properties.size"))
    )
    assert lines(ask(rolled_up, {"metric": "never"}))["", ""] == [0] * 5


@pytest.mark.parametrize("name", ["active_users", "sessions", "conversion_rate"])
def test_no_metric_of_ones_own_takes_the_name_of_a_built_in_one(tmp_path: Path, name: str) -> None:
    with pytest.raises(CatalogError, match="built-in metric"):
        MetricStore(world.catalogue(tmp_path)).put("demo", json.dumps(metric(name, "count")))


def test_pages_list_it_ask_it_and_keep_it_on_a_board(rolled_up: Path) -> None:
    client = world.app(rolled_up, NOW).test_client()
    known = client.get("/p/demo/api/vocabulary").get_json()["metrics"]
    assert {"name": "sizes", "title": "Sizes, cm", "own": True} in known
    assert {"name": "revenue", "title": "Net revenue", "own": False} in known
    assert "secret" not in {one["name"] for one in known}
    question = {"series": [{"metric": "sizes"}], "dates": f"{FIRST}..{FIRST}"}
    asked = client.post("/p/demo/api/insights/trend", json=question).get_json()
    wanted = BY_NAME["sizes"](of_period(SETTLED, "day")[0])
    assert [row[-1] for row in asked["rows"]] == [wanted]
    panel = {"title": "Sizes", "kind": "trend", "question": question, "own_dates": True}
    made = client.post("/p/demo/api/boards", json={"title": "Mine", "panels": [panel]})
    assert made.status_code == 201, made.text
    shown = client.get(f"/p/demo/api/boards/{made.get_json()['id']}/panels/0").get_json()
    assert [row[-1] for row in shown["texts"]] == [f"{wanted:g}"]
    unknown = {"series": [{"metric": "secret"}]}
    refused = client.post("/p/demo/api/insights/trend", json=unknown)
    assert (refused.status_code, "none of that name" in refused.get_json()["message"]) == (
        400,
        True,
    )
