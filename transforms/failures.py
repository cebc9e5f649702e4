"""Why something could not become an event: a closed list, and the row that says so."""

from __future__ import annotations

from dataclasses import dataclass, field
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
    TOO_MANY_PROPERTIES = "too_many_properties"
    SCHEMA_MISMATCH = "schema_mismatch"
    BAD_TIME = "bad_time"
    TIME_OUT_OF_RANGE = "time_out_of_range"
    BAD_MONEY = "bad_money"
    DAMAGED_BLOCK = "damaged_block"


# What the sender, or who runs the import, can do about each.
REMEDIES = {
    Reason.NOT_AN_OBJECT: "Send each event as a JSON object.",
    Reason.UNREADABLE: "Send valid JSON in UTF-8; give a CSV row as many cells as the header has.",
    Reason.MISSING_FIELD: "Fill the field that the message names.",
    Reason.WRONG_TYPE: "Send the field that the message names in the type it names.",
    Reason.UNKNOWN_TYPE: "Use one of track, identify, page, screen, group and alias.",
    Reason.NO_PERSON: "Send a user id or an anonymous id.",
    Reason.ID_TOO_LONG: "Shorten the id to 100 characters; a hash of a long one does.",
    Reason.EVENT_TOO_LARGE: "Send less with the event, or raise HEADWATER_MAX_EVENT_BYTES.",
    Reason.TOO_MANY_PROPERTIES: "Send fewer properties, or one that holds a list or an object.",
    Reason.SCHEMA_MISMATCH: "Send the field that the message names as the event's schema has it.",
    Reason.BAD_TIME: "Write times as ISO 8601 with an offset, or as epoch milliseconds.",
    Reason.TIME_OUT_OF_RANGE: "The sender's clock was not set: correct the time and send it again.",
    Reason.BAD_MONEY: "Send revenue as a decimal number, with its currency as an ISO 4217 code.",
    Reason.DAMAGED_BLOCK: "A disk or a copy damaged the bus; bring the segment back from a backup.",
}


@dataclass(frozen=True, slots=True)
class Rejection:
    """One thing refused. `message` names the value and the remedy; `original` is all of it.

    candidate: what had been made of it, as JSON, see transforms.candidates; none where it was too
               broken to become one
    """

    reason: Reason
    message: str
    original: bytes
    exception: str = ""
    candidate: bytes = field(default=b"", compare=False, repr=False)
