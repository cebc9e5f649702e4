"""Dashboards that stay new in Chromium: streams, asking again; and the way on to Explore."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.reports.test_boards_pages import settled
from tests.reports.world import NOW, Live
from transforms.statistics import Total

pytestmark = pytest.mark.browser
TREND = {"title": "People", "kind": "trend", "question": {"series": [{"measure": "people"}]}}


def made(address: str, **board: object) -> str:
    """Id of a new board."""
    answer = httpx.post(f"{address}/p/demo/api/boards", json=board)
    assert answer.status_code == 201, answer.text
    found: str = answer.json()["id"]
    return found


def asked_by(page: Page) -> list[str]:
    """Paths that the page asks for, from now on."""
    paths: list[str] = []
    page.on("request", lambda request: paths.append(urlsplit(request.url).path))
    return paths


def happen(directory: Path, count: int) -> None:
    live = Live(directory)
    live.put(NOW, "events", Total(count), '{"name":"Other"}')
    live.close()


def test_live_tiles_come_as_a_stream(address: str, directory: Path, wide: Page) -> None:
    board = made(address, title="Stream", panels=[{"title": "Now", "live": "events_today"}])
    paths = asked_by(wide)
    wide.goto(f"{address}/p/demo/boards/{board}")
    tile = wide.get_by_role("region", name="Now").locator(".totals dd")
    before = int(tile.inner_text().replace(",", ""))
    panel = f"/p/demo/api/boards/{board}/panels/0"
    assert paths.count("/p/demo/api/live/tiles") == 1
    asked = paths.count(panel)
    happen(directory, 2_000_000)
    expect(tile).to_have_text(f"{before + 2_000_000:,}")
    assert paths.count(panel) == asked


def test_a_live_tile_that_is_added_moves_at_once(address: str, directory: Path, wide: Page) -> None:
    board = made(address, title="Later", panels=[TREND])
    paths = asked_by(wide)
    wide.goto(f"{address}/p/demo/boards/{board}")
    settled(wide)
    assert "/p/demo/api/live/tiles" not in paths
    wide.get_by_role("button", name="Edit").click()
    wide.get_by_role("button", name="Add panel").click()
    dialog = wide.get_by_role("dialog")
    dialog.get_by_label("Title").fill("Now")
    dialog.get_by_label("Content").select_option("live")
    dialog.locator("[name=live]").select_option("events_today")
    dialog.get_by_role("button", name="Put on the dashboard").click()
    wide.get_by_role("button", name="Save changes").click()
    expect(wide.locator("#state")).to_have_text("Saved")
    tile = wide.get_by_role("region", name="Now").locator(".totals dd")
    before = int(tile.inner_text().replace(",", ""))
    happen(directory, 3_000_000)
    expect(tile).not_to_have_text(f"{before:,}")
    assert "/p/demo/api/live/tiles" in paths


def test_panels_are_asked_again_by_the_clock_and_by_hand(address: str, wide: Page) -> None:
    board = made(address, title="Again", panels=[TREND], refresh_s=60)
    panel = f"/p/demo/api/boards/{board}/panels/0"
    wide.clock.install()
    paths = asked_by(wide)
    wide.goto(f"{address}/p/demo/boards/{board}")
    expect(wide.locator("#refresh")).to_have_value("60")
    settled(wide)
    for times in (2, 3):
        with wide.expect_response(re.compile(panel)):
            wide.clock.run_for(60_000)
        assert paths.count(panel) == times
    with wide.expect_response(re.compile(panel)):
        wide.get_by_role("button", name="Refresh now").click()
    assert paths.count(panel) == 4
    wide.locator("#refresh").select_option("0")
    wide.clock.run_for(600_000)
    assert paths.count(panel) == 4


def test_a_shared_board_asks_again_too(address: str, wide: Page) -> None:
    panels = [TREND, {"title": "Now", "live": "events_today"}]
    board = made(address, title="Shared", panels=panels, refresh_s=60)
    link = httpx.post(f"{address}/p/demo/api/boards/{board}/shares", json={}).json()["path"]
    wide.clock.install()
    paths = asked_by(wide)
    wide.goto(f"{address}{link}")
    settled(wide)
    assert [paths.count(f"{link}/panels/{n}") for n in (0, 1)] == [1, 1]
    with wide.expect_response(re.compile(f"{link}/panels/1")):
        wide.clock.run_for(5_000)
    assert [paths.count(f"{link}/panels/{n}") for n in (0, 1)] == [1, 2]
    with wide.expect_response(re.compile(f"{link}/panels/0")):
        wide.clock.run_for(55_000)
    assert paths.count(f"{link}/panels/0") == 2


def test_explore_is_asked_what_the_panel_was(address: str, wide: Page) -> None:
    rule = {"is": "did", "event": {"name": "Product Viewed"}}
    kept = {"name": "Lookers", "definition": {"rule": rule}}
    assert httpx.post(f"{address}/p/demo/api/cohorts", json=kept).status_code == 201
    own = {"property": "device_type", "values": ["desktop"]}
    panel = {**TREND, "question": {**TREND["question"], "where": [own]}}  # type: ignore[dict-item]
    board = made(address, title="On", panels=[panel])
    british = {"property": "country", "values": ["GB"]}
    wide.goto(
        f"{address}/p/demo/boards/{board}?dates=last_7_days&cohort=Lookers"
        f"&where={json.dumps([british])}"
    )
    settled(wide)
    shown = wide.get_by_role("region", name="People")
    shown.get_by_text("As a table").click()
    there = shown.locator("tbody tr").all_inner_texts()
    wide.get_by_role("link", name="Explore People").click()
    expect(wide).to_have_url(re.compile("/explore/trend"))
    question = json.loads(parse_qs(urlsplit(wide.url).query)["q"][0])
    assert (question["dates"], question["cohort"]) == ("last_7_days", "Lookers")
    assert [one["property"] for one in question["where"]] == ["device_type", "country"]
    expect(wide.locator(".vega[data-drawn]")).to_be_visible()
    wide.get_by_text("As a table").click()
    assert wide.locator("#answer tbody tr, main tbody tr").all_inner_texts() == there
