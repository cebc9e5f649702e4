"""Reconciliation of orders with an uploaded ledger: JSON, the file of differences, the page."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from playwright.sync_api import Page, expect

from tests.reports import world
from tests.reports.browsing import fits
from tests.streams import DAY_US, NOON, order

ANSWERS = ("400",)
LEDGER = """order_id,amount,currency,date
o-same,12.50,GBP,2026-09-21
o-amount,9.99,GBP,2026-09-21
o-refund,10.00,GBP,2026-09-21
o-old,3.00,GBP,2026-09-22
=gone,1.00,GBP,2026-09-22
,5,GBP,2026-09-22
o-yen,500,JPY,2026-09-22
o-bad,1.001,GBP,2026-09-22
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("reconcile")
    world.archive(
        made,
        [
            order("same", NOON, 1250),
            order("again", NOON + 5, 1250, order_id="o-same"),  # sent twice: counts once
            order("amount", NOON, 1000),
            order("refund", NOON, 1000),
            {**order("back", NOON + DAY_US, -400, order_id="o-refund"), "name": "Order Refunded"},
            order("old", NOON - 200 * DAY_US, 300),
            order("yen", NOON + DAY_US, 500, currency="JPY"),
            order("unlisted", NOON + DAY_US, 77),
            order("later", NOON + 5 * DAY_US, 88),
            order("theirs", NOON, 5, project="other"),
        ],
    )
    return made


@pytest.fixture
def client(directory: Path) -> FlaskClient:
    return world.app(directory).test_client()


def compare(client: FlaskClient, text: str = LEDGER, query: str = "") -> Any:
    return client.post(f"/p/demo/api/reconcile{query}", data=text.encode(), content_type="text/csv")


def test_what_agrees_what_differs_and_what_is_missing(client):
    found = compare(client).get_json()
    differences = {row["order_id"]: row for row in found["differences"]}
    states = {name: row["state"] for name, row in differences.items()}
    assert states == {
        "o-amount": "amount", "o-refund": "refund", "=gone": "missing_here",
        "o-unlisted": "missing_there",
    }  # fmt: skip
    assert differences["o-amount"]["gross"]["text"] == "£10.00"
    assert differences["o-amount"]["ledger_gross"]["text"] == "£9.99"
    assert differences["o-refund"]["refunds"]["minor"] == -400
    assert differences["o-refund"]["lines"] == "4"
    assert found["bad_lines"] == [
        {"line": 7, "reason": "there is no order id"},
        {"line": 9, "reason": "amount 1.001 has more than the 2 decimals of GBP; round it before "
                              "sending"},
    ]  # fmt: skip
    totals = {(row["currency"], row["state"]): row for row in found["totals"]}
    assert totals["GBP", "matched"]["orders"] == 2
    assert totals["GBP", "matched"]["gross"]["minor"] == 1550
    assert totals["JPY", "matched"]["gross"]["text"] == "¥500" or (
        totals["JPY", "matched"]["gross"]["minor"] == 500
    )
    assert found["days"] == ["2026-09-21", "2026-09-22"]
    assert found["status"] == "exact"
    assert found["differences_in_all"] == 4


def test_the_days_may_be_said(client):
    found = compare(client, query="?first=2026-09-21&last=2026-09-30").get_json()
    missing = {r["order_id"] for r in found["differences"] if r["state"] == "missing_there"}
    assert missing == {"o-unlisted", "o-later"}


def test_all_differences_as_a_file_that_runs_nothing(client):
    answer = compare(client, query="?format=csv")
    assert answer.mimetype == "text/csv"
    assert "differences.csv" in answer.headers["Content-Disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.data.decode(), newline="")))
    assert {row["order_id"] for row in rows} == {"o-amount", "o-refund", "'=gone", "o-unlisted"}
    by_id = {row["order_id"]: row for row in rows}
    assert (by_id["o-amount"]["gross"], by_id["o-amount"]["ledger_gross"]) == ("10.00", "9.99")
    assert by_id["o-refund"]["refunds"] == "-4.00"
    assert by_id["o-unlisted"]["ledger_gross"] == ""


@pytest.mark.parametrize(
    ("text", "query", "message"),
    [
        ("", "", "the file is empty"),
        ("a,b\n1,2\n", "", "has no column order_id"),
        ("order_id,amount,currency\na,1,GBP\n", "", "the ledger has no dates; say first and last"),
        (LEDGER, "?first=soon", "first='soon' is no day"),
        (LEDGER, "?first=2026-09-30", "lies after last"),
        (LEDGER, "?currency=POUND", "currency='POUND' is unknown"),
        (LEDGER, "?last=9999-12-31", "last=9999-12-31: years 1970 to 2200"),
        (LEDGER.replace("2026-09-22", "9999-12-31"), "", "last=9999-12-31: years 1970 to 2200"),
        (LEDGER, "?first=0001-01-02", "first=0001-01-02: years 1970 to 2200"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(client, text, query, message):
    answer = compare(client, text, query)
    assert answer.status_code == 400
    assert message in answer.get_json()["message"]


def test_a_file_that_is_no_utf_8(client):
    answer = client.post("/p/demo/api/reconcile", data=b"order_id\xff", content_type="text/csv")
    assert answer.status_code == 400
    assert "byte 8 is no UTF-8" in answer.get_json()["message"]


def test_a_large_ledger_is_taken(client):
    lines = "".join(f"n-{number},1.00,GBP,2026-09-21\n" for number in range(120_000))
    found = compare(client, f"order_id,amount,currency,date\n{lines}").get_json()
    assert found["lines"] == 120_000
    assert len(found["differences"]) == 500
    assert found["differences_in_all"] > 120_000


@pytest.mark.browser
def test_the_page(address: str, page: Page, tmp_path: Path) -> None:
    (tmp_path / "ledger.csv").write_text(LEDGER)
    (tmp_path / "wrong.csv").write_text("a,b\n1,2\n")
    page.goto(f"{address}/p/demo/reconciliation")
    page.locator("#ledger").set_input_files(tmp_path / "wrong.csv")
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("alert")).to_contain_text("has no column order_id")
    page.locator("#ledger").set_input_files(tmp_path / "ledger.csv")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("#state")).to_contain_text("4 differences · exact · as of 20")
    expect(page.locator("#differences tbody tr")).to_have_count(4)
    expect(page.locator("#bad-lines tbody tr")).to_have_count(2)
    assert fits(page)
    with page.expect_download() as taken:
        page.get_by_role("button", name="Download all differences").click()
    taken.value.save_as(tmp_path / "differences.csv")
    assert (tmp_path / "differences.csv").read_text().count("\n") == 5
