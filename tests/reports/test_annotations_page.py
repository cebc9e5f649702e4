"""The page of annotations in Chromium: add one, ask what changed with it, remove it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.reports import world
from tests.reports.browsing import serving, shot
from tests.streams import NOON, event

pytestmark = pytest.mark.browser
ANSWERS = ("400",)
TEXT = """New <b>checkout</b> & "more" """.strip()


@pytest.fixture
def page(page: Page) -> Page:
    page.on("dialog", lambda dialog: dialog.accept())
    return page


@pytest.fixture
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("annotations")
    world.archive(directory, [event("one", NOON)])
    with serving(world.app(directory)) as found:
        yield found


def test_one_is_added_asked_for_and_removed(address: str, page: Page) -> None:
    page.goto(f"{address}/p/demo/")
    if page.get_by_role("button", name="Menu").is_visible():
        page.get_by_role("button", name="Menu").click()
    page.get_by_role("link", name="Annotations").click()
    expect(page.get_by_role("heading", name="No annotation yet")).to_be_visible()
    shot(page, "annotations-empty")
    page.get_by_label("Day").fill("2026-09-11")
    page.get_by_label("What happened").fill("   ")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("alert")).to_contain_text("text")
    page.get_by_label("What happened").fill(TEXT)
    page.keyboard.press("Enter")
    row = page.get_by_role("row", name="2026-09-11")
    expect(row.get_by_role("rowheader")).to_have_text(TEXT)
    shot(page, "annotations")
    row.get_by_role("link", name="Before and after").click()
    expect(page.get_by_label("Annotation")).to_have_value(TEXT)
    page.go_back()
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_role("heading", name="No annotation yet")).to_be_visible()
