"""From `headwater up` to the page: SDK, real shop data, real browse data, restart."""

from __future__ import annotations

import csv
import signal
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from segment.analytics import Client

from tests.system import ROOT, System, wait_for

pytestmark = [pytest.mark.journey, pytest.mark.browser]

RETAIL = ROOT / "tests/data/online_retail_2010-12.csv"
REES46 = ROOT / "tests/data/rees46_2019-10_sample.csv"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """The whole system, started as `make run` starts it, with projects shop and retail."""
    with System(tmp_path_factory.mktemp("whole") / "data", rollup_every_s=3) as system:
        system.run("catalog", "add-project", "shop", "--time-zone=Europe/London")
        system.run("catalog", "add-project", "retail", "--time-zone=Europe/London")
        system.start("up", "headwater", "up")
        wait_for(lambda: "Try " in system.log("up"), seconds=60, what="the greeting")
        yield system


@pytest.fixture(scope="module")
def key(system: System) -> str:
    return system.key("shop")


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
    yield page
    context.close()
    assert problems == []


def test_an_unmodified_segment_client_moves_the_page(system: System, key: str, page: Page) -> None:
    page.goto(f"{system.reports}/p/shop/")
    before = int(page.locator("#events_today").inner_text().replace("\u2013", "0"))
    failures: list[Any] = []
    client = Client(key, host=system.collector, gzip=True, on_error=lambda e, _: failures.append(e))
    for number in range(40):
        client.track(f"user {number % 8}", "Product Viewed", {"sku": f"S{number}"})
    client.track(
        "user 1", "Order Completed", {"revenue": 19.99, "currency": "GBP", "order_id": "o-1"}
    )
    client.flush()
    client.shutdown()
    assert failures == []
    expect(page.locator("#events_today")).to_have_text(str(before + 41), timeout=60_000)
    expect(page.locator("#active_users_now")).to_have_text("8")
    expect(page.locator("#revenue_today")).to_have_text("£19.99")
    expect(page.locator("#orders_today")).to_have_text("1")
    expect(page.locator("#status")).to_contain_text("live, approximate · as of")
    expect(page.locator("#verdict")).to_have_text(
        "✓ Every event answered 200 is counted.", timeout=60_000
    )


def test_real_browse_data_through_the_batch_route(system: System, key: str) -> None:
    with REES46.open(newline="") as file:
        rows = list(csv.DictReader(file))
    messages = [
        {
            "type": "track",
            "event": row["event_type"],
            "messageId": f"rees46:{number}",
            "userId": row["user_id"],
            "timestamp": row["event_time"].replace(" UTC", "Z"),
            "properties": {k: row[k] for k in ("product_id", "category_code", "brand", "price")},
        }
        for number, row in enumerate(rows, 1)
    ]
    for start in range(0, len(messages), 250):
        body = {"batch": messages[start : start + 250], "writeKey": key}
        assert system.post(f"{system.collector}/v1/batch", body)[0] == 200
    wanted = [
        [name, count] for name, count in sorted(Counter(r["event_type"] for r in rows).items())
    ]
    assert wanted == [["cart", 3], ["purchase", 10], ["view", 987]]

    def counted() -> bool:
        sql = (
            "SELECT JSON_VALUE(dimensions, '$.name') AS name, SUM(value) FROM daily "
            "WHERE metric = 'events' AND dimensions <> '{}' AND day = '2019-10-01' "
            "GROUP BY name ORDER BY name"
        )
        return system.sql("shop", sql) == wanted

    wait_for(counted, seconds=90, what="view, cart and purchase in the exact table")


def test_a_real_shop_to_the_penny(system: System, page: Page) -> None:
    command = (
        "beam_pipelines.run",
        "import",
        "--project=retail",
        "--source=online-retail",
        f"--input={RETAIL}",
        f"--mapping={ROOT}/examples/online_retail.toml",
    )
    first, again = system.run(*command), system.run(*command)
    assert "14,595 rows read, 14,594 events, 1 dead letters, 0 of erased" in first.stdout
    assert "14,595 rows new" in first.stdout
    assert "0 rows new" in again.stdout
    assert "100%" in first.stderr or "1.2/1.2 MB" in first.stderr  # the progress bar

    def exact() -> bool:
        sql = "SELECT SUM(value) FROM daily WHERE metric = 'revenue'"
        return system.sql("retail", sql) == [[25_297_977]]

    wait_for(exact, seconds=90, what="net revenue in the exact table")
    assert system.sql("retail", "SELECT SUM(revenue_minor), COUNT(*) FROM events") == [
        [25_297_977, 14_594]
    ]
    with RETAIL.open(newline="") as file:
        lines = [tuple(row) for row in csv.reader(file)][1:-1]
    repeated = len(lines) - len(set(lines))
    assert repeated == 258
    assert system.sql(
        "retail",
        "SELECT COUNT(*) - COUNT(DISTINCT CONCAT(properties, order_id, event_time, "
        "COALESCE(user_id, ''), country)) FROM events",
    ) == [[repeated]]
    # "12/1/10 8:26" is a day as the shop saw it
    by_day = Counter(f"2010-12-{int(line[4].split('/')[1]):02}" for line in lines)
    wanted = [list(pair) for pair in sorted(by_day.items())]
    assert (
        system.sql(
            "retail",
            "SELECT day, value FROM daily WHERE metric = 'events' AND dimensions = '{}' "
            "ORDER BY day",
        )
        == wanted
    )
    page.goto(f"{system.reports}/p/retail/daily")
    expect(page.locator("#revenue-GBP")).to_have_text("£252,979.77")
    page.goto(f"{system.reports}/p/retail/dead-letters")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text("1 fields where the header has 8")
    expect(page.locator("tbody tr td").last).to_have_text("537")
    page.goto(f"{system.reports}/p/retail/sql")
    page.get_by_role("button", name="Net revenue").click()
    expect(page.locator("#result")).to_contain_text("252979.77")


def test_a_second_start_goes_on_where_the_first_ended(system: System, key: str) -> None:
    wait_for(lambda: system.ledger("shop")["balanced"], seconds=60, what="a balanced ledger")
    before = system.ledger("shop")
    live_before = system.live("shop")["events_today"]
    assert system.kill("up", signal.SIGINT) == 0
    assert "stopped" in system.log("up")
    greetings = system.log("up").count("Try ")
    system.start("up", "headwater", "up")
    wait_for(lambda: system.log("up").count("Try ") > greetings, seconds=60, what="second start")
    keys = {line.split()[-1] for line in system.log("up").splitlines() if "Write key" in line}
    assert len(keys) == 1
    body = {"userId": "u", "event": "Back Again", "writeKey": key}
    assert system.post(f"{system.collector}/v1/track", body)[0] == 200
    wait_for(
        lambda: system.ledger("shop")["counted"] == before["counted"] + 1 and
        system.ledger("shop")["balanced"],
        seconds=90,
        what="one more, and nothing twice",
    )  # fmt: skip
    assert system.live("shop")["events_today"] == live_before + 1


def test_a_port_in_use_is_named_with_its_setting(system: System) -> None:
    other = System(system.data.parent / "other", collector_port=system.collector_port)
    done = other.run("headwater", "up", check=False)
    assert done.returncode == 1
    assert f"port {system.collector_port} on 127.0.0.1 is in use" in done.stderr
    assert "HEADWATER_COLLECTOR_PORT" in done.stderr


def test_a_data_directory_belongs_to_one_system(system: System) -> None:
    done = System(system.data).run("headwater", "up", check=False)
    assert done.returncode == 1
    assert "HEADWATER_DATA_DIR" in done.stderr
