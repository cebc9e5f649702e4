"""What a job is told: parsing is here, running elsewhere.

Each job has a frozen dataclass of options. Field metadata is the help text; defaults that depend
on the settings come from `catalog.settings`, so that a job started alone works on the same data
as `make run`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, TypeVar

from catalog.settings import Settings

RUNNERS = ("direct", "prism")

T = TypeVar("T")


def option(help_text: str, default: Any = MISSING) -> Any:
    """One option. `default` may be a function of the settings."""
    return field(metadata={"help": help_text, "default": default})


@dataclass(frozen=True)
class IngestOptions:
    """Bus -> live numbers and raw archive, for ever."""

    events: str = option("Bus topic of accepted events.", lambda s: s.events_uri)
    dead_letters: str = option("Bus topic of dead letters.", lambda s: s.dead_letters_uri)
    live: str = option("Live store: sqlite:FILE.", lambda s: s.live_uri)
    archive: str = option("Warehouse: iceberg:DIRECTORY.", lambda s: s.archive_uri)
    horizon_s: int = option(
        "How much later than it happened an event may be received and still move live numbers.",
        lambda s: s.live_horizon_s,
    )
    archive_every_s: int = option(
        "How long events wait for the next archive file, in seconds.", lambda s: s.archive_every_s
    )
    runner: str = option(f"Where it runs: {' or '.join(RUNNERS)}.", "prism")


@dataclass(frozen=True)
class RollupOptions:
    """Raw archive -> exact daily table, for the days that new arrivals touched."""

    archive: str = option("Warehouse: iceberg:DIRECTORY.", lambda s: s.archive_uri)
    catalog: str = option("Catalogue, for time zones: SQLAlchemy URL.", lambda s: s.catalog_url)
    all_days: bool = option("Compute every day anew, not only the touched ones.", False)
    dry_run: bool = option("Print the days that would be computed, and stop.", False)
    runner: str = option(f"Where it runs: {' or '.join(RUNNERS)}.", "direct")


@dataclass(frozen=True)
class ImportOptions:
    """CSV or JSON lines -> raw archive, through the same intake and blocks as HTTP."""

    input: str = option("File to read.")
    mapping: str = option("TOML file that says which column is what; see docs/import.md.")
    project: str = option("Project that the events belong to.")
    source: str = option("Source within the project; made if it is not there.", "import")
    archive: str = option("Warehouse: iceberg:DIRECTORY.", lambda s: s.archive_uri)
    catalog: str = option("Catalogue: SQLAlchemy URL.", lambda s: s.catalog_url)
    runner: str = option(f"Where it runs: {' or '.join(RUNNERS)}.", "direct")


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
    for spec in fields(options):  # type: ignore[arg-type]
        _add(parser, spec, settings)
    known, rest = parser.parse_known_args(argv)
    return options(**vars(known)), rest


def _add(parser: argparse.ArgumentParser, spec: Field[Any], settings: Settings) -> None:
    default = spec.metadata["default"]
    if isinstance(default, Callable):  # type: ignore[arg-type]
        default = default(settings)
    shown = {"help": spec.metadata["help"]}
    if default is MISSING:
        parser.add_argument(f"--{spec.name}", required=True, **shown)
    elif isinstance(default, bool):
        parser.add_argument(f"--{spec.name}", action="store_true", **shown)
    else:
        shown["help"] += " Default: %(default)s"
        choices = RUNNERS if spec.name == "runner" else None
        parser.add_argument(
            f"--{spec.name}", default=default, type=type(default), choices=choices, **shown
        )
