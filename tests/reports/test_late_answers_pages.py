"""Answers that come late, broken or not at all, in Chromium: none takes the place of newer ones."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from flask import Flask, request
from playwright.sync_api import Page, Route, expect

from tests.reports import world
from tests.reports.browsing import serving
from tests.reports.test_boards_fresh_pages import TREND, asked_by, made
from tests.reports.test_query_jobs import LONG, many_numbers
from tests.streams import NOON, event

pytestmark = pytest.mark.browser
ANSWERS = ("400", "404", "ERR_FAILED")
API = "/p/demo/api"
AWAY = "Object.defineProperty(document, 'hidden', { get: () => window.away ?? true })"
RETURN = "window.away = false; document.dispatchEvent(new Event('visibilitychange'))"


class Held:
    """Requests that the server lets wait, by method and how the address ends."""

    def __init__(self, app: Flask) -> None:
        self._waiting: dict[tuple[str, str], threading.Event] = {}
        app.before_request(self._wait)

    def _wait(self) -> None:
        for (method, end), goes_on in list(self._waiting.items()):
            if request.method == method and request.full_path.rstrip("?").endswith(end):
                goes_on.wait(30)

    @contextmanager
    def hold(self, method: str, end: str) -> Iterator[None]:
        goes_on = self._waiting[method, end] = threading.Event()
        try:
            yield
        finally:
            del self._waiting[method, end]
            goes_on.set()


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    directory = tmp_path_factory.mktemp("late")
    world.archive(directory, [event(f"e{n}", NOON + n) for n in range(2500)])
    world.refuse(directory, [{}])
    many_numbers(directory)
    return world.app(directory, sql_timeout_s=120)


@pytest.fixture(scope="module")
def held(app: Flask) -> Held:
    return Held(app)


@pytest.fixture(scope="module")
def address(app: Flask, held: Held) -> Iterator[str]:
    with serving(app) as found:
        yield found


@pytest.fixture
def sql(address: str, wide: Page) -> Page:
    wide.goto(f"{address}/p/demo/sql")
    return wide


def run(page: Page, text: str) -> None:
    page.get_by_label("Query", exact=True).fill(text)
    page.get_by_label("Query", exact=True).press("Control+Enter")


@contextmanager
def late(page: Page, held: Held, method: str, end: str) -> Iterator[None]:
    """What is asked first within is answered last."""
    with page.expect_response(lambda answer: answer.url.endswith(end)), held.hold(method, end):
        yield
    page.wait_for_timeout(300)  # for a script to do what it must not


def test_more_rows_asked_for_twice_come_once(sql: Page) -> None:
    run(sql, "SELECT event_id FROM events")
    rows, more = sql.locator("#result tbody tr"), sql.locator("#more")
    expect(rows).to_have_count(1000)
    for count in (2000, 2500):
        more.evaluate("button => { button.click(); button.click(); }")
        expect(rows).to_have_count(count)
        expect(more).to_be_enabled()
    assert len(set(rows.all_inner_texts())) == 2500
    expect(more).to_be_hidden()


def test_more_rows_of_a_query_before_do_not_come_to_another(sql: Page, held: Held) -> None:
    run(sql, "SELECT event_id FROM events")
    rows = sql.locator("#result tbody tr")
    expect(rows).to_have_count(1000)
    with late(sql, held, "GET", "page=1"):
        sql.get_by_role("button", name="Show more rows").click()
        run(sql, "SELECT 1 AS one")
        expect(sql.locator("#outcome")).to_contain_text("1 row in")
    expect(rows).to_have_text(["1"])
    expect(sql.get_by_role("button", name="Show more rows")).to_be_hidden()


def test_a_query_is_cancelled_before_its_job_is_known(sql: Page, held: Held) -> None:
    outcome = sql.locator("#outcome")
    run(sql, "SELECT 1 AS one")
    expect(outcome).to_contain_text("1 row in")
    before = sql.get_by_role("link", name="CSV").evaluate("link => link.href")
    with held.hold("POST", "/sql/jobs"):
        run(sql, LONG)
        sql.get_by_role("button", name="Cancel").click()
        expect(outcome).to_have_text("Cancelling…")
        assert httpx.get(before).text.split() == ["one", "1"], "the result before is kept"
    expect(outcome).to_contain_text("Cancelled after")
    assert httpx.get(before).status_code == 200
    with held.hold("POST", "/sql/jobs"):
        run(sql, "SELECT 2 AS two")
        sql.get_by_role("button", name="Cancel").click()
    expect(sql.get_by_role("button", name="Run")).to_be_enabled()
    expect(sql.get_by_role("alert")).to_be_hidden()
    run(sql, "SELECT 3 AS three")
    expect(sql.locator("#result tbody tr")).to_have_text(["3"])


def test_what_it_reads_is_not_shown_beside_a_newer_result(sql: Page, held: Held) -> None:
    sql.get_by_label("Query", exact=True).fill("SELECT name FROM events")
    with late(sql, held, "POST", "/estimate"):
        sql.get_by_role("button", name="What it reads").click()
        run(sql, "SELECT 1 AS one")
        expect(sql.locator("#outcome")).to_contain_text("1 row in")
    expect(sql.locator("#reads")).to_be_hidden()
    sql.get_by_label("Query", exact=True).fill("SELECT nme FROM events")
    with late(sql, held, "POST", "/estimate"):
        sql.get_by_role("button", name="What it reads").click()
        run(sql, "SELECT 2 AS two")
        expect(sql.locator("#result tbody tr")).to_have_text(["2"])
    expect(sql.get_by_role("alert")).to_be_hidden()
    expect(sql.locator("#result tbody tr")).to_have_text(["2"])


def test_a_layout_does_not_overwrite_what_was_written_meanwhile(sql: Page, held: Held) -> None:
    box = sql.get_by_label("Query", exact=True)
    box.fill("select 1 as one")
    with late(sql, held, "POST", "/format"):
        sql.get_by_role("button", name="Format").click()
        box.fill("select 2 as two")
    expect(box).to_have_value("select 2 as two")
    box.fill("select from from")
    with late(sql, held, "POST", "/format"):
        sql.get_by_role("button", name="Format").click()
        run(sql, "SELECT 3 AS three")
        expect(sql.locator("#result tbody tr")).to_have_text(["3"])
    expect(sql.get_by_role("alert")).to_be_hidden()
    expect(sql.locator("#result tbody tr")).to_have_text(["3"])


def test_an_answer_that_breaks_off_is_told(sql: Page) -> None:
    sql.route("**/estimate", lambda route: route.fulfill(status=200, body='{"rows": '))
    sql.get_by_role("button", name="What it reads").click()
    expect(sql.get_by_role("alert")).to_contain_text("answer is broken or breaks off; try again")
    sql.route("**/estimate", lambda route: route.fulfill(status=400, body="<html>"))
    sql.get_by_role("button", name="What it reads").click()
    expect(sql.get_by_role("alert")).to_have_text("The server answered 400.")


def test_what_is_given_up_while_it_comes_is_no_answer(sql: Page) -> None:
    became = sql.evaluate("""async () => {
        const { get } = await import("/static/api.js");
        const given = new AbortController();
        setTimeout(() => given.abort(), 1000);  // in the midst of an endless body
        return get("/p/demo/api/live/events", given.signal).then(JSON.stringify, (e) => e.name);
    }""")
    assert became == "AbortError"


def test_charts_are_drawn_once_their_colours_are_to_be_had(address: str, wide: Page) -> None:
    board = made(address, title="Colours", panels=[TREND])
    wide.route("**/charts/themes.json", lambda route: route.abort())
    wide.goto(f"{address}/p/demo/boards/{board}")
    expect(wide.get_by_role("alert").first).to_contain_text("The colours of charts did not load")
    wide.unroute("**/charts/themes.json")
    wide.get_by_role("button", name="Refresh now").click()
    expect(wide.locator(".vega[data-drawn] svg")).to_be_visible()


def test_a_shared_board_is_there_in_a_tab_that_nobody_looks_at(address: str, wide: Page) -> None:
    panels = [{"title": "Words", "text": "Said"}, {"title": "Now", "live": "events_today"}]
    board = made(address, title="Behind", panels=panels, refresh_s=60)
    link = httpx.post(f"{address}{API}/boards/{board}/shares", json={}).json()["path"]
    wide.add_init_script(AWAY)
    wide.clock.install()
    paths = asked_by(wide)
    wide.goto(f"{address}{link}")
    expect(wide.locator(".prose")).to_have_text("Said")
    expect(wide.get_by_role("region", name="Now").locator(".totals dd")).to_be_visible()
    wide.clock.run_for(120_000)
    both = [f"{link}/panels/{n}" for n in (0, 1)]
    assert [paths.count(one) for one in both] == [1, 1], "nobody looks"
    with wide.expect_response(f"**{both[0]}"), wide.expect_response(f"**{both[1]}"):
        wide.evaluate(RETURN)
    assert [paths.count(one) for one in both] == [2, 2]


class Replays:
    """What the server would say of replays: a preview runs until it is told to end."""

    def __init__(self, page: Page) -> None:
        self.is_running, self.asked = True, list[Any]()
        page.route(f"**{API}/replays", self._begin)
        page.route(f"**{API}/replays/1", self._look)

    def _begin(self, route: Route) -> None:
        self.asked.append(route.request.post_data_json)
        route.fulfill(status=202, body=json.dumps({"id": "1"}))

    def _look(self, route: Route) -> None:
        counts = [{"reason": "bad_money", "letters": 5, "would_pass": 5}]
        found = {"is_preview": self.asked[-1]["preview"], "done": 0, "total": 0, "output": "",
                 "result": None, "counts": [] if self.is_running else counts,
                 "state": "running" if self.is_running else "done"}  # fmt: skip
        route.fulfill(status=200, body=json.dumps(found))


def test_only_what_was_previewed_can_be_replayed(address: str, wide: Page) -> None:
    replays = Replays(wide)
    wide.goto(f"{address}/p/demo/dead-letters")
    replay, edits = wide.get_by_role("button", name="Replay"), wide.get_by_label("Edits, as TOML")
    edits.fill("# one")
    wide.get_by_role("button", name="Preview").click()
    expect(wide.locator("#run-state")).to_have_text("Preview: starting.")
    edits.fill("# two")
    replays.is_running = False
    expect(wide.locator("#run-state")).to_have_text("5 of 5 letters would become events.")
    expect(wide.get_by_role("button", name="Preview")).to_be_enabled()
    expect(replay).to_be_disabled()
    edits.evaluate("box => { box.value = '# three'; }")  # without a word to the script
    replay.evaluate("button => { button.disabled = false; button.click(); }")
    assert len(replays.asked) == 1
    edits.fill("# one")
    expect(replay).to_be_enabled()
    replay.click()
    expect(wide.get_by_role("button", name="Preview")).to_be_enabled()
    expect(replay).to_be_disabled()
    assert [(one["edits"], one["preview"]) for one in replays.asked] == [
        ("# one", True),
        ("# one", False),
    ]
