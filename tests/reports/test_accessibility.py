"""Every page in Chromium: axe-core finds nothing wrong, and keys alone lead through it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from reports.app import create_app
from reports.boards.definition import built_in
from tests.reports import accessible, world
from tests.reports.accessible import KINDS, Furnished, furnished, opened, still, violations
from tests.reports.browsing import serving, shot, watched
from tests.reports.test_boards_pages import settled
from tests.reports.test_reconcile import LEDGER

pytestmark = pytest.mark.browser
ANSWERS = ("404",)
PAGES = (
    *("live", "daily", "sql", "boards", "own board", "annotations", "cohorts", "new cohort"),
    *("cohort", "exports", "errors", "error", "performance", "quality", "quality of an event"),
    *("health", "dead letters", "dead letter", "reconciliation", "members", "audit of demo"),
    *("account", "people", "audit", "api", "set password", "no page"),
    *(f"board {name}" for name in built_in()),
    *(f"explore {kind}" for kind in KINDS),
)
WALKED = ("live", "sql", "explore trend", "own board", "dead letters")
MOST_TABS = 60

# Where the focus is now: a number by element, and whether it can be seen.
FOCUS = """() => {
  const one = document.activeElement;
  if (!one || one === document.body) return null;
  window.seen ??= [];
  if (!seen.includes(one)) seen.push(one);
  const ring = (at) => at && getComputedStyle(at).outlineStyle !== "none"
    && parseFloat(getComputedStyle(at).outlineWidth) >= 2 && at.getBoundingClientRect();
  const box = ring(one) || ring(one.closest(".button"));
  const isThere = box && box.width > 0 && box.height > 0 && box.right > 0 && box.bottom > 0
    && box.left < innerWidth && box.top < innerHeight;
  return [seen.indexOf(one), isThere, one.outerHTML.slice(0, 120)];
}"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Furnished:
    return furnished(tmp_path_factory.mktemp("accessible"))


@pytest.fixture(scope="module")
def address(shop: Furnished) -> Iterator[str]:
    with serving(shop.place.app) as found:
        yield found


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    return accessible.axe(tmp_path_factory.mktemp("npm"))


@pytest.fixture(scope="module")
def root(browser: Browser, shop: Furnished, address: str) -> Iterator[Page]:
    """The page of the admin of everything, one for all: each new one takes its time."""
    with watched(browser, 1440, answers=ANSWERS) as page:
        shop.signed_in(page, address)
        yield page


def test_no_page_is_left_out(shop: Furnished) -> None:
    """Each page that the app has, but for those that have tests of their own below."""
    assert set(PAGES) | {"share"} == shop.paths.keys()
    below = shop.place.app.url_map.bind("localhost")
    looked_at = {
        below.match(path.partition("?")[0])[0]
        for name, path in shop.paths.items()
        if name != "no page"
    }
    every = {
        rule.endpoint for rule in shop.place.app.url_map.iter_rules()
        if "GET" in (rule.methods or ()) and not {"api", "charts"} & set(rule.rule.split("/")[1:-1])
    }  # fmt: skip
    no_pages = {
        *("static", "reports.health", "signing.oidc_start", "signing.oidc_finish"),
        *("sharing.shared_panel", "cohorts.people_csv", "system_health.letter_original"),
    }
    leads_on = {"reports.home", "explore.first"}
    assert every - looked_at - no_pages == leads_on | {"signing.login"}


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing(root: Page, shop: Furnished, address: str, axe: str, name: str) -> None:
    opened(root, address + shop.paths[name])
    assert violations(root, axe) == []


def test_nor_signed_out(wide: Page, address: str, axe: str) -> None:
    opened(wide, f"{address}/login")
    assert violations(wide, axe) == []


def test_nor_before_there_is_anything(browser: Browser, tmp_path: Path, axe: str) -> None:
    world.catalogue(tmp_path)
    app = create_app(world.settings(tmp_path), dict, lambda: world.NOW)
    with serving(app) as address, watched(browser, 1440) as page:
        opened(page, address)
        expect(page.get_by_role("heading", name="No project yet")).to_be_visible()
        assert violations(page, axe) == []


def test_nor_in_dialogs_and_while_a_board_is_edited(
    root: Page, shop: Furnished, address: str, axe: str
) -> None:
    opened(root, address + shop.paths["own board"])
    root.get_by_role("button", name="Share").click()
    expect(root.locator("#shares li")).to_have_count(1)
    assert violations(root, axe) == []
    root.get_by_role("dialog").get_by_role("button", name="Close").click()
    root.get_by_role("button", name="Edit").click()
    settled(root)  # what is being asked is faded
    assert violations(root, axe) == []
    root.get_by_role("button", name="Add panel").click()
    expect(root.locator("#question .fields").first).to_be_visible()
    assert violations(root, axe) == []


def test_nor_in_the_menu_of_a_narrow_page(
    browser: Browser, shop: Furnished, address: str, axe: str
) -> None:
    with watched(browser, 390) as page:
        shop.signed_in(page, address)
        opened(page, address + shop.paths["live"])
        page.get_by_role("button", name="Menu").click()
        assert violations(page, axe) == []


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("name", WALKED)
def test_keys_lead_through_a_page_and_show_where_they_are(
    browser: Browser, shop: Furnished, address: str, width: int, name: str
) -> None:
    with watched(browser, width) as page:
        shop.signed_in(page, address)
        opened(page, address + shop.paths[name])
        places, unseen = [], []
        for _ in range(MOST_TABS):
            page.keyboard.press("Tab")
            focus = page.evaluate(FOCUS)
            if focus is None:  # through the page, and on to the browser's own buttons
                break
            places.append(focus[0])
            if not focus[1]:
                unseen.append(focus[2])
        assert unseen == []
        stays = [len(list(same)) for _, same in groupby(places)]
        assert max(stays) <= 4, "it stays where it is; only in a date there are parts to go through"
        assert places == sorted(places), "the focus goes back"
        assert len(stays) > 5
        page.keyboard.press("Shift+Tab")
        assert len(stays) - page.evaluate(FOCUS)[0] in (1, 2), "there is no way back"


# -- Pictures of what no other test looks at in both widths.


@pytest.mark.parametrize("name", ["api", "share"])
def test_how_it_looks(page: Page, shop: Furnished, address: str, name: str) -> None:
    shop.signed_in(page, address)
    opened(page, address + shop.paths[name])
    shot(page, name.replace(" ", "-"))


def test_how_an_edited_board_looks(page: Page, shop: Furnished, address: str) -> None:
    shop.signed_in(page, address)
    opened(page, address + shop.paths["own board"])
    page.get_by_role("button", name="Edit").click()
    shot(page, "board-editing")
    page.get_by_role("button", name="Add panel").click()
    expect(page.locator("#question .fields").first).to_be_visible()
    shot(page, "board-add-panel")


def test_how_links_of_a_board_look(page: Page, shop: Furnished, address: str) -> None:
    shop.signed_in(page, address)
    opened(page, address + shop.paths["own board"])
    page.get_by_role("button", name="Share").click()
    expect(page.locator("#shares li")).to_have_count(1)
    shot(page, "board-share")


def test_how_a_reconciliation_looks(
    page: Page, shop: Furnished, address: str, tmp_path: Path
) -> None:
    (tmp_path / "ledger.csv").write_text(LEDGER)
    shop.signed_in(page, address)
    opened(page, address + shop.paths["reconciliation"])
    page.locator("#ledger").set_input_files(tmp_path / "ledger.csv")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("#bad-lines tbody tr")).to_have_count(2)
    still(page)
    shot(page, "reconciliation")


def test_how_it_looks_before_there_is_anything(page: Page, tmp_path: Path) -> None:
    world.catalogue(tmp_path)
    app = create_app(world.settings(tmp_path), dict, lambda: world.NOW)
    with serving(app) as address:
        opened(page, address)
        shot(page, "welcome")
