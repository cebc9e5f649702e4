"""Orders as events have them against a ledger file: what agrees, what differs, what is missing.

All by order id and currency, in whole minor units. Pure: text and columns in, rows out.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal

import polars as pl

from transforms.money import MoneyError, to_minor

State = Literal["matched", "amount", "refund", "currency", "missing_here", "missing_there"]
STATES: dict[State, str] = {
    "matched": "the same here and in the ledger",
    "amount": "another amount",
    "refund": "the same amount, other refunds",
    "currency": "another currency",
    "missing_here": "in the ledger, not here",
    "missing_there": "here, not in the ledger",
}
# What a ledger may call its columns, in lower case with spaces as _.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "order_id": ("order_id", "order", "order_number", "order_no", "id"),
    "amount": ("amount", "total", "revenue", "gross"),
    "currency": ("currency", "currency_code"),
    "date": ("date", "day", "order_date", "booked", "created_at"),
}
_DELIMITERS = (",", ";", "\t")
OURS = {"order_id": pl.String, "currency": pl.String, "gross": pl.Int64, "refunds": pl.Int64,
        "day": pl.Date}  # fmt: skip
_SIDE = ("gross", "refunds")
_KEY = ("order_id", "currency")


class LedgerError(ValueError):
    """The file as a whole cannot be read; the message says why and what to do."""


@dataclass(frozen=True)
class Line:
    """One line of a ledger. number: in the file, from 1; amount: minor units, refunds below 0."""

    number: int
    order_id: str
    amount: int
    currency: str
    day: date | None


@dataclass(frozen=True)
class BadLine:
    """A line that cannot be read, and why."""

    number: int
    reason: str


@dataclass(frozen=True)
class Ledger:
    """What a file says."""

    lines: list[Line]
    bad: list[BadLine]

    @property
    def days(self) -> tuple[date, date] | None:
        """First and last; None where no line has a date."""
        days = [line.day for line in self.lines if line.day]
        return (min(days), max(days)) if days else None


def read_ledger(text: str, currency: str = "") -> Ledger:
    """CSV with a header: order id, amount in whole units with decimals, currency, date.

    currency: of lines that name none. Raises LedgerError; what is wrong in a line is a BadLine.
    """
    rows = [f"{row}\n" for row in text.removeprefix("\ufeff").split("\n")]
    if not text.strip():
        raise LedgerError("the file is empty; it needs a header and a line for each order")
    delimiter = max(_DELIMITERS, key=rows[0].count)
    reader = csv.reader(rows, delimiter=delimiter, strict=False)
    try:
        head = next(reader)
        at = _columns(head, currency)
        ledger = Ledger([], [])
        for cells in reader:
            if any(cell.strip() for cell in cells):
                _take(ledger, reader.line_num, cells, at, currency)
    except csv.Error as error:
        raise LedgerError(f"line {reader.line_num}: {error}; is it a CSV file?") from None
    return ledger


def _columns(head: list[str], currency: str) -> dict[str, int]:
    named = [cell.strip().lower().replace(" ", "_") for cell in head]
    at = {
        name: named.index(alias)
        for name, aliases in _NAMES.items()
        for alias in aliases[::-1]
        if alias in named
    }
    wanted = [name for name in ("order_id", "amount") if name not in at]
    if "currency" not in at and not currency:
        wanted.append("currency")
    if wanted:
        raise LedgerError(
            f"the header {', '.join(head)[:200]!r} has no column {' and no '.join(wanted)}; "
            "it needs order_id, amount, currency and may have date"
        )
    return at


def _take(
    ledger: Ledger, number: int, cells: list[str], at: Mapping[str, int], currency: str
) -> None:
    def cell(name: str) -> str:
        place = at.get(name)
        return cells[place].strip() if place is not None and place < len(cells) else ""

    order_id, code = cell("order_id"), cell("currency").upper() or currency
    if not order_id:
        ledger.bad.append(BadLine(number, "there is no order id"))
        return
    if not code:
        ledger.bad.append(BadLine(number, f"order {order_id!r} has no currency"))
        return
    try:
        amount = to_minor(cell("amount"), code)
        day = date.fromisoformat(cell("date")[:10]) if cell("date") else None
    except MoneyError as error:
        said = str(error).replace("revenue", "amount", 1).replace("send its", "use its")
        ledger.bad.append(BadLine(number, said))
        return
    except ValueError:
        said = f"date {cell('date')!r} is no day; write it as 2026-03-01"
        ledger.bad.append(BadLine(number, said))
        return
    ledger.lines.append(Line(number, order_id, amount, code, day))


@dataclass(frozen=True)
class Reconciled:
    """What came of it.

    rows:   order_id, currency, state, gross, refunds (ours), ledger_gross, ledger_refunds, lines
            (numbers in the file, with commas), day; sorted by state, order id and currency; null
            where a side has none
    totals: by currency and state: orders, gross and refunds of both sides
    """

    rows: pl.DataFrame
    totals: pl.DataFrame

    @property
    def differences(self) -> pl.DataFrame:
        """All rows that do not match."""
        return self.rows.filter(pl.col("state") != "matched")


def reconcile(ours: pl.DataFrame, lines: Iterable[Line], days: tuple[date, date]) -> Reconciled:
    """Both sides together.

    ours: OURS, each (order_id, currency) once: all orders that the ledger names, of any day, and
          all of the days; one that the ledger lacks is missing there only if it is of these days
    """
    theirs = _grouped(lines)
    both = ours.select(*OURS).join(theirs, on=_KEY, how="full", coalesce=True)
    here, there = pl.col("gross").is_not_null(), pl.col("ledger_gross").is_not_null()
    same = {name: pl.col(name) == pl.col(f"ledger_{name}") for name in _SIDE}
    known_here = pl.col("order_id").is_in(ours["order_id"].unique().implode())
    known_there = pl.col("order_id").is_in(theirs["order_id"].unique().implode())
    state = (
        pl.when(here & there & same["gross"] & same["refunds"])
        .then(pl.lit("matched"))
        .when(here & there & same["gross"])
        .then(pl.lit("refund"))
        .when(here & there)
        .then(pl.lit("amount"))
        .when(known_here & known_there)
        .then(pl.lit("currency"))
        .when(there)
        .then(pl.lit("missing_here"))
        .otherwise(pl.lit("missing_there"))
    )
    rows = both.with_columns(state=state, day=pl.coalesce("day", "ledger_day")).filter(
        (pl.col("state") != "missing_there") | pl.col("day").is_between(*days)
    )
    order = pl.col("state").replace_strict(
        {s: n for n, s in enumerate(STATES)}, return_dtype=pl.Int8
    )
    columns = (*_KEY, "state", *_SIDE, *(f"ledger_{name}" for name in _SIDE), "lines", "day")
    rows = rows.sort(order, *_KEY).select(columns)
    totals = rows.group_by("currency", "state").agg(
        pl.len().cast(pl.Int64).alias("orders"),
        *(pl.col(c).fill_null(0).sum() for c in (*_SIDE, "ledger_gross", "ledger_refunds")),
    )
    return Reconciled(rows, totals.sort("currency", order))


def _grouped(lines: Iterable[Line]) -> pl.DataFrame:
    """Of several lines of an order the amounts and the refunds are added up."""
    schema = {"number": pl.Int64, "order_id": pl.String, "amount": pl.Int64, "currency": pl.String,
              "ledger_day": pl.Date}  # fmt: skip
    rows = [(one.number, one.order_id, one.amount, one.currency, one.day) for one in lines]
    amount = pl.col("amount")
    return (
        pl.DataFrame(rows, schema=schema, orient="row")
        .group_by(_KEY)
        .agg(
            ledger_gross=amount.filter(amount > 0).sum(),
            ledger_refunds=amount.filter(amount < 0).sum(),
            lines=pl.col("number").sort().cast(pl.String).str.join(", "),
            ledger_day=pl.col("ledger_day").min(),
        )
    )
