"""Exports that run by themselves: kept with the project's documents, run by `due`."""

from __future__ import annotations

import json
import re
from datetime import date, time
from typing import Annotated, Any

import msgspec

from catalog.documents import Document, Documents
from catalog.settings import Settings
from catalog.store import CatalogError
from reports.exports.asked import Asked, ExportError
from reports.exports.making import said_of
from reports.exports.targets import Make, target
from transforms.export_schedule import Every, days_covered, latest_slot, local_day, next_slot

KIND = "export_schedule"
_AGAIN_US = 600 * 1_000_000  # after one that failed
_SLUG = re.compile(r"[^a-z0-9]+")


class Schedule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An export that is made again and again.

    export: what is exported. A table without dates: the whole days since the last export, so that
            all exports together hold each day once
    at:     time of day in the project's zone, 06:00; a week's is on Monday, a month's on the first
    to:     folder below HEADWATER_EXPORT_TO, or gs://BUCKET/PREFIX that is allowed there; each
            export is a folder of its own in it, called NAME-DAY
    """

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    export: Asked
    every: Every = "day"
    at: Annotated[str, msgspec.Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = "06:00"
    to: str

    @property
    def clock(self) -> time:
        """Of day."""
        return time.fromisoformat(self.at)


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule as it lies in its document. Times in us.

    next_at: when it runs next
    covered: last day of a table's rows that an export held
    last_at, last_state, last_said: of the newest run: when, done or failed, where it is or why not
    """

    schedule: Schedule
    next_at: int
    covered: date | None = None
    last_at: int | None = None
    last_state: str = ""
    last_said: str = ""


def read(value: Any) -> Schedule:
    """A schedule out of JSON's values. Raises ExportError."""
    try:
        return msgspec.convert(value, Schedule, strict=True)
    except (msgspec.ValidationError, RecursionError) as error:
        raise ExportError(str(error).replace("Object ", "the schedule ", 1)) from None


class NameTaken(CatalogError):
    """Another schedule has the name. known: its id."""

    def __init__(self, name: str, known: str) -> None:
        super().__init__(f"name={name!r} is taken by another schedule; change that one, or rename")
        self.known = known


def save(
    documents: Documents, project: str, schedule: Schedule, author: str, now_us: int, zone: str,
    *, known: str = "",
) -> Document:  # fmt: skip
    """Keep it, in the place of the one with the id `known`. Raises NameTaken, CatalogError."""
    name = schedule.name.strip()
    named = documents.named(project, KIND, name)
    if named is not None and named.id != known:
        raise NameTaken(name, named.id)
    next_at = next_slot(now_us, schedule.every, schedule.clock, zone)
    kept = Kept(schedule=schedule, next_at=next_at)
    if known:
        found = documents.get(project, KIND, known)
        if found is None:
            raise CatalogError(f"{project} has no {KIND} with id {known!r}")
        before = kept_of(found)
        same = before.schedule.export == schedule.export
        kept = msgspec.structs.replace(before, schedule=schedule, next_at=next_at,
                                       covered=before.covered if same else None)  # fmt: skip
    body = msgspec.to_builtins(kept)
    return documents.put(project, KIND, name, body, author=author, known=known)


def kept_of(document: Document) -> Kept:
    """The schedule of a document."""
    return msgspec.convert(document.body, Kept)


def run(
    document: Document,
    settings: Settings,
    zone: str,
    now_us: int,
    made: Any,
) -> Kept | None:
    """Make the export of a schedule that is due; how it stands then. None: it is not due.

    made: (Asked, directory) -> anything; writes the export there. What it raises is written down.
    Of runs that were missed the last alone is made, with all days since.
    """
    kept = kept_of(document)
    schedule = kept.schedule
    if kept.next_at > now_us:
        return None
    slot = latest_slot(kept.next_at, now_us, schedule.every, schedule.clock, zone)
    day = local_day(slot, zone)
    following = next_slot(now_us, schedule.every, schedule.clock, zone)
    asked, covered = schedule.export, kept.covered
    if asked.table and not asked.dates:
        days = days_covered(day, schedule.every, kept.covered)
        if days is None:
            return msgspec.structs.replace(kept, next_at=following)
        asked = msgspec.structs.replace(asked, dates=f"{days[0]}..{days[1]}")
        covered = days[1]
    make: Make = lambda directory: made(asked, directory)  # noqa: E731
    slug = _SLUG.sub("-", schedule.name.lower()).strip("-") or document.id.lower()
    try:
        says = json.loads(json.dumps(said_of(asked, document.project)))
        place = target(settings, document.project, schedule.to).put(f"{slug}-{day}", make, says)
    except Exception as error:
        return msgspec.structs.replace(
            kept,
            next_at=min(following, now_us + _AGAIN_US),
            last_at=now_us,
            last_state="failed",
            last_said=str(error) or type(error).__name__,
        )
    return msgspec.structs.replace(
        kept,
        next_at=following,
        covered=covered,
        last_at=now_us,
        last_state="done",
        last_said=place,
    )


def after_run(started: Document, now: Document, ran: Kept) -> Kept:
    """How a schedule stands after a run: as it was changed meanwhile, with what the run did.

    started, now: as it was when the run began, and as it is; ran: what `run` made of the former
    """
    before, after = kept_of(started), kept_of(now)
    if (after.schedule, after.next_at) == (before.schedule, before.next_at):
        return ran
    same = after.schedule.export == before.schedule.export
    return msgspec.structs.replace(
        after,
        covered=ran.covered if same else after.covered,
        last_at=ran.last_at,
        last_state=ran.last_state,
        last_said=ran.last_said,
    )
