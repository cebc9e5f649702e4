"""Errors out of events, and which of them are the same one: fingerprint, groups.

A group is: type, message without what changes from time to time, and the three innermost frames of
one's own code (of all code, where none is), by function and file. Lines and columns change with
every release and are no part of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import blake2b
from typing import Any

import polars as pl

from transforms.grid import local_day
from transforms.stacks import Frame, Stack, parse, structured, typed

ERROR_NAMES = ("$exception", "Error")
# What of an event's properties says anything about an error; the rest need not be read.
EVIDENCE = (
    "$exception_list", "$exception_type", "$exception_message", "$exception_stack_trace_raw",
    "$exception_types", "$exception_values", "$exception_fingerprint", "exception",
    "exception.type", "exception.message", "exception.stacktrace", "error",
)  # fmt: skip
# The same of events with one of the names: of others these words may mean anything.
PLAIN = ("type", "name", "message", "stack", "file", "line")
TOP_FRAMES = 3
_MOST_MESSAGE = 2_000  # characters
_MOST_VALUES = 10  # versions and browsers of a group

# What changes from time to time, and what stands for it. In this order: the larger ones first.
_CHANGING = tuple(
    (re.compile(pattern), mark)
    for pattern, mark in (
        (r"\b[a-z][a-z0-9+.-]{1,20}://[^\s'\"<>()]+", "<url>"),
        (r"[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64})+", "<email>"),
        (r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b", "<uuid>"),
        (r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?)?(?:Z|[+-]\d\d:?\d\d)?", "<time>"),
        (r"\b\d{1,3}(?:\.\d{1,3}){3}\b", "<ip>"),
        (r"\b0[xX][0-9a-fA-F]+\b", "<hex>"),
        (r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{8,}\b", "<hex>"),
        (r"(?<!\w)[+-]?\d+(?:[.,]\d+)*", "<n>"),
        (r"\s+", " "),
    )
)  # fmt: skip
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]{1,20}://[^/]*/?", re.IGNORECASE)
_BUILD = re.compile(
    r"(?<=[.\-_/])(?:(?=[A-Za-z0-9]*\d)[A-Za-z0-9]{8,}|(?=[A-Za-z0-9_-]*[A-Z0-9])[A-Za-z0-9_-]{8})"
    r"(?=\.(?:js|mjs|cjs|css|chunk|bundle|min)\b)"
)
_GENERATED = (
    (
        re.compile(r"\$\$(?:Lambda|EnhancerBy\w+|FastClassBy\w+)(?:\$[\w$]*)*(?:/0x[0-9a-f]+)?"),
        "$$",
    ),
    (re.compile(r"(?<=[$a-z])\d+(?=\.|$)"), ""),
)


@dataclass(frozen=True, slots=True)
class Problem:
    """One error as it was sent. given: the sender's own fingerprint, "" for none."""

    type: str
    message: str
    frames: tuple[Frame, ...] = ()
    stack: str = ""
    given: str = ""

    @property
    def title(self) -> str:
        """Type and the first line of the message."""
        first = self.message.split("\n", 1)[0][:200]
        return ": ".join(filter(None, (self.type, first))) or "(no message)"

    @property
    def culprit(self) -> str:
        """Where it was raised: the innermost frame of one's own code."""
        top = _top(self.frames)
        if not top:
            return ""
        place = _path(top[0].file)
        line = f":{top[0].line}" if top[0].line is not None else ""
        return " in ".join(filter(None, (top[0].function, f"{place}{line}" if place else "")))


def fingerprint(problem: Problem) -> str:
    """16 hex digits that stay the same from release to release."""
    parts = ["given", problem.given]
    if not problem.given:
        frames = [f"{_function(f.function)}@{_path(f.file)}" for f in _top(problem.frames)]
        parts = [problem.type, normalised(problem.message), *frames]
    return blake2b("\x1f".join(parts).encode(errors="replace"), digest_size=8).hexdigest()


def normalised(message: str) -> str:
    """The message without numbers, ids, addresses and times."""
    text = message[:_MOST_MESSAGE]
    for pattern, mark in _CHANGING:
        text = pattern.sub(mark, text)
    return text.strip()


def _top(frames: Sequence[Frame]) -> list[Frame]:
    ours = [frame for frame in frames if frame.in_app]
    return list(ours or frames)[:TOP_FRAMES]


def _path(file: str) -> str:
    """Without host, query and the build's hash: /static/main.*.js."""
    path = _ORIGIN.sub("/", file.partition("?")[0].partition("#")[0], count=1)
    return _BUILD.sub("*", path)


def _function(name: str) -> str:
    for pattern, mark in _GENERATED:
        name = pattern.sub(mark, name)
    return name


# -- Out of an event's properties.


def read(properties: Mapping[str, Any]) -> Problem | None:
    """The error in an event's properties; None where they hold none. See docs/errors.md."""
    given = properties.get("$exception_fingerprint")
    if isinstance(given, list):
        given = "\x1f".join(map(str, given))
    found = _posthog(properties) or _object(properties) or _flat(properties) or _plain(properties)
    if found is None or not isinstance(given, str) or not given:
        return found
    return Problem(found.type, found.message, found.frames, found.stack, given)


def _posthog(properties: Mapping[str, Any]) -> Problem | None:
    listed = properties.get("$exception_list")
    if isinstance(listed, list) and listed and isinstance(listed[0], Mapping):
        return _of_entry(listed[0])  # what was thrown; its causes follow
    kind = _text(properties.get("$exception_type")) or _first(properties.get("$exception_types"))
    message = _text(properties.get("$exception_message")) or _first(
        properties.get("$exception_values")
    )
    stack = properties.get("$exception_stack_trace_raw")
    if not (kind or message or stack):
        return None
    try:
        frames = json.loads(stack) if isinstance(stack, str) else stack
    except (ValueError, RecursionError):
        frames = None
    if isinstance(frames, list):
        return Problem(kind, message, structured(frames))
    return _with_stack(kind, message, _text(stack))


def _object(properties: Mapping[str, Any]) -> Problem | None:
    """`exception` as Sentry's SDKs have it, `error` as an Error made into an object."""
    for name in ("exception", "error"):
        one = properties.get(name)
        if not isinstance(one, Mapping):
            continue
        listed = one.get("values")
        if isinstance(listed, list) and listed and isinstance(listed[-1], Mapping):
            return _of_entry(listed[-1])  # its causes come before
        if found := _of_entry(one):
            return found
    return None


def _flat(properties: Mapping[str, Any]) -> Problem | None:
    """Attributes of OpenTelemetry's semantic conventions."""
    kind, message, stack = (
        _text(properties.get(f"exception.{name}")) for name in ("type", "message", "stacktrace")
    )
    return _with_stack(kind, message, stack) if kind or message or stack else None


def _plain(properties: Mapping[str, Any]) -> Problem | None:
    """What Headwater's tracker sends: message, stack, file, line."""
    found = _of_entry(properties)
    if found is None or found.frames or not _text(properties.get("file")):
        return found
    line = properties.get("line")
    number = line if isinstance(line, int) and not isinstance(line, bool) else None
    frame = Frame("", _text(properties.get("file")), number)
    return Problem(found.type, found.message, (frame,), found.stack)


def _of_entry(one: Mapping[str, Any]) -> Problem | None:
    kind = _text(one.get("type")) or _text(one.get("name"))
    message = _text(one.get("message")) or _text(one.get("value"))
    stack = one.get("stacktrace") or one.get("stack")
    if isinstance(stack, Mapping):
        stack = stack.get("frames")
    if isinstance(stack, list):
        return Problem(kind, message, structured(stack))
    return _with_stack(kind, message, _text(stack)) if message or stack or kind else None


def _with_stack(kind: str, message: str, text: str) -> Problem:
    found = parse(text) if text else Stack("", "", ())
    said_kind, said = typed(message)
    return Problem(
        kind or found.type or said_kind,
        (message if kind or found.type else said) or found.message,
        found.frames,
        text,
    )


def _first(value: Any) -> str:
    return _text(value[0]) if isinstance(value, list) and value else ""


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


# -- Groups.


@dataclass(frozen=True)
class Group:
    """All errors with one fingerprint.

    problem:   of its newest event
    people:    different ones, events without any id left out
    first, last: us
    versions, browsers: (value, events), most first, at most ten; "" where it is not known
    days:      events by local day
    """

    id: str
    problem: Problem
    events: int
    people: int
    first: int
    last: int
    versions: tuple[tuple[str, int], ...]
    browsers: tuple[tuple[str, int], ...]
    days: Mapping[date, int]


# Rows of `group`. evidence: key of a problem; first, last: us of the row's `events` events, all in
# the same local day.
ROWS = {
    "evidence": pl.UInt64(),
    "person": pl.String(),
    "version": pl.String(),
    "browser": pl.String(),
    "events": pl.Int64(),
    "first": pl.Int64(),
    "last": pl.Int64(),
}


def group(rows: pl.DataFrame, problems: Mapping[int, Problem], zone: str) -> list[Group]:
    """Groups of ROWS, those with most events first; how rows are cut or ordered changes nothing."""
    prints = {key: fingerprint(problem) for key, problem in problems.items()}
    named = pl.DataFrame(
        {"evidence": list(prints), "id": list(prints.values())},
        schema={"evidence": pl.UInt64, "id": pl.String},
    )
    joined = rows.join(named, on="evidence").with_columns(day=local_day("first", zone))
    parts = joined.partition_by("id", as_dict=True)
    found = [_group(str(id_), part, problems) for (id_,), part in parts.items()]
    return sorted(found, key=lambda one: (-one.events, one.id))


def _group(id_: str, part: pl.DataFrame, problems: Mapping[int, Problem]) -> Group:
    newest = part.sort("last", "evidence", descending=True)["evidence"][0]
    days = part.group_by("day").agg(pl.col("events").sum()).sort("day")
    return Group(
        id=id_,
        problem=problems[newest],
        events=int(part["events"].sum()),
        people=part["person"].drop_nulls().n_unique(),
        first=int(part["first"].min()),  # type: ignore[arg-type]
        last=int(part["last"].max()),  # type: ignore[arg-type]
        versions=_most(part, "version"),
        browsers=_most(part, "browser"),
        days=dict(days.iter_rows()),
    )


def _most(part: pl.DataFrame, column: str) -> tuple[tuple[str, int], ...]:
    counts = (
        part.group_by(pl.col(column).fill_null("").alias("value"))
        .agg(pl.col("events").sum())
        .sort(["events", "value"], descending=[True, False])
        .head(_MOST_VALUES)
    )
    return tuple(counts.iter_rows())


def spark(counts: Sequence[int]) -> str:
    """Counts as a line of small bars, the largest the highest: ▁ is none."""
    top = max(counts, default=0)
    bars = "▁▂▃▄▅▆▇█"
    return "".join(bars[-(-count * 7 // top)] if top else bars[0] for count in counts)
