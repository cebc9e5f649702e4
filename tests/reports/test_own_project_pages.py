"""Chromium: the ledger and the health page of somebody of one project; metrics on Explore."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from catalog.metrics import MetricStore
from tests.reports import world
from tests.reports.access_world import COOKIE, Place, email
from tests.reports.browsing import serving, shot
from tests.reports.test_access_other_projects import MANY, fill_other, made
from tests.reports.test_insight_metrics import metric

pytestmark = pytest.mark.browser
ANSWERS = ("400",)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Place:
    found = made(tmp_path_factory.mktemp("own-project"))
    fill_other(found.directory)
    wished = metric("wished", "count", event="view", title="Wishes")
    MetricStore(world.catalogue(found.directory)).put("demo", json.dumps(wished))
    return found


@pytest.fixture(scope="module")
def address(here: Place) -> Iterator[str]:
    with serving(here.app) as found:
        yield found


def sign_in(page: Page, here: Place, address: str, who: str) -> None:
    person = here.access.users.get(email(who))
    secret = here.access.sessions.start(person.id, "127.0.0.1", "tests")
    page.context.add_cookies([{"name": COOKIE, "value": secret, "url": address}])


def test_the_ledger_says_whose_it_is(here: Place, address: str, page: Page) -> None:
    sign_in(page, here, address, "vic")
    page.goto(f"{address}/p/demo/")
    expect(page.locator("#ledger-title")).to_contain_text("this project")
    expect(page.locator("#archived")).to_have_text("3")
    expect(page.locator("#accepted")).to_have_text("3")
    expect(page.locator("#ledger-note")).to_contain_text("only an admin of everything")
    expect(page.locator("#ledger-stamp")).to_contain_text("books of")
    shot(page, "ledger-of-a-project")


def test_an_admin_of_everything_reads_the_whole(here: Place, address: str, page: Page) -> None:
    sign_in(page, here, address, "root")
    page.goto(f"{address}/p/demo/")
    expect(page.locator("#ledger-title")).to_contain_text("all projects")
    expect(page.locator("#archived")).to_have_text(f"{3 + MANY + 9:,}")
    expect(page.locator("#ledger-note")).to_be_hidden()


def test_the_health_page_says_what_is_hidden(here: Place, address: str, page: Page) -> None:
    sign_in(page, here, address, "vic")
    page.goto(f"{address}/p/demo/health")
    runs = page.get_by_label("Runs of scheduled jobs")
    expect(runs).to_contain_text("only an admin of everything")
    expect(runs.locator("table")).to_have_count(0)
    expect(page.locator("#part-size")).to_contain_text("3 rows are of this project.")
    expect(page.locator("main")).not_to_contain_text("zebra")
    shot(page, "health-of-a-project")


def test_explore_suggests_metrics_and_shows_one(here: Place, address: str, page: Page) -> None:
    sign_in(page, here, address, "vic")
    asked = {"dates": "2026-09-21..2026-09-21", "series": [{}]}
    page.goto(f"{address}/p/demo/explore/trend?q={json.dumps(asked)}")
    field = page.get_by_label("Metric", exact=True)
    known = page.locator(f"datalist#{field.get_attribute('list')} option")
    expect(known.filter(has_text="Wishes (your own)")).to_have_count(1)
    expect(known.filter(has_text="Net revenue")).to_have_count(1)
    if not field.is_visible():  # on a narrow page the question is folded
        page.locator("#asked > summary").press("Enter")
    field.focus()
    page.keyboard.type("wished")
    expect(page.locator("#shown")).to_contain_text("Wishes")
    shot(page, "explore-metric")
