"""Promoted columns out of an event's context: page, campaign, device and the like.

Contexts have one shape, Segment's, whatever protocol they came by. They are read here, behind the
bus: the front door has no time to spare for what can be done later and again.
"""

from __future__ import annotations

import polars as pl

# Column of event.avsc -> path within the context.
PATHS: dict[str, tuple[str, ...]] = {
    "page_url": ("page", "url"),
    "page_path": ("page", "path"),
    "page_title": ("page", "title"),
    "referrer": ("page", "referrer"),
    "campaign_source": ("campaign", "source"),
    "campaign_medium": ("campaign", "medium"),
    "campaign_name": ("campaign", "name"),
    "campaign_term": ("campaign", "term"),
    "campaign_content": ("campaign", "content"),
    "user_agent": ("userAgent",),
    "app_name": ("app", "name"),
    "app_version": ("app", "version"),
    "os_name": ("os", "name"),
    "os_version": ("os", "version"),
    "device_type": ("device", "type"),
    "device_model": ("device", "model"),
    "locale": ("locale",),
    "time_zone": ("timezone",),
    "country": ("location", "country"),
    "region": ("location", "region"),
    "city": ("location", "city"),
    "library_name": ("library", "name"),
    "library_version": ("library", "version"),
}


def _shape() -> pl.Struct:
    fields: dict[str, dict[str, pl.DataType] | pl.DataType] = {}
    for head, *rest in PATHS.values():
        if rest:
            inner = fields.setdefault(head, {})
            assert isinstance(inner, dict)
            inner[rest[0]] = pl.String()
        else:
            fields[head] = pl.String()
    return pl.Struct({k: pl.Struct(v) if isinstance(v, dict) else v for k, v in fields.items()})


_SHAPE = _shape()


def promote(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` with the promoted columns filled from `context`, where that has them.

    rows: all columns of event.avsc. A context of another shape promotes nothing and stays as it
    is; whether it does is decided by it alone, not by its company.
    """
    contexts = rows["context"].drop_nulls().unique()
    contexts = contexts.filter(contexts != "{}")
    if contexts.is_empty():
        return rows
    found = contexts.to_frame().with_columns(_decoded(contexts).alias("_found"))
    columns = []
    for name, path in PATHS.items():
        value = pl.col("_found")
        for part in path:
            value = value.struct.field(part)
        columns.append(pl.when(value != "").then(value).alias(f"_{name}"))
    promoted = found.select("context", *columns)
    joined = rows.join(promoted, on="context", how="left", maintain_order="left")
    # What the event says of itself goes before what its request said.
    filled = [pl.coalesce(f"_{name}", name).alias(name) for name in PATHS]
    return joined.with_columns(filled).select(rows.columns)


def _decoded(contexts: pl.Series) -> pl.Series:
    """As structs; null where one has another shape, found by halving."""
    try:
        return contexts.str.json_decode(_SHAPE)
    except pl.exceptions.ComputeError:
        if len(contexts) == 1:
            return pl.Series([None], dtype=_SHAPE)
        half = len(contexts) // 2
        return pl.concat([_decoded(contexts[:half]), _decoded(contexts[half:])])
