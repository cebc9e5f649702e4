"""Column batches on the way between steps: Arrow IPC bytes, which every runner can carry."""

from __future__ import annotations

import io

import polars as pl


def pack(rows: pl.DataFrame) -> bytes:
    """A batch as bytes."""
    out = io.BytesIO()
    rows.write_ipc(out)
    return out.getvalue()


def unpack(packed: bytes) -> pl.DataFrame:
    """Inverse of pack."""
    return pl.read_ipc(io.BytesIO(packed))
