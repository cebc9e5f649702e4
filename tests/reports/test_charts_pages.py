"""Charts in Chromium: the period before, annotations, wide heatmaps, themes, people of a funnel."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from reports.charts.theme import COLOURS
from tests.reports import shop
from tests.reports.browsing import fits, shot, watched

pytestmark = pytest.mark.browser
ANSWERS = ("400",)
LAST = shop.FIRST + timedelta(shop.DAYS - 1)
HALF = LAST - timedelta(13)
COMPARED = {
    "series": [{"measure": "events"}, {"measure": "people"}],
    "dates": f"{HALF}..{LAST}",
    "compare": "previous",
}
PAPER = {"light": "rgb(247, 248, 247)", "dark": "rgb(14, 20, 19)"}
NOTES = {
    "New checkout": HALF + timedelta(3),
    "Sale, with a long word about it": HALF + timedelta(9),
}


def explore(page: Page, address: str, kind: str, question: dict[str, Any]) -> Locator:
    """The chart of a question, drawn."""
    page.goto(f"{address}/p/demo/explore/{kind}?q={json.dumps(question)}")
    return drawn(page)


def drawn(page: Page) -> Locator:
    expect(page.locator(".vega[data-drawn]").first).to_be_visible()
    expect(page.locator(".vega:not([data-drawn])")).to_have_count(0)
    return page.locator(".vega").first


def note(page: Page, address: str) -> None:
    for text, day in NOTES.items():
        kept = {"date": day.isoformat(), "text": text}
        assert page.request.post(f"{address}/p/demo/api/annotations", data=kept).ok


# -- The period before, and annotations.


def test_the_period_before_and_what_was_noted_are_seen_and_said(address: str, page: Page) -> None:
    note(page, address)
    chart = explore(page, address, "trend", COMPARED)
    expect(chart).to_contain_text("Previous period")
    expect(chart.locator('path[stroke-dasharray="4,4"][aria-roledescription="line mark"]')
           ).to_have_count(2)  # fmt: skip
    expect(chart.locator('[aria-roledescription="rule mark"]')).to_have_count(len(NOTES))
    expect(chart).to_contain_text("New checkout")
    said = chart.get_attribute("aria-label") or ""
    assert "Dashed: previous period." in said
    assert all(f"{day} {text}" in said for text, day in NOTES.items())
    listed = page.locator("#shown .noted")
    expect(listed.get_by_role("listitem")).to_have_text([f"{d} {t}" for t, d in NOTES.items()])
    shot(page, "chart-compared")


def test_a_tip_names_both_dates(address: str, wide: Page) -> None:
    chart = explore(wide, address, "trend", COMPARED)
    points = chart.locator('[aria-roledescription="point"]')
    before = HALF - timedelta(14)
    # The dashed line is drawn first: its first point, then the first of the present line.
    for at in (0, 28):
        points.nth(at).hover(force=True)
        expect(wide.locator(".tip")).to_contain_text(HALF.isoformat())
        expect(wide.locator(".tip")).to_contain_text(before.isoformat())
    assert points.count() == 2 * 2 * 14


def test_tiles_have_both(address: str, page: Page) -> None:
    note(page, address)
    panels = [
        {"title": "Compared", "kind": "trend", "question": COMPARED, "w": 6, "h": 3},
        {"title": "Revenue", "kind": "revenue", "w": 6, "h": 2,
         "question": {"dates": f"{HALF}..{LAST}", "by": "week"}},
        {"title": "By value", "kind": "revenue", "w": 6, "h": 3,
         "question": {"dates": f"{HALF}..{LAST}", "split": "campaign",
                      "campaign_key": "campaign_source"}},
        {"title": "Launch", "kind": "before_after", "w": 6, "h": 3,
         "question": {"dates": f"{shop.FIRST}..{LAST}", "annotation": "New checkout"}},
    ]  # fmt: skip
    title = f"Noted {(page.viewport_size or {})['width']}"
    made = page.request.post(
        f"{address}/p/demo/api/boards", data={"title": title, "panels": panels}
    )
    page.goto(f"{address}/p/demo/boards/{made.json()['id']}")
    expect(page.locator(".vega[data-drawn]")).to_have_count(4)
    rules = page.locator(".vega").locator('[aria-roledescription="rule mark"][aria-label*="Annot"]')
    expect(rules).to_have_count(6)
    listed = page.locator(".panel .noted summary")
    expect(listed).to_have_text(["2 annotations"] * 4)
    listed.first.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".panel .noted").first.get_by_role("listitem").first).to_be_visible()
    shot(page, "board-noted")


# -- Heatmaps.


def boxes(texts: Locator) -> list[tuple[float, float, float, float]]:
    found: list[tuple[float, float, float, float]] = texts.evaluate_all(
        "all => all.map(one => { const b = one.getBoundingClientRect();"
        " return [b.left, b.top, b.right, b.bottom]; })"
    )
    return found


@pytest.mark.parametrize("longest", [10, 30])
def test_no_two_texts_of_a_heatmap_lie_on_one_another(
    address: str, page: Page, longest: int
) -> None:
    question = {"dates": f"{shop.FIRST}..{LAST}", "period": "day", "longest": longest}
    chart = explore(page, address, "retention", question)
    # What would overlap is there, but not drawn.
    shown = [b for b in boxes(chart.locator('text:not([opacity="0"])')) if b[2] > b[0]]
    assert len(shown) > 20
    for i, one in enumerate(shown):
        for other in shown[i + 1 :]:
            beside = one[2] <= other[0] + 1 or other[2] <= one[0] + 1
            above = one[3] <= other[1] + 2 or other[3] <= one[1] + 2  # of lines, not of letters
            assert beside or above, (one, other)
    assert fits(page)
    shot(page, f"heatmap-{longest}")


def test_what_does_not_fit_scrolls_within_its_frame_by_keys(address: str, browser: Browser) -> None:
    with watched(browser, 390) as page:
        question = {"dates": f"{shop.FIRST}..{LAST}", "period": "day", "longest": 10}
        explore(page, address, "retention", question)
        frame = page.get_by_role("region", name="Chart, scrolls sideways")
        expect(frame).to_be_visible()
        frame.focus()
        for _ in range(12):
            page.keyboard.press("ArrowRight")
        page.wait_for_function("() => document.querySelector('.sideways').scrollLeft > 100")
        page.set_viewport_size({"width": 1440, "height": 900})
        expect(page.get_by_role("region", name="Chart, scrolls sideways")).to_have_count(0)


# -- Themes.


def paper(page: Page) -> str:
    found: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return found


def test_a_theme_is_chosen_kept_and_drawn(address: str, page: Page) -> None:
    page.emulate_media(color_scheme="light")
    chart = explore(page, address, "trend", {"series": [{"measure": "events"}]})
    line = chart.locator('path[aria-roledescription="line mark"]')
    choice = page.get_by_label("Theme")
    expect(choice).to_have_value("system")
    for theme in ("dark", "light"):
        choice.focus()
        choice.select_option(theme)
        expect(line).to_have_attribute("stroke", COLOURS[theme].series[0])  # type: ignore[index]
        assert paper(page) == PAPER[theme]
    choice.select_option("dark")
    page.reload()
    expect(page.get_by_label("Theme")).to_have_value("dark")
    drawn(page)
    expect(line).to_have_attribute("stroke", COLOURS["dark"].series[0])
    assert fits(page)
    page.get_by_label("Theme").select_option("system")
    expect(line).to_have_attribute("stroke", COLOURS["light"].series[0])
    page.emulate_media(color_scheme="dark")
    expect(line).to_have_attribute("stroke", COLOURS["dark"].series[0])
    assert page.evaluate("localStorage.length") == 0


_FRAMES = """
window.seen = new Set();
const look = () => {
  if (document.body) window.seen.add(getComputedStyle(document.body).backgroundColor);
  requestAnimationFrame(look);
};
look();
"""


@pytest.mark.parametrize("path", ["/", "/p/demo/", "/p/demo/boards/overview"])
@pytest.mark.parametrize("system", ["light", "dark"])
def test_no_frame_shows_the_other_theme(
    address: str, browser: Browser, path: str, system: str
) -> None:
    chosen = "dark" if system == "light" else "light"
    with watched(browser, 1440) as page:
        page.emulate_media(color_scheme=system)  # type: ignore[arg-type]
        page.goto(f"{address}/p/demo/daily")
        page.get_by_label("Theme").select_option(chosen)
        page.add_init_script(_FRAMES)
        # Scripts come late, as on a slow line: nothing may be shown before the theme is known.
        page.route("**/static/*.js", lambda route: (page.wait_for_timeout(300), route.continue_()))
        page.goto(f"{address}{path}")
        page.wait_for_timeout(300)
        seen = set(page.evaluate("[...window.seen]"))
        assert seen == {PAPER[chosen]}


def test_other_tabs_follow(address: str, browser: Browser) -> None:
    with watched(browser, 1440) as page:
        page.emulate_media(color_scheme="light")
        page.goto(f"{address}/p/demo/daily")
        other = page.context.new_page()
        other.emulate_media(color_scheme="light")
        other.goto(f"{address}/p/demo/")
        page.get_by_label("Theme").select_option("dark")
        expect(other.get_by_label("Theme")).to_have_value("dark")
        assert paper(other) == PAPER["dark"]


# -- People of a funnel.


def test_who_dropped_out_is_saved_as_a_cohort(address: str, page: Page) -> None:
    steps = [{"name": "Shop"}, {"name": "Order Completed"}]
    dates = f"{shop.FIRST}..{LAST}"
    explore(page, address, "funnel", {"steps": steps, "dates": dates})
    page.get_by_role("button", name="Save people as cohort").click()
    dialog = page.get_by_role("dialog")
    who = dialog.get_by_label("Who")
    expect(who.locator("option")).to_have_text(
        ["Dropped out after 1. Shop", "Took 1. Shop", "Took 2. Order Completed"]
    )
    expect(dialog.get_by_label("Name")).to_have_value("Dropped out after 1. Shop")
    who.select_option("2")
    expect(dialog.get_by_label("Name")).to_have_value("Took 2. Order Completed")
    name = f"Lookers {(page.viewport_size or {})['width']}"
    dialog.get_by_label("Name").fill(name)
    who.select_option("0")
    expect(dialog.get_by_label("Name")).to_have_value(name)
    shot(page, "funnel-cohort")
    dialog.get_by_role("button", name="Save cohort").click()
    lookers = len(_people("Shop") - _people("Order Completed"))
    expect(page.locator("#state")).to_contain_text(f"Saved {lookers} people as {name}")
    page.get_by_role("link", name=name).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)


def test_a_name_that_is_taken_is_said_in_the_dialog(address: str, wide: Page) -> None:
    explore(wide, address, "funnel", {"steps": [{"name": "Shop"}, {"name": "Order Completed"}]})
    for _ in range(2):
        wide.get_by_role("button", name="Save people as cohort").click()
        wide.get_by_role("dialog").get_by_label("Name").fill("Twice")
        wide.keyboard.press("Enter")
        expect(wide.locator("#state").or_(wide.get_by_role("dialog").locator(".error")).filter(
            has_text=re.compile("Twice")).first).to_be_visible()  # fmt: skip
    expect(wide.get_by_role("dialog").get_by_role("alert")).to_contain_text("another cohort")
    wide.keyboard.press("Escape")
    expect(wide.get_by_role("dialog")).to_be_hidden()


def _people(name: str) -> set[str]:
    """Who did it. In this shop an order comes after a look at the shop on the same day."""
    return {r["user_id"] or r["anonymous_id"] for r in shop.events() if r["name"] == name}
