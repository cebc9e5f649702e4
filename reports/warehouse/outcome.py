"""What comes of a query: its rows, the job that makes them, and what that would read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import pyarrow as pa

from reports.warehouse.admit import Admitted
from reports.warehouse.estimate import Read
from reports.warehouse.execute import Job

Status = Literal["exact", "live, approximate"]


@dataclass(frozen=True)
class Result:
    """Rows of a query.

    truncated:      there are more rows than HEADWATER_SQL_MAX_ROWS, which are here
    as_of:          when the newest of what it read was written, us; None where that is nothing
    status:         how far it can be trusted; None where it read no table
    complete_until: of receipt, us; None where what it read does not say
    answered_from:  the exact table that it was answered from, where it asked for events
    """

    columns: list[str]
    types: list[str]
    rows: list[tuple[Any, ...]]
    truncated: bool
    elapsed_s: float
    as_of: int | None
    status: Status | None
    complete_until: int | None = None
    answered_from: str | None = None


@dataclass(frozen=True)
class Columns:
    """Rows of a query of our own. as_of as in Result; complete_until: of receipt, us."""

    table: pa.Table
    as_of: int | None
    complete_until: int | None
    elapsed_s: float


@dataclass(frozen=True)
class Made:
    """A job that may run, and how far what it reads goes.

    bytes:         of all files of its tables
    answered_from: as in Result
    left_out:      events of people that it does not see; None where all are in it
    """

    query: Admitted
    job: Job
    as_of: int | None
    complete_until: int | None
    bytes: int = 0
    answered_from: str | None = None
    left_out: int | None = None


@dataclass(frozen=True)
class Estimate:
    """What a query would read, table by table, and the engine's plan; bytes as on disk.

    own: the project's own share of the reads, about, whoever else is in the files
    """

    reads: list[Read]
    plan: str
    own: list[Read] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Of all tables."""
        return sum(one.rows for one in self.reads)

    @property
    def bytes(self) -> int:
        """Of all tables."""
        return sum(one.bytes for one in self.reads)
