"""What goes wrong before a job runs."""

from __future__ import annotations


class RunnerError(RuntimeError):
    """The runner cannot be had; the message says what is missing and how to get it."""
