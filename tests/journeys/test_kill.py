"""N events answered 200 are N events in the report, through kill -9 of everything."""

from __future__ import annotations

import threading
import time
import uuid
from pathlib import Path

import pytest

from tests.system import System, wait_for

pytestmark = pytest.mark.journey

BATCH = 25


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
