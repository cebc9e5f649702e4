"""Names that writers and readers of the tables share. Layout, no logic.

The warehouse is an Apache Iceberg catalogue: `iceberg:DIR` means pyiceberg's SQL catalogue in
`DIR/iceberg.db` with data below DIR, catalogue name and namespace `headwater`.
"""

from __future__ import annotations

from dataclasses import dataclass

NAMESPACE = "headwater"
CATALOG_FILE = "iceberg.db"


@dataclass(frozen=True, slots=True)
class Table:
    """A warehouse table: its name, its record type, and the column whose day partitions it.

    replaced: rows are replaced whole by project and this: month or day of `day_of`; empty: by
              project alone; None: rows are only added
    """

    name: str
    record: str
    day_of: str
    replaced: str | None = None

    @property
    def identifier(self) -> tuple[str, str]:
        """Namespace and name, as pyiceberg wants it."""
        return (NAMESPACE, self.name)


EVENTS = Table("events", "event", "event_time")
DEAD_LETTERS = Table("dead_letters", "dead_letter", "received_time")
REPLAYS = Table("replays", "replay", "received_time")
DAILY = Table("daily_aggregates", "daily_aggregate", "day", "month")
PERIODS = Table("period_aggregates", "period_aggregate", "day", "month")
SESSIONS = Table("sessions", "session", "day", "day")
REPEATS = Table("repeats", "repeat", "day", "day")
IDENTITY_EDGES = Table("identity_edges", "identity_edge", "first_time", "")
IDENTITIES = Table("identities", "identity", "first_time", "")
EXACT = (DAILY, PERIODS, REPEATS, SESSIONS, IDENTITY_EDGES, IDENTITIES)  # computed from `events`
LEDGER = Table("ledger", "ledger", "minute")
PARITY = Table("parity", "parity", "day", "month")
TABLES = (EVENTS, DEAD_LETTERS, REPLAYS, *EXACT, LEDGER, PARITY)

LIVE_VALUES = "live_values"
LIVE_KEY = ("project", "statistic", "dimensions", "minute")
LIVE_PROGRESS = "live_progress"
LIVE_PROGRESS_DDL = """CREATE TABLE IF NOT EXISTS live_progress (
  id INTEGER PRIMARY KEY CHECK (id = 0),
  complete_until INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
)"""

# What the names of producers that send by the bus begin with; importers have other names.
BUS_PRODUCERS = "collector-"

# Snapshot properties of the warehouse tables.
OURS = "headwater."  # what they begin with
POSITIONS = "headwater.positions"  # JSON {producer: [[first seq, last seq], …]} held so far
TOUCHED = "headwater.touched"  # JSON {project: [UTC day, …]} added by this snapshot
RECEIVED_UNTIL = "headwater.received-until"  # latest received_time held, us
BASED_ON = "headwater.based-on"  # snapshot id of `events` that the aggregates were computed from
RETIRED = "headwater.retired"  # JSON {project: …}: what retention took out, see transforms.retired

# Metadata of Parquet files of `events`.
MARK = "headwater.mark"  # JSON: what `repeats` said of their rows, see transforms.settled
