"""Why a query has no answer, in words for whoever asked it."""

from __future__ import annotations

import re

from catalog.settings import Settings
from reports.warehouse.admit import CTE_PREFIX, Admitted
from reports.warehouse.execute import MAX_ANSWER_BYTES, Failure

# Where the engine's message names the culprit, best first.
_NAMED = tuple(
    re.compile(pattern)
    for pattern in (
        r'column (?:name |named )?"([^"]+)"',
        r"name (\w+) does not exist",
        r'"([^"]+)"',
    )
)


class QueryFailed(ValueError):
    """The query was admitted but did not finish; the message says why and what to do.

    line, column: from 1; None where the place is not known
    """

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.line, self.column = line, column


class TooLarge(QueryFailed):
    """It would read more than HEADWATER_SQL_MAX_BYTES; the message says how to narrow it."""


class Busy(QueryFailed):
    """As many queries run as may; the same one can run in a moment."""


def explained(
    failure: Failure, query: Admitted, settings: Settings, directory: str, *, own: bool = False
) -> QueryFailed:
    """What an engine's failure means. directory: of the tables; own: it is a query of our own."""
    match failure.reason:
        case "time":
            name = "insight_timeout_s" if own else "sql_timeout_s"
            return QueryFailed(
                f"stopped after {getattr(settings, name):g} s "
                f"(HEADWATER_{name.upper()}); narrow the time range or aggregate earlier"
            )
        case "memory":
            name = "insight_memory_mb" if own else "sql_memory_mb"
            return QueryFailed(
                f"needs more than {getattr(settings, name)} MB "
                f"(HEADWATER_{name.upper()}); narrow the time range or group by less"
            )
        case "size":
            return QueryFailed(
                f"the answer is larger than {MAX_ANSWER_BYTES >> 20} MB; "
                "select fewer columns or add a LIMIT"
            )
        case "crash":
            return QueryFailed("the engine failed; the log of the reports process says how")
        case "files":
            return QueryFailed("the tables changed while the query ran; run it again")
        case "cancelled":
            return QueryFailed("cancelled")
    text = without_ours(failure.text.split("\n\nLINE")[0], directory)
    line, column = _named_place(text, query) or (None, None)
    return QueryFailed(text, line, column)


def without_ours(text: str, directory: str) -> str:
    """The engine's text without files and names that are none of the person's."""
    return text.replace(CTE_PREFIX, "").replace(directory, "…").strip()


def _named_place(text: str, query: Admitted) -> tuple[int, int] | None:
    """Where the query has the first name that an error message quotes."""
    for pattern in _NAMED:
        for name in pattern.findall(text.split("\n")[0]):
            if place := query.places.get(name.lower()):
                return place
    return None
