"""Which files a table has is looked up once for each state of the catalogue, and never too late."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from reports.warehouse.files import Files, WarehouseFiles
from schemas_avro.tables import DEAD_LETTERS, EVENTS
from tests.reports import world
from tests.streams import NOON, event


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the tables that were looked up."""
    found: list[str] = []
    look = WarehouseFiles._look

    def counting(self: WarehouseFiles, spec: object, snapshot: int | None) -> Files:
        found.append(spec.name)  # type: ignore[attr-defined]
        return look(self, spec, snapshot)  # type: ignore[arg-type]

    monkeypatch.setattr(WarehouseFiles, "_look", counting)
    return found


def test_a_table_is_looked_up_once_until_any_is_written(tmp_path: Path, looked: list[str]) -> None:
    files = WarehouseFiles(f"{tmp_path}/archive")
    assert files.of(EVENTS).rows == 0
    assert looked == [], "there is no catalogue yet"
    world.archive(tmp_path, [event("a", NOON)])
    time.sleep(0.2)
    assert [files.of(EVENTS).rows for _ in range(3)] == [1, 1, 1]
    assert files.of(DEAD_LETTERS).rows == 0
    assert looked == ["events", "dead_letters"]
    world.refuse(tmp_path, [{}])
    time.sleep(0.2)
    assert (files.of(EVENTS).rows, files.of(DEAD_LETTERS).rows) == (1, 1)
    assert looked == ["events", "dead_letters", "events", "dead_letters"]


def test_every_commit_is_seen_at_once(tmp_path: Path) -> None:
    files = WarehouseFiles(f"{tmp_path}/archive")
    for number in range(1, 9):
        world.archive(tmp_path, [event(f"e{number}", NOON)])
        assert files.of(EVENTS).rows == number
