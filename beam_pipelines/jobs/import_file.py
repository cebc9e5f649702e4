"""CSV or JSON lines -> raw archive, through the same intake, blocks and archive step as HTTP.

Reads     options.input     one file; options.mapping says what its columns mean
Writes    options.archive   tables `events` and `dead_letters`, each block once
Failures  rows that are no event: dead letters with step `import` and the row's whole text
Repeat    block numbers come from file and mapping, event ids from file name and row: a second
          import of the same file adds nothing, and of a file that has grown only the new rows
          count
"""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import apache_beam as beam

from beam_pipelines import counters, runners
from beam_pipelines.connectors.rows import ReadRows
from beam_pipelines.connectors.uri import UriError, path_of
from beam_pipelines.connectors.warehouse import Warehouse
from beam_pipelines.options import ImportOptions
from beam_pipelines.progress import progress_bar
from beam_pipelines.steps.archive import Archive
from beam_pipelines.steps.intake import RowsToBlocks
from catalog import policies
from catalog.settings import Settings
from catalog.store import Catalog
from schemas_avro.tables import DEAD_LETTERS, EVENTS
from transforms import mapping
from transforms.judge import Origin


@dataclass(frozen=True)
class Plan:
    """One import: who the rows belong to, and under which name their blocks are numbered.

    suppressed: digests of the project's erased people
    """

    rows: mapping.RowMapping
    origin: Origin
    producer: str
    suppressed: frozenset[bytes] = frozenset()


def start(options: ImportOptions, flags: list[str], config: Settings) -> None:
    """Import the file and print what became of its rows."""
    for name in ("input", "mapping"):
        if not os.path.isfile(getattr(options, name)):
            raise UriError(f"--{name}={getattr(options, name)!r} is no file")
    catalog = Catalog(options.catalog)
    catalog.migrate()
    catalog.ensure_source(options.project, options.source)
    people = policies.suppressed(catalog).by_project.get(options.project, frozenset())
    plan = replace(make_plan(options, time.time_ns() // 1000), suppressed=people)
    with progress_bar(options.input) as progress:
        result = runners.run(
            options.runner,
            lambda root: build(root, options, plan, progress),
            flags,
            streaming=False,
            prism=config.prism_location,
        )
    done = counters.totals(result)
    print(
        f"{options.input}: {done['rows_read']:,} rows read, {done['rows_accepted']:,} events, "
        f"{done['rows_rejected']:,} dead letters, {done['rows_suppressed']:,} of erased people "
        f"left out; {done['events_archived']:,} rows new in the "
        f"archive, {done['blocks_held']:,} blocks were there already"
    )


def make_plan(options: ImportOptions, received_time: int) -> Plan:
    """Read the mapping. The producer's name stands for file content, mapping and owner."""
    text = Path(options.mapping).read_text()
    digest = hashlib.sha256(f"{options.project}\n{options.source}\n{text}\n".encode())
    with open(options.input, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return Plan(
        rows=mapping.parse(text),
        origin=Origin(project=options.project, source=options.source, received_time=received_time),
        producer=f"import-{digest.hexdigest()[:16]}",
    )


def build(root: beam.Pipeline, options: ImportOptions, plan: Plan, progress: str) -> None:
    """Wire the job. `progress` is a file that is told how many bytes were read."""
    directory = path_of(options.archive, "iceberg", "archive")
    warehouse = Warehouse(directory)
    blocks = (
        root
        | "Read" >> ReadRows(options.input, plan.rows.format, plan.rows.encoding, progress)
        | "Intake"
        >> RowsToBlocks(
            os.path.basename(options.input),
            plan.producer,
            plan.rows,
            plan.origin,
            plan.suppressed,
        )
    )
    blocks.events | "Archive" >> Archive(directory, EVENTS, warehouse.positions(EVENTS))
    blocks.dead_letters | "ArchiveDeadLetters" >> Archive(
        directory, DEAD_LETTERS, warehouse.positions(DEAD_LETTERS)
    )
