"""Log lines of the collector: JSON, one object a line, on standard error. One place sets them up.

A line says what happened to the collector, never to whom: no write key, address, id or body. Text
that others wrote (exceptions, libraries) may quote any of these, so that of theirs only the kind
and the place in the code are kept. Requests have no lines: metrics count them.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import IO, Any, Literal, get_args

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

# What a line may have beside its event: numbers and names that we have given ourselves.
Field = Literal[
    "blocks", "bytes", "code", "count", "error", "exception", "key", "level", "logger", "path",
    "pid", "place", "project", "reason", "route", "seconds", "source", "status", "timestamp",
]  # fmt: skip

log = logging.getLogger(__name__)

_OURS = ("collector", "catalog", "schemas_avro", "transforms")
_FIELDS = frozenset(get_args(Field)) | {"event"}
_SHOWN = 6  # characters of a write key
_KEY = re.compile(r"\bhw_[A-Za-z0-9_-]{4,}")
_FRAMES = 12  # innermost ones of a traceback


def configure(out: IO[str] | None = None, level: int = logging.INFO) -> None:
    """Have every logger of this process write to `out` (standard error) in this way.

    Our own modules log by `logging.getLogger(__name__)`, with fields as `extra={"code": …}`.
    """
    handler = logging.StreamHandler(out or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_described],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_chain(),
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)


def catch_uncaught() -> None:
    """Have what nobody catches in this process end in a line, too: Python itself quotes it."""

    def of_main(
        kind: type[BaseException], error: BaseException, where: TracebackType | None
    ) -> None:
        log.critical("uncaught", exc_info=(kind, error, where))

    def of_thread(hooked: threading.ExceptHookArgs) -> None:
        if hooked.exc_value is not None:
            of_main(hooked.exc_type, hooked.exc_value, hooked.exc_traceback)

    sys.excepthook, threading.excepthook = of_main, of_thread


def mask(key: str) -> str:
    """A write key as a line may have it: its first characters."""
    return f"{key[:_SHOWN]}…"


def _chain() -> list[Processor]:
    return [
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _only_known,
        _masked,
    ]


def _described(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    """Level, logger, fields and exception of a record of the standard library."""
    record: logging.LogRecord = line["_record"]
    line = {**{n: v for n, v in vars(record).items() if n not in _OF_ITSELF}, **line}
    line["level"], line["logger"] = record.levelname.lower(), record.name
    if record.name.partition(".")[0] not in _OURS:
        line["event"] = "text of a library left out"
        line["place"] = f"{record.module}:{record.lineno}"
    if record.exc_info and record.exc_info[1] is not None:
        line["exception"] = list(_without_text(record.exc_info[1]))
    line.pop("exc_info", None)
    return line


# What a record has by itself is no field that somebody gave.
_OF_ITSELF = vars(logging.makeLogRecord({})).keys()


def _without_text(error: BaseException) -> Iterator[str]:
    """Kinds and places of an exception and of what it came from, outermost last."""
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        yield from _without_text(cause)
    yield type(error).__name__
    for frame in traceback.extract_tb(error.__traceback__)[-_FRAMES:]:
        name = frame.filename.rpartition("site-packages/")[2]
        yield f"  {'/'.join(name.split('/')[-3:])}:{frame.lineno} {frame.name}"


def _only_known(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    return {name: value for name, value in line.items() if name in _FIELDS}


def _masked(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    return {name: _mask_in(value) for name, value in line.items()}


def _mask_in(value: Any) -> Any:
    return _KEY.sub(lambda found: mask(found[0]), value) if isinstance(value, str) else value
