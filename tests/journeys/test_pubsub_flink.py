"""N events answered 200 are N events in archive and live numbers, with Pub/Sub as the bus."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from google.pubsub_v1 import PublisherClient, PubsubMessage
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport

from beam_pipelines.connectors.warehouse import Warehouse
from schemas_avro.tables import DEAD_LETTERS, EVENTS
from tests.flink import flink_or_skip
from tests.journeys.test_kill import Client
from tests.pubsub_emulator import PROJECT, Emulator, emulator_in_environment
from tests.system import System, wait_for

pytestmark = pytest.mark.journey

PATIENCE_S = 180


@contextmanager
def running(tmp_path: Path, runner: str) -> Iterator[tuple[System, Emulator, str]]:
    """Collector, ingest and reports on an emulator; and a write key of project `shop`."""
    with (
        emulator_in_environment() as emulator,
        System(tmp_path / "data", bus=f"pubsub:{PROJECT}", sql_max_rows=1_000_000) as system,
    ):
        system.run("catalog", "add-project", "shop", "--time-zone=Europe/London")
        key = system.key("shop")
        Warehouse(f"{system.data}/archive").table(EVENTS)  # before two processes make it at once
        system.run("beam_pipelines.run", "ingest", "--prepare")
        system.start_collector()
        ingest(system, runner)
        system.start_reports()
        yield system, emulator, key


def ingest(system: System, runner: str) -> None:
    system.start("ingest", "beam_pipelines.run", "ingest", f"--runner={runner}")


def archived(system: System) -> int:
    count: int = system.sql("shop", "SELECT COUNT(*) FROM events")[0][0]
    return count


def wait_for_a_commit(system: System) -> None:
    before = wait_for(lambda: archived(system) + 1, seconds=PATIENCE_S, what="the table") - 1
    wait_for(lambda: archived(system) > before, seconds=PATIENCE_S, what="a commit")


def assert_exact(system: System, client: Client) -> None:
    """Archive and live numbers are what was answered 200, each once."""
    ids, pence = set(client.answered), sum(client.answered.values())
    wait_for(lambda: archived(system) == len(ids), seconds=PATIENCE_S, what="the archive")
    assert {row[0] for row in system.sql("shop", "SELECT event_id FROM events")} == ids

    def live() -> bool:
        found = system.sql(
            "shop",
            "SELECT statistic, SUM(value) FROM live_minutes "
            "WHERE statistic IN ('events', 'revenue') GROUP BY statistic ORDER BY statistic",
        )
        return found == [["events", len(ids)], ["revenue", pence]]

    wait_for(live, seconds=PATIENCE_S, what=f"{len(ids)} events, {pence} pence in live numbers")


@pytest.mark.parametrize("runner", ["prism", "flink"])
def test_a_pipeline_killed_under_load_loses_and_doubles_nothing(
    tmp_path: Path, runner: str
) -> None:
    if runner == "flink":
        flink_or_skip()
    with running(tmp_path, runner) as (system, _, key):
        with Client(system, key) as client:
            for _ in range(2):
                wait_for_a_commit(system)
                system.kill("ingest")
                time.sleep(2)  # events go on into the bus while nobody reads it
                ingest(system, runner)
            time.sleep(3)
            system.kill("ingest")  # at some moment of its start
            ingest(system, runner)
        assert_exact(system, client)


def test_junk_is_a_dead_letter_and_a_bus_that_was_away_is_read_on(tmp_path: Path) -> None:
    with running(tmp_path, "prism") as (system, emulator, key):
        publish_junk(emulator, [b"", b"no block"])
        with Client(system, key) as client:
            wait_for_a_commit(system)
        assert_exact(system, client)
        letters = Warehouse(f"{system.data}/archive").table(DEAD_LETTERS).scan().to_arrow()
        rows = letters.select(["step", "reason", "original"]).to_pylist()
        assert sorted(map(tuple, (row.values() for row in rows))) == [
            ("decode", "damaged_block", b""),
            ("decode", "damaged_block", b"no block"),
        ]
        emulator.stop()
        time.sleep(2)
        emulator.start()  # with nothing of what it had: all of that was archived before
        with Client(system, key):
            wait_for_a_commit(system)


def publish_junk(emulator: Emulator, payloads: list[bytes]) -> None:
    with PublisherClient(
        transport=PublisherGrpcTransport(channel=grpc.insecure_channel(emulator.host))
    ) as publisher:
        publisher.publish(
            topic=f"projects/{PROJECT}/topics/headwater-events",
            messages=[PubsubMessage(data=data, attributes={"from": "who"}) for data in payloads],
        )


def test_headwater_up_makes_the_subscriptions_first_and_loses_nothing(tmp_path: Path) -> None:
    with (
        emulator_in_environment(),
        System(tmp_path / "data", bus=f"pubsub:{PROJECT}", sql_max_rows=1_000_000) as system,
    ):
        system.run("catalog", "add-project", "shop")
        key = system.key("shop")
        system.start("up", "headwater", "up")
        with Client(system, key) as client:  # from the collector's first moment on
            wait_for_a_commit(system)
        assert_exact(system, client)
        assert system.kill("up", signal.SIGTERM) == 0, system.log("up")
