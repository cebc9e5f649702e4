"""A collector in this process, on a real spool, with a clock that stands still."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from catalog import settings as settings_table
from catalog.store import KeyOwner
from collector.app import create_app
from collector.bus.port import Publisher
from collector.bus.spool import SpoolPublisher
from collector.gather import Gatherer
from collector.keys import KeyRing
from tests.collector import blocks

NOW = 1_800_000_000_000_000  # 2027-01-15T08:00:00Z in us
KEY = "hw_test"


def client_of(publisher: Publisher, data: Path, **given: Any) -> tuple[FlaskClient, Gatherer]:
    """A client of an app on this publisher; `given` are settings. Close the gatherer after use."""
    environ = {f"HEADWATER_{name.upper()}": str(value) for name, value in given.items()}
    settings = settings_table.read({"HEADWATER_DATA_DIR": str(data), **environ})
    keys = KeyRing(lambda: {KEY: KeyOwner("shop", "web")}, 5, lambda: 0.0)
    gatherer = Gatherer(publisher, settings.max_waiting_events)
    return create_app(settings, keys, gatherer, lambda: NOW).test_client(), gatherer


class Collector:
    """Posts with the key, and shows what came onto the bus."""

    def __init__(self, spool: Path, **settings: Any) -> None:
        self.spool = spool
        publisher = SpoolPublisher(spool, segment_bytes=1 << 40)
        self.client, self.gatherer = client_of(publisher, spool.parent, **settings)

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
    made.gatherer.close()
