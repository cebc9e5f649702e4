"""Makes an export: what is asked -> files and a manifest in a directory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from catalog.settings import Settings
from reports.exports.apart import Stream
from reports.exports.asked import Asked
from reports.exports.cells import Column
from reports.exports.raw_rows import Raw, RawRows
from reports.exports.shelf import MANIFEST, SUMS, put_json
from reports.exports.writing import PARTS, Shape, Written, columns_of, write
from reports.insights.kinds import ask
from reports.insights.source import Source
from reports.present import when
from reports.warehouse.engine import Made, QueryFailed
from reports.warehouse.parameters import values_of

_LOOK_S = 0.2
_GIVEN = "given"
# What is of people besides events, and is not made anew when somebody is suppressed.
_OF_PEOPLE = {"dead_letters", "identities", "sessions"}


class Cancelled(Exception):
    """Whoever asked for it does not want it any more."""


class FilesGone(Exception):
    """Files of the tables were replaced meanwhile; it can be made anew."""


@dataclass(frozen=True)
class Facts:
    """What a manifest says besides the files. Times in us."""

    columns: list[dict[str, str]]
    as_of: int | None
    complete_until: int | None
    status: str | None
    left_out: dict[str, int | None] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass
class Maker:
    """Makes one export.

    source:     where a question is asked; its warehouse answers queries
    suppressed: digests of people that the project stores nothing more of
    tell:       rows, bytes and share done so far
    is_cancelled: looked at several times a second
    """

    asked: Asked
    project: str
    source: Source
    settings: Settings
    suppressed: Set[bytes]
    tell: Callable[[int, int, float | None], None]
    is_cancelled: Callable[[], bool]

    def make(self, directory: Path) -> dict[str, Any]:
        """Write files and manifest into an empty directory; the manifest.

        Raises QueryFailed and QuestionError, whose message is for people, Cancelled, FilesGone.
        """
        started = time.time()
        how = self._query if self.asked.sql else self._question if self.asked.kind else self._rows
        try:
            written, facts = how(directory)
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise self._translated(error) from None
        if self.is_cancelled():
            raise Cancelled
        manifest = self._manifest(written, facts, started)
        sums = "".join(f"{one.sha256}  {one.name}\n" for one in written)
        (directory / SUMS).write_text(sums)
        put_json(directory / MANIFEST, manifest)
        return manifest

    # -- The three things that can be exported.

    def _query(self, directory: Path) -> tuple[list[Written], Facts]:
        warehouse = self.source.warehouse
        values = values_of(self.asked.parameters)
        made = warehouse.prepare(self.project, self.asked.sql, values, without=self.suppressed)
        job = replace(made.job, max_rows=None)
        with (
            Stream(job, self.settings.export_timeout_s) as stream,
            self._watched(stream.stop, directory, rows=lambda: stream.rows),
            _engine(threads=1) as engine,  # one: so the order of the rows stays
        ):
            reader = stream.reader()
            written: list[Written] = []
            columns: list[Column] = []
            if reader is not None:
                engine.register(_GIVEN, reader)
                columns = columns_of(engine, _GIVEN)
                written = write(engine, _GIVEN, columns, directory, self._shape(), self._tell)
            failure = stream.failure()
        if self.is_cancelled():
            raise Cancelled
        if failure is not None:
            if failure.reason == "files":
                raise FilesGone
            if failure.reason == "time":
                raise QueryFailed(self._too_slow())
            warehouse.result(made, failure, 0.0)
        status = "live, approximate" if "live_minutes" in made.query.tables else "exact"
        shown = [{"name": c.name, "type": c.type} for c in columns]
        return written, Facts(
            shown,
            made.as_of,
            made.complete_until,
            status if made.query.tables else None,
            {} if made.left_out is None else {"suppressed": made.left_out},
            tuple(_notes(made)) if self.suppressed else (),
        )

    def _question(self, directory: Path) -> tuple[list[Written], Facts]:
        with self._watched(lambda: None, directory):
            answer = ask(self.asked.kind, self.asked.question, self.source)
        table = answer.table
        arrays = [_array([row[at] for row in table.rows]) for at in range(len(table.columns))]
        names = [column.name for column in table.columns]
        with _engine(threads=1) as engine:
            engine.register(_GIVEN, pa.Table.from_arrays(arrays, names=names))
            columns = columns_of(engine, _GIVEN)
            written = write(engine, _GIVEN, columns, directory, self._shape(), self._tell)
        shown = [
            {"name": c.name, "type": found.type, "title": c.title, "unit": c.unit}
            for c, found in zip(table.columns, columns, strict=True)
        ]
        facts = Facts(
            shown, answer.as_of, answer.complete_until, table.trust, notes=tuple(table.notes)
        )
        return written, facts

    def _rows(self, directory: Path) -> tuple[list[Written], Facts]:
        asked = self.asked
        raw = Raw(
            self.project,
            asked.table,
            asked.dates,
            asked.columns,
            self.source.today,
            self.source.zone,
        )
        rows = RawRows(raw, self.source.warehouse.files, self.suppressed)
        spill = directory / ".spill"
        with _engine(self.settings.sql_threads) as engine:
            engine.execute(f"SET memory_limit = '{self.settings.sql_memory_mb}MB'")
            engine.execute("SET temp_directory = ?", [str(spill)])
            engine.execute("SET preserve_insertion_order = false")
            engine.execute("SET enable_progress_bar = true")
            engine.execute("SET enable_progress_bar_print = false")
            with self._watched(engine.interrupt, directory, engine):
                relation = rows.relation(engine)
                columns = columns_of(engine, relation)
                shape = self._shape(rows.json_columns(columns))
                written = write(engine, relation, columns, directory, shape, self._tell)
                left_out = rows.left_out(engine, sum(one.rows for one in written))
        if spill.exists():
            for path in spill.iterdir():
                path.unlink()
            spill.rmdir()
        shown = [{"name": c.name, "type": c.type} for c in columns]
        facts = Facts(
            shown, rows.as_of, rows.complete_until, "exact", left_out, tuple(rows.notes())
        )
        return written, facts

    # -- What they share.

    def _shape(self, embedded: Set[str] = frozenset()) -> Shape:
        part_bytes = self.settings.export_part_mb << 20
        return Shape(self.asked.format, self.asked.stem, part_bytes, self.asked.raw, embedded)

    def _tell(self, rows: int, size: int) -> None:
        if self.is_cancelled():
            raise Cancelled
        self.tell(rows, size, None)

    @contextmanager
    def _watched(
        self,
        stop: Callable[[], object],
        directory: Path,
        engine: duckdb.DuckDBPyConnection | None = None,
        rows: Callable[[], int] = lambda: -1,
    ) -> Iterator[None]:
        """Stop what runs in the block once it is cancelled or late; tell how far it is."""
        over = threading.Event()
        until = time.monotonic() + self.settings.export_timeout_s

        def look() -> None:
            while not over.wait(_LOOK_S):
                if self.is_cancelled() or time.monotonic() > until:
                    stop()
                percent = engine.query_progress() if engine is not None else -1.0
                share = percent / 100 if percent >= 0 else None
                self.tell(rows(), _size(directory), share)

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _translated(self, error: Exception) -> Exception:
        """What an error of the engine means; Arrow hands some on with nothing but their text."""
        text = str(error)
        if self.is_cancelled():
            return Cancelled()
        if isinstance(error, duckdb.InterruptException) or "INTERRUPT Error" in text:
            return QueryFailed(self._too_slow())
        if isinstance(error, duckdb.OutOfMemoryException) or "Out of Memory Error" in text:
            return QueryFailed(
                f"needs more than {self.settings.sql_memory_mb} MB (HEADWATER_SQL_MEMORY_MB); "
                "export fewer days at once"
            )
        if "No space left" in text:  # the engine says it as one more failure of reading or writing
            return QueryFailed("no room on the disk")
        if isinstance(error, duckdb.IOException) or "No files found" in text:
            return FilesGone()
        return error

    def _too_slow(self) -> str:
        return (
            f"stopped after {self.settings.export_timeout_s:g} s (HEADWATER_EXPORT_TIMEOUT_S); "
            "export fewer days at once, or aggregate earlier"
        )

    def _manifest(self, written: list[Written], facts: Facts, started: float) -> dict[str, Any]:
        asked, zone = self.asked, self.source.zone
        return {
            "manifest_version": 1,
            **said_of(asked, self.project),
            "format_options": _options(asked),
            "columns": facts.columns,
            "made_at": when(int(started * 1e6), zone),
            "time_zone": zone,
            "status": facts.status,
            "as_of": when(facts.as_of, zone),
            "complete_until": when(facts.complete_until, zone),
            "rows": sum(one.rows for one in written),
            "bytes": sum(one.bytes for one in written),
            "files": [asdict(one) for one in written],
            "left_out": facts.left_out,
            "notes": list(facts.notes),
            "elapsed_s": round(time.time() - started, 3),
        }


def said_of(asked: Asked, project: str) -> dict[str, Any]:
    """What a manifest says of what was asked, whenever it was made."""
    what = {
        name: value
        for name in ("sql", "parameters", "kind", "question", "table", "dates", "columns")
        if (value := getattr(asked, name))
    }
    return {"project": project, "name": asked.title, "what": what, "format": asked.format}


def _notes(made: Made) -> Iterator[str]:
    """What a query's reader must know where people are suppressed."""
    if made.left_out is not None:
        yield (
            "Events of suppressed people are left out, so its numbers can be lower than those of "
            "the SQL page."
        )
    others = made.query.tables & _OF_PEOPLE
    if others:
        yield f"Rows of {' and '.join(sorted(others))} are as they were; suppressed people are in."


def _size(directory: Path) -> int:
    """Bytes of the files that are being written."""
    size = 0
    for path in (*directory.glob("*.*"), *directory.glob(f"{PARTS}/*")):
        with suppress(FileNotFoundError):  # it just got its name
            size += path.stat().st_size if path.is_file() else 0
    return size


def _options(asked: Asked) -> dict[str, str]:
    match asked.format:
        case "csv":
            guarded = (
                "left as they are"
                if asked.raw
                else "an apostrophe stands before = + - @, tab and line breaks, also full-width, "
                "unless the cell is a plain number"
            )
            return {
                "encoding": "UTF-8",
                "line_ends": "CRLF",
                "header": "first line of each file",
                "null": 'nothing; an empty text is ""',
                "times": "ISO 8601, UTC",
                "formulas": guarded,
            }
        case "json" | "jsonl":
            each = "one JSON list a file" if asked.format == "json" else "one JSON object a line"
            return {
                "encoding": "UTF-8",
                "layout": each,
                "times": "ISO 8601, UTC",
                "numbers": "decimals, and whole numbers beyond 2^53, are texts: no digit is lost; "
                "not-a-number and infinity are null",
            }
        case _:
            return {"compression": "zstd"}


@contextmanager
def _engine(threads: int) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database of our own, which never runs a person's query."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"SET threads = {threads}")
        yield connection


def _array(values: list[Any]) -> Any:
    """Values of a column of an answer; of several kinds, as texts."""
    if all(value is None for value in values):
        return pa.array(values, pa.string())
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([None if value is None else str(value) for value in values], pa.string())
