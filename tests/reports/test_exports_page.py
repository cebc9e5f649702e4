"""The page of exports in Chromium: export, watch it, take it away, verify; and a schedule."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect

from headwater.manifest import problems
from tests.reports import exports_world
from tests.reports.browsing import fits, serving

pytestmark = pytest.mark.browser
ANSWERS = ("400", "409")
SLOW = (
    "SELECT a.event_id, b.name FROM events a, events b, events c, events d WHERE a.event_id > 'e2'"
)
LONG = "SELECT a.event_id FROM events a, events b, events c, events d, events e"  # 130 M rows
BEGIN_MS = 100_000  # a process that makes exports needs a moment, on a machine with much to do


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("page")
    exports_world.fill(made)
    return made


@pytest.fixture(scope="module")
def address(directory: Path) -> Iterator[str]:
    with serving(exports_world.app(directory, apart=True)) as found:
        yield found


def test_export_watch_download_verify(address: str, page: Page, tmp_path: Path) -> None:
    page.goto(f"{address}/p/demo/exports?sql={quote(SLOW)}")
    page.get_by_label("Name", exact=True).fill("Many pairs")
    page.get_by_role("button", name="Export", exact=True).click()
    one = page.locator("#list li").first
    expect(one).to_have_attribute("data-state", "running", timeout=BEGIN_MS)
    expect(one.locator("progress")).to_be_visible()
    expect(one.locator(".note")).to_contain_text("rows")
    expect(one).to_have_attribute("data-state", "done", timeout=BEGIN_MS)
    assert fits(page)
    out = tmp_path / "out"
    out.mkdir()
    for link in one.get_by_role("link").all():
        with page.expect_download() as taken:
            link.click()
        taken.value.save_as(out / taken.value.suggested_filename)
    names = {path.name for path in out.iterdir()}
    assert names == {"SHA256SUMS", "many-pairs.csv", "manifest.json"}
    assert list(problems(out)) == []
    checked = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=out, check=False)
    assert checked.returncode == 0
    command = [sys.executable, "-m", "headwater", "export", "verify", str(out)]
    assert subprocess.run(command, check=False).returncode == 0
    page.get_by_role("button", name="Remove Many pairs").click()
    expect(page.locator("#list li")).to_have_count(0)


def test_cancel_and_errors_in_their_place(address: str, page: Page) -> None:
    page.goto(f"{address}/p/demo/exports")
    page.locator("#what").select_option("sql")
    page.get_by_label("Query", exact=True).fill("SELECT 1\nFROM nothing")
    page.get_by_role("button", name="Export", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("Line 2, column 6: there is no table")
    page.get_by_label("Query", exact=True).fill(LONG)
    page.get_by_role("button", name="Export", exact=True).click()
    one = page.locator("#list li").first
    expect(one).to_have_attribute("data-state", "running", timeout=BEGIN_MS)
    one.get_by_role("button").click()
    expect(one).to_have_attribute("data-state", "cancelled")
    expect(page.get_by_role("alert")).to_be_hidden()
    assert fits(page)
    one.get_by_role("button").click()
    expect(page.locator("#none")).to_be_visible()


def test_a_question_from_explore_and_a_table(address: str, page: Page) -> None:
    question = json.dumps({"dates": "2026-09-01..2026-09-30", "by": "month"})
    page.goto(f"{address}/p/demo/exports?insight=revenue&question={quote(question)}")
    expect(page.get_by_label("As JSON")).to_have_value(question)
    page.locator("#format").select_option("parquet")
    page.get_by_role("button", name="Export", exact=True).click()
    expect(page.locator("#list li").first).to_have_attribute("data-state", "done", timeout=BEGIN_MS)
    page.locator("#what").select_option("table")
    page.get_by_label("Days", exact=True).fill("2026-09-21..2026-09-25")
    page.get_by_role("button", name="Export", exact=True).click()
    expect(page.locator("#list li").first).to_contain_text("42 rows", timeout=BEGIN_MS)
    for _ in range(2):
        before = page.locator("#list li").count()
        page.locator("#list li").first.get_by_role("button").click()
        expect(page.locator("#list li")).to_have_count(before - 1)


def test_a_schedule(address: str, page: Page) -> None:
    page.goto(f"{address}/p/demo/exports")
    page.get_by_label("Again and again").check()
    page.get_by_label("To", exact=True).fill("../outside")
    page.get_by_role("button", name="Keep schedule").click()
    expect(page.get_by_role("alert")).to_contain_text("a schedule needs one")
    page.get_by_label("Name", exact=True).fill("Nightly")
    page.get_by_role("button", name="Keep schedule").click()
    expect(page.get_by_role("alert")).to_contain_text("names no place")
    page.get_by_label("To", exact=True).fill("nightly")
    page.get_by_role("button", name="Keep schedule").click()
    kept = page.locator("#schedules li")
    expect(kept).to_contain_text("every day at 06:00 to nightly")
    expect(kept).to_contain_text("not run yet")
    assert fits(page)
    page.get_by_label("To", exact=True).fill("elsewhere")
    page.once("dialog", lambda asked: asked.dismiss())
    page.get_by_role("button", name="Keep schedule").click()
    expect(page.get_by_role("alert")).to_contain_text("is taken by another schedule")
    expect(kept).to_contain_text("to nightly")
    page.once("dialog", lambda asked: asked.accept())
    page.get_by_role("button", name="Keep schedule").click()
    expect(kept).to_contain_text("to elsewhere")
    page.get_by_role("button", name="Remove Nightly").click()
    expect(kept).to_have_count(0)


def test_the_keyboard_reaches_all_of_it(address: str, page: Page) -> None:
    page.goto(f"{address}/p/demo/exports")
    page.locator("#what").focus()
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id"))
    for wanted in ("table", "dates", "columns", "format", "raw", "name", "start"):
        assert wanted in reached


def test_labels(browser: Browser, address: str) -> None:
    context = browser.new_context()
    made = context.new_page()
    made.goto(f"{address}/p/demo/exports")
    unnamed = made.evaluate(
        "[...document.querySelectorAll('#form input, #form select, #form textarea')]"
        ".filter((at) => !at.labels.length).map((at) => at.id)"
    )
    context.close()
    assert unnamed == []
