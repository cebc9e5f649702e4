"""Dead letters of a project: which there are, one of them whole, and what became of them since."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import duckdb
import pyarrow as pa

from reports.warehouse.engine import Warehouse
from reports.warehouse.execute import quoted
from schemas_avro.tables import EVENTS, REPLAYS
from transforms.failures import REMEDIES, Reason
from transforms.grid import day_span_us

PAGE_ROWS = 50
STATES = ("open", "refused again", "returned", "suppressed")
_YEARS = range(1970, 2201)  # times are microseconds since the first
_SHOWN = 200  # characters of an original in the list
_MOST_TEXT, _MOST_HEX = 64 << 10, 4 << 10  # of one letter on its page, in characters and bytes


class LetterError(ValueError):
    """The letters cannot be chosen like that; the message names the field and the remedy."""


@dataclass(frozen=True)
class Chosen:
    """Which letters; empty: all. first, last: UTC days of receipt, both included."""

    reason: str = ""
    source: str = ""
    state: str = ""
    text: str = ""
    first: date | None = None
    last: date | None = None
    page: int = 1

    @classmethod
    def read(cls, given: Mapping[str, str]) -> Chosen:
        """Out of an address's parameters. Raises LetterError."""
        reason, state = given.get("reason", ""), given.get("state", "")
        if reason and reason not in list(Reason):
            raise LetterError(f"reason={reason!r} is none of {', '.join(Reason)}")
        if state and state not in STATES:
            raise LetterError(f"state={state!r} is none of {', '.join(STATES)}")
        page = given.get("page") or "1"
        if not (page.isascii() and page.isdigit() and 0 < int(page[:9]) < 100_000_000):
            raise LetterError(f"page={page!r} is no page; write it as a whole number from 1")
        first, last = _day(given, "from"), _day(given, "to")
        if first and last and last < first:
            raise LetterError(f"to={last} lies before from={first}")
        text = given.get("q", "").strip()
        return cls(reason, given.get("source", ""), state, text, first, last, int(page[:9]))

    def flags(self) -> list[str]:
        """The same for the replay job; it knows neither states nor texts."""
        given = {"reason": self.reason, "source": self.source, "from": self.first, "to": self.last}
        return [f"--{name}={value}" for name, value in given.items() if value]


def _day(given: Mapping[str, str], name: str) -> date | None:
    text = given.get(name, "")
    try:
        day = date.fromisoformat(text) if text else None
    except ValueError:
        raise LetterError(f"{name}={text!r} is no day; write it as 2026-01-31") from None
    if day and day.year not in _YEARS:
        raise LetterError(f"{name}={text!r}: years {_YEARS[0]} to {_YEARS[-1]}")
    return day


@dataclass(frozen=True)
class Page:
    """Some letters, newest first. total: of all that were chosen; reasons: (reason, how many)."""

    rows: list[dict[str, Any]]
    total: int
    reasons: list[tuple[str, int]]
    sources: list[str]
    as_of: int | None


def page_of(warehouse: Warehouse, project: str, chosen: Chosen) -> Page:
    """One page of the chosen letters. Raises QueryFailed."""
    extra = {"replayed": _replayed(warehouse, project)}
    found = warehouse.read(
        project,
        f"""WITH letters AS ({_STANDING}),
        chosen AS (
          SELECT * FROM letters
          WHERE ($reason = '' OR reason_now = $reason)
            AND ($source = '' OR source = $source)
            AND ($state = '' OR state = $state)
            AND received_time >= make_timestamptz($since::BIGINT)
            AND received_time < make_timestamptz($until::BIGINT)
            AND ($text = '' OR contains(lower(message_now), lower($text))
              OR contains(lower(original_text), lower($text)))
        )
        SELECT
          (SELECT count(*) FROM chosen) AS total,
          dead_letter_id, received_time, source, step, reason_now AS reason,
          message_now AS message, state, octet_length(original) AS bytes,
          substr(original_text, 1, {_SHOWN}) AS original
        FROM chosen
        ORDER BY received_time DESC, dead_letter_id
        LIMIT {PAGE_ROWS} OFFSET $skipped""",
        tables=("dead_letters",),
        parameters={
            "reason": chosen.reason,
            "source": chosen.source,
            "state": chosen.state,
            "text": chosen.text,
            "since": day_span_us(chosen.first, "UTC")[0] if chosen.first else -(1 << 55),
            "until": day_span_us(chosen.last, "UTC")[1] if chosen.last else 1 << 55,
            "skipped": (chosen.page - 1) * PAGE_ROWS,
        },
        extra=extra,
    )
    rows = found.table.to_pylist()
    of_all = warehouse.read(
        project,
        f"""SELECT reason_now AS reason, count(*) AS letters, list(DISTINCT source) AS sources
        FROM ({_STANDING}) GROUP BY 1 ORDER BY 2 DESC, 1""",
        tables=("dead_letters",),
        extra=extra,
    ).table.to_pylist()
    return Page(
        rows=rows,
        total=rows[0]["total"] if rows else 0,
        reasons=[(row["reason"], row["letters"]) for row in of_all],
        sources=sorted({source for row in of_all for source in row["sources"]}),
        as_of=found.as_of,
    )


# The letters with what became of them. A letter that returned is closed, whatever was tried later.
_STANDING = f"""
  SELECT
    d.*,
    coalesce(r.outcome, {quoted(STATES[0])}) AS state,
    coalesce(r.reason, d.reason) AS reason_now,
    coalesce(r.message, d.message) AS message_now,
    r.event_id AS event_id, r.replayed_time AS replayed_time
  FROM dead_letters AS d
  LEFT JOIN replayed AS r USING (dead_letter_id)
"""


def one(warehouse: Warehouse, project: str, letter: str) -> dict[str, Any] | None:
    """A letter whole, with its remedy; None where the project has none of that id."""
    found = warehouse.read(
        project,
        f"SELECT * FROM ({_STANDING}) WHERE dead_letter_id = $letter",
        tables=("dead_letters",),
        parameters={"letter": letter},
        extra={"replayed": _replayed(warehouse, project)},
    ).table.to_pylist()
    if not found:
        return None
    row: dict[str, Any] = found[0]
    original = row["original"] or b""
    known = {reason.value: text for reason, text in REMEDIES.items()}
    return {
        **row,
        "bytes": len(original),
        "text": original.decode(errors="replace")[:_MOST_TEXT],
        "hex": hex_dump(original[:_MOST_HEX]),
        "is_cut": len(original) > _MOST_TEXT,
        "hex_is_cut": len(original) > _MOST_HEX,
        "remedy": known.get(row["reason_now"], ""),
        **{name: _indented(row[name]) for name in ("headers", "candidate", "request")},
    }


def _indented(text: str | None) -> str:
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False) if text else ""
    except (ValueError, RecursionError):
        return text or ""


def hex_dump(data: bytes) -> str:
    """16 bytes a line: offset, bytes, printable characters."""
    lines = []
    for at in range(0, len(data), 16):
        part = data[at : at + 16]
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        lines.append(f"{at:08x}  {part.hex(' '):<47}  {shown}")
    return "\n".join(lines)


def _replayed(warehouse: Warehouse, project: str) -> pa.Table:
    """What became of each letter that was replayed: one row a letter.

    `returned` holds only where the archive has the blocks of its run. One that returned stays so;
    else the newest run says why it was refused.
    """
    paths = warehouse.files.of(REPLAYS).paths
    held = list(warehouse.files.of(EVENTS).positions.by_producer)
    with duckdb.connect() as connection:
        found: pa.Table = (
            connection.sql(
                _REPLAYED, params={"paths": list(paths), "project": project, "held": held}
            )
            if paths
            else connection.sql(_NONE_REPLAYED)
        ).to_arrow_table()
        return found


_REPLAYED = """
  SELECT dead_letter_id, replace(outcome, 'refused', 'refused again') AS outcome,
    reason, message, event_id, replayed_time
  FROM read_parquet($paths, union_by_name = true, hive_partitioning = false)
  WHERE project = $project
    AND (outcome <> 'returned' OR list_contains($held::VARCHAR[], replay_id))
  QUALIFY row_number() OVER (
    PARTITION BY dead_letter_id ORDER BY outcome = 'refused', replayed_time DESC
  ) = 1
"""
_NONE_REPLAYED = """
  SELECT ''::VARCHAR AS dead_letter_id, ''::VARCHAR AS outcome, ''::VARCHAR AS reason,
    ''::VARCHAR AS message, ''::VARCHAR AS event_id, now() AS replayed_time
  WHERE false
"""
