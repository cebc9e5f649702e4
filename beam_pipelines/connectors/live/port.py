"""What a store of live numbers does. Rows are polars columns of live_value.avsc in wire types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import polars as pl

from beam_pipelines.connectors.uri import UriError
from transforms.row_check import Limits

ATTEMPT_S = 5.0  # longest wait for a store that does not answer, of one write or look


class LiveStoreError(UriError):
    """The store did not do what was asked; the message names it. Asking again does no harm."""


class LiveStore(Protocol):
    """One row per number and minute: of all panes ever written the one with the newest run wins,
    within a run the one with the highest pane index, whatever order they come in.

    Every method raises LiveStoreError where the store is away, refuses, or was not set up.
    """

    limits: Limits

    def begin(self, run: int) -> int:
        """Token of the run that starts now (`run`: its start, us). Later tokens win."""

    def upsert(self, rows: pl.DataFrame, token: int, until: int | None) -> Sequence[str]:
        """Write panes, at most one per number and minute, sorted by minute; idempotent.

        until: end of a minute that is final once these rows are there, us; never goes back.
        Returns one message for every row that the store refused; the others are written.
        """

    def complete_until(self) -> int | None:
        """The highest `until` written, us; None in a new store."""

    def read(self, project: str, statistic: str, start: int, end: int) -> pl.DataFrame:
        """The numbers of minutes in [start, end), us, by minute and dimensions."""

    def close(self) -> None:
        """Give connections back. Twice does no harm."""
