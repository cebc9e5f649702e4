"""BigQuery: addresses, clients, and tables that are made, or widened, from an Avro record."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import grpc
from google.api_core import exceptions
from google.api_core.client_options import ClientOptions
from google.api_core.retry import Retry
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import GoogleAuthError
from google.cloud import bigquery
from google.cloud.bigquery_storage_v1 import BigQueryWriteClient
from google.cloud.bigquery_storage_v1.services.big_query_write.transports import (
    BigQueryWriteGrpcTransport,
)
from requests.exceptions import RequestException

from beam_pipelines.connectors.uri import UriError, path_of
from schemas_avro import derive, load

# Google's client knows the first; the second is ours, as the write API has no such variable.
REST_EMULATOR, GRPC_EMULATOR = "BIGQUERY_EMULATOR_HOST", "BIGQUERY_STORAGE_EMULATOR_HOST"
LOOK_S = 10.0  # longest wait for the answer to a small request
ONCE = Retry(predicate=lambda _: False)  # the client's own goes on for ten minutes
_SAME = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL"}  # legacy names of types


class BigQueryError(UriError):
    """BigQuery did not do what was asked; the message names table and remedy."""


@dataclass(frozen=True)
class Address:
    """A table. Written `bigquery:PROJECT/DATASET[/TABLE]`."""

    project: str
    dataset: str
    table: str

    @classmethod
    def of(cls, uri: str, option: str, table: str) -> Address:
        """From a URI; `table` where it names none. Raises UriError."""
        parts = path_of(uri, "bigquery", option).split("/")
        if len(parts) not in (2, 3) or not all(parts):
            raise UriError(f"--{option}={uri!r} must look like bigquery:PROJECT/DATASET[/TABLE]")
        return cls(parts[0], parts[1], parts[2] if len(parts) == 3 else table)

    def __str__(self) -> str:
        return f"{self.project}.{self.dataset}.{self.table}"

    def beside(self, table: str) -> Address:
        """Another table of the same dataset."""
        return Address(self.project, self.dataset, table)


@dataclass(frozen=True)
class Layout:
    """How a table lies: one partition a day of `day_of`, rows of a day sorted by `clustered`."""

    record: str
    day_of: str
    clustered: tuple[str, ...]
    kept_days: int | None = None

    def schema(self) -> list[bigquery.SchemaField]:
        """Derived from the record. JSON stays text, as in the archive's files."""
        fields = derive.bigquery(load(self.record), json_columns=False)
        return [bigquery.SchemaField.from_api_repr(field) for field in fields]

    def partitioning(self) -> bigquery.TimePartitioning:
        """By day; partitions older than `kept_days` vanish by themselves."""
        kept_ms = None if self.kept_days is None else self.kept_days * 86_400_000
        return bigquery.TimePartitioning(field=self.day_of, expiration_ms=kept_ms)


def client(project: str) -> bigquery.Client:
    """With Google's application default credentials; the emulator's where that is named."""
    host = os.environ.get(REST_EMULATOR)
    if not host:
        return bigquery.Client(project=project)
    return bigquery.Client(
        project=project,
        credentials=AnonymousCredentials(),
        client_options=ClientOptions(api_endpoint=host),
    )


def write_client() -> BigQueryWriteClient:
    """Client of the Storage Write API, likewise."""
    host = os.environ.get(GRPC_EMULATOR)
    if host:
        channel = grpc.insecure_channel(host)
        return BigQueryWriteClient(transport=BigQueryWriteGrpcTransport(channel=channel))
    if os.environ.get(REST_EMULATOR):
        raise BigQueryError(f"{REST_EMULATOR} is set but {GRPC_EMULATOR} is not: set both, or none")
    return BigQueryWriteClient()


@contextmanager
def errors(what: object) -> Iterator[None]:
    """What Google's clients raise, as BigQueryError that names `what`."""
    try:
        yield
    except (exceptions.GoogleAPIError, GoogleAuthError, RequestException) as error:
        raise BigQueryError(f"bigquery:{what}: {error}") from error


def ensure_table(google: bigquery.Client, table: Address, layout: Layout) -> bigquery.Table:
    """The table: made if it is missing, given the columns that have come since it was made.

    Raises BigQueryError where rows of the record would not fit it, naming the column.
    """
    with errors(table):
        try:
            found = google.get_table(str(table), timeout=LOOK_S, retry=ONCE)
        except exceptions.NotFound:
            return _create(google, table, layout)
        missing = _missing(table, found.schema, layout.schema())
        if not missing:
            return found
        # Files and rows of older versions have no value there, so it cannot be required.
        found.schema = [*found.schema, *(_nullable(field) for field in missing)]
        return google.update_table(found, ["schema"], timeout=LOOK_S, retry=ONCE)


def ensure_view(google: bigquery.Client, name: Address, query: str) -> None:
    """The view; left alone if it is there, so that people may change it."""
    view = bigquery.Table(str(name))
    view.view_query = query
    with errors(name):
        google.create_table(view, exists_ok=True, timeout=LOOK_S, retry=ONCE)


def _create(google: bigquery.Client, table: Address, layout: Layout) -> bigquery.Table:
    wanted = bigquery.Table(str(table), schema=layout.schema())
    wanted.time_partitioning = layout.partitioning()
    wanted.clustering_fields = list(layout.clustered)
    wanted.description = load(layout.record).doc
    try:
        google.get_dataset(f"{table.project}.{table.dataset}", timeout=LOOK_S, retry=ONCE)
        return google.create_table(wanted, exists_ok=True, timeout=LOOK_S, retry=ONCE)
    except exceptions.NotFound as error:
        raise BigQueryError(
            f"bigquery:{table}: no dataset {table.dataset!r} ({error}); make it where the data "
            f"may lie: bq mk --location=EU {table.project}:{table.dataset}"
        ) from error
    except exceptions.Forbidden as error:
        raise BigQueryError(
            f"bigquery:{table} is missing and may not be made ({error}); grant "
            f"roles/bigquery.dataEditor on {table.dataset}, or make it as docs/pipelines.md says"
        ) from error


def _missing(
    table: Address,
    found: Sequence[bigquery.SchemaField],
    wanted: Sequence[bigquery.SchemaField],
) -> list[bigquery.SchemaField]:
    """Columns that the table lacks. Raises BigQueryError for one that rows would not fit."""
    have = {field.name: field for field in found}
    known = {field.name for field in wanted}
    for field in wanted:
        there = have.get(field.name)
        if there is not None and _type(there) != _type(field):
            raise BigQueryError(
                f"bigquery:{table}: column {field.name} is {_type(there)}, rows have "
                f"{_type(field)}; name another table, or rename that column"
            )
    for name, field in have.items():
        if name not in known and field.mode == "REQUIRED":
            raise BigQueryError(
                f"bigquery:{table}: column {name} is required but rows have none; make it "
                f"nullable: ALTER TABLE `{table}` ALTER COLUMN {name} DROP NOT NULL"
            )
    return [field for field in wanted if field.name not in have]


def _type(field: bigquery.SchemaField) -> str:
    kind = _SAME.get(field.field_type, field.field_type)
    return f"ARRAY<{kind}>" if field.mode == "REPEATED" else kind


def _nullable(field: bigquery.SchemaField) -> bigquery.SchemaField:
    return bigquery.SchemaField(field.name, field.field_type, "NULLABLE", None, field.description)
