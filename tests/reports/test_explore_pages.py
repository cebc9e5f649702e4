"""The Explore page in Chromium: forms made from schemas, answers; and other pages."""

from __future__ import annotations

import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

import reports.insights.all  # noqa: F401 - the kinds
from reports.insights.kinds import KINDS
from tests.reports import shop
from tests.reports.browsing import shot, watched

pytestmark = pytest.mark.browser
ANSWERS = ("400",)


def asked(page: Page) -> dict[str, object]:
    """The question in the address."""
    found: dict[str, object] = json.loads(parse_qs(urlsplit(page.url).query)["q"][0])
    return found


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_kind_has_a_form_and_answers_or_says_why(address: str, page: Page, kind: str) -> None:
    page.goto(f"{address}/p/demo/explore/{kind}")
    expect(page.locator("#form .fields").first).to_be_attached()
    expect(page.locator("#state")).not_to_have_text("Asking…")
    expect(
        page.locator("#shown .trust").or_(page.locator("#error:not([hidden])")).first
    ).to_be_visible()
    expect(page.locator(".vega:not([data-drawn])")).to_have_count(0)
    assert page.locator("#form", has_text="(JSON)").count() == 0, "a field has no widget"
    # What the form reads back asks the same as the example.
    answered = page.request.post(f"{address}/p/demo/api/insights/{kind}", data=asked(page)).json()
    example = page.request.post(
        f"{address}/p/demo/api/insights/{kind}", data=KINDS[kind].example
    ).json()
    assert answered.get("question") == example.get("question")
    assert answered.get("message") == example.get("message")
    shot(page, f"explore-{kind}")


def test_a_funnel_is_built_step_by_step(address: str, wide: Page) -> None:
    wide.goto(f"{address}/p/demo/explore/funnel?q={json.dumps({'steps': [{'name': 'Shop'}]})}")
    steps = wide.locator("fieldset", has=wide.locator("legend", has_text="Steps")).first
    expect(wide.locator("#shown .trust")).to_be_visible()
    steps.get_by_role("button", name="Add step").click()
    steps.get_by_label("Event", exact=True).nth(1).fill("Order Completed")
    expect(wide).to_have_url(re.compile("Order%20Completed"))
    expect(wide.locator(".vega svg")).to_contain_text("2. Order Completed")
    people = {r["user_id"] or r["anonymous_id"] for r in shop.events() if r["name"] == "Shop"}
    wide.get_by_text("As a table").click()
    expect(wide.locator("#shown tbody tr").first).to_contain_text(str(len(people)))
    steps.get_by_role("button", name="Move step 2 up").click()
    expect(wide.locator(".vega svg")).to_contain_text("1. Order Completed")
    shot(wide, "explore-funnel-built")


def test_filters_ask_when_they_are_whole_and_suggest_values(address: str, wide: Page) -> None:
    wide.goto(f"{address}/p/demo/explore/trend?q={json.dumps({'series': [{'measure': 'events'}]})}")
    expect(wide.locator("#shown .trust")).to_be_visible()
    filters = wide.locator("fieldset.filters").last
    filters.get_by_role("button", name="Add filter").click()
    filters.get_by_label("Property", exact=True).fill("country")
    with wide.expect_response(re.compile("vocabulary/values")):
        filters.get_by_label("Values", exact=True).focus()
    expect(filters.locator("datalist option")).to_have_count(3)
    filters.get_by_label("Values", exact=True).fill('GB, "D,E"')
    expect(wide).to_have_url(re.compile("D%2CE"))
    assert asked(wide)["where"] == [
        {"property": "country", "operator": "is", "values": ["GB", "D,E"]}
    ]
    filters.get_by_label("Operator", exact=True).select_option("is_set")
    expect(filters.get_by_label("Values", exact=True)).to_be_hidden()
    filters.get_by_role("button", name="Remove filter").click()
    expect(wide).not_to_have_url(re.compile("where"))


def test_an_error_is_shown_and_goes_away(address: str, page: Page) -> None:
    page.goto(f"{address}/p/demo/explore/trend?q={json.dumps({'dates': 'soon'})}")
    expect(page.locator("#error")).to_contain_text("dates='soon' are no days")
    shot(page, "explore-error")
    if page.viewport_size == {"width": 390, "height": 900}:
        page.get_by_text("Question", exact=True).click()
    page.get_by_label("Dates", exact=True).select_option("last_7_days")
    expect(page.locator("#error")).to_be_hidden()
    expect(page.locator("#shown .trust")).to_be_visible()


def test_nothing_found_says_what_to_do(address: str, page: Page) -> None:
    question = {"by": "page", "dates": "2020-01-01..2020-01-02"}
    page.goto(f"{address}/p/demo/explore/vitals?q={json.dumps(question)}")
    expect(page.locator("#shown .empty")).to_contain_text("Choose other days")
    shot(page, "explore-empty")


def test_days_and_filters_go_along_to_another_kind(address: str, wide: Page) -> None:
    wide.goto(f"{address}/p/demo/explore/trend?q={json.dumps({'dates': 'last_7_days'})}")
    expect(wide.locator("#shown .trust")).to_be_visible()
    wide.get_by_role("link", name="Lifecycle").click()
    expect(wide.get_by_label("Dates", exact=True)).to_have_value("last_7_days")


def test_an_answer_is_saved_to_a_new_dashboard(address: str, wide: Page) -> None:
    wide.goto(f"{address}/p/demo/explore/stickiness")
    expect(wide.locator("#shown .trust")).to_be_visible()
    wide.get_by_role("button", name="Save to dashboard").click()
    dialog = wide.get_by_role("dialog")
    dialog.get_by_label("Title").fill("How often")
    dialog.get_by_label("Dashboard").select_option("")
    dialog.get_by_label("Name of the new one").fill("From Explore")
    dialog.get_by_role("button", name="Save").click()
    wide.get_by_role("link", name="From Explore").click()
    expect(wide.locator(".panel h2")).to_have_text("How often")
    expect(wide.locator(".vega[data-drawn]")).to_be_visible()


def test_the_picture_of_the_server_and_of_the_page_are_of_one_description(
    address: str, wide: Page
) -> None:
    wide.goto(f"{address}/p/demo/explore/stickiness")
    expect(wide.locator(".vega[data-drawn]")).to_be_visible()
    query = f"?q={json.dumps(asked(wide))}"
    svg = wide.request.get(f"{address}/p/demo/api/charts/stickiness.svg{query}").text()
    shown = wide.locator(".vega svg").inner_html()

    def bars(text: str) -> int:
        return len(re.findall(r'aria-roledescription="bar"', text))

    assert bars(shown) == bars(svg) > 0


@pytest.mark.parametrize(
    "path",
    ["", "daily", "sql", "dead-letters", "cohorts", "exports", "errors", "health", "quality"],
)
def test_every_page_fits_and_has_the_menu(address: str, page: Page, path: str) -> None:
    page.goto(f"{address}/p/demo/{path}")
    page.wait_for_timeout(600)
    menu = page.get_by_role("button", name="Menu")
    links = page.get_by_role("navigation", name="Pages")
    if menu.is_visible():
        expect(links).to_be_hidden()
        menu.click()
        expect(links.locator("[aria-current=page]")).to_be_focused()
        if not path:
            shot(page, "menu")
        page.keyboard.press("Escape")
        expect(links).to_be_hidden()
        expect(menu).to_be_focused()
    else:
        expect(links.locator("[aria-current=page]")).to_have_count(1)
    shot(page, f"page-{path or 'live'}")


def test_the_live_page_is_streamed(address: str, wide: Page) -> None:
    asked_for: list[str] = []
    wide.on("request", lambda r: asked_for.append(urlsplit(r.url).path))
    wide.goto(f"{address}/p/demo/")
    expect(wide.locator("#events_today")).not_to_have_text("\u2013")
    wide.wait_for_timeout(2500)
    assert "/p/demo/api/live/events" in asked_for
    assert asked_for.count("/p/demo/api/live") <= 2, "it asks only until the stream is there"


def test_without_a_stream_the_live_page_asks(address: str, browser: Browser) -> None:
    with watched(browser, 1440, answers=("503",)) as page:
        page.route("**/api/live/events", lambda route: route.fulfill(status=503, body="{}"))
        page.goto(f"{address}/p/demo/")
        expect(page.locator("#events_today")).not_to_have_text("\u2013")
        with page.expect_response(re.compile(r"/api/live$")):
            pass
