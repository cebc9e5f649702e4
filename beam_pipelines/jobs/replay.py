"""Dead letters -> events, after a fix of the code, of a schema or of the letters. Bounded.

Reads     options.archive   table `dead_letters`: the letters that were not brought back yet;
                            options.edits and options.mapping say how they are mended before
Writes    options.archive   table `replays`: what became of each letter; then `events`, in one
                            commit, under the run's own producer
Failures  refused again     the letter stays open, with the new reason in `replays`
Restart   a letter counts as brought back only once the commit with its event is there, so a crash
          before it leaves all letters open and one after it none; a second replay adds nothing
"""

from __future__ import annotations

import os
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import apache_beam as beam

from beam_pipelines import counters, runners
from beam_pipelines.connectors.letters import LetterFile, Wanted, only_one, open_letters
from beam_pipelines.connectors.uri import UriError, path_of
from beam_pipelines.connectors.warehouse import Warehouse
from beam_pipelines.options import ReplayOptions
from beam_pipelines.progress import note, progress_bar
from beam_pipelines.spans import span_us
from beam_pipelines.steps.archive import Archive
from beam_pipelines.steps.columns import unpack
from beam_pipelines.steps.replay import ReplayLetters, Run, tried
from catalog import policies
from catalog.schemas import SchemaRegistry
from catalog.settings import Settings
from catalog.store import Catalog
from schemas_avro.tables import EVENTS
from transforms import edits, mapping
from transforms.failures import REMEDIES, Reason
from transforms.positions import Positions
from transforms.replay import Fix, Gate

_EXAMPLES = 3


def start(options: ReplayOptions, flags: list[str], config: Settings) -> None:
    """Try the letters again, or say what would become of them."""
    directory = path_of(options.archive, "iceberg", "archive")
    wanted, fix = _wanted(options), _fix(options)
    gate = make_gate(Catalog(options.catalog), config.max_event_bytes)
    if options.dry_run:
        letters = open_letters(Warehouse(directory), wanted)
        with progress_bar("letters", _count(letters), "letters") as progress:
            text = preview(letters, fix, gate, progress)
        print(text)
        return
    with only_one(directory):
        letters = open_letters(Warehouse(directory), wanted)
        if not letters:
            print("no open dead letters fit; `replays` knows what became of the others")
            return
        with progress_bar("letters", _count(letters), "letters") as progress:
            name = f"replay-{uuid.uuid4().hex[:16]}"
            run = Run(name, time.time_ns() // 1000, fix, gate, progress)
            result = runners.run(
                options.runner,
                partial(_build, directory=directory, letters=letters, run=run),
                flags,
                streaming=False,
            )
    done = counters.totals(result)
    print(
        f"{done['letters_read']:,} dead letters tried: {done['letters_returned']:,} are events now "
        f"({name}), {done['letters_refused']:,} were refused again, "
        f"{done['letters_suppressed']:,} of erased people left out"
    )


def _build(root: beam.Pipeline, directory: str, letters: list[LetterFile], run: Run) -> None:
    (
        root
        | "Letters" >> beam.Create(letters)
        | "Replay" >> ReplayLetters(directory, run)
        | "Archive" >> Archive(directory, EVENTS, Positions())
    )


def make_gate(catalog: Catalog, max_event_bytes: int) -> Gate:
    """What the catalogue holds events to now."""
    catalog.migrate()
    schemas: dict[tuple[str, str, str], tuple[tuple[int, str], ...]] = {}
    for one in SchemaRegistry(catalog).all():
        key = (one.project, one.type, one.name)
        schemas[key] = ((one.version, one.avro), *schemas.get(key, ()))
    owners = catalog.keys().values()
    most: dict[tuple[str, str], int] = {}
    for owner in owners:  # of several keys of a source the most generous one
        key_ = (owner.project, owner.source)
        most[key_] = max(most.get(key_, 0), owner.policy.max_properties)
    return Gate(
        schemas=schemas,
        modes={(o.project, o.source): o.policy.schema_mode for o in owners},
        most_properties=most,
        suppressed=policies.suppressed(catalog).by_project,
        max_event_bytes=max_event_bytes,
    )


def preview(letters: Sequence[LetterFile], fix: Fix, gate: Gate, progress: str) -> str:
    """What would become of the letters, by the reason that they have now, with examples."""
    totals: dict[str, Counter[str]] = defaultdict(Counter)
    examples: dict[tuple[str, str], list[str]] = defaultdict(list)
    for file in letters:
        for found in tried(file, fix, gate):
            for letter, result in zip(found.letters, found.results, strict=True):
                became = result.outcome if result.outcome != "refused" else f"{result.reason}"
                totals[letter["reason"]][became] += 1
                shown = examples[letter["reason"], became]
                if len(shown) < _EXAMPLES:
                    shown.append(f"{letter['dead_letter_id']}: {result.message or 'an event'}")
            note(progress, "preview", sum(one.total() for one in totals.values()))
    if not totals:
        return "no open dead letters fit"
    lines = []
    for reason, outcomes in sorted(totals.items()):
        passed = outcomes["returned"]
        lines.append(f"{reason}: {outcomes.total():,} letters, {passed:,} would pass now")
        for outcome, number in outcomes.most_common():
            lines.append(f"  {number:,} {'events' if outcome == 'returned' else outcome}")
            lines += [f"    {example}" for example in examples[reason, outcome]]
        if not passed:
            lines.append(f"  {REMEDIES[Reason(reason)]}")
    return "\n".join(lines)


def _count(letters: Sequence[LetterFile]) -> int:
    return sum(unpack(file.chosen).height for file in letters)


def _wanted(options: ReplayOptions) -> Wanted:
    if options.reason and options.reason not in list(Reason):
        raise UriError(f"--reason={options.reason!r} is none of {', '.join(Reason)}")
    since, until = span_us(options.from_, options.to)
    return Wanted(options.project, options.source, options.step, options.reason, since, until)


def _fix(options: ReplayOptions) -> Fix:
    for name in ("edits", "mapping"):
        path = getattr(options, name)
        if path and not os.path.isfile(path):
            raise UriError(f"--{name}={path!r} is no file")
    return Fix(
        edits.parse(Path(options.edits).read_text(errors="replace")) if options.edits else (),
        mapping.parse(Path(options.mapping).read_text(errors="replace"))
        if options.mapping
        else None,
    )
