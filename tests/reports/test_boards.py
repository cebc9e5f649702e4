"""Dashboards over HTTP: saved, changed, asked, shared, taken away; and those that come built in."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from flask import Flask
from flask.testing import FlaskClient

from reports.boards.definition import BoardError, board_of, built_in, scoped
from reports.boards.definition import Scope as BoardScope
from reports.charts.picture import Box, sheet
from reports.insights.question import Filter
from schemas_avro.tables import LEDGER, PARITY
from tests.beam_pipelines.test_sessions import run as find_sessions
from tests.reports import shop, world
from tests.reports.test_insight_vitals import ROWS as VITALS
from tests.streams import DAY_US, NOON, event

TREND = {"title": "People", "kind": "trend", "question": {"series": [{"measure": "people"}]}}
PANELS = [(name, i) for name, board in built_in().items() for i in range(len(board.panels))]

REQUESTS = [
    event(f"r{n}", NOON - n * DAY_US, name="Request", properties=json.dumps({"ms": 20 + n}))
    for n in range(6)
]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = shop.make(tmp_path_factory.mktemp("boards"), *VITALS, *REQUESTS)
    find_sessions(made)
    world.keep(made, LEDGER, [world.ledger_minute(NOON, received=3, archived=3)])
    world.keep(made, PARITY, [world.compared_day(shop.FIRST + timedelta(30), live=7, exact=7)])
    return made


@pytest.fixture(scope="module")
def app(directory: Path) -> Flask:
    return world.app(directory)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def make(client: FlaskClient, title: str, **more: Any) -> str:
    answer = client.post("/p/demo/api/boards", json={"title": title, "panels": [TREND], **more})
    assert answer.status_code == 201, answer.json
    made: str = answer.get_json()["id"]
    return made


# -- Built in.


@pytest.mark.parametrize(("name", "number"), PANELS)
def test_every_panel_of_every_built_in_board_is_answered(
    client: FlaskClient, name: str, number: int
) -> None:
    answer = client.get(f"/p/demo/api/boards/{name}/panels/{number}")
    assert answer.status_code == 200, answer.json
    panel = built_in()[name].panels[number]
    if not panel.text:
        found = answer.get_json()
        assert found["trust"][1].startswith(("as of 2", "nothing there yet"))
        assert found["row_count"] or found["totals"], panel.title


@pytest.mark.parametrize(("name", "number"), PANELS)
def test_and_without_a_single_event_it_is_answered_too(
    tmp_path_factory: pytest.TempPathFactory, name: str, number: int
) -> None:
    empty = _empty_client(tmp_path_factory)
    answer = empty.get(f"/p/demo/api/boards/{name}/panels/{number}")
    assert answer.status_code == 200, answer.json


_EMPTY: list[FlaskClient] = []


def _empty_client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    if not _EMPTY:
        _EMPTY.append(world.app(tmp_path_factory.mktemp("empty")).test_client())
    return _EMPTY[0]


def test_a_query_that_is_tried_is_one_of_its_persons(directory: Path) -> None:
    few = world.app(directory, sql_per_user=1)
    panel = {"title": "Mine", "sql": "SELECT 1 AS one"}
    slot = few.extensions["queries"].warehouse.slot("local")
    try:
        refused = few.test_client().post("/p/demo/api/boards/preview", json=panel)
        assert "1 queries of yours are running already" in refused.get_json()["message"]
    finally:
        slot.give_back()
    assert few.test_client().post("/p/demo/api/boards/preview", json=panel).status_code == 200


def test_the_ten_are_there_and_cannot_be_changed(client: FlaskClient) -> None:
    titles = [one["title"] for one in client.get("/p/demo/api/boards").get_json()["boards"]]
    assert titles[:10] == [
        "Overview", "Acquisition", "Engagement", "Funnel", "Retention", "Revenue", "Experiments",
        "Errors & Performance", "Health", "Data quality",
    ]  # fmt: skip
    changed = client.put("/p/demo/api/boards/overview", json={"title": "Mine"})
    assert (changed.status_code, changed.json) == (
        400, {"message": "This dashboard comes with Headwater; copy it, and change the copy."},
    )  # fmt: skip


# -- What people make.


def test_a_board_is_saved_read_changed_and_removed(client: FlaskClient) -> None:
    board = make(client, "First", description="d")
    address = f"/p/demo/api/boards/{board}"
    found = client.get(address).get_json()
    assert found["definition"] == {"title": "First", "description": "d", "panels": [TREND]}
    changed = {"title": "First, again", "panels": [{"text": "Words", "w": 12}]}
    saved = client.put(f"{address}?version={found['version']}", json=changed)
    assert saved.get_json()["title"] == "First, again"
    assert client.get(address).get_json()["definition"] == changed
    late = client.put(f"{address}?version={found['version']}", json=changed)
    assert late.status_code == 409
    assert "somebody else changed this dashboard" in late.get_json()["message"]
    added = client.post(f"{address}/panels", json=TREND)
    assert added.status_code == 201
    assert client.get(address).get_json()["definition"]["panels"] == [*changed["panels"], TREND]
    assert client.delete(address).json == {"removed": "First, again"}
    assert client.get(address).status_code == 404


def test_a_definition_that_is_taken_away_can_be_brought_in_again(client: FlaskClient) -> None:
    board = make(
        client, "Away", dates="last_7_days", where=[{"property": "country", "values": ["GB"]}]
    )
    away = client.get(f"/p/demo/api/boards/{board}.json")
    assert away.headers["Content-Disposition"] == 'attachment; filename="demo-Away.json"'
    definition = json.loads(away.data)
    assert client.post("/p/demo/api/boards", json=definition).status_code == 409
    brought = client.post("/p/other/api/boards", json=definition).get_json()["id"]
    assert client.get(f"/p/other/api/boards/{brought}").get_json()["definition"] == definition


@pytest.mark.parametrize(
    ("definition", "said"),
    [
        (None, "Expected `object`, got `null`"),
        ({}, "missing required field `title`"),
        ({"title": ""}, "length >= 1"),
        ({"title": "t", "colour": 1}, "unknown field `colour`"),
        ({"title": "t", "refresh_s": 3}, "refresh_s=3 is too often"),
        ({"title": "t", "panels": [{}]}, "panel 1 (no title) has nothing: give it exactly one of"),
        ({"title": "t", "panels": [{"sql": "x", "text": "y"}]}, "has sql and text"),
        ({"title": "t", "panels": [{"text": "x", "w": 13}]}, "`int` <= 12 - at `$.panels[0].w`"),
        ({"title": "t", "panels": [{"kind": "tea"}]}, "panel 1: no kind 'tea'; there are"),
        (
            {
                "title": "t",
                "panels": [{"kind": "trend", "title": "T", "question": {"grain": "eon"}}],
            },
            "panel 1 (T): Invalid enum value 'eon'",
        ),
        ({"title": "t", "panels": [{"text": "x"}] * 41}, "length <= 40"),
    ],
)
def test_what_is_no_dashboard_says_why(client: FlaskClient, definition: Any, said: str) -> None:
    with pytest.raises(BoardError):
        board_of(definition)
    answer = client.post("/p/demo/api/boards", json=definition)
    assert answer.status_code == 400
    assert said in answer.get_json()["message"]


def test_the_scope_of_the_board_goes_onto_questions() -> None:
    where = (Filter(property="country", values=("GB",)),)
    scope = BoardScope("last_7_days", where, "Buyers")
    own = {"dates": "today", "where": [{"property": "browser_name", "values": ["Firefox"]}]}
    assert scoped(own, scope, own_dates=False) == {
        "dates": "last_7_days",
        "cohort": "Buyers",
        "where": [*own["where"], {"property": "country", "operator": "is", "values": ("GB",)}],
    }
    assert scoped(own, scope, own_dates=True)["dates"] == "today"
    assert scoped(own, BoardScope(), own_dates=False) == own


def test_days_and_filters_of_the_address_change_the_numbers(client: FlaskClient) -> None:
    board = make(client, "Scoped", dates="last_30_days")
    address = f"/p/demo/api/boards/{board}/panels/0"
    whole = client.get(address).get_json()
    week = client.get(f"{address}?dates=last_7_days").get_json()
    assert (whole["row_count"], week["row_count"]) == (30, 7)
    assert week["texts"] == whole["texts"][-7:]
    gb = client.get(address, query_string={
        "where": json.dumps([{"property": "country", "values": ["GB"]}])}).get_json()  # fmt: skip
    both = [{r[0]: int(r[-1]) for r in one["texts"]} for one in (gb, whole)]
    assert all(both[0][day] <= both[1][day] for day in both[1])
    assert sum(both[0].values()) < sum(both[1].values())


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("dates=soon", "dates='soon' are no days"),
        ("where=x", "Expecting value"),
        ("where=[1]", "Expected `object`, got `int`"),
        ("cohort=None+such", "cohort='None such'"),
    ],
)
def test_a_bad_address_is_told(client: FlaskClient, query: str, said: str) -> None:
    answer = client.get(f"/p/demo/api/boards/overview/panels/6?{query}")
    assert answer.status_code == 400
    assert said in answer.get_json()["message"]


def test_a_query_takes_the_boards_days_and_guesses_its_chart(client: FlaskClient) -> None:
    sql = (
        "SELECT DATE(event_time) AS day, COUNT(*) AS n FROM events "
        "WHERE DATE(event_time) BETWEEN @first_day AND @last_day GROUP BY day ORDER BY day"
    )
    board = make(client, "Queries", panels=[{"sql": sql}, {"sql": "SELECT nme FROM events"}])
    address = f"/p/demo/api/boards/{board}/panels"
    found = client.get(f"{address}/0?dates=last_7_days").get_json()
    assert found["row_count"] == 7
    assert found["spec"]["layer"][0]["mark"]["type"] == "line"
    assert client.get(f"{address}/1").status_code == 400
    bad = {"sql": "SELECT 1 AS n", "chart": {"mark": "bar", "x": "day", "y": "n"}}
    answer = client.post("/p/demo/api/boards/preview", json=bad)
    assert "chart x='day' is no column of the query; it has n" in answer.get_json()["message"]


def test_a_saved_query_is_asked_by_its_id_and_its_end_is_told(
    app: Flask, client: FlaskClient
) -> None:
    documents = app.extensions["boards"].documents
    body = {"sql": "SELECT @n + 1 AS m", "parameters": {"n": 41}}
    saved = documents.put("demo", "query", "More", body)
    panel = {"query": saved.id}
    assert client.post("/p/demo/api/boards/preview", json=panel).get_json()["texts"] == [["42"]]
    documents.remove("demo", "query", saved.id)
    gone = client.post("/p/demo/api/boards/preview", json=panel)
    assert "is gone; edit the panel or remove it" in gone.get_json()["message"]


def test_another_projects_board_is_not_there(client: FlaskClient) -> None:
    board = make(client, "Ours")
    for path in ("", "/panels/0", ".json", ".svg", "/shares"):
        status = 200 if path == "/shares" else 404  # of whatever is not there, no links are there
        assert client.get(f"/p/other/api/boards/{board}{path}").status_code == status
    assert client.get(f"/p/other/api/boards/{board}/shares").json == {"shares": []}
    assert client.post(f"/p/other/api/boards/{board}/shares", json={}).status_code == 404
    assert client.get(f"/p/other/boards/{board}").status_code == 404


def test_a_kind_that_is_gone_spoils_its_panel_only(app: Flask, client: FlaskClient) -> None:
    body = {"title": "Old", "panels": [{"kind": "gone", "title": "G"}, TREND]}
    board = app.extensions["boards"].documents.put("demo", "dashboard", "Old", body).id
    assert client.get(f"/p/demo/boards/{board}").status_code == 200
    bad = client.get(f"/p/demo/api/boards/{board}/panels/0")
    assert (bad.status_code, "there is no kind 'gone'" in bad.get_json()["message"]) == (400, True)
    assert client.get(f"/p/demo/api/boards/{board}/panels/1").status_code == 200


# -- Pictures.


def test_a_whole_board_is_one_picture(client: FlaskClient) -> None:
    for extension, start in (("svg", b"<svg"), ("png", b"\x89PNG"), ("pdf", b"%PDF-")):
        answer = client.get(f"/p/demo/api/boards/overview.{extension}?theme=dark")
        assert answer.status_code == 200
        assert answer.data.startswith(start)
    texts = ElementTree.fromstring(client.get("/p/demo/api/boards/overview.svg").data).itertext()
    told = " ".join(texts)
    for panel in built_in()["overview"].panels:
        assert panel.title in told
    assert client.get("/p/demo/api/boards/overview.gif").status_code == 400
    assert client.get("/p/demo/api/boards/overview.svg?theme=blue").status_code == 400


def test_a_panel_that_fails_says_so_in_the_picture(client: FlaskClient) -> None:
    board = make(client, "Broken", panels=[{"title": "Bad", "sql": "SELECT nme FROM events"}])
    assert b"Not computable" in client.get(f"/p/demo/api/boards/{board}.svg").data


def test_a_picture_of_a_narrow_panel_says_all_that_its_page_does() -> None:
    trust = ["Approximate ± 1.6 %", "as of 2026-11-28 12:59", "complete until 2026-11-28 12:58",
             "people: a person's ids joined by the identities table",
             "America/Argentina/ComodRivadavia"]  # fmt: skip
    notes = [f"Note {n}: {'what a reader has to know ' * 4}to the end{n}" for n in range(9)]
    many: dict[str, Any] = {
        "trust": trust,
        "notes": notes,
        "columns": [{"title": "n"}],
        "texts": [[str(n)] for n in range(30)],
        "row_count": 30,
    }
    told = " ".join(ElementTree.fromstring(sheet("B", "", [Box("P", 2, many)], "light")).itertext())
    assert "".join(trust).replace(" ", "") in told.replace("·", "").replace(" ", "")
    assert "18 more rows." in told
    assert "CSV" not in told
    assert [f"to the end{n}" in told for n in range(9)] == [True] * 6 + [False] * 3
    assert "and 3 more notes." in told


# -- Links.


def test_a_link_opens_its_board_and_nothing_else(app: Flask, client: FlaskClient) -> None:
    board = make(client, "Shared", where=[{"property": "country", "values": ["GB"]}])
    made = client.post(f"/p/demo/api/boards/{board}/shares", json={"days": 30})
    assert made.status_code == 201
    path = made.get_json()["path"]
    stranger = app.test_client()
    page = stranger.get(path)
    assert page.status_code == 200
    assert b"Shared" in page.data
    for inside in (b"/p/demo", b"measure", b"country"):  # neither the project nor the questions
        assert inside not in page.data
    panel = stranger.get(f"{path}/panels/0")
    assert panel.get_json()["row_count"] == 30
    assert "question" not in panel.get_json()
    assert panel.headers["Cache-Control"] == "private, no-store"
    wider = stranger.get(f"{path}/panels/0?where=[]&dates=last_90_days").get_json()
    assert wider == panel.json, "the reader's days and filters count for nothing"
    assert stranger.get(f"{path}/panels/1").status_code == 404
    (listed,) = client.get(f"/p/demo/api/boards/{board}/shares").get_json()["shares"]
    token = path.split("/")[-1]
    assert token not in json.dumps(listed)
    assert stranger.get(f"/share/{listed['id']}").status_code == 404, "the id opens nothing"
    client.delete(f"/p/demo/api/boards/{board}/shares/{listed['id']}")
    assert stranger.get(path).status_code == 404
    assert stranger.get(f"{path}/panels/0").status_code == 404


def test_secrets_of_links_are_nowhere_on_disk(directory: Path, client: FlaskClient) -> None:
    board = make(client, "Secret")
    path = client.post(f"/p/demo/api/boards/{board}/shares", json={}).get_json()["path"]
    token = path.split("/")[-1].encode()
    files = [p for p in directory.rglob("*") if p.is_file()]
    assert directory / "catalog.db" in files
    assert all(token not in p.read_bytes() for p in files)


def test_links_go_with_their_board_and_end_by_themselves(app: Flask, client: FlaskClient) -> None:
    board = make(client, "Ending")
    path = client.post(f"/p/demo/api/boards/{board}/shares", json={}).get_json()["path"]
    client.delete(f"/p/demo/api/boards/{board}")
    assert client.get(path).status_code == 404
    shares = app.extensions["shares"]
    token, _ = shares.make("demo", "overview", days=1, author="")
    assert shares.opened(token)
    over, _ = shares.make("demo", "overview", days=-1, author="")
    assert shares.opened(over) is None
    for days in (0, -1, "7", 99999, 1.5, True):
        bad = client.post("/p/demo/api/boards/overview/shares", json={"days": days})
        assert bad.status_code == 400, days
        assert "is not between 1 and" in bad.get_json()["message"]


def test_a_link_does_not_tell_what_failed(client: FlaskClient) -> None:
    board = make(client, "Fails", panels=[{"sql": "SELECT secret_name FROM events"}])
    path = client.post(f"/p/demo/api/boards/{board}/shares", json={}).get_json()["path"]
    answer = client.get(f"{path}/panels/0")
    assert (answer.status_code, answer.json) == (
        400, {"message": "This panel cannot be computed now."},
    )  # fmt: skip
