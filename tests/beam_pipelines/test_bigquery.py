"""The copy of the archive in BigQuery, on the emulator: every row once, whatever happened."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from google.cloud import bigquery as google

from beam_pipelines.connectors import bigquery
from beam_pipelines.connectors.bigquery import Address, BigQueryError
from beam_pipelines.connectors.bigquery_copy import LAYOUT, Copy, Notes, as_parquet
from beam_pipelines.connectors.warehouse import Added, Warehouse
from beam_pipelines.jobs import warehouse_copy
from beam_pipelines.options import WarehouseCopyOptions
from catalog.settings import read
from schemas_avro import derive, load
from schemas_avro.tables import EVENTS
from tests.bigquery_emulator import DATASET, PROJECT, bigquery_in_environment, google_client
from tests.streams import DAY_US, NOON, event
from transforms.positions import Positions

pytestmark = pytest.mark.journey
DAYS = 3


@pytest.fixture(scope="module", autouse=True)
def emulator() -> Iterator[None]:
    with bigquery_in_environment():
        yield


def every_column(rows: list[dict[str, object]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=derive.wire(load(EVENTS.record)), orient="row")


class World:
    """An archive and its copy."""

    def __init__(self, directory: Path) -> None:
        self.directory = str(directory)
        self.warehouse = Warehouse(self.directory)
        self.table = Address(PROJECT, DATASET, f"events_{secrets.token_hex(4)}")
        self.options = WarehouseCopyOptions(
            to=f"bigquery:{PROJECT}/{DATASET}/{self.table.table}",
            archive=f"iceberg:{directory}",
            load_mb=64,
            dry_run=False,
        )
        self._seq = 0

    def archive(self, *names: str) -> None:
        """A commit with each event on every one of the days."""
        rows = every_column(
            [
                event(f"{name}-{day}", NOON + day * DAY_US, producer="p", seq=self._seq, row=0)
                for name in names
                for day in range(DAYS)
            ]
        )
        files = self.warehouse.write_files(EVENTS, rows)
        positions = Positions.of([("p", self._seq, self._seq)])
        self.warehouse.add(EVENTS, Added(files, positions, {}, NOON))
        self._seq += 1

    def copy(self) -> None:
        warehouse_copy.start(self.options, [], read({}))

    def ids(self) -> Counter[str]:
        with google_client() as client:
            rows = client.query(f"SELECT event_id FROM `{self.table}`").result()
            return Counter(row["event_id"] for row in rows)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def each_day(*names: str) -> Counter[str]:
    return Counter(f"{name}-{day}" for name in names for day in range(DAYS))


def test_the_copy_follows_the_archive_and_a_rerun_adds_nothing(world: World) -> None:
    world.archive("a", "b")
    assert warehouse_copy.is_due(world.options)
    world.copy()
    world.copy()
    assert world.ids() == each_day("a", "b")
    assert not warehouse_copy.is_due(world.options)
    world.archive("c")
    world.archive("d")
    assert warehouse_copy.is_due(world.options)
    world.copy()
    assert world.ids() == each_day("a", "b", "c", "d")


def test_values_come_across_and_the_table_is_laid_out_by_day(world: World) -> None:
    hostile = '{"a":"\\u0000 \\" é 😀","n":1e400}'
    rows = every_column([event("x", NOON, properties=hostile, revenue_minor=-(2**63), name=None)])
    files = world.warehouse.write_files(EVENTS, rows)
    world.warehouse.add(EVENTS, Added(files, Positions.of([("p", 0, 0)]), {}, NOON))
    world.copy()
    with google_client() as client:
        (row,) = client.query(f"SELECT * FROM `{world.table}`").result()
        table = client.get_table(str(world.table))
    assert row["properties"] == hostile
    assert row["revenue_minor"] == -(2**63)
    assert row["name"] is None
    assert row["event_time"].timestamp() == NOON / 1e6
    assert table.time_partitioning.field == "event_time"
    assert table.clustering_fields == ["project", "type", "name"]


def test_a_day_that_lost_rows_is_replaced(world: World) -> None:
    world.archive("a", "gone")
    world.copy()
    world.warehouse.table(EVENTS).delete("event_id = 'gone-1'")
    world.copy()
    assert world.ids() == each_day("a", "gone") - Counter(["gone-1"])


def test_a_day_of_which_nothing_is_left_is_emptied(world: World) -> None:
    world.archive("a")
    world.copy()
    world.warehouse.table(EVENTS).delete("event_id = 'a-2'")
    world.copy()
    assert world.ids() == Counter(["a-0", "a-1"])
    assert not warehouse_copy.is_due(world.options)


class Stopped(Exception):
    """In place of a kill, at a place of the test's choice."""


class Breaking(Copy):
    """Ends at a change: before its rows are shown, or after, before that is written down."""

    def __init__(self, table: Address, at: int, after: bool) -> None:
        super().__init__(table)
        self._at, self._after = at, after

    def _show(self, job_id, change, beside):
        stops = f"-{self._at}-" in job_id
        if stops and not self._after:
            raise Stopped
        job = super()._show(job_id, change, beside)
        if stops:
            raise Stopped
        return job


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(DAYS))
def test_a_stop_anywhere_neither_loses_nor_doubles(world: World, at: int, after: bool) -> None:
    world.archive("a")
    world.copy()
    world.archive("b")
    copy, notes = Breaking(world.table, at, after), Notes(world.directory, world.table)
    with pytest.raises(Stopped):
        warehouse_copy.run(world.directory, copy, notes, 1 << 20)
    copy.close()
    world.archive("c")  # ingest goes on meanwhile
    world.copy()
    assert world.ids() == each_day("a", "b", "c")


def test_files_that_went_while_their_load_was_pending_are_made_good(world: World) -> None:
    world.archive("a")
    world.copy()
    world.archive("b")
    copy, notes = Breaking(world.table, 1, True), Notes(world.directory, world.table)
    with pytest.raises(Stopped):
        warehouse_copy.run(world.directory, copy, notes, 1 << 20)
    copy.close()
    world.warehouse.table(EVENTS).delete("event_id = 'b-1'")  # rewrites that day's files
    world.copy()
    assert world.ids() == each_day("a", "b") - Counter(["b-1"])


def test_without_the_notes_the_days_are_replaced_not_doubled(world: World) -> None:
    world.archive("a")
    world.copy()
    for path in Path(world.directory, "copies").iterdir():
        path.unlink()
    world.archive("b")
    world.copy()
    assert world.ids() == each_day("a", "b")


def test_another_table_under_the_name_gets_everything_anew(world: World) -> None:
    world.archive("a")
    world.copy()
    with google_client() as client:
        client.delete_table(str(world.table))
    world.copy()
    assert world.ids() == each_day("a")


def test_rows_that_do_not_fit_are_left_out_and_the_rest_goes_on(tmp_path: Path) -> None:
    rows = every_column([event("good", NOON), event("late", NOON), event("bad", NOON)])
    rows = rows.with_columns(
        original_time=pl.Series([NOON, 2**62, None]).cast(pl.Datetime("us", "UTC")),
        event_id=pl.Series(["good", "late", None]),
        event_time=pl.from_epoch("event_time", time_unit="us").dt.replace_time_zone("UTC"),
    ).drop("context")  # a column that is younger than the file
    rows.write_parquet(tmp_path / "file.parquet")
    body, refused = as_parquet([str(tmp_path / "file.parquet")] * 2)
    assert refused == 4
    assert pl.read_parquet(body)["event_id"].to_list() == ["good", "good"]


def test_two_copies_at_once_are_refused(world: World) -> None:
    with (
        Notes(world.directory, world.table).alone(),
        pytest.raises(BigQueryError, match="another process"),
    ):
        world.copy()


def test_tables_that_rows_would_not_fit_are_refused_by_name(world: World) -> None:
    wrong = google.Table(str(world.table), schema=[google.SchemaField("event_id", "INT64")])
    with google_client() as client:
        client.create_table(wrong)
        with pytest.raises(BigQueryError, match="column event_id is INT64, rows have STRING"):
            bigquery.ensure_table(client, world.table, LAYOUT)
        client.delete_table(wrong)
        extra = google.SchemaField("ours", "STRING", "REQUIRED")
        client.create_table(google.Table(str(world.table), schema=[extra]))
        with pytest.raises(BigQueryError, match="column ours is required"):
            bigquery.ensure_table(client, world.table, LAYOUT)


def test_an_older_table_gets_the_columns_that_have_come_since(world: World) -> None:
    older = [field for field in LAYOUT.schema() if field.name not in ("flags", "context")]
    with google_client() as client:
        client.create_table(google.Table(str(world.table), schema=older))
        bigquery.ensure_table(client, world.table, LAYOUT)
        names = {field.name for field in client.get_table(str(world.table)).schema}
    assert names == {field.name for field in LAYOUT.schema()}


def test_a_missing_dataset_names_the_remedy() -> None:
    with google_client() as client, pytest.raises(BigQueryError, match="bq mk --location"):
        bigquery.ensure_table(client, Address(PROJECT, "nowhere", "t"), LAYOUT)
