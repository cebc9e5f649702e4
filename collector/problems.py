"""Errors that answer a whole request. Every SDK family reads another field of the body."""

from __future__ import annotations

from flask import Response, jsonify


class Problem(Exception):
    """Refuses the request: HTTP status, a code for programs, a message for people."""

    def __init__(
        self, status: int, code: str, message: str, retry_after_s: int | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.retry_after_s = retry_after_s


def too_many_events(count: int, most: int) -> Problem:
    """413: the request as a whole is refused."""
    return Problem(
        413,
        "too_many_events",
        f"{count:,} events in one request; at most {most:,}: send it in parts",
    )


def too_large(limit: int) -> Problem:
    """413: the body is larger than `limit` bytes."""
    return Problem(413, "too_large", f"the body is larger than {limit:,} bytes; send it in parts")


def answer(problem: Problem) -> Response:
    """The JSON answer."""
    response = jsonify(code=problem.code, message=problem.message, detail=problem.message)
    response.status_code = problem.status
    if problem.retry_after_s is not None:
        response.headers["Retry-After"] = str(problem.retry_after_s)
    return response
