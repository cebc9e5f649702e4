"""Orders against a ledger file that somebody uploads: page, JSON, and the differences as CSV."""

from __future__ import annotations

import csv
import io
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl
import pyarrow as pa
from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue

from reports.access.needs import needs
from reports.insights.routes import source_of
from reports.insights.source import Source
from reports.present import money, when
from reports.query.here import page, zone_of
from transforms.csv_safe import safe
from transforms.grid import day_span_us, local_day
from transforms.money import MoneyError, exponent
from transforms.reconcile_orders import (
    STATES,
    Ledger,
    LedgerError,
    Reconciled,
    read_ledger,
    reconcile,
)
from transforms.revenue import MONEY, PLACE, repeated_orders, settled

bp = Blueprint("reconcile", __name__)
_MAX_BYTES = 64 << 20
_YEARS = range(1970, 2201)  # times are microseconds since the first
_SHOWN = 500  # differences on the page; the CSV has all
_AMOUNTS = ("gross", "refunds", "ledger_gross", "ledger_refunds")


@bp.get("/p/<project>/reconciliation")
@needs("viewer")
def reconcile_page(project: str) -> str:
    """Compare orders with a ledger file."""
    return page("reconcile.html", project, zone=zone_of(project))


@bp.post("/p/<project>/api/reconcile")
@needs("viewer")
def reconcile_json(project: str) -> ResponseReturnValue:
    """A ledger, CSV as the body, against the orders here; 400 with a message.

    Columns order_id, amount, currency and date. ?first=2026-03-01&last=2026-03-31: days whose
    orders the ledger must have, else from its first date to its last; ?currency=GBP: of lines that
    name none; ?format=csv: all differences as a file.
    """
    request.max_content_length = _MAX_BYTES
    source = source_of(project)
    try:
        text = request.get_data().decode("utf-8")
        ledger = read_ledger(text, _currency())
        days = _days(ledger)
    except UnicodeDecodeError as error:
        return jsonify(message=f"byte {error.start} is no UTF-8; save the file as UTF-8"), 400
    except LedgerError as error:
        return jsonify(message=str(error)), 400
    found = reconcile(orders(source, [line.order_id for line in ledger.lines], days),
                      ledger.lines, days)  # fmt: skip
    if request.args.get("format") == "csv":
        return _csv(found)
    return jsonify(
        days=[day.isoformat() for day in days],
        lines=len(ledger.lines),
        bad_lines=[{"line": bad.number, "reason": bad.reason} for bad in ledger.bad],
        states=STATES,
        totals=[_amounts(row) for row in found.totals.iter_rows(named=True)],
        differences=[_amounts(r) for r in found.differences.head(_SHOWN).iter_rows(named=True)],
        differences_in_all=found.differences.height,
        status="exact",
        as_of=when(source.as_of, source.zone),
        complete_until=when(source.complete_until, source.zone),
    )


def _currency() -> str:
    code = request.args.get("currency", "").upper()
    try:
        exponent(code or "GBP")
    except MoneyError:
        raise LedgerError(f"currency={code!r} is unknown; use its ISO 4217 code") from None
    return code


def _days(ledger: Ledger) -> tuple[date, date]:
    known = ledger.days or (date.min, date.min)
    first, last = _day("first") or known[0], _day("last") or known[1]
    if date.min in (first, last):
        raise LedgerError("the ledger has no dates; say first and last, the days that it covers")
    if first > last:
        raise LedgerError(f"first={first} lies after last={last}")
    for name, day in (("first", first), ("last", last)):  # said, or the ledger's own
        if day.year not in _YEARS:
            raise LedgerError(f"{name}={day}: years {_YEARS[0]} to {_YEARS[-1]}")
    return first, last


def _day(name: str) -> date | None:
    text = request.args.get(name, "")
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise LedgerError(f"{name}={text!r} is no day; write it as 2026-03-01") from None


def orders(source: Source, ids: list[str], days: tuple[date, date]) -> pl.DataFrame:
    """Orders here: those with one of the ids, and those of the days, in the project's zone.

    Columns as transforms.reconcile_orders.OURS. Raises QueryFailed.
    """
    start, end = day_span_us(days[0], source.zone)[0], day_span_us(days[1], source.zone)[1]
    named = pa.table({"id": pa.array(sorted(set(ids)), pa.string())})
    places = ", ".join(f"e.{name}" for name in PLACE)
    # All events of each order that has one in the days or in the ledger: refunds come later.
    sql = f"""
        WITH wanted AS (
            SELECT id FROM ledger_ids UNION
            SELECT order_id FROM events WHERE order_id IS NOT NULL
                AND event_time >= make_timestamptz({start})
                AND event_time < make_timestamptz({end})
        )
        SELECT {", ".join(f"e.{name}" for name in MONEY)}, e.name, {places},
            epoch_us(e.event_time)::BIGINT AS event_time,
            epoch_us(e.received_time)::BIGINT AS received_time
        FROM events AS e WHERE e.order_id IN (SELECT id FROM wanted)
    """
    read = source.warehouse.read(source.project, sql, extra={"ledger_ids": named})
    source.as_of, source.complete_until = read.as_of, read.complete_until
    rows = pl.from_arrow(read.table)
    assert isinstance(rows, pl.DataFrame)
    counted = settled(rows, repeated_orders(rows)).drop_nulls(("order_id", "revenue_minor"))
    amount = pl.col("revenue_minor")
    return counted.group_by("order_id", "currency").agg(
        gross=amount.filter(amount > 0).sum(),
        refunds=amount.filter(amount < 0).sum(),
        day=local_day("event_time", source.zone).min(),
    )


def _amounts(row: dict[str, Any]) -> dict[str, Any]:
    """A row in JSON's values, each amount in minor units and as text."""
    found = {name: value for name, value in row.items() if name not in _AMOUNTS}
    if isinstance(found.get("day"), date):
        found["day"] = found["day"].isoformat()
    for name in _AMOUNTS:
        found[name] = None if row[name] is None else money(row[name], row["currency"])
    return found


def _csv(found: Reconciled) -> Response:
    """All differences, amounts in whole units with their decimals."""
    text = io.StringIO()
    out = csv.writer(text)
    rows = found.differences
    out.writerow(rows.columns)
    for row in rows.iter_rows(named=True):
        decimals = exponent(row["currency"])
        cells = [
            str(Decimal(value).scaleb(-decimals)) if name in _AMOUNTS and value is not None
            else "" if value is None else safe(str(value))
            for name, value in row.items()
        ]  # fmt: skip
        out.writerow(cells)
    head = {"Content-Disposition": 'attachment; filename="differences.csv"'}
    return Response(text.getvalue().encode(), mimetype="text/csv", headers=head)
