"""Three live stores at once: one that stops holds up nobody, and gets everything afterwards."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from beam_pipelines.connectors.live import LiveStore, open_store
from tests.bigquery_emulator import DATASET, PROJECT, bigquery_in_environment, google_client
from tests.bigtable_emulator import bigtable_in_environment
from tests.emulators import Emulator
from tests.streams import DAY_US
from tests.system import System, wait_for

pytestmark = [
    pytest.mark.journey,
    pytest.mark.filterwarnings("ignore:Connecting to Bigtable emulator"),
]
BIGTABLE = f"bigtable:{PROJECT}/live/panes"
BIGQUERY = f"bigquery:{PROJECT}/{DATASET}"
BATCH = 20
FRESH_S = 5.0  # the product's promise from POST to live number


@pytest.fixture(scope="module")
def emulators() -> Iterator[dict[str, Emulator]]:
    with bigtable_in_environment() as bigtable, bigquery_in_environment() as bigquery:
        yield {BIGTABLE: bigtable, BIGQUERY: bigquery}


class Shop:
    """A system whose live numbers go to three stores, and a client that counts what it sent."""

    def __init__(self, system: System) -> None:
        self.system, self.sent = system, 0
        system.run("catalog", "add-project", "shop")
        self._key = system.key("shop")
        for start in (system.start_collector, system.start_ingest, system.start_reports):
            start()

    def send(self) -> None:
        events = [
            {"type": "track", "event": "view", "userId": f"u{n}", "messageId": uuid.uuid4().hex}
            for n in range(BATCH)
        ]
        url = f"{self.system.collector}/v1/batch"
        assert self.system.post(url, {"batch": events, "writeKey": self._key})[0] == 200
        self.sent += BATCH

    def send_for(self, seconds: float) -> list[float]:
        """Send, and see each batch in the live numbers of the page before the next; how long."""
        took: list[float] = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.send()
            began = time.monotonic()
            wait_for(lambda: self.page() == self.sent, seconds=60, what="the page")
            took.append(time.monotonic() - began)
        return took

    def page(self) -> int:
        return int(self.system.live("shop")["events_today"])

    def archived(self) -> bool:
        return bool(self.system.ledger("shop")["in_flight"] == 0)


def held(uri: str) -> int:
    """Events by the newest panes of a store."""
    store: LiveStore = open_store(uri)
    try:
        now = time.time_ns() // 1000
        return int(store.read("shop", "events", now - DAY_US, now + DAY_US)["total"].sum())
    finally:
        store.close()


def has_all(shop: Shop, uri: str, seconds: float = 90) -> float:
    began = time.monotonic()
    wait_for(lambda: held(uri) == shop.sent, seconds=seconds, what=f"{shop.sent} events in {uri}")
    return time.monotonic() - began


def test_a_stopped_store_holds_up_nobody_and_gets_everything_afterwards(
    tmp_path: Path, emulators: dict[str, Emulator]
) -> None:
    copies = f"{BIGTABLE},{BIGQUERY}"
    with System(tmp_path / "data", live_copies=copies, rollup_every_s=3600) as system:
        shop = Shop(system)
        shop.send()
        wait_for(lambda: shop.page() == shop.sent, seconds=60, what="first pane")
        for uri in emulators:
            has_all(shop, uri)
        usual = sorted(shop.send_for(5))

        for stopped, emulator in emulators.items():
            emulator.hang()
            try:
                took = sorted(shop.send_for(12))
                assert took[-1] < FRESH_S, (stopped, took)
                wait_for(shop.archived, seconds=20, what="archive")
                for uri in emulators.keys() - {stopped}:
                    has_all(shop, uri, seconds=20)
            finally:
                emulator.go_on()
            behind = has_all(shop, stopped)
            print(f"{stopped.partition(':')[0]} stopped: {len(took)} batches seen on the page "
                  f"after {took[len(took) // 2]:.2f} s, at most {took[-1]:.2f} s (before: "
                  f"{usual[len(usual) // 2]:.2f} and {usual[-1]:.2f} s); level "
                  f"{behind:.1f} s after it went on")  # fmt: skip

        # What is held for a store is gone with the process, and made again of the bus.
        emulators[BIGTABLE].hang()
        shop.send_for(6)
        system.kill("ingest")
        emulators[BIGTABLE].go_on()
        system.start_ingest()
        shop.send()
        for uri in (BIGTABLE, BIGQUERY, f"sqlite:{system.data}/live.db"):
            has_all(shop, uri)
        with google_client() as google:
            newest = f"`{DATASET}.live_panes_newest`"
            sql = f"SELECT SUM(total) AS n FROM {newest} WHERE statistic = 'events'"
            assert [row["n"] for row in google.query(sql).result()] == [shop.sent]


def test_a_store_that_is_away_at_the_start_is_named(
    tmp_path: Path, emulators: dict[str, Emulator]
) -> None:
    with System(tmp_path / "data", live_copies=f"bigquery:{PROJECT}/nowhere") as system:
        done = system.run("beam_pipelines.run", "ingest", check=False)
        assert done.returncode == 2
        assert "bq mk --location" in done.stderr
