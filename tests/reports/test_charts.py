"""Charts: the picture has the table's numbers, at the right places, in words, and in colours."""

from __future__ import annotations

import json
import math
import re
from datetime import datetime
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import vl_convert
from hypothesis import given
from hypothesis import strategies as st

from reports.charts.bundle import Bundle
from reports.charts.drawn import drawn, trust_line
from reports.charts.flow import layout, links_of
from reports.charts.picture import Box, chart_svg, converted, sheet
from reports.charts.rows import MOST_ROWS, MOST_SERIES, Rows
from reports.charts.spec import vega_lite
from reports.charts.theme import COLOURS, THEMES, Theme, config
from reports.charts.values import duration, number_of, text, total_text, wall_clock_ms
from tests.reports import charted
from tests.reports.charted import answer, column, scene

SVG = "{http://www.w3.org/2000/svg}"


def bars(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """Bars and cells of the plot, in the order of the rows; frames and legends are none."""
    return [i for i in scene(answer) if i["marktype"] == "rect" and "description" in i]


# -- Descriptions.


@pytest.mark.parametrize("name", charted.DRAWN)
@pytest.mark.parametrize("theme", THEMES)
def test_every_mark_is_drawn_in_both_themes(name: str, theme: Theme) -> None:
    svg = chart_svg(vega_lite(charted.DRAWN[name]), theme, 600)
    root = ElementTree.fromstring(svg)
    assert float(root.get("width", "0")) == pytest.approx(600, abs=40)
    assert any(e.tag in (f"{SVG}path", f"{SVG}text") for e in root.iter())


def test_bars_are_as_long_as_the_numbers_say() -> None:
    found = bars(charted.BAR)
    assert [i["description"].split("; ")[1] for i in found] == [
        "Name: b.c[0]", "Name: <a&b>", "Name: c",
    ]  # fmt: skip
    assert [i["y"] for i in found] == sorted(i["y"] for i in found)
    widths = [i["width"] for i in found]
    assert widths[0] == pytest.approx(3 * widths[1])
    assert widths[2] == 0


def test_stacked_bars_lie_on_one_another() -> None:
    found = bars(charted.STACKED)
    assert len(found) == 6
    tallest = max(i.get("y", 0) + i["height"] for i in found)
    by_day: dict[str, float] = {}
    for item in found:
        day = next(p for p in item["description"].split("; ") if p.startswith("Day"))
        by_day[day] = by_day.get(day, 0) + item["height"]
    heights = sorted(by_day.values())  # 0+1, 10+11, 20+21
    assert heights[2] / heights[1] == pytest.approx(41 / 21)
    assert tallest == pytest.approx(vega_lite(charted.STACKED)["height"])


def test_a_funnel_keeps_two_equal_steps_apart_and_says_shares() -> None:
    assert len(bars(charted.FUNNEL)) == 3
    texts = [i["text"] for i in scene(charted.FUNNEL) if i["marktype"] == "text" and "text" in i]
    assert {"1. View", "2. View", "3. Buy"} <= set(texts)
    assert {"200 · 100.0 %", "50 · 25.0 %", "10 · 5.0 %"} <= set(texts)


def test_an_empty_cell_of_a_heatmap_is_not_drawn() -> None:
    found = bars(charted.HEAT)
    assert len(found) == 3
    assert len({(i.get("x"), i.get("y")) for i in found}) == 3
    assert not any("null" in i["description"] for i in found)


def test_a_band_spans_the_bounds() -> None:
    data = vega_lite(charted.BANDED)["data"]["values"]
    assert [(one["low"], one["y"], one["high"]) for one in data] == [
        (4, 5, 7), (5, 6, 8), (6, 7, 9),
    ]  # fmt: skip
    assert any(i["marktype"] == "area" for i in scene(charted.BANDED))


def test_a_flow_keeps_amounts() -> None:
    places, unit = layout(links_of(Rows(charted.FLOW)))
    sizes = {node: (bottom - top) / unit for node, (top, bottom) in places.items()}
    assert sizes == pytest.approx(
        {(0, "Home"): 100, (1, "Shop"): 60, (1, "Help"): 40, (2, "Buy"): 30, (2, "Home"): 25}
    )
    for (first, one), (second, other) in combinations(places.items(), 2):
        if first[0] == second[0]:  # nodes of a column do not lie on one another
            assert one[1] <= other[0] or other[1] <= one[0]
    assert max(bottom for _, bottom in places.values()) <= 1 + 1e-9


def test_money_is_in_whole_units_of_its_own_currency() -> None:
    spec = vega_lite(charted.MONEY)
    found = {(one["color"], one["y"], one["t2"]) for one in spec["data"]["values"]}
    assert found == {
        ("GBP", 123.45, "£123.45"), ("JPY", 12345, "JP¥12,345"), ("GBP", -0.5, "-£0.50"),
        ("KWD", 1.5, "KWD\u00a01.500"),
    }  # fmt: skip


def test_series_of_one_name_in_two_currencies_stay_two() -> None:
    rows = [["2026-03-01", "Net", "GBP", 100], ["2026-03-01", "Net", "EUR", 100]]
    columns = [column("t", "time"), column("s"), column("currency"), column("v", "money")]
    made = Rows(answer(columns, rows, "line", x="t", y="v", color="s"))
    assert made.series == ["Net GBP", "Net EUR"]


@pytest.mark.parametrize("mark", ["line", "bar", "heatmap", "flow", "table"])
def test_nothing_and_names_that_are_not_there_draw_nothing(mark: str) -> None:
    assert vega_lite(answer([column("a")], [], mark, x="a", y="a", row="a")) == {}
    assert vega_lite(answer([column("a")], [["x"]], mark, x="gone", y="gone")) == {}


def test_too_much_is_cut_and_said() -> None:
    columns = [column("x", "number"), column("s"), column("n", "count")]
    many = answer(columns, [[0, f"s{i}", i] for i in range(40)], "line", x="x", y="n", color="s")
    assert len(vega_lite(many)["data"]["values"]) == MOST_SERIES
    assert "the first 30 of 40 series" in drawn(many)["notes"][-1]
    long = answer(columns, [[i, "s", i] for i in range(6000)], "line", x="x", y="n")
    assert len(vega_lite(long)["data"]["values"]) == MOST_ROWS
    assert "the first 5,000 of 6,000 rows" in drawn(long)["notes"][-1]


# -- Time.


def test_times_are_those_of_the_wall() -> None:
    rows = [["2026-07-01T00:00:00+01:00", 1], ["2026-07-01T01:00:00+01:00", 2]]
    made = vega_lite(
        answer([column("t", "time"), column("n", "count")], rows, "line", x="t", y="n")
    )
    assert made["data"]["values"][0]["x"] == 1782864000000  # 2026-07-01T00:00:00Z
    assert made["encoding"]["x"]["scale"] == {"type": "utc"}


def test_the_hour_that_comes_twice_is_two_places() -> None:
    rows = [[f"2026-10-25T{hour}", n] for n, hour in enumerate(
        ("00:00:00+01:00", "01:00:00+01:00", "01:00:00+00:00", "02:00:00+00:00"))]  # fmt: skip
    made = vega_lite(
        answer([column("t", "time"), column("n", "count")], rows, "line", x="t", y="n")
    )
    assert [one["x"] for one in made["data"]["values"]] == [
        "2026-10-25 00:00 +01:00", "2026-10-25 01:00 +01:00",
        "2026-10-25 01:00 +00:00", "2026-10-25 02:00 +00:00",
    ]  # fmt: skip
    assert made["encoding"]["x"]["type"] == "ordinal"


@given(st.datetimes(min_value=datetime(1970, 1, 2)))
def test_wall_clock_reads_back(at: datetime) -> None:
    shown = at.replace(microsecond=0).isoformat()
    back = np.datetime64(wall_clock_ms(shown + "+05:30"), "ms")
    assert str(back.astype("datetime64[s]")) == shown


# -- Texts.


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (1234567, "count", "1,234,567"),
        ("9007199254740993", "count", "9,007,199,254,740,993"),
        (0.1234, "ratio", "12.3 %"),
        (None, "count", "\u2013"),
        (1234.5678, "number", "1,234.6"),
        (0.00012345, "number", "0.000123"),
        (-3.14159, "number", "-3.14"),
        (0.25, "seconds", "250 ms"),
        (59.94, "seconds", "59.9 s"),
        (3600, "seconds", "1 h"),
        (90061, "seconds", "1 day 1 h"),
        (172800, "seconds", "2 days"),
        (1536, "bytes", "1.5 kB"),
        (0, "bytes", "0 bytes"),
        ("2026-03-01T10:20:30+01:00", "time", "2026-03-01 10:20"),
        (True, "label", "True"),
    ],
)
def test_texts(value: Any, unit: str, shown: str) -> None:
    assert text(value, unit) == shown


def test_money_texts() -> None:
    assert text(1999, "money", "EUR") == "€19.99"
    assert text(1999, "money", "???") == "1,999 minor units"
    assert total_text("Net revenue GBP", 1999, "money") == "£19.99"
    assert total_text("LCP of money", 1999, "money") == "1,999 minor units"
    assert total_text("Net", {"text": "£1.00"}, "money") == "£1.00"


@given(st.floats(min_value=0, max_value=1e9))
def test_a_duration_is_close_to_what_it_says(seconds: float) -> None:
    sizes = {"day": 86400, "days": 86400, "h": 3600, "min": 60, "s": 1, "ms": 0.001}
    parts = re.findall(r"([\d.,e+-]+) (\w+)", duration(seconds))
    said = sum(float(n.replace(",", "")) * sizes[unit] for n, unit in parts)
    assert said == pytest.approx(seconds, rel=0.05, abs=0.001)


@pytest.mark.parametrize("value", [True, None, "x", "", "1e", {}, "nan", "inf", math.inf, math.nan])
def test_what_is_no_number(value: Any) -> None:
    assert number_of(value) is None


def test_the_trust_line_says_status_times_people_and_zone() -> None:
    assert trust_line({**charted.LINE, "status": "approximate", "error": 0.016}) == [
        "Approximate ± 1.6 %", "as of 2026-03-01 12:00", "complete until 2026-03-01 11:59",
        "people: user id, or anonymous id where there is none", "Europe/London",
    ]  # fmt: skip


def test_what_was_never_written_has_no_time() -> None:
    assert trust_line({**charted.LINE, "as_of": None})[:2] == ["Exact", "nothing there yet"]


def test_the_description_names_numbers_and_extremes() -> None:
    said = vega_lite(charted.LINE)["description"]
    assert said == (
        "Lines of N by Day for a, b. Least 0 at 2026-03-01, greatest 21 at 2026-03-03. "
        "The table has all values."
    )


# -- Colours.


def _linear(colour: str) -> np.ndarray:
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


# Machado, Oliveira & Fernandes (IEEE TVCG 15, 2009), severity 1, of linear RGB.
_SEEN = {
    "full": np.eye(3),
    "protan": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                        [-0.003882, -0.048116, 1.051998]]),
    "deutan": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                        [-0.011820, 0.042940, 0.968881]]),
    "tritan": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                        [0.004733, 0.691367, 0.303900]]),
}  # fmt: skip
_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def _lab(rgb: np.ndarray) -> np.ndarray:
    xyz = _TO_XYZ @ np.clip(rgb, 0, 1) / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("seen", _SEEN)
def test_series_stay_apart(theme: Theme, seen: str) -> None:
    labs = {c: _lab(_SEEN[seen] @ _linear(c)) for c in COLOURS[theme].series}
    apart = {(a, b): float(np.linalg.norm(labs[a] - labs[b])) for a, b in combinations(labs, 2)}
    assert min(apart.values()) > 20, sorted(apart.items(), key=lambda kv: kv[1])[:4]


@pytest.mark.parametrize("theme", THEMES)
def test_series_and_labels_have_contrast(theme: Theme) -> None:
    colours = COLOURS[theme]

    def ratio(a: str, b: str) -> float:
        light, dark = sorted((float(_TO_XYZ[1] @ _linear(c)) for c in (a, b)), reverse=True)
        return (light + 0.05) / (dark + 0.05)

    assert min(ratio(c, colours.ground) for c in colours.series) >= 3
    assert min(ratio(c, colours.ground) for c in (colours.ink, colours.soft)) >= 4.5
    assert ratio(colours.ground, colours.high) >= 4.5
    assert ratio(colours.ink, colours.low) >= 4.5


# -- Pictures.


def test_a_sheet_holds_every_panel_and_is_a_picture_in_each_format() -> None:
    boxes = [Box(name, 6, drawn(one)) for name, one in charted.DRAWN.items()]
    boxes += [Box("<Table>", 12, drawn(charted.TABLE)), Box("Broken", 4, note="Not computable: x")]
    svg = sheet("A & B", "sub", boxes, "light")
    root = ElementTree.fromstring(svg)
    texts = "\n".join("".join(e.itertext()) for e in root.iter(f"{SVG}text"))
    for wanted in ("A & B", "<Table>", "Not computable: x", "1 h 1 min", "funnel", "1,234,567"):
        assert wanted in texts
    ids = [e.get("id") for e in root.iter() if e.get("id")]
    assert len(ids) == len(set(ids)), "panels share ids: one would be drawn with another's clip"
    assert converted(svg, "png").startswith(b"\x89PNG\r\n")
    assert converted(svg, "pdf").startswith(b"%PDF-")


def test_a_long_table_says_what_it_leaves_out() -> None:
    rows = [[f"r{i}", i] for i in range(30)]
    long = answer([column("a"), column("b", "count")], rows, "table")
    svg = sheet("T", "", [Box("Long", drawn=drawn(long))], "dark")
    assert "… and 18 more rows." in svg


def test_no_description_reaches_for_anything_outside() -> None:
    spec = vega_lite(charted.LINE)
    spec["data"] = {"url": "https://example.org/data.json"}
    with pytest.raises(ValueError, match=r"example\.org|not allowed|denied"):
        chart_svg(spec, "light", 300)


def test_the_script_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Bundle(tmp_path).compressed()
    monkeypatch.setattr(vl_convert, "javascript_bundle", lambda *_, **__: pytest.fail("made again"))
    assert Bundle(tmp_path).compressed() == first
    assert list(tmp_path.iterdir()) == [tmp_path / f"{Bundle(tmp_path).name}.gz"]
    assert json.dumps(config("light"))  # both themes are plain JSON
