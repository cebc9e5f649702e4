"""What a part of the system says to whoever may see one project: its state, and numbers of that.

The state is the whole system's, for there is one. Counts, bytes and last lines over all projects
are left out, and the part says so. Pure; no observation is made.
"""

from __future__ import annotations

from dataclasses import replace

from reports.health.checks import Check, span
from reports.ledger import ProjectLedger

HIDDEN = "Its numbers are over all projects, so only an admin of everything sees them."
BESIDE = "What there is of all projects together only an admin of everything sees."
RUNS_HIDDEN = (
    "Jobs run for all projects at once, so only an admin of everything sees what became of them."
)
_WORDS = {"ok": "It is well.", "unknown": "It could not be looked at."}


def shared(check: Check) -> Check:
    """Of a part that serves all projects and whose words have no number: without its figures."""
    return replace(check, figures={}, said=f"{check.said} {HIDDEN}")


def state_only(check: Check) -> Check:
    """Of a part whose words are numbers."""
    said = _WORDS.get(check.state, "It is not as it should be.")
    return replace(check, figures={}, said=f"{said} {HIDDEN}")


def archive(check: Check, own: ProjectLedger, now: int) -> Check:
    """check: of the archive; what of the project is under way the books alone know."""
    if own.books is None:
        said = "No books were drawn up, so nobody knows what of this project is under way."
        return replace(check, figures={}, said=f"{said} {BESIDE}")
    said = (
        f"{own.in_flight:,} events of this project were under way when the books were drawn up, "
        f"{span(now - own.books.at)} ago."
    )
    figures = {"in flight": own.in_flight, "accepted": own.accepted}
    return replace(check, figures=figures, said=f"{said} {BESIDE}")


def size(check: Check, own: ProjectLedger) -> Check:
    """check: of the archive's size."""
    said = f"{own.archived:,} rows are of this project. {BESIDE}"
    return replace(check, figures={"rows": own.archived}, said=said)


def schedule(check: Check) -> Check:
    """check: of the schedule, which names jobs; their last lines name projects."""
    remedy = "Ask an admin of everything, who sees the last lines of its runs."
    return replace(check, figures={}, remedy=remedy if check.remedy else "")
