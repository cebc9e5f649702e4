"""Hours, weeks and months: clocks that change, people, orders, reruns, old files, a kill."""

from __future__ import annotations

import hashlib
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_pipelines.connectors.exact_tables import computed_from
from beam_pipelines.connectors.uri import UriError
from beam_pipelines.connectors.warehouse import Added, Warehouse
from catalog.store import Catalog
from schemas_avro.tables import DAILY, EVENTS, PERIODS, Table
from tests import exact_brute
from tests.beam_pipelines.test_rollup import ZONE, archive, in_blocks, run, table
from tests.streams import DAY_US, NOON, event, frame_of, order, random_events
from tests.system import ROOT
from transforms.grid import GRAINS
from transforms.positions import Positions

HOUR_US = 3_600_000_000


def us(*at: int) -> int:
    return int(datetime(*at, tzinfo=UTC).timestamp()) * 1_000_000


def add(directory: Path, rows: list[dict[str, Any]], seq: int = 0) -> list[dict[str, Any]]:
    archive(directory, [frame_of(rows, seq=seq)])
    return [{**row, "producer": "p-0", "seq": seq, "row": n} for n, row in enumerate(rows)]


def same_as_brute(directory: Path, rows: list[dict[str, Any]], zone: str = ZONE) -> None:
    for grain in GRAINS:
        assert table(directory, grain) == exact_brute.periods(rows, grain, zone), grain


@pytest.mark.parametrize(
    ("first", "hours"), [((2026, 3, 28, 23), 23 + 2), ((2026, 10, 24, 22), 25 + 2)]
)
def test_the_day_of_the_clocks_has_its_23_or_25_hours(
    tmp_path: Path, first: tuple[int, ...], hours: int
) -> None:
    start = us(*first)  # an hour before the day begins in London
    rows = [event(f"e{n}", start + n * HOUR_US + 1, user_id=f"u{n % 7}") for n in range(hours)]
    add(tmp_path, rows)
    run(tmp_path)
    same_as_brute(tmp_path, rows)
    found = table(tmp_path, "hour")
    assert len(found) == hours  # the hour that comes twice is two
    scan = Warehouse(f"{tmp_path}/archive").table(PERIODS).scan("grain = 'hour'")
    spans = {(r["period_start"], r["period_end"]) for r in scan.to_arrow().to_pylist()}
    assert all(end - start == timedelta(hours=1) for start, end in spans)
    days = Warehouse(f"{tmp_path}/archive").table(DAILY).scan("metric = 'events'").to_arrow()
    assert hours - 2 in [r["value"] for r in days.to_pylist()]


def test_people_of_a_week_are_not_the_sum_of_its_days(tmp_path: Path) -> None:
    rows = [event(f"e{n}", NOON + n * DAY_US, user_id=f"u{n % 2}") for n in range(5)]
    add(tmp_path, rows)
    run(tmp_path)
    assert sum(day["people"] for day in table(tmp_path).values()) == 5
    assert [week["people"] for week in table(tmp_path, "week").values()] == [2]
    assert [month["people"] for month in table(tmp_path, "month").values()] == [2]


def test_an_order_counts_once_whatever_event_brings_it_and_refunds_each(tmp_path: Path) -> None:
    first = [
        order("web", NOON, 5000, order_id="A", user_id="u1"),
        order("server", NOON + 2 * DAY_US, 5000, order_id="A", user_id="u2", source="shop"),
        order("in-euro", NOON + 3, 4400, order_id="A", currency="EUR"),
        event("announced", NOON, order_id="B", user_id="u3"),
        order("paid", NOON + DAY_US, 700, order_id="B", user_id="u3"),
        order("part-1", NOON + DAY_US, -100, order_id="A"),
        order("part-2", NOON + DAY_US, -100, order_id="A"),
        order("part-2", NOON + DAY_US, -100, order_id="A", received_time=NOON + 5 * DAY_US),
    ]
    rows = add(tmp_path, first)
    run(tmp_path)
    same_as_brute(tmp_path, rows)
    (month,) = table(tmp_path, "month").values()
    assert (month["revenue"], month["orders"], month["buyers"]) == ({"GBP": 5500}, 2, 2)
    # What is archived late but was received first takes the order to another day.
    rows += add(
        tmp_path, [order("x", NOON - 9 * DAY_US, 1, order_id="A", received_time=NOON - DAY_US)], 1
    )
    run(tmp_path)
    same_as_brute(tmp_path, rows)
    (month,) = table(tmp_path, "month").values()
    assert (month["revenue"], month["orders"]) == ({"GBP": 501}, 2)


@pytest.mark.parametrize("seed", [4, 5])
def test_repeated_orders_in_any_order_give_the_brute_force_numbers(
    tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    rows = random_events(250, days=60, seed=seed)
    for row in rows:
        if row.get("order_id"):
            row["order_id"] = f"o{rng.randrange(15)}"
            row["revenue_minor"] = rng.choice([None, 0, row["revenue_minor"]])
            if row["revenue_minor"] is None:
                row["currency"] = None
    rng.shuffle(rows)
    frames = in_blocks(rows, rng)
    for part in (frames[::3], frames[1::3], frames[2::3]):
        archive(tmp_path, part)
        run(tmp_path)
    same_as_brute(tmp_path, rows)


def test_revenue_and_people_are_what_sql_says(tmp_path: Path) -> None:
    rows = random_events(400, days=20, seed=8)
    add(tmp_path, rows)
    run(tmp_path)
    files = f"{tmp_path}/archive/headwater/events/data/*.parquet"
    local = "event_time AT TIME ZONE 'Europe/London'"
    for grain in ("day", "week", "month"):
        asked = duckdb.sql(
            f"""SELECT CAST(date_trunc('{grain}', {local}) AS DATE) AS first, currency,
                sum(revenue_minor), count(DISTINCT order_id) FILTER (revenue_minor >= 0)
            FROM read_parquet('{files}') WHERE revenue_minor IS NOT NULL GROUP BY ALL"""
        ).fetchall()
        money = {(first, currency): int(value) for first, currency, value, _ in asked}
        found = table(tmp_path, grain)
        assert money == {
            (first, currency): value
            for first, one in found.items()
            for currency, value in one["revenue"].items()
        }
        people = duckdb.sql(
            f"""SELECT CAST(date_trunc('{grain}', {local}) AS DATE), count(*),
                count(DISTINCT coalesce(user_id, anonymous_id))
            FROM read_parquet('{files}') GROUP BY 1"""
        ).fetchall()
        assert {first: (n, who) for first, n, who in people} == {
            first: (one["events"], one["people"]) for first, one in found.items()
        }


def digests(directory: Path, spec: Table) -> list[str]:
    files = Warehouse(f"{directory}/archive").table(spec).scan().plan_files()
    paths = [task.file.file_path.removeprefix("file://") for task in files]
    return sorted(hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in paths)


def test_a_rerun_gives_the_same_bytes(tmp_path: Path) -> None:
    archive(tmp_path, in_blocks(random_events(300, days=40, seed=3), random.Random(3)))
    run(tmp_path, all_days=True)
    before = {spec.name: digests(tmp_path, spec) for spec in (DAILY, PERIODS)}
    assert all(before.values())
    run(tmp_path, all_days=True)
    assert {spec.name: digests(tmp_path, spec) for spec in (DAILY, PERIODS)} == before


def test_grains_are_due_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = add(tmp_path, [event("a", NOON)])
    run(tmp_path, grains="hour,day")
    assert table(tmp_path, "month") == {}
    assert table(tmp_path, "hour") != {}
    run(tmp_path, grains="week,month")
    capsys.readouterr()
    run(tmp_path)
    assert capsys.readouterr().out == ""
    rows += add(tmp_path, [event("b", NOON + 1)], 1)
    run(tmp_path, grains="week")
    run(tmp_path)
    same_as_brute(tmp_path, rows)
    with pytest.raises(UriError, match="'year' is none of hour, day, week, month"):
        run(tmp_path, grains="day,year")


def test_files_of_before_a_column_was_there_are_read_with_it(tmp_path: Path) -> None:
    rows = add(tmp_path, [event("new", NOON, page_path="/a"), order("o", NOON + 9, 100)])
    warehouse = Warehouse(f"{tmp_path}/archive")
    (path,) = (t.file.file_path for t in warehouse.table(EVENTS).scan().plan_files())
    young = pq.read_table(path.removeprefix("file://"))
    old = young.filter(pa.compute.equal(young["event_id"], "new"))
    old = old.set_column(
        old.schema.get_field_index("event_id"), old.schema.field("event_id"), pa.array(["old"])
    ).drop_columns(["page_path", "retry_count", "order_id", "revenue_minor", "currency"])
    # pyiceberg wants the columns that are there now, so what is older is put beneath the file.
    again = tmp_path / "archive/headwater/events/data/old.parquet"
    pq.write_table(young.filter(pa.compute.equal(young["event_id"], "new")), again)
    positions = Positions.of([("p-9", 0, 0)])
    added = Added((f"file://{again}",), positions, {"demo": (f"{date(2026, 9, 21)}",)}, NOON)
    warehouse.add(EVENTS, added)
    pq.write_table(old, again)
    run(tmp_path, all_days=True)
    same_as_brute(tmp_path, [*rows, event("old", NOON, producer="p-0", seq=0, row=0)])


# A thread of Beam's that asks for the job's state can find the job server gone already.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.journey
def test_prism_gives_the_same(tmp_path: Path) -> None:
    rows = random_events(200, days=9, seed=6)
    archive(tmp_path, in_blocks(rows, random.Random(6)))
    run(tmp_path, runner="prism")
    same_as_brute(tmp_path, rows)


@pytest.mark.journey
def test_a_kill_leaves_the_old_periods_and_the_next_run_does_them(tmp_path: Path) -> None:
    rows = add(tmp_path, [event(f"a{n}", NOON + n, user_id=f"u{n}") for n in range(50)])
    run(tmp_path)
    before = {grain: table(tmp_path, grain) for grain in GRAINS}
    warehouse = Warehouse(f"{tmp_path}/archive")
    mark = computed_from(warehouse, PERIODS, "hour")
    more = [event(f"b{n}", NOON + n * 40_000_000, user_id=f"u{n}") for n in range(4000)]
    rows += add(tmp_path, more, 1)
    command = [
        *(sys.executable, "-m", "beam_pipelines.run", "rollup"),
        *(f"--archive=iceberg:{tmp_path}/archive", f"--catalog=sqlite:///{tmp_path}/catalog.db"),
    ]
    work = tmp_path / "archive" / "work"
    killed = 0
    for delay in (0.0, 0.1):
        process = subprocess.Popen(command, cwd=ROOT)
        while not any(work.glob("*/*.arrow")) and process.poll() is None:
            time.sleep(0.01)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        if process.wait() == -signal.SIGKILL and computed_from(warehouse, PERIODS, "hour") == mark:
            killed += 1
            assert {grain: table(tmp_path, grain) for grain in GRAINS} == before
            assert any(work.iterdir())
    assert killed
    run(tmp_path)
    same_as_brute(tmp_path, rows)
    assert not any(work.iterdir())  # what the killed ones left is gone


def test_a_project_without_a_zone_and_one_far_east(tmp_path: Path) -> None:
    zone = "Pacific/Kiritimati"
    url = f"sqlite:///{tmp_path}/catalog.db"
    Catalog(url).migrate()
    Catalog(url).add_project("demo", time_zone=zone)
    rows = add(tmp_path, [event(f"e{n}", NOON + n * 7 * HOUR_US) for n in range(20)])
    run(tmp_path)
    same_as_brute(tmp_path, rows, zone)
