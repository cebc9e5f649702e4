"""The ledger in the warehouse, and what the archive holds of the minutes that are reconciled."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from beam_pipelines.connectors.exact_tables import replace_rows
from beam_pipelines.connectors.maintenance import local
from beam_pipelines.connectors.warehouse import Warehouse, iso
from schemas_avro.tables import LEDGER, POSITIONS, Table
from transforms.ledger import open_from
from transforms.positions import Positions, merge


@dataclass(frozen=True)
class Held:
    """A table at one snapshot: the blocks it says it holds, and files with recent receipts."""

    snapshot: int | None
    positions: Positions
    files: tuple[str, ...]


def held(warehouse: Warehouse, spec: Table, from_us: int) -> Held:
    """Blocks and files of the same snapshot, of files that hold what was received since."""
    table = warehouse.table(spec)
    snapshot = table.current_snapshot()
    if snapshot is None:
        return Held(None, Positions(), ())
    said = snapshot.summary.additional_properties if snapshot.summary else {}
    since = f"received_time >= '{iso(max(from_us, 0))}'"
    tasks = table.scan(since, snapshot_id=snapshot.snapshot_id).plan_files()
    paths = sorted({local(task.file.file_path) for task in tasks})
    positions = Positions.from_json(said.get(POSITIONS, "{}"))
    return Held(snapshot.snapshot_id, positions, tuple(paths))


def may_hold_copies(
    warehouse: Warehouse, recent: Held, from_us: int, reach_us: int
) -> tuple[str, ...]:
    """Files that may hold another copy of an event that was received since `from_us`.

    reach_us: how far apart the event times of two copies can be
    """
    if recent.snapshot is None or not recent.files:
        return ()
    since = pl.col("received_time").dt.timestamp("us") >= from_us
    day = pl.col("event_time").dt.timestamp("us") // 86_400_000_000
    found = pl.scan_parquet(list(recent.files), hive_partitioning=False, missing_columns="insert",
                            extra_columns="ignore").filter(since)  # fmt: skip
    days = found.select(day.unique()).collect().to_series().to_list()
    spans = merge(
        (d * 86_400_000_000 - reach_us, (d + 1) * 86_400_000_000 + reach_us) for d in days
    )
    return tuple(warehouse.files(recent.snapshot, spans))


def covered_until(warehouse: Warehouse) -> int | None:
    """Everything received before this instant (us) is settled in the ledger; None: nothing yet."""
    found = lines(warehouse, columns=("minute", "in_flight", "problems"))
    opened, newest = open_from(found), found["minute"].max()
    return opened if opened is not None else newest if isinstance(newest, int) else None


def lines(warehouse: Warehouse, since_us: int = 0, columns: Iterable[str] = ("*",)) -> pl.DataFrame:
    """Lines of the ledger from a minute on, times in us."""
    where = f"minute >= '{iso(max(since_us, 0))}'"
    scan = warehouse.table(LEDGER).scan(where, selected_fields=tuple(columns))
    found = pl.DataFrame(scan.to_arrow())
    times = [name for name in ("minute", "computed_at") if name in found.columns]
    return found.with_columns(pl.col(times).dt.timestamp("us"))


def replace_lines(warehouse: Warehouse, rows: pl.DataFrame, from_us: int) -> None:
    """Put `rows` in the place of all lines from a minute on, in one commit."""
    files = warehouse.write_files(LEDGER, rows) if rows.height else ()
    replace_rows(warehouse, LEDGER, files, f"minute >= '{iso(max(from_us, 0))}'", {})
