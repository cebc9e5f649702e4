"""The books of a real spool and a real archive: balanced, and not, with the blocks named."""

from __future__ import annotations

import base64
import random
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import apache_beam as beam
import polars as pl
import pytest
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from beam_pipelines.connectors import ledger_table
from beam_pipelines.connectors.frames import Frame
from beam_pipelines.connectors.spool import ProducerLog
from beam_pipelines.connectors.warehouse import Warehouse
from beam_pipelines.jobs import compact, reconcile
from beam_pipelines.options import CompactOptions, ReconcileOptions, parse
from beam_pipelines.steps.archive import Archive
from catalog import policies
from catalog.settings import read
from catalog.store import Catalog
from collector.bus.spool import SpoolPublisher
from schemas_avro import block, derive, load
from schemas_avro.tables import DEAD_LETTERS, EVENTS, POSITIONS, Table
from tests.streams import event, frame_of
from tests.system import System, wait_for
from transforms.positions import Positions

MINUTE = 60_000_000


class World:
    """A collector's end of the bus, and an archive that takes from it when it is told to."""

    def __init__(self, data: Path, segment_bytes: int = 64 << 20) -> None:
        self.data = data
        self.config = read({"HEADWATER_DATA_DIR": str(data)})
        self.bus = SpoolPublisher(data / "spool", segment_bytes=segment_bytes)
        self.now = time.time_ns() // 1000 // MINUTE * MINUTE - 60 * MINUTE
        self.sent = 0

    def send(self, events: int, refused: int = 0, **fields: Any) -> None:
        """A request's worth, received at `now`; ids go on unless given."""
        rows = []
        for _ in range(events):
            given = {"received_time": self.now, "event_id": f"e{self.sent}", **fields}
            rows.append(event(given.pop("event_id"), self.now - 500_000, **given))
            self.sent += 1
        letters = [
            {"dead_letter_id": f"d{self.sent}-{n}", "project": "demo", "source": "web",
             "step": "intake", "reason": "bad_money", "message": "no", "original": b"{}",
             "received_time": self.now} for n in range(refused)
        ]  # fmt: skip
        self.bus.publish(columns("event", rows), columns("dead_letter", letters))

    def frames(self, topic: str = "events") -> list[Frame]:
        logs = sorted(p for p in (self.data / "spool" / topic).iterdir() if p.is_dir())
        found = []
        for path in logs:
            with closing(ProducerLog(str(path))) as log:
                found += log.read(0)
        return found

    def archive(self, frames: list[Frame] | None = None, table: Table = EVENTS) -> None:
        topic = "events" if table is EVENTS else "dead_letters"
        taken = self.frames(topic) if frames is None else frames
        held = Warehouse(f"{self.data}/archive").positions(table)
        with beam.Pipeline(FnApiRunner()) as root:
            root | beam.Create(taken) | Archive(f"{self.data}/archive", table, held)

    def reconcile(self, *flags: str) -> pl.DataFrame:
        """Run the job; the whole ledger after it. Raises SystemExit as it does."""
        options, rest = parse(ReconcileOptions, "reconcile", flags, self.config)
        try:
            reconcile.start(options, rest, self.config)
        finally:
            self.ledger = ledger_table.lines(Warehouse(f"{self.data}/archive")).sort("minute")
        return self.ledger

    def totals(self) -> dict[str, int]:
        numbers = ("received", "archived", "duplicates", "dead_lettered", "suppressed",
                   "in_flight", "missing", "doubled", "imported")  # fmt: skip
        summed = self.ledger.select(pl.col(numbers).sum()).row(0, named=True)
        return {name: number for name, number in summed.items() if number}


def columns(record: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=derive.wire(load(record)), orient="row")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_all_that_came_is_somewhere(world: World) -> None:
    world.send(5, refused=2)
    world.now += MINUTE
    world.send(3, source="app")
    world.archive()
    world.archive(table=DEAD_LETTERS)
    world.now += MINUTE
    world.send(4, refused=1)  # the archive has not seen these yet
    ledger = world.reconcile("--patience_s=86400", "--window_s=7200")
    assert world.totals() == {"received": 15, "archived": 8, "dead_lettered": 2, "in_flight": 5}
    assert ledger.select("source", "received").rows() == [("web", 7), ("app", 3), ("web", 5)]
    world.archive()
    world.archive(table=DEAD_LETTERS)
    world.reconcile("--window_s=60")  # the open minutes are looked at, however long ago
    assert world.totals() == {"received": 15, "archived": 12, "dead_lettered": 3}
    assert world.ledger["minute"].n_unique() == 3


def test_repeats_are_counted_wherever_their_first_copy_is(world: World) -> None:
    world.send(2, event_id="before", user_id="u1")
    world.archive()
    world.reconcile("--window_s=7200")
    assert world.totals() == {"received": 2, "archived": 1, "duplicates": 1}
    world.now += 50 * MINUTE
    world.send(1, event_id="before")
    world.send(2, event_id="in it")
    world.send(1, event_id="before", source="app")  # another source: another event
    world.archive()
    world.reconcile("--window_s=1200")
    assert world.totals() == {"received": 6, "archived": 3, "duplicates": 3}
    assert world.ledger.filter(pl.col("source") == "app")["duplicates"].to_list() == [0]


def test_a_lost_file_is_an_alarm_that_names_the_blocks(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(4):
        world.send(3)
    frames = world.frames()
    world.archive(frames[:1])
    world.archive([frames[3]])
    warehouse = Warehouse(f"{world.data}/archive")
    table = warehouse.table(EVENTS)  # the commit says 1 and 2 are held, their files never came
    positions = Positions.of([(frames[0].producer, 0, 3)])
    table.add_files([], snapshot_properties={POSITIONS: positions.to_json()})
    with pytest.raises(SystemExit) as ended:
        world.reconcile("--window_s=7200")
    assert ended.value.code == 1
    assert world.totals() == {"received": 12, "archived": 6, "missing": 6}
    said = capsys.readouterr().err
    assert f"demo/web: 6 missing in events {frames[0].producer}:1-2" in said
    with pytest.raises(SystemExit):  # a minute that does not add up stays open
        world.reconcile("--window_s=60")


def test_a_block_added_twice_is_an_alarm_and_compaction_mends_it(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.send(3)
    world.send(2)
    world.archive()
    warehouse = Warehouse(f"{world.data}/archive")
    _, rows = block.decode(load("event"), world.frames()[1].payload)
    warehouse.table(EVENTS).add_files(
        list(warehouse.write_files(EVENTS, rows)),
        snapshot_properties={POSITIONS: warehouse.positions(EVENTS).to_json()},
    )
    with pytest.raises(SystemExit):
        world.reconcile("--window_s=7200")
    assert world.totals() == {"received": 5, "archived": 5, "doubled": 2}
    assert f"2 doubled in events {world.frames()[0].producer}:1" in capsys.readouterr().err
    options, flags = parse(CompactOptions, "compact", [], world.config)
    compact.start(options, flags, world.config)
    world.reconcile("--window_s=60")
    assert world.totals() == {"received": 5, "archived": 5}


def test_a_block_that_was_passed_over_is_an_alarm(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        world.send(2)
    frames = world.frames()
    world.archive([frames[0], frames[2]])
    with pytest.raises(SystemExit):
        world.reconcile("--window_s=7200")
    assert world.totals() == {"received": 6, "archived": 4, "in_flight": 2}
    assert f"2 passed over in events {frames[0].producer}:1" in capsys.readouterr().err


def test_erased_people_are_no_loss(world: World) -> None:
    world.send(3, user_id="gone")
    world.send(2, user_id="here")
    catalog = Catalog(world.config.catalog_url)
    catalog.migrate()
    catalog.add_project("demo")
    policies.suppress(catalog, "demo", ["gone"])
    world.archive()
    Warehouse(f"{world.data}/archive").table(EVENTS).delete(
        "user_id = 'gone'",
        snapshot_properties={
            POSITIONS: Warehouse(f"{world.data}/archive").positions(EVENTS).to_json()
        },
    )
    world.reconcile("--window_s=7200")
    assert world.totals() == {"received": 5, "archived": 2, "suppressed": 3}


def test_damage_on_the_bus_is_dead_lettered_with_its_rows(world: World) -> None:
    for size in (2, 7, 3):
        world.send(size)
    (segment,) = (world.data / "spool/events").rglob("*.blocks")
    whole = segment.read_bytes()
    middle = whole.index(b"HWB1", whole.index(b"HWB1", 1))
    segment.write_bytes(whole[: middle + 40] + b"\xff" * 9 + whole[middle + 49 :])
    world.archive()
    world.reconcile("--window_s=7200")
    assert world.totals() == {"received": 12, "archived": 5, "dead_lettered": 7}


def test_imports_stand_beside_the_bus(world: World) -> None:
    world.send(2)
    world.archive()
    at = world.now
    rows = [event(f"i{n}", at - 9 * 86_400_000_000, received_time=at) for n in range(7)]
    world.archive([frame_of(rows, producer="import-shop-1")])
    world.reconcile("--window_s=7200")
    assert world.totals() == {"received": 2, "archived": 2, "imported": 7}


@pytest.mark.parametrize("seed", [1, 2])
def test_however_it_came_the_whole_and_the_parts_agree(tmp_path: Path, seed: int) -> None:
    """Runs at any moment end up with what one run over everything says."""
    rng = random.Random(seed)
    world = World(tmp_path, segment_bytes=4000)
    for _ in range(5):
        for _ in range(rng.randrange(1, 5)):
            ids = {"event_id": f"r{rng.randrange(9)}"} if rng.random() < 0.5 else {}
            world.send(rng.randrange(0, 6), rng.randrange(2), source=rng.choice(["web", "app"]),
                       **ids)  # fmt: skip
            world.now += rng.choice([0, 1_000_000, MINUTE])
        if rng.random() < 0.6:
            waiting = world.frames()
            world.archive(waiting[: rng.randrange(len(waiting) + 1)])
        world.reconcile("--window_s=60", "--patience_s=86400")
    world.archive()
    world.archive(table=DEAD_LETTERS)
    in_parts = world.reconcile("--window_s=60")
    numbers = [c for c in in_parts.columns if c != "computed_at"]
    at_once = world.reconcile("--all_minutes")
    assert (
        in_parts.select(numbers).sort(numbers[:3]).equals(at_once.select(numbers).sort(numbers[:3]))
    )
    assert set(world.totals()) <= {"received", "archived", "duplicates", "dead_lettered"}
    assert world.totals()["received"] == sum(
        block.read_meta(f.payload).count
        for topic in ("events", "dead_letters")
        for f in world.frames(topic)
    )


def test_an_empty_system_is_balanced(world: World) -> None:
    assert world.reconcile().is_empty()
    assert world.reconcile("--all_minutes").is_empty()


def test_a_dry_run_says_what_it_would_read(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.send(2)
    world.archive()
    world.reconcile("--dry_run", "--window_s=7200")
    assert world.ledger.is_empty()
    assert "would read 2 producers and 1 files" in capsys.readouterr().out


@pytest.mark.journey
def test_real_processes_reconcile_through_a_kill(tmp_path: Path) -> None:
    """Ingest killed midway and compaction beside it: the books close at zero, by the command."""
    with System(tmp_path / "data") as system:
        system.run("catalog", "add-project", "shop")
        key = system.key("shop")
        system.start_collector()
        system.start_ingest()
        url, sent = f"{system.collector}/v1/batch", 0
        login = {"authorization": "Basic " + base64.b64encode(f"{key}:".encode()).decode(),
                 "content-type": "application/json"}  # fmt: skip

        def send(batches: int) -> None:
            nonlocal sent
            for _ in range(batches):
                batch = [{"type": "track", "event": "Seen", "userId": "u1",
                          "messageId": f"m{sent + n}"} for n in range(20)]  # fmt: skip
                batch.append({"type": "track", "event": "No person"})
                status, _ = system.post(url, {"batch": batch}, login)
                assert status == 200
                sent += 20

        def ledger(*flags: str) -> tuple[int, str]:
            done = system.run("beam_pipelines.run", "reconcile", *flags, check=False)
            return done.returncode, done.stdout + done.stderr

        send(10)
        wait_for(lambda: "0 in flight" in ledger()[1], seconds=60, what="first blocks archived")
        send(5)
        system.kill("ingest")
        send(5)
        code, said = ledger()
        assert code == 0, said  # under way is no alarm
        system.start_ingest()
        system.run("beam_pipelines.run", "compact")
        send(5)
        wait_for(lambda: " 0 in flight" in ledger()[1], seconds=90, what="all archived")
        system.run("beam_pipelines.run", "compact")
        code, said = ledger("--all_minutes")
        assert code == 0, said
        wanted = "525 received, 500 archived, 0 duplicates, 25 dead lettered, 0 suppressed, "
        assert wanted + "0 in flight, 0 missing, 0 doubled, 0 imported" in said
