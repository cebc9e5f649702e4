"""Notes of days, such as a launch: which belong to an answer, and rules for its chart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from reports.charts.rows import Rows
from reports.charts.values import wall_clock_ms
from transforms.grid import Grain, first_day, last_day

_APART = 0.04  # of the axis: labels of rules that stand closer share one
_EDGE = 0.9  # of the axis: from here on labels stand left of their rule
_DROP_PX, _BESIDE_PX = 4, 3  # of a label from the top of the plot, and from its rule

Spec = dict[str, Any]


def with_notes(answer: dict[str, Any], notes: Mapping[str, date]) -> dict[str, Any]:
    """The answer with `annotations`, [{date, text}]: those of its days, in their order.

    notes: text -> day, of the project. A query of one's own says no days: then those of its chart.
    """
    days = answer.get("days") or _days_of(Rows(answer))
    first, last = (date.fromisoformat(day) for day in days) if days else (date.max, date.min)
    found = sorted((day, text) for text, day in notes.items() if first <= day <= last)
    return {
        **answer,
        "annotations": [{"date": day.isoformat(), "text": text} for day, text in found],
    }


def _days_of(rows: Rows) -> tuple[str, str] | None:
    """The first and last day of a chart over days."""
    return (min(rows.values("x")), max(rows.values("x"))) if rows.is_by_day else None


def said(answer: dict[str, Any], most: int) -> list[str]:
    """Each note in a line, but for those beyond so many, which are counted."""
    notes = answer.get("annotations", [])
    more = len(notes) - most
    lines = [f"{one['date']} {one['text']}" for one in notes[:most]]
    return [*lines, f"and {more:,} more annotations"] if more > 0 else lines


@dataclass(frozen=True)
class _Rule:
    """A rule of the chart. share: how far along the axis it stands, 0 to 1; label: beside it."""

    x: int
    date: str
    text: str
    share: float
    label: str = ""


def rules(rows: Rows, x: Spec) -> list[Spec]:
    """Layers with a thin rule and its label for each note, at the period that it lies in.

    x: encoding of the chart's axis. Charts by the hour, and those of no time, have none.
    """
    found = _labelled(_placed(rows, is_banded=x["type"] == "ordinal"))
    if not found:
        return []
    tips = [
        {"field": "date", "type": "nominal", "title": "Day"},
        {"field": "text", "type": "nominal", "title": "Annotation"},
    ]
    values = [{"x": r.x, "date": r.date, "text": r.text, "label": r.label} for r in found]
    drawn: list[Spec] = [
        {"data": {"values": values}, "mark": {"type": "rule", "style": "noted"},
         "encoding": {"x": x, "tooltip": tips}},
    ]  # fmt: skip
    for is_left in (False, True):
        shown = [
            value
            for value, rule in zip(values, found, strict=True)
            if rule.label and (rule.share > _EDGE) == is_left
        ]
        if shown:
            drawn += _labels(shown, x, tips, is_left=is_left)
    return drawn


def _labels(shown: list[Spec], x: Spec, tips: list[Spec], *, is_left: bool) -> list[Spec]:
    """Upright, so that neighbours have room, and no longer than the plot is high."""
    mark = {
        "type": "text", "angle": 90, "align": "left", "baseline": "top" if is_left else "bottom",
        "dx": _DROP_PX, "dy": _BESIDE_PX if is_left else -_BESIDE_PX,
        "limit": {"expr": f"height - {2 * _DROP_PX}"},
    }  # fmt: skip
    encoding = {"x": x, "y": {"value": 0}, "text": {"field": "label"}}
    data = {"values": shown}
    # Letters stand on a ground of their own: below them may be bars.
    ground = {"data": data, "mark": {**mark, "style": "note-ground", "aria": False}}
    letters = {"data": data, "mark": {**mark, "style": "note"}}
    return [
        {**ground, "encoding": encoding},
        {**letters, "encoding": {**encoding, "tooltip": tips}},
    ]


def _placed(rows: Rows, *, is_banded: bool) -> list[_Rule]:
    """Where the rules stand: at the start of their period, as the numbers of a period do."""
    if not rows.is_by_day:
        return []
    grain: Grain = rows.chart.get("grain") or "day"
    days = sorted({date.fromisoformat(value) for value in rows.values("x")})
    first, span = days[0], (days[-1] - days[0]).days or 1
    last = last_day(first_day(days[-1], grain), grain)
    found = []
    for one in rows.answer.get("annotations", []):
        day = date.fromisoformat(one["date"])
        at = max(first, first_day(day, grain))  # the first period may be cut
        # An axis of bands has places for its periods alone.
        if first <= day <= last and (not is_banded or at in days):
            share = (at - first).days / span
            found.append(_Rule(wall_clock_ms(at.isoformat()), one["date"], one["text"], share))
    return found


def _labelled(found: list[_Rule]) -> list[_Rule]:
    """With labels; the first of rules that stand close together names all of them."""
    groups: list[list[_Rule]] = []
    for rule in found:
        if groups and rule.share - groups[-1][0].share < _APART:
            groups[-1].append(rule)
        else:
            groups.append([rule])
    return [
        _Rule(rule.x, rule.date, rule.text, rule.share,
              " · ".join(r.text for r in group) if rule is group[0] else "")
        for group in groups for rule in group
    ]  # fmt: skip
