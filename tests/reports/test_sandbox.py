"""Limits hold for whatever a query does; one that was let in wrongly still finds locked doors."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from reports.query.processes import started
from reports.warehouse.admit import admit
from reports.warehouse.execute import Answer, Failure, Job, execute
from reports.warehouse.sandbox import run_apart

ENDLESS = "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT COUNT(*) FROM r"


def job(sql: str, **values: Any) -> Job:
    """DuckDB's own SQL, as if admission had a hole."""
    usual: dict[str, Any] = {
        "parameters": (),
        "views": (),
        "paths": (),
        "tables": {},
        "memory_mb": 200,
        "threads": 2,
        "max_rows": 100,
    }
    return Job(sql, **{**usual, **values})


def test_a_query_that_never_ends_is_stopped() -> None:
    started = time.monotonic()
    assert run_apart(job(ENDLESS), timeout_s=1.0) == Failure("time")
    assert time.monotonic() - started < 10


def test_a_query_whose_server_was_killed_ends_by_itself() -> None:
    command = [sys.executable, "-c", "from reports.warehouse.sandbox import main; main()"]
    done = subprocess.run(command, input=pickle.dumps((1, job(ENDLESS))), check=False, timeout=20)
    assert done.returncode == -signal.SIGALRM


def test_the_process_that_waits_for_the_next_query_ends_with_the_server() -> None:
    one = "run_apart(Job('SELECT 1', (), (), (), {}, 200, 1, 9), 9)"
    server = (
        "from reports.warehouse.execute import Job; from reports.warehouse import sandbox; "
        f"from reports.warehouse.sandbox import run_apart; print({one}.rows); "
        "(waits,) = sandbox._ready; print(waits.pid, flush=True); "
        f"again = {one}; print(waits.poll() is not None, flush=True); "
        "print(sandbox._ready[0].pid, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", server], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        said = [process.stdout.readline().strip() for _ in range(4)]
        assert said[0] == "[(1,)]"
        assert said[2] == "True", "the second query took the one that was ready"
        process.kill()
    until = time.monotonic() + 10
    while started(int(said[3])) is not None and time.monotonic() < until:
        time.sleep(0.05)
    assert started(int(said[3])) is None


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT LENGTH(REPEAT('x', 4000000000))",
        "SELECT MAX(x) FROM UNNEST(GENERATE_ARRAY(1, 500000000)) AS x",
        "SELECT COUNT(*) FROM UNNEST(GENERATE_ARRAY(1, 100000000)) AS a, "
        "UNNEST(GENERATE_ARRAY(1, 100000000)) AS b",
        "SELECT a, b FROM UNNEST(GENERATE_ARRAY(1, 9000)) AS a, "
        "UNNEST(GENERATE_ARRAY(1, 9000)) AS b ORDER BY a * b",
        "SELECT ARRAY_AGG(a) FROM UNNEST(GENERATE_ARRAY(1, 9000)) AS a, "
        "UNNEST(GENERATE_ARRAY(1, 9000)) AS b",
        "WITH RECURSIVE r AS (SELECT 'x' AS n UNION ALL SELECT CONCAT(n, n) FROM r) "
        "SELECT MAX(LENGTH(n)) FROM r",
        "SELECT LPAD('x', 2000000000, 'y')",
    ],
)
def test_memory_has_an_end(sql: str) -> None:
    started = time.monotonic()
    assert run_apart(job(admit(sql, set()).sql), timeout_s=20) == Failure("memory")
    assert time.monotonic() - started < 10


def test_an_answer_too_large_to_send_is_refused() -> None:
    sql = "SELECT repeat('x', 1000000) FROM range(100)"
    assert run_apart(job(sql, memory_mb=1000), timeout_s=20) == Failure("size")


def test_rows_are_cut_at_the_limit_and_that_is_said() -> None:
    found = execute(job("FROM range(1000)", max_rows=7))
    assert isinstance(found, Answer)
    assert (found.rows, found.truncated) == ([(n,) for n in range(7)], True)
    all_of_it = execute(job("FROM range(7)", max_rows=7))
    assert isinstance(all_of_it, Answer)
    assert not all_of_it.truncated


@pytest.mark.parametrize(
    "sql",
    [
        "FROM read_csv('/etc/passwd')",
        "FROM read_text('/etc/passwd')",
        "FROM '/etc/passwd'",
        "FROM glob('/*')",
        "COPY (SELECT 1) TO '{tmp}/x.csv'",
        "EXPORT DATABASE '{tmp}/x'",
        "ATTACH '{tmp}/x.db'",
        "ATTACH '{tmp}/secret.parquet'",
        "FROM read_parquet('{tmp}/secret.parquet')",
        "FROM read_parquet('{tmp}/allowed.parquet/../secret.parquet')",
        "SET memory_limit = '100GB'",
        "SET enable_external_access = true",
        "SET allowed_paths = ['/etc/passwd']",
        "RESET memory_limit",
        "SET python_enable_replacements = true",
        "INSTALL httpfs",
        "LOAD httpfs",
    ],
)
def test_behind_admission_the_doors_are_locked(sql: str, tmp_path: Path) -> None:
    for name in ("allowed", "secret"):
        pl.DataFrame({"word": [name]}).write_parquet(tmp_path / f"{name}.parquet")
    before = sorted(tmp_path.iterdir())
    paths = (f"{tmp_path}/allowed.parquet",)
    control = execute(job(f"FROM read_parquet('{paths[0]}')", paths=paths))
    assert isinstance(control, Answer)
    assert control.rows == [("allowed",)]
    found = execute(job(sql.format(tmp=tmp_path), paths=paths))
    assert isinstance(found, Failure)
    assert found.reason in {"query", "files"}
    assert sorted(tmp_path.iterdir()) == before


def test_what_the_server_holds_is_not_what_a_query_sees() -> None:
    hidden = [1, 2, 3]
    found = execute(job("FROM hidden"))
    assert isinstance(found, Failure), hidden
    assert "hidden" in found.text


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT TIMESTAMPTZ '290000-01-01 00:00:00+00'",
        "SELECT 'infinity'::TIMESTAMP, '-infinity'::DATE",
        "SELECT INTERVAL '300000000 days', TIME '24:00:00'",
        "SELECT 'NaN'::DOUBLE, uuid(), 'x'::BLOB, MAP {1: 2}, 2::HUGEINT ** 126",
        "SELECT chr(0), '\U0001f600'",
    ],
)
def test_strange_values_are_an_answer_or_a_failure(sql: str) -> None:
    assert isinstance(execute(job(sql)), Answer | Failure)
