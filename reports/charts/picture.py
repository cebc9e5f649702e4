"""Draws on the server: the page's own descriptions as SVG, PNG or PDF, one or many on a sheet."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, Literal

import vl_convert

from reports.charts.bundle import VEGA_LITE
from reports.charts.noted import said
from reports.charts.theme import COLOURS, FONT, Theme, config

Format = Literal["svg", "png", "pdf"]
MIME = {"svg": "image/svg+xml", "png": "image/png", "pdf": "application/pdf"}
COLUMNS = 12
_WIDTH, _MARGIN, _GAP, _PAD = 1200, 32, 20, 18
_ROW, _MOST_ROWS, _MOST_NOTES = 20, 12, 6
_LETTER = 0.56  # of the font's size: a letter's width, about
_PNG_SCALE = 2.0
_drawing = threading.Lock()  # the converter has one engine
_SIZE = re.compile(r'<svg[^>]*?\swidth="([\d.]+)"[^>]*?\sheight="([\d.]+)"')
_ID = re.compile(r'(\sid="|url\(#|href="#)')


@dataclass(frozen=True)
class Box:
    """One panel of a sheet. drawn: as `drawn.drawn` makes it; note: said in its place."""

    title: str
    columns: int = COLUMNS
    drawn: dict[str, Any] = field(default_factory=dict)
    note: str = ""


def chart_svg(spec: dict[str, Any], theme: Theme, width: float, height: float = 0) -> str:
    """A chart as SVG, so wide in px. Raises ValueError where it cannot be drawn."""
    sized = {**spec, "width": width, **({"height": height} if height else {})}
    with _drawing:
        made: str = vl_convert.vegalite_to_svg(
            sized, vl_version=VEGA_LITE, config=config(theme, width), allowed_base_urls=[]
        )
    return made


def converted(svg: str, to: Format) -> bytes:
    """An SVG document in another format."""
    match to:
        case "png":
            with _drawing:
                png: bytes = vl_convert.svg_to_png(svg, scale=_PNG_SCALE)
            return png
        case "pdf":
            with _drawing:
                pdf: bytes = vl_convert.svg_to_pdf(svg)
            return pdf
    return svg.encode()


def sheet(
    title: str, subtitle: str, boxes: Sequence[Box], theme: Theme, width: int = _WIDTH
) -> str:
    """Panels under a heading, as one SVG document. What has no chart is a table or its note."""
    colours = COLOURS[theme]
    top = float(_MARGIN)
    parts = [_text(_MARGIN, top + 20, title, 24, colours.ink, weight=650)]
    parts.append(_text(_MARGIN, top + 42, subtitle, 12, colours.soft))
    top += 62
    inner = width - 2 * _MARGIN
    number = 0
    for row in _rows(boxes):
        shares = [max(1, min(COLUMNS, box.columns)) for box in row]
        left, tallest = float(_MARGIN), 0.0
        placed = []
        for box, share in zip(row, shares, strict=True):
            # A row that is not full is drawn as wide as the page shows it.
            room = (inner + _GAP) * share / COLUMNS - _GAP
            body, height = _panel(box, room, theme, f"b{number}-")
            placed.append((left, room, body))
            left, tallest, number = left + room + _GAP, max(tallest, height), number + 1
        for left, room, body in placed:
            frame = (
                f'<rect x="{left:.1f}" y="{top:.1f}" width="{room:.1f}" height="{tallest:.1f}" '
                f'rx="12" fill="{colours.ground}" stroke="{colours.line}"/>'
            )
            parts.append(f'{frame}<g transform="translate({left:.1f},{top:.1f})">{body}</g>')
        top += tallest + _GAP
    height = top - _GAP + _MARGIN
    ground = f'<rect width="{width}" height="{height:.0f}" fill="{_page(theme)}"/>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{width}" height="{height:.0f}" viewBox="0 0 {width} {height:.0f}" '
        f'font-family="{FONT}">{ground}{"".join(parts)}</svg>'
    )


def _page(theme: Theme) -> str:
    return "#f7f8f7" if theme == "light" else "#0e1413"


def _rows(boxes: Sequence[Box]) -> list[list[Box]]:
    """Boxes that stand beside one another, as the page's grid has them."""
    rows: list[list[Box]] = []
    taken = COLUMNS
    for box in boxes:
        share = max(1, min(COLUMNS, box.columns))
        if taken + share > COLUMNS:
            rows.append([])
            taken = 0
        rows[-1].append(box)
        taken += share
    return rows


def _panel(box: Box, width: float, theme: Theme, prefix: str) -> tuple[str, float]:
    """The inside of a box, and its height."""
    colours, room = COLOURS[theme], width - 2 * _PAD
    y = 30.0
    parts = [_text(_PAD, y, _cut(box.title, 14, room), 14, colours.ink, weight=600)]
    trust = " · ".join(box.drawn.get("trust", []))
    for line in _lines(trust, 10.5, room):
        y += 16
        parts.append(_text(_PAD, y, line, 10.5, colours.soft))
    for line in _lines(box.note, 13, room):
        y += 20
        parts.append(_text(_PAD, y, line, 13, colours.soft if not box.drawn else colours.ink))
    if box.drawn.get("totals"):
        y += 12
        body, height = _totals(box.drawn["totals"], room, theme)
        parts.append(f'<g transform="translate({_PAD},{y:.1f})">{body}</g>')
        y += height
    if spec := box.drawn.get("spec"):
        y += 14
        # What needs more room than there is gets it, and is shrunk: its texts never overlap.
        svg = chart_svg(spec, theme, max(room, spec.get("usermeta", {}).get("least", 0)))
        size = _SIZE.search(svg)
        wide, high = (float(size[1]), float(size[2])) if size else (room, 300.0)
        shrunk = min(1.0, room / wide) if wide else 1.0
        inside = _ID.sub(rf"\g<1>{prefix}", svg[svg.index("<svg") :])
        parts.append(f'<g transform="translate({_PAD},{y:.1f}) scale({shrunk:.4f})">{inside}</g>')
        y += high * shrunk
    elif box.drawn and not (box.drawn.get("totals") and not box.drawn.get("texts")):
        y += 10
        body, height = _table(box.drawn, room, theme)
        parts.append(f'<g transform="translate({_PAD},{y:.1f})">{body}</g>')
        y += height
    notes = box.drawn.get("notes", [])
    more = [f"… and {len(notes) - _MOST_NOTES} more notes."] if len(notes) > _MOST_NOTES else []
    for note in [*said(box.drawn, _MOST_NOTES), *notes[:_MOST_NOTES], *more]:
        for line in _lines(note, 11, room):
            y += 16
            parts.append(_text(_PAD, y, line, 11, colours.soft))
    return "".join(parts), y + _PAD


def _totals(totals: Sequence[dict[str, Any]], room: float, theme: Theme) -> tuple[str, float]:
    colours = COLOURS[theme]
    across = max(1, min(len(totals), int(room // 150)))
    step, parts = room / across, []
    for i, one in enumerate(totals):
        x, y = (i % across) * step, (i // across) * 50
        parts.append(_text(x, y + 14, _cut(one["title"], 11, step - 8), 11, colours.soft))
        parts.append(_text(x, y + 37, _cut(one["text"], 20, step - 8), 20, colours.ink, weight=650))
    return "".join(parts), -(-len(totals) // across) * 50.0


def _table(drawn: dict[str, Any], room: float, theme: Theme) -> tuple[str, float]:
    """The first rows, and how many more there are."""
    colours, columns = COLOURS[theme], drawn["columns"][:8]
    if not drawn["texts"]:
        return _text(0, 16, "No rows.", 12, colours.soft), 24
    step, parts = room / max(1, len(columns)), []
    names = [column["title"] for column in columns]
    for r, texts in enumerate([names, *drawn["texts"][:_MOST_ROWS]]):
        for c, value in enumerate(texts[: len(columns)]):
            cut = _cut(value, 12, step - 10)
            parts.append(
                _text(c * step, 16 + r * _ROW, cut, 12, colours.ink if r else colours.soft)
            )
    height = 24.0 + _ROW * min(_MOST_ROWS, len(drawn["texts"]))
    more = drawn["row_count"] - _MOST_ROWS
    hidden = len(drawn["columns"]) - len(columns)
    left_out = [f"{more:,} more rows"] if more > 0 else []
    left_out += [f"{hidden} more columns"] if hidden > 0 else []
    if left_out:
        told = f"… and {' and '.join(left_out)}."
        parts.append(_text(0, height + 12, told, 11, colours.soft))
        height += 20
    return "".join(parts), height


def _text(x: float, y: float, text: str, size: float, fill: str, weight: int = 400) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}" '
        f'font-weight="{weight}">{escape(text)}</text>'
    )


def _cut(text: str, size: float, room: float) -> str:
    most = max(4, int(room / (size * _LETTER)))
    return text if len(text) <= most else text[: most - 1] + "…"


def _lines(text: str, size: float, room: float) -> list[str]:
    """The text in lines that fit; a word longer than a line goes on in the next."""
    most, lines = max(8, int(room / (size * _LETTER))), [""]
    words = (word[at : at + most] for word in text.split() for at in range(0, len(word), most))
    for word in words:
        if lines[-1] and len(lines[-1]) + 1 + len(word) > most:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return [line for line in lines if line]
