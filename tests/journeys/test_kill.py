"""N events answered 200 are N events in the report, through kill -9 of everything.

KILLS is how often the pipeline is killed while events come in, 3 times by default.
"""

from __future__ import annotations

import os
import random
import shutil
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests import brute, observed
from tests.streams import SpoolWriter, event, frame_rows, order
from tests.system import System, wait_for

pytestmark = pytest.mark.journey

BATCH = 25
KILLS = int(os.environ.get("KILLS", "3"))


class Client:
    """Sends batches, each again and again under the same ids until it is answered 200."""

    def __init__(self, system: System, key: str) -> None:
        self._system, self._key = system, key
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send_all)
        self.answered: dict[str, int] = {}  # id -> revenue in pence
        self.resent = 0

    def __enter__(self) -> Client:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _send_all(self) -> None:
        number = 0
        while not self._stop.is_set():
            events = {uuid.uuid4().hex: (number * BATCH + i) % 997 for i in range(BATCH)}
            self._send(number, events)
            number += 1
            time.sleep(0.01)

    def _send(self, number: int, events: dict[str, int]) -> None:
        batch = [
            {
                "type": "track",
                "event": "Order Completed",
                "messageId": event_id,
                "userId": f"user {(number + i) % 100}",
                "properties": {
                    "revenue": f"{pence / 100:.2f}",
                    "currency": "GBP",
                    "order_id": event_id,
                },
            }
            for i, (event_id, pence) in enumerate(events.items())
        ]
        while True:
            try:
                body = {"batch": batch, "writeKey": self._key}
                status, _ = self._system.post(f"{self._system.collector}/v1/batch", body)
            except OSError:
                status = 0
            if status == 200:
                self.answered.update(events)
                return
            self.resent += 1
            time.sleep(0.1)


def test_every_event_answered_200_is_counted_once_through_kills(tmp_path: Path) -> None:
    with System(tmp_path / "data", sql_max_rows=1_000_000) as system:
        system.run("catalog", "add-project", "shop", "--time-zone=Europe/London")
        key = system.key("shop")
        system.start_collector()
        system.start_ingest()
        system.start_reports()
        with Client(system, key) as client:
            wait_for(lambda: system.live("shop")["events_today"] > 0, seconds=60, what="first pane")
            for _ in range(3):
                system.kill("collector")
                time.sleep(0.5)
                system.start_collector()
                time.sleep(1)
            system.kill("ingest")
            time.sleep(2)  # events go on into the bus while nobody reads it
            system.start_ingest()
            time.sleep(8)
            system.kill("ingest")
            system.start_ingest()
            time.sleep(2)
        assert client.resent > 0, "the collector was killed and no request noticed"
        ids = set(client.answered)
        pence = sum(client.answered.values())

        def all_archived() -> bool:
            return system.ledger("shop")["in_flight"] == 0

        wait_for(all_archived, seconds=60, what="everything in the archive")
        system.run("beam_pipelines.run", "rollup")

        ledger = system.ledger("shop")
        assert ledger["balanced"], ledger
        assert ledger["counted"] == len(ids)
        counted = {row[0] for row in system.sql("shop", "SELECT event_id FROM events")}
        assert counted == ids
        assert system.sql(
            "shop",
            "SELECT SUM(value) FROM daily WHERE metric = 'events' AND dimensions = '{}'",
        ) == [[len(ids)]]
        assert system.sql("shop", "SELECT SUM(value) FROM daily WHERE metric = 'revenue'") == [
            [pence]
        ]

        def live_is_exact() -> bool:
            live = system.sql(
                "shop",
                "SELECT statistic, SUM(value) FROM live_minutes "
                "WHERE statistic IN ('events', 'revenue') GROUP BY statistic ORDER BY statistic",
            )
            return live == [["events", len(ids)], ["revenue", pence]]

        wait_for(live_is_exact, seconds=60, what="live numbers equal to the exact ones")


class Feed(threading.Thread):
    """Two collectors' blocks, twenty a second, received as they are written; one in ten repeats."""

    def __init__(self, topic: Path, seed: int) -> None:
        super().__init__()
        self._writers = [SpoolWriter(topic, f"collector-{n}", 40) for n in range(2)]
        self._rng = random.Random(seed)
        self._ended = threading.Event()
        self.rows: list[dict[str, Any]] = []

    def run(self) -> None:
        number = 0
        while not self._ended.wait(0.05):
            block = [self._row(f"{number}-{n}") for n in range(self._rng.randint(1, 200))]
            repeated = self._rng.sample(self.rows, min(len(self.rows), len(block) // 10))
            block += [{**row, "received_time": time.time_ns() // 1000} for row in repeated]
            self._rng.choice(self._writers).append(frame_rows(block))
            self.rows += block
            number += 1

    def _row(self, event_id: str) -> dict[str, Any]:
        received = time.time_ns() // 1000
        at = received - self._rng.randrange(90_000_000)
        who = {"user_id": f"u{self._rng.randrange(500)}"}
        if self._rng.random() < 0.2:
            pence = self._rng.randrange(-500, 5000)
            return order(event_id, at, pence, received_time=received, **who)
        name = self._rng.choice(["view", "cart"])
        return event(event_id, at, received_time=received, name=name, **who)

    def close(self) -> None:
        self._ended.set()
        self.join()


def counted(data: Path) -> int:
    return sum(v.value for key, v in observed.live(data).items() if key[2] == "events")


def settle(system: System, rows: list[dict[str, Any]]) -> None:
    """Until archive and live numbers have all of `rows`; then the exact table too."""
    wanted = brute.live(rows)
    wait_for(lambda: sum(observed.archived(system.data).values()) == len(rows), seconds=90,
             what="everything in the archive")  # fmt: skip
    wait_for(lambda: observed.live(system.data).keys() == wanted.keys()
             and not observed.live_differences(system.data, wanted), seconds=60,
             what="live numbers")  # fmt: skip
    system.run("beam_pipelines.run", "rollup")


def wait_until_right(data: Path, rows: list[dict[str, Any]]) -> None:
    """Until as many are counted as there are different ones by now."""
    due = len(brute.first_copies(list(rows))[0])
    wait_for(lambda: counted(data) >= due, seconds=60, what="live numbers after a kill")


@pytest.mark.timeout(120 + 40 * KILLS)
def test_killed_at_random_moments_all_tables_are_those_of_an_undisturbed_run(
    tmp_path: Path,
) -> None:
    rng = random.Random(KILLS)
    recovered = []
    with System(tmp_path / "killed") as system:
        system.run("catalog", "add-project", "demo", "--time-zone=Europe/London")
        feed = Feed(system.data / "spool/events", seed=5)
        feed.start()
        try:
            system.start_ingest()
            for _ in range(KILLS):
                time.sleep(rng.uniform(0.5, 9))  # while it starts, catches up, archives, rests
                system.kill("ingest")
                time.sleep(rng.uniform(0, 2))
                started = time.monotonic()
                system.start_ingest()
                if rng.random() < 0.7:  # else the next kill may come before it has caught up
                    wait_until_right(system.data, feed.rows)
                    recovered.append(time.monotonic() - started)
        finally:
            feed.close()
        settle(system, feed.rows)
        shutil.copytree(system.data / "spool", tmp_path / "calm/spool")
        shutil.copy(system.data / "catalog.db", tmp_path / "calm/catalog.db")
    with System(tmp_path / "calm") as system:
        system.start_ingest()
        settle(system, feed.rows)
    killed, calm = tmp_path / "killed", tmp_path / "calm"
    assert observed.archived(killed) == observed.archived(calm)
    assert observed.live(killed) == observed.live(calm)
    days = observed.daily(killed, "demo")
    assert days == observed.daily(calm, "demo")
    assert days == observed.as_counts(brute.daily(feed.rows, "Europe/London"))
    ledger = observed.ledger(killed)
    assert ledger.balanced, ledger
    print(f"{KILLS} kills, {len(feed.rows):,} events; live numbers right again after "
          f"{', '.join(f'{s:.1f}' for s in recovered)} s")  # fmt: skip
