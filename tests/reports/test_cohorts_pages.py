"""Cohorts in Chromium: make one by hand, preview it, upload a list, see the sizes, remove it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from flask import request
from playwright.sync_api import Page, expect

from tests.reports import world
from tests.reports.browsing import serving, shot
from tests.reports.streams_of_people import NOW, random_rows

pytestmark = pytest.mark.browser
ANSWERS = ("400",)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("cohort-pages")
    world.archive(directory, random_rows(5))
    app = world.app(directory, NOW)
    app.before_request(late)
    with serving(app) as found:
        yield found


def late() -> None:
    """A slow server: what a page still asks for is not asked of a cohort just removed."""
    time.sleep({"people": 0.3, "cohorts": 0.6}.get(request.path.split("/")[-1], 0))


@pytest.fixture
def page(page: Page) -> Page:
    page.on("dialog", lambda dialog: dialog.accept())
    return page


def test_a_cohort_is_made_previewed_saved_found_and_removed(address: str, page: Page) -> None:
    page.goto(f"{address}/p/demo/cohorts")
    expect(page.get_by_role("heading", name="No cohort yet")).to_be_visible()
    shot(page, "cohorts-empty")
    page.get_by_role("link", name="New cohort").click()
    condition = page.locator("#conditions > li").first
    condition.get_by_placeholder("Any event").fill("cart")
    condition.get_by_label("Count").fill("2")
    page.get_by_role("button", name="Preview").click()
    expect(page.locator("#trust")).to_contain_text("exact · worked out 2026-10-30")
    expect(page.locator("#words")).to_have_text("did cart (last 30 days) at least 2 times")
    size = page.locator("#size").inner_text()
    assert int(size.split()[0]) == page.locator("#people li").count()
    page.get_by_role("button", name="Add condition").click()
    second = page.locator("#conditions > li").nth(1)
    second.get_by_label("Kind of condition").select_option("property")
    page.get_by_role("button", name="Preview").click()
    expect(page.locator("#error")).to_contain_text("add a filter with a property")
    one = second.get_by_role("group", name="Condition")
    one.get_by_role("button", name="Add filter").click()
    one.get_by_label("Property", exact=True).fill("country")
    one.get_by_label("Values").fill("GB")
    second.get_by_label("not: whoever does not").check()
    page.get_by_role("button", name="Preview").click()
    expect(page.locator("#words")).to_contain_text("and not: country is GB in an event")
    shot(page, "cohort-preview")
    page.get_by_role("textbox", name="Name").fill("Two carts")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="Two carts")).to_be_visible()
    expect(page.locator("#trust")).to_contain_text("exact")
    expect(page.locator("#conditions > li")).to_have_count(2)
    page.goto(f"{address}/p/demo/cohorts")
    row = page.get_by_role("row", name="Two carts")
    expect(row.locator("[data-size]")).not_to_have_text("…")
    shot(page, "cohorts-list")
    row.get_by_role("link").click()
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(page.get_by_role("heading", name="No cohort yet")).to_be_visible()


def test_a_list_is_uploaded_and_its_bad_lines_shown(address: str, page: Page) -> None:
    page.goto(f"{address}/p/demo/cohorts/new")
    condition = page.locator("#conditions > li").first
    condition.get_by_label("Kind of condition").select_option("upload")
    text = b"person\nu1\n \nghost\n"
    condition.get_by_label("File").set_input_files(
        {"name": "ids.csv", "mimeType": "text/csv", "buffer": text}
    )
    expect(condition).to_contain_text("2 ids; 1 lines gave none:")
    expect(condition).to_contain_text("Line 3: (empty) has no id")
    page.get_by_role("button", name="Preview").click()
    expect(page.locator("#people li")).to_have_text(["u1"])
    expect(page.locator("#remarks")).to_contain_text("1 of the ids in the list belong to nobody")
    shot(page, "cohort-upload")


def test_what_goes_wrong_stands_beside_the_form(address: str, page: Page) -> None:
    page.goto(f"{address}/p/demo/cohorts/new")
    condition = page.locator("#conditions > li").first
    condition.get_by_label("Kind of condition").select_option("sql")
    condition.locator("textarea").fill("SELECT name FROM events")
    page.get_by_role("button", name="Preview").click()
    expect(page.locator("#problem")).to_contain_text("name one `person`")
    expect(page.locator("#trust")).to_contain_text("not computable")
    page.get_by_role("button", name="Remove condition").click()
    page.get_by_role("button", name="Preview").click()
    expect(page.locator("#error")).to_contain_text("at least one condition")
    shot(page, "cohort-problem")
