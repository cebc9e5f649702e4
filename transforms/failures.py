"""Why something could not become an event: a closed list, and the row that says so."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Reasons a dead letter can have; docs/reference.md lists them with their remedies."""

    NOT_AN_OBJECT = "not_an_object"
    UNREADABLE = "unreadable"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    UNKNOWN_TYPE = "unknown_type"
    NO_PERSON = "no_person"
    ID_TOO_LONG = "id_too_long"
    EVENT_TOO_LARGE = "event_too_large"
    BAD_TIME = "bad_time"
    TIME_OUT_OF_RANGE = "time_out_of_range"
    BAD_MONEY = "bad_money"
    DAMAGED_BLOCK = "damaged_block"


@dataclass(frozen=True, slots=True)
class Rejection:
    """One thing refused. `message` names the value and the remedy; `original` is all of it."""

    reason: Reason
    message: str
    original: bytes
    exception: str = ""
