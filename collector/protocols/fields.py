"""Reading JSON that strangers wrote: strict where a number depends on it, lenient elsewhere."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from collector.problems import Problem
from transforms.failures import Reason, Rejection
from transforms.times import TimeError, parse_us

T = TypeVar("T")
Text = str | int | float | None  # ids arrive as numbers, too
Time = str | int | float | None


def whole(body: bytes, kind: type[T]) -> T:
    """The request's body as `kind`. Raises Problem 400: no retry can mend it."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, "bad_json", f"the body is unreadable: {error}") from error


def one(message: bytes, decoder: msgspec.json.Decoder[T]) -> T | Rejection:
    """One message of a batch, or why it is none."""
    try:
        return decoder.decode(message)
    except msgspec.ValidationError as error:
        is_object = message.lstrip()[:1] == b"{"
        reason = Reason.WRONG_TYPE if is_object else Reason.NOT_AN_OBJECT
        return Rejection(reason, str(error), message, "ValidationError")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Rejection(Reason.UNREADABLE, str(error), message, type(error).__name__)


def text(value: Text) -> str | None:
    """An id or name as text; None for null and ''."""
    return None if value is None or value == "" else str(value)


def amount(raw: msgspec.Raw) -> str | None:
    """A number as it was written: through a float it would lose its cents."""
    written = bytes(raw).decode().strip().strip('"')
    return None if written in ("", "null") else written


def json_object(raw: msgspec.Raw) -> bytes:
    """JSON text of an object; {} where there is none or something else."""
    data = bytes(raw).strip()
    return data if data[:1] == b"{" else b"{}"


def sent_us(value: Time) -> int | None:
    """`sentAt` in us; None where it is absent or unreadable: then no clock is corrected."""
    if value is None:
        return None
    try:
        return parse_us(value)
    except TimeError:
        return None


def present(**values: Any) -> dict[str, Any]:
    """Only the columns that have a value."""
    return {name: value for name, value in values.items() if value not in (None, "")}
