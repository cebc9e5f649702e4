"""Colours of charts, light and dark: the tokens of site.css, as a Vega-Lite config.

The colours of series stay apart with red-green and blue-yellow colour blindness, and each has a
contrast of 3 : 1 or more with its ground (WCAG 2.1, 1.4.11); tests/reports/test_charts.py measures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

Theme = Literal["light", "dark"]
THEMES: tuple[Theme, ...] = get_args(Theme)
FONT = "system-ui, 'Liberation Sans', Arial, sans-serif"


@dataclass(frozen=True)
class Colours:
    """ground and ink: of cards and text; soft: of labels; low, high: ends of a heatmap."""

    ground: str
    ink: str
    soft: str
    line: str
    low: str
    high: str
    series: tuple[str, ...]


COLOURS: dict[Theme, Colours] = {
    "light": Colours(
        ground="#ffffff",
        ink="#17211f",
        soft="#5c6b68",
        line="#e2e7e5",
        low="#e4f1ef",
        high="#0b5f58",
        series=(
            "#0f766e", "#ec4913", "#a355f1", "#890b0b",
            "#1313ec", "#49165a", "#8383c3", "#5a1627",
        ),
    ),
    "dark": Colours(
        ground="#161e1c",
        ink="#e6edeb",
        soft="#93a3a0",
        line="#263230",
        low="#1d2f2c",
        high="#4fd1c1",
        series=(
            "#4fd1c1", "#efc034", "#c034ef", "#cb3f10",
            "#97aff7", "#257793", "#cbe189", "#da6c6c",
        ),
    ),
}  # fmt: skip


LEGEND_PX = 185  # of an entry in a legend; the page counts with it too


def config(theme: Theme, width: float = 720) -> dict[str, Any]:
    """What a description needs to be drawn in a theme, so wide in px."""
    colours = COLOURS[theme]
    beside = max(1, min(6, int(width // LEGEND_PX)))
    text = {"labelColor": colours.soft, "titleColor": colours.soft, "titleFontWeight": 500}
    quiet = {"domain": False, "ticks": False, "gridColor": colours.line, "labelFontSize": 11}
    return {
        "background": "transparent",
        "font": FONT,
        "padding": 4,
        "view": {"stroke": None},
        "axis": {**text, **quiet, "labelPadding": 6, "titleFontSize": 11, "titlePadding": 8},
        "axisX": {"grid": False, "domain": True, "domainColor": colours.line},
        "axisQuantitative": {"grid": True, "domain": False},
        "legend": {
            **text,
            "columns": beside,
            "labelFontSize": 12,
            "titleFontSize": 11,
            "symbolType": "circle",
        },
        "line": {"strokeJoin": "round", "strokeCap": "round"},
        "mark": {"color": colours.series[0]},
        "range": {
            "category": list(colours.series),
            "heatmap": [colours.low, colours.high],
            "ramp": [colours.low, colours.high],
        },
        "style": {
            "value": {"color": colours.ink, "fill": colours.ink, "fontSize": 12},
            "figure": {
                "color": colours.ink,
                "fill": colours.ink,
                "fontSize": 40,
                "fontWeight": 600,
            },
            "on-light": {"color": colours.ink, "fill": colours.ink, "fontSize": 11},
            "on-dark": {"color": colours.ground, "fill": colours.ground, "fontSize": 11},
            "cell": {"stroke": colours.ground, "strokeWidth": 1.5},
            "whisker": {"color": colours.ink, "strokeWidth": 1.5, "opacity": 1},
            "band": {"fill": colours.series[0], "fillOpacity": 0.32},
            "noted": {"color": colours.soft, "strokeWidth": 1},
            "note": {"color": colours.ink, "fill": colours.ink, "fontSize": 11},
            "note-ground": {
                "fill": colours.ground,
                "stroke": colours.ground,
                "strokeWidth": 4,
                "opacity": 0.85,
            },
            "node": {"fill": colours.series[0]},
        },
    }
