"""Parameters, estimates, layout, saved queries and the history, over HTTP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sqlglot
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from reports.query import saved
from reports.query.layout import laid_out
from reports.warehouse.admit import NotAdmitted, admit
from reports.warehouse.shown import EXAMPLES, FUNCTIONS
from tests.reports import world
from tests.reports.test_admit import WORDS
from tests.reports.test_dialect import run
from tests.reports.test_query_jobs import ended, start
from tests.streams import NOON, event

API = "/p/demo/api/sql"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    directory = tmp_path_factory.mktemp("routes")
    world.archive(directory, [event("1", NOON), event("2", NOON, name="cart")])
    return world.app(directory).test_client()


def test_a_query_with_parameters(client: FlaskClient) -> None:
    sql = "SELECT event_id FROM events WHERE name = @name AND event_time < @until"
    until = {"type": "TIMESTAMP", "value": "2100-01-01"}
    for name, rows in (("cart", [["2"]]), ("' OR 1=1 --", [])):
        asked = {"sql": sql, "parameters": {"name": name, "until": until}}
        assert client.post(API, json=asked).get_json()["rows"] == rows
    refused = client.post(API, json={"sql": "SELECT\n @day"})
    assert refused.status_code == 400
    assert refused.get_json() == {
        "message": '@day has no value; send it: {"parameters": {"day": …}}', "line": 2, "column": 2
    }  # fmt: skip
    refused = client.post(API, json={"sql": "SELECT @d", "parameters": {"d": {"type": "DATE"}}})
    assert refused.status_code == 400
    assert "parameter 'd' must be a value" in refused.get_json()["message"]


def test_the_estimate(client: FlaskClient) -> None:
    found = client.post(f"{API}/estimate", json={"sql": "SELECT name FROM events"}).get_json()
    assert found["rows"] == 2
    assert found["bytes"] > 0
    assert [one["table"] for one in found["tables"]] == ["events"]
    assert "name" in found["plan"]
    refused = client.post(f"{API}/estimate", json={"sql": "SELECT nme FROM events"})
    assert (refused.status_code, refused.get_json()["column"]) == (400, 8)
    directory = Path(client.application.extensions["reports"].live_path).parent
    tight = world.app(directory, sql_max_bytes=1).test_client()
    for path in ("", "/estimate", "/jobs"):
        refused = tight.post(f"{API}{path}", json={"sql": "SELECT name FROM events"})
        assert refused.status_code == 413
        assert "narrow the days with WHERE event_time >= …" in refused.get_json()["message"]


# -- Layout.


@pytest.mark.parametrize("sql", [text for _, text in EXAMPLES])
def test_a_layout_says_the_same_and_is_its_own_layout(sql: str) -> None:
    once = laid_out(" ".join(sql.split()))
    assert "\nFROM " in once
    assert laid_out(once) == once
    tables = {"events", "daily"}
    assert admit(once, tables).sql == admit(sql, tables).sql


def test_comments_and_parameters_stay() -> None:
    made = laid_out("select a, -- why\n b from events where x = @day and y in unnest(@l)")
    assert "why" in made
    assert "@day" in made
    assert made.startswith("SELECT\n  a,")


@budget(deadline=None)
@given(st.lists(WORDS, max_size=15).map(lambda words: " ".join(["SELECT", *words])))
def test_any_text_is_laid_out_or_explained(text: str) -> None:
    explained = ""
    try:
        made = laid_out(text)
    except NotAdmitted as refused:
        explained = str(refused) or "nothing said"
    if explained:
        assert explained != "nothing said"
        return
    again = sqlglot.parse_one(made, dialect="bigquery").sql("bigquery", comments=False)
    assert again == sqlglot.parse_one(text, dialect="bigquery").sql("bigquery", comments=False)


def test_the_layout_over_http(client: FlaskClient) -> None:
    found = client.post(f"{API}/format", json={"sql": "select 1 as n from events"})
    assert found.get_json() == {"sql": "SELECT\n  1 AS n\nFROM events"}
    refused = client.post(f"{API}/format", json={"sql": "SELECT (\n FROM"})
    assert (refused.status_code, refused.get_json()["line"]) == (400, 2)


# -- What the editor offers.

_CALLS = {
    "CAST": "CAST(1 AS STRING)", "SAFE_CAST": "SAFE_CAST('1' AS INT64)", "COUNT": "COUNT(*)",
    "EXTRACT": "EXTRACT(YEAR FROM DATE '2026-01-01')", "DATE": "DATE(2026, 1, 1)",
    "DATE_ADD": "DATE_ADD(DATE '2026-01-01', INTERVAL 1 DAY)",
    "DATE_SUB": "DATE_SUB(DATE '2026-01-01', INTERVAL 1 DAY)",
    "DATE_DIFF": "DATE_DIFF(DATE '2026-01-01', DATE '2026-01-01', DAY)",
    "DATE_TRUNC": "DATE_TRUNC(DATE '2026-01-01', MONTH)", "LAST_DAY": "LAST_DAY(DATE '2026-01-01')",
    "FORMAT_DATE": "FORMAT_DATE('%Y', DATE '2026-01-01')", "FORMAT": "FORMAT('%d', 1)",
    "TIMESTAMP": "TIMESTAMP('2026-01-01')", "ARRAY_LENGTH": "ARRAY_LENGTH([1])",
    "TIMESTAMP_ADD": "TIMESTAMP_ADD(TIMESTAMP '2026-01-01', INTERVAL 1 HOUR)",
    "TIMESTAMP_SUB": "TIMESTAMP_SUB(TIMESTAMP '2026-01-01', INTERVAL 1 HOUR)",
    "TIMESTAMP_DIFF": "TIMESTAMP_DIFF(TIMESTAMP '2026-01-02', TIMESTAMP '2026-01-01', HOUR)",
    "TIMESTAMP_TRUNC": "TIMESTAMP_TRUNC(TIMESTAMP '2026-01-01', DAY)",
    "UNIX_MICROS": "UNIX_MICROS(TIMESTAMP '2026-01-01')",
    "UNIX_MILLIS": "UNIX_MILLIS(TIMESTAMP '2026-01-01')",
    "UNIX_SECONDS": "UNIX_SECONDS(TIMESTAMP '2026-01-01')",
    "ARRAY_TO_STRING": "ARRAY_TO_STRING(['a'], ',')",
    "UNNEST": "(SELECT MAX(x) FROM UNNEST([1]) x)",
    "GENERATE_DATE_ARRAY": "GENERATE_DATE_ARRAY(DATE '2026-01-01', DATE '2026-01-02')",
    "JSON_VALUE": "JSON_VALUE('{\"a\": 1}', '$.a')",
    "JSON_QUERY": "JSON_QUERY('{\"a\": []}', '$.a')",
    "REGEXP_CONTAINS": "REGEXP_CONTAINS('a', 'a')", "REGEXP_EXTRACT": "REGEXP_EXTRACT('a', 'a')",
    "REGEXP_REPLACE": "REGEXP_REPLACE('a', 'a', 'b')", "REPLACE": "REPLACE('a', 'a', 'b')",
    "SPLIT": "SPLIT('a,b', ',')", "SUBSTR": "SUBSTR('abc', 2)",
    "STRING_AGG": "STRING_AGG('a', ',')",
    "LPAD": "LPAD('a', 3)", "RPAD": "RPAD('a', 3)", "IF": "IF(TRUE, 1, 2)",
    "NTILE": "NTILE(2) OVER ()",
    "STARTS_WITH": "STARTS_WITH('a', 'a')", "ENDS_WITH": "ENDS_WITH('a', 'a')",
    "CONCAT": "CONCAT('a', 'b')", "COUNTIF": "COUNTIF(TRUE)", "CORR": "CORR(1, 2)",
    "CURRENT_DATE": "CURRENT_DATE()", "CURRENT_TIMESTAMP": "CURRENT_TIMESTAMP()",
    "LOGICAL_AND": "LOGICAL_AND(TRUE)", "LOGICAL_OR": "LOGICAL_OR(TRUE)",
}  # fmt: skip
_TWO = {"COALESCE", "DIV", "GENERATE_ARRAY", "GREATEST", "IFNULL", "LEAST", "MAX_BY", "MIN_BY",
        "MOD", "NULLIF", "POW", "SAFE_DIVIDE"}  # fmt: skip
_TEXT = {"LENGTH", "LOWER", "LTRIM", "REVERSE", "RTRIM", "TRIM", "UPPER"}
_WINDOW = {"DENSE_RANK", "PERCENT_RANK", "RANK", "ROW_NUMBER"}
_VALUE = {"FIRST_VALUE", "LAG", "LAST_VALUE", "LEAD"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_that_is_offered_runs(name: str) -> None:
    call = _CALLS.get(name)
    if name in _TWO:
        call = f"{name}(4, 2)"
    elif name in _TEXT:
        call = f"{name}(' a ')"
    elif name in _WINDOW:
        call = f"{name}() OVER (ORDER BY x)"
    elif name in _VALUE:
        call = f"{name}(x) OVER (ORDER BY x)"
    found: Any = run(f"SELECT {call or f'{name}(x)'} FROM (SELECT 4 AS x)")
    assert getattr(found, "rows", None), found


# -- Saved queries and the history.


def test_a_saved_query_is_made_found_changed_and_removed(client: FlaskClient) -> None:
    body = {"name": " By day ", "sql": "SELECT @day", "parameters": {"day": "2026-01-01"}}
    made = client.post(f"{API}/queries", json=body)
    assert made.status_code == 201
    query = made.get_json()
    assert (query["name"], query["author"]) == ("By day", "local")
    assert client.get(f"{API}/queries/{query['id']}").get_json() == query
    assert client.post(f"{API}/queries", json=body).status_code == 409
    other = client.post(f"{API}/queries", json={**body, "name": "Other"}).get_json()
    changed = client.put(f"{API}/queries/{query['id']}", json={**body, "sql": "SELECT 2"})
    assert (changed.get_json()["sql"], changed.get_json()["id"]) == ("SELECT 2", query["id"])
    taken = client.put(f"{API}/queries/{query['id']}", json={**body, "name": "Other"})
    assert taken.status_code == 400
    assert "another query named 'Other'" in taken.get_json()["message"]
    names = [one["name"] for one in client.get(f"{API}/queries").get_json()["queries"]]
    assert names == ["By day", "Other"]
    assert client.get("/p/other/api/sql/queries").get_json() == {"queries": []}
    assert client.get(f"/p/other/api/sql/queries/{query['id']}").status_code == 404
    assert client.delete(f"/p/other/api/sql/queries/{query['id']}").status_code == 404
    for one in (query, other):
        assert client.delete(f"{API}/queries/{one['id']}").status_code == 204
    assert client.get(f"{API}/queries/{query['id']}").status_code == 404


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, "Send"),
        ({"name": "x"}, "Send"),
        ({"name": "", "sql": "SELECT 1"}, "needs 1 to 200 characters"),
        ({"name": "x" * 201, "sql": "SELECT 1"}, "needs 1 to 200 characters"),
        ({"name": "x", "sql": "x" * 100_001}, "at most 100,000"),
        ({"name": "x", "sql": "SELECT 1", "parameters": {"1": 2}}, "a name is letters"),
        ({"name": "x", "sql": "SELECT 1", "parameters": [1]}, "must be an object"),
    ],
)
def test_what_cannot_be_saved_is_400(client: FlaskClient, body: Any, text: str) -> None:
    refused = client.post(f"{API}/queries", json=body)
    assert refused.status_code == 400
    assert text in refused.get_json()["message"]


def test_the_history_has_the_last_runs_newest_first(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved, "LAST", 3)
    for sql in ("SELECT 1", "SELECT 2", "SELECT nme FROM events", "SELECT @x AS n"):
        ended(client, start(client, sql, x=7))
    runs = client.get(f"{API}/history").get_json()["runs"]
    assert [(run["sql"], run["state"]) for run in runs] == [
        ("SELECT @x AS n", "done"), ("SELECT nme FROM events", "failed"), ("SELECT 2", "done")
    ]  # fmt: skip
    assert (runs[0]["parameters"], runs[0]["rows"], runs[0]["user"]) == ({"x": 7}, 1, "local")
    assert '"nme"' in runs[1]["message"]
    assert client.get("/p/other/api/sql/history").get_json() == {"runs": []}
    json.dumps(runs)


def test_the_history_has_queries_that_were_asked_at_once(client: FlaskClient) -> None:
    def runs() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = client.get(f"{API}/history").get_json()["runs"]
        return found

    before = len(runs())
    value = {"type": "INT64", "value": "7"}
    asked = {"sql": "SELECT @x AS at_once", "parameters": {"x": value}}
    assert client.post(API, json=asked).status_code == 200
    newest = runs()[0]
    assert (newest["sql"], newest["parameters"]) == (asked["sql"], {"x": value})
    assert (newest["state"], newest["rows"], newest["user"]) == ("done", 1, "local")
    assert newest["seconds"] > 0
    assert client.post(API, json={"sql": "SELECT CAST('x' AS INT64)"}).status_code == 400
    newest = runs()[0]
    assert (newest["state"], newest["rows"]) == ("failed", 0)
    assert "Could not convert" in newest["message"]
    # What did not run is not in it.
    assert client.post(API, json={"sql": "DROP TABLE events"}).status_code == 400
    directory = Path(client.application.extensions["reports"].live_path).parent
    tight = world.app(directory, sql_max_bytes=1).test_client()
    assert tight.post(API, json={"sql": "SELECT name FROM events"}).status_code == 413
    assert len(runs()) == before + 2


def test_an_answer_is_given_without_a_history_too(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(client.application.extensions["queries"].documents, "put", full)
    assert client.post(API, json={"sql": "SELECT 1 AS n"}).get_json()["rows"] == [[1]]
    assert "the history has not got a query that ran" in caplog.text


def test_an_estimate_has_a_place_of_its_person(client: FlaskClient) -> None:
    directory = Path(client.application.extensions["reports"].live_path).parent
    few = world.app(directory, sql_per_user=1)
    asked = {"sql": "SELECT name FROM events"}
    slot = few.extensions["queries"].warehouse.slot("local")
    try:
        refused = few.test_client().post(f"{API}/estimate", json=asked)
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
        assert "1 queries of yours are running already" in refused.get_json()["message"]
    finally:
        slot.give_back()
    assert few.test_client().post(f"{API}/estimate", json=asked).status_code == 200


def test_unknown_projects_have_nothing(client: FlaskClient) -> None:
    for path in ("queries", "history", "tables", "jobs/x"):
        assert client.get(f"/p/nope/api/sql/{path}").status_code == 404
    for path in ("estimate", "format", "jobs", "queries"):
        assert client.post(f"/p/nope/api/sql/{path}", json={"sql": "SELECT 1"}).status_code == 404
