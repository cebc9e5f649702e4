"""Holds events to the schemas registered for them, as their source's policy wants it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from itertools import repeat

from catalog.schemas import Registered
from catalog.store import KeyOwner
from collector.renewed import Renewed
from transforms.candidates import Candidates
from transforms.event_schema import SchemaError, Version, judged, read
from transforms.failures import Reason
from transforms.flags import Flag

log = logging.getLogger(__name__)


# By type and name of the events; newest first.
_Schemas = Mapping[tuple[str, str], tuple[Version, ...]]


class Validator:
    """Checks candidates against a copy of the catalogue's schemas, renewed every `refresh_s`.

    load:  all registered versions, those of one schema oldest first
    clock: in seconds, monotonic

    While the catalogue cannot be read the copy stays in use, as that of the keys does.
    """

    def __init__(
        self, load: Callable[[], Iterable[Registered]], refresh_s: float, clock: Callable[[], float]
    ) -> None:
        self._schemas = Renewed("schemas", lambda _: _by_project(load()), refresh_s, clock)

    def check(self, candidates: Candidates, owner: KeyOwner) -> Candidates:
        """The candidates with the column `schema_version`: the newest version that each fits.

        Those that fit no version of their schema are, where the policy says
        warn:    flagged SCHEMA_MISMATCH and kept
        enforce: refused, with a message that names the field
        Events without a schema pass as they are.
        """
        mode = owner.policy.schema_mode
        if mode == "off":
            return candidates
        schemas = self._schemas().get(owner.project)
        if schemas is None or not candidates.count:
            return candidates
        versions, wrong = _check_all(candidates, schemas)
        if wrong is None:
            return candidates
        checked = candidates.with_columns({"schema_version": versions})
        if not wrong:
            return checked
        if mode == "enforce":
            places = candidates.places
            return checked.refuse(
                {places[row]: (Reason.SCHEMA_MISMATCH, why) for row, why in wrong.items()}
            )
        flags = [flag or 0 for flag in candidates.columns.get("flags") or [0] * candidates.count]
        for row in wrong:
            flags[row] |= Flag.SCHEMA_MISMATCH.value
        return checked.with_columns({"flags": flags})

    def explain(self, project: str, kind: str, name: str | None, properties: bytes) -> str | None:
        """What an event's schema says against it; None where it fits or has no schema."""
        found = _of(self._schemas().get(project) or {}, kind, name)
        return judged(found, name or kind, properties)[1] if found else None


def _by_project(registered: Iterable[Registered]) -> Mapping[str, _Schemas]:
    found: dict[str, dict[tuple[str, str], tuple[Version, ...]]] = {}
    for one in registered:
        try:
            schema = read(one.avro)
        except SchemaError as error:  # by a newer Headwater; the others serve on
            log.error("%s of %s, version %d: %s", one.title, one.project, one.version, error)
            continue
        schemas = found.setdefault(one.project, {})
        older = schemas.get((one.type, one.name), ())
        schemas[one.type, one.name] = (Version(one.version, schema), *older)
    return found


def _of(schemas: _Schemas, kind: str, name: str | None) -> tuple[Version, ...] | None:
    """That of the name, else that of the whole type."""
    found = schemas.get((kind, name or ""))
    return schemas.get((kind, "")) if found is None and name else found


def _check_all(
    candidates: Candidates, schemas: _Schemas
) -> tuple[list[int | None], dict[int, str] | None]:
    """(version that each row fits, what is wrong by row); None: no row has a schema."""
    versions: list[int | None] = [None] * candidates.count
    wrong: dict[int, str] = {}
    any_has_one = False
    columns = [candidates.columns.get(name) or repeat(None) for name in _READ]
    for row, (kind, name, properties) in zip(
        range(candidates.count), zip(*columns, strict=False), strict=False
    ):
        found = _of(schemas, kind, name)
        if found is None:
            continue
        any_has_one = True
        versions[row], why = judged(found, name or kind, properties or b"{}")
        if why is not None:
            wrong[row] = why
    return versions, wrong if any_has_one else None


_READ = ("type", "name", "properties")
