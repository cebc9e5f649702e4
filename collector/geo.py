"""Where an address is, from a MaxMind database file on this machine. No address leaves it."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import geoip2.database
from geoip2.errors import AddressNotFoundError
from maxminddb import InvalidDatabaseError

from catalog.settings import SettingError

log = logging.getLogger(__name__)
_REMEMBERED = 16_384  # addresses
_LOOK_AGAIN_S = 60.0  # for a newer file under the same name: these lists come anew every week


class Place(NamedTuple):
    """ISO 3166 code of the country, English names of its region and city; None: unknown."""

    country: str | None = None
    region: str | None = None
    city: str | None = None


NOWHERE = Place()


class Geo:
    """Looks addresses up. Safe between threads; a newer file is taken up within a minute.

    clock: now in s. Raises SettingError for a file that is no City, Country or Enterprise one.
    """

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._path, self._clock = path, clock
        self._lock = threading.Lock()
        try:
            self._open()
        except (OSError, InvalidDatabaseError, ValueError) as error:
            raise SettingError(
                f"HEADWATER_GEOIP_DATABASE={str(path)!r} cannot be used: {error}; "
                "give the path of a City, Country or Enterprise database (.mmdb)"
            ) from error

    def locate(self, address: str) -> Place:
        """The place of an IPv4 or IPv6 address; NOWHERE where the list does not have it."""
        if self._clock() - self._looked_at > _LOOK_AGAIN_S:
            self._renew()
        return self._find(address)

    def _open(self) -> None:
        stamp = self._stamp()
        reader = geoip2.database.Reader(self._path)
        kind = reader.metadata().database_type
        ask = next(
            (
                getattr(reader, name.lower())
                for name in ("City", "Country", "Enterprise")
                if name in kind
            ),
            None,
        )
        if ask is None:
            raise ValueError(f"it is of the kind {kind!r}")

        @lru_cache(_REMEMBERED)
        def find(address: str) -> Place:
            try:
                found = ask(address)
            except (AddressNotFoundError, ValueError):
                return NOWHERE
            country = found.country.iso_code or found.registered_country.iso_code
            regions, city = getattr(found, "subdivisions", ()), getattr(found, "city", None)
            return Place(country, regions[0].name if regions else None, city and city.name)

        self._find, self._opened, self._looked_at = find, stamp, self._clock()

    def _renew(self) -> None:
        if not self._lock.acquire(blocking=False):
            return
        try:
            self._looked_at = self._clock()
            if self._stamp() != self._opened:
                self._open()
        except (OSError, InvalidDatabaseError, ValueError) as error:
            log.warning("geoip database not renewed, the old serves on: %s", type(error).__name__)
        finally:
            self._lock.release()

    def _stamp(self) -> tuple[int, int, int]:
        found = os.stat(self._path)
        return found.st_ino, found.st_size, found.st_mtime_ns
