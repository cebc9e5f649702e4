"""BigQuery's dialect gives BigQuery's answers. Expected values: its documentation, or by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from reports.warehouse.admit import admit
from reports.warehouse.execute import Answer, Failure, Job, execute


def run(sql: str) -> Answer | Failure:
    admitted = admit(sql, set(), {"zone"})
    given = {"zone": "Asia/Kolkata"} if admitted.parameters else {}
    return execute(Job(admitted.sql, given, (), (), {}, memory_mb=256, threads=1, max_rows=100))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        # 2024-02-29 was a Thursday, 2024-03-03 a Sunday
        ("EXTRACT(DAYOFWEEK FROM DATE '2024-03-03')", 1),
        ("EXTRACT(DAYOFWEEK FROM DATE '2024-02-29')", 5),
        ("EXTRACT(ISOWEEK FROM DATE '2024-12-30')", 1),
        ("EXTRACT(ISOYEAR FROM DATE '2024-12-30')", 2025),
        ("DATE_TRUNC(DATE '2024-02-29', WEEK)", date(2024, 2, 25)),
        ("DATE_TRUNC(DATE '2024-02-29', ISOWEEK)", date(2024, 2, 26)),
        ("DATE_TRUNC(DATE '2024-02-29', WEEK(MONDAY))", date(2024, 2, 26)),
        ("DATE_TRUNC(DATE '2024-02-29', MONTH)", date(2024, 2, 1)),
        ("DATE_TRUNC(DATE '2024-02-29', YEAR)", date(2024, 1, 1)),
        ("DATE_ADD(DATE '2024-01-31', INTERVAL 1 MONTH)", date(2024, 2, 29)),
        ("DATE_SUB(DATE '2024-03-01', INTERVAL 1 DAY)", date(2024, 2, 29)),
        ("DATE_DIFF(DATE '2024-03-01', DATE '2024-02-01', DAY)", 29),
        ("DATE_DIFF(DATE '2024-03-01', DATE '2024-02-29', MONTH)", 1),
        ("LAST_DAY(DATE '2024-02-01')", date(2024, 2, 29)),
        # whole hours and days that passed, not boundaries that were crossed
        ("TIMESTAMP_DIFF(TIMESTAMP '2024-01-02 00:30:00', TIMESTAMP '2024-01-01 23:45:00', HOUR)",
         0),
        ("TIMESTAMP_DIFF(TIMESTAMP '2024-01-02 00:30:00', TIMESTAMP '2024-01-01 23:45:00', DAY)",
         0),
        ("TIMESTAMP_DIFF(TIMESTAMP '2024-01-02 00:30:00', TIMESTAMP '2024-01-01 23:45:00', MINUTE)",
         45),
        ("TIMESTAMP_TRUNC(TIMESTAMP '2024-06-30 23:30:00', DAY, 'Europe/London')",
         datetime(2024, 6, 30, 23, tzinfo=UTC)),
        ("DATE(TIMESTAMP '2024-06-30 23:30:00', 'Europe/London')", date(2024, 7, 1)),
        # half an hour beside UTC's hours; and the hour that New York's clocks strike twice
        ("TIMESTAMP_TRUNC(TIMESTAMP '2024-06-30 23:40:00', HOUR, 'Asia/Kolkata')",
         datetime(2024, 6, 30, 23, 30, tzinfo=UTC)),
        ("TIMESTAMP_TRUNC(TIMESTAMP '2024-06-30 23:20:00', HOUR, @zone)",
         datetime(2024, 6, 30, 22, 30, tzinfo=UTC)),
        ("TIMESTAMP_TRUNC(TIMESTAMP '2024-11-03 05:40:00', HOUR, 'America/New_York')",
         datetime(2024, 11, 3, 5, tzinfo=UTC)),
        ("TIMESTAMP_TRUNC(TIMESTAMP '2024-11-03 06:40:00', HOUR, 'America/New_York')",
         datetime(2024, 11, 3, 6, tzinfo=UTC)),
        ("DATETIME(TIMESTAMP '2024-06-30 23:30:00', @zone)", datetime(2024, 7, 1, 5)),
        ("TIMESTAMP(DATE '2024-07-01', @zone)", datetime(2024, 6, 30, 18, 30, tzinfo=UTC)),
        ("TIMESTAMP(DATETIME '2024-07-01 06:00:00', @zone)",
         datetime(2024, 7, 1, 0, 30, tzinfo=UTC)),
        ("EXTRACT(HOUR FROM TIMESTAMP '2024-06-30 23:30:00' AT TIME ZONE @zone)", 5),
        ("UNIX_MICROS(TIMESTAMP '2024-01-01')", 1_704_067_200_000_000),
        ("FORMAT_DATE('%Y-%m', DATE '2024-02-29')", "2024-02"),
        ("FORMAT('%d of %s', 5, 'x')", "5 of x"),
        ("NUMERIC '0.123456789' + NUMERIC '1'", Decimal("1.123456789")),
        ("CAST('0.123456789' AS NUMERIC)", Decimal("0.123456789")),
        ("7 / 2", 3.5),
        ("DIV(-7, 2)", -3),
        ("MOD(-7, 2)", -1),
        ("ROUND(2.5)", Decimal(3)),
        ("SAFE_DIVIDE(1, 0)", None),
        ("SAFE_CAST('x' AS INT64)", None),
        ("CONCAT('a', NULL)", None),
        ("SPLIT('a,b', ',')[OFFSET(1)]", "b"),
        ("SPLIT('a,b', ',')[SAFE_OFFSET(9)]", None),
        ("SUBSTR('hello', -3, 2)", "ll"),
        ("REGEXP_EXTRACT('sku-123', r'\\d+')", "123"),
        ("REGEXP_REPLACE('aaa', 'a', 'b')", "bbb"),
        ("JSON_VALUE('{\"a\": {\"b\": 7}}', '$.a.b')", "7"),
        ("JSON_VALUE('{\"a\": {\"b\": 7}}', '$.a')", None),
        ('"double quoted is text"', "double quoted is text"),
        ("(SELECT COUNTIF(x > 1) FROM UNNEST([1, 2, 3]) AS x)", 2),
        ("(SELECT STRING_AGG(x, '+' ORDER BY x) FROM UNNEST(['b', 'a']) AS x)", "a+b"),
        ("(SELECT LOGICAL_AND(x) FROM UNNEST([TRUE, FALSE]) AS x)", False),
        ("ARRAY_LENGTH(GENERATE_DATE_ARRAY(DATE '2024-02-28', DATE '2024-03-01'))", 3),
    ],
)  # fmt: skip
def test_an_expression(expression: str, expected: Any) -> None:
    found = run(f"SELECT {expression} AS value")
    assert isinstance(found, Answer), found
    assert found.rows == [(expected,)]
    assert type(found.rows[0][0]) is type(expected)


def test_nulls_sort_first() -> None:
    found = run("SELECT x FROM UNNEST([2, NULL, 1]) AS x ORDER BY x")
    assert isinstance(found, Answer)
    assert found.rows == [(None,), (1,), (2,)]


def test_qualify_rollup_and_except() -> None:
    sql = """
    WITH t AS (SELECT 'a' AS k, 1 AS v UNION ALL SELECT 'a', 2 UNION ALL SELECT 'b', 5)
    SELECT * EXCEPT (v), SUM(v) AS total FROM t GROUP BY ROLLUP(k) ORDER BY k
    """
    assert getattr(run(sql), "rows", None) == [(None, 8), ("a", 3), ("b", 5)]
    newest = """
    SELECT k, v FROM (SELECT 'a' AS k, 1 AS v UNION ALL SELECT 'a', 2) AS t
    QUALIFY ROW_NUMBER() OVER (PARTITION BY k ORDER BY v DESC) = 1
    """
    assert getattr(run(newest), "rows", None) == [("a", 2)]
