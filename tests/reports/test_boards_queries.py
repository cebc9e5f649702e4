"""Queries on dashboards: values of their parameters, and how their rows are drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from reports.boards.definition import BoardError, SqlChart, board_of
from reports.boards.query_chart import Unit, chart_of
from reports.insights.question import QuestionError
from tests.reports import world
from tests.streams import NOON, event

PREVIEW = "/p/demo/api/boards/preview"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    directory: Path = tmp_path_factory.mktemp("board-queries")
    names = ["view", "view", "cart"]
    world.archive(directory, [event(f"{n}", NOON + n, name=names[n % 3]) for n in range(30)])
    return world.app(directory)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def make(client: FlaskClient, title: str, *panels: dict[str, Any]) -> str:
    answer = client.post("/p/demo/api/boards", json={"title": title, "panels": panels})
    assert answer.status_code == 201, answer.get_json()
    return str(answer.get_json()["id"])


# -- Parameters.


def test_a_query_has_values_that_every_reader_and_every_link_sees(client: FlaskClient) -> None:
    panel: dict[str, Any] = {
        "sql": "SELECT name, COUNT(*) AS n FROM events WHERE name IN UNNEST(@Names) GROUP BY name",
        "parameters": {"names": {"type": "ARRAY<STRING>", "value": ["cart"]}},
        "chart": {"mark": "table"},
    }
    board = make(client, "Values", panel)
    path = f"/p/demo/api/boards/{board}"
    (kept,) = client.get(path).get_json()["definition"]["panels"]
    assert kept["parameters"] == panel["parameters"]
    assert client.get(f"{path}/panels/0").get_json()["texts"] == [["cart", "10"]]
    shared = client.post(f"{path}/shares", json={}).get_json()["path"]
    assert client.get(f"{shared}/panels/0").get_json()["texts"] == [["cart", "10"]]
    assert "names" not in client.get(shared).text.lower()
    assert b"</svg>" in client.get(f"{path}.svg").data


def test_one_query_with_other_values_is_another(client: FlaskClient) -> None:
    sql = "SELECT COUNT(*) AS n FROM events WHERE name = @name"
    asked = [
        client.post(PREVIEW, json={"sql": sql, "parameters": {"name": name}}).get_json()["texts"]
        for name in ("cart", "view", "cart")
    ]
    assert asked == [[["10"]], [["20"]], [["10"]]]


def test_the_boards_days_go_before_values_of_the_same_name(client: FlaskClient) -> None:
    panel = {"sql": "SELECT @first_day AS a", "parameters": {"First_Day": "1999-01-01"}}
    board = make(client, "Days", panel)
    address = f"/p/demo/api/boards/{board}/panels/0?dates=2026-09-01..2026-09-02"
    assert "2026" in str(client.get(address).get_json()["texts"])


def test_a_missing_value_is_told_in_the_tile_and_kept_from_links(client: FlaskClient) -> None:
    board = make(client, "Missing", {"sql": "SELECT COUNT(*) AS n FROM events WHERE name = @who"})
    path = f"/p/demo/api/boards/{board}"
    answer = client.get(f"{path}/panels/0")
    assert answer.status_code == 400
    assert "@who" in answer.get_json()["message"]
    shared = client.post(f"{path}/shares", json={}).get_json()["path"]
    assert client.get(f"{shared}/panels/0").get_json() == {
        "message": "This panel cannot be computed now."
    }


@pytest.mark.parametrize(
    ("panel", "said"),
    [
        ({"sql": "SELECT @d", "parameters": {"d": {"type": "DATE", "value": "soon"}}}, "d='soon'"),
        ({"sql": "SELECT @d", "parameters": {"d": {"type": "SHOE", "value": "1"}}}, "SHOE"),
        ({"sql": "SELECT @d", "parameters": {"d": 1, "D": 2}}, "given twice"),
        ({"sql": "SELECT 1", "parameters": [1]}, "parameters"),
        ({"query": "q1", "parameters": {"d": 1}}, "a saved query has its own"),
        ({"text": "x", "parameters": {"d": 1}}, "parameters belong to sql"),
    ],
)
def test_values_that_cannot_be_used_are_refused_when_they_are_saved(
    panel: dict[str, Any], said: str
) -> None:
    with pytest.raises(BoardError) as refused:
        board_of({"title": "t", "panels": [panel]})
    assert said in str(refused.value)


# -- The chart.

TIME, NUMBER, LABEL = "time", "number", "label"


@pytest.mark.parametrize(
    ("said", "columns", "expected"),
    [
        # Nothing is said: lines over time, bars of names, one number large, else the table.
        (None, {"day": TIME, "n": NUMBER}, ("line", "day", "n", "")),
        (None, {"n": NUMBER, "name": LABEL, "day": TIME}, ("line", "day", "n", "name")),
        (None, {"name": LABEL, "n": NUMBER, "m": NUMBER}, ("bar", "name", "n", "")),
        (None, {"n": NUMBER}, ("number", "", "n", "")),
        (None, {"a": LABEL, "b": LABEL, "n": NUMBER}, ("table", "", "", "")),
        (None, {"a": NUMBER, "b": NUMBER}, ("table", "", "", "")),
        (None, {"a": LABEL}, ("table", "", "", "")),
        # The mark is said: its columns are chosen.
        ({"mark": "bar"}, {"day": TIME, "n": NUMBER}, ("bar", "day", "n", "")),
        ({"mark": "bar"}, {"a": LABEL, "b": LABEL, "n": NUMBER}, ("bar", "a", "n", "b")),
        ({"mark": "line"}, {"a": NUMBER, "b": NUMBER}, ("line", "a", "b", "")),
        ({"mark": "line"}, {"n": NUMBER, "name": LABEL}, ("line", "name", "n", "")),
        ({"mark": "number"}, {"name": LABEL, "n": NUMBER}, ("number", "", "n", "")),
        ({"mark": "table"}, {"day": TIME, "n": NUMBER}, ("table", "", "", "")),
        # Columns are said: only what is missing is chosen, and nothing splits unasked.
        ({"mark": "line", "y": "m"}, {"day": TIME, "n": NUMBER, "m": NUMBER, "a": LABEL},
         ("line", "day", "m", "")),
        ({"mark": "bar", "x": "n"}, {"n": NUMBER, "m": NUMBER}, ("bar", "n", "m", "")),
        ({"mark": "bar", "x": "a", "y": "n", "color": "b"}, {"a": LABEL, "b": LABEL, "n": NUMBER},
         ("bar", "a", "n", "b")),
    ],
)  # fmt: skip
def test_what_is_drawn(
    said: dict[str, Any] | None, columns: dict[str, Unit], expected: tuple[str, ...]
) -> None:
    chart = SqlChart(**said) if said else None
    found = chart_of(chart, list(columns), list(columns.values()))
    assert tuple(found[role] for role in ("mark", "x", "y", "color")) == expected


@pytest.mark.parametrize(
    ("said", "columns", "message"),
    [
        ({"mark": "line"}, {"a": LABEL}, "needs a column of numbers; the query has a"),
        ({"mark": "number"}, {"a": LABEL, "b": TIME}, "needs a column of numbers"),
        ({"mark": "bar"}, {"n": NUMBER}, "needs a column of numbers; the query has n"),
        ({"mark": "bar", "y": "n"}, {"n": NUMBER}, "needs two columns; the query has n"),
        ({"mark": "line", "color": "x"}, {"n": NUMBER}, "color='x' is no column of the query"),
    ],
)
def test_what_cannot_be_drawn_says_what_it_takes(
    said: dict[str, Any], columns: dict[str, Unit], message: str
) -> None:
    with pytest.raises(QuestionError) as refused:
        chart_of(SqlChart(**said), list(columns), list(columns.values()))
    assert message in str(refused.value)


def test_a_saved_query_is_drawn_as_its_panel_says(client: FlaskClient) -> None:
    body = {"name": "Names", "sql": "SELECT name, COUNT(*) AS n FROM events GROUP BY name"}
    saved = client.post("/p/demo/api/sql/queries", json=body).get_json()["id"]
    marks = []
    for mark in ("bar", "line", "number", "table"):
        shown = client.post(PREVIEW, json={"query": saved, "chart": {"mark": mark}}).get_json()
        marks.append((shown["chart"]["mark"], bool(shown["spec"])))
    assert [mark for mark, _ in marks] == ["bar", "line", "number", "table"]
    assert dict(marks)["bar"]
    assert not dict(marks)["table"]
