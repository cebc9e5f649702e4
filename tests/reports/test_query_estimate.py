"""What a query would read, against the files themselves."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.warehouse.engine import TooLarge, Warehouse
from reports.warehouse.execute import Answer, execute
from reports.warehouse.views import TABLES
from tests.reports import world
from tests.streams import DAY_US, NOON, event

DAYS = 9
FIRST = datetime.fromtimestamp(NOON / 1e6, UTC).date()
KEPT = {"project", "producer", "seq", "row"}  # read for whatever is asked


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of events for each of nine days, the later the longer; one of the exact table."""
    made = tmp_path_factory.mktemp("estimate")
    for day in range(DAYS):
        rows = [event(f"{day}-{n}", NOON + day * DAY_US + n) for n in range(10 * (day + 1))]
        world.archive(made, rows)
        world.count_day(made, FIRST + timedelta(days=day), ("events", "{}", 10, None))
    return made


@pytest.fixture(scope="module")
def hourly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An event at each hour of those days."""
    made = tmp_path_factory.mktemp("hourly")
    midnight = NOON - NOON % DAY_US
    hours = range(DAYS * 24)
    world.archive(made, [event(f"{n}", midnight + n * DAY_US // 24) for n in hours])
    world.settle(made)
    return made


def warehouse_of(directory: Path, **values: Any) -> Warehouse:
    minutes = pa.table({"minute": pa.array([None], pa.timestamp("us", tz="UTC"))})
    return Warehouse(world.settings(directory, **values), lambda _: (minutes, None))


def inside(directory: Path, table: str, columns: set[str] | None = None) -> dict[Path, int]:
    """Compressed bytes of the columns, or of all, in each file of a table, read by another way."""
    found = {}
    for path in warehouse_of(directory).files.of(TABLES[table]).paths:
        with pq.ParquetFile(path) as file:
            group = file.metadata.row_group(0)
            chunks = [group.column(at) for at in range(group.num_columns)]
        found[Path(path)] = sum(
            chunk.total_compressed_size
            for chunk in chunks
            if columns is None or chunk.path_in_schema in columns
        )
    return found


def test_all_columns_of_all_days(directory: Path) -> None:
    found = warehouse_of(directory).estimate("demo", "SELECT * FROM events")
    assert found.rows == sum(10 * (day + 1) for day in range(DAYS))
    assert found.bytes == sum(inside(directory, "events").values())
    (read,) = found.reads
    assert (read.table, read.files, read.of_files) == ("events", DAYS, DAYS)


def test_only_the_columns_that_are_named(directory: Path) -> None:
    sql = "SELECT name, COUNT(*) FROM events WHERE user_id = 'u1' GROUP BY name"
    found = warehouse_of(directory).estimate("demo", sql)
    sizes = inside(directory, "events", {"name", "user_id", *KEPT})
    assert found.bytes == sum(sizes.values())


@pytest.mark.parametrize(
    ("where", "days"),
    [
        ("event_time >= TIMESTAMP '{6}'", range(5, 9)),
        ("event_time < TIMESTAMP '{1}'", range(3)),
        ("TIMESTAMP '{6}' < event_time", range(5, 9)),
        ("DATE(event_time, 'Europe/London') = '{3}'", range(2, 5)),
        ("DATE(event_time) BETWEEN '{3}' AND DATE '{4}'", range(2, 6)),
        ("event_time >= '{2}' AND event_time < '{4}' AND name = 'x'", range(1, 6)),
        ("DATE(event_time) >= DATE_SUB(DATE '{8}', INTERVAL 1 DAY)", range(6, 9)),
        ("event_time >= @since", range(4, 9)),
        ("(event_time >= '{3}' AND event_time < '{4}')", range(2, 6)),
        ("event_time >= '{3}' OR name = 'x'", range(9)),
        ("NOT event_time >= '{3}'", range(9)),
        ("EXTRACT(YEAR FROM event_time) = 2026", range(9)),
        ("received_time >= '{3}'", range(9)),
        ("CAST(event_time AS STRING) < '{3}'", range(9)),
        ("DATE(event_time) < DATE '0001-01-01'", range(0)),
        ("event_time >= 'soon'", range(9)),
        ("event_time >= TIMESTAMP(REPEAT('2', 1000000000))", range(9)),
    ],
)
def test_only_the_days_that_are_asked_for(directory: Path, where: str, days: range) -> None:
    """One day more on either side: a day of somewhere lies on two or three of UTC."""
    text = where.format(*((FIRST + timedelta(days=day)).isoformat() for day in range(DAYS)))
    warehouse, values = warehouse_of(directory), {"since": FIRST + timedelta(days=5)}
    made = warehouse.prepare("demo", f"SELECT name FROM events WHERE {text}", values)
    (read,) = warehouse._reads(made.query, {}, {k: values[k] for k in made.query.parameters})
    assert read.files == len(days)
    assert read.rows == sum(10 * (day + 1) for day in days)


@given(
    shifts=st.lists(st.integers(0, DAYS * 24), min_size=2, max_size=2),
    zone=st.sampled_from(["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Europe/London"]),
    form=st.sampled_from([
        "event_time >= TIMESTAMP('{0}', '{zone}') AND event_time < TIMESTAMP('{1}', '{zone}')",
        "DATE(event_time, '{zone}') BETWEEN DATE('{0}') AND DATE('{1}')",
        "DATETIME(event_time, '{zone}') > '{0}' AND '{1}' >= DATETIME(event_time, '{zone}')",
        "TIMESTAMP_TRUNC(event_time, DAY) = TIMESTAMP(DATE('{0}'))",
        "CAST(event_time AS STRING) < '{0}'",
    ]),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_files_that_are_left_out_have_no_row_that_is_asked_for(
    hourly: Path, shifts: list[int], zone: str, form: str
) -> None:
    begin = datetime.combine(FIRST, time())
    where = form.format(*(begin + timedelta(hours=hours) for hours in shifts), zone=zone)
    sql = f"SELECT COUNT(*), MIN(event_time), MAX(event_time) FROM events WHERE {where}"
    warehouse = warehouse_of(hourly)
    made = warehouse.prepare("demo", sql)
    whole = warehouse._job("demo", made.query, {}, None)
    assert len(whole.job.paths) == DAYS
    bounds_nothing = "STRING" in form or "TRUNC" in form or abs(shifts[0] - shifts[1]) > 96
    assert bounds_nothing or len(made.job.paths) < DAYS
    left, found = execute(made.job), execute(whole.job)
    assert isinstance(left, Answer)
    assert isinstance(found, Answer)
    assert left.rows == found.rows


def test_tables_that_are_joined_and_used_twice(directory: Path) -> None:
    at = [(FIRST + timedelta(days=day)).isoformat() for day in range(DAYS)]
    sql = f"""
    SELECT COUNT(*) FROM events AS e JOIN daily AS d ON d.day = DATE(e.event_time)
    WHERE e.event_time >= '{at[8]}' AND d.day < DATE '{at[1]}'
    UNION ALL SELECT COUNT(*) FROM events WHERE event_time >= '{at[6]}'
    """
    found = {one.table: one for one in warehouse_of(directory).estimate("demo", sql).reads}
    assert found["events"].files == 4
    assert found["daily"].files == found["daily"].of_files > 0  # one a month


def test_people_need_all_events(directory: Path) -> None:
    sql = "SELECT COUNT(*) FROM people WHERE last_seen >= '2100-01-01'"
    found = {one.table: one for one in warehouse_of(directory).estimate("demo", sql).reads}
    assert found["events"].files == DAYS
    assert set(found) == {"events", "identities"}


def test_the_own_share_is_the_same_whoever_else_is_in_the_files(tmp_path: Path) -> None:
    mine = [event(f"{n}", NOON + n * DAY_US // 100, user_id=f"u{n}") for n in range(300)]
    heavy = json.dumps({"text": "".join(map(chr, range(0x4E00, 0x5600)))})
    others = [
        event(f"{n}", NOON + n * DAY_US // 100, project="other", properties=heavy, user_id=f"o{n}")
        for n in range(200)
    ]
    found = []
    for name, more in (("alone", []), ("shared", others)):
        world.archive(tmp_path / name, [*mine, *more])
        one = warehouse_of(tmp_path / name)
        found.append([
            one.estimate("demo", sql, own=True).own
            for sql in ("SELECT * FROM events", "SELECT user_id FROM events",
                        f"SELECT name FROM events WHERE DATE(event_time) = '{FIRST}'")
        ])  # fmt: skip
        nobody = one.estimate("third", "SELECT * FROM events", own=True).own
        assert [(read.rows, read.bytes) for read in nobody] == [(0, 0)]
    assert found[0] == found[1]
    ((whole,), (ids,), (day,)) = found[0]
    assert whole.rows == ids.rows == 300 > day.rows >= 50
    assert whole.bytes > ids.bytes > 0
    # Where nobody else is, it is what the files have, about.
    sizes = sum(inside(tmp_path / "alone", "events").values())
    assert sizes / 3 < whole.bytes < sizes * 3


def test_the_plan_is_the_engines_and_names_no_file(directory: Path) -> None:
    found = warehouse_of(directory).estimate("demo", "SELECT name FROM events ORDER BY name")
    assert "Order By: name ASC" in found.plan
    assert str(directory) not in found.plan
    nothing = warehouse_of(directory).estimate("demo", "SELECT 1")
    assert (nothing.rows, nothing.bytes, nothing.reads) == (0, 0, [])


def test_live_minutes_are_counted_as_they_are(directory: Path) -> None:
    found = warehouse_of(directory).estimate("demo", "SELECT 1 FROM live_minutes")
    assert [(one.table, one.rows) for one in found.reads] == [("live_minutes", 1)]


def test_what_reads_too_much_is_refused_and_told_how_to_narrow_it(directory: Path) -> None:
    sizes = inside(directory, "events", {"name", *KEPT})
    most = sum(sizes.values())
    whole = "SELECT * FROM events"
    tight = warehouse_of(directory, sql_max_bytes=most)
    assert tight.ask("demo", "SELECT name FROM events LIMIT 1").rows == [("view",)]
    for ask in (tight.ask, tight.estimate):
        with pytest.raises(TooLarge) as refused:
            ask("demo", whole)
        assert "HEADWATER_SQL_MAX_BYTES" in str(refused.value)
        assert "WHERE event_time >= … on events" in str(refused.value)
    last = (FIRST + timedelta(days=DAYS)).isoformat()
    assert tight.ask("demo", f"{whole} WHERE event_time >= '{last}'").rows == []


def test_days_of_the_exact_table_are_months(directory: Path) -> None:
    warehouse = warehouse_of(directory)
    for first, files in ((date(2100, 1, 1), 0), (FIRST, len(inside(directory, "daily")))):
        sql = f"SELECT COUNT(*) FROM daily WHERE day >= DATE '{first}'"
        (read,) = warehouse.estimate("demo", sql).reads
        assert read.files == files
