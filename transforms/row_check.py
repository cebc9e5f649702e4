"""Is a row fit for a table of another system? Asked before the sink, which would refuse a batch."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from schemas_avro.record import Field, Record

_FIRST_US, _LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999  # years 1 to 9999
_FIXED_BYTES = 8  # of a number or a time
REASON = "refused"


@dataclass(frozen=True)
class Limits:
    """What a system takes.

    row_bytes: largest row: text and bytes as they are, 8 bytes for every other value
    key_bytes: largest key, the `key` columns together; 0: none
    """

    row_bytes: int
    key: tuple[str, ...] = ()
    key_bytes: int = 0

    def __post_init__(self) -> None:
        if self.row_bytes <= 0 or self.key_bytes < 0 or bool(self.key) != bool(self.key_bytes):
            raise ValueError(f"{self}: sizes are positive, and a key has a size")


def split(rows: pl.DataFrame, record: Record, limits: Limits) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(fit, refused) rows in wire types; refused ones say why in the column `refused`.

    Columns of `record` that `rows` lacks are null in every row.
    """
    have = {f.name: f for f in record.fields if f.name in rows.columns}
    lacking = [f.name for f in record.fields if f.required and f.name not in have]
    checks = [pl.lit(f"{lacking[0]} is missing")] if lacking else []
    checks += [_missing(f) for f in have.values() if f.required]
    checks += [_out_of_range(f) for f in have.values() if f.kind == "timestamp"]
    checks.append(_too_large("row", _bytes(list(have.values())), limits.row_bytes))
    if limits.key:
        keys = _bytes([have[name] for name in limits.key if name in have])
        checks.append(_too_large("key", keys, limits.key_bytes))
    judged = rows.with_columns(pl.coalesce(checks).alias(REASON))
    fit = judged.filter(pl.col(REASON).is_null()).drop(REASON)
    return fit, judged.filter(pl.col(REASON).is_not_null())


def _missing(field: Field) -> pl.Expr:
    return pl.when(pl.col(field.name).is_null()).then(pl.lit(f"{field.name} is missing"))


def _out_of_range(field: Field) -> pl.Expr:
    outside = ~pl.col(field.name).is_between(_FIRST_US, _LAST_US)
    return pl.when(outside).then(
        pl.format("{} = {} us is in no year 1-9999", pl.lit(field.name), field.name)
    )


def _bytes(fields: list[Field]) -> pl.Expr:
    sizes = {"string": lambda c: c.str.len_bytes(), "bytes": lambda c: c.bin.size()}
    of_each = [
        sizes[f.kind](pl.col(f.name)).fill_null(0) if f.kind in sizes else pl.lit(_FIXED_BYTES)
        for f in fields
    ]
    return pl.sum_horizontal(*of_each)


def _too_large(what: str, size: pl.Expr, most: int) -> pl.Expr:
    message = pl.format(f"{what} of {{}} bytes, at most {most}", size)
    return pl.when(size > most).then(message)
