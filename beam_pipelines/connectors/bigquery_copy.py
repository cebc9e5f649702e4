"""A copy of the archive's events in BigQuery, made by load jobs. Which files it holds is written
down beside the archive, and what is about to change before it is changed."""

from __future__ import annotations

import fcntl
import io
import logging
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from google.api_core import exceptions
from google.cloud import bigquery as google

from beam_pipelines.connectors import bigquery
from beam_pipelines.connectors.bigquery import Address, BigQueryError, Layout
from schemas_avro import derive, load
from schemas_avro.tables import EVENTS
from transforms import row_check
from transforms.copy_plan import Change

log = logging.getLogger(__name__)
LAYOUT = Layout(EVENTS.record, EVENTS.day_of, ("project", "type", "name"))
_RECORD = load(EVENTS.record)
_SCHEMA = derive.arrow(_RECORD)
_TIMES = [field.name for field in _RECORD.fields if field.kind == "timestamp"]
_LIMITS = row_check.Limits(row_bytes=50_000_000)  # half of what BigQuery takes
_CHUNK_ROWS = 50_000
_TRIES = 5
_WAIT_S, _UPLOAD_S = 3600.0, 600.0
_STAGED_FOR = timedelta(days=1)


@dataclass
class Held:
    """What the copy holds, and what was being loaded when it was last written down.

    table:   when the table was made; in another one nothing is held
    copied:  day -> names of the files whose rows are there
    plan:    name of the changes that are under way: job ids are made of it
    pending: those changes; until they are done nobody knows which of them are there
    """

    table: str = ""
    copied: dict[str, list[str]] = field(default_factory=dict)
    plan: str = ""
    pending: list[Change] = field(default_factory=list)

    def begin(self, pending: list[Change]) -> None:
        """Changes that are to be made now."""
        self.plan, self.pending = uuid.uuid4().hex, pending

    def finish(self) -> None:
        """All of them are done."""
        for one in self.pending:
            before = [] if one.replaces else self.copied.get(one.day, [])
            self.copied[one.day] = sorted({*before, *one.files})
        self.copied = {day: files for day, files in self.copied.items() if files}
        self.plan, self.pending = "", []

    def give_up(self) -> None:
        """They cannot be done any more: their days are held by nobody."""
        for one in self.pending:
            self.copied.pop(one.day, None)
        self.plan, self.pending = "", []


class Notes:
    """`<archive>/copies/<table>.json`; only one process at a time may have it."""

    def __init__(self, archive: str, table: Address) -> None:
        self._path = Path(archive, "copies", f"{table}.json")

    def read(self) -> Held:
        """What was written last; nothing where nothing was, or it cannot be read."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Held)
        except (FileNotFoundError, msgspec.DecodeError):
            return Held()

    def write(self, held: Held) -> None:
        """Durable before it returns."""
        new = self._path.with_suffix(".new")
        with new.open("wb") as file:
            file.write(msgspec.json.encode(held))
            file.flush()
            os.fsync(file.fileno())
        new.rename(self._path)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Raises BigQueryError while another process copies to the same table."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_suffix(".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BigQueryError(
                    f"another process copies to {self._path.stem}; wait for its end"
                ) from None
            yield


class Copy:
    """The table in BigQuery.

    A change is loaded into a table of its own first, however often, and then shown by one job, a
    free copy job or a MERGE. That job has an id, which BigQuery runs once; so a change that is made
    again changes nothing, and nobody ever sees half of one.
    """

    def __init__(self, table: Address) -> None:
        self.table = table
        self._google = bigquery.client(table.project)
        found = bigquery.ensure_table(self._google, table, LAYOUT)
        self.made, self._location = str(found.created), found.location

    def is_empty(self) -> bool:
        """Has it no row at all? Asked of the rows themselves, which costs nothing."""
        with bigquery.errors(self.table):
            sql = f"SELECT NOT EXISTS(SELECT 1 FROM `{self.table}`) AS nothing"
            (row,) = self._google.query(sql, location=self._location).result(timeout=60)
        return bool(row["nothing"])

    def close(self) -> None:
        """Give the connections back."""
        self._google.close()

    def make(self, name: str, change: Change, paths: Mapping[str, str]) -> int:
        """Make a change unless it was made; returns the rows refused.

        name: of this change and no other, of letters, digits and `-`; paths: file -> its place
        """
        beside = self.table.beside(f"{self.table.table}_{name.replace('-', '_')}")
        with bigquery.errors(self.table):
            job_id = self._to_run(f"headwater-{name}")
            refused = self._stage(beside, change, paths) if job_id else 0
            if job_id:
                self._show(job_id, change, beside).result(timeout=_WAIT_S)
            self._google.delete_table(str(beside), not_found_ok=True, timeout=bigquery.LOOK_S)
        return refused

    def _to_run(self, job: str) -> str:
        """Id under which a job is to be run; empty: it succeeded already. Waits for one that runs.

        A job that failed keeps its id, so another try needs another.
        """
        for attempt in range(_TRIES):
            job_id = f"{job}-{attempt}"
            try:
                found = self._google.get_job(
                    job_id, location=self._location, timeout=bigquery.LOOK_S
                )
            except exceptions.NotFound:
                return job_id
            with suppress(exceptions.GoogleAPICallError):
                found.result(timeout=_WAIT_S)
            if found.error_result is None:
                return ""
        raise BigQueryError(f"bigquery:{self.table}: job {job} failed {_TRIES} times")

    def _stage(self, beside: Address, change: Change, paths: Mapping[str, str]) -> int:
        staging = google.Table(str(beside), schema=LAYOUT.schema())
        staging.time_partitioning = LAYOUT.partitioning()
        staging.clustering_fields = list(LAYOUT.clustered)
        staging.expires = datetime.now(UTC) + _STAGED_FOR  # where nobody comes back to remove it
        self._google.create_table(staging, exists_ok=True, timeout=bigquery.LOOK_S)
        refused = 0
        write = google.WriteDisposition.WRITE_TRUNCATE  # of what a try before this one left
        for part in change.parts:
            body, unfit = as_parquet([paths[file] for file in part])
            config = google.LoadJobConfig(
                source_format=google.SourceFormat.PARQUET,
                schema=LAYOUT.schema(),
                write_disposition=write,
            )
            self._google.load_table_from_file(
                body, str(beside), job_config=config, location=self._location, timeout=_UPLOAD_S
            ).result(timeout=_WAIT_S)
            write = google.WriteDisposition.WRITE_APPEND
            refused += unfit
        return refused

    def _show(
        self, job_id: str, change: Change, beside: Address
    ) -> google.CopyJob | google.QueryJob:
        if change.replaces:
            sql = replacing(self.table, change, beside)
            return self._google.query(sql, job_id=job_id, location=self._location, job_retry=None)
        config = google.CopyJobConfig(write_disposition=google.WriteDisposition.WRITE_APPEND)
        return self._google.copy_table(
            str(beside), str(self.table), job_id=job_id, job_config=config, location=self._location
        )


def replacing(table: Address, change: Change, beside: Address) -> str:
    """SQL that puts the rows of `beside` in the place of the day's, in one atomic statement."""
    column = LAYOUT.day_of
    of_day = f"DATE({{}}{column}, 'UTC') = DATE '{change.day}'"
    if not change.parts:
        return f"DELETE FROM `{table}` WHERE {of_day.format('')}"
    names = ", ".join(field.name for field in _RECORD.fields)
    return (
        f"MERGE `{table}` AS kept USING `{beside}` AS new ON FALSE "
        f"WHEN NOT MATCHED BY SOURCE AND {of_day.format('kept.')} THEN DELETE "
        f"WHEN NOT MATCHED THEN INSERT ({names}) VALUES ({names})"
    )


def as_parquet(paths: list[str]) -> tuple[io.BytesIO, int]:
    """The rows of archive files as one Parquet file, and how many do not fit BigQuery."""
    body, refused = io.BytesIO(), 0
    with pq.ParquetWriter(body, _SCHEMA, compression="zstd") as writer:
        for path in paths:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(_CHUNK_ROWS):
                    fit, unfit = row_check.split(_wire(batch), _RECORD, _LIMITS)
                    refused += unfit.height
                    if unfit.height:
                        log.error("%s: %s rows refused: %s", path, unfit.height, unfit[0, -1])
                    writer.write_table(fit.select(_SCHEMA.names).to_arrow().cast(_SCHEMA))
    body.seek(0)
    return body, refused


def _wire(batch: pa.RecordBatch) -> pl.DataFrame:
    """Rows of a file in wire types; columns that are younger than the file are null."""
    rows = pl.DataFrame(pl.from_arrow(batch))
    rows = rows.with_columns(pl.col(n).dt.timestamp("us") for n in _TIMES if n in rows.columns)
    wire = derive.wire(_RECORD)
    return rows.with_columns(pl.lit(None, t).alias(n) for n, t in wire.items() if n not in rows)
