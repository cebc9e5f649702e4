"""The database drivers against a real server: PEP 249, SQLAlchemy with its inspection, pandas."""

from __future__ import annotations

import tomllib
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib import import_module

import pandas as pd
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import registry
from sqlalchemy.engine import make_url

from headwater import dbapi
from headwater.sqlalchemy import HeadwaterDialect, HeadwaterHttpsDialect
from reports.warehouse.shown import tables
from tests.headwater.test_query import address  # noqa: F401 - a fixture
from tests.streams import NOON
from tests.system import ROOT, free_port

AT = datetime.fromtimestamp(NOON / 1e6, UTC)


@pytest.fixture
def connection(address: str):  # noqa: F811
    made = dbapi.connect(address, project="demo")
    yield made
    made.close()


@pytest.fixture
def engine(address: str):  # noqa: F811
    registry.register("headwater", "headwater.sqlalchemy", "HeadwaterDialect")
    made = sa.create_engine(f"headwater://{address.removeprefix('http://')}/demo")
    yield made
    made.dispose()


# -- DB-API.


def test_rows_have_pythons_types(connection):
    cursor = connection.cursor()
    cursor.execute(
        "SELECT 1 AS i, 9007199254740993 AS big, 3 / 2 AS f, NUMERIC '0.10' AS d, TRUE AS b, "
        "'x' AS s, DATE '2026-01-02' AS day, TIMESTAMP '2026-01-02 03:04:05.000006' AS t, "
        "NULL AS z, [1] AS l"
    )
    ((*row,),) = cursor.fetchall()
    assert row[:3] == [1, 9007199254740993, 1.5]
    at = datetime(2026, 1, 2, 3, 4, 5, 6, UTC)
    assert row[3:] == [Decimal("0.10"), True, "x", date(2026, 1, 2), at, None, [1]]
    names = ["i", "big", "f", "d", "b", "s", "day", "t", "z", "l"]
    assert [column[0] for column in cursor.description] == names
    kinds = [column[1] for column in cursor.description]
    assert kinds[0] == dbapi.NUMBER
    assert kinds[5] == dbapi.STRING
    assert kinds[7] == dbapi.DATETIME
    assert kinds[5] != dbapi.NUMBER
    assert cursor.rowcount == 1


def test_fetching(connection):
    cursor = connection.cursor()
    with pytest.raises(dbapi.ProgrammingError, match="execute a SELECT first"):
        cursor.fetchone()
    cursor.execute("SELECT n FROM UNNEST(GENERATE_ARRAY(1, 7)) AS n ORDER BY n")
    assert cursor.fetchone() == (1,)
    assert cursor.fetchmany() == [(2,)]
    assert cursor.fetchmany(2) == [(3,), (4,)]
    assert list(cursor) == [(5,), (6,), (7,)]
    assert (cursor.fetchone(), cursor.fetchall(), cursor.fetchmany(3)) == (None, [], [])


@pytest.mark.parametrize(
    "value",
    [None, True, 7, -(1 << 63), 1.5, Decimal("0.1"), "it's %(x)s @x", date(2026, 1, 2), AT,
     datetime(2026, 1, 2, 3, 4), ["a", "b"], [1, 2]],
)  # fmt: skip
def test_a_parameter_comes_back_as_it_was(connection, value):
    cursor = connection.cursor().execute("SELECT %(x)s AS x, '100%%' AS p", {"x": value})
    assert cursor.fetchall() == [(value, "100%")]


def test_errors_are_those_of_the_standard(connection, address):  # noqa: F811
    cursor = connection.cursor()
    with pytest.raises(dbapi.ProgrammingError) as wrong:
        cursor.execute("SELECT name,\n nme FROM events")
    assert (wrong.value.line, wrong.value.column) == (2, 2)
    assert str(wrong.value).startswith("line 2, column 2: ")
    with pytest.raises(dbapi.ProgrammingError, match="only SELECT can run"):
        cursor.execute("DROP TABLE events")
    with pytest.raises(dbapi.ProgrammingError, match="has no value"):
        cursor.execute("SELECT %(x)s", {"y": 1})
    with pytest.raises(dbapi.InterfaceError, match="are named"):
        cursor.execute("SELECT %s", (1,))
    with pytest.raises(dbapi.InterfaceError, match="cannot be object"):
        cursor.execute("SELECT %(x)s", {"x": object()})
    nobody = dbapi.connect(f"http://127.0.0.1:{free_port()}", project="demo")
    with pytest.raises(dbapi.OperationalError, match="no answer"):
        nobody.cursor().execute("SELECT 1")
    nobody.close()
    with pytest.raises(dbapi.OperationalError, match="no project"):
        dbapi.connect(address, project="nope").cursor().execute("SELECT 1")
    connection.close()
    with pytest.raises(dbapi.InterfaceError, match="is closed"):
        connection.cursor()


def test_the_module_says_what_the_standard_asks_of_it():
    assert (dbapi.apilevel, dbapi.paramstyle) == ("2.0", "pyformat")
    for name in ("Interface", "Database", "Data", "Operational", "Integrity", "Internal",
                 "Programming", "NotSupported"):  # fmt: skip
        assert issubclass(getattr(dbapi, f"{name}Error"), dbapi.Error)
    assert issubclass(dbapi.ProgrammingError, dbapi.DatabaseError)


# -- SQLAlchemy and pandas.


def test_inspection_lists_tables_and_columns(engine):
    found = sa.inspect(engine)
    assert set(found.get_table_names()) == set(tables())
    columns = {one["name"]: one for one in found.get_columns("events")}
    assert list(columns) == [one.name for one in tables()["events"]]
    assert isinstance(columns["event_time"]["type"], sa.TIMESTAMP)
    assert isinstance(columns["revenue_minor"]["type"], sa.BigInteger)
    assert columns["event_time"]["comment"]
    people = {one["name"]: one["type"] for one in found.get_columns("people")}
    assert isinstance(people["user_ids"], sa.ARRAY)
    assert found.has_table("daily")
    assert not found.has_table("nowhere")
    assert (found.get_pk_constraint("events"), found.get_foreign_keys("events")) == (
        {"constrained_columns": [], "name": None}, []
    )  # fmt: skip
    with pytest.raises(sa.exc.NoSuchTableError):
        found.get_columns("nowhere")


def test_a_reflected_table_is_queried_with_expressions(engine):
    events = sa.Table("events", sa.MetaData(), autoload_with=engine)
    day = sa.cast(events.c.event_time, sa.Date).label("day")
    asked = (
        sa.select(events.c.name, day, sa.func.count().label("n"))
        .where(events.c.event_time >= datetime(2026, 1, 1, tzinfo=UTC), events.c.name.like("vi%"))
        .group_by(events.c.name, day)
        .order_by(sa.desc("n"))
        .limit(5)
    )
    with engine.connect() as connection:
        assert connection.execute(asked).all() == [("view", AT.date(), 10)]
        assert connection.scalar(sa.select(sa.func.count()).select_from(events)) == 30
        raw = sa.text("SELECT COUNT(*) FROM events WHERE name LIKE '%e%' AND name <> :x")
        assert connection.scalar(raw, {"x": "view"}) == 10
        with pytest.raises(sa.exc.ProgrammingError, match="line 1, column 8"):
            connection.execute(sa.text("SELECT nme FROM events"))
        with pytest.raises(sa.exc.ProgrammingError, match="only SELECT can run"):
            connection.execute(events.delete())


def test_pandas_reads_a_query_and_a_table(engine):
    sql = "SELECT name, COUNT(*) AS n, MIN(event_time) AS t FROM events GROUP BY name ORDER BY name"
    found = pd.read_sql(sql, engine)
    assert found["n"].tolist() == [10, 10, 10]
    assert found["name"].tolist() == ["=1+1", "na\u00efve", "view"]
    assert found["t"].iloc[2] == AT
    limited = pd.read_sql(sa.text("SELECT name FROM events WHERE event_id = :id"), engine,
                          params={"id": "e0"})  # fmt: skip
    assert limited["name"].tolist() == ["view"]
    whole = pd.read_sql_table("events", engine, columns=["event_id", "user_id"])
    assert len(whole) == 30


def test_addresses():
    dialect, https = HeadwaterDialect(), HeadwaterHttpsDialect()
    url = make_url("headwater://127.0.0.1:8081/demo")
    assert dialect.create_connect_args(url) == (
        ["http://127.0.0.1:8081"], {"project": "demo", "token": ""}
    )  # fmt: skip
    url = make_url("headwater+https://:hw_t_x@stats.example.org/shop")
    assert https.create_connect_args(url) == (
        ["https://stats.example.org:443"], {"project": "shop", "token": "hw_t_x"}
    )  # fmt: skip
    with pytest.raises(sa.exc.ArgumentError, match="name the project"):
        dialect.create_connect_args(make_url("headwater://127.0.0.1:8081"))


def test_the_package_says_where_its_dialects_are():
    made = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found = made["project"]["entry-points"]["sqlalchemy.dialects"]
    assert set(found) == {"headwater", "headwater.http", "headwater.https"}
    for target in found.values():
        module, _, name = target.partition(":")
        assert issubclass(getattr(import_module(module), name), HeadwaterDialect)
