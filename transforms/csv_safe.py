"""Which cells of a CSV file a spreadsheet would run, and what stands there instead.

A spreadsheet takes a cell that begins like this for a formula, also in full-width letters:
https://owasp.org/www-community/attacks/CSV_Injection. An apostrophe in front makes it a text. A
plain number such as -12.50 begins so as well, runs nothing, and stays what it is.
"""

from __future__ import annotations

import re

GUARD = "'"
STARTS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"
NUMBER = r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?"  # whole cell; DuckDB reads it the same way
_NUMBER = re.compile(NUMBER)


def is_formula(cell: str) -> bool:
    """Would a spreadsheet run it?"""
    return cell[:1] != "" and cell[0] in STARTS and not _NUMBER.fullmatch(cell)


def safe(cell: str) -> str:
    """The cell as it may stand in a file."""
    return GUARD + cell if is_formula(cell) else cell


def safe_sql(text: str) -> str:
    """`safe` of an expression of type VARCHAR, in DuckDB's SQL; null stays null.

    Only the few cells that begin so are compared with the pattern: that costs next to nothing.
    """
    points = ", ".join(str(ord(letter)) for letter in STARTS)
    is_number = f"regexp_full_match({text}, '{NUMBER}')"
    return (
        f"CASE WHEN unicode({text}) IN ({points}) AND NOT {is_number} "
        f"THEN '{GUARD * 2}' || {text} ELSE {text} END"
    )
