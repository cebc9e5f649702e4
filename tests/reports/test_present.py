"""Values as people see them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.present import clock, money, number, percent, when
from reports.warehouse.shown import plain
from tests.reports.world import us


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [
        (25_297_977, "GBP", "£252,979.77"),
        (100, "GBP", "£1.00"),
        (-150, "GBP", "-£1.50"),
        (0, "GBP", "£0.00"),
        (5000, "JPY", "JP¥5,000"),
        (-1, "JPY", "-JP¥1"),
        (12_345, "KWD", "KWD\u00a012.345"),
        (1, "KWD", "KWD\u00a00.001"),
        (2**63 - 1, "EUR", "€92,233,720,368,547,758.07"),
    ],
)
def test_money_has_the_decimals_of_its_currency(minor: int, currency: str, text: str) -> None:
    assert money(minor, currency) == {"currency": currency, "minor": minor, "text": text}


@given(st.integers(-(2**63), 2**63 - 1), st.sampled_from([("GBP", 2), ("JPY", 0), ("KWD", 3)]))
def test_no_digit_of_money_is_lost(minor: int, currency: tuple[str, int]) -> None:
    code, decimals = currency
    text = money(minor, code)["text"]
    digits = "".join(c for c in text if c.isdigit())
    assert int(digits) == abs(minor)
    assert text.startswith("-") == (minor < 0)
    assert len(text.partition(".")[2]) == decimals


@pytest.mark.parametrize(
    ("at", "zone", "text"),
    [
        # Both 01:30 of the night when the clocks go back, an hour apart.
        (us(2026, 10, 25, 0, 30), "Europe/London", "2026-10-25T01:30:00+01:00"),
        (us(2026, 10, 25, 1, 30), "Europe/London", "2026-10-25T01:30:00+00:00"),
        (us(2026, 3, 29, 1), "Europe/London", "2026-03-29T02:00:00+01:00"),
        (us(2026, 1, 1), "Asia/Kathmandu", "2026-01-01T05:45:00+05:45"),
        (-1, "UTC", "1969-12-31T23:59:59+00:00"),
    ],
)
def test_an_instant_in_the_zone_of_the_site(at: int, zone: str, text: str) -> None:
    assert when(at, zone) == text
    assert when(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at), zone) == text


def test_what_is_not_there_is_a_dash() -> None:
    assert when(None, "UTC") is None
    assert {clock(None), percent(None), number(None)} == {"\u2013"}
    assert clock("2010-12-01T08:26:00+00:00") == "2010-12-01 08:26:00"
    assert (percent(0.1234), percent(0), percent(1)) == ("12.3 %", "0.0 %", "100.0 %")
    assert (number(0), number(-1234567)) == ("0", "-1,234,567")


def test_json_keeps_every_digit() -> None:
    assert plain([2**53 - 1, 2**53, -(2**63)]) == [2**53 - 1, str(2**53), str(-(2**63))]
    assert plain([float("inf"), float("nan"), True, None]) == ["inf", "nan", True, None]
    assert plain({"a": (b"\xffx", datetime(2026, 1, 1, tzinfo=UTC))}) == {
        "a": ["\ufffdx", "2026-01-01T00:00:00+00:00"]
    }
