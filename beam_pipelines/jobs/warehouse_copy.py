"""Raw archive -> the same events in BigQuery, by load jobs. Bounded; beside ingest, not in it.

Reads     options.archive   table `events`: files that the copy does not have, at one snapshot
Writes    options.to        table `events`, partitioned by event day: new files are appended to
                            their day; a day that lost files (compaction, erasure, retention) is
                            replaced whole, at once
Failures  rows that do not fit the table are left out and counted; a job that failed is tried
          again, and the next run goes on with it
Restart   changes are written down before they are made, and each of their jobs has an id, which
          BigQuery runs once: a crash anywhere neither loses nor doubles a row
"""

from __future__ import annotations

from dataclasses import dataclass
from os.path import basename, exists

from beam_pipelines.connectors.bigquery import Address
from beam_pipelines.connectors.bigquery_copy import Copy, Held, Notes
from beam_pipelines.connectors.maintenance import files_by_day
from beam_pipelines.connectors.uri import UriError, path_of
from beam_pipelines.connectors.warehouse import Warehouse
from beam_pipelines.options import WarehouseCopyOptions
from beam_pipelines.progress import note, progress_bar
from catalog.settings import Settings
from schemas_avro.tables import EVENTS
from transforms.copy_plan import Change, changes


@dataclass(frozen=True)
class Files:
    """Files of `events` at the newest snapshot by UTC day (ISO); place and bytes by name."""

    by_day: dict[str, list[str]]
    paths: dict[str, str]
    sizes: dict[str, int]

    @classmethod
    def of(cls, archive: str) -> Files:
        """Read from the table's manifests."""
        days = files_by_day(Warehouse(archive), EVENTS)
        every = [file for files in days.values() for file in files]
        return cls(
            {d.isoformat(): sorted(basename(f.path) for f in files) for d, files in days.items()},
            {basename(file.path): file.path.removeprefix("file://") for file in every},
            {basename(file.path): file.bytes for file in every},
        )

    def missing_from(self, held: Held, most_bytes: int) -> list[Change]:
        """What is due."""
        return changes(held.copied, self.by_day, self.sizes, most_bytes)


def start(options: WarehouseCopyOptions, flags: list[str], config: Settings) -> None:
    """Bring the copy to the archive's newest snapshot, and say what was loaded."""
    archive = path_of(options.archive, "iceberg", "archive")
    table = _table(options)
    if options.dry_run:
        held = Notes(archive, table).read()
        for one in Files.of(archive).missing_from(held, options.load_mb << 20):
            what = "replace" if one.replaces else "add to"
            print(f"would {what} {one.day} in {table}: {len(one.files)} files")
        return
    notes = Notes(archive, table)
    with notes.alone():
        copy = Copy(table)
        try:
            print(run(archive, copy, notes, options.load_mb << 20))
        finally:
            copy.close()


def is_due(options: WarehouseCopyOptions) -> bool:
    """Is a copy wanted, and does the archive hold files that it has not? A cheap look."""
    if not options.to:
        return False
    archive = path_of(options.archive, "iceberg", "archive")
    held = Notes(archive, _table(options)).read()
    return bool(held.pending) or held.copied != Files.of(archive).by_day


def run(archive: str, copy: Copy, notes: Notes, most_bytes: int) -> str:
    """First what the last run left, then what has come since; a line on what was done."""
    held = notes.read()
    files = Files.of(archive)
    if held.table != copy.made:
        # Another table than last time. What is in it, if anything, is not known: it is replaced.
        empty: dict[str, list[str]] = {day: [] for day in files.by_day}
        held = Held(table=copy.made, copied=empty if copy.is_empty() else {})
    refused = count = 0
    for _ in ("left", "new"):
        if not held.pending:
            held.begin(files.missing_from(held, most_bytes))
        if not held.pending:
            break
        paths = {name: files.paths.get(name, "") for one in held.pending for name in one.files}
        if not all(map(exists, paths.values())):
            held.give_up()  # compacted away meanwhile: these days are replaced
            continue
        notes.write(held)
        with progress_bar("copy", len(held.pending), "days") as progress:
            for number, one in enumerate(held.pending):
                refused += copy.make(f"{held.plan}-{number}", one, paths)
                note(progress, "days", number + 1)
        count += len(held.pending)
        held.finish()
        notes.write(held)
    days = len(held.copied)
    return (
        f"{copy.table}: {count} days brought up to date, {refused} rows refused; it has {days} days"
    )


def _table(options: WarehouseCopyOptions) -> Address:
    if not options.to:
        raise UriError("--to or HEADWATER_WAREHOUSE_COPY must be bigquery:PROJECT/DATASET[/TABLE]")
    return Address.of(options.to, "to", EVENTS.name)
