"""The SQL page in Chromium: write, complete, run, see the error's place, cancel, save, share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.reports import world
from tests.reports.browsing import fits, serving
from tests.reports.test_query_jobs import LONG, many_numbers
from tests.streams import NOON, event

pytestmark = pytest.mark.browser
ANSWERS = ("400", "404", "409")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("page")
    names = ["view", "cart", "<b>odd</b>"]
    world.archive(directory, [event(f"e{n}", NOON + n, name=names[n % 3]) for n in range(1500)])
    many_numbers(directory)
    with serving(world.app(directory, sql_timeout_s=120)) as found:
        yield found


def test_write_with_completion_and_parameters_and_run(address: str, page: Page) -> None:
    page.goto(f"{address}/p/demo/sql")
    box = page.get_by_label("Query", exact=True)
    choices = page.get_by_role("listbox", name="Completions")
    box.fill("")
    box.press_sequentially("SELECT name, COUNT(*) AS n FROM eve")
    expect(choices.get_by_role("option").first).to_have_text("eventstable")
    box.press("Tab")
    expect(box).to_have_value("SELECT name, COUNT(*) AS n FROM events")
    expect(choices).to_be_hidden()
    box.press_sequentially(" AS e WHERE e.na")
    expect(choices.get_by_role("option")).to_have_text(["nameSTRING"])
    box.press("Escape")
    expect(choices).to_be_hidden()
    box.press_sequentially("me IN UNNEST(@names) AND DATE(event_time) >= @since\nGROUP BY name")
    expect(box).to_be_focused()
    page.get_by_label("@names", exact=True).fill("cart, <b>odd</b>")
    page.get_by_label("Type of @names").select_option("ARRAY<STRING>")
    page.get_by_label("@since", exact=True).fill("2026-01-01")
    page.get_by_label("Type of @since").select_option("DATE")
    box.press("Control+Enter")
    rows = page.locator("#result tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.filter(has_text="<b>odd</b>")).to_contain_text("500")
    expect(page.locator("#outcome")).to_contain_text("2 rows in")
    expect(page.locator("#outcome")).to_contain_text("exact · as of 20")
    expect(page.locator("#outcome")).to_contain_text("· complete until 20")
    assert fits(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    text = Path(download.value.path()).read_text()
    assert sorted(text.splitlines()) == ["<b>odd</b>,500", "cart,500", "name,n"]


def test_keys_in_the_completions_and_none_within_texts(address: str, page: Page) -> None:
    page.goto(f"{address}/p/demo/sql")
    box, choices = page.get_by_label("Query", exact=True), page.get_by_role("listbox")
    box.fill("SELECT ")
    box.press("End")
    box.press("Control+Space")
    expect(choices).to_be_visible()
    box.press("Escape")
    box.press_sequentially("DATE_")
    expect(choices.get_by_role("option").first).to_have_attribute("aria-selected", "true")
    box.press("ArrowDown")
    second = choices.get_by_role("option").nth(1)
    expect(second).to_have_attribute("aria-selected", "true")
    expect(box).to_have_attribute("aria-activedescendant", "suggestion-1")
    text = second.get_attribute("data-text")
    box.press("Enter")
    expect(box).to_have_value(f"SELECT {text}")
    box.fill("SELECT 'even")
    box.press("End")
    box.press_sequentially("t")
    expect(choices).to_be_hidden()
    box.fill("SELECT co")
    box.press("End")
    box.press_sequentially("u")
    expect(choices).to_be_visible()
    box.press("Enter")  # without an arrow it is a new line
    expect(box).to_have_value("SELECT cou\n")


def test_an_error_is_shown_where_it_is(address: str, page: Page) -> None:
    page.goto(f"{address}/p/demo/sql")
    box, alert = page.get_by_label("Query", exact=True), page.get_by_role("alert")
    box.fill("SELECT name\nFROM evnts")
    box.press("Control+Enter")
    expect(alert).to_contain_text("Line 2, column 6: there is no table 'evnts'")
    assert page.evaluate("document.getSelection().toString()") == "evnts"
    box.fill("SELECT CAST(name AS INT64) FROM events")
    box.press("Control+Enter")
    expect(alert).to_contain_text("Could not convert string")
    expect(page.locator("#cancel")).to_be_hidden()
    box.fill("SELECT @day")
    page.get_by_label("@day", exact=True).fill("soon")
    page.get_by_label("Type of @day").select_option("DATE")
    box.press("Control+Enter")
    expect(alert).to_contain_text("day='soon' is no DATE: write it as 2026-01-01")
    assert fits(page)


def test_a_long_query_shows_how_far_it_is_and_can_be_cancelled(address: str, page: Page) -> None:
    page.goto(f"{address}/p/demo/sql")
    box = page.get_by_label("Query", exact=True)
    box.fill(LONG)
    box.press("Control+Enter")
    outcome = page.locator("#outcome")
    expect(outcome).to_contain_text("Running for")
    expect(page.get_by_role("progressbar", name="Progress of the query")).to_be_visible()
    expect(outcome).to_contain_text(" %")
    expect(page.get_by_role("button", name="Run")).to_be_disabled()
    assert fits(page)
    page.get_by_role("button", name="Cancel").click()
    expect(outcome).to_contain_text("Cancelled after")
    expect(page.locator("#progress")).to_be_hidden()
    box.fill("SELECT 1 AS one")
    box.press("Control+Enter")
    expect(outcome).to_contain_text("1 row in")


def test_what_it_reads_and_its_layout(address: str, page: Page) -> None:
    page.goto(f"{address}/p/demo/sql")
    box = page.get_by_label("Query", exact=True)
    box.fill("select name, count(*) from events group by name -- all of it")
    page.get_by_role("button", name="Format").click()
    expect(box).to_have_value(
        "SELECT\n  name,\n  COUNT(*)\nFROM events\nGROUP BY\n  name /* all of it */"
    )
    page.get_by_role("button", name="What it reads").click()
    expect(page.locator("#reads-text")).to_contain_text("At most 1,500 rows, ")
    expect(page.locator("#reads-text")).to_contain_text("events: 1 of 1 files")
    page.get_by_text("The engine's plan").click()
    expect(page.locator("#plan")).to_contain_text("name")
    assert fits(page)


def test_more_rows_than_a_page_of_them(address: str, page: Page) -> None:
    page.goto(f"{address}/p/demo/sql")
    box, rows = page.get_by_label("Query", exact=True), page.locator("#result tbody tr")
    box.fill("SELECT event_id FROM events")
    box.press("Control+Enter")
    expect(page.locator("#outcome")).to_contain_text("1,500 rows")
    expect(rows).to_have_count(1000)
    page.get_by_role("button", name="Show more rows").click()
    expect(rows).to_have_count(1500)
    expect(page.get_by_role("button", name="Show more rows")).to_be_hidden()


def test_save_share_change_and_remove(address: str, page: Page) -> None:
    wide = page.viewport_size is not None and page.viewport_size["width"] > 1000
    name = f"Named {'wide' if wide else 'narrow'}"
    page.goto(f"{address}/p/demo/sql")
    box = page.get_by_label("Query", exact=True)
    box.fill("SELECT COUNT(*) AS n FROM events WHERE name = @name")
    page.get_by_label("@name", exact=True).fill("cart")
    page.get_by_role("button", name="Save…").click()
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Name", exact=True).press("Enter")
    link = page.locator("#link a").get_attribute("href")
    assert link is not None
    assert "/p/demo/sql?query=" in link
    assert page.url == link
    assert fits(page)
    other = page.context.new_page()
    other.goto(link)
    expect(other.get_by_label("@name", exact=True)).to_have_value("cart")
    expect(other.locator("#result tbody td")).to_have_text("500")
    expect(other.locator("#title")).to_contain_text(name)
    other.close()
    box.fill("SELECT 2 AS two")
    page.get_by_role("button", name="Save…").click()
    page.locator("#saving").get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#link")).to_contain_text("Saved.")
    page.reload()
    expect(box).to_have_value("SELECT 2 AS two")
    page.get_by_text("Saved queries").click()
    page.get_by_role("button", name=f"Remove {name}").click()
    page.get_by_role("button", name=f"Remove {name}").click()
    expect(page.locator("#saved")).to_contain_text("Nothing saved yet")
    page.goto(link)
    expect(page.get_by_role("alert")).to_contain_text("has no saved query")


def test_the_history_brings_a_query_back(address: str, page: Page) -> None:
    page.goto(f"{address}/p/demo/sql")
    box = page.get_by_label("Query", exact=True)
    box.fill("SELECT @n + 1 AS next")
    page.get_by_label("@n", exact=True).fill("41")
    page.get_by_label("Type of @n").select_option("INT64")
    box.press("Control+Enter")
    expect(page.locator("#result tbody td")).to_have_text("42")
    box.fill("SELECT 'else'")
    page.get_by_text("History", exact=True).click()
    run = page.locator("#history").get_by_role("button", name="SELECT @n + 1 AS next").first
    expect(run).to_contain_text("local · 1 row")
    run.click()
    expect(box).to_have_value("SELECT @n + 1 AS next")
    expect(page.get_by_label("@n", exact=True)).to_have_value("41")
    assert fits(page)


def test_the_page_of_the_api(address: str, page: Page) -> None:
    page.goto(f"{address}/api")
    call = page.get_by_text("POST /p/{project}/api/sql/jobs", exact=True)
    expect(call).to_be_visible()
    call.click()
    details = page.locator("details[open]")
    expect(details.get_by_text("Needs: analyst")).to_be_visible()
    expect(details).to_contain_text("429")
    assert fits(page)
