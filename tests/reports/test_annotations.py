"""Annotations over HTTP, and as the launch of a question."""

from __future__ import annotations

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
