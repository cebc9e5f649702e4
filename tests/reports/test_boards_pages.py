"""Dashboards in Chromium: drawn under our policy, live, arranged by keys and mouse, shared."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, FilePayload, Page, expect

from reports.boards.definition import built_in
from tests.reports.browsing import fits, shot, watched
from tests.reports.world import NOW, Live
from transforms.statistics import Total

pytestmark = pytest.mark.browser
ANSWERS = ("400", "404", "409")


def settled(page: Page) -> None:
    """Until no panel is asked or drawn any more."""
    expect(page.locator(".panel .loading")).to_have_count(0)
    expect(page.locator(".panel .inside[aria-busy]")).to_have_count(0)
    expect(page.locator(".vega:not([data-drawn])")).to_have_count(0)


@pytest.mark.parametrize("name", list(built_in()))
def test_every_built_in_board_is_drawn(address: str, page: Page, name: str) -> None:
    page.goto(f"{address}/p/demo/boards/{name}")
    expect(page.locator(".panel")).to_have_count(len(built_in()[name].panels))
    settled(page)
    assert page.locator(".panel .error").all_inner_texts() == []
    for chart in page.locator(".vega svg").all():
        assert chart.locator("path, text").count() > 0
    shot(page, f"board-{name}")


def test_charts_are_read_to_those_who_do_not_see_them(address: str, wide: Page) -> None:
    wide.goto(f"{address}/p/demo/boards/overview")
    settled(wide)
    panel = wide.get_by_role("region", name="People", exact=True)
    said = panel.locator(".vega").get_attribute("aria-label")
    assert said is not None
    assert re.match(r"Lines of .* by .*\. Least .* at .*, greatest .*", said)
    panel.get_by_text("As a table").click()
    expect(panel.get_by_role("table").locator("tbody tr").first).to_be_visible()


def test_live_tiles_move_by_themselves(address: str, directory: Path, wide: Page) -> None:
    wide.goto(f"{address}/p/demo/boards/overview")
    tile = wide.get_by_role("region", name="Events today").locator(".totals dd")
    before = int(tile.inner_text().replace(",", ""))
    live = Live(directory)
    live.put(NOW, "events", Total(1_000_000), '{"name":"Other"}')
    live.close()
    expect(tile).to_have_text(f"{before + 1_000_000:,}")


def test_the_tip_shows_a_values_texts(address: str, wide: Page) -> None:
    wide.goto(f"{address}/p/demo/boards/funnel")
    settled(wide)
    bar = wide.locator(".mark-rect path, .mark-bar path").first
    bar.hover(force=True)
    expect(wide.locator(".tip")).to_be_visible()
    expect(wide.locator(".tip")).to_contain_text("Any page")


def test_a_journey_make_add_arrange_save_share_take_back(
    address: str, browser: Browser, wide: Page
) -> None:
    wide.goto(f"{address}/p/demo/boards")
    wide.get_by_role("button", name="New dashboard").click()
    wide.get_by_label("Title").fill("Journey")
    wide.get_by_role("button", name="Make it").click()
    expect(wide.locator("h1")).to_have_text("Journey")
    expect(wide.locator("#grid")).to_contain_text("No panels yet")
    wide.get_by_role("button", name="Edit").click()

    # A question, a query that is wrong and then right, words.
    wide.get_by_role("button", name="Add panel").click()
    dialog = wide.get_by_role("dialog")
    dialog.get_by_label("Title").fill("One")
    expect(dialog.locator("#question .fields").first).to_be_visible()
    dialog.get_by_role("button", name="Preview").click()
    expect(dialog.locator("#preview .vega[data-drawn]")).to_be_visible()
    shot(wide, "board-add-panel")
    dialog.get_by_role("button", name="Put on the dashboard").click()
    wide.get_by_role("button", name="Add panel").click()
    dialog.get_by_label("Title").fill("Two")
    dialog.get_by_label("Content").select_option("sql")
    dialog.get_by_label("Query", exact=True).fill("SELECT nme FROM events")
    dialog.get_by_role("button", name="Put on the dashboard").click()
    expect(dialog.get_by_role("alert")).to_contain_text("nme")
    dialog.get_by_label("Query", exact=True).fill(
        "SELECT country, COUNT(*) AS n FROM events GROUP BY country"
    )
    dialog.get_by_role("button", name="Put on the dashboard").click()
    wide.get_by_role("button", name="Add panel").click()
    dialog.get_by_label("Title").fill("Three")
    dialog.get_by_label("Content").select_option("text")
    dialog.get_by_label("Text", exact=True).fill("<b>Words</b>")
    dialog.get_by_role("button", name="Put on the dashboard").click()
    titles = wide.locator(".panel h2")
    expect(titles).to_have_text(["One", "Two", "Three"])

    # By keys: the focus stays with what is moved.
    wide.get_by_role("button", name="Move back Three").focus()
    wide.keyboard.press("Enter")
    expect(titles).to_have_text(["One", "Three", "Two"])
    wide.keyboard.press("Enter")
    expect(titles).to_have_text(["Three", "One", "Two"])
    wide.get_by_role("button", name="Wider One").click()
    expect(wide.locator(".panel").nth(1)).to_have_class(re.compile(r"\bw7\b"))

    # By mouse, with both panels in view.
    wide.set_viewport_size({"width": 1440, "height": 1800})
    settled(wide)
    wide.locator(".panel h2", has_text="Two").drag_to(wide.locator(".panel", has_text="Words"))
    expect(titles).to_have_text(["Two", "Three", "One"])
    settled(wide)
    shot(wide, "board-editing")
    wide.get_by_role("button", name="Save changes").click()
    expect(wide.locator("#state")).to_have_text("Saved")
    wide.reload()
    expect(titles).to_have_text(["Two", "Three", "One"])
    settled(wide)
    expect(wide.locator(".prose")).to_have_text("<b>Words</b>")

    wide.get_by_role("button", name="Share").click()
    share = wide.get_by_role("dialog")
    share.get_by_role("button", name="Make a link").click()
    expect(share.locator("#link code")).to_contain_text("/share/")
    link = share.locator("#link code").inner_text()
    shot(wide, "board-share")
    with watched(browser, 1440, answers=("404",)) as stranger:
        stranger.goto(link)
        expect(stranger.locator(".panel h2")).to_have_text(["Two", "Three", "One"])
        settled(stranger)
        assert stranger.locator("a[href*='/p/demo']").count() == 0
        shot(stranger, "share")
        share.get_by_role("button", name="Take back").click()
        expect(share.locator("#shares")).to_have_text("There are no links.")
        stranger.reload()
        expect(stranger.locator("main")).to_contain_text("This link does not open anything")
    share.get_by_role("button", name="Close").click()

    wide.get_by_role("button", name="Edit").click()
    wide.get_by_role("button", name="Delete dashboard").click()
    wide.get_by_role("button", name="Really delete it and its links?").click()
    expect(wide).to_have_url(re.compile("/boards$"))
    assert wide.get_by_text("Journey").count() == 0


def test_days_filters_and_cohort_of_the_board_are_in_its_address(address: str, wide: Page) -> None:
    wide.goto(f"{address}/p/demo/boards/overview")
    settled(wide)
    wide.get_by_label("Dates", exact=True).select_option("last_7_days")
    expect(wide).to_have_url(re.compile(r"\?dates=last_7_days$"))
    wide.get_by_role("button", name="Add filter").click()
    wide.get_by_label("Property", exact=True).fill("country")
    wide.get_by_label("Values", exact=True).fill("GB")
    expect(wide).to_have_url(re.compile("where="))
    settled(wide)
    panel = wide.get_by_role("region", name="Events", exact=True)
    panel.get_by_text("As a table").click()
    expect(panel.locator("tbody tr")).to_have_count(7)
    wide.reload()
    expect(wide.get_by_label("Values", exact=True)).to_have_value("GB")
    with wide.expect_download() as download:
        wide.locator("#actions .menu summary").click()
        wide.locator("#actions .menu a", has_text="PNG").click()
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")


def test_a_panel_that_fails_stands_alone_and_can_be_tried_again(address: str, wide: Page) -> None:
    wide.goto(f"{address}/p/demo/boards")
    definition = {
        "title": "Half broken",
        "panels": [
            {"title": "Bad", "sql": "SELECT nme FROM events"},
            {"title": "Good", "sql": "SELECT 1 AS n"},
        ],
    }
    wide.get_by_label("Import JSON").set_input_files(
        {
            "name": "b.json",
            "mimeType": "application/json",
            "buffer": json.dumps(definition).encode(),
        }
    )
    expect(wide.locator("h1")).to_have_text("Half broken")
    bad = wide.get_by_role("region", name="Bad")
    expect(bad.get_by_role("alert")).to_contain_text("nme")
    settled(wide)
    assert wide.get_by_role("region", name="Good").locator(".error").count() == 0
    bad.get_by_role("button", name="Try again").click()
    expect(bad.get_by_role("alert")).to_contain_text("nme")
    shot(wide, "board-half-broken")


def test_what_is_no_definition_is_told(address: str, wide: Page) -> None:
    wide.goto(f"{address}/p/demo/boards")
    file: FilePayload = {"name": "b.json", "mimeType": "application/json", "buffer": b"{nothing"}
    wide.get_by_label("Import JSON").set_input_files(file)
    expect(wide.locator("#error")).to_contain_text("b.json is no JSON")
    wide.get_by_label("Import JSON").set_input_files(
        {**file, "buffer": b'{"title": "x", "panels": [{}]}'}
    )
    expect(wide.locator("#error")).to_contain_text("exactly one of")


def test_the_list_fits(address: str, page: Page) -> None:
    page.goto(f"{address}/p/demo/boards")
    expect(page.get_by_role("link", name="Overview")).to_be_visible()
    shot(page, "boards")
    assert fits(page)
