"""The recipe: an event file made as unpleasant as the field is, then counted in three ways.

    python -m tests.recipe FILE --mapping=MAPPING.toml

The file's events are delivered in another order than they happened in (each up to `shuffled_s`
late), some twice under the same id, some an hour late, some broken. Blocks go into a spool with
these times as receipt, so nobody waits an hour. Then `ingest` on Prism (live numbers), `rollup`
(exact tables) and plain loops over dictionaries (`tests.brute`) must agree, and the ledger must
come out at zero.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.progress import track
from rich.table import Table as RichTable

from schemas_avro import derive, load
from schemas_avro.tables import DEAD_LETTERS, EVENTS
from tests import brute, observed
from tests.streams import SpoolWriter
from tests.system import System, wait_for
from transforms import mapping
from transforms.candidates import Candidate, Candidates
from transforms.failures import Reason, Rejection
from transforms.judge import Origin, dead_letter_row, judge
from transforms.rows import csv_rows, jsonl_rows

PROJECT, SOURCE = "demo", "recipe"
S = 1_000_000  # us
_MINORS = {"JPY": 0, "KRW": 0, "KWD": 3}  # every other currency of the files has two decimals
_MINUTE = 60 * S


@dataclass(frozen=True)
class Recipe:
    """How unpleasant. Shares are of the file's events; each is drawn for itself, by `seed`.

    shuffled_s:   longest way from event to collector, evenly spread, in s
    held_s:       how long the held back ones wait, in s
    block_events: most events in a block
    """

    shuffled_s: int = 599
    repeated: float = 0.05
    held_back: float = 0.01
    held_s: int = 3600
    broken: float = 0.005
    producers: int = 3
    block_events: int = 200
    seed: int = 1


@dataclass(frozen=True)
class Delivery:
    """One event as it reaches the collector. received: us, at a whole second."""

    received: int
    event: Candidate | Rejection
    is_broken: bool = False


@dataclass(frozen=True)
class Served:
    """What lies in the spool, as plain dictionaries: every accepted copy; and how many broken."""

    rows: list[dict[str, Any]]
    broken: int


def read(file: Path, rows: mapping.RowMapping) -> list[Candidate]:
    """The candidate events of a CSV or JSON-lines file. Rows that are none are passed over."""
    lines = csv_rows if rows.format == "csv" else jsonl_rows
    found = []
    with file.open(newline="", encoding=rows.encoding, errors="replace") as text:
        for row in lines(text):
            if isinstance(row.content, Rejection):
                continue
            event = rows.candidate(row.content, b"")
            if isinstance(event, Candidate) and event.timestamp is not None:
                event.event_id = event.event_id or f"{file.name}:{row.number}"[-100:]
                found.append(event)
    return found


def deliveries(events: Iterable[Candidate], recipe: Recipe) -> list[Delivery]:
    """The events by receipt: late, twice, an hour late and broken, as the recipe says."""
    rng = random.Random(recipe.seed)
    found: list[Delivery] = []
    for given in events:
        event: Candidate | Rejection = given
        if rng.random() < recipe.broken:
            event, is_broken = _broken(given, rng), True
        else:
            is_broken = False
        at = happened(event) if isinstance(event, Candidate) and not is_broken else None
        base = at if at is not None else found[-1].received if found else 0
        if rng.random() < recipe.held_back:
            base += recipe.held_s * S
        for _ in range(1 + (not is_broken and rng.random() < recipe.repeated)):
            received = base + round(rng.random() * (recipe.shuffled_s - 1) * S)
            found.append(Delivery(-(-received // S) * S, event, is_broken))
    return sorted(found, key=attrgetter("received"))


def serve(delivered: Sequence[Delivery], spool: Path, recipe: Recipe) -> Served:
    """Write blocks in the order of receipt, each by one of the producers, through the intake."""
    rng = random.Random(recipe.seed + 1)
    writers = [
        (
            SpoolWriter(spool / "events", f"collector-{n}", 1 + n * 7),
            SpoolWriter(spool / "dead_letters", f"collector-{n}"),
        )
        for n in range(recipe.producers)
    ]
    types = derive.wire(load("dead_letter"))
    for block in _blocks(delivered, rng, recipe.block_events):
        events, dead = rng.choice(writers)
        rows, letters = _taken_in(block)
        if letters:
            dead.append(pl.DataFrame(letters, schema=types, orient="row"), "dead_letter")
        if rows.height:
            events.append(rows, rejected=len(letters))
    accepted = [plain(one.event, one.received) for one in delivered if not one.is_broken]
    return Served(accepted, sum(one.is_broken for one in delivered))


def happened(event: Candidate) -> int:
    """When, in us: read here once more, so that the product's own reading is checked too."""
    at = datetime.fromisoformat(str(event.timestamp))
    return round((at - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * S)


def plain(event: Candidate | Rejection, received: int) -> dict[str, Any]:
    """What an event says, for the plain loops."""
    assert isinstance(event, Candidate)
    minor = None
    if event.revenue is not None:
        minor = int(Decimal(event.revenue) * 10 ** _MINORS.get(str(event.currency), 2))
    return {
        "project": PROJECT, "source": SOURCE, "type": event.type, "name": event.name,
        "event_id": event.event_id, "user_id": event.user_id, "anonymous_id": event.anonymous_id,
        "event_time": happened(event), "received_time": received,
        "revenue_minor": minor, "currency": event.currency if minor is not None else None,
        "order_id": event.order_id,
    }  # fmt: skip


def _broken(event: Candidate, rng: random.Random) -> Candidate | Rejection:
    """The event with one thing wrong, of the kinds that senders get wrong."""
    match rng.randrange(5):
        case 0:
            return Rejection(Reason.UNREADABLE, "torn", b'{"event": "vi')
        case 1:
            return _with(event, type="nonsense")
        case 2:
            return _with(event, timestamp="the day before yesterday")
        case 3:
            return _with(event, user_id=None, anonymous_id=None)
        case _:
            return _with(event, revenue="12.00", currency="QQQ")


def _with(event: Candidate, **changes: Any) -> Candidate:
    fields = {name: getattr(event, name) for name in Candidate.__struct_fields__}
    return Candidate(**{**fields, **changes})


def _blocks(
    delivered: Sequence[Delivery], rng: random.Random, most: int
) -> Iterator[list[Delivery]]:
    """Runs of deliveries, cut at random; what came within one second stays together."""
    block: list[Delivery] = []
    size = rng.randint(1, most)
    for _, second in groupby(delivered, attrgetter("received")):
        block.extend(second)
        if len(block) >= size:
            yield block
            block, size = [], rng.randint(1, most)
    if block:
        yield block


def _taken_in(block: list[Delivery]) -> tuple[pl.DataFrame, list[dict[str, Any]]]:
    """As the collector does it: rows of accepted events, dead letters of the others."""
    parts = []
    for received, second in groupby(block, attrgetter("received")):
        made = [one.event for one in second]
        candidates = Candidates.of(made, [b"{}"] * len(made))
        parts.append((candidates, Origin(PROJECT, SOURCE, received)))
    judged = judge(parts)
    letters, before = [], 0
    for candidates, origin in parts:
        own = {
            at - before: why
            for at, why in judged.refused.items()
            if before <= at < before + candidates.count
        }
        before += candidates.count
        refused = candidates.refusals(own)
        letters += [dead_letter_row(why, origin, step="judge") for why in refused.values()]
    return judged.rows, letters


@dataclass(frozen=True)
class Outcome:
    """What the three ways say of one run. Each list of differences is empty where they agree."""

    served: Served
    live: list[str]
    exact: list[str]
    archive: list[str]
    ledger: list[str]
    counts: dict[str, int]

    @property
    def differences(self) -> list[str]:
        """All of them."""
        return self.live + self.exact + self.archive + self.ledger


def settled(data: Path, served: Served) -> bool:
    """Is all of it in the archive, and every minute of it final?"""
    newest = max(row["event_time"] for row in brute.timely(served.rows, 600 * S))
    return (
        observed.archived_rows(data, EVENTS) == len(served.rows)
        and observed.archived_rows(data, DEAD_LETTERS) == served.broken
        and observed.complete_until(data) > newest
    )


def count(system: System, served: Served, zone: str = "UTC", seconds: float = 120) -> Outcome:
    """Wait until the running `ingest` has settled, run `rollup`, and compare with the loops."""
    data = system.data
    try:
        wait_for(lambda: settled(data, served), seconds=seconds, what="archive and final minutes")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{system.log('ingest')[-4000:]}") from None
    wanted = brute.live(served.rows)
    deadline = time.monotonic() + 20
    while (wrong := observed.live_differences(data, wanted)) and time.monotonic() < deadline:
        time.sleep(0.5)  # the last minutes of other shards
    system.run("beam_pipelines.run", "rollup")
    return _outcome(data, served, wrong, zone)


def _outcome(data: Path, served: Served, live: list[str], zone: str) -> Outcome:
    kept, repeats = brute.first_copies(served.rows)
    timely, _ = brute.first_copies(brute.timely(served.rows, 600 * S))
    days = observed.as_counts(brute.daily(served.rows, zone))
    found = observed.daily(data, PROJECT)
    copies = Counter((row["event_id"], row["received_time"]) for row in served.rows)
    archived = observed.archived(data)
    letters = len(observed.dead_letters(data))
    books = observed.ledger(data)
    counts = {
        "accepted": len(served.rows), "broken": served.broken, "different events": len(kept),
        "repeats": len(repeats), "in live numbers": len(timely),
        "too late for them": len(kept) - len(timely), "days": len(days),
        "live numbers": len(observed.live(data)),
    }  # fmt: skip
    return Outcome(
        served,
        live,
        [f"{day}: {found.get(day)} where {days.get(day)} is right"
         for day in sorted(days.keys() | found.keys()) if found.get(day) != days.get(day)],
        [f"archive: {n} times too many or few: {key}"
         for key, n in ((archived - copies) + (copies - archived)).items()],
        [] if books.balanced and letters == served.broken == books.dead_lettered
        and (books.counted, books.repeats) == (len(kept), len(repeats))
        else [f"{books} with {letters} dead letters archived"],
        counts,
    )  # fmt: skip


def main(argv: Sequence[str]) -> int:
    """0 where all agree, 1 with the differences printed."""
    options = _parse(argv)
    console = Console()
    rows = mapping.parse(options.mapping.read_text())
    recipe = Recipe(seed=options.seed, producers=options.producers)
    events = read(options.file, rows)
    with tempfile.TemporaryDirectory() as directory:
        with System(Path(directory, "data")) as system:
            system.run("catalog", "add-project", PROJECT, f"--time-zone={options.time_zone}")
            shown = track(events, "perturbing", console=console, transient=True)
            served = serve(deliveries(shown, recipe), system.data / "spool", recipe)
            started = time.monotonic()
            system.start_ingest()
            outcome = count(system, served, options.time_zone, options.wait_s)
        took = time.monotonic() - started
    table = RichTable("what", "n", title=f"{options.file.name}, seed {options.seed}")
    for what, number in outcome.counts.items():
        table.add_row(what, f"{number:,}")
    table.add_row("seconds until all agreed", f"{took:.1f}")
    console.print(table)
    for line in outcome.differences[:50]:
        console.print(line, style="red")
    agreed = not outcome.differences
    console.print("streaming, batch and the loops agree; the ledger is at zero" if agreed
                  else f"{len(outcome.differences)} differences")  # fmt: skip
    return 0 if agreed else 1


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.recipe",
        description="Shuffle, repeat, delay and break an event file, and count it in three ways.",
    )
    parser.add_argument("file", type=Path, help="CSV or JSON lines.")
    parser.add_argument(
        "--mapping", type=Path, required=True, help="What its columns mean; see docs/import.md."
    )
    parser.add_argument("--time-zone", default="UTC", help="Zone of the days. Default: UTC")
    parser.add_argument("--seed", type=int, default=1, help="Of all that is drawn. Default: 1")
    parser.add_argument("--producers", type=int, default=3, help="Collectors. Default: 3")
    parser.add_argument(
        "--wait_s", type=float, default=300, help="Longest wait until settled. Default: 300"
    )
    options = parser.parse_args(argv)
    for path in (options.file, options.mapping):
        if not path.is_file():
            parser.error(f"{str(path)!r} is no file")
    return options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
