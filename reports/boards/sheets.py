"""A whole board as one picture: the panels that its page shows."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from reports.boards.definition import Board, Panel, Scope
from reports.boards.panels import Panels
from reports.charts.picture import Box, sheet
from reports.charts.theme import Theme
from reports.insights.question import QuestionError
from reports.insights.source import Source
from reports.present import when
from reports.warehouse.engine import NotAdmitted, QueryFailed


def board_sheet(
    board: Board, scope: Scope, sources: Sequence[Source], panels: Panels, theme: Theme
) -> str:
    """The board as an SVG document. A panel that cannot be asked says why in its place.

    sources: one for each panel, and one more for the heading
    """
    here = sources[-1]
    asked = zip(board.panels, sources[:-1], strict=True)
    boxes = [_box(panel, scope, source, panels) for panel, source in asked]
    dates = scope.dates or "each panel's own days"
    people = [f"cohort {scope.cohort}"] if scope.cohort else []
    filters = [f"{len(scope.where)} filters"] if scope.where else []
    said = [here.project, dates, *people, *filters, f"drawn {when(here.now_us, here.zone)}"]
    return sheet(board.title, " · ".join(said), boxes, theme)


def _box(panel: Panel, scope: Scope, source: Source, panels: Panels) -> Box:
    try:
        found = msgspec.json.decode(panels.shown(panel, scope, source))
    except (QuestionError, QueryFailed, NotAdmitted) as error:
        return Box(panel.title, panel.w, note=f"Not computable: {error}")
    if "text" in found:
        return Box(panel.title, panel.w, note=found["text"])
    return Box(panel.title, panel.w, found)
