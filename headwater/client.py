"""Asks a report server over HTTP: what `headwater query` and the database drivers share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

_TIMEOUT_S = 60.0  # of one request; a query is asked after again and again
_LOOKS_S = (0.05, 0.1, 0.2, 0.4)  # between two looks; the last one from then on


class QueryError(ValueError):
    """The query cannot run, or failed. line, column: from 1; None where that is not known."""

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.line, self.column = line, column


class ServerError(Exception):
    """There is no server, it does not know who asks, or something is wrong with it."""


@dataclass(frozen=True)
class Progress:
    """How far a query is. part: 0 to 1; None where that is not known."""

    seconds: float
    part: float | None
    rows: int


@dataclass(frozen=True)
class Answer:
    """What came of a query.

    types:          BigQuery's
    as_of, status:  None where it read no table
    complete_until: of receipt: events until then are in it; None where that is not known
    """

    columns: list[str]
    types: list[str]
    rows: list[list[Any]]
    truncated: bool
    as_of: str | None
    complete_until: str | None
    status: str | None
    seconds: float


class Server:
    """One project of a report server. Use as a context manager."""

    def __init__(self, address: str, project: str, token: str = "") -> None:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self._api = f"/p/{quote(project, safe='')}/api"
        self.address = address.rstrip("/")
        try:
            self._http = httpx.Client(
                base_url=self.address, headers=headers, timeout=_TIMEOUT_S, trust_env=False
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise ServerError(f"{address!r} is no address: {error}") from None

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def run(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        told: Callable[[Progress], None] = lambda progress: None,
    ) -> Answer:
        """Run a query to its end. told: how far it is, now and then.

        Whatever interrupts the wait cancels the query. Raises QueryError, ServerError.
        """
        asked = {"sql": sql, "parameters": dict(parameters or {})}
        job = self._ask("POST", "/sql/jobs", json=asked)
        try:
            for wait_s in _waits():
                if job["state"] != "running":
                    break
                time.sleep(wait_s)
                job = self._ask("GET", f"/sql/jobs/{job['id']}")
                told(Progress(job["seconds"], job["progress"], job["rows"]))
        except BaseException:
            self._forget(job["id"])
            raise
        if job["state"] != "done":
            self._forget(job["id"])
            raise QueryError(job["message"], job["line"], job["column"])
        rows: list[list[Any]] = []
        for page in range(job["pages"]):
            rows += self._ask("GET", f"/sql/jobs/{job['id']}/rows", params={"page": page})["rows"]
        self._forget(job["id"])
        return Answer(
            columns=job["columns"],
            types=job["types"],
            rows=rows,
            truncated=job["truncated"],
            as_of=job["as_of"],
            complete_until=job.get("complete_until"),
            status=job["status"],
            seconds=job["seconds"],
        )

    def tables(self) -> dict[str, list[dict[str, str]]]:
        """All that SQL can read: {name, kind, doc} of the columns by table. Raises ServerError."""
        found = self._ask("GET", "/sql/tables")["tables"]
        return {table["name"]: table["columns"] for table in found}

    def _forget(self, job: str) -> None:
        """Cancel it, or give its result up; the server does the latter itself after a while."""
        try:
            self._http.delete(f"{self._api}/sql/jobs/{job}")
        except httpx.HTTPError:
            return

    def _ask(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, f"{self._api}{path}", **more)
        except httpx.HTTPError as error:
            raise ServerError(
                f"no answer from {self.address} ({error}); is the report server running there?"
            ) from None
        try:
            found = answer.json()
        except ValueError:
            found = {}
        if answer.is_success and isinstance(found, dict):
            return found
        message = found.get("message") if isinstance(found, dict) else None
        message = message or f"{self.address} answered {answer.status_code}"
        if answer.status_code in (400, 413) and path.startswith("/sql/jobs"):
            raise QueryError(message, found.get("line"), found.get("column"))
        raise ServerError(message)


def _waits() -> Iterator[float]:
    yield from _LOOKS_S
    while True:
        yield _LOOKS_S[-1]
