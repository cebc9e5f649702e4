"""Orders against a ledger: a plain loop over dictionaries, and files that are nearly right."""

from __future__ import annotations

from collections import defaultdict
from datetime import date

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.reconcile_orders import OURS, LedgerError, Line, read_ledger, reconcile

FIRST, LAST = date(2026, 3, 1), date(2026, 3, 31)


def ours(*rows: tuple[str, str, int, int, date]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=OURS, orient="row")


def test_a_file_is_read_to_the_minor_unit():
    ledger = read_ledger(
        "Order ID,Amount,Currency,Date\r\n"
        "a-1,12.50,gbp,2026-03-02\r\n"
        '"b ""2""",-3,GBP,2026-03-03T10:00:00Z\r\n'
        "\r\n"
        "c,900,JPY,\r\n"
    )
    assert ledger.lines == [
        Line(2, "a-1", 1250, "GBP", date(2026, 3, 2)),
        Line(3, 'b "2"', -300, "GBP", date(2026, 3, 3)),
        Line(5, "c", 900, "JPY", None),
    ]
    assert ledger.bad == []
    assert ledger.days == (date(2026, 3, 2), date(2026, 3, 3))


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_other_separators_and_a_byte_order_mark(mark):
    text = "\ufefforder,total,date\n" + "a,1,2026-03-01\n"
    ledger = read_ledger(text.replace(",", mark), "EUR")
    assert ledger.lines == [Line(2, "a", 100, "EUR", date(2026, 3, 1))]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (",1,GBP,", "there is no order id"),
        ("a,1,,", "order 'a' has no currency"),
        ("a,,GBP,", "amount '' is no number"),
        ("a,1.005,GBP,", "amount 1.005 has more than the 2 decimals of GBP"),
        ('a,"1,50",GBP,', "amount '1,50' is no number"),
        ("a,£5,GBP,", "amount '£5' is no number"),
        ("a,nan,GBP,", "out of range"),
        ("a,1,POUND,", "currency 'POUND' is unknown; use its ISO 4217 code"),
        ("a,1,GBP,1/3/2026", "date '1/3/2026' is no day; write it as 2026-03-01"),
        ("a", "order 'a' has no currency"),
    ],
)
def test_a_bad_line_is_named_by_its_number_and_the_rest_goes_on(line, reason):
    ledger = read_ledger(f"order_id,amount,currency,date\nx,1,GBP,\n{line}\ny,2,GBP,\n")
    assert [one.order_id for one in ledger.lines] == ["x", "y"]
    (bad,) = ledger.bad
    assert bad.number == 3
    assert reason in bad.reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the file is empty"),
        ("\n \n", "the file is empty"),
        ("a,b\n1,2\n", "has no column order_id and no amount and no currency"),
        ("order_id,amount\n1,2\n", "has no column currency"),
        ("order_id,amount,currency\na,1\rb,2,GBP\n", "line 2: "),
    ],
)
def test_a_file_that_is_no_ledger(text, reason):
    with pytest.raises(LedgerError) as caught:
        read_ledger(text)
    assert reason in str(caught.value)


def test_each_kind_of_difference():
    here = ours(
        ("same", "GBP", 1000, -200, FIRST),
        ("amount", "GBP", 1000, 0, FIRST),
        ("refund", "GBP", 1000, -100, FIRST),
        ("currency", "GBP", 1000, 0, FIRST),
        ("forgotten", "GBP", 500, 0, LAST),
        ("elsewhere", "GBP", 500, 0, date(2026, 4, 1)),
        ("earlier", "GBP", 70, 0, date(2025, 1, 1)),
    )
    there = [
        Line(2, "same", 600, "GBP", FIRST),
        Line(3, "same", 400, "GBP", FIRST),
        Line(4, "same", -200, "GBP", LAST),
        Line(5, "amount", 999, "GBP", FIRST),
        Line(6, "refund", 1000, "GBP", FIRST),
        Line(7, "currency", 1000, "EUR", FIRST),
        Line(8, "unheard", 1, "GBP", LAST),
        Line(9, "earlier", 70, "GBP", FIRST),
    ]
    found = reconcile(here, there, (FIRST, LAST))
    states = [(r["order_id"], r["currency"], r["state"]) for r in found.rows.iter_rows(named=True)]
    assert states == [
        ("earlier", "GBP", "matched"),
        ("same", "GBP", "matched"),
        ("amount", "GBP", "amount"),
        ("refund", "GBP", "refund"),
        ("currency", "EUR", "currency"),
        ("currency", "GBP", "currency"),
        ("unheard", "GBP", "missing_here"),
        ("forgotten", "GBP", "missing_there"),
    ]
    same = found.rows.row(1, named=True)
    assert (same["gross"], same["ledger_gross"], same["refunds"], same["ledger_refunds"]) == (
        1000, 1000, -200, -200,
    )  # fmt: skip
    assert same["lines"] == "2, 3, 4"
    assert found.differences.height == 6
    totals = {(r["currency"], r["state"]): r for r in found.totals.iter_rows(named=True)}
    assert totals["GBP", "matched"]["orders"] == 2
    assert totals["GBP", "matched"]["gross"] == totals["GBP", "matched"]["ledger_gross"] == 1070
    assert totals["GBP", "missing_there"]["ledger_gross"] == 0


key = st.tuples(st.sampled_from("abcd"), st.sampled_from(["GBP", "EUR"]))
amounts = st.integers(-3, 3)


@given(
    st.dictionaries(key, st.tuples(st.integers(0, 3), st.integers(-2, 0))),
    st.lists(st.tuples(key, amounts), max_size=12),
)
def test_against_a_loop(here, there):
    lines = [Line(n, k[0], amount, k[1], FIRST) for n, (k, amount) in enumerate(there)]
    rows = [(order, code, *money, FIRST) for (order, code), money in here.items()]
    found = reconcile(ours(*rows), lines, (FIRST, LAST))
    ledger: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for k, amount in there:
        ledger[k][0 if amount > 0 else 1] += amount
    expected = {}
    for k in here.keys() | ledger.keys():
        mine, theirs = here.get(k), tuple(ledger[k]) if k in ledger else None
        if mine and theirs:
            state = "matched" if mine == theirs else "refund" if mine[0] == theirs[0] else "amount"
        elif {o for o, _ in here} & {o for o, _ in ledger} & {k[0]}:
            state = "currency"
        else:
            state = "missing_there" if mine else "missing_here"
        expected[k] = state
    got = {(r["order_id"], r["currency"]): r["state"] for r in found.rows.iter_rows(named=True)}
    assert got == expected
    assert found.totals["orders"].sum() == len(expected)
