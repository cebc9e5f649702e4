"""A warehouse that an earlier version made goes on in the new shape."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier

import duckdb
import polars as pl
import pytest

from beam_pipelines.connectors import warehouse as module
from beam_pipelines.connectors.warehouse import Added, Warehouse
from schemas_avro import Record, block, load
from schemas_avro.tables import DAILY, EVENTS
from tests.streams import NOON, event, frame_of
from transforms.positions import Positions


def before_ip(name: str) -> Record:
    """The event record as it was before it had the column `ip`."""
    record = load(name)
    return replace(record, fields=tuple(f for f in record.fields if f.name != "ip"))


def add(directory: Path, event_id: str, seq: int, **fields: object) -> None:
    made = Warehouse(str(directory))
    _, rows = block.decode(load("event"), frame_of([event(event_id, NOON, **fields)]).payload)
    day = datetime.fromtimestamp(NOON / 1e6, UTC).date().isoformat()
    files = made.write_files(EVENTS, rows.with_columns(seq=pl.lit(seq, pl.Int64)))
    made.add(EVENTS, Added(files, Positions.of([("p-0", seq, seq)]), {"demo": (day,)}, NOON))


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A warehouse of the earlier version, with one event in it."""
    with monkeypatch.context() as earlier:
        earlier.setattr(module, "load", before_ip)
        add(tmp_path, "old", 0)
        assert "ip" not in Warehouse(str(tmp_path)).table(EVENTS).schema().column_names
    return tmp_path


def test_the_table_gets_the_new_column_and_keeps_its_rows(old: Path) -> None:
    table = Warehouse(str(old)).table(EVENTS)
    assert set(table.schema().column_names) == set(load("event").field_names)
    assert not table.schema().find_field("ip").required
    add(old, "new", 1, ip="192.0.2.0")
    table = Warehouse(str(old)).table(EVENTS)
    found = table.scan(selected_fields=("event_id", "ip")).to_arrow().to_pydict()
    assert dict(zip(found["event_id"], found["ip"], strict=True)) == {
        "old": None,
        "new": "192.0.2.0",
    }
    assert Warehouse(str(old)).positions(EVENTS).to_json() == '{"p-0":[[0,1]]}'


def test_readers_of_the_files_see_null_where_a_file_has_no_such_column(old: Path) -> None:
    add(old, "new", 1, ip="192.0.2.0")
    made = Warehouse(str(old))
    snapshot = made.table(EVENTS).current_snapshot()
    assert snapshot is not None
    files = made.files(snapshot.snapshot_id, [(NOON, NOON + 1)])
    assert len(files) == 2
    query = "SELECT event_id, ip FROM read_parquet(?, union_by_name = true) ORDER BY event_id"
    with duckdb.connect() as database:
        rows = database.execute(query, [files]).fetchall()
    assert rows == [("new", "192.0.2.0"), ("old", None)]


def test_opening_again_changes_nothing(old: Path) -> None:
    first = Warehouse(str(old)).table(EVENTS)
    again = Warehouse(str(old)).table(EVENTS)
    assert again.metadata_location == first.metadata_location
    assert again.schema().schema_id == first.schema().schema_id


def test_processes_that_open_it_together_widen_it_once(old: Path) -> None:
    def opened(_: int) -> int:
        return Warehouse(str(old)).table(EVENTS).schema().schema_id

    with ThreadPoolExecutor(6) as pool:
        schemas = list(pool.map(opened, range(6)))
    assert len(set(schemas)) == 1
    table = Warehouse(str(old)).table(EVENTS)
    assert table.schema().column_names.count("ip") == 1
    assert len(table.metadata.schemas) == 2


def test_rows_added_while_it_is_widened_are_not_lost(old: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: add(old, f"e{n}", n, ip="192.0.2.0"), range(1, 7)))
    rows = Warehouse(str(old)).table(EVENTS).scan().to_arrow()
    assert sorted(rows["event_id"].to_pylist()) == ["e1", "e2", "e3", "e4", "e5", "e6", "old"]


def test_many_make_it_at_once(tmp_path: Path) -> None:
    """The first start of several processes: each finds the catalogue and its tables whole."""
    start = Barrier(6)

    def one(_: int) -> list[str]:
        start.wait()
        made = Warehouse(str(tmp_path / "new"))
        tables = [made.table(spec) for spec in (EVENTS, DAILY)]
        return [field.name for table in tables for field in table.spec().fields]

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(one, range(6))) == [["day", "project", "month"]] * 6
    assert [path.suffix for path in (tmp_path / "new").glob(".*")] == []
    assert len(Warehouse(str(tmp_path / "new")).tables()) == 2
