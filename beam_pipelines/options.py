"""What a job is told: parsing is here, running elsewhere.

Each job has a frozen dataclass of options. Field metadata is the help text; defaults that depend
on the settings come from `catalog.settings`, so that a job started alone works on the same data
as `make run`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, TypeVar

from catalog.settings import Settings, read

RUNNERS = ("direct", "prism", "flink", "dataflow")

T = TypeVar("T")


def option(help_text: str, default: Any = MISSING) -> Any:
    """One option. `default` may be a function of the settings."""
    return field(metadata={"help": help_text, "default": default})


# A field belongs to one dataclass: what many jobs have is made anew for each.


def _archive() -> Any:
    return option("Warehouse: iceberg:DIRECTORY.", lambda s: s.archive_uri)


def _events() -> Any:
    return option("Bus topic of accepted events.", lambda s: s.events_uri)


def _dead_letters() -> Any:
    return option("Bus topic of dead letters.", lambda s: s.dead_letters_uri)


def _runner(default: str = "direct") -> Any:
    return option(f"Where it runs: {' or '.join(RUNNERS)}.", default)


def _dry_run(help_text: str) -> Any:
    return option(help_text, False)


@dataclass(frozen=True)
class RunnerOptions:
    """What every job that has a runner takes besides its own options."""

    dry_run: bool = _dry_run("Print what would be read and written and the steps, and stop.")
    job_name: str = option("Name of the job where the runner shows one.", "headwater")
    prism_location: str = option(
        "Prism: path of the binary; empty: beside Python, then PATH.", lambda s: s.prism_location
    )
    flink_lib: str = option(
        "Flink: directory of the job server's jars; empty: deploy/flink/target/dependency.",
        lambda s: s.flink_lib,
    )
    job_endpoint: str = option("Flink: HOST:PORT of a job server; empty: one of our own.", "")
    environment_type: str = option(
        "Flink: where Python runs: LOOPBACK (here), PROCESS or DOCKER.", "LOOPBACK"
    )
    health_port: int = option(
        "Port of a stream's health page and metrics on 127.0.0.1; 0: none.",
        lambda s: s.pipeline_port,
    )
    checkpointing_interval: int = option("Flink: time between two checkpoints, in ms.", 10_000)


@dataclass(frozen=True)
class IngestOptions:
    """Bus -> live numbers and raw archive, for ever."""

    events: str = _events()
    dead_letters: str = _dead_letters()
    live: str = option(
        "Live stores, separated by commas: sqlite:FILE, bigtable:PROJECT/INSTANCE/TABLE, "
        "bigquery:PROJECT/DATASET[/TABLE].",
        lambda s: s.live_uris,
    )
    archive: str = _archive()
    horizon_s: int = option(
        "How much later than it happened an event may be received and still move live numbers.",
        lambda s: s.live_horizon_s,
    )
    archive_every_s: int = option(
        "How long events wait for the next archive file, in seconds.", lambda s: s.archive_every_s
    )
    catalog: str = option(
        "Catalogue, for people's own metrics: SQLAlchemy URL; empty: none.", lambda s: s.catalog_url
    )
    prepare: bool = option("Make the bus's subscriptions where they are missing, and stop.", False)
    runner: str = _runner("prism")


@dataclass(frozen=True)
class RollupOptions:
    """Raw archive -> exact numbers of hours, days, weeks, months that new arrivals touched."""

    archive: str = _archive()
    catalog: str = option("Catalogue, for time zones: SQLAlchemy URL.", lambda s: s.catalog_url)
    grains: str = option(
        "Which to compute, of hour, day, week and month, with commas.", "hour,day,week,month"
    )
    all_days: bool = option("Compute every period anew, not only the touched ones.", False)
    dry_run: bool = _dry_run("Print what would be read and replaced, and stop.")
    runner: str = _runner()


@dataclass(frozen=True)
class SessionsOptions:
    """Raw archive -> table of sessions, for the days that new arrivals touched."""

    archive: str = _archive()
    catalog: str = option("Catalogue, for time zones: SQLAlchemy URL.", lambda s: s.catalog_url)
    all_days: bool = option("Compute every day anew, not only the touched ones.", False)
    dry_run: bool = _dry_run("Print what would be read and replaced, and stop.")
    runner: str = _runner()


@dataclass(frozen=True)
class IdentityOptions:
    """Raw archive -> which ids are one person, from identify, alias and group events."""

    archive: str = _archive()
    max_links: int = option("An id that is joined to more others than this joins nobody.", 100)
    taken_back: str = option(
        "CSV file with the columns project, kind (user or anonymous) and id: they join nobody.", ""
    )
    again: bool = option("Compute even where nothing is new.", False)
    dry_run: bool = _dry_run("Print what would be read and replaced, and stop.")
    runner: str = _runner()


@dataclass(frozen=True)
class ImportOptions:
    """CSV, JSON lines, Parquet or access logs -> raw archive, through the same intake as HTTP."""

    input: str = option("File to read, or a pattern such as 'logs/*.gz'; gzip and zstd too.")
    project: str = option("Project that the events belong to.")
    mapping: str = option(
        "TOML file that says which column is what; see docs/import.md. Not needed for access logs.",
        "",
    )
    format: str = option("Without a mapping: access_log.", "")
    source: str = option("Source within the project; made if it is not there.", "import")
    visitor_key_file: str = option(
        "Access logs: file with a secret of 16 bytes or more, so that a visitor has one id in "
        "several imports of a day; empty: a new secret, which is thrown away.",
        "",
    )
    archive: str = _archive()
    catalog: str = option("Catalogue: SQLAlchemy URL.", lambda s: s.catalog_url)
    dry_run: bool = _dry_run("Print what would be read and written, and stop.")
    runner: str = _runner()


@dataclass(frozen=True)
class CompactOptions:
    """Small files of the archive -> large ones; removes files that nobody needs any more."""

    archive: str = _archive()
    memory_mb: int = option("Memory for sorting, in MB; more goes to disk.", 512)
    grace_h: float = option("How long a file stays after the last need of it, in hours.", 24.0)
    dry_run: bool = _dry_run("Print what would be merged and removed, and stop.")
    runner: str = _runner()


@dataclass(frozen=True)
class RetentionOptions:
    """Takes out of archive, exact tables, spool and audit log what is kept no longer."""

    archive: str = _archive()
    catalog: str = option("Catalogue, for what projects keep.", lambda s: s.catalog_url)
    events: str = _events()
    dead_letters: str = _dead_letters()
    live: str = option("Live stores, separated by commas.", lambda s: s.live_uris)
    horizon_s: int = option("Live horizon, in seconds.", lambda s: s.live_horizon_s)
    raw_days: int = option("Days that raw events are kept.", lambda s: s.raw_days)
    aggregate_days: int = option("Days that exact numbers are kept.", lambda s: s.aggregate_days)
    spool_h: float = option("Hours that archived blocks stay on the spool.", lambda s: s.spool_h)
    audit_days: int = option("Days that the audit log is kept.", lambda s: s.audit_days)
    memory_mb: int = option("Memory for rewriting files, in MB.", 512)
    grace_h: float = option("How long a file stays after the last need of it, in hours.", 24.0)
    dry_run: bool = _dry_run("Print what would go, and stop.")


@dataclass(frozen=True)
class ReconcileOptions:
    """Bus and archive -> the ledger, per minute and source; exit code 1 if it does not add up."""

    archive: str = _archive()
    events: str = _events()
    dead_letters: str = _dead_letters()
    catalog: str = option("Catalogue, for erased people.", lambda s: s.catalog_url)
    window_s: int = option("How far back it looks at least, in seconds.", 600)
    patience_s: int = option("How long a block may be on its way, in seconds.", 300)
    all_minutes: bool = option("Everything that is on the bus, not only what is open.", False)
    dry_run: bool = _dry_run("Print what would be read and replaced, and stop.")
    runner: str = _runner()


@dataclass(frozen=True)
class ParityOptions:
    """Live minutes against the exact day; exit code 1 for a difference without a cause."""

    archive: str = _archive()
    live: str = option("Live store: sqlite:FILE.", lambda s: s.live_uri)
    catalog: str = option("Catalogue, for time zones.", lambda s: s.catalog_url)
    horizon_s: int = option("Live horizon, in seconds.", lambda s: s.live_horizon_s)
    days: int = option("How many whole days back, to the newest that is final.", 3)
    dry_run: bool = _dry_run("Print the days that would be compared, and stop.")
    runner: str = _runner()


@dataclass(frozen=True)
class ReplayOptions:
    """Dead letters -> events, after a fix; those that are refused again stay."""

    project: str = option("Only letters of this project.", "")
    source: str = option("Only letters of this source.", "")
    step: str = option("Only letters of this step: intake or import.", "")
    reason: str = option("Only letters with this reason now.", "")
    from_: str = option("Only letters received on this UTC day or later, YYYY-MM-DD.", "")
    to: str = option("Only letters received before the end of this UTC day, YYYY-MM-DD.", "")
    edits: str = option("TOML file of edits, see docs/pipelines.md.", "")
    mapping: str = option("TOML file that makes events of the JSON originals, as imports do.", "")
    archive: str = _archive()
    catalog: str = option("Catalogue: SQLAlchemy URL.", lambda s: s.catalog_url)
    dry_run: bool = _dry_run("Print what would become of the letters, with examples, and stop.")
    runner: str = _runner()


@dataclass(frozen=True)
class BackfillOptions:
    """Raw archive -> raw archive, through today's ingest code; the days are computed anew."""

    from_: str = option("First UTC day of events, YYYY-MM-DD; empty: from the beginning.", "")
    to: str = option("Last UTC day of events, YYYY-MM-DD; empty: to the end.", "")
    project: str = option("Only events of this project.", "")
    blocks: str = option(
        "Take the rows from these segments of the spool, a pattern such as "
        "'backup/events/*/*.blocks'; empty: from the archive itself.",
        "",
    )
    clear: str = option(
        "Columns to empty before they are found anew, such as browser_name,os_name; without "
        "--blocks what was found wrongly stays otherwise.",
        "",
    )
    archive: str = _archive()
    catalog: str = option("Catalogue, for erased people: SQLAlchemy URL.", lambda s: s.catalog_url)
    dry_run: bool = _dry_run("Print what would be read and replaced, and stop.")
    runner: str = _runner()


@dataclass(frozen=True)
class ExportOptions:
    """Raw events or the daily table -> CSV, JSON lines or Parquet files with a manifest."""

    output: str = option("Directory for the files; made if it is not there.")
    project: str = option("Project to export.")
    table: str = option("What: events or daily.", "events")
    format: str = option("csv, jsonl or parquet.", "csv")
    from_: str = option("First day, YYYY-MM-DD, UTC for events; empty: from the beginning.", "")
    to: str = option("Last day, YYYY-MM-DD; empty: to the end.", "")
    columns: str = option("Columns, separated by commas; empty: all.", "")
    file_mb: int = option("Size at which a new file is begun, in MB.", 128)
    keep_repeats: bool = option("Keep repeated events: as the archive has them.", False)
    archive: str = _archive()
    catalog: str = option("Catalogue, for erased people: SQLAlchemy URL.", lambda s: s.catalog_url)
    dry_run: bool = _dry_run("Print what would be read and written, and stop.")
    runner: str = _runner()


@dataclass(frozen=True)
class WarehouseCopyOptions:
    """Raw archive -> the same events in BigQuery, by load jobs."""

    to: str = option("Copy: bigquery:PROJECT/DATASET[/TABLE].", lambda s: s.warehouse_copy)
    archive: str = _archive()
    load_mb: int = option("Most that one load job takes, in MB of archive files.", 64)
    dry_run: bool = _dry_run("Print the days that would be loaded, and stop.")


@dataclass(frozen=True)
class ScheduleOptions:
    """Runs the jobs of `beam_pipelines.jobs.schedule` whenever they are due."""

    every_s: float = option(
        "Time between two looks for days to recompute, in seconds.", lambda s: s.rollup_every_s
    )


def parse(
    options: type[T], job: str, argv: Sequence[str], settings: Settings
) -> tuple[T, list[str]]:
    """Options of one job, and the flags left over for Beam. Exits 2 with usage on a bad one."""
    parser = argparse.ArgumentParser(
        prog=f"python -m beam_pipelines.run {job}",
        description=options.__doc__,
        epilog="Other flags go to Beam.",
        allow_abbrev=False,
    )
    own = fields(options)  # type: ignore[arg-type]
    names = {spec.name for spec in own}
    for spec in own:
        _add(parser, spec, settings)
    of_all = fields(RunnerOptions)
    shared = [spec for spec in of_all if "runner" in names or spec.name == "dry_run"]
    group = parser.add_argument_group("runner")
    for spec in shared:
        if spec.name not in names:
            _add(group, spec, settings)
    if "runner" in names:
        parser.set_defaults(job_name=f"headwater-{job}")
    known, rest = parser.parse_known_args(argv)
    values = vars(known)
    flags = _flags({spec.name: values[spec.name] for spec in shared})
    return options(**{name: values[name] for name in names}), [*flags, *rest]


def runner_options(flags: Sequence[str]) -> tuple[RunnerOptions, list[str]]:
    """Of the flags that `parse` returned, those of the runner, and the rest, for Beam."""
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    for spec in fields(RunnerOptions):
        _add(parser, spec, read({}))
    known, rest = parser.parse_known_args(flags)
    return RunnerOptions(**vars(known)), rest


def _flags(values: Mapping[str, Any]) -> list[str]:
    """Values as flags; parsing them gives the values again."""
    switches = [f"--{name}" for name, value in values.items() if value is True]
    return switches + [f"--{n}={v}" for n, v in values.items() if not isinstance(v, bool)]


def _add(parser: argparse._ActionsContainer, spec: Field[Any], settings: Settings) -> None:
    default = spec.metadata["default"]
    if isinstance(default, Callable):  # type: ignore[arg-type]
        default = default(settings)
    flag = f"--{spec.name.rstrip('_')}"  # from is a word of Python's own
    shown = {"help": spec.metadata["help"], "dest": spec.name}
    if default is MISSING:
        parser.add_argument(flag, required=True, **shown)
    elif isinstance(default, bool):
        parser.add_argument(flag, action="store_true", **shown)
    else:
        shown["help"] += " Default: %(default)s"
        choices = RUNNERS if spec.name == "runner" else None
        parser.add_argument(flag, default=default, type=type(default), choices=choices, **shown)
