"""Cohorts over HTTP: made, changed, remembered, taken away, and asked for by questions."""

from __future__ import annotations

import csv
import io
import os
import time
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from reports.app import create_app
from reports.cohorts import shelf
from tests.reports import world
from tests.reports.test_insight_base import join
from tests.streams import NOON, event

CARTS = {"rule": {"is": "did", "event": {"name": "cart"}}}
ROOT = "/p/demo/api/cohorts"


class Clock:
    """Time stands still until it is told."""

    now = world.NOW

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def app(tmp_path: Path, clock: Clock) -> Flask:
    world.catalogue(tmp_path)
    world.archive(
        tmp_path,
        [
            event("1", NOON, name="cart", user_id="u1"),
            event("2", NOON, name="cart", user_id="=cmd()"),
            event("3", NOON, name="view", user_id="u3"),
            event("4", NOON, name="view", user_id="u1"),
            event("5", NOON, name="cart", user_id="spy", project="other"),
        ],
    )
    made = create_app(world.settings(tmp_path), lambda: world.ZONES, clock)
    made.testing = False
    return made


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def save(client: FlaskClient, name: str = "Carts", definition: Any = CARTS) -> dict[str, Any]:
    answer = client.post(ROOT, json={"name": name, "definition": definition})
    assert answer.status_code == 201, answer.get_json()
    found: dict[str, Any] = answer.get_json()
    return found


def test_made_listed_changed_and_removed(client: FlaskClient) -> None:
    made = save(client)
    assert (made["size"], made["words"]) == (None, "did cart")
    found = client.get(f"{ROOT}/{made['id']}").get_json()
    assert (found["size"], found["status"], found["error"]) == (2, "exact", "")
    assert found["as_of"] == "2026-09-21T14:00:00+01:00"
    assert [one["size"] for one in client.get(ROOT).get_json()["cohorts"]] == [2]
    rule = {"rule": {"is": "not", "of": CARTS["rule"]}, "description": "who looks only"}
    changed = client.put(f"{ROOT}/{made['id']}", json={"name": "Lookers", "definition": rule})
    assert changed.get_json()["name"] == "Lookers"
    assert client.get(f"{ROOT}/{made['id']}/people").get_json() == {"people": ["u3"], "size": 1}
    assert client.delete(f"{ROOT}/{made['id']}").get_json() == {"removed": "Lookers"}
    assert client.get(f"{ROOT}/{made['id']}").status_code == 404
    assert client.get(ROOT).get_json() == {"cohorts": []}


def test_a_preview_is_not_kept(client: FlaskClient) -> None:
    found = client.post(f"{ROOT}/preview", json={"definition": CARTS}).get_json()
    assert (found["size"], found["people"]) == (2, ["=cmd()", "u1"])
    assert found["identity"] == "a person's ids joined by the identities table"
    assert client.get(ROOT).get_json() == {"cohorts": []}


def test_questions_are_asked_of_the_cohort_alone(client: FlaskClient) -> None:
    save(client)
    asked = {"dates": "today", "cohort": "Carts"}
    found = client.post("/p/demo/api/insights/stickiness", json=asked).get_json()
    assert [total["value"] for total in found["totals"]] == [2, 1]
    gone = client.post("/p/demo/api/insights/stickiness", json={**asked, "cohort": "Nobody"})
    assert gone.status_code == 400
    assert "there is none of that name in demo" in gone.get_json()["message"]
    elsewhere = client.post("/p/other/api/insights/stickiness", json=asked)
    assert elsewhere.status_code == 400


def test_a_cohort_that_cannot_be_worked_out_says_why_everywhere(client: FlaskClient) -> None:
    made = save(client, "Broken", {"rule": {"is": "sql", "sql": "SELECT 1 AS one FROM events"}})
    found = client.get(f"{ROOT}/{made['id']}").get_json()
    assert (found["size"], found["status"]) == (None, None)
    assert found["error"] == "sql: the query has the columns one; name one `person`"
    asked = {"dates": "today", "cohort": "Broken"}
    answer = client.post("/p/demo/api/insights/stickiness", json=asked)
    assert answer.status_code == 400
    assert "cohort='Broken': sql: the query has" in answer.get_json()["message"]
    assert client.get(f"/p/demo/cohorts/{made['id']}/people.csv").status_code == 400
    assert "not computable" in client.get("/p/demo/cohorts").text


def test_a_size_is_remembered_for_a_minute_and_while_nothing_comes(
    app: Flask, client: FlaskClient, clock: Clock, tmp_path: Path
) -> None:
    made = save(client)

    def size() -> int:
        found = client.get(f"{ROOT}/{made['id']}").get_json()
        return int(found["size"])

    assert size() == 2
    world.archive(tmp_path, [event("9", NOON, name="cart", user_id="u9")])
    assert size() == 2
    anew = client.post(f"{ROOT}/{made['id']}/refresh").get_json()
    assert anew["size"] == 3
    world.archive(tmp_path, [event("10", NOON, name="cart", user_id="u10")])
    clock.now += shelf.REUSED_US
    assert size() == 4
    clock.now += 10 * shelf.REUSED_US
    before = client.get(f"{ROOT}/{made['id']}").get_json()
    assert before["as_of"] == "2026-09-21T14:01:00+01:00"  # nothing came: the same as then


def test_a_copy_of_the_result_that_is_damaged_is_made_anew(
    client: FlaskClient, tmp_path: Path
) -> None:
    made = save(client)
    client.get(f"{ROOT}/{made['id']}")
    (path,) = (tmp_path / "cohorts" / "demo").glob("*.parquet")
    path.write_bytes(b"PAR1 nothing")
    assert client.get(f"{ROOT}/{made['id']}").get_json()["size"] == 2
    assert [p.suffix for p in path.parent.iterdir()] == [".parquet"]


def test_all_people_as_csv_that_no_spreadsheet_runs(client: FlaskClient) -> None:
    made = save(client, "Caf\u00e9 = 1")
    answer = client.get(f"/p/demo/cohorts/{made['id']}/people.csv")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="cohort-Caf----1.csv"'
    assert list(csv.reader(io.StringIO(answer.text))) == [["person"], ["'=cmd()"], ["u1"]]


def test_an_uploaded_list_becomes_a_cohort(client: FlaskClient) -> None:
    text = "user_id,note\nu1,x\n,y\nu3,z\nghost,\n"
    answer = client.post(f"{ROOT}/lists", data=text, content_type="text/csv")
    assert answer.status_code == 201
    found = answer.get_json()
    assert (found["ids"], found["repeated"], found["bad"]) == (3, 0, 1)
    assert found["bad_lines"] == [{"line": 3, "text": "", "message": "has no id"}]
    made = save(client, "List", {"rule": {"is": "upload", "list": found["list"]}})
    assert client.get(f"{ROOT}/{made['id']}").get_json()["remarks"] == [
        "1 of the ids in the list belong to nobody with an event"
    ]
    assert client.get(f"{ROOT}/{made['id']}/people").get_json()["people"] == ["u1", "u3"]
    again = client.post(f"{ROOT}/lists", json={"ids": ["ghost", "u3", "u1"]}).get_json()
    assert again["list"] == found["list"]


def test_a_list_may_be_larger_than_other_requests(client: FlaskClient) -> None:
    text = "\n".join(f"a-rather-long-id-of-somebody-{number:012}" for number in range(80_000))
    assert len(text) > 3 << 20
    answer = client.post(f"{ROOT}/lists", data=text, content_type="text/csv")
    assert (answer.status_code, answer.get_json()["ids"]) == (201, 80_000)


def test_what_no_cohort_has_is_forgotten_after_a_day(client: FlaskClient, tmp_path: Path) -> None:
    kept = client.post(f"{ROOT}/lists", json={"ids": ["u1"]}).get_json()["list"]
    gone = client.post(f"{ROOT}/lists", json={"ids": ["u3"]}).get_json()["list"]
    made = save(client, "List", {"rule": {"is": "upload", "list": kept}})
    client.get(f"{ROOT}/{made['id']}")
    client.post(f"{ROOT}/preview", json={"definition": CARTS})
    directory = tmp_path / "cohorts" / "demo"
    two_days_ago = time.time() - 2 * 86_400
    for path in directory.iterdir():
        os.utime(path, (two_days_ago, two_days_ago))
    fresh = client.post(f"{ROOT}/lists", json={"ids": ["u9"]}).get_json()["list"]
    names = {path.stem for path in directory.iterdir()}
    assert {f"list-{kept}", f"list-{fresh}"} < names
    assert f"list-{gone}" not in names
    assert len(names) == 3  # the saved cohort's result is the third


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ({"data": b"\xff\xfe", "content_type": "text/csv"}, "byte 0 is no UTF-8"),
        ({"data": "\n\n", "content_type": "text/csv"}, "there is no id in the list"),
        ({"json": {"ids": "u1"}}, 'send {"ids"'),
        ({"json": [1]}, 'send {"ids"'),
        ({"json": {"ids": [None]}}, "there is no id in the list"),
    ],
)
def test_a_list_that_is_none_is_refused(
    client: FlaskClient, sent: dict[str, Any], message: str
) -> None:
    answer = client.post(f"{ROOT}/lists", **sent)
    assert answer.status_code == 400
    assert message in answer.get_json()["message"]


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (None, 'send {"name"'),
        ({"name": 5, "definition": CARTS}, 'send {"name"'),
        ({"name": "x"}, 'send {"name"'),
        ({"name": "", "definition": CARTS}, "1 to 200 characters"),
        (
            {"name": "x", "definition": {"rule": {"is": "upload", "list": "0" * 64}}},
            "upload it again",
        ),
        ({"name": "x", "definition": []}, "Expected `object`"),
    ],
)
def test_what_cannot_be_kept_is_refused(client: FlaskClient, sent: Any, message: str) -> None:
    answer = client.post(ROOT, json=sent)
    assert answer.status_code == 400
    assert message in answer.get_json()["message"]


def test_a_name_is_taken_once(client: FlaskClient) -> None:
    save(client)
    answer = client.post(ROOT, json={"name": " Carts ", "definition": CARTS})
    assert answer.status_code == 400
    assert "another cohort named 'Carts'" in answer.get_json()["message"]


def test_another_projects_cohort_is_not_there(client: FlaskClient) -> None:
    made = save(client)
    for path in ("", "/people"):
        assert client.get(f"/p/other/api/cohorts/{made['id']}{path}").status_code == 404
    assert client.put(f"/p/other/api/cohorts/{made['id']}", json={}).status_code == 404
    assert client.delete(f"/p/other/api/cohorts/{made['id']}").status_code == 404
    assert client.get(f"/p/other/cohorts/{made['id']}/people.csv").status_code == 404
    assert client.get("/p/nowhere/api/cohorts").status_code == 404
    found = client.post("/p/other/api/cohorts/preview", json={"definition": CARTS}).get_json()
    assert found["people"] == ["spy"]


def test_people_go_on_where_they_ended(client: FlaskClient) -> None:
    made = save(client)
    first = client.get(f"{ROOT}/{made['id']}/people?first=1").get_json()
    assert first == {"people": ["=cmd()"], "size": 2}
    rest = client.get(f"{ROOT}/{made['id']}/people", query_string={"after": "=cmd()"}).get_json()
    assert rest["people"] == ["u1"]
    assert client.get(f"{ROOT}/{made['id']}/people?first=0").status_code == 400


def test_the_same_people_in_both_identity_modes(client: FlaskClient, tmp_path: Path) -> None:
    world.archive(
        tmp_path,
        [event("a1", NOON, name="cart", user_id=None, anonymous_id="phone"),
         event("a2", NOON + 1, name="view", user_id="u3")],
    )  # fmt: skip
    join(tmp_path, ("anonymous", "phone", "p" * 32), ("user", "u3", "p" * 32))
    made = save(client, "Carts twice", {"rule": {"is": "did", "event": {"name": "cart"}}})
    found = client.get(f"{ROOT}/{made['id']}/people").get_json()
    assert found.get("message") is None
    people = found["people"]
    assert people == ["=cmd()", "p" * 32, "u1"]
    asked = {"dates": "today", "cohort": "Carts twice"}
    sizes = {}
    for identity in ("person", "device"):
        question = {**asked, "identity": identity}
        found = client.post("/p/demo/api/insights/stickiness", json=question).get_json()
        sizes[identity] = found["totals"][0]["value"]
    # By device u3 and phone are two, who both belong to the one person of the cohort.
    assert sizes == {"person": 3, "device": 4}
    by_device = {"rule": CARTS["rule"], "identity": "device"}
    other = save(client, "Devices", by_device)
    devices = client.get(f"{ROOT}/{other['id']}/people").get_json()["people"]
    assert devices == ["=cmd()", "phone", "u1"]
    question = {"dates": "today", "cohort": "Devices", "identity": "person"}
    found = client.post("/p/demo/api/insights/stickiness", json=question).get_json()
    assert found["totals"][0]["value"] == 3
    listed = client.post(f"{ROOT}/lists", json={"ids": ["phone"]}).get_json()["list"]
    rule = {"rule": {"is": "upload", "list": listed}}
    shown = client.post(f"{ROOT}/preview", json={"definition": rule}).get_json()
    assert shown["people"] == ["p" * 32]


def test_a_query_of_a_cohort_is_one_of_its_persons(app: Flask, tmp_path: Path) -> None:
    few = create_app(world.settings(tmp_path, sql_per_user=1), lambda: world.ZONES, Clock())
    preview = {"definition": {"rule": {"is": "sql", "sql": "SELECT user_id AS person FROM events"}}}
    slot = few.extensions["queries"].warehouse.slot("local")
    try:
        refused = few.test_client().post(f"{ROOT}/preview", json=preview).get_json()
        assert "1 queries of yours are running already" in refused["error"]
    finally:
        slot.give_back()
    assert few.test_client().post(f"{ROOT}/preview", json=preview).get_json()["size"] == 3


def test_a_size_is_known_without_its_people_and_drafts_of_the_killed_go(
    client: FlaskClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = save(client)
    assert client.get(f"{ROOT}/{made['id']}").get_json()["size"] == 2
    below = tmp_path / "cohorts" / "demo"
    old, young = below / "old.tmp", below / "young.tmp"
    for path in (old, young):
        path.touch()
    os.utime(old, (1, time.time() - 86_401))
    with monkeypatch.context() as without:
        without.setattr(shelf.pq, "read_table", lambda path: pytest.fail("people were read"))
        assert [one["size"] for one in client.get(ROOT).get_json()["cohorts"]] == [2]
    save(client, "Others", {"rule": {"is": "not", "of": CARTS["rule"]}})
    assert (old.exists(), young.exists()) == (False, True)
