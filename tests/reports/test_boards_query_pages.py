"""Queries put onto dashboards in Chromium: from the SQL page, and within a dashboard."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.reports.browsing import fits, shot, watched

pytestmark = pytest.mark.browser
ANSWERS = ("400", "404", "409")

BY_DAY = """SELECT DATE(event_time) AS day, COUNT(*) AS n, COUNT(DISTINCT user_id) AS people
FROM events WHERE country IN UNNEST(@countries)
  AND DATE(event_time) BETWEEN @first_day AND @last_day
GROUP BY day ORDER BY day"""


def title_of(page: Page, name: str) -> str:
    """Of one width: both share the server."""
    return f"{name} {(page.viewport_size or {'width': 0})['width']}"


def write(page: Page, address: str, sql: str) -> None:
    page.goto(f"{address}/p/demo/sql")
    page.get_by_label("Query", exact=True).fill(sql)


def fill_days(page: Page) -> None:
    page.get_by_label("@countries", exact=True).fill("GB, DE")
    page.get_by_label("Type of @countries").select_option("ARRAY<STRING>")
    for name, day in (("first_day", "2026-01-01"), ("last_day", "2026-12-31")):
        page.get_by_label(f"@{name}", exact=True).fill(day)
        page.get_by_label(f"Type of @{name}").select_option("DATE")


def add(page: Page) -> Locator:
    page.get_by_role("button", name="Add to dashboard").click()
    dialog = page.get_by_role("dialog", name="Add to dashboard")
    expect(dialog).to_be_visible()
    return dialog


def marks(panel: Locator, mark: str) -> Locator:
    return panel.locator(f".vega[data-drawn] .mark-{mark}.role-mark path")


def test_a_query_with_values_becomes_a_line_on_a_new_dashboard_and_bars_on_the_same(
    address: str, page: Page, browser: Browser
) -> None:
    board, first = title_of(page, "From SQL"), title_of(page, "Two countries")
    write(page, address, BY_DAY)
    fill_days(page)
    dialog = add(page)
    expect(dialog.locator(".note").first).to_contain_text("gets a copy of the query")
    dialog.get_by_label("Title").fill(first)
    dialog.get_by_label("Dashboard").select_option("")
    dialog.get_by_label("Name of the new one").fill(board)
    dialog.get_by_label("Picture").select_option("line")
    dialog.get_by_label("Up").fill("people")
    dialog.get_by_role("button", name="Preview").click()
    expect(marks(dialog, "line").first).to_be_visible()
    shot(page, "sql-add-to-dashboard")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_be_hidden()

    # Again, by keys alone, as bars; the dashboard is now among those to choose from.
    page.get_by_role("button", name="Add to dashboard").focus()
    page.keyboard.press("Enter")
    expect(dialog).to_be_visible()
    dialog.get_by_label("Title").fill("As bars")
    dialog.get_by_label("Dashboard").select_option(label=board)
    expect(dialog.get_by_label("Name of the new one")).to_be_hidden()
    dialog.get_by_label("Picture").select_option("bar")
    dialog.get_by_label("Title").press("Enter")
    expect(dialog).to_be_hidden()
    page.locator("#link").get_by_role("link", name=board).click()

    expect(page.locator(".panel h2")).to_have_text([first, "As bars"])
    line = page.get_by_role("region", name=first)
    expect(marks(line, "line").first).to_be_visible()
    bars = page.get_by_role("region", name="As bars")
    expect(marks(bars, "rect").first).to_be_visible()
    assert fits(page)

    # The board's days are those of the query.
    page.get_by_label("Dates", exact=True).select_option("last_7_days")
    line.get_by_text("As a table").click()
    expect(line.locator("tbody tr")).to_have_count(7)

    # A link shows the same, read-only.
    page.get_by_role("button", name="Share").click()
    share = page.get_by_role("dialog")
    share.get_by_role("button", name="Make a link").click()
    expect(share.locator("#link code")).to_contain_text("/share/")
    with watched(browser, (page.viewport_size or {"width": 0})["width"]) as stranger:
        stranger.goto(share.locator("#link code").inner_text())
        shown = stranger.get_by_role("region", name="As bars")
        expect(marks(shown, "rect").first).to_be_visible()
        assert "@countries" not in stranger.content()
        assert fits(stranger)


def test_a_saved_query_is_followed(address: str, page: Page) -> None:
    board, name = title_of(page, "Following"), title_of(page, "How many")
    write(page, address, "SELECT 41 AS n")
    page.get_by_role("button", name="Save…").click()
    page.get_by_label("Name", exact=True).fill(name)
    page.locator("#saving").get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#link")).to_contain_text("Saved.")
    dialog = add(page)
    expect(dialog.locator(".note").first).to_contain_text(f"follows the saved query “{name}”")
    expect(dialog.get_by_label("Title")).to_have_value(name)
    dialog.get_by_label("Dashboard").select_option("")
    dialog.get_by_label("Name of the new one").fill(board)
    dialog.get_by_label("Picture").select_option("number")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_be_hidden()
    link = page.locator("#link").get_by_role("link", name=board).get_attribute("href")

    # Changed, it is a copy that would be added; saved, the panel shows the change.
    page.get_by_label("Query", exact=True).fill("SELECT 7654 AS n")
    dialog = add(page)
    expect(dialog.locator(".note").first).to_contain_text("gets a copy of the query")
    dialog.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Save…").click()
    page.locator("#saving").get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#saving")).to_be_hidden()
    page.goto(f"{address}{link}")
    panel = page.get_by_role("region", name=name)
    expect(panel).to_contain_text("7,654")
    assert fits(page)


def test_what_cannot_be_shown_is_told_and_not_put_there(address: str, page: Page) -> None:
    write(page, address, "SELECT nme FROM events")
    dialog = add(page)
    dialog.get_by_label("Title").fill("Wrong")
    dialog.get_by_label("Dashboard").select_option("")
    dialog.get_by_role("button", name="Save").click()
    alert = dialog.get_by_role("alert")
    expect(alert).to_contain_text("nme")
    dialog.get_by_role("button", name="Cancel").click()
    page.get_by_label("Query", exact=True).fill("SELECT name FROM events")
    dialog = add(page)
    expect(alert).to_be_hidden()
    dialog.get_by_label("Picture").select_option("line")
    dialog.get_by_role("button", name="Preview").click()
    expect(alert).to_contain_text("needs a column of numbers; the query has name")
    assert fits(page)
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.goto(f"{address}/p/demo/boards")
    assert page.get_by_role("link", name="Wrong").count() == 0


def test_within_a_dashboard_a_query_gets_its_values_and_its_picture(
    address: str, page: Page
) -> None:
    board = title_of(page, "Within")
    page.goto(f"{address}/p/demo/boards")
    page.get_by_role("button", name="New dashboard").click()
    page.get_by_label("Title").fill(board)
    page.get_by_role("button", name="Make it").click()
    expect(page.locator("#grid")).to_contain_text("No panels yet")
    page.get_by_role("button", name="Edit").click()
    page.get_by_role("button", name="Add panel").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Title").fill("Values")
    expect(dialog.get_by_label("Picture")).to_be_hidden()
    dialog.get_by_label("Content").select_option("sql")
    dialog.get_by_label("Query", exact=True).fill(BY_DAY)
    expect(dialog.get_by_label("@first_day", exact=True)).to_have_count(0)
    dialog.get_by_label("@countries", exact=True).fill("FR")
    dialog.get_by_label("Type of @countries").select_option("ARRAY<STRING>")
    dialog.get_by_label("Picture").select_option("bar")
    dialog.get_by_role("button", name="Preview").click()
    expect(marks(dialog, "rect").first).to_be_visible()
    shot(page, "board-add-query")
    dialog.get_by_role("button", name="Put on the dashboard").click()
    panel = page.get_by_role("region", name="Values")
    expect(marks(panel, "rect").first).to_be_visible()
    page.get_by_role("button", name="Save changes").click()
    expect(page.locator("#state")).to_have_text("Saved")
    page.reload()
    expect(marks(panel, "rect").first).to_be_visible()

    # What it was given is there again when it is changed.
    page.get_by_role("button", name="Edit").click()
    page.get_by_role("button", name="Change Values").click()
    expect(dialog.get_by_label("@countries", exact=True)).to_have_value("FR")
    expect(dialog.get_by_label("Picture")).to_have_value("bar")
    dialog.get_by_label("Picture").select_option("line")
    dialog.get_by_role("button", name="Put on the dashboard").click()
    expect(marks(panel, "line").first).to_be_visible()
    assert fits(page)
