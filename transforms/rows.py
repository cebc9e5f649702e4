"""Lines of a CSV or JSON-lines file -> numbered rows, each with its own original text."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from transforms.failures import Reason, Rejection

csv.field_size_limit(16 << 20)  # Python's own limit refuses fields that an event may have


@dataclass(frozen=True, slots=True)
class NumberedRow:
    """One row of a file. number: from 1, the first row after a CSV's header."""

    number: int
    content: dict[str, Any] | Rejection


def csv_rows(lines: Iterable[str]) -> Iterator[NumberedRow]:
    """Rows of a CSV with a header; a row with more or fewer fields than it is rejected whole."""
    taken: list[str] = []

    def remember() -> Iterator[str]:
        for line in lines:
            taken.append(line)
            yield line

    reader = csv.reader(remember())
    header: list[str] | None = None
    number = 0
    while True:
        taken.clear()
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            values, problem = [], f"not CSV: {error}"
        else:
            problem = ""
        if header is None:
            header = values
            continue
        if not values and not problem:
            continue  # an empty line
        number += 1
        if not problem and len(values) != len(header):
            problem = f"{len(values)} fields where the header has {len(header)}"
        if problem:
            text = "".join(taken).rstrip("\r\n").encode(errors="replace")
            yield NumberedRow(number, Rejection(Reason.UNREADABLE, problem, text))
        else:
            yield NumberedRow(number, dict(zip(header, values, strict=True)))


def numbered(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """(number from 1, text) of the lines that are not empty, without the space around them."""
    return enumerate(filter(None, map(str.strip, lines)), 1)


def jsonl_rows(lines: Iterable[str]) -> Iterator[NumberedRow]:
    """One JSON object a line; empty lines are passed over."""
    for number, text in numbered(lines):
        try:
            value = json.loads(text, parse_constant=_no_json)
        except (ValueError, RecursionError) as error:
            yield _rejected(number, Reason.UNREADABLE, f"not JSON: {error}", text)
            continue
        if isinstance(value, dict):
            yield NumberedRow(number, value)
        else:
            yield _rejected(number, Reason.NOT_AN_OBJECT, "a line must be a JSON object", text)


def _no_json(constant: str) -> None:
    raise ValueError(f"{constant} is none of its numbers")


def _rejected(number: int, reason: Reason, message: str, text: str) -> NumberedRow:
    return NumberedRow(number, Rejection(reason, message, text.encode(errors="replace")))
