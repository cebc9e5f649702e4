"""Write keys: where a request carries one, and whose it is."""

from __future__ import annotations

import base64
import logging
import threading
from collections.abc import Callable, Mapping

import msgspec

from catalog.store import KeyOwner
from collector.problems import Problem
from collector.protocols import salvage
from collector.protocols.fields import scalar

log = logging.getLogger(__name__)
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
        if key not in self._keys or self._clock() - self._loaded_at > self._refresh_s:
            self._renew(key)
        owner = self._keys.get(key)
        if owner is None:
            raise Problem(401, "unknown_key", "the write key is unknown or revoked")
        return owner

    def _renew(self, key: str) -> None:
        # A known key need not wait for the thread that is at it. An unknown one must: SDKs drop
        # what is answered 401, and the key may be in the copy that is just being read.
        if not self._lock.acquire(blocking=key not in self._keys):
            return
        try:
            pause = self._refresh_s if key in self._keys else _UNKNOWN_PAUSE_S
            if self._clock() - self._loaded_at > pause:
                self._load_copy()
        finally:
            self._lock.release()

    def _load_copy(self) -> None:
        try:
            self._keys = self._load()
        except Exception as error:  # the copy in hand is better than refusing events
            log.warning("keys not renewed, the old copy serves on: %s", type(error).__name__)
        finally:
            self._loaded_at = self._clock()


def key_of_headers(authorization: str, write_key: str) -> str | None:
    """The key in the headers Authorization and X-Write-Key, if there is one."""
    return _of_authorization(authorization) or write_key or None


class _KeyOf(msgspec.Struct):
    writeKey: str | None = None
    api_key: str | None = None
    token: str | None = None


_KEY_OF = msgspec.json.Decoder(_KeyOf)


def key_of_body(body: bytes) -> str | None:
    """The key inside a body; None where there is none or the body is no object."""
    try:
        found = _KEY_OF.decode(body)
    except msgspec.ValidationError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _salvaged_key(body)
    return found.writeKey or found.api_key or found.token


def _salvaged_key(body: bytes) -> str | None:
    """One event that is broken must not hide whose the others are."""
    found = salvage.members(body) or {}
    keys = [scalar(found.get(name, b"")) for name in _KeyOf.__struct_fields__]
    return next((key for key in keys if key and isinstance(key, str)), None)


def _of_authorization(header: str) -> str | None:
    if not header:
        return None
    scheme, _, value = header.strip().partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(value).decode().partition(":")[0]
    except ValueError:  # no base64, or not of text
        return None
