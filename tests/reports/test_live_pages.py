"""Live numbers in Chromium that are not of now: the live page and tiles of boards say so."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import Page, expect

from reports.live import feed as feeds
from tests.reports import world
from tests.reports.browsing import serving
from tests.reports.test_boards_fresh_pages import made
from tests.reports.world import NOW, Live
from transforms.statistics import Total

pytestmark = pytest.mark.browser
ANSWERS = ("500", "ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING")
expect.set_options(timeout=20_000)
OLDER = "The live numbers cannot be read now; these are older"
NOTE = "Live numbers cannot be read now; this is older."


class Store:
    """The live store, which fails or hangs for as long as it is told."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.is_failing, self.hangs_s = directory, False, 0.0

    def put(self, count: int) -> None:
        live = Live(self.directory)
        live.put(NOW, "events", Total(count), '{"name":"Other"}')
        live.close()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    found = Store(tmp_path)
    found.put(1234)

    class Failing(routes.LiveStore):
        def __init__(self, *given: object) -> None:
            time.sleep(found.hangs_s)
            if found.is_failing:
                raise OSError("locked")
            super().__init__(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(routes, "LiveStore", Failing)
    return found


@pytest.fixture
def address(app: Flask) -> Iterator[str]:
    with serving(app) as found:
        yield found
