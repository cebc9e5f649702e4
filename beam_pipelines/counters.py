"""Every counter a job emits, in one list: the type checker refuses others."""

from __future__ import annotations

from typing import Literal, get_args

from apache_beam.metrics.metric import Metrics, MetricsFilter
from apache_beam.runners.runner import PipelineResult

NAMESPACE = "headwater"

Counter = Literal[
    "rows_read",  # import: rows of the input file
    "rows_accepted",  # import: rows that became events
    "rows_rejected",  # import: rows that became dead letters
    "rows_suppressed",  # import: rows of erased people, of which nothing is kept
    "letters_read",  # replay: dead letters that were tried again
    "letters_returned",  # replay: those that became events
    "letters_refused",  # replay: those that were refused again
    "letters_suppressed",  # replay: those of erased people, of which nothing is kept
    "files_rewritten",  # backfill: archive files with rows that came out different
    "rows_written",  # export: rows of the files written
    "blocks_held",  # blocks that the archive had already
    "events_archived",  # rows added to the archive, repeats included
    "blocks_redelivered",  # blocks that Pub/Sub sent a second time
    "blocks_damaged",  # places on the bus that were no whole block
    "events_late",  # older at receipt than the live horizon: the exact tables have them
    "events_repeated",  # repeats dropped from live numbers
    "seen_rebuilt",  # times that what was seen was read out of the state again, a shard each
    "events_measured",  # events that went into live numbers
    "live_rows_written",  # rows that a live store took, each store by itself
    "live_rows_refused",  # rows that a live store never takes: too large, or against its schema
    "live_writes_failed",  # attempts at a live store that was away; its rows are held
    "live_holds_full",  # times that more was held for a store than may be, and its stage waited
    "sessions_computed",  # sessions: rows written
    "identities_computed",  # identity: ids that are joined to others
    "days_computed",  # rollup: days of the exact table replaced
    "files_replaced",  # compact: small files whose rows lie in larger ones now
    "files_written",  # compact: the larger ones
    "rows_rewritten",  # compact: rows in them
    "rows_doubled",  # compact: rows left out because the very same row was there already
    "tasks_superseded",  # compact: files that another process had replaced meanwhile, left alone
]
COUNTERS: tuple[Counter, ...] = get_args(Counter)


def count(name: Counter, by: int = 1) -> None:
    """Add to a counter of the running job."""
    Metrics.counter(NAMESPACE, name).inc(by)


def totals(result: PipelineResult) -> dict[Counter, int]:
    """Committed values at the end of a job; 0 for what was never counted."""
    found = result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))["counters"]
    by_name = {m.key.metric.name: 0 for m in found}
    for metric in found:
        by_name[metric.key.metric.name] += metric.result or 0
    return {name: by_name.get(name, 0) for name in COUNTERS}
