"""Rows as the text of files for other programs: CSV that is safe to open, and JSON lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import polars as pl

# A spreadsheet takes a cell that begins like this for a formula, also in full-width letters:
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = r"^[=+\-@\t\r\n\x{FF1D}\x{FF0B}\x{FF0D}\x{FF20}]"
_TIME = "%Y-%m-%dT%H:%M:%S%.6fZ"


def csv_text(rows: pl.DataFrame, header: bool) -> bytes:
    """Rows as CSV in UTF-8 with \\n; times in ISO 8601, UTC; null is nothing, an empty text "".

    A text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    texts = [name for name, kind in rows.schema.items() if kind == pl.String]
    safe = [
        pl.when(pl.col(n).str.contains(_FORMULA)).then("'" + pl.col(n)).otherwise(n).alias(n)
        for n in texts
    ]
    return rows.with_columns(safe).write_csv(include_header=header, datetime_format=_TIME).encode()


def jsonl_text(rows: pl.DataFrame, json_fields: Sequence[str]) -> bytes:
    """Rows as one JSON object a line, without nulls; `json_fields` as the JSON that they hold."""
    lines = []
    for row in rows.iter_rows(named=True):
        filled = {name: value for name, value in row.items() if value is not None}
        filled |= {name: _embedded(filled[name]) for name in json_fields if name in filled}
        lines.append(msgspec.json.encode(filled) + b"\n")
    return b"".join(lines)


def _embedded(text: str) -> Any:
    """As it was written, digit by digit, but on one line; as a text where it is no JSON."""
    try:
        msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        return text
    # Between tokens a line break is a space; inside of a text JSON has none.
    return msgspec.Raw(text.replace("\n", " ").replace("\r", " ").encode())
