"""Annotations over HTTP, and as the launch of a question."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.reports import exports_world


@pytest.fixture
def client(tmp_path: Path) -> FlaskClient:
    exports_world.catalogue(tmp_path)
    return exports_world.app(tmp_path).test_client()


def test_they_are_kept_listed_replaced_and_removed(client):
    url = "/p/demo/api/annotations"
    late = client.post(url, json={"date": "2026-03-09", "text": "Sale"})
    assert late.status_code == 201
    client.post(url, json={"date": "2026-03-01", "text": "New checkout"})
    client.post(url, json={"date": "2026-03-08", "text": " Sale "})
    found = client.get(url).get_json()["annotations"]
    assert [(one["date"], one["text"]) for one in found] == [
        ("2026-03-01", "New checkout"), ("2026-03-08", "Sale"),
    ]  # fmt: skip
    assert client.get("/p/other/api/annotations").get_json()["annotations"] == []
    assert client.delete(f"/p/other/api/annotations/{found[0]['id']}").status_code == 404
    assert client.delete(f"{url}/{found[0]['id']}").status_code == 204
    assert client.delete(f"{url}/{found[0]['id']}").status_code == 404


@pytest.mark.parametrize(
    "body",
    [{}, {"date": "2026-03-01"}, {"date": "1 March", "text": "x"},
     {"date": "2026-03-01", "text": ""}, {"date": "2026-03-01", "text": "x" * 201},
     {"date": "2026-03-01", "text": " "}, {"date": 3, "text": "x"},
     {"date": "2026-03-01", "text": "x", "more": 1}],
)  # fmt: skip
def test_what_is_no_annotation_is_refused(client, body):
    answer = client.post("/p/demo/api/annotations", json=body)
    assert answer.status_code == 400
    assert answer.get_json()["message"]


def test_a_question_takes_its_day_by_name(client):
    client.post("/p/demo/api/annotations", json={"date": "2026-03-02", "text": "New checkout"})
    url = "/p/demo/api/insights/before_after"
    question = {"dates": "2026-01-05..2026-03-29", "metrics": ["events"]}
    named = client.post(url, json={**question, "annotation": "New checkout"})
    assert named.status_code == 200, named.get_json()
    assert "days after 2026-03-02" in named.get_json()["notes"][0]
    unknown = client.post(url, json={**question, "annotation": "Old checkout"})
    assert unknown.status_code == 400
    assert "there is none of that name" in unknown.get_json()["message"]


PANEL = {"title": "P", "kind": "trend", "question": {"dates": "2026-03-01..2026-03-31"}}


def test_charts_and_tiles_have_those_of_their_days_at_once(client):
    url = "/p/demo/api/annotations"
    client.post(url, json={"date": "2026-03-02", "text": "New checkout"})
    client.post(url, json={"date": "2026-04-01", "text": "Later"})
    board = client.post("/p/demo/api/boards", json={"title": "B", "panels": [PANEL]}).get_json()
    tile = f"/p/demo/api/boards/{board['id']}/panels/0"
    shown = [
        client.post("/p/demo/api/charts/trend", json=PANEL["question"]).get_json(),
        client.get(tile).get_json(),
    ]
    for one in shown:
        assert one["annotations"] == [{"date": "2026-03-02", "text": "New checkout"}]
        assert "New checkout" in json.dumps(one["spec"]["layer"])
        assert "Annotations: 2026-03-02 New checkout." in one["spec"]["description"]
    client.post(url, json={"date": "2026-03-05", "text": "Sale"})
    texts = [one["text"] for one in client.get(tile).get_json()["annotations"]]
    assert texts == ["New checkout", "Sale"]


def test_pictures_have_them(client):
    client.post("/p/demo/api/annotations", json={"date": "2026-03-02", "text": "New checkout"})
    asked = {"q": json.dumps(PANEL["question"])}
    svg = client.get("/p/demo/api/charts/trend.svg", query_string=asked).get_data(as_text=True)
    assert svg.count(">New checkout</text>") == 2, "a label, and the ground below its letters"
    assert ">2026-03-02 New checkout</text>" in svg
    board = client.post("/p/demo/api/boards", json={"title": "B", "panels": [PANEL]}).get_json()
    whole = client.get(f"/p/demo/api/boards/{board['id']}.svg").get_data(as_text=True)
    assert ">2026-03-02 New checkout</text>" in whole


def test_before_and_after_lists_what_else_happened_in_its_days(client):
    url = "/p/demo/api/annotations"
    client.post(url, json={"date": "2026-03-02", "text": "New checkout"})
    client.post(url, json={"date": "2026-03-10", "text": "Sale"})
    question = {"dates": "2026-01-05..2026-03-29", "annotation": "New checkout"}
    shown = client.post("/p/demo/api/charts/before_after", json=question).get_json()
    assert [one["text"] for one in shown["annotations"]] == ["New checkout", "Sale"]


def test_a_query_of_ones_own_has_those_of_its_chart(client):
    client.post("/p/demo/api/annotations", json={"date": "2026-03-02", "text": "New checkout"})
    sql = "SELECT DATE '2026-03-01' AS d, 1 AS n UNION ALL SELECT DATE '2026-03-03', 2 ORDER BY d"
    shown = client.post("/p/demo/api/boards/preview", json={"title": "Q", "sql": sql})
    assert [one["text"] for one in shown.get_json()["annotations"]] == ["New checkout"]


def test_a_shared_link_shows_none(client):
    client.post("/p/demo/api/annotations", json={"date": "2026-03-02", "text": "New checkout"})
    board = client.post("/p/demo/api/boards", json={"title": "B", "panels": [PANEL]}).get_json()
    assert b"New checkout" in client.get(f"/p/demo/api/boards/{board['id']}/panels/0").data
    share = client.post(f"/p/demo/api/boards/{board['id']}/shares", json={}).get_json()
    shown = client.get(f"{share['path']}/panels/0")
    assert shown.status_code == 200
    assert b"New checkout" not in shown.data
