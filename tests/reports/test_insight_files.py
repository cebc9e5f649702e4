"""A question opens the files of its days, and no others."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from reports.insights import all as _kinds  # noqa: F401 - registers the kinds
from reports.insights.filters import Bindings
from reports.insights.kinds import ask
from reports.insights.question import Question
from reports.insights.source import Source
from reports.warehouse import engine, execute
from reports.warehouse.engine import Warehouse
from schemas_avro.tables import EVENTS
from tests.reports import world
from tests.streams import DAY_US, NOON, event, order


@pytest.mark.parametrize(
    ("sql", "days"),
    [
        ("SELECT count(*) AS n FROM {0}", [1]),
        ("SELECT count(*) AS events FROM {0} ORDER BY events", [1]),
        ("SELECT count(*) AS n FROM {0} WHERE person IN (SELECT person FROM {1})", [1, 2, 3]),
        ("SELECT count(*) AS n FROM {0}, (SELECT min(event_time) FROM events)", [0, 1, 2, 3]),
        ("SELECT count(*) AS n FROM events", [0, 1, 2, 3]),
    ],
)
def test_only_files_of_the_days_asked_for_are_there_to_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sql: str, days: list[int]
) -> None:
    midnight = NOON - NOON % DAY_US
    for day in range(4):
        at = [midnight + day * DAY_US, midnight + (day + 1) * DAY_US - 1]
        world.archive(tmp_path, [event(f"{day}-{n}", us) for n, us in enumerate(at)])
    world.settle(tmp_path)
    warehouse = Warehouse(world.settings(tmp_path), lambda _: pytest.fail("live was read"))
    paths = warehouse.files.of(EVENTS).days
    source = Source(warehouse, "demo", "UTC", world.NOW)
    bind = Bindings()
    parts = [
        source.events(Question(), bind, (midnight + first * DAY_US, midnight + end * DAY_US))
        for first, end in ((1, 2), (2, 4))
    ]
    seen: list[execute.Job] = []

    def look(job: execute.Job, most_s: float) -> Any:
        seen.append(job)
        return execute.read(job, most_s)

    monkeypatch.setattr(engine, "read", look)
    source.read(sql.format(*parts), bind)
    assert sorted(paths[path] - midnight // DAY_US for path in seen[0].paths) == days


@pytest.mark.parametrize(
    ("kind", "question"),
    [
        ("trend", {"breakdown": "country"}), ("trend", {"series": [{"measure": "revenue"}],
                                                        "breakdown": "country"}),
        ("errors", {"history": 0}), ("vitals", {}), ("funnel", {"steps": [{"name": "view"}]}),
        ("paths", {}), ("revenue", {}),
    ],
)  # fmt: skip
def test_a_question_of_one_day_opens_little_of_a_long_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, question: dict[str, Any]
) -> None:
    midnight = NOON - NOON % DAY_US
    for day in range(0, 400, 50):
        world.archive(tmp_path, [order(f"{day}", midnight - day * DAY_US, 100)])
    world.settle(tmp_path)
    warehouse = Warehouse(world.settings(tmp_path), lambda _: pytest.fail("live was read"))
    seen: list[execute.Job] = []

    def look(job: execute.Job, most_s: float) -> Any:
        seen.append(job)
        return execute.read(job, most_s)

    monkeypatch.setattr(engine, "read", look)
    day = datetime.fromtimestamp(midnight / 1e6, UTC).date()
    ask(kind, {"dates": f"{day}..{day}", **question}, Source(warehouse, "demo", "UTC", world.NOW))
    of_events = warehouse.files.of(EVENTS).days
    opened = {of_events[path] for job in seen for path in job.paths if path in of_events}
    assert opened <= {midnight // DAY_US}
