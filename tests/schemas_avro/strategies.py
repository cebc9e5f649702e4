"""Rows of any record, as hypothesis makes them."""

from __future__ import annotations

from datetime import date

import polars as pl
from hypothesis import strategies as st

from schemas_avro import Record, derive

INT64 = st.integers(-(2**63), 2**63 - 1)
VALUES = {
    "string": st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    "long": INT64,
    "timestamp": INT64,
    "int": st.integers(-(2**31), 2**31 - 1),
    "bytes": st.binary(max_size=40),
    "date": st.dates(date(1, 1, 1), date(9999, 12, 31)),
}
# Filled from the block's metadata when it is read; never written.
LINEAGE = {"producer", "seq", "row"}


@st.composite
def frames(draw: st.DrawFn, record: Record, max_rows: int = 5) -> pl.DataFrame:
    """Any values in any of the record's columns; received_time is always filled, as blocks ask."""
    rows = draw(st.integers(1, max_rows))
    names = [name for name in record.field_names if name not in LINEAGE]
    chosen = draw(st.sets(st.sampled_from(names))) | {"received_time"}
    wire = derive.wire(record)
    columns = {}
    for name in record.field_names:
        if name in chosen:
            value = VALUES[record[name].kind]
            cell = value if name == "received_time" else st.none() | value
            columns[name] = draw(st.lists(cell, min_size=rows, max_size=rows))
    return pl.DataFrame(columns, schema={name: wire[name] for name in columns})
