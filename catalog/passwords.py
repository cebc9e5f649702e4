"""Passwords: what may be one, their argon2id hashes, and secrets of which only a digest is kept."""

from __future__ import annotations

import hashlib
import secrets
import threading
import unicodedata
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from catalog.store import CatalogError

SHORTEST = 12  # characters; length is worth more than rules on what must be in it
LONGEST = 1024  # what one has to hash for whoever asks

# RFC 9106's second recommendation: 64 MiB, three passes, four lanes.
_HASHER = PasswordHasher()
_AT_ONCE = threading.BoundedSemaphore(4)  # of 64 MiB each, however many sign in


def check(password: str, email: str) -> None:
    """Raises CatalogError for a password that is too short, too long, or easily guessed."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise CatalogError(f"a password needs {SHORTEST} to {LONGEST:,} characters; take a phrase")
    if len(set(password.casefold())) < 5:
        raise CatalogError("a password needs at least five different characters; take a phrase")
    if password.casefold() in {email, email.partition("@")[0]}:
        raise CatalogError("a password must not be the e-mail address; take a phrase")


def hashed(password: str) -> str:
    """Its argon2id hash, with salt and parameters."""
    with _AT_ONCE:
        return _HASHER.hash(_plain(password))


def verified(known: str | None, password: str) -> bool:
    """Whether the hash is of this password. As slow where there is no hash, so that time says
    nothing of which accounts there are.
    """
    with _AT_ONCE:
        try:
            _HASHER.verify(known or _of_nobody(), _plain(password[: LONGEST + 1]))
        except (VerificationError, InvalidHashError):
            return False
    return known is not None


def outdated(known: str) -> bool:
    """Whether the hash was made with weaker parameters than are used now."""
    return _HASHER.check_needs_rehash(known)


def digest(secret: str) -> bytes:
    """SHA-256, 32 bytes: enough for secrets that are random, and no way back."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


@cache
def _of_nobody() -> str:
    return _HASHER.hash(secrets.token_urlsafe())


def _plain(password: str) -> bytes:
    """The same bytes whichever keyboard composed the letters."""
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
