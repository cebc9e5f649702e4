"""What the archive makes of an event that the collector took in."""

from __future__ import annotations

from typing import Any

import polars as pl

from schemas_avro import derive, load
from transforms.context import PATHS, promote


def promoted(row: dict[str, Any]) -> dict[str, Any]:
    """Promoted columns of one row that have a value."""
    types = derive.wire(load("event"))
    frame = pl.DataFrame({name: [row.get(name)] for name in types}, schema=types)
    (found,) = promote(frame).to_dicts()
    return {name: found[name] for name in PATHS if found[name] is not None}
