"""Answer -> Vega-Lite: one description, drawn alike in the page and on the server.

It holds no colours: those are the theme's (`theme.config`), so one description serves light and
dark. Nothing is added up or sorted by the drawing: what a chart shows is what the table has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reports.charts.flow import flow
from reports.charts.noted import rules, said
from reports.charts.rows import Rows
from reports.charts.values import text

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
HEIGHT = 280
_POINTS = 62  # a line of more places has no dots
_FELT = 1_000  # values that one can point at on lines without dots
_BEFORE = "Previous period"
_SPOKEN = 10  # annotations that the description names
_PLAIN, _SERIES = "Value", "Series"  # titles of columns that name nothing
_CELLS = 400  # a heatmap of more has no texts
_TEXT_PX, _CELL_PX, _BESIDE_PX = 54, 14, 90  # least of a cell with and without text; names of rows
_MARKS = {
    "line": "Lines", "area": "Areas", "bar": "Bars", "stacked_bar": "Stacked bars",
    "funnel": "Funnel", "heatmap": "Heatmap", "flow": "Flow", "number": "Number",
}  # fmt: skip
_TIME_LABELS = {
    "year": "%Y", "quarter": "%b", "month": "%b", "week": "%d %b", "day": "%d %b", "date": "%d %b",
    "hours": "%H:%M", "minutes": "%H:%M", "seconds": "%H:%M:%S", "milliseconds": "%S.%L",
}  # fmt: skip
_NAMES: dict[str, Any] = {"labelLimit": 150, "labelOverlap": "greedy", "labelSeparation": 8}

Spec = dict[str, Any]


def vega_lite(answer: dict[str, Any]) -> Spec:
    """The description of an answer's chart; {} where the table alone says it.

    answer: JSON of `reports.insights.routes.as_json`. Widths are the container's.
    """
    rows = Rows(answer)
    draw = _DRAWN.get(rows.chart["mark"])
    if draw is None or not answer["rows"] or not answer["columns"]:
        return {}
    if rows.column("y") is None or (rows.chart["mark"] != "number" and rows.column("x") is None):
        return {}
    if rows.chart["mark"] in ("heatmap", "flow") and rows.column("row") is None:
        return {}
    return {
        "$schema": SCHEMA,
        "description": description(rows),
        "width": "container",
        "height": HEIGHT,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "data": {"values": rows.data},
        **_noted(rows, draw(rows)),
    }


def _noted(rows: Rows, drawn: Spec) -> Spec:
    """With rules of the annotations, where it is a chart over days or longer periods."""
    x = drawn.get("encoding", {}).get("x", {})
    marks = rules(rows, x) if x.get("field") == "x" else []
    if not marks:
        return drawn
    inner = {key: drawn[key] for key in ("encoding", "layer", "mark") if key in drawn}
    outer = {key: value for key, value in drawn.items() if key not in inner}
    return {**outer, "layer": [inner, *marks]}


def description(rows: Rows) -> str:
    """The chart in a sentence or two, for those who do not see it."""
    what = _MARKS[rows.chart["mark"]]
    shown = [f"{what} of {rows.title('y')}"]
    if rows.column("x") is not None:
        shown.append(f"by {rows.title('x')}")
    if rows.series:
        names = ", ".join(rows.series[:5])
        more = f" and {len(rows.series) - 5} more" if len(rows.series) > 5 else ""
        shown.append(f"for {names}{more}")
    numbers = [(one["y"], i) for i, one in enumerate(rows.data) if one.get("y") is not None]
    told = [" ".join(shown) + "."]
    if numbers and rows.chart["mark"] != "number":
        low, high = min(numbers)[1], max(numbers)[1]
        told.append(f"Least {_spoken(rows, low)}, greatest {_spoken(rows, high)}.")
    if rows.values("before"):
        told.append(f"Dashed: {_BEFORE.lower()}.")
    if notes := said(rows.answer, _SPOKEN):
        told.append(f"Annotations: {'; '.join(notes)}.")
    return " ".join([*told, rows.left_out, "The table has all values."]).replace("  ", " ")


def _spoken(rows: Rows, i: int) -> str:
    """A datum's value and where it is."""
    columns, one = rows.answer["columns"], rows.data[i]
    y, x = rows.at[rows.chart["y"]], rows.at.get(rows.chart.get("x") or "")
    value = one.get(f"t{y}") or text(one["y"], columns[y]["unit"])
    return value if x is None else f"{value} at {one.get(f't{x}') or one.get('x')}"


def _x(rows: Rows, *, banded: bool = False) -> Spec:
    """The x axis. banded: marks have a width, so that each value is a place of its own."""
    title = {"title": rows.title("x")}
    hidden = {"title": None} if rows.is_temporal else {}  # days and hours say what they are
    if rows.is_temporal and not rows.is_doubled and not banded:
        axis = {
            "format": _TIME_LABELS,
            "labelOverlap": "greedy",
            "labelSeparation": 8,
            "tickCount": 8,
            **hidden,
        }
        return {
            "field": "x", "type": "temporal", "scale": {"type": "utc"}, "axis": axis, **title,
        }  # fmt: skip
    if rows.unit("x") not in ("label", "time") and not banded:
        return {"field": "x", "type": "quantitative", "axis": {"tickMinStep": 1}, **title}
    axis = {**_NAMES, **hidden}
    if rows.is_temporal and not rows.is_doubled:
        shape = "%d %b" if rows.is_by_day else "%H:%M" if rows.is_within_a_day else "%d %b %H:%M"
        axis["labelAngle"] = 0
        axis["labelExpr"] = f"utcFormat(datum.value, '{shape}')"
    return {"field": "x", "type": "ordinal", "sort": None, "axis": axis, **title}


def _y(rows: Rows, **more: Any) -> Spec:
    scale = rows.scale
    word = f" ({scale.word})" if scale.word and len(rows.currencies) < 2 else ""
    named = rows.title("y") if rows.title("y") != _PLAIN else ""
    if not named and len(rows.series) == 1:
        named = rows.series[0]
    title = (named + word).strip() or None
    axis = {"format": scale.format, "tickCount": 5}
    return {"field": "y", "type": "quantitative", "title": title, "axis": axis, **more}


def _color(rows: Rows) -> Spec:
    if not rows.color or len(rows.series) < 2:  # the axis has the name of an only one
        return {}
    title = None if rows.title("color") == _SERIES else rows.title("color") or "Currency"
    legend = {"orient": "bottom", "title": title, "labelLimit": 160, "symbolLimit": 40,
              "symbolOpacity": 1}  # fmt: skip
    scale = {"domain": [one for one in rows.series if any(d["color"] == one for d in rows.data)]}
    return {"color": {"field": "color", "type": "nominal", "scale": scale, "legend": legend}}


def _line(rows: Rows) -> Spec:
    shared = {"x": _x(rows), **_color(rows)}
    line = {"mark": {"type": "line", "strokeWidth": 2.25}, "encoding": {"y": _y(rows)}}
    layers = [*_bounds(rows, "area"), *_line_before(rows), line, *_points(rows, "y")]
    return {"encoding": shared, "layer": layers}


def _line_before(rows: Rows) -> list[Spec]:
    """What was there a period before, at the same places: dashed and dimmer."""
    if not rows.values("before"):
        return []
    legend = {"orient": "bottom", "title": None, "symbolType": "stroke", "symbolSize": 400}
    dash = {"datum": _BEFORE, "type": "nominal", "scale": {"range": [[4, 4]]}, "legend": legend}
    line = {
        "mark": {"type": "line", "strokeWidth": 1.75, "opacity": 0.6},
        "encoding": {"y": {**_y(rows), "field": "before"}, "strokeDash": dash},
    }
    return [line, *_points(rows, "before")]


def _points(rows: Rows, field: str) -> list[Spec]:
    """What tips belong to: dots where there are few, else places that are felt and not seen.

    A line itself is one thing to the drawing: a tip of it would be that of its first value.
    """
    places = len({str(one["x"]) for one in rows.data})
    if places > _POINTS and len(rows.data) > _FELT:
        return []
    is_seen = places <= _POINTS and field == "y"
    mark = {"type": "point", "filled": True, "size": 28, "opacity": 1 if is_seen else 0}
    return [{"mark": mark, "encoding": {"y": {**_y(rows), "field": field}, "tooltip": rows.tips()}}]


def _area(rows: Rows) -> Spec:
    mark = {"type": "area", "line": {"strokeWidth": 1.5}, "opacity": 0.75}
    # An order of colours that is the rows', so that page, legend and table agree.
    encoding = {"x": _x(rows), "y": _y(rows, stack="zero"), **_color(rows), "tooltip": rows.tips()}
    return {"mark": mark, "encoding": encoding}


def _bounds(rows: Rows, mark: str) -> list[Spec]:
    """Band or whiskers of an estimate."""
    column = rows.column("y")
    if column is None or not (column["low"] in rows.at and column["high"] in rows.at):
        return []
    style = (
        {"type": mark, "opacity": 0.18} if mark == "area" else {"type": mark, "style": "whisker"}
    )
    return [
        {"mark": style, "encoding": {"y": {**_y(rows), "field": "low"}, "y2": {"field": "high"}}}
    ]


def _bar(rows: Rows) -> Spec:
    stack = "zero" if rows.chart["mark"] == "stacked_bar" else None
    if rows.unit("x") == "label" and not rows.is_temporal and not _bounds(rows, "rule"):
        return _lying(rows, stack)
    encoding = {"x": _x(rows, banded=True), **_color(rows)}
    bars: Spec = {
        "mark": {"type": "bar", "cornerRadiusEnd": 2},
        "encoding": {"y": _y(rows, stack=stack), "tooltip": rows.tips()},
    }
    if rows.color and not stack:
        bars["encoding"]["xOffset"] = {"field": "color", "sort": None}
    return {"encoding": encoding, "layer": [bars, *_bounds(rows, "rule")]}


def _lying(rows: Rows, stack: str | None) -> Spec:
    """Names are read from left to right, so their bars lie."""
    y = _names(rows)
    encoding = {"y": y, "x": _y(rows, stack=stack), **_color(rows), "tooltip": rows.tips()}
    if rows.color and not stack:
        encoding["yOffset"] = {"field": "color", "sort": None}
    step = 24 if stack or not rows.series else max(24, 13 * len(rows.series))
    bars = {"mark": {"type": "bar", "cornerRadiusEnd": 2}, "encoding": encoding}
    return {"height": {"step": step, "for": "position"}, **bars}


def _names(rows: Rows) -> Spec:
    """The places of x from top to bottom. Their title is read out, not drawn."""
    axis = {"labelLimit": 150, "labelOverlap": False, "title": None}
    return {"field": "x", "type": "ordinal", "sort": None, "title": rows.title("x"), "axis": axis}


def _funnel(rows: Rows) -> Spec:
    """Steps from top to bottom, each with its number and its share of the first."""
    first: dict[str, float] = {}
    count: dict[str, int] = {}
    places = [(one.get("color", ""), one["x"]) for one in rows.data]
    is_twice = len(set(places)) < len(places)  # two equal steps are two places
    data = []
    for one in rows.data:
        series = one.get("color", "")
        count[series] = count.get(series, 0) + 1
        top = first.setdefault(series, one["y"] or 0)
        share = (
            f" · {one['y'] / top:.1%}".replace("%", " %") if top and one["y"] is not None else ""
        )
        number = one.get(f"t{rows.at[rows.chart['y']]}", "")
        data.append(
            {
                **one,
                "x": f"{count[series]}. {one['x']}" if is_twice else one["x"],
                "text": f"{number}{share}",
            }
        )
    y = _names(rows)
    most = max((one["y"] or 0 for one in data), default=0)
    # Room for the text behind the longest bar.
    room = {"domain": [0, most * 1.35 or 1], "nice": False}  # the page widens it where it is narrow
    encoding = {"y": y, "x": _y(rows, stack=None, scale=room), "tooltip": rows.tips()}
    if rows.color:
        encoding["yOffset"] = {"field": "color", "sort": None}
    told = {**encoding, "text": {"field": "text"}}
    bars = {"mark": {"type": "bar", "cornerRadiusEnd": 3}, "encoding": {**encoding, **_color(rows)}}
    texts = {
        "mark": {"type": "text", "align": "left", "dx": 6, "style": "value"},
        "encoding": told,
    }
    step = max(36, 20 * len(rows.series))
    return {
        "usermeta": {"most": most},
        "data": {"values": data},
        "height": {"step": step, "for": "position"},
        "layer": [bars, texts],
    }


def _heatmap(rows: Rows) -> Spec:
    """Cells in the order of the rows, light where there is little."""
    numbers = [one["y"] for one in rows.data if one["y"] is not None]
    middle = (max(numbers, default=0) + min(numbers, default=0)) / 2
    place = rows.at[rows.chart["y"]]
    data = [
        {**one, "x": _cell(rows, "x", one), "row": _cell(rows, "row", one)} for one in rows.data
    ]
    shared = {
        "x": {"field": "x", "type": "ordinal", "sort": None, "title": rows.title("x"),
              "axis": {"orient": "top", "labelAngle": 0, "titleAnchor": "start", **_NAMES}},
        "y": {"field": "row", "type": "ordinal", "sort": None, "title": None,
              "axis": {"labelLimit": 150}},
    }  # fmt: skip
    legend = {
        "title": rows.title("y"), "format": rows.scale.format, "orient": "bottom",
        "gradientLength": 220, "tickCount": 5, "labelOverlap": "greedy", "labelSeparation": 8,
    }  # fmt: skip
    color = {"field": "y", "type": "quantitative", "scale": {"zero": True}, "legend": legend}
    drawn = {"filter": "isValid(datum.y)"}
    layers: list[Spec] = [
        {
            "transform": [drawn],
            "mark": {"type": "rect", "style": "cell"},
            "encoding": {"color": color, "tooltip": rows.tips()},
        }
    ]
    columns = len({one["x"] for one in data if one["y"] is not None})
    has_texts = len(data) <= _CELLS and columns <= 13 and place < 12
    if has_texts:
        layers += [
            {
                "transform": [drawn, {"filter": f"datum.y {operator} {middle!r}"}],
                "mark": {"type": "text", "style": style},
                "encoding": {"text": {"field": f"t{place}"}},
            }
            for operator, style in (("<=", "on-light"), (">", "on-dark"))
        ]
    return {
        "usermeta": {"least": _BESIDE_PX + columns * (_TEXT_PX if has_texts else _CELL_PX)},
        "data": {"values": data},
        "height": {"step": 26},
        "encoding": shared,
        "layer": layers,
    }


def _cell(rows: Rows, role: str, one: Spec) -> str:
    """A place of a heatmap is a name, whatever it is otherwise."""
    place = rows.at[rows.chart[role]]
    return str(one.get(f"t{place}", one[role]))


def _flow(rows: Rows) -> Spec:
    return flow(rows)


def _number(rows: Rows) -> Spec:
    place = rows.at[rows.chart["y"]]
    mark = {"type": "text", "style": "figure"}
    data = [{"text": rows.data[0].get(f"t{place}", str(rows.data[0]["y"]))}]
    return {
        "data": {"values": data},
        "height": 80,
        "mark": mark,
        "encoding": {"text": {"field": "text"}},
    }


_DRAWN: dict[str, Callable[[Rows], Spec]] = {
    "line": _line,
    "area": _area,
    "bar": _bar,
    "stacked_bar": _bar,
    "funnel": _funnel,
    "heatmap": _heatmap,
    "flow": _flow,
    "number": _number,
}
