"""What retention took out is said of by whatever looked for it, and by nothing else."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from reports.insights import all as _kinds  # noqa: F401 - registers the kinds
from reports.insights.kinds import ask
from reports.insights.source import Source
from reports.warehouse.engine import Warehouse
from tests.beam_pipelines.test_retention import TODAY, World, noon
from tests.reports import world

STEP = {"name": "view"}
GONE = TODAY - timedelta(days=799)  # the day after the last one that went


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Events of the same person 800 and 10 days ago, of which retention keeps the newer."""
    made = World(tmp_path_factory.mktemp("retired"))
    made.add(800)
    made.add(10)
    made.rollup()
    made.run()
    return made.data


def notes(directory: Path, kind: str, project: str = "demo", **question: Any) -> list[str]:
    warehouse = Warehouse(world.settings(directory), lambda project: (None, None))  # type: ignore[arg-type,return-value]
    table = ask(kind, question, Source(warehouse, project, "UTC", noon(0))).table
    return [note for note in table.notes if "gone by retention" in note]


@pytest.mark.parametrize(
    ("kind", "question"),
    [
        ("lifecycle", {}),
        ("retention", {"mode": "first_time", "start": STEP}),
        ("trend", {"dates": f"{GONE - timedelta(days=9)}..{TODAY}", "breakdown": "country"}),
        ("funnel", {"dates": f"{GONE - timedelta(days=1)}..{TODAY}", "steps": [STEP, STEP]}),
    ],
)
def test_what_looks_for_it_says_so(directory: Path, kind: str, question: dict[str, Any]) -> None:
    (note,) = notes(directory, kind, **question)
    assert note.startswith(f"Events before {GONE} are gone by retention")


@pytest.mark.parametrize(
    ("kind", "question"),
    [
        ("retention", {"mode": "recurring", "start": STEP}),
        ("trend", {"dates": f"{GONE}..{TODAY}", "breakdown": "country"}),
        # The exact table has all of it still.
        ("trend", {"dates": f"{TODAY - timedelta(days=900)}..{TODAY}"}),
    ],
)
def test_what_needs_none_of_it_does_not(
    directory: Path, kind: str, question: dict[str, Any]
) -> None:
    assert notes(directory, kind, **question) == []


def test_a_project_of_which_nothing_is_gone_does_not(directory: Path) -> None:
    assert notes(directory, "lifecycle", project="short") == []
