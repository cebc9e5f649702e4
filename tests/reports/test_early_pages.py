"""In Chromium, with scripts that come late: what is pressed before them is done with them."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from flask import request
from playwright.sync_api import Page, expect

from tests.reports import world
from tests.reports.browsing import serving
from tests.reports.streams_of_people import NOW, random_rows

pytestmark = pytest.mark.browser
SLOW = ("/static/site.js", "/static/cohorts.js")


@pytest.fixture(scope="module")
def asked() -> list[str]:
    """What the server was asked for: method and path."""
    return []


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, asked: list[str]) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("early-pages")
    world.archive(directory, random_rows(5))
    app = world.app(directory, NOW)

    def note() -> None:
        asked.append(f"{request.method} {request.path}")
        time.sleep(1.0 if request.path in SLOW else 0.0)

    app.before_request(note)
    with serving(app) as found:
        yield found


def test_a_button_pressed_early_and_twice_is_pressed_once(
    address: str, wide: Page, asked: list[str]
) -> None:
    wide.goto(f"{address}/p/demo/cohorts/new", wait_until="commit")
    wide.get_by_role("textbox", name="Name").fill("Early bird")
    save = wide.get_by_role("button", name="Save")
    save.click()
    save.click()
    assert "POST /p/demo/api/cohorts" not in asked
    expect(wide.get_by_role("heading", name="Early bird")).to_be_visible()
    assert asked.count("POST /p/demo/api/cohorts") == 1

    wide.on("dialog", lambda dialog: dialog.accept())
    wide.goto(wide.url, wait_until="commit")
    wide.get_by_role("button", name="Remove", exact=True).click()
    expect(wide.get_by_role("heading", name="No cohort yet")).to_be_visible()


def test_enter_in_a_form_waits_too(address: str, wide: Page) -> None:
    wide.goto(f"{address}/p/demo/cohorts/new", wait_until="commit")
    name = wide.get_by_role("textbox", name="Name")
    name.fill("By keyboard")
    name.press("Enter")
    expect(wide.get_by_role("heading", name="By keyboard")).to_be_visible()
    assert "?" not in wide.url


def test_the_menu_of_every_page_opens(address: str, wide: Page) -> None:
    wide.set_viewport_size({"width": 390, "height": 900})
    wide.goto(f"{address}/p/demo/cohorts", wait_until="commit")
    menu = wide.get_by_role("button", name="Menu")
    menu.click()
    expect(menu).to_have_attribute("aria-expanded", "true")
