"""One table of settings. Command-line help, environment reading and docs all come from it.

Each is read from the environment as `HEADWATER_<NAME>` in upper case; what is not set has the
default. A bad value names the variable, the value and what is wanted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

PREFIX = "HEADWATER_"
_KINDS: dict[type, str] = {int: "a whole number", float: "a number", str: "text"}
_LAST_PORT = 65_535


class SettingError(ValueError):
    """A setting has a value that cannot be used; the message names both and the remedy."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: name, default (its type is the setting's type), help with unit."""

    name: str
    default: str | int | float
    help: str
    secret: bool = False

    @property
    def variable(self) -> str:
        """Name of the environment variable."""
        return PREFIX + self.name.upper()


SETTINGS = (
    Setting("data_dir", "data", "Directory of everything kept on this machine."),
    Setting("collector_host", "127.0.0.1", "Address that the collector listens on."),
    Setting("reports_host", "127.0.0.1", "Address of the report pages; see docs/access.md."),
    Setting("collector_port", 8080, "TCP port of the collector."),
    Setting("reports_port", 8081, "TCP port of the report pages."),
    Setting("collector_workers", 1, "Collector processes."),
    Setting("collector_threads", 32, "Threads of one collector process, for large requests."),
    Setting("busy_after_s", 0.1, "How far a collector may lag before it answers 503, in s."),
    Setting("block_interval_s", 0.01, "Least time between blocks of events under load, in s."),
    Setting(
        "pipeline_port",
        0,
        "TCP port of the health page and metrics of ingest; 0: none, with `headwater up` any.",
    ),
    Setting("reports_workers", 1, "Report processes."),
    Setting("max_body_bytes", 5 << 20, "Largest request body as sent, in bytes; above: 413."),
    Setting("max_decoded_bytes", 20 << 20, "Largest body after decompression, in bytes."),
    Setting("max_batch_events", 2500, "Most events in one request; above: 413."),
    Setting("max_event_bytes", 128 << 10, "Largest event, in bytes of JSON; above: dead letter."),
    Setting("max_waiting_events", 200_000, "Events waiting for the disk at most; above: 503."),
    Setting("segment_bytes", 64 << 20, "Size at which the spool starts a new segment, in bytes."),
    Setting("key_refresh_s", 5.0, "How long a collector trusts its copy of the keys, in seconds."),
    Setting("bus", "spool:", "spool:, spool:/DIRECTORY or pubsub:PROJECT; see docs/bus.md."),
    Setting("publish_timeout_s", 2.0, "Longest wait for Pub/Sub before events go to disk, in s."),
    Setting("bus_lanes", 8, "Blocks under way to Pub/Sub at once, for each worker."),
    Setting("block_bytes", 1_000_000, "Largest block to Pub/Sub, in bytes; at most 10 MB."),
    Setting("disk_queue_bytes", 8 << 30, "Most that waits on disk for Pub/Sub, in bytes."),
    Setting("drain_bytes_per_s", 16 << 20, "Fastest emptying of the disk queue, in bytes/s."),
    Setting("trusted_proxies", 0, "Proxies of yours in front, whose X-Forwarded-For counts."),
    Setting("geoip_database", "", "Path of a MaxMind .mmdb file for places; empty: no places."),
    Setting("debug_endpoints", 0, "1: a development server, with /debug/ routes."),
    Setting("live_horizon_s", 600, "How late an event may be and still move live numbers, in s."),
    Setting("live_copies", "", "Further live stores, separated by commas; see docs/pipelines.md."),
    Setting("warehouse_copy", "", "Copy of raw events: bigquery:PROJECT/DATASET; empty: none."),
    Setting("archive_every_s", 5, "How long events wait for the next archive file, in seconds."),
    Setting("rollup_every_s", 30.0, "Time between two looks for days to recompute, in seconds."),
    Setting("raw_days", 731, "Days that raw events are kept, where a project says nothing."),
    Setting("aggregate_days", 1827, "Days that exact numbers are kept, likewise."),
    Setting("audit_days", 731, "Days that entries of the audit log are kept."),
    Setting("spool_h", 24.0, "Hours that blocks stay on the spool once they are archived."),
    Setting("sql_timeout_s", 30.0, "Longest run of one SQL query, in seconds."),
    Setting("sql_max_rows", 10_000, "Most rows that the SQL page shows."),
    Setting("sql_memory_mb", 2048, "Memory that one SQL query may use, in MB."),
    Setting(
        "insight_memory_mb", 3072, "Memory that one trend, funnel or other question may use, in MB."
    ),
    Setting("insight_timeout_s", 120.0, "Longest run of one query of such a question, in seconds."),
    Setting("insight_at_once", 4, "Such queries that run at once, in one process; others wait."),
    Setting("sql_threads", 2, "Threads that one SQL query may use."),
    Setting("sql_max_bytes", 50 << 30, "Most that one SQL query may read, in bytes on disk."),
    Setting("sql_at_once", 4, "SQL queries of people that run at once, on this machine."),
    Setting("sql_per_user", 3, "Of these, queries of one person or token."),
    Setting(
        "public_url", "", "Address of the pages as browsers see it: https://stats.example.org."
    ),
    Setting("session_idle_h", 12.0, "Hours without a request after which a session ends."),
    Setting("session_max_h", 168.0, "Hours after which one has to sign in again, in any case."),
    Setting("oidc_issuer", "", "OpenID Connect provider; empty: none. See docs/access.md."),
    Setting("oidc_client_id", "", "What the provider calls Headwater."),
    Setting("oidc_client_secret", "", "What Headwater proves that with.", secret=True),
    Setting("oidc_domains", "", "Domains whose people get an account by signing in, by commas."),
    Setting("oidc_role", "", "Their role in every project: viewer, analyst; empty: none yet."),
    Setting("export_timeout_s", 3600.0, "Longest run of one export, in seconds."),
    Setting("export_keep_days", 7.0, "Days that an export is kept for download."),
    Setting("export_part_mb", 256, "Size at which an export begins a new file, in MB."),
    Setting("exports_at_once", 2, "Exports that run at once, on this machine."),
    Setting(
        "export_to",
        "",
        "Folders and gs://BUCKETs that schedules may write below; empty: DATA_DIR/exported.",
    ),
    Setting(
        "prism_location", "", "Path of the Prism binary; empty: look beside Python, then PATH."
    ),
    Setting("token", "", "API token of `headwater query` and other clients.", secret=True),
    Setting("flink_lib", "", "Directory of the Flink job server's jars; empty: deploy/flink."),
)


@dataclass(frozen=True)
class Settings:
    """All settings with their values. Build with `read`."""

    data_dir: str
    collector_host: str
    reports_host: str
    collector_port: int
    reports_port: int
    collector_workers: int
    collector_threads: int
    busy_after_s: float
    block_interval_s: float
    pipeline_port: int
    reports_workers: int
    max_body_bytes: int
    max_decoded_bytes: int
    max_batch_events: int
    max_event_bytes: int
    max_waiting_events: int
    segment_bytes: int
    key_refresh_s: float
    bus: str
    publish_timeout_s: float
    bus_lanes: int
    block_bytes: int
    disk_queue_bytes: int
    drain_bytes_per_s: int
    trusted_proxies: int
    geoip_database: str
    debug_endpoints: int
    live_horizon_s: int
    live_copies: str
    warehouse_copy: str
    archive_every_s: int
    rollup_every_s: float
    raw_days: int
    aggregate_days: int
    audit_days: int
    spool_h: float
    sql_timeout_s: float
    sql_max_rows: int
    sql_memory_mb: int
    insight_memory_mb: int
    insight_timeout_s: float
    insight_at_once: int
    sql_threads: int
    sql_max_bytes: int
    sql_at_once: int
    sql_per_user: int
    public_url: str
    session_idle_h: float
    session_max_h: float
    oidc_issuer: str
    oidc_client_id: str
    oidc_client_secret: str = field(repr=False)
    oidc_domains: str
    oidc_role: str
    export_timeout_s: float
    export_keep_days: float
    export_part_mb: int
    exports_at_once: int
    export_to: str
    prism_location: str
    token: str = field(repr=False)
    flink_lib: str

    def path(self, *parts: str) -> Path:
        """A path inside the data directory, absolute."""
        return Path(self.data_dir).absolute().joinpath(*parts)

    @property
    def catalog_url(self) -> str:
        """SQLAlchemy address of the catalogue."""
        return f"sqlite:///{self.path('catalog.db')}"

    @property
    def spool(self) -> Path:
        """The spool's directory, absolute: where `bus` says, else in the data directory."""
        scheme, _, directory = self.bus.partition(":")
        return Path(directory).absolute() if scheme == "spool" and directory else self.path("spool")

    @property
    def events_uri(self) -> str:
        """Bus topic of accepted events."""
        return self._topic_uri("events")

    @property
    def dead_letters_uri(self) -> str:
        """Bus topic of dead letters."""
        return self._topic_uri("dead_letters")

    def _topic_uri(self, topic: str) -> str:
        scheme, _, rest = self.bus.partition(":")
        if scheme != "pubsub":
            return f"spool:{self.spool / topic}"
        place, question, create = rest.partition("?")
        project, _, prefix = place.partition("/")
        return f"pubsub:{project}/{prefix or 'headwater'}-{topic}{question}{create}"

    @property
    def live_uri(self) -> str:
        """Live store."""
        return f"sqlite:{self.path('live.db')}"

    @property
    def live_uris(self) -> str:
        """All stores of live numbers, separated by commas; the pages read the first."""
        return ",".join(filter(None, (self.live_uri, self.live_copies)))

    @property
    def archive_uri(self) -> str:
        """Iceberg warehouse with raw events, dead letters and aggregates."""
        return f"iceberg:{self.path('archive')}"


def read(environ: Mapping[str, str]) -> Settings:
    """Settings from the environment. Raises SettingError for an unknown or unreadable one."""
    known = {setting.variable: setting for setting in SETTINGS}
    for variable in environ:
        if variable.startswith(PREFIX) and variable not in known:
            raise SettingError(f"{variable} is not a setting; known are {', '.join(sorted(known))}")
    values = {
        s.name: _value(s, environ[s.variable]) if s.variable in environ else s.default
        for s in SETTINGS
    }
    return Settings(**{field.name: values[field.name] for field in fields(Settings)})  # type: ignore[arg-type]


def _value(setting: Setting, text: str) -> str | int | float:
    kind = type(setting.default)
    shown = "***" if setting.secret else repr(text)
    try:
        value = kind(text)
    except ValueError:
        raise SettingError(
            f"{setting.variable}={shown} is not {_KINDS[kind]}; {setting.help}"
        ) from None
    if isinstance(value, int | float) and not (
        0 < value < math.inf or value == setting.default == 0
    ):
        wanted = "0 or above" if setting.default == 0 else "above 0"
        raise SettingError(f"{setting.variable}={shown} must be {wanted}; {setting.help}")
    if setting.name.endswith("_port") and isinstance(value, int) and value > _LAST_PORT:
        raise SettingError(f"{setting.variable}={shown} must be 1-{_LAST_PORT}; {setting.help}")
    return value
