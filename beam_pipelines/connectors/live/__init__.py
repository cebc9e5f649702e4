"""Stores of live numbers, chosen by URI; `open_store` is the only way in."""

from __future__ import annotations

from collections.abc import Callable

from beam_pipelines.connectors.live.bigquery import BigQueryPanes
from beam_pipelines.connectors.live.bigtable import BigtableLive
from beam_pipelines.connectors.live.port import LiveStore, LiveStoreError
from beam_pipelines.connectors.live.sqlite import SqliteLive
from beam_pipelines.connectors.uri import UriError

__all__ = ["LiveStore", "LiveStoreError", "open_store", "split_uris"]

_STORES: dict[str, Callable[[str], LiveStore]] = {
    "sqlite": SqliteLive.open,
    "bigtable": BigtableLive.open,
    "bigquery": BigQueryPanes.open,
}
WANTED = "sqlite:FILE, bigtable:PROJECT/INSTANCE/TABLE or bigquery:PROJECT/DATASET[/TABLE]"


def split_uris(live: str) -> tuple[str, ...]:
    """The URIs that `--live` names, separated by commas. Raises UriError for an unknown one."""
    uris = tuple(part.strip() for part in live.split(","))
    for uri in uris:
        scheme, colon, rest = uri.partition(":")
        if scheme not in _STORES or not colon or not rest:
            raise UriError(f"--live={live!r}: {uri!r} must look like {WANTED}")
    if len(set(uris)) < len(uris):
        raise UriError(f"--live={live!r} names a store twice")
    return uris


def open_store(uri: str) -> LiveStore:
    """The store behind a URI, its tables made if they are missing. Raises UriError."""
    (checked,) = split_uris(uri)
    return _STORES[checked.partition(":")[0]](checked)
