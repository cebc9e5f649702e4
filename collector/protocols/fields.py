"""Reading JSON that strangers wrote: strict where a number depends on it, lenient elsewhere."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from collector.problems import Problem, too_many_events
from collector.protocols import salvage
from transforms.failures import Reason, Rejection
from transforms.times import TimeError, parse_us

T = TypeVar("T")
Text = str | int | float | None  # ids arrive as numbers, too
Time = str | int | float | None
_SCALAR: msgspec.json.Decoder[Text] = msgspec.json.Decoder(Text)
BROKEN = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def whole(body: bytes, kind: type[T]) -> T:
    """Part of a request that all its events share, as `kind`. Raises Problem 400."""
    try:
        body.decode()
        return msgspec.json.decode(body, type=kind)
    except BROKEN as error:
        raise _unreadable(error) from error


def members(body: bytes) -> dict[str, bytes]:
    """Members of a body that is an object, as JSON text. Raises Problem 400."""
    try:
        found = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError as error:
        raise _unreadable(error) from error
    except BROKEN as error:
        salvaged = salvage.members(body)
        if salvaged is None:
            raise _unreadable(error) from error
        return salvaged
    return {name: bytes(raw) for name, raw in found.items()}


def elements(array: bytes, most: int) -> list[bytes]:
    """Elements of an array, as JSON text. Raises Problem: 400, 413 for more than `most`.

    An element that is broken is handed on as it is: it must not take the others with it.
    """
    found: list[bytes] | list[msgspec.Raw] | None
    try:
        found = msgspec.json.decode(array, type=list[msgspec.Raw])
    except msgspec.ValidationError as error:
        raise _unreadable(error) from error
    except BROKEN as error:
        found = salvage.elements(array)
        if found is None:
            raise _unreadable(error) from error
    if len(found) > most:
        raise too_many_events(len(found), most)
    return list(map(bytes, found))


def one(message: bytes, decoder: msgspec.json.Decoder[T]) -> T | Rejection:
    """One message of a batch, or why it is none."""
    try:
        if not message.isascii():
            message.decode()  # the decoder passes over what it does not look at, right or wrong
        return decoder.decode(message)
    except msgspec.ValidationError as error:
        is_object = message.lstrip()[:1] == b"{"
        reason = Reason.WRONG_TYPE if is_object else Reason.NOT_AN_OBJECT
        return Rejection(reason, str(error), message, "ValidationError")
    except BROKEN as error:
        return Rejection(Reason.UNREADABLE, str(error), message, type(error).__name__)


def text(value: Text) -> str | None:
    """An id or name as text; None for null and ''."""
    return None if value is None or value == "" else str(value)


def amount(raw: msgspec.Raw) -> str | None:
    """A number as it was written: through a float it would lose its cents."""
    written = bytes(raw).decode().strip().strip('"').strip()
    return None if written in ("", "null") else written


def json_object(raw: msgspec.Raw | bytes) -> bytes:
    """JSON text of an object; {} where there is none or something else."""
    data = bytes(raw).strip()
    return data if data[:1] == b"{" else b"{}"


def scalar(raw: bytes) -> Text:
    """Text or a number; None for null, nothing and other kinds."""
    try:
        return None if raw in (b"", b"null") else _SCALAR.decode(raw)
    except BROKEN:
        return None


def sent_us(value: Time) -> int | None:
    """`sentAt` in us; None where it is absent or unreadable: then no clock is corrected."""
    if value is None:
        return None
    try:
        return parse_us(value)
    except TimeError:
        return None


def _unreadable(error: Exception) -> Problem:
    return Problem(400, "bad_json", f"the body is unreadable: {error}")
