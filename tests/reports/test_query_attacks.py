"""Attacks on the SQL box over HTTP: nothing written, no file read, no other project seen."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from flask.testing import FlaskClient

from catalog.schemas import SchemaRegistry
from reports.warehouse.shown import tables
from tests.beam_pipelines.test_identity import run as identify
from tests.beam_pipelines.test_rollup import run as rollup
from tests.beam_pipelines.test_sessions import run as visits
from tests.reports import world
from tests.reports.test_query_tables import schema
from tests.reports.world import NOW, Live
from tests.streams import NOON, event, order
from transforms.statistics import DistinctSketch

API = "/p/demo/api/sql"
SECRET = "hidden-from-demo"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two projects with rows in every table that rows can be put into here."""
    made = tmp_path_factory.mktemp("attacks")
    registry = SchemaRegistry(world.catalogue(made))
    for project, mark in (("demo", "ours"), ("other", SECRET)):
        text = json.dumps({"word": mark})
        of = {"project": project, "properties": text, "user_id": mark, "anonymous_id": mark}
        world.archive(
            made,
            [
                event(f"1-{mark}", NOON, name=mark, **of),
                event(f"2-{mark}", NOON, type="identify", **of),
                order(f"3-{mark}", NOON, 100, **of),
            ],
        )
        world.refuse(made, [{"project": project, "message": mark, "original": mark.encode()}])
        registry.register(project, schema({"name": "word", "type": "string"}, name=mark))
        live = Live(made)
        people = DistinctSketch.of(pl.Series([mark]))
        live.put(NOW - 1, "people", people, json.dumps({"name": mark}), project=project)
        live.close()
    rollup(made)
    visits(made)
    identify(made)
    for project, mark in (("demo", "ours"), ("other", SECRET)):
        day = date(2026, 9, 1)
        world.count_day(made, day, ("events", f'{{"name":"{mark}"}}', 9, None), project=project)
    return made


@pytest.fixture(scope="module")
def client(directory: Path) -> FlaskClient:
    return world.app(directory, sql_timeout_s=5, sql_memory_mb=200).test_client()


def ask(client: FlaskClient, sql: Any, **more: Any) -> tuple[int, Any]:
    answer = client.post(API, json={"sql": sql, **more})
    return answer.status_code, answer.get_json()


def state(directory: Path) -> dict[str, int]:
    """Every file of the data directory but those of the queries themselves."""
    return {
        str(path): path.stat().st_size
        for path in directory.rglob("*")
        if path.is_file() and "queries" not in path.parts and not path.name.startswith("catalog.db")
    }


def names(client: FlaskClient) -> list[str]:
    found = client.get(f"{API}/tables").get_json()
    return [one["name"] for one in found["tables"]]


def test_no_table_shows_another_projects_rows(client: FlaskClient) -> None:
    every = names(client)
    assert set(tables()) < set(every)
    with_rows = set()
    for name in every:
        status, found = ask(client, f"SELECT * FROM {name}")
        assert status == 200, (name, found)
        assert SECRET not in json.dumps(found), name
        if "project" in found["columns"]:
            at = found["columns"].index("project")
            assert {row[at] for row in found["rows"]} <= {"demo"}, name
        if found["rows"]:
            with_rows.add(name)
    assert {"events", "daily", "sessions", "identities", "people", "dead_letters", "live_minutes",
            "track_ours"} <= with_rows  # fmt: skip
    theirs = client.post("/p/other/api/sql", json={"sql": "SELECT name FROM events"}).get_json()
    assert [SECRET] in theirs["rows"]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT COUNT(*) FROM events WHERE project = 'other'",
        "SELECT COUNT(*) FROM events WHERE project = @p OR TRUE AND user_id = @s",
        "SELECT COUNT(*) FROM events AS a JOIN events AS b ON a.project <> b.project",
        "SELECT COUNT(*) FROM (SELECT * FROM events UNION ALL SELECT * FROM events) AS e "
        "WHERE e.project != 'demo'",
        "SELECT COUNT(*) FROM people WHERE person = @s",
        "WITH events AS (SELECT * FROM events) SELECT COUNT(*) FROM events WHERE name = @s",
    ],
)
def test_no_condition_reaches_past_the_project(client: FlaskClient, sql: str) -> None:
    status, found = ask(client, sql, parameters={"p": "other", "s": SECRET})
    assert (status, found["rows"]) == (200, [[0]])


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO events (name) VALUES ('x')",
        "UPDATE events SET name = 'x' WHERE TRUE",
        "DELETE FROM events WHERE TRUE",
        "DROP TABLE events",
        "CREATE TABLE x AS SELECT 1",
        "CREATE VIEW x AS SELECT 1",
        "ATTACH '{directory}/catalog.db' AS c (TYPE sqlite)",
        "ATTACH DATABASE '/etc/passwd' AS x",
        "COPY events TO '{directory}/x.csv'",
        "COPY (SELECT 1) TO '/tmp/x.csv'",
        "EXPORT DATA OPTIONS(uri='gs://x/*') AS SELECT 1",
        "SELECT 1; DROP TABLE events",
        "SELECT 1;;DELETE FROM events WHERE TRUE;",
        "WITH x AS (DELETE FROM events WHERE TRUE) SELECT * FROM x",
        "SELECT * INTO x FROM events",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM READ_CSV_AUTO('/etc/passwd')",
        "SELECT * FROM read_text('{directory}/catalog.db')",
        "SELECT * FROM read_parquet('{directory}/archive/**/*.parquet')",
        "SELECT * FROM parquet_scan('{directory}/archive/**/*.parquet')",
        "SELECT * FROM sqlite_scan('{directory}/catalog.db', 'write_keys')",
        "SELECT * FROM '{directory}/catalog.db'",
        "SELECT * FROM `{directory}/archive`",
        "SELECT * FROM `/etc/passwd`",
        "SELECT * FROM `https://example.org/x.csv`",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM other.events",
        "SELECT * FROM `other`.`events`",
        "SELECT * FROM `other.events`",
        "SELECT * FROM main.events",
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM duckdb_views()",
        "SELECT * FROM duckdb_views",
        "SELECT * FROM sqlite_master",
        "SELECT * FROM pg_catalog.pg_class",
        "SELECT * FROM write_keys",
        "SELECT getenv('HOME')",
        "SELECT current_setting('allowed_paths')",
        "SELECT * FROM query('SELECT 1')",
        "SELECT * FROM query_table('events')",
        "SELECT * FROM @x",
        "SELECT * FROM `@x`",
        "SELECT events.@x FROM events",
        "SELECT name AS @x FROM events",
        "PRAGMA database_list",
        "SET memory_limit='100GB'",
        "INSTALL httpfs",
        "LOAD '/tmp/x.so'",
        "CALL x()",
        "EXECUTE IMMEDIATE 'SELECT 1'",
        "BEGIN SELECT 1; END",
        "DECLARE x INT64; SELECT x",
    ],
)
def test_what_reads_or_writes_anything_else_is_refused(
    client: FlaskClient, directory: Path, sql: str
) -> None:
    before = state(directory)
    text = sql.format(directory=directory) if "{directory}" in sql else sql
    for path in ("", "/estimate", "/jobs"):
        given = {"sql": text, "parameters": {"x": "events"}}
        refused = client.post(f"{API}{path}", json=given)
        assert refused.status_code == 400, refused.get_json()
        said = refused.get_json()["message"]
        assert said
        assert "root:" not in said
    assert state(directory) == before
    assert ask(client, "SELECT COUNT(*) FROM events")[1]["rows"] == [[3]]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 /* ; DROP TABLE events */",
        "SELECT 1 -- ; DROP TABLE events\n",
        "SELECT 1 # ' ; DROP TABLE events\n",
        "SELECT /*! DROP TABLE events */ 1",
        "/**/SELECT/**/1/**/",
        "SELECT 1 FROM (SELECT '--' AS a, '/*' AS b, \"*/\" AS c) WHERE a = '--'",
        "SELECT 1 -- \u2028 FROM read_csv('/etc/passwd')",
    ],
)
def test_comments_and_quotes_hide_nothing(client: FlaskClient, sql: str) -> None:
    assert ask(client, sql)[1]["rows"] == [[1]]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM \u0435vents",  # Cyrillic e
        "SELECT * FROM events\u200b",
        "SELECT * FROM \ufeffevents",
        "SELECT * FROM \uff45vents",
        "SELECT * FROM read\u200d_csv('/etc/passwd')",
        "SELECT * FROM \u1d49vents",
        "\uff33\uff25\uff2c\uff25\uff23\uff34 1",
        "SELECT 1 \u037e DROP TABLE events",  # a Greek question mark
        "SELECT \u2019x\u2019",
        "SELECT * FROM events\x00; DROP TABLE events",
        "SELECT '\x00",
        "\x00",
    ],
)
def test_letters_that_look_alike_are_other_names(client: FlaskClient, sql: str) -> None:
    status, found = ask(client, sql)
    assert status == 400 or SECRET not in json.dumps(found)
    assert status in (200, 400)
    if status == 200:
        assert found["rows"] == [[1]] or len(found["rows"]) == 3


def test_a_surrogate_alone_is_no_character(client: FlaskClient) -> None:
    body = b'{"sql": "SELECT \'\\ud800\'"}'
    answer = client.post(API, data=body, content_type="application/json")
    assert answer.status_code in (200, 400)


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ("SELECT " + "(" * 5000 + "1" + ")" * 5000, "nested too deeply"),
        ("SELECT " + "1 + " * 20_000 + "1", ""),
        ("SELECT * FROM " + "(SELECT * FROM " * 3000 + "events" + ")" * 3000, "nested too deeply"),
        ("SELECT " + "[" * 5000 + "1" + "]" * 5000, ""),
        ("SELECT CASE " + "WHEN TRUE THEN CASE " * 3000, ""),
        ("SELECT " + "-" * 50_001 + "1", ""),
        ("SELECT '" + "x" * 99_000 + "'", ""),
        ("SELECT " + "9" * 90_000, ""),
        ("SELECT 1e" + "9" * 10_000, ""),
        ("SELECT " + ", ".join(f"{n} AS c{n}" for n in range(6500)), ""),
        ("SELECT name FROM events WHERE name IN (" + ",".join(["'x'"] * 20_000) + ")", ""),
        ("SELECT " + "a" * 99_000, ""),
        ("SELECT 1 UNION ALL " * 4000 + "SELECT 1", ""),
        ("WITH " + ", ".join(f"c{n} AS (SELECT 1 AS x)" for n in range(1500)) + " SELECT 1", ""),
    ],
    ids=["parentheses", "sum", "subqueries", "lists", "cases", "minus", "text", "digits",
         "exponent", "columns", "in", "name", "union", "with"],
)  # fmt: skip
def test_depth_and_length_are_no_fault_of_the_server(
    client: FlaskClient, sql: str, text: str
) -> None:
    assert len(sql) <= 100_000
    status, found = ask(client, sql)
    assert status in (200, 400)
    assert text in found.get("message", text)
    assert ask(client, "SELECT 1")[1]["rows"] == [[1]]


@pytest.mark.parametrize(
    ("sql", "setting"),
    [
        ("WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT MAX(n) FROM r",
         "HEADWATER_SQL_TIMEOUT_S"),
        ("WITH RECURSIVE r AS (SELECT 'x' AS n UNION ALL SELECT CONCAT(n, n) FROM r) "
         "SELECT MAX(LENGTH(n)) FROM r", "HEADWATER_SQL_MEMORY_MB"),
        ("SELECT COUNT(*) FROM events AS a" + ", events AS e".join(str(n) if n else ""
         for n in range(25)), "HEADWATER_SQL_"),
        ("SELECT LENGTH(REPEAT('x', 4000000000))", "HEADWATER_SQL_MEMORY_MB"),
        ("SELECT ARRAY_LENGTH(GENERATE_ARRAY(1, 10000000000))", ""),
    ],
    ids=["recursion", "growth", "cross join", "repeat", "array"],
)  # fmt: skip
def test_what_never_ends_is_ended_and_the_server_goes_on(
    client: FlaskClient, sql: str, setting: str
) -> None:
    status, found = ask(client, sql)
    assert status == 400
    assert setting in found["message"]
    assert ask(client, "SELECT COUNT(*) FROM events")[1]["rows"] == [[3]]


def test_a_body_of_ten_megabytes_is_not_read(client: FlaskClient) -> None:
    body = b'{"sql": "SELECT 1", "x": "' + b"x" * (10 << 20) + b'"}'
    for path in ("", "/estimate", "/jobs", "/format", "/queries"):
        answer = client.post(f"{API}{path}", data=body, content_type="application/json")
        assert answer.status_code in (400, 413)
        assert answer.get_json()["message"]


def test_a_parameter_is_a_value_whatever_it_holds(client: FlaskClient) -> None:
    sql = "SELECT @x, @X = @x, (SELECT COUNT(*) FROM events WHERE name = @x)"
    for value in ("'; DROP TABLE events; --", "$x", "@x", "events", "\u2019 OR 1=1", "%s", "\\'"):
        assert ask(client, sql, parameters={"x": value})[1]["rows"] == [[value, True, 0]]


@pytest.mark.parametrize("project", ["other", "nope", "..", "demo%2f..%2fother", "DEMO"])
def test_the_project_is_only_what_the_address_says(client: FlaskClient, project: str) -> None:
    answer = client.post(f"/p/{project}/api/sql", json={"sql": "SELECT 1 FROM events",
                                                        "project": "demo"})  # fmt: skip
    found = answer.get_json()
    assert answer.status_code in (200, 404)
    if answer.status_code == 200:
        assert project == "other"
        assert len(found["rows"]) == 3
