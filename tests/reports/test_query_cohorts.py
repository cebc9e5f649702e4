"""The SQL table `cohorts`: everybody under all their ids, and only what a query asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from catalog import policies
from reports.warehouse.admit import admit
from reports.warehouse.belonging import cohorts_named
from tests.reports import world
from tests.reports.streams_of_people import NOW, random_rows
from tests.reports.test_insight_base import join
from tests.streams import NOON, event

DID = {"is": "did", "event": {"name": "cart"}}
NEEDS = {"is": "sql", "sql": "SELECT no_column AS person FROM events"}
PERSON = "COALESCE(NULLIF(user_id, ''), NULLIF(anonymous_id, ''))"
OF_CARTS = "SELECT id FROM cohorts WHERE cohort = 'Carts'"


def save(client: FlaskClient, name: str, rule: Any, project: str = "demo", **more: Any) -> None:
    asked = {"name": name, "definition": {"rule": rule, **more}}
    answer = client.post(f"/p/{project}/api/cohorts", json=asked)
    assert answer.status_code == 201, answer.text


def ask(client: FlaskClient, sql: str, **values: Any) -> dict[str, Any]:
    answer = client.post("/p/demo/api/sql", json={"sql": sql, "parameters": values})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.get_json()
    return found


def refused(client: FlaskClient, sql: str) -> str:
    answer = client.post("/p/demo/api/sql", json={"sql": sql})
    assert answer.status_code == 400, answer.text
    return str(answer.get_json()["message"])


@pytest.fixture
def client(tmp_path: Path) -> FlaskClient:
    world.archive(
        tmp_path,
        [
            event("1", NOON, name="cart", user_id="u1"),
            event("2", NOON, name="view", user_id="u1"),
            event("3", NOON, name="view", user_id="u2"),
            event("4", NOON, name="cart", user_id=None, anonymous_id="phone"),
            event("5", NOON, name="view", user_id="u3", anonymous_id="phone"),
            event("6", NOON, name="cart", user_id="spy", project="other"),
        ],
    )
    join(tmp_path, ("anonymous", "phone", "p3"), ("user", "u3", "p3"))
    return world.app(tmp_path).test_client()


def test_people_under_all_their_ids(client: FlaskClient) -> None:
    save(client, "Carts", DID)
    save(client, "Devices", DID, identity="device")
    save(client, "Spies", DID, project="other")
    found = ask(client, "SELECT cohort, id FROM cohorts ORDER BY cohort, id")
    assert found["rows"] == [
        ["Carts", "p3"], ["Carts", "phone"], ["Carts", "u1"], ["Carts", "u3"],
        ["Devices", "p3"], ["Devices", "phone"], ["Devices", "u1"],
    ]  # fmt: skip
    assert (found["status"], found["as_of"]) == ("exact", "2026-09-21T14:00:00+01:00")
    assert found["complete_until"] is not None
    of_them = f"SELECT event_id FROM events WHERE {PERSON} IN ({OF_CARTS}) ORDER BY event_id"
    assert [row[0] for row in ask(client, of_them)["rows"]] == ["1", "2", "4", "5"]
    people = f"SELECT person FROM people WHERE person IN ({OF_CARTS}) ORDER BY person"
    assert [row[0] for row in ask(client, people)["rows"]] == ["p3", "u1"]


@pytest.mark.parametrize("seed", range(3))
def test_a_query_and_a_question_of_a_cohort_count_the_same(tmp_path: Path, seed: int) -> None:
    world.archive(tmp_path, random_rows(seed))
    client = world.app(tmp_path, NOW).test_client()
    save(client, "Carts", {**DID, "count": 2})
    counted = ask(client, f"SELECT COUNT(*) AS n FROM events WHERE {PERSON} IN ({OF_CARTS})")
    question = {"cohort": "Carts", "dates": "2026-08-01..2026-11-30", "grain": "month",
                "series": [{"measure": "events"}]}  # fmt: skip
    answer = client.post("/p/demo/api/insights/trend", json=question)
    assert answer.status_code == 200, answer.text
    assert counted["rows"][0][0] == sum(row[2] for row in answer.get_json()["rows"]) > 0


def test_only_what_is_asked_for_is_worked_out(client: FlaskClient) -> None:
    save(client, "Carts", DID)
    save(client, "Broken", NEEDS)
    for sql in (
        OF_CARTS,
        f"WITH c AS ({OF_CARTS}) SELECT id FROM c",
        "SELECT c.id FROM cohorts AS c WHERE c.cohort IN ('Carts', 'x') AND c.id > ''",
    ):
        assert len(ask(client, sql)["rows"]) == 4
    assert len(ask(client, "SELECT id FROM cohorts WHERE @who = cohort", who="Carts")["rows"]) == 4
    assert ask(client, "SELECT id FROM cohorts WHERE cohort = 'nobody made it'")["rows"] == []
    for sql in (
        "SELECT COUNT(*) AS n FROM cohorts",
        "SELECT id FROM cohorts WHERE cohort = 'Broken'",
    ):
        said = refused(client, sql)
        assert said.startswith("the cohort 'Broken' cannot be worked out: ")
        assert "no_column" in said


def test_a_cohort_of_cohorts_has_no_end_and_is_refused(client: FlaskClient) -> None:
    save(client, "Round", {"is": "sql", "sql": "SELECT id AS person FROM cohorts"})
    assert "cohorts" in refused(client, "SELECT id FROM cohorts")


def test_jobs_estimates_and_the_page_know_it(client: FlaskClient) -> None:
    save(client, "Carts", DID)
    read = client.post("/p/demo/api/sql/estimate", json={"sql": OF_CARTS}).get_json()
    assert [(one["table"], one["rows"]) for one in read["tables"]] == [("cohorts", 4)]
    assert "cohorts" in client.get("/p/demo/sql").text
    started = client.post("/p/demo/api/sql/jobs", json={"sql": OF_CARTS})
    assert started.status_code == 202, started.text


def test_exports_leave_suppressed_people_out(client: FlaskClient, tmp_path: Path) -> None:
    save(client, "Carts", DID)
    policies.suppress(world.catalogue(tmp_path), "demo", ["phone", "u1"])
    engine = client.application.extensions["reports"].warehouse
    suppressed = policies.suppressed(world.catalogue(tmp_path)).by_project["demo"]
    made = engine.prepare("demo", OF_CARTS, without=suppressed)
    assert sorted(made.job.tables["cohorts"]["id"].to_pylist()) == ["p3", "u3"]


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("SELECT id FROM cohorts WHERE cohort = 'a'", {"a"}),
        ("SELECT id FROM cohorts AS x WHERE 'a' = x.cohort AND id > 'b'", {"a"}),
        ("SELECT id FROM cohorts WHERE cohort IN ('a', @p)", {"a", "of p"}),
        ("SELECT id FROM cohorts WHERE cohort = 'a' UNION ALL "
         "SELECT id FROM cohorts WHERE cohort = 'b'", {"a", "b"}),
        ("SELECT a.id FROM (SELECT id FROM cohorts WHERE cohort = 'a') AS a JOIN "
         "(SELECT id FROM cohorts WHERE cohort = 'b') AS b USING (id)", {"a", "b"}),
        ("SELECT name FROM events WHERE user_id IN "
         "(SELECT id FROM cohorts WHERE cohort = 'a')", {"a"}),
        ("SELECT id FROM cohorts", None),
        ("SELECT id FROM cohorts WHERE cohort = 'a' OR cohort = 'b'", None),
        ("SELECT id FROM cohorts WHERE NOT cohort = 'a'", None),
        ("SELECT id FROM cohorts WHERE cohort NOT IN ('a')", None),
        ("SELECT id FROM cohorts WHERE cohort LIKE 'a'", None),
        ("SELECT id FROM cohorts WHERE LOWER(cohort) = 'a'", None),
        ("SELECT id FROM cohorts WHERE cohort = id", None),
        ("SELECT id FROM cohorts WHERE cohort = @q", None),
        ("SELECT id FROM cohorts WHERE cohort IN (SELECT name FROM events)", None),
        ("SELECT a.id FROM cohorts AS a JOIN cohorts AS b USING (id) WHERE a.cohort = 'a'", None),
        ("SELECT id FROM cohorts WHERE cohort = 'a' UNION ALL SELECT id FROM cohorts", None),
    ],
)  # fmt: skip
def test_which_cohorts_a_query_asks_for(sql: str, names: set[str] | None) -> None:
    admitted = admit(sql, frozenset({"cohorts", "events"}), {"p", "q"})
    assert cohorts_named(admitted.sql, {"p": "of p", "q": 7}) == names
