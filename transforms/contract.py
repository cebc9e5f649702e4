"""Do the rows of a block keep what its record promises? Asked before a table would refuse them."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from schemas_avro.block import BlockError, decode
from schemas_avro.record import Record
from transforms.times import YEARS_US


def read_rows(record: Record, payload: bytes, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """The rows of a block, fit for every table. All columns, or `columns` and the required ones.

    Raises BlockError for what is no whole block of this record, and for a block in which a
    required field is empty or a required time lies in no calendar year: its writer is broken,
    and the block is set aside whole. Written by the collector or by an import, none is.
    """
    required = {f.name: f.kind for f in record.fields if f.required}
    wanted = None if columns is None else sorted({*columns, *required})
    meta, rows = decode(record, payload, wanted)
    for name, kind in required.items():
        column = rows[name]
        if column.null_count():
            raise BlockError(f"{column.null_count()} of {meta.count} rows have no {name}")
        if kind == "timestamp":
            _in_years(name, column)
    return rows


def _in_years(name: str, times: pl.Series) -> None:
    for at in (times.min(), times.max()):
        if isinstance(at, int) and not YEARS_US[0] <= at <= YEARS_US[1]:
            raise BlockError(f"{name} {at} us is in no year 1-9999")
