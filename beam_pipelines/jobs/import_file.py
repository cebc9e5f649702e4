"""Files -> raw archive, through the same intake, blocks and archive step as HTTP. Bounded.

Reads     options.input     CSV, JSON lines, Parquet or access logs, plain, gzip or zstd; a pattern
                            such as logs/*.gz stands for many. options.mapping says what is what
Writes    options.archive   tables `events` and `dead_letters`, each block once, in one commit each
Failures  rows that are no event: dead letters with step `import` and the row's whole text; where a
                            file is cut off, one that says so
Restart   block numbers come from name, content and mapping, event ids from name and row: a second
          import of the same file adds nothing, and of a file that has grown only the new rows
          count
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

import apache_beam as beam
from sqlalchemy import select

from beam_pipelines import counters, runners
from beam_pipelines.connectors import files
from beam_pipelines.connectors.rows import ReadRows, RowFile
from beam_pipelines.connectors.uri import UriError, path_of
from beam_pipelines.connectors.warehouse import Warehouse
from beam_pipelines.options import ImportOptions
from beam_pipelines.progress import progress_bar
from beam_pipelines.steps.archive import Archive
from beam_pipelines.steps.intake import Intake, RowsToBlocks
from catalog import policies
from catalog.models import Project
from catalog.settings import Settings
from catalog.store import Catalog
from schemas_avro.tables import DEAD_LETTERS, EVENTS
from transforms import mapping
from transforms.access_logs import Visitors
from transforms.judge import Origin

_LEAST_KEY_BYTES = 16


@dataclass(frozen=True)
class Plan:
    """One import: the files with the names of their blocks, and what the rows are held to."""

    files: tuple[RowFile, ...]
    intake: Intake
    visitors: Visitors


def start(options: ImportOptions, flags: list[str], config: Settings) -> None:
    """Import the files and print what became of their rows."""
    found = files.find(options.input, "input")
    text = _mapping(options)
    mapping.parse(text)
    catalog = Catalog(options.catalog)
    catalog.migrate()
    erased = policies.count_suppressed(catalog, options.project)
    if options.dry_run:
        size = files.size_of(found)
        print(f"would read {len(found)} files, {size:,} bytes, and write {options.archive}:")
        print("\n".join(f"  {file.name}" for file in found))
        print(f"{erased:,} ids of erased people are left out")
        return
    catalog.ensure_source(options.project, options.source)
    people = policies.suppressed(catalog).by_project.get(options.project, frozenset())
    origin = Origin(options.project, options.source, received_time=time.time_ns() // 1000)
    plan = Plan(
        tuple(RowFile(f.path, f.name, _producer(f, text, options)) for f in found),
        Intake(mapping.parse(text), origin, people, config.max_event_bytes),
        Visitors(
            _visitor_key(options.visitor_key_file), _address_handling(catalog, options.project)
        ),
    )
    with progress_bar(os.path.basename(options.input), files.size_of(found)) as progress:
        result = runners.run(
            options.runner,
            lambda root: build(root, options, plan, progress),
            flags,
            streaming=False,
        )
    done = counters.totals(result)
    print(
        f"{options.input}: {done['rows_read']:,} rows read, {done['rows_accepted']:,} events, "
        f"{done['rows_rejected']:,} dead letters, {done['rows_suppressed']:,} of erased people "
        f"left out; {done['events_archived']:,} rows new in the "
        f"archive, {done['blocks_held']:,} blocks were there already"
    )


def build(root: beam.Pipeline, options: ImportOptions, plan: Plan, progress: str) -> None:
    """Wire the job. `progress` is the directory that `progress_bar` made."""
    directory = path_of(options.archive, "iceberg", "archive")
    warehouse = Warehouse(directory)
    rows = plan.intake.rows
    blocks = (
        root
        | "Read" >> ReadRows(plan.files, rows.format, rows.encoding, plan.visitors, progress)
        | "Intake" >> RowsToBlocks(plan.intake)
    )
    blocks.events | "Archive" >> Archive(directory, EVENTS, warehouse.positions(EVENTS))
    blocks.dead_letters | "ArchiveDeadLetters" >> Archive(
        directory, DEAD_LETTERS, warehouse.positions(DEAD_LETTERS)
    )


def _mapping(options: ImportOptions) -> str:
    if options.mapping:
        if not os.path.isfile(options.mapping):
            raise UriError(f"--mapping={options.mapping!r} is no file")
        return Path(options.mapping).read_text(errors="replace")
    if options.format == "access_log":
        return mapping.ACCESS_LOG
    raise UriError("--mapping is needed: the TOML file that says which column is what")


def _producer(file: files.InputFile, text: str, options: ImportOptions) -> str:
    """Stands for the file's name and content, the mapping and the owner."""
    said = f"{options.project}\n{options.source}\n{text}\n{file.name}\n"
    digest = hashlib.sha256(said.encode(errors="replace"))
    with open(file.path, "rb") as opened:
        while piece := opened.read(1 << 20):
            digest.update(piece)
    return f"import-{digest.hexdigest()[:16]}"


def _address_handling(catalog: Catalog, project: str) -> str:
    with catalog.session() as session:
        return session.scalars(select(Project.ip).where(Project.slug == project)).one()


def _visitor_key(path: str) -> bytes:
    """The file's content, or a key that nobody will know once the import is over."""
    if not path:
        return secrets.token_bytes(32)
    try:
        key = Path(path).read_bytes().strip()
    except OSError as error:
        raise UriError(f"--visitor_key_file={path!r} cannot be read: {error.strerror}") from None
    if len(key) < _LEAST_KEY_BYTES:
        raise UriError(f"--visitor_key_file={path!r} must hold {_LEAST_KEY_BYTES} bytes or more")
    return key
