"""The cohorts of projects: kept under their names, worked out when they are needed, remembered.

What was worked out lies in `data_dir/cohorts/PROJECT/`, a Parquet file for each rule, written
whole and then renamed: any process may read and write them. Uploaded lists lie beside them.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from catalog.documents import Document, Documents
from catalog.store import CatalogError
from reports.cohorts.definition import LIST_ID, Definition, Sql, Upload, leaves_of, read
from reports.cohorts.evaluation import as_ids, evaluate
from reports.insights.question import QuestionError
from reports.insights.source import Source
from reports.warehouse.admit import NotAdmitted
from reports.warehouse.belonging import SCHEMA, Belonging
from reports.warehouse.engine import Warehouse
from reports.warehouse.execute import COHORTS
from reports.warehouse.failed import Busy, QueryFailed
from schemas_avro.tables import EVENTS, IDENTITIES, REPEATS

KIND = "cohort"
REUSED_US = 60_000_000  # a result this young is used again, though events came since
_KEPT_S = 86_400  # what belongs to no saved cohort: previews, and lists not used yet
_STATE = b"headwater.cohort"
_DRAFT = ".tmp"
_UNREADABLE = (FileNotFoundError, KeyError, TypeError, pa.ArrowInvalid)


@dataclass(frozen=True)
class State:
    """How far a size can be trusted.

    key:            of the rule, the day and what the warehouse held
    size:           people
    computed_at:    us
    complete_until: events received up to here are in it, us
    remarks:        what did not fit
    error:          why it could not be worked out; empty where it could
    elapsed_s:      what that took
    """

    key: str
    size: int
    computed_at: int
    complete_until: int | None
    remarks: tuple[str, ...] = ()
    error: str = ""
    elapsed_s: float = 0.0


@dataclass(frozen=True)
class Members:
    """A cohort worked out: column `person`, once in the one identity mode, once in the other."""

    state: State
    people: pa.Table
    others: pa.Table

    @property
    def ids(self) -> pa.Table:
        """All that they go by, in either mode."""
        return pa.concat_tables([self.people, self.others])


class Cohorts:
    """Cohorts of all projects. Threads may share it.

    directory: of results and lists; clock: now in us; zones: time zone by project
    """

    def __init__(
        self,
        documents: Documents,
        warehouse: Warehouse,
        directory: Path,
        clock: Callable[[], int],
        zones: Callable[[], Mapping[str, str]],
        user: Callable[[], str | None] = lambda: None,
    ) -> None:
        """user: who asks, whose queries at once are limited."""
        self.documents = documents
        self._warehouse, self._directory = warehouse, directory
        self._clock, self._zones, self._user = clock, zones, user
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    # -- What is kept.

    def save(
        self, project: str, name: str, value: object, *, author: str = "", known: str = ""
    ) -> Document:
        """Keep a definition under a name, in place of the `known` one of that id.

        Raises QuestionError, CatalogError.
        """
        definition = read(value)
        for leaf in leaves_of(definition.rule):
            if isinstance(leaf, Upload):
                self._list(project, leaf)
        body = msgspec.to_builtins(definition)
        if not known and self.documents.named(project, KIND, name.strip()) is not None:
            raise CatalogError(f"{project} has another {KIND} named {name.strip()!r}")
        saved = self.documents.put(project, KIND, name, body, author=author, known=known)
        self._tidy(project)
        return saved

    def remove(self, project: str, known: str) -> None:
        """Forget one, by its id. Raises CatalogError."""
        self.documents.remove(project, KIND, known)
        self._tidy(project)

    def put_list(self, project: str, ids: Iterable[str]) -> str:
        """Keep a list of ids: its name, the same for the same ids."""
        each = sorted(set(ids))
        digest = hashlib.sha256("\n".join(each).encode()).hexdigest()
        _write(self._path(project, f"list-{digest}"), as_ids(each))
        self._tidy(project)
        return digest

    # -- What comes of it.

    def table(self, project: str, name: str) -> pa.Table | None:
        """People of a cohort, for a question in either identity mode; None: no such cohort.

        Raises QuestionError where it cannot be worked out.
        """
        saved = self.documents.named(project, KIND, name)
        if saved is None:
            return None
        found = self.members(project, read(saved.body))
        if found.state.error:
            raise QuestionError(f"cohort={name!r}: {found.state.error}")
        return found.ids

    def belonging(self, project: str, names: Set[str] | None) -> Belonging:
        """Rows of the SQL table `cohorts`: of those cohorts, or of all; under all their ids.

        Raises NotAdmitted where one of them cannot be worked out.
        """
        parts, states = [SCHEMA.empty_table()], list[State]()
        for saved in sorted(self.documents.all(project, KIND), key=lambda one: one.name):
            if names is not None and saved.name not in names:
                continue
            found = self.members(project, read(saved.body))
            if found.state.error:
                raise NotAdmitted(
                    f"the cohort {saved.name!r} cannot be worked out: {found.state.error}"
                )
            ids = pc.unique(found.ids["person"])
            parts.append(
                pa.Table.from_arrays([pa.repeat(saved.name, len(ids)), ids], schema=SCHEMA)
            )
            states.append(found.state)
        return Belonging(
            pa.concat_tables(parts),
            as_of=min((one.computed_at for one in states), default=None),
            complete_until=min((one.complete_until or 0 for one in states), default=None),
        )

    def state(self, project: str, definition: Definition) -> State | None:
        """What was worked out last, however long ago."""
        return _state(self._path(project, _digest(definition)))

    def members(self, project: str, definition: Definition, *, anew: bool = False) -> Members:
        """Worked out, or remembered from the same events, or for less than a minute.

        Never raises for what the rule asks: the state says what went wrong.
        """
        digest = _digest(definition)
        with self._lock(f"{project}/{digest}"):
            path, now = self._path(project, digest), self._clock()
            source = Source(self._warehouse, project, self._zones()[project], now)
            key = self._key(digest, source)
            found = None if anew else _read(path)
            if found is not None and found.state.key.split("|")[0] == key.split("|")[0]:
                young = 0 <= now - found.state.computed_at < REUSED_US
                # What went wrong may go right the next time, on the same events.
                if young or (found.state.key == key and not found.state.error):
                    return found
            made = self._worked_out(project, definition, source, key)
            _write(path, _packed(made))
        self._tidy(project)
        return made

    def _worked_out(
        self, project: str, definition: Definition, source: Source, key: str
    ) -> Members:
        started = time.monotonic()
        none = pa.table({"person": pa.array([], pa.string())})
        people = others = none
        remarks: tuple[str, ...] = ()
        error = ""
        try:
            found = evaluate(definition, source, lambda leaf: self._names(project, leaf))
            people, others, remarks = found.people, found.others, found.remarks
        except Busy as problem:
            error, key = str(problem), ""  # no day's: the next one to ask tries again
        except (QuestionError, QueryFailed, NotAdmitted) as problem:
            error = str(problem)
        state = State(
            key=key,
            size=people.num_rows,
            computed_at=source.now_us,
            complete_until=source.complete_until,
            remarks=remarks,
            error=error,
            elapsed_s=round(time.monotonic() - started, 3),
        )
        return Members(state, people.cast(none.schema), others.cast(none.schema))

    def _names(self, project: str, leaf: Sql | Upload) -> pa.Table:
        """The ids that a query or a list names. Raises QuestionError, QueryFailed, NotAdmitted."""
        return self._list(project, leaf) if isinstance(leaf, Upload) else self._asked(project, leaf)

    def _list(self, project: str, leaf: Upload) -> pa.Table:
        path = self._path(project, f"list-{leaf.list}")
        if not LIST_ID.fullmatch(leaf.list) or not path.exists():
            raise QuestionError(f"list={leaf.list!r} is not there; upload it again")
        return pq.read_table(path)

    def _asked(self, project: str, leaf: Sql) -> pa.Table:
        """Under all limits of the SQL box: the author's query reads the project's rows alone.

        And no cohorts: one that asks for itself would have no end.
        """
        result = self._warehouse.ask(project, leaf.sql, user=self._user(), but={COHORTS})
        names = [column.lower() for column in result.columns]
        if "person" not in names:
            raise QuestionError(
                f"sql: the query has the columns {', '.join(result.columns)}; name one `person`"
            )
        if result.truncated:
            raise QuestionError(
                f"sql: the query names more than {len(result.rows):,} people "
                "(HEADWATER_SQL_MAX_ROWS); make a condition of it, or upload the list"
            )
        place = names.index("person")
        return as_ids([row[place] for row in result.rows])

    # -- Files.

    def _key(self, digest: str, source: Source) -> str:
        """Day, then what the warehouse holds: the same key, the same people."""
        held = hashlib.sha256(digest.encode())
        for table in (EVENTS, IDENTITIES, REPEATS):
            for path in self._warehouse.files.of(table).paths:
                held.update(path.encode() + b"\n")
            held.update(b"\0")
        return f"{source.today}|{held.hexdigest()}"

    def _path(self, project: str, name: str) -> Path:
        return self._directory / project / f"{name}.parquet"

    def _lock(self, name: str) -> threading.Lock:
        with self._guard:
            return self._locks.setdefault(name, threading.Lock())

    def _tidy(self, project: str) -> None:
        """Forget results and lists that no saved cohort has, when they are a day old.

        So are drafts of writers that were killed.
        """
        kept = set()
        for saved in self.documents.all(project, KIND):
            definition = read(saved.body)
            kept.add(_digest(definition))
            lists = (leaf for leaf in leaves_of(definition.rule) if isinstance(leaf, Upload))
            kept.update(f"list-{leaf.list}" for leaf in lists)
        below = self._directory / project
        for path in (*below.glob("*.parquet"), *below.glob(f"*{_DRAFT}")):
            try:
                if path.stem not in kept and time.time() - path.stat().st_mtime > _KEPT_S:
                    path.unlink()
            except FileNotFoundError:
                continue


def _digest(definition: Definition) -> str:
    """Of what decides who is in it: not of the words about it."""
    asked = msgspec.structs.replace(definition, description="")
    return hashlib.sha256(msgspec.json.encode(asked)).hexdigest()


def _packed(made: Members) -> pa.Table:
    own = pa.array([True] * made.people.num_rows + [False] * made.others.num_rows, pa.bool_())
    table = made.ids.append_column("own", own)
    return table.replace_schema_metadata({_STATE: json.dumps(asdict(made.state)).encode()})


def _state(path: Path) -> State | None:
    """What lies there, without the people; None for nothing, and for an older version's."""
    try:
        return _said(pq.read_schema(path))
    except _UNREADABLE:
        return None


def _read(path: Path) -> Members | None:
    """What lies there; None for nothing, and for what an older version wrote."""
    try:
        table = pq.read_table(path)
        state = _said(table.schema)
    except _UNREADABLE:
        return None
    table = table.replace_schema_metadata(None)
    own = table["own"]
    people = table.filter(own).select(["person"])
    return Members(state, people, table.filter(pc.invert(own)).select(["person"]))


def _said(schema: pa.Schema) -> State:
    """Raises KeyError, TypeError for what an older version wrote."""
    said = json.loads((schema.metadata or {})[_STATE])
    return State(**{**said, "remarks": tuple(said["remarks"])})


def _write(path: Path, table: pa.Table) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=_DRAFT)
    os.close(handle)
    try:
        pq.write_table(table, name, compression="zstd")
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
