"""Old entries of the audit log go, those and no others, and never without a trace."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from catalog.audit import Audit, Entry
from catalog.store import Catalog

NOW = datetime(2026, 11, 28, 9, 30)


class Log:
    """An audit log whose clock tests move."""

    def __init__(self, directory: Path) -> None:
        catalog = Catalog(f"sqlite:///{directory}/catalog.db")
        catalog.migrate()
        self.now = NOW
        self.audit = Audit(catalog, lambda: self.now)

    def add(self, at: datetime) -> None:
        self.now = at
        self.audit.add("sign-in", at.isoformat(), actor="ann@example.org")
        self.now = NOW

    def entries(self) -> list[Entry]:
        return self.audit.find(limit=500)[::-1]


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


def test_what_is_older_goes_and_one_entry_says_so(log: Log) -> None:
    until = datetime(2026, 11, 1)
    times = [until + timedelta(microseconds=n) for n in (-(10**13), -1, 0, 1, 10**12)]
    for at in times:
        log.add(at)
    assert log.audit.count_before(until) == 2
    assert log.audit.prune(until, actor="retention") == 2
    *kept, last = log.entries()
    assert [one.at for one in kept] == times[2:]
    assert (last.actor, last.action, last.at) == ("retention", "audit.prune", NOW)
    assert (last.target, last.outcome) == ("before 2026-11-01 00:00", "2 entries")


def test_with_nothing_old_nothing_is_written(log: Log) -> None:
    log.add(NOW)
    before = log.entries()
    assert log.audit.prune(NOW, actor="retention") == 0
    assert log.entries() == before


def test_where_it_cannot_be_written_down_nothing_goes(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.add(NOW - timedelta(days=900))
    monkeypatch.setattr("catalog.audit._row", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        log.audit.prune(NOW, actor="retention")
    assert [one.at for one in log.entries()] == [NOW - timedelta(days=900)]
