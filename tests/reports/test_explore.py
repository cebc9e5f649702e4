"""What forms suggest, and the routes of charts: pictures, tables, refusals."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter

import pytest
from flask import Flask
from flask.testing import FlaskClient

from reports.insights.kinds import KINDS
from tests.reports import shop, world
from tests.streams import NOON, event


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    directory = shop.make(tmp_path_factory.mktemp("explore"))
    hostile = json.dumps({'a"b': 1, "a.b": 2, "": 3, "=cmd": "=1+1", "nested": {"deep": {"er": 4}}})
    world.archive(directory, [event("h", NOON, name='=HYPERLINK("x")', properties=hostile)])
    return world.app(directory)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def test_events_are_suggested_with_their_counts(client: FlaskClient) -> None:
    found = {
        one["name"]: one["events"]
        for one in client.get("/p/demo/api/vocabulary").get_json()["events"]
    }
    counted = Counter(row["name"] for row in shop.events())
    assert {name: found[name] for name in counted} == counted
    assert found['=HYPERLINK("x")'] is None, "no rollup has counted it yet"


def test_properties_are_suggested_as_questions_name_them(client: FlaskClient) -> None:
    found = {one["name"] for one in client.get("/p/demo/api/vocabulary").get_json()["properties"]}
    assert {"properties.sku", "properties.nested.deep.er", "country", "properties.=cmd"} <= found
    assert not {name for name in found if '"' in name or ".." in name or name.endswith(".")}
    for name in found:  # each can be asked
        question = {"series": [{"measure": "events"}], "breakdown": name, "dates": "today"}
        answer = client.post("/p/demo/api/charts/trend", json=question)
        assert answer.status_code == 200, (name, answer.json)


def test_values_are_suggested_by_frequency(client: FlaskClient) -> None:
    found = client.get("/p/demo/api/vocabulary/values?property=properties.sku").get_json()["values"]
    since = NOON - 7 * 86_400_000_000
    viewed = [row for row in shop.events() if row["name"] == "Product Viewed"]
    recent = {json.loads(r["properties"])["sku"] for r in viewed if r["event_time"] >= since}
    assert {one["value"] for one in found} == recent
    counts = [one["events"] for one in found]
    assert counts == sorted(counts, reverse=True)
    named = client.get(
        "/p/demo/api/vocabulary/values?property=country&event=Order+Completed"
    ).get_json()
    assert {one["value"] for one in named["values"]} <= {"GB", "DE", "FR"}
    bad = client.get("/p/demo/api/vocabulary/values?property=e.name;--")
    assert (bad.status_code, "is none of an event" in bad.get_json()["message"]) == (400, True)


def test_a_project_suggests_nothing_of_another(client: FlaskClient) -> None:
    found = client.get("/p/other/api/vocabulary").get_json()
    assert (found["events"], found["sample"]) == ([], 0)
    assert client.get("/p/other/api/vocabulary/values?property=country").get_json()["values"] == []
    assert client.get("/p/gone/api/vocabulary").status_code == 404


def test_the_pages_are_there_for_every_kind(client: FlaskClient) -> None:
    assert client.get("/p/demo/explore").location == "/p/demo/explore/trend"
    for kind in KINDS:
        assert client.get(f"/p/demo/explore/{kind}").status_code == 200
    assert client.get("/p/demo/explore/tea").status_code == 404
    assert client.get("/p/gone/explore/trend").status_code == 404


def test_the_csv_has_the_answers_rows_and_runs_nothing(client: FlaskClient) -> None:
    question = {"series": [{"measure": "events"}], "breakdown": "name", "dates": "today"}
    rows = client.post("/p/demo/api/insights/trend", json=question).get_json()["rows"]
    made = client.get("/p/demo/api/charts/trend.csv", query_string={"q": json.dumps(question)})
    assert made.headers["Content-Type"] == "text/csv; charset=utf-8"
    read = list(csv.reader(io.StringIO(made.text)))
    assert len(read) == len(rows) + 1
    assert any("'=HYPERLINK" in cell for row in read for cell in row)
    assert not any(cell.startswith("=") for row in read for cell in row)


@pytest.mark.parametrize("extension", ["svg", "png", "pdf", "json"])
def test_an_answer_is_a_picture(client: FlaskClient, extension: str) -> None:
    answer = client.get(f"/p/demo/api/charts/trend.{extension}?theme=dark&width=600&height=200")
    assert answer.status_code == 200
    starts = {"svg": b"<svg", "png": b"\x89PNG", "pdf": b"%PDF-", "json": b"{"}
    assert answer.data.startswith(starts[extension])


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("trend.gif", "no format 'gif'; there are svg, png, pdf, csv, json"),
        ("trend.svg?theme=pink", "theme='pink' is neither light nor dark"),
        ("trend.svg?width=10", "width='10' is not between 200 and 3000 pixels"),
        ("trend.svg?width=-5", "width='-5' is not between"),
        ("trend.svg?height=1e3", "height='1e3' is not between"),
        ("trend.svg?q={", "q='{' is no JSON"),
        ("trend.svg?q=[]", "got `array`"),
        ("tea.svg", "there is no kind 'tea' of question"),
        ('trend.svg?q={"dates":"soon"}', "dates='soon' are no days"),
    ],
)
def test_what_cannot_be_drawn_says_why(client: FlaskClient, path: str, said: str) -> None:
    answer = client.get(f"/p/demo/api/charts/{path}")
    assert answer.status_code == 400
    assert said in answer.get_json()["message"]


def test_the_script_is_kept_for_ever_under_its_versions_name(
    app: Flask, client: FlaskClient
) -> None:
    name = app.extensions["charts"].name
    found = client.get(f"/charts/{name}", headers={"Accept-Encoding": "gzip"})
    assert "immutable" in found.headers["Cache-Control"]
    assert found.headers["Content-Encoding"] == "gzip"
    assert client.get("/charts/vega-000000000000.js").status_code == 404
    assert client.get(f"/charts/{name}", headers={"Accept-Encoding": "identity"}).status_code == 406


def test_the_themes_are_served(client: FlaskClient) -> None:
    found = client.get("/charts/themes.json").get_json()
    assert set(found) == {"light", "dark"}
    assert found["dark"]["range"]["category"] != found["light"]["range"]["category"]
