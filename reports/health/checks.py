"""What was observed of a part -> whether it is well, and what to do. Pure; no observation is made.

What is not known is never called well: its state is `unknown`, and so is that of the whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from catalog.job_runs import Look, Run

State = Literal["ok", "unknown", "late", "down"]
_WORSE: tuple[State, ...] = ("ok", "unknown", "late", "down")
MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US


@dataclass(frozen=True)
class Check:
    """One part. said: what is the case; remedy: what to do, "" while well; figures: by name."""

    name: str
    title: str
    state: State
    said: str
    remedy: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)


def worst(checks: Sequence[Check]) -> State:
    """The state of all together: that of the part that is worst off."""
    return max((one.state for one in checks), key=_WORSE.index, default="unknown")


def span(us: int) -> str:
    """A length of time in words: 40 s, 5 min, 3 h, 2 days."""
    seconds = max(0, us) // 1_000_000
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 2 * 3600:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h" if seconds < 2 * 86_400 else f"{seconds // 86_400} days"


@dataclass(frozen=True)
class Asked:
    """What a part answered over HTTP. status: None where it did not; error: why not."""

    status: int | None
    body: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""


def collector(bus: Asked, address: str, figures: Mapping[str, Any]) -> Check:
    """bus: answer of /health/bus, which is 200 where an event could be taken now."""
    make = partial(_made, "collector", "Collector", figures)
    if bus.status is None:
        remedy = f"Start it (make run), or set HEADWATER_COLLECTOR_PORT to where it is: {address}."
        return make("down", f"No answer: {bus.error}.", remedy)
    if bus.status != 200:
        said = f"It runs, but cannot take events: /health/bus answers {bus.status}."
        return make("down", said, "The disk may be full, or the bus away: see its log lines.")
    return make("ok", "It takes events.")


def pipeline(port: int, answer: Asked | None) -> Check:
    """answer: of the ingest job's /health; None where no port is set."""
    make = partial(
        _made, "pipeline", "Pipeline", (answer.body.get("counters") if answer else None) or {}
    )
    if answer is None:
        said = "It has no health page, so nobody knows whether it runs."
        return make("unknown", said, "Set HEADWATER_PIPELINE_PORT and start the system again.")
    if answer.status is None:
        remedy = f"Start it (make run); its page is on port {port} (HEADWATER_PIPELINE_PORT)."
        return make("down", f"No answer: {answer.error}.", remedy)
    state = str(answer.body.get("state", "?"))
    if answer.status != 200:
        return make("down", f"The job is {state}.", "Its lines in the log say why.")
    return make("ok", f"The job is {state}.")


@dataclass(frozen=True)
class Flow:
    """How far events are. Counts are over all projects; times in us, None where there is none.

    in_flight: accepted, not archived yet; uncounted: archived, not in the exact table yet
    archived_until: latest receipt in the archive
    uncounted_since: since when something is archived that is not counted
    """

    accepted: int
    in_flight: int
    uncounted: int
    archived_until: int | None
    uncounted_since: int | None


def archive(flow: Flow, now: int, every_s: int) -> Check:
    """every_s: how long events wait for the next file of the archive."""
    lag = now - flow.archived_until if flow.archived_until else None
    figures = {
        "in flight": flow.in_flight,
        "accepted": flow.accepted,
        "lag s": None if lag is None or not flow.in_flight else max(0, lag) // 1_000_000,
    }
    make = partial(_made, "archive", "Archive", figures)
    if not flow.in_flight:
        return make("ok", "All that was accepted is archived.")
    said = f"{flow.in_flight:,} events are under way"
    if lag is None:
        remedy = "The pipeline may not run, or has just begun: look again in a minute."
        return make("late", f"{said}, and none was archived so far.", remedy)
    said += f"; those received until {span(lag)} ago are archived."
    if lag <= (3 * every_s + 60) * 1_000_000:
        return make("ok", said)
    remedy = "Look at the pipeline above, and at its lines in the log; it reads on by itself."
    return make("down" if lag > 15 * MINUTE_US else "late", said, remedy)


def exact(flow: Flow, now: int, every_s: float) -> Check:
    """every_s: time between two looks of the rollup."""
    make = partial(_made, "exact", "Exact table", {"uncounted": flow.uncounted})
    if not flow.uncounted:
        return make("ok", "All that is archived is counted.")
    since = flow.uncounted_since if flow.uncounted_since is not None else now
    said = f"{flow.uncounted:,} archived events are not counted, the first for {span(now - since)}."
    if now - since <= (10 * every_s + 300) * 1_000_000:
        return make("ok", said)
    remedy = "Is the schedule alive? By hand: python -m beam_pipelines.run rollup."
    return make("late", said, remedy)


def live(updated_at: int | None, archived_until: int | None, now: int) -> Check:
    """updated_at: when the live store was last written; archived_until: latest receipt archived."""
    make = partial(_made, "live", "Live numbers", {})
    if updated_at is None:
        if archived_until is None:
            return make("ok", "No event has come yet.")
        remedy = "Start the pipeline (make run); live numbers are made again from the spool."
        return make("down", "There are events, but the live store is empty.", remedy)
    said = f"Last written {span(now - updated_at)} ago"
    if archived_until is not None and archived_until > updated_at + 2 * MINUTE_US:
        remedy = "Look at the pipeline above, and at its lines in the log."
        return make("late", f"{said}, and newer events have come since.", remedy)
    return make("ok", f"{said}; nothing newer has come since.")


def ledger(
    computed_at: int | None, wrong: Sequence[str], now: int, patience_s: float, is_spool: bool
) -> Check:
    """wrong: problems of lines that do not add up; patience_s: how old the ledger may be."""
    make = partial(_made, "ledger", "Ledger", {"lines that do not add up": len(wrong)})
    by_hand = "python -m beam_pipelines.run reconcile"
    if not is_spool:
        said = "Books are drawn up of the spool only; this bus is another one."
        return make("unknown", said, "Compare the counters of the bus with those of the archive.")
    if computed_at is None:
        return make("unknown", "No books were drawn up of this project.", f"By hand: {by_hand}.")
    if wrong:
        said = f"{len(wrong):,} lines do not add up: {wrong[0]}"
        remedy = f"Each names its blocks; docs/pipelines.md says what to do. Again: {by_hand}."
        return make("down", said, remedy)
    age = now - computed_at
    said = f"Every event is accounted for, as of {span(age)} ago."
    if age > patience_s * 1_000_000:
        return make("late", said, f"Is the schedule alive? By hand: {by_hand}.")
    return make("ok", said)


def schedule(looks: Mapping[str, Look], runs: Sequence[Run], now: int, every_s: float) -> Check:
    """looks: by lane, those of which run beside one another; runs: newest first.

    A job whose newest run failed makes it late.
    """
    newest: dict[tuple[str, tuple[str, ...]], Run] = {}
    for run in runs:
        newest.setdefault((run.job, run.flags), run)
    failed = sorted({run.job for run in newest.values() if run.outcome == "failed"})
    make = partial(_made, "schedule", "Schedule", {"failing jobs": len(failed)})
    start = "Start it: make run, or python -m beam_pipelines.run schedule."
    if not looks:
        return make("unknown", "It has never looked, or it is older than these pages.", start)
    lanes = [_lane(look, now, every_s) for look in looks.values()]
    state, said = max(lanes, key=lambda lane: _WORSE.index(lane[0]))
    if state == "down":
        return make(state, said, start)
    if state == "late":
        return make(state, said, "Look at its lines in the log; other jobs wait for it.")
    if failed:
        remedy = "The runs below have its last line; it is tried again."
        return make("late", f"{said} The last run failed of: {', '.join(failed)}.", remedy)
    return make("ok", said)


def _lane(look: Look, now: int, every_s: float) -> tuple[State, str]:
    age = now - look.at
    if look.running:
        state: State = "late" if age > HOUR_US else "ok"
        return state, f"It has waited {span(age)} for {look.running}."
    # The lanes look at least every other time that the schedule does.
    is_late = age > (6 * every_s + 60) * 1_000_000
    return "down" if is_late else "ok", f"It last looked {span(age)} ago."


def letters(received: int | None, refused: int) -> Check:
    """Of the last 24 hours, from the ledger. received: None where there are no books of them."""
    make = partial(_made, "letters", "Dead letters", {"refused": refused, "received": received})
    if received is None:
        remedy = "By hand: python -m beam_pipelines.run reconcile."
        return make("unknown", "No books were drawn up of the last 24 hours.", remedy)
    if not received:
        return make("ok", "Nothing came in the last 24 hours.")
    said = f"{refused:,} of {received:,} events of the last 24 hours were refused."
    if refused > received * 0.05:
        return make("late", said, "See which and why on the page of dead letters; fix and replay.")
    return make("ok", said)


def disk(free: int, total: int) -> Check:
    """Bytes of the disk that the data directory lies on."""
    share = free / total if total else 0.0
    make = partial(_made, "disk", "Disk", {"free bytes": free, "bytes": total})
    said = f"{free / 1e9:,.1f} GB of {total / 1e9:,.1f} GB are free."
    if share > 0.1:
        return make("ok", said)
    remedy = "Make room, or lower HEADWATER_RAW_DAYS or HEADWATER_SPOOL_H and run retention."
    return make("down" if share < 0.03 else "late", said, remedy)


def size(rows: int, size_bytes: int, files: int) -> Check:
    """How large the archive of raw events is."""
    figures = {"rows": rows, "bytes": size_bytes, "files": files}
    said = f"{rows:,} rows in {files:,} files of {size_bytes / 1e6:,.1f} MB."
    make = partial(_made, "size", "Archive size", figures)
    if files > 2_000 and size_bytes / files < 8e6:
        remedy = "By hand: python -m beam_pipelines.run compact."
        return make("late", f"{said} Many are small, which makes reading slow.", remedy)
    return make("ok", said)


def failed(name: str, title: str, why: str) -> Check:
    """A part that could not be looked at."""
    remedy = "Look again in a moment; if it stays so, see the log of the reports process."
    return Check(name, title, "unknown", f"It could not be looked at: {why}.", remedy)


def _made(
    name: str, title: str, figures: Mapping[str, Any], state: State, said: str, remedy: str = ""
) -> Check:
    return Check(name, title, state, said, remedy, dict(figures))
