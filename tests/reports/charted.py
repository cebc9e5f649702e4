"""Answers for the tests of charts: the JSON that questions give, made by hand."""

from __future__ import annotations

from typing import Any

import vl_convert

from reports.charts.bundle import VEGA_LITE
from reports.charts.spec import vega_lite
from reports.charts.theme import config


def column(name: str, unit: str = "label", *, low: str = "", high: str = "") -> dict[str, str]:
    return {"name": name, "title": name.title(), "unit": unit, "low": low, "high": high}


def answer(
    columns: list[dict[str, str]], rows: list[list[Any]], mark: str, **chart: str
) -> dict[str, Any]:
    usual = {"x": "", "y": "", "color": "", "row": "", "x_title": "", "y_title": ""}
    return {
        "kind": "made",
        "question": {"dates": "last_7_days"},
        "columns": columns,
        "rows": rows,
        "chart": {"mark": mark, **usual, **chart},
        "totals": [{"title": "All", "value": 1234, "unit": "count"}],
        "notes": ["A note."],
        "status": "exact",
        "error": 0.0,
        "as_of": "2026-03-01T12:00:00+00:00",
        "complete_until": "2026-03-01T11:59:00+00:00",
        "time_zone": "Europe/London",
        "identity": "user id, or anonymous id where there is none",
        "elapsed_ms": 3,
    }


def scene(answer: dict[str, Any], width: int = 600) -> list[dict[str, Any]]:
    """All marks' items that the drawing library made of it."""
    spec = {**vega_lite(answer), "width": width}
    made = vl_convert.vegalite_to_scenegraph(spec, vl_version=VEGA_LITE, config=config("light"))
    found: list[dict[str, Any]] = []

    def walk(node: dict[str, Any], marktype: str) -> None:
        found.append({**node, "marktype": marktype})
        for item in node.get("items", []):
            walk(item, node.get("marktype", marktype))

    walk(made["scenegraph"], "")
    return found


DAYS = ["2026-03-01", "2026-03-02", "2026-03-03"]
LINE = answer(
    [column("day", "time"), column("name"), column("n", "count")],
    [[day, name, i * 10 + j] for j, name in enumerate(["a", "b"]) for i, day in enumerate(DAYS)],
    "line",
    x="day",
    y="n",
    color="name",
)
BANDED = answer(
    [column("day", "time"), column("n", "number", low="l", high="h"), column("l", "number"),
     column("h", "number")],
    [[day, 5 + i, 4 + i, 7 + i] for i, day in enumerate(DAYS)], "line", x="day", y="n",
)  # fmt: skip
AREA = {**LINE, "chart": {**LINE["chart"], "mark": "area"}}
BAR = answer(
    [column("name"), column("n", "count")],
    [["b.c[0]", 30], ["<a&b>", 10], ["c", 0]],
    "bar",
    x="name",
    y="n",
)
STACKED = {**LINE, "chart": {**LINE["chart"], "mark": "stacked_bar"}}
FUNNEL = answer(
    [column("step"), column("people", "count")],
    [["View", 200], ["View", 50], ["Buy", 10]],
    "funnel",
    x="step",
    y="people",
)
HEAT = answer(
    [column("start", "time"), column("later", "count"), column("share", "ratio")],
    [["2026-03-01", 0, 1.0], ["2026-03-01", 1, 0.25], ["2026-03-02", 0, 1.0],
     ["2026-03-02", 1, None]],
    "heatmap", x="later", y="share", row="start",
)  # fmt: skip
FLOW = answer(
    [column("depth", "count"), column("from"), column("to"), column("people", "count")],
    [[1, "Home", "Shop", 60], [1, "Home", "Help", 40], [2, "Shop", "Buy", 30],
     [2, "Shop", "Home", 20], [2, "Help", "Home", 5]],
    "flow", x="to", row="from", y="people", color="depth",
)  # fmt: skip
NUMBER = answer([column("n", "count")], [[1234567]], "number", y="n")
TABLE = answer([column("a"), column("b", "seconds")], [["x", 3661.0]], "table")
MONEY = answer(
    [column("day", "time"), column("currency"), column("net", "money")],
    [["2026-03-01", "GBP", 12345], ["2026-03-01", "JPY", 12345], ["2026-03-02", "GBP", -50],
     ["2026-03-02", "KWD", 1500]],
    "line", x="day", y="net",
)  # fmt: skip
DRAWN = {
    "line": LINE, "banded": BANDED, "area": AREA, "bar": BAR, "stacked": STACKED, "funnel": FUNNEL,
    "heat": HEAT, "flow": FLOW, "number": NUMBER, "money": MONEY,
}  # fmt: skip
