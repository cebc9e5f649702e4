"""Raw events or the daily table -> files with a manifest, for other programs. Bounded.

Reads     options.archive   table `events` or `daily_aggregates`, at one snapshot
Writes    options.output    CSV, JSON lines or Parquet, split by size; last of all manifest.json
                            with rows, bytes and SHA-256 of each file, and what was left out
Failures  none of its own   no row is left out that the manifest does not count
Restart   without a manifest the export is not complete: the same command goes on from the parts
          that are whole, at the same snapshot; with one it does nothing
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apache_beam as beam

from beam_pipelines import runners
from beam_pipelines.connectors import exports
from beam_pipelines.connectors.exports import MANIFEST, WORK
from beam_pipelines.connectors.uri import UriError, path_of
from beam_pipelines.connectors.warehouse import Warehouse, summary
from beam_pipelines.options import ExportOptions
from beam_pipelines.progress import progress_bar
from beam_pipelines.spans import BEGINNING_US, END_US, span_us
from beam_pipelines.steps.export import Export, Part, WriteParts, find_repeats
from catalog import policies
from catalog.settings import Settings
from catalog.store import Catalog
from schemas_avro import load
from schemas_avro.tables import DAILY, EVENTS, RECEIVED_UNTIL
from transforms.grid import DAY_US

_TABLES = {"events": EVENTS, "daily": DAILY}
_PART_BYTES = 256 << 20
_PART_FILES = 64


def start(options: ExportOptions, flags: list[str], config: Settings) -> None:
    """Write the files, or go on where an earlier run was cut off."""
    export = _export(options)
    warehouse = Warehouse(path_of(options.archive, "iceberg", "archive"))
    asked = _asked(options, export)
    output = Path(options.output)
    if (output / MANIFEST).exists():
        _check(json.loads((output / MANIFEST).read_text()), asked, output)
        print(f"{output / MANIFEST} is there: this export is complete")
        return
    state = _state(output, asked, warehouse, export)
    files = _files(warehouse, export, state["snapshot"])
    rows = sum(number for _, _, number in files)
    if options.dry_run:
        print(f"would read {len(files)} files, {rows:,} rows, and write {options.output}")
        return
    (output / WORK).mkdir(parents=True, exist_ok=True)
    exports.put_json(output / WORK / "state.json", state)
    if export.drop_repeats and files:
        before, after = export.since - DAY_US, export.until + DAY_US
        find_repeats(export, [path for path, _, _ in files], before, after)
    parts = _parts(files)
    with progress_bar("export", rows, "rows") as progress:
        running = Export(**{**vars(export), "progress": progress})
        runners.run(
            options.runner,
            lambda root: _build(root, parts, running),
            flags,
            streaming=False,
        )
    receipts = [exports.receipt_of(options.output, export.stem(part)) for part in parts]
    manifest = _manifest(asked, state, export, [r for r in receipts if r is not None])
    exports.put_json(output / MANIFEST, manifest)
    exports.clear_work(options.output)
    print(
        f"{manifest['rows']:,} rows in {len(manifest['files'])} files, {manifest['bytes']:,} "
        f"bytes; {manifest['repeats_left_out']:,} repeats and {manifest['erased_left_out']:,} rows "
        f"of erased people left out: {output / MANIFEST}"
    )


def _build(root: beam.Pipeline, parts: list[Part], export: Export) -> None:
    root | "Parts" >> beam.Create(parts) | "Write" >> WriteParts(export)


def _export(options: ExportOptions) -> Export:
    for name, known in (("table", tuple(_TABLES)), ("format", exports.FORMATS)):
        if getattr(options, name) not in known:
            raise UriError(f"--{name}={getattr(options, name)!r} is none of {', '.join(known)}")
    if options.file_mb < 1:
        raise UriError(f"--file_mb={options.file_mb} must be 1 or more")
    catalog = Catalog(options.catalog)
    catalog.migrate()
    policies.count_suppressed(catalog, options.project)  # is there such a project?
    table = _TABLES[options.table]
    known = load(table.record).field_names
    columns = tuple(name.strip() for name in options.columns.split(",") if name.strip())
    for name in columns:
        if name not in known:
            raise UriError(f"--columns: {name!r} is no column; known: {', '.join(known)}")
    since, until = span_us(options.from_, options.to)
    return Export(
        options.output,
        table,
        options.project,
        since,
        until,
        columns or known,
        options.format,  # type: ignore[arg-type]
        options.file_mb << 20,
        drop_repeats=table == EVENTS and not options.keep_repeats,
        suppressed=policies.suppressed(catalog).by_project,
    )


def _asked(options: ExportOptions, export: Export) -> dict[str, Any]:
    return {
        "table": options.table,
        "project": options.project,
        "from": options.from_ or None,
        "to": options.to or None,
        "columns": list(export.columns),
        "format": options.format,
        "duplicates": "removed" if export.drop_repeats else "as stored",
        "erasures": "applied" if export.table == EVENTS else "as computed",
    }


def _state(
    output: Path, asked: dict[str, Any], warehouse: Warehouse, export: Export
) -> dict[str, Any]:
    """The snapshot that is exported: that of the run that was cut off, else the newest."""
    path = output / WORK / "state.json"
    table = warehouse.table(export.table)
    if path.exists():
        state: dict[str, Any] = json.loads(path.read_text())
        _check(state["asked"], asked, output)
        if state["snapshot"] is None or table.snapshot_by_id(state["snapshot"]):
            return state
        raise UriError(f"--output={str(output)!r}: the archive no longer knows the snapshot that "
                       "this export began with; take another directory")  # fmt: skip
    if output.exists() and any(output.iterdir()):
        raise UriError(f"--output={str(output)!r} is not empty and holds no export; take another")
    current = table.current_snapshot()
    return {
        "asked": asked,
        "snapshot": current and current.snapshot_id,
        "committed_at": current and _iso(current.timestamp_ms * 1000),
        "received_until": _iso(int(summary(table).get(RECEIVED_UNTIL, 0))),
    }


def _check(found: dict[str, Any], asked: dict[str, Any], output: Path) -> None:
    for name, value in asked.items():
        if found.get(name) != value:
            raise UriError(
                f"--output={str(output)!r} holds another export: {name} = {found.get(name)!r}, not "
                f"{value!r}; take another directory"
            )


def _files(
    warehouse: Warehouse, export: Export, snapshot: int | None
) -> list[tuple[str, int, int]]:
    """(path, bytes, rows) of the files that may hold rows in range or copies of them."""
    if snapshot is None:
        return []
    column = export.table.day_of
    bounds = []
    if export.since != BEGINNING_US:
        bounds.append(f"{column} >= '{_bound(export, export.since - DAY_US)}'")
    if export.until != END_US:
        bounds.append(f"{column} < '{_bound(export, export.until + DAY_US)}'")
    wanted = " and ".join([f"project == '{export.project}'", *bounds])
    tasks = warehouse.table(export.table).scan(wanted, snapshot_id=snapshot).plan_files()
    return sorted(
        (t.file.file_path.removeprefix("file://"), t.file.file_size_in_bytes, t.file.record_count)
        for t in tasks
    )


def _bound(export: Export, instant_us: int) -> str:
    at = _iso(instant_us)
    return at[: len("YYYY-MM-DD")] if export.table == DAILY else at


def _parts(files: list[tuple[str, int, int]]) -> list[Part]:
    """Files together up to a size: every part ends in a file of its own."""
    parts: list[list[str]] = []
    size = 0
    for path, length, _ in files:
        if not parts or size + length > _PART_BYTES or len(parts[-1]) == _PART_FILES:
            parts.append([])
            size = 0
        parts[-1].append(path)
        size += length
    return [Part(number, tuple(paths)) for number, paths in enumerate(parts)]


def _manifest(
    asked: dict[str, Any], state: dict[str, Any], export: Export, receipts: list[exports.Receipt]
) -> dict[str, Any]:
    files = [file for receipt in receipts for file in receipt.files]
    left_out = {n: sum(r.left_out[n] for r in receipts) for n in ("repeats", "erased")}
    return {
        **asked,
        "as_of": {n: state[n] for n in ("snapshot", "committed_at", "received_until")},
        "rows": sum(file.rows for file in files),
        "bytes": sum(file.bytes for file in files),
        "repeats_left_out": left_out["repeats"],
        "erased_left_out": left_out["erased"],
        "files": [vars(file) for file in files],
    }


def _iso(instant_us: int) -> str:
    return datetime.fromtimestamp(instant_us / 1e6, UTC).isoformat()
