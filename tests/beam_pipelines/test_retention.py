"""Retention takes out what is too old, all of it and nothing else, and the books still add up."""

from __future__ import annotations

import os
import time
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from beam_pipelines.connectors import ledger_table
from beam_pipelines.connectors.live import open_store
from beam_pipelines.connectors.maintenance import files_by_day
from beam_pipelines.connectors.retire import old_segments
from beam_pipelines.connectors.uri import UriError
from beam_pipelines.connectors.warehouse import Added, Warehouse
from beam_pipelines.jobs import compact, retention, rollup
from beam_pipelines.options import CompactOptions, RetentionOptions, RollupOptions, parse
from catalog import policies
from catalog.audit import Audit
from catalog.settings import read
from catalog.store import Catalog
from collector.bus.segments import SegmentWriter
from collector.bus.spool import SpoolPublisher
from reports.ledger import Books
from reports.warehouse.files import WarehouseFiles
from schemas_avro import block, derive, load
from schemas_avro.segment import SUFFIX
from schemas_avro.tables import DAILY, DEAD_LETTERS, EVENTS, LEDGER
from tests.streams import event, frame_of
from transforms.positions import Positions

DAY_US = 86_400_000_000
TODAY = datetime.now(UTC).date()


def noon(days_ago: int) -> int:
    at = datetime.combine(TODAY, datetime.min.time(), UTC) + timedelta(days=-days_ago, hours=12)
    return int(at.timestamp()) * 1_000_000


class World:
    def __init__(self, data: Path) -> None:
        self.data, self.seq = data, 0
        self.config = read({"HEADWATER_DATA_DIR": str(data)})
        self.warehouse = Warehouse(f"{data}/archive")
        self.catalog = Catalog(self.config.catalog_url)
        self.catalog.migrate()
        self.catalog.add_project("demo")
        self.catalog.add_project("short")
        policies.set_project(self.catalog, "short", raw_days=30, aggregate_days=60)

    def add(self, days_ago: int, rows: int = 1, project: str = "demo", producer: str = "") -> None:
        name = producer or "collector-0-a"
        made = [event(f"e{self.seq}-{n}", noon(days_ago) + n, project=project)
                for n in range(rows)]  # fmt: skip
        _, frame = block.decode(load("event"), frame_of(made, name, self.seq).payload)
        self.commit(frame, project, days_ago, name)

    def commit(self, frame: pl.DataFrame, project: str, days_ago: int, producer: str) -> None:
        files = self.warehouse.write_files(EVENTS, frame)
        day = (TODAY - timedelta(days=days_ago)).isoformat()
        positions = Positions.of([(producer, self.seq, self.seq)])
        until = int(frame["received_time"].max())  # type: ignore[arg-type]
        self.warehouse.add(EVENTS, Added(files, positions, {project: (day,)}, until))
        self.seq += 1

    def run(self, *flags: str) -> None:
        options, rest = parse(RetentionOptions, "retention", flags, self.config)
        retention.start(options, rest, self.config)

    def rollup(self) -> None:
        options, rest = parse(RollupOptions, "rollup", [], self.config)
        rollup.start(options, rest, self.config)

    def rows(self) -> Counter[tuple[str, int]]:
        found = self.warehouse.table(EVENTS).scan().to_arrow().to_pylist()
        return Counter((r["project"], (TODAY - r["event_time"].date()).days) for r in found)

    def daily(self) -> set[tuple[str, int]]:
        found = self.warehouse.table(DAILY).scan().to_arrow().to_pylist()
        return {(r["project"], (TODAY - r["day"]).days) for r in found if r["events_in"]}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_what_is_too_old_goes_and_nothing_else(world: World) -> None:
    for project in ("demo", "short"):
        for days_ago in (0, 29, 30, 31, 32, 100, 731, 732, 733, 2000):
            world.add(days_ago, rows=days_ago % 7 + 1, project=project)
    options, flags = parse(CompactOptions, "compact", [], world.config)
    compact.start(options, flags, world.config)  # both projects lie in the same files now
    before, held = world.rows(), world.warehouse.positions(EVENTS)
    world.run()
    wanted = Counter({
        (project, days): n for (project, days), n in before.items()
        if days <= {"demo": 732, "short": 31}[project]
    })  # fmt: skip
    assert world.rows() == wanted
    assert world.warehouse.positions(EVENTS) == held
    gone = world.warehouse.retired(EVENTS)
    assert gone.total().rows == sum((before - wanted).values())
    assert gone.of("demo").until == TODAY - timedelta(days=732)
    again = world.warehouse.table(EVENTS).current_snapshot()
    world.run()
    assert world.warehouse.table(EVENTS).current_snapshot() == again


def audit_days(world: World) -> list[tuple[str, int]]:
    """Action and age in days of what is in the audit log, the oldest first."""
    found = reversed(Audit(world.catalog).find(limit=500))
    return [(entry.action, (TODAY - entry.at.date()).days) for entry in found]


@pytest.mark.parametrize(("flags", "kept"), [([], 731), (["--audit_days=10"], 10)])
def test_the_audit_log_is_kept_for_its_days(world: World, flags: list[str], kept: int) -> None:
    for days_ago in (2000, kept + 1, kept, 1, 0):
        at = datetime.combine(TODAY - timedelta(days=days_ago), datetime.min.time())
        Audit(world.catalog, lambda at=at: at).add("sign-in", actor="ann@example.org")  # type: ignore[misc]
    options, _ = parse(RetentionOptions, "retention", flags, world.config)
    assert retention.is_due(options)
    before = audit_days(world)
    world.run("--dry_run", *flags)
    assert audit_days(world) == before
    world.run(*flags)
    young = [("sign-in", days) for days in (kept, 1, 0)]
    assert audit_days(world) == [*young, ("audit.prune", 0)]
    assert not retention.is_due(options)
    world.run(*flags)  # nothing is old any more, and nothing is written about it
    assert audit_days(world) == [*young, ("audit.prune", 0)]


def test_an_audit_log_of_no_days_is_refused_before_anything_goes(world: World) -> None:
    world.add(2000)
    with pytest.raises(UriError, match="audit_days=0"):
        world.run("--audit_days=0")
    assert world.rows() == {("demo", 2000): 1}


def test_published_numbers_outlive_their_events(world: World) -> None:
    for days_ago in (5, 40, 70):
        world.add(days_ago, rows=3, project="short")
    world.add(70, rows=2, project="demo")
    world.rollup()
    world.run()
    assert world.daily() == {("short", 5), ("short", 40), ("demo", 70)}
    world.add(41, project="short")  # far too late: its day's events are gone
    world.rollup()
    assert world.daily() == {("short", 5), ("short", 40), ("demo", 70)}
    options, rest = parse(RollupOptions, "rollup", ["--all_days"], world.config)
    rollup.start(options, rest, world.config)
    assert world.daily() == {("short", 5), ("short", 40), ("demo", 70)}


def test_the_books_of_the_pages_still_add_up(world: World) -> None:
    for days_ago in (5, 40, 70):
        world.add(days_ago, rows=3, project="short")
    world.add(70, rows=2, project="short", producer="import-x")
    bus = SpoolPublisher(world.data / "spool", segment_bytes=64 << 20)
    rows = pl.DataFrame([event(f"b{n}", noon(5)) for n in range(9)],
                        schema=derive.wire(load("event")), orient="row")  # fmt: skip
    bus.publish(rows, pl.DataFrame(schema=derive.wire(load("dead_letter"))))
    bus.close()
    world.rollup()

    def books() -> tuple[int, int, int]:
        found = Books(world.data / "spool", WarehouseFiles(f"{world.data}/archive")).read()
        return found.in_flight, found.uncounted, found.retired

    assert books() == (0, 0, 0)
    world.run()
    assert books() == (0, 0, 8)
    world.rollup()
    world.run()
    assert books() == (0, 0, 8)
    world.add(70, rows=2, project="short", producer="import-y")  # late for good: never counted
    world.rollup()
    world.run()
    assert books() == (0, 0, 10)


def test_dead_letters_and_ledger_lines_go_too(world: World) -> None:
    letters = [
        {"dead_letter_id": f"d{n}", "project": "short", "source": "web", "step": "intake",
         "reason": "bad_money", "message": "no", "original": b"{}", "received_time": noon(n),
         "producer": "collector-0-b", "seq": 0, "row": n} for n in (1, 40)
    ]  # fmt: skip
    frame = pl.DataFrame(letters, schema=derive.wire(load("dead_letter")), orient="row")
    files = world.warehouse.write_files(DEAD_LETTERS, frame)
    world.warehouse.add(DEAD_LETTERS, Added(files, Positions(), {}, noon(1)))
    numbers = dict.fromkeys(load("ledger").field_names[3:12], 1)
    lines = [{"minute": noon(n), "project": "short", "source": "web", "computed_at": 1, **numbers}
             for n in (1, 59, 61)]  # fmt: skip
    ledger = pl.DataFrame(lines, schema=derive.wire(load("ledger")), orient="row")
    ledger_table.replace_lines(world.warehouse, ledger, 0)
    world.run()
    found = world.warehouse.table(DEAD_LETTERS).scan().to_arrow().to_pylist()
    assert [row["dead_letter_id"] for row in found] == ["d1"]
    left = world.warehouse.table(LEDGER).scan().to_arrow()["minute"].to_pylist()
    assert sorted((TODAY - at.date()).days for at in left) == [1, 59]


def test_a_dry_run_lists_what_would_go_and_takes_nothing(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.add(40, rows=3, project="short")
    world.add(40, rows=2, project="demo")
    world.rollup()
    capsys.readouterr()
    before = world.rows()
    world.run("--dry_run")
    said = capsys.readouterr().out
    assert f"events {TODAY - timedelta(days=40)}: 3 rows would go" in said
    assert world.rows() == before


def test_numbers_shorter_than_events_are_refused(world: World) -> None:
    with pytest.raises(UriError, match="exact numbers of 700 days would go before events of 731"):
        world.run("--aggregate_days=700")
    policies.set_project(world.catalog, "short", raw_days=90)
    with pytest.raises(UriError, match="project 'short'"):
        world.run()


def test_nothing_is_there_yet(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.run()
    assert capsys.readouterr().out.startswith("spool: 0 segments of 0 bytes gone")


# -- The spool.


def spool(world: World, blocks: int) -> list[Path]:
    """Segments of two blocks each, the last one open."""
    topic = world.data / "spool/events"
    writer = SegmentWriter(topic, "collector", load("event"), segment_bytes=1500)
    for n in range(blocks):
        rows = [event(f"s{n}-{i}", noon(3) + i, properties="x" * 40) for i in range(9)]
        frame = pl.DataFrame(rows, schema=derive.wire(load("event")), orient="row")
        writer.append(writer.seal(frame, 0))
    writer.close()
    return sorted(topic.rglob(f"*{SUFFIX}"))


def settle(world: World, minute: int) -> None:
    """As if ledger and live numbers had come so far."""
    numbers = {**dict.fromkeys(load("ledger").field_names[3:12], 0), "received": 1, "archived": 1}
    line = {"minute": minute, "project": "demo", "source": "web", "computed_at": 1, **numbers}
    rows = pl.DataFrame([line], schema=derive.wire(load("ledger")), orient="row")
    ledger_table.replace_lines(world.warehouse, rows, 0)
    store = open_store(world.config.live_uri)
    store.upsert(pl.DataFrame(schema=derive.wire(load("live_value"))), store.begin(1), minute)
    store.close()


def hold(world: World, producer: str, last: int) -> None:
    added = Added((), Positions.of([(producer, 0, last)]), {}, noon(3))
    world.warehouse.add(EVENTS, added)


def test_only_archived_old_segments_leave_the_spool(world: World) -> None:
    segments = spool(world, blocks=9)
    assert len(segments) > 3
    producer = segments[0].parent.name
    old = time.time() - 3 * 86_400
    for path in segments:
        os.utime(path, (old, old))
    world.run()
    assert all(path.exists() for path in segments)  # neither ledger nor live numbers have them
    settle(world, noon(1))
    world.run()
    assert all(path.exists() for path in segments)  # the archive has nothing
    third = int(segments[2].name.removesuffix(SUFFIX))
    hold(world, producer, third)  # one block of the third segment is not there
    young = time.time()
    os.utime(segments[1], (young, young))
    world.run()
    assert [path.exists() for path in segments[:3]] == [False, True, True]
    os.utime(segments[1], (old, old))
    world.run()
    assert [path.exists() for path in segments[:3]] == [False, False, True]


def test_a_live_store_that_is_behind_keeps_the_spool(world: World) -> None:
    segments = spool(world, blocks=9)
    for path in segments:
        os.utime(path, (1, 1))
    settle(world, noon(1))
    hold(world, segments[0].parent.name, 8)
    behind = f"sqlite:{world.data}/behind.db"
    world.run(f"--live={world.config.live_uri},{behind}")
    assert all(path.exists() for path in segments)  # the second store has nothing yet
    store = open_store(behind)
    store.upsert(pl.DataFrame(schema=derive.wire(load("live_value"))), store.begin(1), noon(1))
    store.close()
    world.run(f"--live={world.config.live_uri},{behind}")
    assert [path.exists() for path in segments] == [False] * (len(segments) - 1) + [True]


def test_numbering_and_totals_go_on_after_everything_was_archived(world: World) -> None:
    segments = spool(world, blocks=9)
    producer, topic = segments[0].parent.name, world.data / "spool/events"
    for path in segments:
        os.utime(path, (1, 1))
    (topic / producer / f"{9:020d}{SUFFIX}").touch()  # an empty one, as after a roll
    old = list(old_segments(str(topic), Positions.of([(producer, 0, 8)]), 1 << 60))
    assert [s.path for s in old] == segments[:-1]
    for segment in old:
        segment.path.unlink()
    books = Books(world.data / "spool", WarehouseFiles(f"{world.data}/archive"))
    assert books.rows_on_bus(topic) == 81
    writer = SegmentWriter(topic, "collector", load("event"), segment_bytes=1500)
    assert writer.producer == producer
    frame = pl.DataFrame([event("next", noon(0))], schema=derive.wire(load("event")), orient="row")
    writer.append(writer.seal(frame, 0))
    writer.close()
    assert books.rows_on_bus(topic) == 82


def test_an_open_minute_keeps_its_segments(world: World) -> None:
    rows: list[dict[str, Any]] = [
        {"minute": noon(3), "project": "demo", "source": "web", "computed_at": 1,
         **dict.fromkeys(load("ledger").field_names[3:12], 0), "in_flight": 1}
    ]  # fmt: skip
    frame = pl.DataFrame(rows, schema=derive.wire(load("ledger")), orient="row")
    ledger_table.replace_lines(world.warehouse, frame, 0)
    assert ledger_table.covered_until(world.warehouse) == noon(3)


def test_files_of_a_day_are_left_where_only_others_are_old(world: World) -> None:
    world.add(40, rows=2, project="demo")
    world.add(40, rows=3, project="short")
    day: date = TODAY - timedelta(days=40)
    (kept,) = [f.path for f in files_by_day(world.warehouse, EVENTS)[day] if f.rows == 2]
    world.run()
    assert [f.path for f in files_by_day(world.warehouse, EVENTS)[day]] == [kept]
