"""An answer as pages take it: its texts, its trust in one line, and how it is drawn."""

from __future__ import annotations

from typing import Any

from reports.charts.rows import Rows
from reports.charts.spec import vega_lite
from reports.charts.values import text, total_text

MOST_SHOWN = 1_000  # rows of a table on a page


def drawn(answer: dict[str, Any]) -> dict[str, Any]:
    """What `show` of static/chart.js takes.

    answer: JSON of `reports.insights.routes.as_json`, as it is or out of `noted.with_notes`. Its
    rows become `texts`, the first MOST_SHOWN of `row_count`; `totals` get a text; `trust` says how
    far the numbers go; `spec` is the chart's description, {} where there is none.
    """
    rows = Rows(answer)
    units = [column["unit"] for column in answer["columns"]]
    texts = [
        [text(value, unit, rows.currency(row)) for value, unit in zip(row, units, strict=True)]
        for row in answer["rows"][:MOST_SHOWN]
    ]
    totals = [
        {**one, "text": total_text(one["title"], one["value"], one["unit"])}
        for one in answer["totals"]
    ]
    left_out = [rows.left_out] if rows.left_out else []
    return {
        **{key: value for key, value in answer.items() if key != "rows"},
        "texts": texts,
        "row_count": len(answer["rows"]),
        "totals": totals,
        "notes": [*answer["notes"], *left_out],
        "annotations": answer.get("annotations", []),
        "trust": trust_line(answer),
        "spec": vega_lite(answer),
    }


def trust_line(answer: dict[str, Any]) -> list[str]:
    """How far the numbers can be trusted, in parts: status, as of, complete until, who, where."""
    status = str(answer["status"] or "no table read")
    if answer.get("error"):
        status += f" ± {answer['error']:.1%}".replace("%", " %")
    as_of = f"as of {_moment(answer['as_of'])}" if answer["as_of"] else "nothing there yet"
    parts = [status[:1].upper() + status[1:], as_of]
    if answer.get("complete_until"):
        parts.append(f"complete until {_moment(answer['complete_until'])}")
    if answer.get("identity"):
        parts.append(f"people: {answer['identity']}")
    if answer.get("time_zone"):
        parts.append(str(answer["time_zone"]))
    return parts


def _moment(iso: str) -> str:
    return iso[:16].replace("T", " ")
