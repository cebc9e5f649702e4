"""A collector in this process, on a real spool, with a clock that stands still."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from catalog import settings as settings_table
from catalog.policies import Suppressed
from catalog.schemas import Registered
from catalog.store import KeyOwner
from collector.app import Parts, create_app
from collector.bus import segments as segments_module
from collector.bus.port import Publisher
from collector.bus.spool import SpoolPublisher
from collector.gather import Gatherer
from collector.guard import Guard
from collector.keys import KeyRing
from collector.limits import Limits
from collector.metrics import Metrics
from collector.privacy import Privacy
from collector.suppression import SuppressionList
from collector.validation import Validator
from tests.collector import blocks

NOW = 1_800_000_000_000_000  # 2027-01-15T08:00:00Z in us
KEY = "hw_test"
OWNERS = {KEY: KeyOwner("shop", "web")}


@dataclass(frozen=True)
class Served:
    """An app in this process."""

    client: FlaskClient
    gatherer: Gatherer
    close: Callable[[], None]


def serve(
    publisher: Publisher,
    data: Path,
    owners: Mapping[str, KeyOwner] = OWNERS,
    schemas: Callable[[], Iterable[Registered]] = tuple,
    keys: KeyRing | None = None,
    **given: Any,
) -> Served:
    """An app on this publisher; `given` are settings. keys: instead of `owners`."""
    environ = {f"HEADWATER_{name.upper()}": str(value) for name, value in given.items()}
    settings = settings_table.read({"HEADWATER_DATA_DIR": str(data), **environ})
    gatherer, metrics = Gatherer(publisher, settings.max_waiting_events), Metrics()
    guard = Guard(
        Limits(settings.path("limits"), lambda: NOW / 1e6),
        Privacy(None),
        SuppressionList(lambda known: Suppressed((0, 0), {}), 5, lambda: 0.0),
        Validator(schemas, 5, lambda: 0.0),
        settings.max_event_bytes,
    )
    keys = keys or KeyRing(lambda: owners, 5, lambda: 0.0)
    app = create_app(Parts(settings, keys, gatherer, guard, metrics, lambda: NOW))

    def end() -> None:
        gatherer.close()
        guard.limits.close()
        metrics.close()

    return Served(app.test_client(), gatherer, end)


class Collector:
    """Posts with the key, and shows what came onto the bus."""

    def __init__(self, spool: Path, **settings: Any) -> None:
        self.spool = spool
        served = serve(SpoolPublisher(spool, segment_bytes=1 << 40), spool.parent, **settings)
        self.client, self.gatherer, self.close = served.client, served.gatherer, served.close

    def post(self, path: str, body: Any, **headers: str) -> TestResponse:
        """Bytes are sent as they are, anything else as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(path, data=data, headers={"X-Write-Key": KEY, **named})

    def rows(self) -> list[dict[str, Any]]:
        """Accepted events."""
        return blocks.rows(self.spool / "events")

    def dead(self) -> list[dict[str, Any]]:
        """Dead letters."""
        return blocks.rows(self.spool / "dead_letters")


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    made = Collector(tmp_path / "spool")
    yield made
    made.close()


class Gate:
    """Holds the disk up until it is opened, in place of `fdatasync`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered, self._open = threading.Event(), threading.Event()
        self.syncs = 0
        sync = os.fdatasync

        def wait(file: int) -> None:
            self.syncs += 1
            self.entered.set()
            assert self._open.wait(60)
            sync(file)

        monkeypatch.setattr(segments_module.os, "fdatasync", wait)

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


def wait_until(true: Callable[[], bool]) -> None:
    done = threading.Event()
    for _ in range(6000):
        if true():
            return
        done.wait(0.005)
    raise AssertionError("never")
