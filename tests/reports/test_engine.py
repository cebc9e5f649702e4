"""SQL over a real Iceberg warehouse: one project's rows, each once, with status and as-of time."""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st

from beam_pipelines.connectors.warehouse import Warehouse as Writer
from reports.warehouse import engine
from reports.warehouse.admit import NotAdmitted
from reports.warehouse.engine import QueryFailed, Result, Warehouse
from reports.warehouse.execute import execute
from reports.warehouse.files import Files
from reports.warehouse.shown import EXAMPLES, plain, tables
from schemas_avro import load
from schemas_avro.tables import EVENTS
from tests.brute import first_copies
from tests.reports import world
from tests.reports.test_admit import WORDS
from tests.streams import NOON, event, order, random_events

MINUTES = pa.table(
    {
        "minute": pa.array([NOON], pa.timestamp("us", tz="UTC")),
        "statistic": ["events"],
        "dimensions": ["{}"],
        "value": [3],
    }
)
LIVE_AT = 1_900_000_000_000_000
ROWS = [
    *random_events(300, days=3, seed=5),
    order("gbp", NOON, 1999, properties='{"sku": "A-1", "qty": 2}'),
    order("refund", NOON + 1, -500),
]
FOREIGN = [event("foreign", NOON, project="other", user_id="secret"), event("gbp", NOON)]
FOREIGN[1]["project"] = "other"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Events of two projects, a third of them sent twice; two dead letters; a day."""
    made = tmp_path_factory.mktemp("warehouse")
    world.archive(made, ROWS)
    again = [{**row, "received_time": row["received_time"] + 5_000_000} for row in ROWS[::3]]
    world.archive(made, again + FOREIGN)
    world.refuse(made, [{"original": b"\xff\xfe{"}, {"project": "other"}])
    world.count_day(made, date(2026, 9, 21), ("events", "{}", 7, None))
    world.count_day(made, date(2026, 9, 21), ("events", "{}", 9, None), project="other")
    return made


@pytest.fixture(scope="module")
def warehouse(directory: Path) -> Warehouse:
    return Warehouse(world.settings(directory, sql_max_rows=1000), lambda _: (MINUTES, LIVE_AT))


def rows(warehouse: Warehouse, sql: str) -> list[tuple[Any, ...]]:
    return warehouse.ask("demo", sql).rows


def test_each_event_is_there_once_and_nobody_elses(warehouse: Warehouse) -> None:
    ids = [i for (i,) in rows(warehouse, "SELECT event_id FROM events ORDER BY event_id")]
    assert ids == sorted(row["event_id"] for row in first_copies(ROWS)[0])
    found = rows(warehouse, "SELECT DISTINCT project FROM events")
    assert found == [("demo",)]
    assert rows(warehouse, "SELECT COUNT(*) FROM events WHERE user_id = 'secret'") == [(0,)]


def test_groups_equal_a_count_by_hand(warehouse: Warehouse) -> None:
    found = dict(rows(warehouse, "SELECT name, COUNT(*) FROM events GROUP BY name"))
    assert found == Counter(row["name"] for row in ROWS)
    money: Counter[str] = Counter()
    for row in ROWS:
        if "revenue_minor" in row:
            money[row["currency"]] += row["revenue_minor"]
    sql = "SELECT currency, SUM(revenue_minor) FROM events WHERE currency IS NOT NULL GROUP BY 1"
    assert dict(rows(warehouse, sql)) == money
    sql = "SELECT COUNT(DISTINCT COALESCE(user_id, anonymous_id)) FROM events"
    assert rows(warehouse, sql) == [(len({r["user_id"] or r["anonymous_id"] for r in ROWS}),)]


def test_times_and_properties(warehouse: Warehouse) -> None:
    sql = """
    SELECT event_time, CAST(JSON_VALUE(properties, '$.qty') AS INT64) * 2, revenue_minor / 100
    FROM events WHERE event_id = 'gbp'
    """
    at = datetime.fromtimestamp(NOON / 1e6, UTC)
    assert rows(warehouse, sql) == [(at, 4, 19.99)]


def test_the_other_tables(warehouse: Warehouse) -> None:
    found = rows(warehouse, "SELECT original_text, original FROM dead_letters")
    assert found == [("??{", b"\xff\xfe{")]
    assert rows(warehouse, "SELECT day, value FROM daily") == [(date(2026, 9, 21), 7)]
    assert rows(warehouse, "SELECT statistic, value FROM live_minutes") == [("events", 3)]
    joined = "SELECT l.value, d.value FROM live_minutes AS l JOIN daily AS d USING (dimensions)"
    assert rows(warehouse, joined) == [(3, 7)]


def committed_at(directory: Path) -> int:
    snapshot = Writer(f"{directory}/archive").table(EVENTS).current_snapshot()
    assert snapshot is not None
    return snapshot.timestamp_ms * 1000


def test_status_and_as_of_say_what_was_read(warehouse: Warehouse, directory: Path) -> None:
    def stamp(sql: str) -> tuple[str | None, int | None]:
        found = warehouse.ask("demo", sql)
        return found.status, found.as_of

    assert stamp("SELECT COUNT(*) FROM events") == ("exact", committed_at(directory))
    assert stamp("SELECT COUNT(*) FROM live_minutes") == ("live, approximate", LIVE_AT)
    assert stamp("SELECT 1 FROM events, live_minutes") == ("live, approximate", LIVE_AT)
    assert stamp("SELECT 1") == (None, None)
    assert stamp("WITH events AS (SELECT 1 AS n) SELECT n FROM events") == (None, None)


def test_an_empty_warehouse_has_its_tables(tmp_path: Path) -> None:
    empty = Warehouse(world.settings(tmp_path), lambda _: (MINUTES.slice(0, 0), None))
    for name, columns in tables().items():
        found = empty.ask("demo", f"SELECT * FROM {name}")
        assert found.columns == [column.name for column in columns]
        assert (found.rows, found.as_of) == ([], None)
        assert found.status == ("live, approximate" if name == "live_minutes" else "exact")


def test_files_older_than_a_column_have_it_empty(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(directory / "archive", tmp_path / "archive")
    later = Warehouse(world.settings(tmp_path), lambda _: (MINUTES, None))
    files = later.files.of(EVENTS)
    older = [tmp_path / f"{n}.parquet" for n in range(len(files.paths))]
    for path, name in zip(older, files.paths, strict=True):
        pl.read_parquet(name, hive_partitioning=False).drop("city").write_parquet(path)
    without = replace(files, days=dict.fromkeys(map(str, older), 0))
    monkeypatch.setattr(
        later.files, "of", lambda spec, snapshot=None: without if spec == EVENTS else Files()
    )
    found = later.ask("demo", "SELECT COUNT(*), COUNT(city), COUNT(name) FROM events")
    assert found.rows == [(len(ROWS), 0, len(ROWS))]
    assert later.ask("demo", "SELECT * FROM events").columns == list(load("event").field_names)


def test_the_tables_shown_are_those_there_are(warehouse: Warehouse) -> None:
    same = {"VARCHAR": "STRING", "BIGINT": "INT64", "INTEGER": "INT64", "BLOB": "BYTES",
            "TIMESTAMP WITH TIME ZONE": "TIMESTAMP", "DATE": "DATE",
            "VARCHAR[]": "ARRAY<STRING>"}  # fmt: skip
    for name, columns in tables().items():
        found = warehouse.ask("demo", f"SELECT * FROM {name} LIMIT 0")
        kinds = [same[kind] for kind in found.types]
        assert list(zip(found.columns, kinds, strict=True)) == [(c.name, c.kind) for c in columns]
        assert all(column.doc for column in columns)


@pytest.mark.parametrize("sql", [sql for _, sql in EXAMPLES])
def test_the_examples_run(warehouse: Warehouse, sql: str) -> None:
    assert rows(warehouse, sql)


@pytest.mark.parametrize(
    ("sql", "line", "column", "text"),
    [
        ("SELECT name,\n       nme\nFROM events", 2, 8, '"nme"'),
        ("SELECT name\nFROM events AS e\nWHERE e.nme = 'x'", 3, 9, '"nme"'),
        ("SELECT source, COUNT(*)\nFROM events GROUP BY name", 1, 8, '"source"'),
        ("WITH x AS (SELECT 1 AS a)\nSELECT b FROM x", 2, 8, '"b"'),
        ("SELECT COUNT(*)\nFROM evnts", 2, 6, "'evnts'"),
        ("SELECT CAST('x' AS INT64)", None, None, "Could not convert string 'x'"),
    ],
)
def test_an_error_has_its_place(
    warehouse: Warehouse, sql: str, line: int | None, column: int | None, text: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(text)) as failed:
        warehouse.ask("demo", sql)
    assert isinstance(failed.value, QueryFailed | NotAdmitted)
    assert (failed.value.line, failed.value.column) == (line, column)


def test_an_error_never_names_a_file_or_what_we_rewrote(
    warehouse: Warehouse, directory: Path
) -> None:
    for sql in ("SELECT x FROM events", "WITH a AS (SELECT 1 AS n) SELECT a.x FROM a",
                "SELECT CAST(name AS INT64) FROM events"):  # fmt: skip
        with pytest.raises(QueryFailed) as failed:
            warehouse.ask("demo", sql)
        assert str(directory) not in str(failed.value)
        assert "cte_" not in str(failed.value)


@pytest.mark.parametrize(
    ("values", "sql", "setting"),
    [
        (
            {"sql_timeout_s": 0.6},
            "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) "
            "SELECT COUNT(*) FROM r",
            "stopped after 0.6 s (HEADWATER_SQL_TIMEOUT_S)",
        ),
        (
            {"sql_memory_mb": 100},
            "SELECT COUNT(*) FROM UNNEST(GENERATE_ARRAY(1, 100000000)) AS a",
            "needs more than 100 MB (HEADWATER_SQL_MEMORY_MB)",
        ),
    ],
)
def test_a_limit_is_named_with_its_setting(
    directory: Path, values: dict[str, Any], sql: str, setting: str
) -> None:
    limited = Warehouse(world.settings(directory, **values), lambda _: (MINUTES, None))
    with pytest.raises(QueryFailed) as failed:
        limited.ask("demo", sql)
    assert setting in str(failed.value)


def test_our_own_query_gets_all_rows_whatever_the_limit_of_the_box(directory: Path) -> None:
    tight = Warehouse(world.settings(directory, sql_max_rows=2), lambda _: (MINUTES, None))
    found = tight.run("demo", "SELECT event_id FROM events", table="events")
    assert len(found.rows) == len(ROWS)
    asked = tight.ask("demo", "SELECT event_id FROM events")
    assert (len(asked.rows), asked.truncated) == (2, True)


def test_more_queries_than_the_machine_bears_are_turned_away(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, done = threading.Semaphore(0), threading.Event()

    def wait(job: Any, timeout_s: float) -> Any:
        running.release()
        done.wait(60)
        return execute(job)

    monkeypatch.setattr(engine, "run_apart", wait)
    warehouse = Warehouse(world.settings(directory), lambda _: (MINUTES, None))
    answers: list[Result] = []
    threads = [
        threading.Thread(target=lambda: answers.append(warehouse.ask("demo", "SELECT 1")))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for _ in threads:
        running.acquire()
    with pytest.raises(QueryFailed, match="4 queries are running already"):
        warehouse.ask("demo", "SELECT 1")
    done.set()
    for thread in threads:
        thread.join()
    assert [answer.rows for answer in answers] == [[(1,)]] * 4
    assert warehouse.ask("demo", "SELECT 2").rows == [(2,)]


COLUMNS = st.sampled_from(["name", "event_id", "revenue_minor", "event_time", "nosuch"])


@budget(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(WORDS | COLUMNS, max_size=12).map(lambda words: " ".join(["SELECT", *words])))
def test_any_text_gives_rows_or_an_explanation(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(engine, "run_apart", lambda job, timeout_s: execute(job))
    explained = ""
    try:
        found = warehouse.ask("demo", text)
    except (NotAdmitted, QueryFailed) as error:
        explained = str(error) or "nothing said"
    if explained:
        assert explained != "nothing said"
    else:
        json.dumps([[plain(value) for value in row] for row in found.rows], allow_nan=False)
