"""Ids for protocols that have none: the same visitor on one day, nobody on the next.

An id is a keyed hash of address, user agent and write key. The secret of a day lies in a file that
all workers share, and is deleted when the day is over: then nobody can tell any more which address
an id came of, ourselves included.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

_SECRET_BYTES = 32
_ID_DIGITS = 32
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Visitors:
    """Secrets of days in `directory`, one file each. clock: now in us."""

    def __init__(self, directory: Path, clock: Callable[[], int]) -> None:
        self._directory, self._clock = directory, clock
        self._day, self._secret = "", b""

    def id_of(self, key: str, address: str, agent: str) -> str:
        """Raises OSError where the secret of the day can be neither read nor made."""
        day = (_EPOCH + timedelta(microseconds=self._clock())).date().isoformat()
        if day != self._day:
            self._secret, self._day = self._secret_of(day), day
        said = "\n".join((key, address, agent)).encode(errors="replace")
        return hmac.new(self._secret, said, hashlib.sha256).hexdigest()[:_ID_DIGITS]

    def _secret_of(self, day: str) -> bytes:
        self._directory.mkdir(parents=True, exist_ok=True)
        path = self._directory / f"{day}.secret"
        draft = self._directory / f".{os.getpid()}-{secrets.token_hex(4)}"
        with open(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(secrets.token_bytes(_SECRET_BYTES))
        with suppress(FileExistsError):  # another worker was first: its secret is the day's
            os.link(draft, path)
        draft.unlink()
        for old in self._directory.glob("*.secret"):
            if old.stem < day:
                old.unlink(missing_ok=True)
        return path.read_bytes()
