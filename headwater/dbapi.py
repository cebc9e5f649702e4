"""DB-API 2.0 (PEP 249) over a report server: `connect(address, project=…)`, read-only.

A statement is one SELECT in BigQuery's dialect; parameters are written `%(name)s`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from itertools import islice
from typing import Any

from headwater.client import Answer, QueryError, Server, ServerError

apilevel = "2.0"
threadsafety = 1  # threads may share the module, but no connection
paramstyle = "pyformat"

_PARAMETER = re.compile(r"%(?:\((\w+)\)s|(%))")
_Described = tuple[str, str, None, None, None, None, bool]


class Warning(Exception):  # noqa: A001 - PEP 249 names it
    """Never raised."""


class Error(Exception):
    """Whatever is wrong."""


class InterfaceError(Error):
    """The module is used wrongly."""


class DatabaseError(Error):
    """The server could not do it."""


class OperationalError(DatabaseError):
    """There is no server, or it does not know who asks."""


class ProgrammingError(DatabaseError):
    """The query cannot run. line, column: from 1; None where that is not known."""

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        place = f"line {line}, column {column}: " if line else ""
        super().__init__(f"{place}{message}")
        self.line, self.column = line, column


class DataError(DatabaseError):
    """Never raised."""


class IntegrityError(DatabaseError):
    """Never raised: nothing is written."""


class InternalError(DatabaseError):
    """Never raised."""


class NotSupportedError(DatabaseError):
    """Writing, and whatever needs it."""


class _Type:
    """Equal to the names of the types that it stands for."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def __eq__(self, other: object) -> bool:
        return other in self._names

    def __hash__(self) -> int:
        return hash(self._names)


STRING = _Type("STRING")
BINARY = _Type("BYTES")
NUMBER = _Type("INT64", "FLOAT64", "NUMERIC", "BOOL")
DATETIME = _Type("DATE", "DATETIME", "TIMESTAMP", "TIME")
ROWID = _Type()
Date, Time, Timestamp = date, time, datetime
DateFromTicks, TimestampFromTicks = date.fromtimestamp, datetime.fromtimestamp


def TimeFromTicks(ticks: float) -> time:
    """The local time of day of a moment, in s since 1970."""
    return datetime.fromtimestamp(ticks).time()


def Binary(text: bytes) -> bytes:
    """Bytes as they are."""
    return text


def connect(address: str = "http://127.0.0.1:8081", *, project: str, token: str = "") -> Connection:
    """A connection to one project. Nothing is asked before the first statement."""
    try:
        return Connection(Server(address, project, token))
    except ServerError as error:
        raise InterfaceError(str(error)) from None


class Connection:
    """One project of a report server."""

    def __init__(self, server: Server) -> None:
        self._server: Server | None = server

    @property
    def server(self) -> Server:
        """What it asks. Raises InterfaceError once it is closed."""
        if self._server is None:
            raise InterfaceError("the connection is closed")
        return self._server

    def cursor(self) -> Cursor:
        """A new cursor."""
        self.server  # noqa: B018 - raises once it is closed
        return Cursor(self)

    def tables(self) -> dict[str, list[dict[str, str]]]:
        """{name, kind, doc} of the columns of every table. Raises OperationalError."""
        try:
            return self.server.tables()
        except ServerError as error:
            raise OperationalError(str(error)) from None

    def commit(self) -> None:
        """Nothing to do: nothing is written."""

    def rollback(self) -> None:
        """Nothing to do: nothing is written."""

    def close(self) -> None:
        """Give it back; a second time it does nothing."""
        if self._server is not None:
            self._server.close()
            self._server = None


class Cursor:
    """Runs one statement after the other and holds the rows of the last one."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.arraysize = 1
        self.description: list[_Described] | None = None
        self.rowcount = -1
        self.answer: Answer | None = None
        self._rows: Iterator[tuple[Any, ...]] = iter(())

    def execute(
        self, operation: str, parameters: Mapping[str, Any] | Sequence[Any] | None = None
    ) -> Cursor:
        """Run a SELECT. Raises ProgrammingError, OperationalError."""
        given = dict(parameters) if isinstance(parameters, Mapping) else {}
        if parameters and not isinstance(parameters, Mapping):
            raise InterfaceError("parameters are named: write %(name)s and give a dictionary")
        try:
            sql = _named(operation, given) if parameters is not None else operation
            values = {name: _sent(value) for name, value in given.items()}
            answer = self.connection.server.run(sql, values)
        except QueryError as error:
            raise ProgrammingError(str(error), error.line, error.column) from None
        except ServerError as error:
            raise OperationalError(str(error)) from None
        read = [_READ.get(kind, _same) for kind in answer.types]
        self.answer = answer
        self.description = [
            (name, kind, None, None, None, None, True)
            for name, kind in zip(answer.columns, answer.types, strict=True)
        ]
        self.rowcount = len(answer.rows)
        self._rows = iter(
            [
                tuple(None if v is None else to(v) for to, v in zip(read, row, strict=True))
                for row in answer.rows
            ]
        )
        return self

    def executemany(self, operation: str, seq_of_parameters: Sequence[Mapping[str, Any]]) -> None:
        """Run it with each of them; the rows are those of the last one."""
        for parameters in seq_of_parameters:
            self.execute(operation, parameters)

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row, or None after the last."""
        self._check()
        return next(self._rows, None)

    def fetchmany(self, size: int | None = None) -> list[tuple[Any, ...]]:
        """The next rows."""
        self._check()
        wanted = self.arraysize if size is None else size
        return list(islice(self._rows, wanted))

    def fetchall(self) -> list[tuple[Any, ...]]:
        """The rest of the rows."""
        self._check()
        return list(self._rows)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        self._check()
        return self._rows

    def setinputsizes(self, sizes: Any) -> None:
        """Nothing to do."""

    def setoutputsize(self, size: int, column: int | None = None) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Forget the rows."""
        self._rows, self.description = iter(()), None

    def _check(self) -> None:
        if self.description is None:
            raise ProgrammingError("there are no rows: execute a SELECT first")


def _named(operation: str, given: Mapping[str, Any]) -> str:
    """`%(name)s` as `@name`, `%%` as `%`."""

    def one(found: re.Match[str]) -> str:
        if found[2]:
            return "%"
        if found[1] not in given:
            raise ProgrammingError(f"%({found[1]})s has no value")
        return f"@{found[1]}"

    return _PARAMETER.sub(one, operation)


def _sent(value: Any) -> Any:
    """A value as the API takes it."""
    match value:
        case None | bool() | str() | float():
            return value
        case int():
            return {"type": "INT64", "value": str(value)}
        case Decimal():
            return {"type": "NUMERIC", "value": str(value)}
        case datetime():
            kind = "DATETIME" if value.tzinfo is None else "TIMESTAMP"
            return {"type": kind, "value": value.isoformat()}
        case date():
            return {"type": "DATE", "value": value.isoformat()}
        case list() | tuple():
            return list(value)
    raise InterfaceError(f"a parameter cannot be {type(value).__name__}: {value!r}")


def _same(value: Any) -> Any:
    return value


# Numbers beyond what JSON holds come as text.
_READ: dict[str, Callable[[Any], Any]] = {
    "INT64": int,
    "FLOAT64": float,
    "NUMERIC": Decimal,
    "DATE": date.fromisoformat,
    "DATETIME": datetime.fromisoformat,
    "TIMESTAMP": datetime.fromisoformat,
    "TIME": time.fromisoformat,
}
