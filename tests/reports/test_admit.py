"""What SQL is let in, what is refused, and where the fault is said to be."""

from __future__ import annotations

import re

import pytest
import sqlglot
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from reports.warehouse.admit import NotAdmitted, admit

TABLES = {"events", "daily"}


def refusal(sql: str) -> NotAdmitted:
    with pytest.raises(NotAdmitted) as refused:
        admit(sql, TABLES)
    return refused.value


@pytest.mark.parametrize(
    ("sql", "word"),
    [
        ("INSERT INTO events (name) VALUES ('x')", "INSERT"),
        ("UPDATE events SET name = 'x' WHERE TRUE", "UPDATE"),
        ("DELETE FROM events WHERE TRUE", "DELETE"),
        ("MERGE INTO events USING daily ON TRUE WHEN MATCHED THEN DELETE", "MERGE"),
        ("TRUNCATE TABLE events", "TRUNCATE"),
        ("CREATE TABLE x AS SELECT 1", "CREATE"),
        ("CREATE OR REPLACE MACRO f(x) AS x", "CREATE"),
        ("DROP VIEW events", "DROP"),
        ("ALTER TABLE events ADD COLUMN x INT64", "ALTER"),
        ("COPY events TO '/tmp/x.csv'", "COPY"),
        ("EXPORT DATA OPTIONS(uri='x') AS SELECT 1", "EXPORT"),
        ("PRAGMA database_list", "PRAGMA"),
        ("SET memory_limit = '100GB'", "SET"),
        ("DECLARE x INT64", "DECLARE"),
        ("CALL pragma_version()", "CALL"),
        ("EXECUTE IMMEDIATE 'SELECT 1'", "EXECUTE"),
        ("LOAD httpfs", "LOAD"),
        ("INSTALL httpfs", "INSTALL"),
        ("DETACH main", "DETACH"),
        ("USE other", "USE"),
        ("BEGIN TRANSACTION", "BEGIN TRANSACTION"),
        ("GRANT x ON y TO z", "GRANT"),
        ("EXPLAIN SELECT 1", "EXPLAIN"),
        ("DESCRIBE events", "DESCRIBE"),
        ("SHOW TABLES", "SHOW"),
        ("VALUES (1)", "VALUES"),
        ("/* SELECT */ DROP TABLE events", "DROP"),
        ("1", "1"),
    ],
)
def test_only_a_select_can_run(sql: str, word: str) -> None:
    refused = refusal(sql)
    assert str(refused) == f"{word} is not allowed: only SELECT can run"
    assert (refused.line, refused.column) == (1, sql.upper().index(word, sql.find("*/") + 1) + 1)


@pytest.mark.parametrize(
    "sql",
    [
        "ATTACH '/etc/passwd' AS x",
        "SELECT 1 INTO x",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_parquet('archive/**/*.parquet')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM glob('*')",
        "SELECT * FROM duckdb_settings()",
        "SELECT * FROM pragma_database_list()",
        "SELECT * FROM query('SELECT 1')",
        "SELECT * FROM query_table('events')",
        "SELECT * FROM events, LATERAL read_csv('/etc/passwd')",
        "SELECT (SELECT COUNT(*) FROM read_csv('/etc/passwd'))",
        "SELECT 1 WHERE EXISTS (SELECT * FROM duckdb_secrets())",
        "WITH x AS (SELECT * FROM read_csv('/etc/passwd')) SELECT * FROM x",
        "SELECT 1 UNION ALL SELECT * FROM read_csv('/etc/passwd')",
        "SELECT name FROM events ORDER BY (SELECT 1 FROM glob('*'))",
    ],
)
def test_nothing_reads_but_the_tables(sql: str) -> None:
    refusal(sql)


@pytest.mark.parametrize(
    "name",
    [
        "'/etc/passwd'",
        "`/etc/passwd`",
        "`s3://bucket/x.parquet`",
        "`archive/headwater/events/data/x.parquet`",
        "information_schema.tables",
        "`information_schema.tables`",
        "`information_schema`.`tables`",
        "duckdb_tables",
        "sqlite_master",
        "pg_catalog.pg_tables",
        "main.events",
        "other.main.events",
        "cte_events",
        "_live",
        "x",
    ],
)
def test_other_names_are_no_tables(name: str) -> None:
    refused = refusal(f"SELECT *\n  FROM {name}")
    assert refused.line == 2
    assert "there are daily, events" in str(refused) or "without a dataset" in str(refused)


@pytest.mark.parametrize(
    "call",
    [
        "getenv('PATH')",
        "current_setting('memory_limit')",
        "read_text('/etc/passwd')",
        "query('SELECT 1')",
        "nextval('x')",
        "pg_sleep(100)",
        "error('x')",
        "HLL_COUNT.INIT(1)",
        "NO_SUCH(1)",
    ],
)
def test_functions_that_are_not_known_are_refused(call: str) -> None:
    refused = refusal(f"SELECT name,\n       {call} FROM events")
    assert "is not known here" in str(refused)
    assert refused.line == 2


@pytest.mark.parametrize(
    ("sql", "wanted"),
    [
        ("", "there is no query"),
        (" ;; ", "there is no query"),
        ("-- SELECT 1", "there is no query"),
        ("SELECT 1; SELECT 2", "2 statements; run one at a time"),
        ("SELECT 1; DROP TABLE events", "2 statements"),
        ("SELECT @x", '@x has no value; send it: {"parameters": {"x": …}}'),
        ("SELECT ?", "a parameter has a name here: write @name"),
        ("SELECT :x", "a parameter has a name here: write @name"),
        ("SELECT @@version", "there are no system variables"),
        ("SELECT @`a b`", "a parameter's name is letters, digits and _"),
        ("SELECT x, o FROM UNNEST([1]) AS x WITH OFFSET AS o", "use ROW_NUMBER()"),
        ("SELECT EXTRACT(WEEK FROM event_time) FROM events", "use ISOWEEK"),
        ("SELECT EXTRACT(WEEK(MONDAY) FROM event_time) FROM events", "use ISOWEEK"),
        ("SELECT EXTRACT(MICROSECOND FROM event_time) FROM events", "use UNIX_MICROS"),
        ("SELECT " + "(" * 50_000, "nested too deeply"),
        ("SELECT " + "ABS(" * 2000 + "1" + ")" * 2000, "nested too deeply"),
        ("SELECT " + "NOT " * 20_000 + "TRUE", "nested too deeply"),
    ],
)
def test_the_refusal_says_what_to_do(sql: str, wanted: str) -> None:
    assert wanted in str(refusal(sql))


@pytest.mark.parametrize(
    ("sql", "at"),
    [
        ("SELECT name\nFROM evnts", "evnts"),
        ("SELECT name,\n  COUNT(*)\nFROM events\nGROUP name", "name"),
        ("SELECT * FORM events", "events"),
        ("SELECT 'abc", "'"),
        ("SELECT name,\n       `other\nFROM events", "`"),
        ('SELECT """a\nb', '"""'),
        ("SELECT /* done */ 1 /* not done", "/* not"),
        ("SELECT 1;\nSELECT foo", "foo"),
    ],
)
def test_the_place_of_an_error_is_where_it_is(sql: str, at: str) -> None:
    refused = refusal(sql)
    lines = sql.split("\n")
    line = max(number for number, text in enumerate(lines) if at in text)
    assert (refused.line, refused.column) == (line + 1, lines[line].rindex(at) + 1)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 -- ; DROP TABLE events",
        "/* INSERT */ SELECT 1 # ATTACH",
        "SELECT ';DROP TABLE events;'",
        "SELECT 1;",
        "(SELECT 1)",
        "SELECT 1 UNION ALL SELECT 2",
        "WITH x AS (SELECT 1 AS n) SELECT n FROM x",
        "SELECT COUNT(*) FROM EVENTS",
    ],
)
def test_comments_quotes_and_semicolons_change_nothing(sql: str) -> None:
    text = admit(sql, TABLES).sql
    assert "--" not in text
    assert "/*" not in text
    assert len(sqlglot.parse(text, dialect="duckdb")) == 1


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        ("SELECT 1", set()),
        ("SELECT * FROM events", {"events"}),
        ("SELECT * FROM events e JOIN daily d ON TRUE", {"events", "daily"}),
        ("SELECT (SELECT COUNT(*) FROM daily) FROM events", {"events", "daily"}),
        ("WITH events AS (SELECT 1 AS n) SELECT * FROM events", set()),
        ("WITH events AS (SELECT * FROM events) SELECT * FROM events", {"events"}),
        ("WITH x AS (SELECT * FROM events), events AS (SELECT 1) SELECT * FROM x", {"events"}),
        ("WITH RECURSIVE daily AS (SELECT 1 UNION ALL SELECT * FROM daily) SELECT * FROM daily",
         set()),
        ("SELECT * FROM (WITH daily AS (SELECT 1) SELECT * FROM daily), daily", {"daily"}),
        ("WITH Events AS (SELECT 1) SELECT * FROM eVENTS", set()),
    ],
)  # fmt: skip
def test_a_with_query_hides_a_table_only_where_it_is_seen(sql: str, tables: set[str]) -> None:
    assert admit(sql, TABLES).tables == tables


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("SELECT @x", {"x"}),
        ("SELECT @X, @x + 1, @y", {"x", "y"}),
        ("SELECT '@x', \"@x\" -- @x", set()),
        ("SELECT name FROM events WHERE name IN UNNEST(@x) LIMIT @y", {"x", "y"}),
    ],
)
def test_parameters_are_values_that_are_bound(sql: str, found: set[str]) -> None:
    admitted = admit(sql, TABLES, {"x", "y", "unused"})
    assert admitted.parameters == found
    tree = sqlglot.parse_one(admitted.sql, dialect="duckdb")
    bound = tree.find_all(sqlglot.exp.Parameter, sqlglot.exp.Placeholder)
    assert {node.name for node in bound} == found


@pytest.mark.parametrize(
    ("sql", "column"),
    [
        ("SELECT * FROM @x", 15),
        ("SELECT * FROM main.@x", 20),
        ("SELECT name AS @x FROM events", 16),
        ("SELECT events.@x FROM events", 15),
        ("SELECT * EXCEPT (@x) FROM events", 18),
        ("WITH @x AS (SELECT 1) SELECT * FROM @x", None),
        ("SELECT @x(1)", None),
        ("SELECT CAST(1 AS @x)", None),
        ("SELECT EXTRACT(@x FROM event_time) FROM events", None),
    ],
)
def test_a_parameter_is_never_a_name(sql: str, column: int | None) -> None:
    with pytest.raises(NotAdmitted) as refused:
        admit(sql, TABLES, {"x"})
    if column is not None:
        assert "a parameter is a value" in str(refused.value)
        assert (refused.value.line, refused.value.column) == (1, column)


def test_a_parameter_without_a_value_is_shown_where_it_stands() -> None:
    with pytest.raises(NotAdmitted) as refused:
        admit("SELECT '@day', -- @day\n  @Day", TABLES, {"week"})
    assert str(refused.value) == "@Day has no value; given are @week"
    assert (refused.value.line, refused.value.column) == (2, 3)


SOUP = """
SELECT FROM events daily WHERE GROUP BY ORDER WITH x AS ( ) , * 1 'a' name = AND UNION ALL JOIN
ON UNNEST [ ] . ; -- /* */ ` " COUNT(*) CASE WHEN THEN END OVER INTERVAL DATE @ ? CREATE INSERT
ATTACH read_csv EXTRACT CAST STRUCT < > NULL QUALIFY PIVOT \u00e9 \x00
"""
WORDS = st.sampled_from(SOUP.split())


@budget(deadline=None)
@given(st.one_of(st.text(), st.lists(WORDS, max_size=25).map(" ".join)))
def test_any_text_is_admitted_as_one_query_over_known_tables_or_refused(text: str) -> None:
    refused = None
    try:
        admitted = admit(text, TABLES)
    except NotAdmitted as error:
        refused = error
    if refused is not None:
        assert str(refused)
        lines = len(re.split(r"\r\n|\r|\n", text))
        assert refused.line is None or 1 <= refused.line <= lines
        return
    assert admitted.tables <= TABLES
    for found in sqlglot.parse_one(admitted.sql, dialect="duckdb").find_all(sqlglot.exp.Table):
        ours = found.db == "main" and found.name in TABLES
        assert ours or found.name.startswith("cte_")
