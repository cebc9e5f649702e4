"""Errors, web vitals, health, data quality and dead letters in Chromium, wide and narrow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from catalog.job_runs import Run, RunBook
from tests.reports import world
from tests.reports.browsing import serving, shot, watched
from tests.reports.test_dead_letters import EURO, refused
from tests.reports.test_insight_errors import ROWS as ERRORS
from tests.reports.test_insight_errors import WEEK
from tests.reports.test_insight_quality import ROWS as EVENTS
from tests.reports.test_insight_vitals import ROWS as VITALS
from tests.reports.world import NOW
from tests.streams import NOON
from tests.system import free_port

pytestmark = pytest.mark.browser
LONG = "<img src=x onerror=alert(1)> " + "a message without an end " * 20


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("engineers")
    renamed = [
        {**row, "event_id": f"{kind}-{row['event_id']}"}
        for kind, rows in (("x", ERRORS), ("y", EVENTS), ("z", VITALS))
        for row in rows
    ]
    hostile = {
        "message": LONG,
        "stack": f"TypeError: {LONG}\n    at f (https://a.example/b.js:1:2)",
    }
    renamed.append({**ERRORS[0], "event_id": "long", "name": "Error", "event_time": NOON,
                    "properties": json.dumps(hostile)})  # fmt: skip
    world.archive(made, renamed)
    world.refuse(made, refused(60))
    world.refuse(made, [{"dead_letter_id": "odd", "reason": "unreadable", "message": LONG,
                         "original": LONG.encode()}])  # fmt: skip
    book = RunBook(made / "runs")
    book.look(NOW - 5_000_000)
    for number, outcome in enumerate(("ok", "failed")):
        book.add(Run(job=("rollup", "compact")[number], flags=("--grains=hour,day",),
                     started_at=NOW - 60_000_000, ended_at=NOW, outcome=outcome,  # type: ignore[arg-type]
                     exit_code=number, message=LONG))  # fmt: skip
    return made


@pytest.fixture(scope="module")
def address(directory: Path) -> Iterator[str]:
    with serving(world.app(directory, collector_port=free_port())) as made:
        yield made


def test_from_the_groups_of_errors_to_one_and_its_stack(address: str, page: Page) -> None:
    page.goto(f"{address}/p/demo/errors?dates={WEEK['dates']}")
    expect(page.locator("#groups tbody tr")).not_to_have_count(0)
    shot(page, "errors")
    page.get_by_label("Search").fill("img src=x")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#groups tbody tr")).to_have_count(1)
    page.locator("#groups a").first.click()
    expect(page.locator("h1")).to_contain_text("TypeError: <img src=x onerror=alert(1)>")
    expect(page.locator("#frames tbody tr")).to_contain_text("https://a.example/b.js")
    expect(page.locator("#events tbody tr")).to_have_count(1)
    page.get_by_text("As it was sent").click()
    shot(page, "error-group")
    page.get_by_role("link", name="All errors").click()
    expect(page.locator("#groups")).to_be_visible()


def test_nothing_found_says_what_to_do(address: str, page: Page) -> None:
    page.goto(f"{address}/p/demo/errors?search=nothing+has+this")
    expect(page.locator(".empty")).to_contain_text("No error fits “nothing has this”")
    page.goto(f"{address}/p/other/errors/vitals?dates=2020-01-01..2020-01-02")
    expect(page.locator(".empty")).to_contain_text("No web vitals in these dates")
    page.goto(f"{address}/p/other/dead-letters")
    expect(page.locator(".empty")).to_contain_text("Nothing was refused")
    page.goto(f"{address}/p/demo/quality?dates=2020-01-01..2020-01-02")
    expect(page.locator(".empty")).to_contain_text("No events")
    shot(page, "quality-empty")


def test_web_vitals_with_ratings(address: str, page: Page) -> None:
    page.goto(f"{address}/p/demo/errors/vitals?dates={WEEK['dates']}")
    expect(page.locator("#vitals tbody tr")).to_have_count(15)
    expect(page.locator(".stamp")).to_contain_text("Approximate, ± 0.5 %")
    shot(page, "performance")
    page.locator("select[name=by]").select_option("browser")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#vitals")).to_contain_text("Safari")


def test_health_is_not_green_and_looks_again(address: str, page: Page, directory: Path) -> None:
    page.clock.install()
    page.goto(f"{address}/p/demo/health")
    expect(page.locator("#verdict")).to_have_text("Something is down.")
    expect(page.locator("#part-collector .state")).to_have_text("down")
    expect(page.locator("#part-collector .remedy")).to_contain_text("make run")
    expect(page.locator("#part-schedule")).to_contain_text("compact")
    expect(page.locator("#runs tbody tr")).to_have_count(2)
    shot(page, "health")
    RunBook(directory / "runs").look(NOW - 5_000_000, running="identity")
    page.clock.fast_forward(11_000)
    expect(page.locator("#part-schedule")).to_contain_text("identity")
    RunBook(directory / "runs").look(NOW - 5_000_000)


def test_a_health_page_without_a_server_knows_nothing(browser: Browser, directory: Path) -> None:
    page = browser.new_page()
    page.clock.install()
    with serving(world.app(directory, collector_port=free_port())) as address:
        page.goto(f"{address}/p/demo/health")
        expect(page.locator("#part-disk .state")).not_to_have_text("unknown")
    page.clock.fast_forward(11_000)
    expect(page.get_by_role("alert")).to_contain_text("is it running?")
    expect(page.locator("#part-disk .state")).to_have_text("unknown")
    page.close()


def test_data_quality_and_one_event(address: str, page: Page) -> None:
    page.goto(f"{address}/p/demo/quality?dates={WEEK['dates']}")
    row = page.locator("#types tbody tr", has_text="half")
    expect(row.locator(".state")).to_have_text("low")
    shot(page, "quality")
    page.get_by_role("link", name="cart", exact=True).click()
    expect(page.locator("#fields tbody tr").first).to_contain_text("colour")
    expect(page.locator("#days tbody tr")).not_to_have_count(0)
    shot(page, "quality-event")


def test_find_a_letter_and_look_at_it(address: str, page: Page) -> None:
    page.goto(f"{address}/p/demo/dead-letters")
    expect(page.locator("#letters tbody tr")).to_have_count(50)
    shot(page, "dead-letters")
    page.get_by_role("link", name="Older").click()
    expect(page.locator("#letters tbody tr")).to_have_count(11)
    page.get_by_label("Text").fill("img src=x")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#letters tbody tr")).to_have_count(1)
    page.locator("#letters a").first.click()
    expect(page.locator("#text")).to_contain_text("<img src=x onerror=alert(1)>")
    expect(page.locator(".remedy")).to_contain_text("Send valid JSON in UTF-8")
    page.get_by_text("As bytes").click()
    expect(page.locator("#hex")).to_contain_text("3c 69 6d 67")
    shot(page, "dead-letter")


def test_fix_preview_and_replay(browser: Browser, tmp_path: Path) -> None:
    """On a world of its own: what is replayed is no dead letter any more."""
    world.catalogue(tmp_path)
    world.refuse(tmp_path, refused(5))
    with (
        serving(world.app(tmp_path)) as address,
        watched(browser, 1440, answers=("400",)) as page,
    ):
        page.goto(f"{address}/p/demo/dead-letters")
        replay, state = page.get_by_role("button", name="Replay"), page.locator("#run-state")
        expect(replay).to_be_disabled()
        page.get_by_role("button", name="Preview").click()
        expect(state).to_have_text("0 of 5 letters would become events.", timeout=60_000)
        expect(replay).to_be_disabled()
        page.get_by_label("Edits, as TOML").fill("[[edit")
        page.get_by_role("button", name="Preview").click()
        expect(page.get_by_role("alert")).to_contain_text("the edits are not TOML")
        page.get_by_label("Edits, as TOML").fill(EURO)
        page.get_by_role("button", name="Preview").click()
        expect(state).to_have_text("5 of 5 letters would become events.", timeout=60_000)
        shot(page, "replay-preview")
        replay.click()
        expect(state).to_contain_text("Done: 5 of 5 are events now", timeout=90_000)
        shot(page, "replay-done")
        page.get_by_role("link", name="Show the letters as they are now").click()
        expect(page.locator("#letters .state").first).to_have_text("returned")
        expect(page.locator("#replays tbody tr")).to_have_count(3)
