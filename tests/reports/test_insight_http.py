"""Questions over HTTP: which kinds there are, what an answer says, and what is refused."""

from __future__ import annotations

import json
import time
from pathlib import Path

import msgspec
import pytest
from flask.testing import FlaskClient

from reports.insights.kinds import KINDS, ask
from reports.insights.question import Question, read
from reports.insights.source import Source
from reports.warehouse.engine import Warehouse
from reports.warehouse.failed import QueryFailed
from tests.reports import world
from tests.reports.test_insight_base import THAT_DAY, ZONE, ids, source_on
from tests.streams import NOON, event, order


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    made = tmp_path_factory.mktemp("http")
    world.archive(made, [event("v", NOON), order("o", NOON + 1, 1999)])
    return world.app(made).test_client()


def test_the_kinds_are_listed_with_schema_and_example(client: FlaskClient) -> None:
    found = client.get("/p/demo/api/insights").get_json()["kinds"]
    assert {kind["name"] for kind in found} == set(KINDS)
    assert {"funnel", "funnel_people", "trend"} <= set(KINDS)
    for kind in found:
        assert kind["description"]
        assert kind["schema"]["$ref"]
        assert read(KINDS[kind["name"]].question, kind["example"])


def test_every_example_is_answered(client: FlaskClient) -> None:
    """With a table, or, where it is about one thing that is not there, with a reason."""
    for kind in client.get("/p/demo/api/insights").get_json()["kinds"]:
        answer = client.post(f"/p/demo/api/insights/{kind['name']}", json=kind["example"])
        table = answer.get_json()
        if kind["name"] == "error_group":
            assert (answer.status_code, "no error" in table["message"]) == (400, True)
            continue
        assert answer.status_code == 200, (kind["name"], table)
        assert all(len(row) == len(table["columns"]) for row in table["rows"]), kind["name"]
        names = {column["name"] for column in table["columns"]}
        assert {table["chart"][axis] for axis in ("x", "y", "color", "row")} - {""} <= names
        assert (table["status"] in ("exact", "approximate"), table["time_zone"]) == (True, ZONE)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "object"),
        (b"{", "object"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"steps": [{"name": "a"}], "where": [{"property": "x"}]}', "property='x'"),
        (b'{"steps": [{"name": "a"}], "dates": "soon"}', "dates='soon'"),
        (b'{"steps": [{"name": "a"}], "cohort": "nope"}', "cohort='nope'"),
        (b'{"steps": [{"name": NaN}]}', "no number"),
        (b'{"steps": [{"name": "\\ud800"}]}', "is no text"),
    ],
)
def test_a_wrong_question_is_400_with_a_message(
    client: FlaskClient, body: bytes, text: str
) -> None:
    headers = {"content-type": "application/json"}
    found = client.post("/p/demo/api/insights/funnel", data=body, headers=headers)
    assert found.status_code == 400
    assert text in found.get_json()["message"]


def test_an_unknown_kind_or_project_is_named(client: FlaskClient) -> None:
    found = client.post("/p/demo/api/insights/nope", json={})
    assert (found.status_code, "'nope'" in found.get_json()["message"]) == (400, True)
    assert client.post("/p/nope/api/insights/funnel", json={}).status_code == 404


def test_an_answer_says_what_was_asked(tmp_path: Path) -> None:
    world.archive(tmp_path, [event("v", NOON)])
    warehouse = Warehouse(world.settings(tmp_path), lambda _: pytest.fail("live was read"))
    asked = {"steps": [{"name": "view"}], "dates": THAT_DAY}
    found = ask("funnel", asked, Source(warehouse, "demo", ZONE, world.NOW))
    assert found.question["steps"] == ({"name": "view", "where": (), "label": ""},)
    assert found.identity == "a person's ids joined by the identities table"
    assert found.as_of
    json.dumps(found.question, allow_nan=False)
    again = msgspec.to_builtins(read(KINDS["funnel"].question, found.question))
    assert again == found.question


def test_an_empty_warehouse_has_no_events(tmp_path: Path) -> None:
    empty = Warehouse(world.settings(tmp_path), lambda _: pytest.fail("live was read"))
    source = source_on(empty)
    assert ids(source, Question(dates=THAT_DAY)) == []
    assert (source.as_of, source.complete_until, source.rolled_up_until()) == (None, None, None)


def test_a_query_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    warehouse = world.app(tmp_path, insight_timeout_s=0.3).extensions["reports"].warehouse
    started = time.monotonic()
    with pytest.raises(QueryFailed, match=r"stopped after 0\.3 s \(HEADWATER_INSIGHT_TIMEOUT_S\)"):
        warehouse.read(
            "demo", "SELECT sum(a.range * b.range) FROM range(9999999) a, range(99999) b"
        )
    assert time.monotonic() - started < 20


def test_so_many_at_once_and_the_next_is_told_to_wait(tmp_path: Path) -> None:
    world.archive(tmp_path, [event("v", NOON)])
    app = world.app(tmp_path, insight_at_once=1, insight_timeout_s=0.5)
    warehouse = app.extensions["reports"].warehouse
    with warehouse._questions:
        busy = app.test_client().post("/p/demo/api/insights/trend", json={})
    assert (busy.status_code, busy.headers["Retry-After"]) == (429, "1")
    assert "1 questions are running already; try again in a moment" in busy.get_json()["message"]
    assert app.test_client().post("/p/demo/api/insights/trend", json={}).status_code == 200
