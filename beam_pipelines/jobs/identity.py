"""Raw archive -> which ids are one person. Bounded; all of the archive each time.

Reads     options.archive   table `events`: identify, alias and group events with two ids
          options.taken_back   CSV file of ids that join nobody
Writes    options.archive   tables `identity_edges` and then `identities`, replaced whole, with the
                            snapshot of `events` they were computed from
Failures  none of its own   what is refused stays among the edges, with the reason
Restart   from the start    a crash leaves each table as it was; the same archive and options give
                            the same bytes
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import apache_beam as beam

from beam_pipelines.connectors.exact_tables import computed_from, parts, replace_rows
from beam_pipelines.connectors.uri import UriError, path_of
from beam_pipelines.connectors.warehouse import Warehouse
from beam_pipelines.jobs.reading import is_behind, run_on_archive
from beam_pipelines.options import IdentityOptions
from beam_pipelines.steps.counted import File
from beam_pipelines.steps.identity import IdentityFiles
from beam_pipelines.work import steps_of
from catalog.settings import Settings
from schemas_avro.tables import EVENTS, IDENTITIES, IDENTITY_EDGES
from transforms.identity import Node, TakenBackError, read_taken_back

_ALL = "project != ''"


@dataclass(frozen=True)
class Plan:
    """What one run does."""

    based_on: int
    files: tuple[File, ...]
    steps: int
    taken_back: frozenset[Node]


def start(options: IdentityOptions, flags: list[str], config: Settings) -> None:
    """Compute who is who; with nothing new it ends at once."""
    directory = path_of(options.archive, "iceberg", "archive")
    plan = make_plan(Warehouse(directory), options)
    if plan is None:
        return
    if options.dry_run:
        print(f"would read {len(plan.files)} files and replace {_TABLES}")
        return
    run_on_archive(
        "identity", options, flags, plan.steps, lambda root, work: build(root, options, plan, work)
    )
    print(f"{_TABLES} replaced from {len(plan.files)} files")


def is_due(options: IdentityOptions) -> bool:
    """Did anything reach the archive that the tables do not know? A cheap look."""
    return is_behind(options, IDENTITIES)


def make_plan(warehouse: Warehouse, options: IdentityOptions) -> Plan | None:
    """What must be read; None: nothing new. Raises UriError for a list that cannot be read."""
    current = warehouse.table(EVENTS).current_snapshot()
    known = computed_from(warehouse, IDENTITIES)
    if current is None or (current.snapshot_id == known and not options.again):
        return None
    found = parts(warehouse, current.snapshot_id, None, needs="anonymous_id")
    files = tuple(File(number, part.path, True) for number, part in enumerate(found))
    steps = sum(steps_of(part.rows) for part in found)
    return Plan(current.snapshot_id, files, steps, _taken_back(options.taken_back))


def _taken_back(path: str) -> frozenset[Node]:
    if not path:
        return frozenset()
    try:
        return read_taken_back(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, TakenBackError) as error:
        raise UriError(f"--taken_back={path!r} cannot be read: {error}") from error


def build(root: beam.Pipeline, options: IdentityOptions, plan: Plan, work: str) -> None:
    """Wire the job."""
    directory = path_of(options.archive, "iceberg", "archive")
    written = (
        root
        | "Files" >> beam.Create(plan.files)
        | "Identity" >> IdentityFiles(options.max_links, plan.taken_back, directory, work)
    )
    # Started by one element, not by the files: what has become empty is replaced as well.
    (
        root
        | "Once" >> beam.Create([directory])
        | "Replace"
        >> beam.Map(
            _replace,
            beam.pvalue.AsList(written[IdentityFiles.EDGES]),
            beam.pvalue.AsList(written[IdentityFiles.IDENTITIES]),
            plan.based_on,
        )
    )


def _replace(directory: str, edges: list[str], people: list[str], based_on: int) -> None:
    warehouse = Warehouse(directory)
    replace_rows(warehouse, IDENTITY_EDGES, sorted(edges), _ALL, {"": based_on})
    replace_rows(warehouse, IDENTITIES, sorted(people), _ALL, {"": based_on})


_TABLES = f"{IDENTITY_EDGES.name} and {IDENTITIES.name}"
