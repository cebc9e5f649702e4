"""Charts over time: the period before as a second line, and rules for what was noted of a day."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Any

import pytest

from reports.charts.drawn import drawn
from reports.charts.noted import with_notes
from reports.charts.picture import Box, chart_svg, sheet
from reports.charts.spec import vega_lite
from reports.charts.theme import COLOURS, THEMES, Theme
from tests.reports import charted
from tests.reports.charted import answer, column, scene

FIRST = date(2026, 3, 2)  # a Monday


def days(count: int, step: int = 1, first: date = FIRST) -> list[str]:
    return [(first + timedelta(step * n)).isoformat() for n in range(count)]


def compared(now: list[Any], then: list[Any], unit: str = "count") -> dict[str, Any]:
    """A trend beside the days before it."""
    columns = [
        column("time", "time"), column("series"), column("currency"), column("value", unit),
        column("previous_time", "time"), column("previous", unit),
    ]  # fmt: skip
    before = days(len(now), first=FIRST - timedelta(len(now)))
    zipped = zip(days(len(now)), before, now, then, strict=True)
    rows = [[day, "Sales", "GBP", value, past, was] for day, past, value, was in zipped]
    return answer(columns, rows, "line", x="time", y="value", color="series", before="previous")


def over(x: list[str], mark: str = "line", **chart: str) -> dict[str, Any]:
    """A number for each of these times."""
    rows = [[at, 10 + n] for n, at in enumerate(x)]
    return answer([column("t", "time"), column("n", "count")], rows, mark, x="t", y="n", **chart)


def marks(found: list[dict[str, Any]], kind: str, **having: Any) -> list[dict[str, Any]]:
    """Items that are drawn, not the frames around them."""
    items = [one for one in found if one["marktype"] == kind and "items" not in one]
    return [one for one in items if all(one.get(name) == value for name, value in having.items())]


def rules(found: list[dict[str, Any]]) -> dict[str, float]:
    """Where each rule of a note stands, px; by its text."""
    said = [one for one in marks(found, "rule") if "Annotation: " in one.get("description", "")]
    return {one["description"].split("Annotation: ")[1].split("; ")[0]: one["x"] for one in said}


def labels(found: list[dict[str, Any]]) -> list[str]:
    return [one["text"] for one in marks(found, "text", angle=90) if "Annotation" in one.get(
        "description", "")]  # fmt: skip


def points(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What tips belong to."""
    return marks(found, "symbol", ariaRoleDescription="point")


# -- The period before.


def test_the_period_before_is_a_dashed_dimmer_line_at_the_same_places() -> None:
    found = scene(compared([10, 20, 40], [20, 40, 10]))
    dashed = marks(found, "line", strokeDash=[4, 4])
    solid = [one for one in marks(found, "line") if not one.get("strokeDash")]
    assert len(dashed) == len(solid) == 3
    assert [one["x"] for one in dashed] == [one["x"] for one in solid]
    # 20, 40, 10 stand as high as the same numbers of the present stand.
    assert [one["y"] for one in dashed] == [solid[at]["y"] for at in (1, 2, 0)]
    assert {one["opacity"] for one in dashed} == {0.6}


def test_a_legend_and_words_say_what_is_dashed() -> None:
    spec = vega_lite(compared([1, 2], [2, 1]))
    assert "Dashed: previous period." in spec["description"]
    assert "Previous period" in [one.get("text") for one in scene(compared([1, 2], [2, 1]))]


def test_points_of_both_lines_name_both_dates() -> None:
    said = [one["description"] for one in points(scene(compared([1, 2], [5, 6])))]
    assert len(said) == 4, "two of each line"
    for day, before in (("Mar 02, 2026", "2026-02-28"), ("Mar 03, 2026", "2026-03-01")):
        assert sum(f"Time: {day}" in s and f"Previous_Time: {before}" in s for s in said) == 2


@pytest.mark.parametrize("count", [10, 90])
def test_each_value_of_a_line_can_be_pointed_at(count: int) -> None:
    found = points(scene(over(days(count))))
    assert len({one["x"] for one in found}) == len(found) == count
    assert {one["opacity"] for one in found} == ({1} if count == 10 else {0})


def test_money_of_before_is_in_whole_units_too() -> None:
    data = vega_lite(compared([1250], [99], "money"))["data"]["values"]
    assert [(one["y"], one["before"]) for one in data] == [(12.5, 0.99)]


def test_nothing_is_dashed_where_nothing_is_compared() -> None:
    assert "Dashed" not in vega_lite(charted.LINE)["description"]
    assert not marks(scene(charted.LINE), "line", strokeDash=[4, 4])


# -- Notes.


def test_a_rule_stands_at_its_day_with_its_label() -> None:
    made = with_notes(over(days(10)), {"Launch": FIRST + timedelta(4)})
    found = scene(made)
    places = [one["x"] for one in points(found)]
    assert rules(found) == {"Launch": pytest.approx(places[4])}
    assert labels(found) == ["Launch"]
    assert "Annotations: 2026-03-06 Launch." in vega_lite(made)["description"]


@pytest.mark.parametrize("mark", ["line", "area", "bar", "stacked_bar"])
def test_every_chart_over_days_has_them_in_both_themes(mark: str) -> None:
    made = with_notes(over(days(7), mark), {"Launch": FIRST + timedelta(2)})
    assert list(rules(scene(made))) == ["Launch"]
    for theme in THEMES:
        assert ">Launch</text>" in chart_svg(vega_lite(made), theme, 500)


def test_a_rule_of_bars_is_in_the_middle_of_its_bar() -> None:
    made = with_notes(over(days(7), "bar"), {"Launch": FIRST + timedelta(2)})
    found = scene(made)
    third = [one for one in marks(found, "rect") if "description" in one][2]
    assert rules(found)["Launch"] == pytest.approx(third["x"] + third["width"] / 2)


def test_a_note_stands_at_the_week_or_month_that_it_lies_in() -> None:
    weeks = over(days(4, 7), grain="week")
    found = scene(with_notes({**weeks, "days": [days(4, 7)[0], "2026-03-29"]}, {
        "Thursday": date(2026, 3, 12), "Sunday, the last day": date(2026, 3, 29),
    }))  # fmt: skip
    places = [one["x"] for one in points(found)]
    assert rules(found) == {
        "Thursday": pytest.approx(places[1]), "Sunday, the last day": pytest.approx(places[3]),
    }  # fmt: skip
    months = over(["2026-01-20", "2026-02-01", "2026-03-01"], grain="month")  # the first is cut
    found = scene(with_notes({**months, "days": ["2026-01-20", "2026-03-31"]}, {
        "January": date(2026, 1, 25), "March": date(2026, 3, 31), "Before": date(2026, 1, 19),
    }))  # fmt: skip
    places = [one["x"] for one in points(found)]
    assert rules(found) == {"January": pytest.approx(places[0]), "March": pytest.approx(places[2])}


def test_notes_of_other_days_are_not_there() -> None:
    notes = {"Before": FIRST - timedelta(1), "After": FIRST + timedelta(10)}
    made = with_notes(over(days(10)), notes)
    assert made["annotations"] == []
    assert rules(scene(made)) == {}


def test_a_day_that_bars_leave_out_has_no_place() -> None:
    made = with_notes(over(days(3, 2), "bar"), {"Between": FIRST + timedelta(1)})
    assert [one["text"] for one in made["annotations"]] == ["Between"]
    assert rules(scene(made)) == {}
    assert len([one for one in marks(scene(made), "rect") if "description" in one]) == 3


def test_hours_have_no_rules_and_other_charts_a_list_alone() -> None:
    notes = {"Launch": FIRST}
    hours = {**over([f"2026-03-02T0{n}:00:00+00:00" for n in range(4)]), "days": [str(FIRST)] * 2}
    funnel = {**charted.FUNNEL, "days": [str(FIRST), str(FIRST)]}
    for one in (hours, funnel):
        made = with_notes(one, notes)
        assert rules(scene(made)) == {}
        assert drawn(made)["annotations"] == [{"date": "2026-03-02", "text": "Launch"}]
        assert "2026-03-02 Launch" in vega_lite(made)["description"]
    assert drawn(with_notes(charted.FUNNEL, notes))["annotations"] == []  # of unknown days


def test_rules_close_together_share_a_label_and_are_all_drawn() -> None:
    notes = {"One": FIRST, "Two": FIRST + timedelta(1), "Far": FIRST + timedelta(40)}
    found = scene(with_notes(over(days(90)), notes))
    assert list(rules(found)) == ["One", "Two", "Far"]
    assert sorted(labels(found)) == ["Far", "One · Two"]


def test_a_label_is_no_longer_than_the_plot_is_high_and_stays_in_it() -> None:
    long = "x" * 200
    found = scene(with_notes(over(days(10)), {long: FIRST + timedelta(9)}))
    (label,) = [one for one in marks(found, "text", angle=90) if "description" in one]
    assert label["limit"] == pytest.approx(280 - 8)
    assert label["baseline"] == "top", "left of its rule, which stands at the right end"


def test_markup_in_a_note_is_text() -> None:
    made = with_notes(over(days(3)), {"<script>x</script> & co": FIRST})
    svg = sheet("T", "", [Box("B", drawn=drawn(made))], "light")
    assert "<script" not in svg
    assert "&lt;script&gt;x&lt;/script&gt; &amp; co" in svg


def test_of_many_notes_the_words_name_some_and_count_the_rest() -> None:
    made = with_notes(over(days(40)), {f"N{n}": FIRST + timedelta(n) for n in range(40)})
    said = vega_lite(made)["description"]
    assert ("N9;" in said, "N10" in said, "and 30 more annotations" in said) == (True, False, True)
    assert len(rules(scene(made))) == 40


@pytest.mark.parametrize("theme", THEMES)
def test_a_picture_lists_the_notes(theme: Theme) -> None:
    made = drawn(with_notes(over(days(3)), {"Launch": FIRST}))
    assert ">2026-03-02 Launch</text>" in sheet("T", "", [Box("B", drawn=made)], theme)


@pytest.mark.parametrize("theme", THEMES)
def test_rules_and_whiskers_are_seen_in_both_themes(theme: Theme) -> None:
    banded = {**charted.BANDED, "chart": {**charted.BANDED["chart"], "mark": "bar"}}
    noted = with_notes(over(days(3)), {"Launch": FIRST})
    for made, colour in ((banded, COLOURS[theme].ink), (noted, COLOURS[theme].soft)):
        svg = chart_svg(vega_lite(made), theme, 400)
        marks = re.findall(r'<line[^>]*aria-roledescription="rule mark"[^>]*>', svg)
        assert marks
        assert all(f'stroke="{colour}"' in one for one in marks)


# -- Cells that keep their texts apart.


def test_cells_with_texts_are_wide_enough_for_them() -> None:
    wide = answer(
        [column("start", "time"), column("later", "count"), column("share", "ratio")],
        [[day, n, 1.0] for day in days(3) for n in range(13)],
        "heatmap", x="later", y="share", row="start",
    )  # fmt: skip
    spec = vega_lite(wide)
    found = scene(wide, width=spec["usermeta"]["least"])
    cells = [one for one in marks(found, "rect") if "description" in one]
    texts = [one for one in marks(found, "text") if one.get("text") == "100.0 %"]
    assert len(cells) == len(texts) == 39
    # 7 signs of 11 px: digits are at most 0.6 of the font's size wide, the point and space 0.3.
    assert min(one["width"] for one in cells) >= 11 * (5 * 0.6 + 2 * 0.3)


def test_columns_without_any_cell_take_no_room() -> None:
    rows = [["2026-03-02", n, 1.0 if n < 3 else None] for n in range(10)]
    columns = [column("start", "time"), column("later", "count"), column("share", "ratio")]
    heat, only = (
        answer(columns, some, "heatmap", x="later", y="share", row="start")
        for some in (rows, rows[:3])
    )
    assert len([one for one in marks(scene(heat), "rect") if "description" in one]) == 3
    assert vega_lite(heat)["usermeta"] == vega_lite(only)["usermeta"]
