"""Dead letters -> candidates again, held to what events are held to today, and judged."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, NamedTuple

import polars as pl

from transforms import event_schema
from transforms.candidates import Candidate, Candidates, encoded, refuse_large
from transforms.edits import FIELDS, Edit, mended
from transforms.failures import Reason, Rejection
from transforms.flags import Flag
from transforms.judge import Origin, judge
from transforms.mapping import RowMapping
from transforms.suppression import suppress

Outcome = Literal["returned", "refused", "suppressed"]
Letter = Mapping[str, Any]  # a row of dead_letter.avsc, its times in us
_NO_CANDIDATE = "no candidate was kept of it, so it cannot be replayed without --mapping"


@dataclass(frozen=True)
class Gate:
    """What letters are held to, as what comes by HTTP is today.

    schemas:         (project, type, name) -> (version, the schema's Avro JSON), newest first; an
                     empty name: all of the type without their own
    modes:           (project, source) -> off, warn or enforce
    most_properties: (project, source) -> properties at the top level of one event
    suppressed:      project -> digests of erased people
    """

    schemas: Mapping[tuple[str, str, str], tuple[tuple[int, str], ...]] = field(
        default_factory=dict
    )
    modes: Mapping[tuple[str, str], str] = field(default_factory=dict)
    most_properties: Mapping[tuple[str, str], int] = field(default_factory=dict)
    suppressed: Mapping[str, frozenset[bytes]] = field(default_factory=dict)
    max_event_bytes: int = 128 << 10


@dataclass(frozen=True)
class Fix:
    """What is done to letters before. mapping: makes candidates of their originals anew."""

    edits: tuple[Edit, ...] = ()
    mapping: RowMapping | None = None


class Result(NamedTuple):
    """What became of one letter; the reason and message where it is refused again."""

    outcome: Outcome
    reason: str | None = None
    message: str | None = None
    event_id: str | None = None


def replay(letters: Sequence[Letter], fix: Fix, gate: Gate) -> tuple[pl.DataFrame, list[Result]]:
    """(rows of event.avsc, what became of each letter). The same letters give the same rows.

    Events keep the time they were received at first. One without an id gets the letter's, so that
    it has the same one whenever it is replayed.
    """
    parts = [(_held(letter, fix, gate), _origin(letter)) for letter in letters]
    judged = judge(parts)
    results: list[Result] = []
    row = 0
    for candidates, _ in parts:
        if candidates.suppressed:
            results.append(Result("suppressed"))
            continue
        event_id = None
        refused: Mapping[int, Rejection] = candidates.refused
        if candidates.count:
            event_id = judged.event_ids[row]
            own = {0: judged.refused[row]} if row in judged.refused else {}
            refused = candidates.refusals(own)
            row += 1
        if refused:
            results.append(Result("refused", refused[0].reason.value, refused[0].message))
        else:
            results.append(Result("returned", event_id=event_id))
    return judged.rows, results


def _held(letter: Letter, fix: Fix, gate: Gate) -> Candidates:
    """The letter's one candidate, or why there is none."""
    made = _made(letter, fix)
    owner = (letter["project"], letter["source"])
    candidates = Candidates.of([made], [letter["original"]])
    kept = suppress(candidates, owner[0], gate.suppressed.get(owner[0], frozenset()))
    if isinstance(made, Rejection) or not kept.count:
        return kept
    fields = {"properties": made.properties, "context": made.context}
    # An edit may have made it smaller, but it has to be as it was to be as large as it was.
    size = min(len(letter["original"]), len(encoded(fields)) or len(letter["original"]))
    kept = refuse_large(kept, gate.max_event_bytes) if size > gate.max_event_bytes else kept
    return _checked(kept, made, owner, gate) if kept.count else kept


def _made(letter: Letter, fix: Fix) -> Candidate | Rejection:
    fields = _fields(letter, fix)
    if isinstance(fields, Rejection):
        return fields
    known = {"reason": letter["reason"], "source": letter["source"]}
    try:
        mended(fields, known, fix.edits)
        columns = {n: v for n, v in fields.items() if n not in _PLAIN and v is not None}
        columns["flags"] = 0 if fields.get("event_id") or letter["step"] == "import" else _MADE_ID
        plain: dict[str, Any] = {"type": "", "event_id": _id_of(letter)}
        for name in FIELDS:
            if (value := fields.get(name)) is not None:
                text = _text(name, value)
                plain[name] = value if name == "timestamp" else text
        candidate = Candidate(
            **plain,
            sent_time=columns.pop("sent_time", None),
            properties=_object(fields.get("properties")),
            context=_object(fields.get("context")),
            columns=columns,
        )
    except ValueError as error:
        return Rejection(Reason.WRONG_TYPE, str(error), letter["original"])
    return candidate


# Found anew: what the letter was held to at first is not what it is held to now.
_PLAIN = {*FIELDS, "properties", "context", "flags", "schema_version"}
_MADE_ID = Flag.MADE_ID.value


def _fields(letter: Letter, fix: Fix) -> dict[str, Any] | Rejection:
    original = letter["original"]
    if fix.mapping is None:
        if letter.get("candidate"):
            found: dict[str, Any] = json.loads(letter["candidate"])
            return found
        message = f"{letter['message'].removesuffix(f' ({_NO_CANDIDATE})')} ({_NO_CANDIDATE})"
        return Rejection(Reason(letter["reason"]), message, original)
    try:
        row = json.loads(original)
    except (ValueError, RecursionError) as error:
        return Rejection(Reason.UNREADABLE, f"the original is not JSON: {error}", original)
    if not isinstance(row, dict):
        return Rejection(Reason.NOT_AN_OBJECT, "the original is no JSON object", original)
    made = fix.mapping.candidate(row, original)
    if isinstance(made, Rejection):
        return made
    values = {name: getattr(made, name) for name in FIELDS}
    objects = {name: json.loads(getattr(made, name)) for name in ("properties", "context")}
    return {**values, **objects, **made.columns}


def _id_of(letter: Letter) -> str:
    """Of an imported row the id that the import would have given it, else the letter's own."""
    given: str = letter["dead_letter_id"]
    if letter["step"] == "import":
        given = given.removeprefix(f"{letter['source']}:")
    return given[-100:]


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool | dict | list):
        raise ValueError(f"{name} = {value!r} must be a text or a number")
    text = str(value)
    text.encode()  # half an emoji is no text
    return text


def _object(value: Any) -> bytes:
    found = value if isinstance(value, dict) else {}
    return json.dumps(found, ensure_ascii=False, allow_nan=False).encode()


def _origin(letter: Letter) -> Origin:
    said = json.loads(letter.get("request") or "{}")
    return Origin(
        project=letter["project"],
        source=letter["source"],
        received_time=letter["received_time"],
        sent_time=said.get("sent_time"),
        retry_count=said.get("retry_count"),
        flags=said.get("flags") or 0,
        columns=said.get("columns") or {},
    )


def _checked(kept: Candidates, made: Candidate, owner: tuple[str, str], gate: Gate) -> Candidates:
    """Held to how many properties it may have, and to the schema registered for it."""
    most = gate.most_properties.get(owner)
    count = len(json.loads(made.properties)) if most is not None else 0
    if most is not None and count > most:
        text = f"{count:,} properties; at most {most:,} an event"
        return kept.refuse({0: (Reason.TOO_MANY_PROPERTIES, text)})
    mode = gate.modes.get(owner, "off")
    versions = gate.schemas.get((owner[0], made.type, made.name or "")) or gate.schemas.get(
        (owner[0], made.type, "")
    )
    if mode == "off" or not versions:
        return kept
    known = (event_schema.Version(number, _schema(avro)) for number, avro in versions)
    fits, why = event_schema.judged(known, made.name or made.type, made.properties)
    if fits is not None:
        return kept.with_columns({"schema_version": [fits]})
    if mode == "enforce":
        return kept.refuse({0: (Reason.SCHEMA_MISMATCH, str(why))})
    return kept.with_columns({"flags": [made.columns["flags"] | Flag.SCHEMA_MISMATCH.value]})


@cache
def _schema(avro: str) -> event_schema.EventSchema:
    return event_schema.read(avro)
