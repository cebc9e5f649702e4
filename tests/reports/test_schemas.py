"""Event schemas over HTTP, on a real catalogue and a real archive."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from catalog.store import Catalog
from tests.reports import world
from tests.test_docs import FENCE
from transforms.event_schema import read

API = "/p/demo/api/schemas"


@pytest.fixture
def client(tmp_path: Path) -> FlaskClient:
    catalog = Catalog(world.settings(tmp_path).catalog_url)
    catalog.migrate()
    catalog.add_project("demo")
    catalog.add_project("other")
    app = world.app(tmp_path)
    return app.test_client()


def record(**fields: Any) -> dict[str, Any]:
    return {
        "type": "record",
        "name": "Bought",
        "event": {"type": "track", "name": "Bought"},
        "fields": [{"name": name, "type": kind} for name, kind in fields.items()],
    }


def test_register_list_show_diff(client):
    made = client.post(API, json={"schema": record(total="int")})
    assert made.status_code == 201
    assert made.json["created_at"].endswith("Z")
    heading = {"type": "track", "name": "Bought", "version": 1, "compatibility": "BACKWARD"}
    assert made.json | heading == made.json
    assert client.post(API, json={"schema": record(total="int")}).status_code == 200
    second = client.post(API, json={"schema": record(total="long"), "compatibility": "FULL"})
    assert second.status_code == 409
    second = client.post(API, json={"schema": record(total="long")})
    assert (second.status_code, second.json["version"]) == (201, 2)

    assert client.get(API).json == {"schemas": [second.json]}
    assert client.get("/p/other/api/schemas").json == {"schemas": []}
    assert client.get(f"{API}/one?name=Bought").json["schema"] == record(total="long")
    first = client.get(f"{API}/one?type=track&name=Bought&version=1").json
    assert first == {**made.json, "schema": record(total="int")}
    assert client.get(f"{API}/diff?name=Bought&old=1&new=2").json == {
        "changes": [{"field": "total", "change": "changed", "before": "int", "after": "long"}]
    }


def test_type_and_name_that_are_given_go_first(client):
    body = {"schema": record(path="string"), "type": "page", "name": "", "compatibility": "NONE"}
    made = client.post(API, json=body).json
    assert (made["type"], made["name"], made["compatibility"]) == ("page", "", "NONE")


def test_a_refusal_has_the_findings(client):
    client.post(API, json={"schema": record(total="double")})
    answer = client.post(API, json={"schema": record(total="long", size="string")})
    assert answer.status_code == 409
    assert answer.json["findings"] == [
        {
            "field": "total",
            "reason": "the new version wants long and cannot read the old one's double",
        },
        {
            "field": "size",
            "reason": "the new version needs it and the old one's events lack it; give it a "
            'default, such as "type": ["null", …], "default": null',
        },
    ]
    assert answer.json["message"].startswith("track 'Bought' is not BACKWARD compatible with")
    assert len(client.get(API).json["schemas"]) == 1


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (None, "as JSON"),
        ([], "as JSON"),
        ({"schema": "text"}, "as JSON"),
        ({"schema": {}}, "no Avro schema"),
        ({"schema": record(a="bytes")}, "a: JSON has no bytes"),
        ({"schema": record(a="int"), "type": "click"}, "type 'click' is none of"),
        ({"schema": record(a="int"), "compatibility": "SOME"}, "'SOME' is none of BACKWARD"),
        ({"schema": record(a="int"), "name": 7}, "name 7 is no text"),
        ({"schema": record(a="int"), "name": ""}, "needs the name of its event"),
    ],
)
def test_what_cannot_be_registered(client, body, wanted):
    answer = client.post(API, json=body)
    assert answer.status_code == 400
    assert wanted in answer.json["message"]
    assert client.get(API).json == {"schemas": []}


def test_only_json_registers_so_that_no_foreign_page_can(client):
    text = json.dumps({"schema": record(a="int")})
    assert client.post(API, data=text, content_type="text/plain").status_code == 400


@pytest.mark.parametrize(
    ("path", "status", "wanted"),
    [
        ("/p/gone/api/schemas", 404, "project 'gone' is not in the catalogue"),
        ("/p/gone/api/schemas/infer?name=x", 404, "project 'gone' is not in the catalogue"),
        (f"{API}/one?name=x", 404, "has no schema of track 'x'"),
        (f"{API}/one", 400, "needs the name"),
        (f"{API}/one?type=page&version=x", 400, "version='x' is no version"),
        (f"{API}/diff?name=x&old=1", 400, "new='' is no version"),
        (f"{API}/infer?name=x", 404, "No track 'x' is in the archive"),
    ],
)
def test_what_is_not_there(client, path, status, wanted):
    answer = client.get(path)
    assert (answer.status_code, answer.content_type) == (status, "application/json")
    assert wanted in answer.json["message"]


def event(event_id: str, name: str, properties: Any, **more: Any) -> dict[str, Any]:
    row = {"event_id": event_id, "project": "demo", "source": "web", "type": "track",
           "name": name, "user_id": "u", "event_time": world.NOW, "received_time": world.NOW,
           "properties": json.dumps(properties), "flags": 0}  # fmt: skip
    return row | more


def test_a_draft_from_the_archive_fits_its_events_and_can_be_registered(client, tmp_path):
    seen = [{"total": 9.5, "day": "2026-01-01"}, {"total": 3, "day": "2026-01-02", "x": None}]
    rows = [event(f"e{n}", 'Bought\'s "x"', properties) for n, properties in enumerate(seen)]
    rows += [
        event("e0", 'Bought\'s "x"', seen[0]),  # again: counts once
        event("e8", "Other", {"total": "text"}),
        event("e9", 'Bought\'s "x"', {"total": "text"}, project="other"),
        event("e7", 'Bought\'s "x"', {"total": "text"}, type="page"),
    ]
    world.archive(tmp_path, rows)
    answer = client.get(f"{API}/infer", query_string={"type": "track", "name": 'Bought\'s "x"'})
    assert (answer.status_code, answer.json["samples"]) == (200, 2)
    schema = answer.json["schema"]
    assert {field["name"]: field["type"] for field in schema["fields"]} == {
        "total": "double",
        "day": {"type": "int", "logicalType": "date"},
        "x": ["null", "string"],
    }
    checked = [read(json.dumps(schema)).check(json.dumps(one).encode()) for one in seen]
    assert checked == [None, None]
    assert client.post(API, json={"schema": schema}).status_code == 201
    every = client.get(f"{API}/infer?type=page").json
    assert (every["samples"], every["schema"]["event"]) == (1, {"type": "page", "name": ""})


def test_the_query_of_the_docs_finds_misfits(client, tmp_path):
    rows = [event("e0", "Bought", {}, flags=32 | 4), event("e1", "Bought", {}, flags=4)]
    world.archive(tmp_path, [*rows, event("e2", "Seen", {}, flags=16)])
    document = (Path(__file__).parent.parent.parent / "docs" / "schemas.md").read_text()
    (sql,) = [text for language, text in FENCE.findall(document) if language == "sql"]
    assert client.post("/p/demo/api/sql", json={"sql": sql}).json["rows"] == [["Bought", 1]]
