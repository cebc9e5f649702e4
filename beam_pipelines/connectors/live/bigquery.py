"""Panes of live numbers appended to BigQuery; a view shows the newest of each number and minute.

Appends go as Arrow through the Storage Write API's default stream: rows can be queried at once,
and a repeated append adds a pane a second time, which the view passes over like an older one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

import polars as pl
import pyarrow as pa
from google.api_core import exceptions
from google.cloud.bigquery import QueryJobConfig, ScalarQueryParameter
from google.cloud.bigquery_storage_v1 import types

from beam_pipelines.connectors import bigquery
from beam_pipelines.connectors.bigquery import Address, BigQueryError, Layout
from beam_pipelines.connectors.live.port import ATTEMPT_S, LiveStoreError
from schemas_avro import derive, load
from schemas_avro.tables import LIVE_KEY
from transforms.grid import MINUTE_US
from transforms.panes import EARLY, ORDER
from transforms.row_check import Limits

_RECORD = load("live_value")
_SCHEMA = derive.arrow(_RECORD).remove_metadata()
LAYOUT = Layout("live_value", "minute", ("project", "statistic"), kept_days=5 * 366)
TABLE, NEWEST = "live_panes", "_newest"
_REQUEST_BYTES = 8_000_000  # the service takes 10 MB
_QUERY_S = 60.0
_RECENT = timedelta(days=31)
_UNTIL = """
SELECT UNIX_MICROS(MAX(minute)) AS final FROM `{table}`
WHERE pane != @early AND minute >= TIMESTAMP_MICROS(@since)
"""


class BigQueryPanes:
    """`bigquery:PROJECT/DATASET[/TABLE]`; TABLE is `live_panes` if not named."""

    # A request holds at least one row.
    limits = Limits(row_bytes=_REQUEST_BYTES)

    def __init__(self, table: Address) -> None:
        self.table, self.name = table, f"bigquery:{table}"
        self._path = f"projects/{table.project}/datasets/{table.dataset}/tables/{table.table}"
        self._newest = table.beside(table.table + NEWEST)
        try:
            self._google = bigquery.client(table.project)
            bigquery.ensure_table(self._google, table, LAYOUT)
            bigquery.ensure_view(self._google, self._newest, newest_panes(table))
            self._write = bigquery.write_client()
        except BigQueryError as error:
            raise LiveStoreError(str(error)) from error

    @classmethod
    def open(cls, uri: str) -> BigQueryPanes:
        """From its URI."""
        return cls(Address.of(uri, "live", TABLE))

    def begin(self, run: int) -> int:
        return run  # the view goes by what the rows say

    def upsert(self, rows: pl.DataFrame, token: int, until: int | None) -> Sequence[str]:
        # `until` is not written: the rows say what is final, and the oldest go first.
        table = rows.select(_SCHEMA.names).to_arrow().cast(_SCHEMA)
        refused: list[str] = []
        for batch in _requests(table):
            refused += self._append(batch)
        return refused

    def complete_until(self) -> int | None:
        newest = self._ask("SELECT UNIX_MICROS(MAX(minute)) AS at FROM `{table}`", {})
        recent = (newest[0]["at"] or 0) - _RECENT // timedelta(microseconds=1)
        found = self._ask(_UNTIL, {"early": EARLY, "since": recent})[0]["final"]
        return None if found is None else int(found) + MINUTE_US

    def read(self, project: str, statistic: str, start: int, end: int) -> pl.DataFrame:
        times = [f.name for f in _RECORD.fields if f.kind == "timestamp"]
        columns = [f"UNIX_MICROS({n}) AS {n}" if n in times else n for n in _RECORD.field_names]
        sql = (
            f"SELECT {', '.join(columns)} FROM `{self._newest}` WHERE project = @project AND "
            "statistic = @statistic AND minute >= TIMESTAMP_MICROS(@first) "
            "AND minute < TIMESTAMP_MICROS(@until) ORDER BY 4, 3"
        )
        given: dict[str, str | int] = {
            "project": project,
            "statistic": statistic,
            "first": start,
            "until": end,
        }
        return pl.DataFrame(self._ask(sql, given), schema=derive.wire(_RECORD), orient="row")

    def close(self) -> None:
        self._google.close()
        self._write.transport.close()

    def _ask(self, sql: str, given: dict[str, str | int]) -> list[dict[str, int]]:
        kinds = {str: "STRING", int: "INT64"}
        parameters = [ScalarQueryParameter(n, kinds[type(v)], v) for n, v in given.items()]
        config = QueryJobConfig(query_parameters=parameters)
        try:
            with bigquery.errors(self.table):
                job = self._google.query(
                    sql.replace("{table}", str(self.table)),
                    config,
                    timeout=bigquery.LOOK_S,
                    retry=bigquery.ONCE,
                    job_retry=None,
                )
                return [dict(row) for row in job.result(timeout=_QUERY_S, job_retry=None)]
        except BigQueryError as error:
            raise LiveStoreError(str(error)) from error

    def _append(self, batch: pa.RecordBatch) -> list[str]:
        """Append rows; those that BigQuery refuses are named and left out."""
        answer = self._request(batch)
        if not answer.error.code:
            return []
        bad = {error.index: error.message for error in answer.row_errors}
        if not bad:
            raise LiveStoreError(f"live store {self.name}: {answer.error.message}")
        good = pa.array([number not in bad for number in range(batch.num_rows)])
        keys = batch.select(list(LIVE_KEY)).to_pylist()
        named = [f"{self.name}: {keys[n]}: {message}" for n, message in bad.items()]
        rest = batch.filter(good)
        return named + (self._append(rest) if rest.num_rows else [])

    def _request(self, batch: pa.RecordBatch) -> types.AppendRowsResponse:
        request = types.AppendRowsRequest(
            write_stream=f"{self._path}/streams/_default",
            arrow_rows=types.AppendRowsRequest.ArrowData(
                writer_schema={"serialized_schema": _SCHEMA.serialize().to_pybytes()},
                rows={"serialized_record_batch": batch.serialize().to_pybytes()},
            ),
        )
        try:
            answers = self._write.append_rows(iter([request]), timeout=ATTEMPT_S, retry=None)
            return next(iter(answers))
        except StopIteration:
            raise LiveStoreError(f"live store {self.name}: no answer to an append") from None
        except exceptions.GoogleAPICallError as error:
            raise LiveStoreError(f"live store {self.name}: {error}") from error


def newest_panes(table: Address) -> str:
    """The view's query: of each number and minute the newest pane of the newest run."""
    order = ", ".join(f"{column} DESC" for column in ORDER)
    return (
        f"SELECT * FROM `{table}` WHERE TRUE QUALIFY "
        f"ROW_NUMBER() OVER (PARTITION BY {', '.join(LIVE_KEY)} ORDER BY {order}) = 1"
    )


def _requests(table: pa.Table) -> Iterator[pa.RecordBatch]:
    """Pieces that one request can carry; a piece that is too large is halved."""
    for batch in table.combine_chunks().to_batches():
        waiting = [batch]
        while waiting:
            piece = waiting.pop()
            if piece.nbytes <= _REQUEST_BYTES or piece.num_rows == 1:
                yield piece
            else:
                half = piece.num_rows // 2
                waiting += [piece.slice(half), piece.slice(0, half)]
