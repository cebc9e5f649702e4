"""Write keys: where a request carries one, and whose it is."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping

import msgspec

from catalog.store import KeyOwner
from collector.problems import Problem
from collector.protocols import salvage
from collector.protocols.fields import scalar
from collector.renewed import Renewed

_UNKNOWN_PAUSE_S = 1.0  # an unknown key may be new, but must not become a load on the catalogue


class KeyRing:
    """Whose each key is, by a copy of the catalogue that is renewed for unknown keys, too.

    load: every key in force; the rest as in Renewed
    """

    def __init__(
        self,
        load: Callable[[], Mapping[str, KeyOwner]],
        refresh_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._keys = Renewed("keys", lambda _: load(), refresh_s, clock)

    def owner(self, key: str | None) -> KeyOwner:
        """Project, source and policy of the key. Raises Problem 401."""
        if not key:
            raise Problem(
                401,
                "no_key",
                "no write key: send it as Basic user name, Bearer token, X-Write-Key header, "
                "`writeKey` in the body or ?writeKey=",
            )
        owner = self._keys().get(key)
        if owner is None:
            # It may be new, or in the copy that is just being read: SDKs drop what is answered 401.
            owner = self._keys.not_older_than(_UNKNOWN_PAUSE_S, wait=True).get(key)
        if owner is None:
            raise Problem(401, "unknown_key", "the write key is unknown or revoked")
        return owner


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
