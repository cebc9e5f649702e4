"""Takes out what is kept no longer: of the archive, the spool and the audit log. Bounded.

Reads     options.archive   every table; options.catalog: days that projects keep
          options.live      how far live numbers are final
Writes    options.archive   `events`, `dead_letters` and other rows about single people without the
                            days older than raw_days, tables of numbers without those older than
                            aggregate_days; one commit a day or table, that says how much went
          options.events, options.dead_letters   segments of the spool are removed
          options.catalog   entries of the audit log older than audit_days, in whole days of UTC,
                            and one more that says how many went
Failures  none of its own   files that another run replaced meanwhile are left to the next one
Restart   a crash between two commits leaves the rest for the next run
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial

from beam_pipelines.connectors import ledger_table
from beam_pipelines.connectors.live import open_store, split_uris
from beam_pipelines.connectors.maintenance import SupersededError
from beam_pipelines.connectors.retire import (
    OldDay,
    OldRows,
    OldSegment,
    delete_rows,
    old_days,
    old_rows,
    old_segments,
    take_out,
)
from beam_pipelines.connectors.uri import UriError, path_of
from beam_pipelines.connectors.warehouse import Warehouse
from beam_pipelines.jobs.compact import clear
from beam_pipelines.options import RetentionOptions
from beam_pipelines.progress import note, progress_bar
from beam_pipelines.windowing import STALL_S
from catalog import policies
from catalog.audit import Audit
from catalog.settings import Settings
from catalog.store import Catalog
from schemas_avro.tables import (
    DAILY,
    DEAD_LETTERS,
    EVENTS,
    LEDGER,
    PARITY,
    PERIODS,
    REPEATS,
    REPLAYS,
    SESSIONS,
    Table,
)
from transforms.grid import MINUTE_US
from transforms.retired import Keeping

# About single people or events, so kept as long as these; identities stay: events refer to them.
_PERSONAL = (SESSIONS, REPEATS, REPLAYS)
_NUMBERS = (DAILY, PERIODS, LEDGER, PARITY)


def start(options: RetentionOptions, flags: list[str], config: Settings) -> None:
    """Take out, trim, clear away; or say what would go. Raises UriError for days that clash."""
    directory = path_of(options.archive, "iceberg", "archive")
    warehouse = Warehouse(directory)
    audited_from = _audited_from(options)
    days, rows, segments = _going(options, warehouse)
    verb = "would go" if options.dry_run else "gone"
    if not options.dry_run:
        days = _take_out(warehouse, days, options.memory_mb)
        for old in rows:
            delete_rows(warehouse, old)
        for segment in segments:
            segment.path.unlink()
    for day in days:
        kept = f"; {day.stays:,} rows of other projects stay" if day.stays else ""
        print(f"{day.table.name} {day.day}: {day.rows:,} rows {verb}{kept}")
    for old in rows:
        before = ", ".join(f"{p or '?'} before {until}" for p, until in old.until.items())
        print(f"{old.table.name}: {old.rows:,} rows {verb}: {before}")
    size = sum(s.bytes for s in segments)
    print(f"spool: {len(segments):,} segments of {size:,} bytes {verb}")
    audit = Audit(Catalog(options.catalog))
    gone = audit.count_before(audited_from)
    if not options.dry_run:
        gone = audit.prune(audited_from, actor="retention")
    print(f"audit log: {gone:,} entries {verb}")
    print(clear(directory, options.grace_h, dry_run=options.dry_run))


def is_due(options: RetentionOptions) -> bool:
    """Is there anything to take out?"""
    going = _going(options, Warehouse(path_of(options.archive, "iceberg", "archive")))
    audit = Audit(Catalog(options.catalog))
    return any(going) or audit.count_before(_audited_from(options)) > 0


def _going(
    options: RetentionOptions, warehouse: Warehouse
) -> tuple[list[OldDay], list[OldRows], list[OldSegment]]:
    now_us = time.time_ns() // 1000
    keeping, today = _keeping(options), datetime.fromtimestamp(now_us / 1e6, UTC).date()
    days = [d for t in (EVENTS, DEAD_LETTERS) for d in old_days(warehouse, t, keeping, today)]
    rows = list(_old_numbers(warehouse, keeping, today))
    return days, rows, list(_old_segments(options, warehouse, now_us))


def _keeping(options: RetentionOptions) -> Keeping:
    catalog = Catalog(options.catalog)
    catalog.migrate()
    try:
        return Keeping(options.raw_days, options.aggregate_days, policies.kept_days(catalog))
    except ValueError as error:
        raise UriError(str(error)) from None


def _old_numbers(warehouse: Warehouse, keeping: Keeping, today: date) -> Iterator[OldRows]:
    there = {table.name() for table in warehouse.tables()}
    for table in (*_PERSONAL, *_NUMBERS):
        if table.identifier not in there:
            continue
        found = _old_of(warehouse, table, keeping, today)
        if found is not None:
            yield found


def _old_of(warehouse: Warehouse, table: Table, keeping: Keeping, today: date) -> OldRows | None:
    if table in _PERSONAL:
        until = keeping.raw_until
        return old_rows(warehouse, table, lambda p: until(p, today), keeping.latest_raw(today))
    until = keeping.aggregates_until
    return old_rows(warehouse, table, lambda p: until(p, today), keeping.latest_aggregates(today))


def _old_segments(
    options: RetentionOptions, warehouse: Warehouse, now_us: int
) -> Iterator[OldSegment]:
    """Whatever nobody wants: not the archive, nor a restart of live numbers, nor the ledger."""
    if not options.events.startswith("spool:"):
        return
    final = [open_store(uri).complete_until() for uri in split_uris(options.live)]
    # The store that is furthest behind, or has nothing yet, needs the most to start again.
    live = None if None in final else min(one for one in final if one is not None)
    covered = ledger_table.covered_until(warehouse)
    if live is None or covered is None:
        return
    before = min(
        now_us - int(options.spool_h * 3_600_000_000),
        live - (options.horizon_s + STALL_S) * 1_000_000 - MINUTE_US,
        covered,
    )
    for table, name in ((EVENTS, "events"), (DEAD_LETTERS, "dead_letters")):
        directory = path_of(getattr(options, name), "spool", name)
        yield from old_segments(directory, warehouse.positions(table), before)


def _audited_from(options: RetentionOptions) -> datetime:
    """Entries of the audit log before this instant, in UTC, go.

    It is a midnight: days go whole, so that the log gets at most one entry a day about it.
    """
    if options.audit_days < 1:
        raise UriError(f"--audit_days={options.audit_days}: 1 or more")
    today = datetime.fromtimestamp(time.time(), UTC).date()
    return datetime.combine(today - timedelta(days=options.audit_days), datetime.min.time())


def _take_out(warehouse: Warehouse, days: list[OldDay], memory_mb: int) -> list[OldDay]:
    """Those that were taken out: of the others some file was replaced meanwhile."""
    done = []
    rows = sum(f.rows for day in days if day.stays for f in day.files)
    with progress_bar("retention", rows, "rows") as progress:
        for day in days:
            worker = f"{day.table.name}-{day.day}"
            try:
                take_out(warehouse, day, memory_mb, partial(note, progress, worker))
            except SupersededError:
                continue
            done.append(day)
    return done
