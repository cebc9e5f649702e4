"""Live numbers in Chromium that are not of now: the live page and tiles of boards say so."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from reports.live.store import LiveStore
from tests.reports import world
from tests.reports.browsing import serving, shot
from tests.reports.test_boards_fresh_pages import made
from tests.reports.world import NOW, Live
from transforms.statistics import Total

pytestmark = pytest.mark.browser
ANSWERS = ("500",)
OLDER = "The live numbers cannot be read now; these are older"


class Store:
    """The live store, which fails or hangs for as long as it is told."""

    def __init__(self, directory: Path) -> None:
        self._directory, self.is_failing, self.hangs = directory, False, False

    def put(self, count: int) -> None:
        live = Live(self._directory)
        live.put(NOW, "events", Total(count), '{"name":"Other"}')
        live.close()

    def check(self) -> None:
        until = time.monotonic() + 30
        while self.hangs and time.monotonic() < until:
            time.sleep(0.05)
        if self.is_failing:
            raise OSError("locked")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    found = Store(tmp_path)
    found.put(1234)
    progress = LiveStore.progress

    def checked(self: LiveStore) -> Any:
        found.check()
        return progress(self)

    monkeypatch.setattr(LiveStore, "progress", checked)
    yield found
    found.hangs = False


@pytest.fixture
def address(store: Store, tmp_path: Path) -> Iterator[str]:
    with serving(world.app(tmp_path)) as found:
        yield found


def test_the_live_page_says_that_its_numbers_cannot_be_read(
    address: str, store: Store, wide: Page
) -> None:
    wide.goto(f"{address}/p/demo/")
    events, stamp, status = (
        wide.locator(f"#{name}") for name in ("events_today", "stamp", "status")
    )
    expect(events).to_have_text("1,234")
    expect(status).to_contain_text("live, approximate · as of")
    store.is_failing = True
    expect(status).to_have_text(OLDER)
    expect(stamp).to_contain_class("stale")
    expect(wide.locator("#ledger-stamp")).to_contain_text("as of", timeout=5000)
    shot(wide, "live-cannot-be-read")
    store.is_failing = False
    expect(status).to_contain_text("live, approximate · as of")
    expect(stamp).not_to_contain_class("stale")
    expect(events).to_have_text("1,234")


def test_the_next_stream_does_not_tell_old_numbers_as_new(
    address: str, store: Store, wide: Page
) -> None:
    wide.goto(f"{address}/p/demo/")
    expect(wide.locator("#status")).to_contain_text("live, approximate · as of")
    store.is_failing = True
    expect(wide.locator("#status")).to_have_text(OLDER)
    other = wide.context.new_page()  # what has the same channel sees what the next stream does
    other.goto(f"{address}/p/demo/")
    expect(other.locator("#status")).to_have_text(OLDER)
    expect(other.locator("#events_today")).to_have_text("\u2013")


def test_the_live_page_says_that_nothing_is_heard(address: str, store: Store, wide: Page) -> None:
    wide.goto(f"{address}/p/demo/")
    expect(wide.locator("#status")).to_contain_text("live, approximate · as of")
    wide.wait_for_timeout(7000)
    assert "live, approximate · as of" in wide.locator("#status").inner_text()
    store.hangs = True
    expect(wide.locator("#status")).to_have_text("No answer from the report server; trying again")
    store.put(1235)
    store.hangs = False
    expect(wide.locator("#events_today")).to_have_text("1,235")
    expect(wide.locator("#stamp")).not_to_contain_class("stale")


def test_a_tile_says_that_it_is_older(address: str, store: Store, wide: Page) -> None:
    board = made(address, title="Tiles", panels=[{"title": "Now", "live": "events_today"}])
    wide.goto(f"{address}/p/demo/boards/{board}")
    tile = wide.get_by_role("region", name="Now")
    expect(tile.locator(".totals dd")).to_have_text("1,234")
    for _ in range(2):
        store.is_failing = True
        expect(tile).to_contain_text("Live numbers cannot be read now; this is older.")
        shot(wide, "board-tile-older")
        store.is_failing = False
        expect(tile.locator(".older")).to_have_count(0)
    store.hangs = True
    expect(tile).to_contain_text("No answer from the report server; this is older.")
    expect(tile.locator(".totals dd")).to_have_text("1,234")
    store.hangs = False
    expect(tile.locator(".older")).to_have_count(0)


def test_what_came_while_nobody_looked_is_shown_on_return(
    address: str, store: Store, wide: Page
) -> None:
    wide.add_init_script("Object.defineProperty(document, 'hidden', { get: () => window.away })")
    wide.goto(f"{address}/p/demo/")
    expect(wide.locator("#events_today")).to_have_text("1,234")
    wide.evaluate("window.away = true")
    store.put(1235)
    wide.wait_for_timeout(3000)
    assert wide.locator("#events_today").inner_text() == "1,234"
    wide.evaluate("window.away = false; document.dispatchEvent(new Event('visibilitychange'))")
    expect(wide.locator("#events_today")).to_have_text("1,235", timeout=1000)
