"""Write keys: where a request carries one, and whose it is."""

from __future__ import annotations

import base64
import binascii
import threading
from collections.abc import Callable, Mapping

from werkzeug.datastructures import Headers

from catalog.store import KeyOwner
from collector.problems import Problem

_UNKNOWN_PAUSE_S = 1.0  # an unknown key may be new, but must not become a load on the catalogue


class KeyRing:
    """A copy of the catalogue's keys, renewed every `refresh_s` and when an unknown key comes.

    While the catalogue cannot be read, the copy stays in use: ingest does not depend on it.
    """

    def __init__(
        self,
        load: Callable[[], Mapping[str, KeyOwner]],
        refresh_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._load, self._refresh_s, self._clock = load, refresh_s, clock
        self._lock = threading.Lock()
        self._keys = load()
        self._loaded_at = clock()

    def owner(self, key: str | None) -> KeyOwner:
        """Project and source of the key. Raises Problem 401."""
        if not key:
            raise Problem(
                401,
                "no_key",
                "no write key: send it as Basic user name, Bearer token, X-Write-Key header, "
                "`writeKey` in the body or ?writeKey=",
            )
        age = self._clock() - self._loaded_at
        if age > self._refresh_s or (key not in self._keys and age > _UNKNOWN_PAUSE_S):
            self._renew()
        owner = self._keys.get(key)
        if owner is None:
            raise Problem(401, "unknown_key", "the write key is unknown or revoked")
        return owner

    def _renew(self) -> None:
        if not self._lock.acquire(blocking=False):
            return  # another thread is at it
        try:
            self._loaded_at = self._clock()
            self._keys = self._load()
        except Exception:  # the copy in hand is better than refusing events
            return
        finally:
            self._lock.release()


def key_of_headers(headers: Headers, query: Mapping[str, str]) -> str | None:
    """The key outside the body, if there is one."""
    scheme, _, value = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value).decode().partition(":")[0] or None
        except (binascii.Error, UnicodeDecodeError):
            return None
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    return headers.get("X-Write-Key") or query.get("writeKey") or None
