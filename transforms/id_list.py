"""Lists of ids out of CSV: what is an id, and what is wrong on which line."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from transforms.identity import ILLEGAL

HEADERS = ("person", "person_id", "id", "user_id", "userid", "anonymous_id", "anonymousid")
MOST_CHARACTERS = 512
MOST_IDS = 2_000_000
# Of a line: a file that is something else has a quote somewhere, and all that follows is one cell.
MOST_CELL, MOST_COLUMNS = 100_000, 1_000


class IdListError(ValueError):
    """The text is no list at all; the message says why and what to do."""


@dataclass(frozen=True)
class BadLine:
    """A line that gave no id. line: from 1; 0 where there are no lines."""

    line: int
    text: str
    message: str


@dataclass(frozen=True)
class IdList:
    """ids: each once, sorted; repeated: how many came more than once."""

    ids: tuple[str, ...]
    bad: tuple[BadLine, ...]
    repeated: int


def read_csv(text: str) -> IdList:
    """Ids of a CSV file. Raises IdListError.

    The first line may name columns: then ids are in the first that is called person, id, user_id
    or anonymous_id; otherwise they are in the first column. Empty lines are nothing.
    """
    reader = csv.reader(text.splitlines(keepends=True))
    return _collected(_cells(reader))


def of_values(values: Iterable[object]) -> IdList:
    """Ids of a list; bad ones are told by their place in it, from 1."""
    return _collected((place, value) for place, value in enumerate(values, start=1))


def _cells(reader: Iterator[list[str]]) -> Iterator[tuple[int, object]]:
    column = 0
    started = False
    lines = _lines(reader)
    for line, row in lines:
        if not row or row == [""]:
            continue
        if len(row) > MOST_COLUMNS or max(map(len, row)) > MOST_CELL:
            message = f"is longer than {MOST_CELL:,} characters or {MOST_COLUMNS:,} columns"
            raise IdListError(f"line {line}: {message}; save it as CSV in UTF-8")
        names = [cell.strip().lower().replace(" ", "_") for cell in row]
        named = [names.index(name) for name in HEADERS if name in names]
        if not started and named:
            column = named[0]
        elif column < len(row):
            yield line, row[column]
        else:
            yield line, ""
        started = True


def _lines(reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """Rows with the number of their last line. Raises IdListError for what is no CSV."""
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise IdListError(f"line {reader.line_num}: {error}; save it as CSV in UTF-8") from None  # type: ignore[attr-defined]
        if row is None:
            return
        yield reader.line_num, row  # type: ignore[attr-defined]


def _collected(cells: Iterable[tuple[int, object]]) -> IdList:
    found: set[str] = set()
    bad, repeated = [], 0
    for line, value in cells:
        text = str(value).strip()
        if message := _wrong(value, text):
            bad.append(BadLine(line, text[:80], message))
        elif text in found:
            repeated += 1
        elif len(found) >= MOST_IDS:
            raise IdListError(f"line {line}: more than {MOST_IDS:,} ids; split the list")
        else:
            found.add(text)
    return IdList(tuple(sorted(found)), tuple(bad), repeated)


def _wrong(value: object, text: str) -> str:
    """Why it is no id; empty where it is one."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return "is no text"
    if not text:
        return "has no id"
    if len(text) > MOST_CHARACTERS:
        return f"is longer than {MOST_CHARACTERS} characters"
    if not text.isprintable():
        return "has characters that cannot be printed"
    if text.lower() in ILLEGAL:
        return "stands for nobody: apps send it where there is no id"
    return ""
