"""Live numbers on Bigtable: the store of the field.

Row key    project#statistic#hour#dimensions, such as `shop#events#2026-09-21T12#{"name":"view"}`.
           A range of hours of a statistic is one scan, of one dimension value a few point reads.
           Time comes after project and statistic: what is written at one moment is spread over
           as many places as there are pairs of them, and no tablet takes all of "now".
Cell       family `pane`, column = minute of the hour, value = the whole pane as MessagePack.
Timestamp  minute + rank, where the rank is 65,536 ms for each run of the pipeline before this
           one, and 1 ms for each pane before this one. The newest version is the newest pane, so
           a blind write is enough: whatever order panes come in, how often and from whom, the
           same one is read and is the one that garbage collection leaves. Bigtable counts in ms,
           which has no room for a run's start in us; so runs are numbered by the table itself.
Collected  all versions but the newest; minutes older than five years (the rank adds half a day
           for 650 restarts).
Rows that begin with `!` are the table's own: `!runs` the counter, `!progress` the progress.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import polars as pl
from google.api_core import exceptions
from google.cloud.bigtable import data
from google.cloud.bigtable.data.exceptions import (
    FailedMutationEntryError,
    MutationsExceptionGroup,
)
from google.cloud.bigtable.data.read_modify_write_rules import IncrementRule
from google.cloud.bigtable.data.row_filters import CellsColumnLimitFilter

from beam_pipelines.connectors.live import bigtable_admin
from beam_pipelines.connectors.live.port import ATTEMPT_S, LiveStoreError
from beam_pipelines.connectors.uri import UriError, path_of
from schemas_avro import derive, load
from schemas_avro.tables import LIVE_KEY
from transforms.grid import MINUTE_US
from transforms.row_check import Limits

_RECORD = load("live_value")
_VALUE = tuple(name for name in _RECORD.field_names if name not in LIVE_KEY)
FAMILY = bigtable_admin.FAMILY
_RUNS, _PROGRESS = b"!runs", b"!progress"
_HOUR_US = 60 * MINUTE_US
_PANES = 1 << 16  # of one minute in one run that are told apart; later ones replace in turn
_BATCH_BYTES, _BATCH_ROWS = 4_000_000, 10_000  # the service takes 100,000 changes, and waits less
_PERMANENT = (exceptions.InvalidArgument, exceptions.OutOfRange)  # of one row


class BigtableLive:
    """`bigtable:PROJECT/INSTANCE/TABLE`; credentials are Google's application default ones."""

    # A key may have 4 KB; the hour and the separators take some. A value is far below its 100 MB.
    limits = Limits(10_000_000, key=("project", "statistic", "dimensions"), key_bytes=4_000)

    def __init__(self, project: str, instance: str, table: str) -> None:
        self.name = f"bigtable:{project}/{instance}/{table}"
        with self._errors():
            bigtable_admin.ensure(project, instance, table)
            self._client = data.BigtableDataClient(project=project)
            self._table = self._client.get_table(
                instance,
                table,
                default_operation_timeout=ATTEMPT_S,
                default_attempt_timeout=ATTEMPT_S,
                default_read_rows_operation_timeout=60,
                default_read_rows_attempt_timeout=60,
                default_mutate_rows_operation_timeout=ATTEMPT_S,
                default_mutate_rows_attempt_timeout=ATTEMPT_S,
            )

    @classmethod
    def open(cls, uri: str) -> BigtableLive:
        """From its URI."""
        parts = path_of(uri, "bigtable", "live").split("/")
        if len(parts) != 3 or not all(parts):
            raise UriError(f"--live={uri!r} must look like bigtable:PROJECT/INSTANCE/TABLE")
        return cls(*parts)

    def begin(self, run: int) -> int:
        with self._errors():
            row = self._table.read_modify_write_row(_RUNS, IncrementRule(FAMILY, b"n", 1))
        return int.from_bytes(row.cells[0].value, "big")

    def upsert(self, rows: pl.DataFrame, token: int, until: int | None) -> Sequence[str]:
        refused: list[str] = []
        for batch in _batches(rows, token):
            with self._errors():
                refused += self._mutate(batch)
        if until is not None:
            # The cell's time is the progress itself: the highest stays, whoever writes last.
            progress = data.SetCell(FAMILY, b"until", str(until), timestamp_micros=_ms(until))
            with self._errors():
                self._mutate([data.RowMutationEntry(_PROGRESS, progress)])
        return refused

    def complete_until(self) -> int | None:
        with self._errors():
            row = self._table.read_row(_PROGRESS, row_filter=CellsColumnLimitFilter(1))
        return int(row.cells[0].value) if row else None

    def read(self, project: str, statistic: str, start: int, end: int) -> pl.DataFrame:
        span = data.RowRange(
            start_key=f"{project}#{statistic}#{_hour(start)}#",
            end_key=f"{project}#{statistic}#{_hour(end - 1)}$",  # "$" comes right after "#"
        )
        query = data.ReadRowsQuery(row_ranges=[span], row_filter=CellsColumnLimitFilter(1))
        with self._errors():
            cells = [cell for row in self._table.read_rows(query) for cell in row.cells]
        found = pl.DataFrame(map(_pane, cells), schema=derive.wire(_RECORD), orient="row")
        wanted = found.filter(pl.col("minute").is_between(start, end, closed="left"))
        return wanted.sort("minute", "dimensions")

    def close(self) -> None:
        self._table.close()
        self._client.close()

    def _mutate(self, entries: list[data.RowMutationEntry]) -> Iterator[str]:
        """Write entries; one message per entry that Bigtable will never take."""
        try:
            self._table.bulk_mutate_rows(entries)
        except MutationsExceptionGroup as group:
            failed = [e for e in group.exceptions if isinstance(e, FailedMutationEntryError)]
            if any(not isinstance(e.__cause__, _PERMANENT) for e in failed):
                raise
            return (
                f"{self.name}: {entries[e.index or 0].row_key!r}: {e.__cause__}" for e in failed
            )
        return iter(())

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except exceptions.GoogleAPICallError as error:
            raise LiveStoreError(f"live store {self.name}: {error}") from error
        except MutationsExceptionGroup as group:
            why = group.exceptions[0].__cause__ or group.exceptions[0]
            raise LiveStoreError(f"live store {self.name}: {group}: {why}") from group


def _batches(rows: pl.DataFrame, token: int) -> Iterator[list[data.RowMutationEntry]]:
    """Panes as changes, one entry a row of the table, in pieces that one request can carry."""
    hours: dict[str, list[data.Mutation]] = {}
    size = 0
    for row in rows.select(_RECORD.field_names).iter_rows(named=True):
        cell = _cell(row, token)
        key = "#".join((row["project"], row["statistic"], _hour(row["minute"]), row["dimensions"]))
        hours.setdefault(key, []).append(cell)
        size += len(cell.new_value) + len(key)
        if size > _BATCH_BYTES or len(hours) >= _BATCH_ROWS:
            yield [data.RowMutationEntry(key, cells) for key, cells in hours.items()]
            hours, size = {}, 0
    if hours:
        yield [data.RowMutationEntry(key, cells) for key, cells in hours.items()]


def _cell(row: dict[str, Any], token: int) -> data.SetCell:
    value = msgspec.msgpack.encode({name: row[name] for name in _VALUE})
    rank = token * _PANES + min(row["pane_index"], _PANES - 1)
    column = f"{row['minute'] // MINUTE_US % 60:02}".encode()
    return data.SetCell(FAMILY, column, value, timestamp_micros=row["minute"] + rank * 1000)


def _pane(cell: data.Cell) -> tuple[Any, ...]:
    project, statistic, hour, dimensions = cell.row_key.decode().split("#", 3)
    start = datetime.fromisoformat(f"{hour}:00+00:00") - datetime(1970, 1, 1, tzinfo=UTC)
    minute = start // timedelta(microseconds=1) + int(cell.qualifier) * MINUTE_US
    value = msgspec.msgpack.decode(cell.value)
    pane = {**dict(zip(LIVE_KEY, (project, statistic, dimensions, minute), strict=True)), **value}
    return tuple(pane.get(name) for name in _RECORD.field_names)


def _hour(at: int) -> str:
    return datetime.fromtimestamp(at // _HOUR_US * 3600, UTC).strftime("%Y-%m-%dT%H")


def _ms(at: int) -> int:
    return at // 1000 * 1000
