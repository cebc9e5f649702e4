"""What every store of live numbers must do, whatever lies behind it. An adapter subclasses it."""

from __future__ import annotations

import json
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beam_pipelines.connectors.live import LiveStore, open_store
from schemas_avro import derive, load
from tests.streams import DAY_US, MINUTE_US, NOON
from transforms import row_check

RECORD = load("live_value")
VIEW = '{"name":"view"}'
Row = dict[str, Any]


def pane(total: int, run: int = 1, index: int = 0, **fields: Any) -> Row:
    """A row of live_value.avsc: the minute at NOON of one event name."""
    return {
        "project": "demo",
        "statistic": "events",
        "dimensions": VIEW,
        "minute": NOON,
        "total": total,
        "sketch": None,
        "pane": "early",
        "pane_index": index,
        "run": run,
        "updated_at": NOON + 5,
        **fields,
    }


def frame(rows: list[Row]) -> pl.DataFrame:
    """Rows as columns."""
    return pl.DataFrame(rows, schema=derive.wire(RECORD), orient="row")


class LiveStoreContract(ABC):
    """Subclasses say where an empty store is."""

    @pytest.fixture
    @abstractmethod
    def uri(self) -> Any:
        """Address of a store that is not there yet."""

    @pytest.fixture
    def store(self, uri: str) -> Iterator[LiveStore]:
        opened = open_store(uri)
        yield opened
        opened.close()

    def demo(self, store: LiveStore, start: int = NOON, end: int = NOON + DAY_US) -> list[Row]:
        return store.read("demo", "events", start, end).to_dicts()

    def test_a_new_store_is_empty(self, store) -> None:
        assert self.demo(store) == []
        assert store.complete_until() is None

    def test_rows_come_back_as_they_were(self, store) -> None:
        rows = [
            pane(-(2**63)),
            pane(2**63 - 1, dimensions='{"name":"é 😀 # \\" \\u0000"}'),
            {**pane(0, dimensions="{}", sketch=b"\x00\xff" * 20_000), "total": None},
            pane(1, minute=NOON + 59 * MINUTE_US, pane="on_time", pane_index=7, run=2**50),
            pane(2, minute=NOON + 60 * MINUTE_US, pane="late"),
        ]
        assert not store.upsert(frame(rows), store.begin(1), None)
        wanted = sorted(rows, key=lambda row: (row["minute"], row["dimensions"]))
        assert self.demo(store) == wanted

    @pytest.mark.parametrize("order", list(permutations(range(4))))
    def test_the_newest_pane_stays_whatever_the_order(self, store, order) -> None:
        tokens = {run: store.begin(run) for run in (1, 2)}
        panes = [pane(5), pane(9, index=1, pane="on_time"), pane(4, run=2), pane(3, index=300)]
        for number in order:
            row = panes[number]
            store.upsert(frame([row]), tokens[row["run"]], None)
        assert self.demo(store) == [panes[2]]

    def test_writing_again_changes_nothing(self, store) -> None:
        rows = [pane(n, dimensions=json.dumps({"name": str(n)})) for n in range(50)]
        token = store.begin(1)
        for _ in range(3):
            store.upsert(frame(rows), token, NOON)
        assert len(self.demo(store)) == 50
        assert sum(row["total"] for row in self.demo(store)) == sum(range(50))

    def test_spans_are_half_open_and_statistics_and_projects_apart(self, store) -> None:
        minutes = [NOON + n * MINUTE_US for n in (-1, 0, 59, 60, 61, 24 * 60)]
        rows = [pane(n, minute=at) for n, at in enumerate(minutes)]
        rows += [pane(100, statistic="event"), pane(200, project="dem"), pane(300, project="demo2")]
        store.upsert(frame(sorted(rows, key=lambda r: r["minute"])), store.begin(1), None)
        found = [row["total"] for row in self.demo(store, NOON, NOON + 61 * MINUTE_US)]
        assert found == [1, 2, 3]
        assert store.read("dem", "events", NOON, NOON + 1)["total"].to_list() == [200]
        assert store.read("demo", "event", NOON, NOON + 1)["total"].to_list() == [100]

    def test_progress_is_remembered_and_never_goes_back(self, store, uri) -> None:
        token = store.begin(1)
        final = [pane(1, pane="on_time"), pane(1, pane="on_time", minute=NOON + MINUTE_US)]
        store.upsert(frame(final), token, NOON + 2 * MINUTE_US)
        store.upsert(frame([pane(2, pane="late", index=1)]), token, NOON + MINUTE_US)
        store.upsert(frame([pane(3, minute=NOON + DAY_US)]), token, None)
        again = open_store(uri)
        assert again.complete_until() == NOON + 2 * MINUTE_US
        again.close()

    def test_many_writers_at_once(self, store, uri) -> None:
        token = store.begin(1)

        def write(number: int) -> None:
            mine = open_store(uri)
            mine.upsert(frame([pane(number, index=number)]), token, None)
            mine.close()

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(write, [3, 11, 7, 0, 12, 5, 9, 1]))
        assert [row["total"] for row in self.demo(store)] == [12]

    def test_more_rows_than_one_request_carries(self, store) -> None:
        sketch = b"s" * 30_000
        rows = [{**pane(0, dimensions=f"d{n}", sketch=sketch), "total": None} for n in range(400)]
        store.upsert(frame(rows), store.begin(1), None)
        assert len(self.demo(store)) == 400

    def test_closing_twice_does_no_harm(self, store) -> None:
        store.close()
        store.close()

    def test_every_row_that_passes_the_check_is_taken(self, store) -> None:
        longest = "x" * (min(store.limits.key_bytes or 100_000, 100_000) - len("demoevents"))
        rows = frame([pane(1, dimensions=longest), pane(2, dimensions=longest + "xx")])
        fit, refused = row_check.split(rows, RECORD, store.limits)
        assert refused.height == (1 if store.limits.key_bytes else 0)
        assert not store.upsert(fit, store.begin(1), None)
        assert len(self.demo(store)) == fit.height

    @settings(
        max_examples=10,
        deadline=None,
        # One store for all examples, each under its own project; one subclass for each adapter.
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.differing_executors,
        ],
    )
    @given(data=st.data())
    def test_a_loop_over_dictionaries_agrees(self, store, data) -> None:
        project = f"p{secrets.token_hex(8)}"  # all examples share the store
        keys = st.tuples(st.sampled_from(["{}", VIEW]), st.sampled_from([NOON, NOON + MINUTE_US]))
        numbers = st.tuples(keys, st.integers(1, 3), st.integers(0, 5))
        drawn = data.draw(st.lists(numbers, unique=True, min_size=1, max_size=12))
        tokens = {run: store.begin(run) for run in (1, 2, 3)}
        newest: dict[Any, tuple[int, int]] = {}
        for key, run, index in drawn:
            dimensions, minute = key
            row = pane(run * 10 + index, run, index, dimensions=dimensions, minute=minute)
            store.upsert(frame([{**row, "project": project}]), tokens[run], None)
            newest[key] = max(newest.get(key, (0, 0)), (run, index))
        rows = store.read(project, "events", NOON, NOON + DAY_US).to_dicts()
        found = {(r["dimensions"], r["minute"]): (r["run"], r["pane_index"]) for r in rows}
        assert found == newest
        assert all(r["total"] == r["run"] * 10 + r["pane_index"] for r in rows)
