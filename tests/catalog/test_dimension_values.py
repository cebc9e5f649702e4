"""The first values stand for themselves, for all workers and all runs alike."""

from __future__ import annotations

import threading
from pathlib import Path

from catalog.dimension_values import DimensionValues
from catalog.store import Catalog


def registry(tmp_path: Path) -> DimensionValues:
    catalog = Catalog(f"sqlite:///{tmp_path}/c.db")
    catalog.migrate()
    return DimensionValues(catalog)


def test_the_first_ones_up_to_the_cap(tmp_path: Path) -> None:
    values = registry(tmp_path)
    assert values.admit("shop", "events", ["b", "a", "b"], 3) == {"a", "b"}
    assert values.admit("shop", "events", ["d", "c"], 3) == {"a", "b", "c"}
    assert values.admit("shop", "events", ["e", "a"], 3) == {"a", "b", "c"}
    assert values.admit("blog", "events", ["e"], 3) == {"e"}, "each project has its own"
    assert values.admit("shop", "other", ["e"], 3) == {"e"}, "each number has its own"
    assert values.count("shop", "events") == 3


def test_workers_at_the_same_time_agree(tmp_path: Path) -> None:
    values = registry(tmp_path)
    found: list[set[str]] = []

    def work(start: int) -> None:
        for n in range(20):
            values.admit("shop", "events", [f"v{start + n}", f"v{n}"], 30)
        found.append(values.admit("shop", "events", [], 30))

    threads = [threading.Thread(target=work, args=(at * 10,)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    last = values.admit("shop", "events", ["one more"], 30)
    assert len(last) >= 30
    assert all(one <= last for one in found), "what is admitted once stays"
