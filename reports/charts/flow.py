"""Flows: nodes in columns and bands between them, laid out here, since Vega-Lite has none."""

from __future__ import annotations

from typing import Any

from reports.charts.rows import Rows
from reports.charts.values import number_of, plain_number

_GAP = 0.02  # of the height, between nodes of a column
_NODE = 0.012  # of the width
_POINTS = 16  # of a band's edge
_HEIGHT = 420

Node = tuple[int, str]
Link = tuple[Node, Node, float, dict[str, Any]]


def links_of(rows: Rows) -> list[Link]:
    """From, to, how much, datum. Columns are counted from 0."""
    depths = _depths(rows)
    found = []
    for depth, one in zip(depths, rows.data, strict=True):
        if one["y"]:
            found.append(((depth, str(one["row"])), (depth + 1, str(one["x"])), one["y"], one))
    return found


def _depths(rows: Rows) -> list[int]:
    """Of each row: the column `color` or `depth`; without one, all are one step."""
    name = next((n for n in (rows.chart.get("color"), "depth") if n in rows.at), None)
    if name is None:
        return [0] * len(rows.data)
    place = rows.at[name]
    read = [number_of(row[place]) for row in rows.answer["rows"][: len(rows.data)]]
    order = sorted({n for n in read if n is not None})
    return [order.index(n) if n is not None else 0 for n in read]


def layout(links: list[Link]) -> tuple[dict[Node, tuple[float, float]], float]:
    """Node -> (top, bottom) in [0, 1], and the height of one unit."""
    into: dict[Node, float] = {}
    out: dict[Node, float] = {}
    for source, target, size, _ in links:
        out[source] = out.get(source, 0) + size
        into[target] = into.get(target, 0) + size
    sizes = {node: max(into.get(node, 0), out.get(node, 0)) for node in {**out, **into}}
    columns: dict[int, list[Node]] = {}
    for node in sorted(sizes, key=lambda node: (-sizes[node], node[1])):
        columns.setdefault(node[0], []).append(node)
    most = max(len(column) for column in columns.values())
    gap = min(_GAP, 0.5 / most)
    total = max(sum(sizes[node] for node in column) for column in columns.values())
    unit = (1 - gap * (most - 1)) / total
    places = {}
    for column in columns.values():
        top = 0.0
        for node in column:
            places[node] = (top, top + sizes[node] * unit)
            top = places[node][1] + gap
    return places, unit


def flow(rows: Rows) -> dict[str, Any]:
    """Layers of the chart."""
    links = links_of(rows)
    if not links:
        return {"mark": "rect", "encoding": {}}
    places, unit = layout(links)
    last = max(depth for depth, _ in places) or 1
    edge = 1 - _NODE
    at = {node: node[0] / last * edge for node in places}
    leaves = {node: top for node, (top, _) in places.items()}
    enters = dict(leaves)
    bands = []
    # Bands leave and enter in the order of what they join, so that few cross.
    for i, (source, target, size, one) in enumerate(
        sorted(links, key=lambda link: (places[link[0]][0], places[link[1]][0]))
    ):
        start, end, height = leaves[source], enters[target], size * unit
        leaves[source] += height
        enters[target] += height
        tips = {key: value for key, value in one.items() if key[0] == "t"}
        for step in range(_POINTS + 1):
            share = step / _POINTS
            bent = share * share * (3 - 2 * share)
            top = start + (end - start) * bent
            here = at[source] + _NODE + (at[target] - at[source] - _NODE) * share
            bands.append({"band": i, "px": here, "top": top, "bottom": top + height, **tips})
    names = [_named(node, places[node], at[node], links, at[node] > 0.6) for node in places]
    x = {"field": "px", "type": "quantitative", "axis": None, "scale": {"domain": [0, 1]}}
    y = {"type": "quantitative", "axis": None, "scale": {"domain": [0, 1], "reverse": True}}
    area = {
        "data": {"values": bands},
        "mark": {"type": "area", "style": "band"},
        "encoding": {
            "x": x,
            "y": {"field": "top", **y},
            "y2": {"field": "bottom"},
            "detail": {"field": "band", "type": "nominal"},
            "tooltip": rows.tips(),
        },
    }
    nodes = {
        "data": {"values": names},
        "mark": {"type": "rect", "style": "node"},
        "encoding": {
            "x": x,
            "x2": {"field": "right"},
            "y": {"field": "top", **y},
            "y2": {"field": "bottom"},
            "tooltip": [{"field": "text", "type": "nominal", "title": "Here"}],
        },
    }
    texts = [_texts(names, x, y, is_right) for is_right in (False, True)]
    return {
        "usermeta": {"columns": last + 1},
        "data": {"values": []},
        "height": _HEIGHT,
        "layer": [area, nodes, *texts],
    }


def _named(
    node: Node, place: tuple[float, float], x: float, links: list[Link], is_right: bool
) -> dict[str, Any]:
    through = max(
        sum(size for source, _, size, _ in links if source == node),
        sum(size for _, target, size, _ in links if target == node),
    )
    return {
        "px": x,
        "right": x + _NODE,
        "top": place[0],
        "bottom": place[1],
        "middle": sum(place) / 2,
        "text": f"{node[1]} · {plain_number(through)}",
        "is_right": is_right,
    }


def _texts(names: list[Any], x: Any, y: Any, is_right: bool) -> dict[str, Any]:
    """Names stand right of their node, those near the right edge left of it."""
    mark = {"type": "text", "align": "right" if is_right else "left", "dx": -4 if is_right else 4}
    return {
        "data": {"values": [one for one in names if one["is_right"] == is_right]},
        "mark": {**mark, "baseline": "middle", "style": "value", "limit": 170},
        "encoding": {
            "x": {**x, "field": "px" if is_right else "right"},
            "y": {**y, "field": "middle"},
            "text": {"field": "text"},
        },
    }
