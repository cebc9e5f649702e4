"""The pages in Chromium: they move, they show errors in their place, they fit, keys reach all."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from playwright.sync_api import Page, expect

from tests.reports import world
from tests.reports.browsing import fits
from tests.reports.world import NOW, Live
from tests.streams import NOON, event, order
from transforms.statistics import DistinctSketch, Total

pytestmark = pytest.mark.browser
ANSWERS = ("400",)

LONG = "<img src=x onerror=alert(1)> " + "a name without an end " * 9


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pages")
    world.archive(made, [order("o", NOON, 123_456_789), event("e", NOON, name=LONG)])
    world.refuse(made, [{"message": LONG, "original": LONG.encode()}])
    for day in range(1, 9):
        world.count_day(
            made, date(2026, 9, day),
            ("events", "{}", 12_345, None), ("active_users", "{}", 1234, None),
            ("sessions", "{}", 2345, None), ("orders", "{}", 99, None),
            ("revenue", '{"currency":"GBP"}', 123_456_789, None),
            ("revenue", '{"currency":"KWD"}', 12_345, None),
            ("conversion_rate", "{}", 1, 3),
        )  # fmt: skip
    return made


@pytest.fixture
def live(directory: Path) -> Iterator[Live]:
    made = Live(directory)
    yield made
    made.close()


def test_the_live_page_moves_by_itself(address: str, live: Live, page: Page) -> None:
    page.goto(f"{address}/p/demo/")
    live.put(NOW, "events", Total(1234), json.dumps({"name": LONG}))
    live.put(NOW, "people", DistinctSketch.of(pl.Series(["a", "b"])))
    live.put(NOW, "revenue", Total(123_456_789_012), '{"currency":"GBP"}')
    expect(page.locator("#events_today")).to_have_text("1,234")
    expect(page.locator("#revenue_today")).to_have_text("£1,234,567,890.12")
    live.put(NOW, "events", Total(1235), json.dumps({"name": LONG}))
    expect(page.locator("#events_today")).to_have_text("1,235")
    expect(page.locator("#status")).to_contain_text("live, approximate · as of")
    expect(page.locator("#ledger-stamp")).to_have_text("exact · as of 14:00:00")
    expect(page.locator("#top_events li")).to_contain_text("<img src=x onerror=alert(1)>")
    assert fits(page)


def test_the_daily_page(address: str, page: Page) -> None:
    page.goto(f"{address}/p/demo/daily")
    expect(page.locator("#revenue-GBP")).to_have_text("£9,876,543.12")
    expect(page.locator(".stamp")).to_contain_text("Exact · as of 20")
    expect(page.locator("tbody tr")).to_have_count(8)
    assert fits(page)
    page.get_by_label("From").fill("2026-09-03")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("tbody tr")).to_have_count(6)


def test_sql_shows_rows_with_status_and_errors_at_their_place(address: str, page: Page) -> None:
    page.goto(f"{address}/p/demo/sql")
    box, outcome = page.get_by_label("Query", exact=True), page.locator("#outcome")
    page.get_by_role("button", name="Events by name").click()
    expect(outcome).to_contain_text("exact · as of 20")
    expect(page.locator("#result tbody tr")).to_have_count(2)
    assert fits(page)
    box.fill("SELECT 1 AS one")
    box.press("Control+Enter")
    expect(outcome).to_have_text(re.compile(r"^1 row in \d+ ms$"))
    box.fill("SELECT name,\n  -- \U0001f600\n  nme\nFROM events")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("alert")).to_contain_text("Line 3, column 3:")
    selected = "document.getSelection().toString()"
    assert page.evaluate(selected) == "nme"
    expect(page.locator("#result tbody")).to_have_count(0)
    box.fill("DROP TABLE events")
    box.press("Control+Enter")
    expect(page.get_by_role("alert")).to_contain_text("DROP is not allowed: only SELECT can run")
    box.fill("SELECT COUNT(*) FROM live_minutes")
    box.press("Control+Enter")
    expect(outcome).to_contain_text("live, approximate")
    expect(page.get_by_role("alert")).to_be_hidden()


def test_dead_letters_and_problems_fit(address: str, page: Page) -> None:
    page.goto(f"{address}/p/demo/dead-letters")
    expect(page.locator("tbody tr td").last).to_contain_text("<img src=x onerror=alert(1)>")
    assert fits(page)


def test_the_keyboard_reaches_everything_and_shows_where_it_is(address: str, page: Page) -> None:
    page.goto(f"{address}/p/demo/sql")
    menu = page.get_by_role("button", name="Menu")
    if menu.is_visible():
        menu.click()  # it puts the focus on the page's own link: once round is twice to the end
    reached, rounds = [], 2 if menu.is_visible() else 1
    for _ in range(150):
        page.keyboard.press("Tab")
        tag, name, outline = page.evaluate(
            "(at => [at.tagName, at.id || at.innerText.trim(), getComputedStyle(at).outlineStyle])"
            "(document.activeElement)"
        )
        if tag == "BODY":  # once round
            rounds -= 1
            if not rounds:
                break
            continue
        assert outline != "none", name
        reached.append(name)
    for wanted in ("Skip to content", "Live", "Dead letters", "demo", "sql", "Net revenue"):
        assert wanted in reached
