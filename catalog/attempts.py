"""How often a sign-in may fail: a bound for each account and for each address."""

from __future__ import annotations

import ipaddress
import math
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, delete, select

from catalog import passwords
from catalog.models import SignInAttempt
from catalog.store import Catalog
from catalog.users import Clock, utc_now

WINDOW = timedelta(minutes=15)
OF_ACCOUNT = 10  # tries within the window
OF_ADDRESS = 30


class Attempts:
    """Tries that have not succeeded. Every process sees those of all."""

    def __init__(self, catalog: Catalog, clock: Clock = utc_now) -> None:
        self._catalog = catalog
        self._clock = clock

    def begin(self, account: str, address: str) -> int:
        """Before a password is looked at: seconds to wait, or 0, and then it counts as a try.

        It is written down first and counted then, so that of many at the same moment no more get
        through than one after another. A refused one does not count: an account is open again a
        window after the last try that did.
        """
        now = self._clock()
        who, where = _account(account), _address(address)
        with self._catalog.session() as session, session.begin():
            mine = SignInAttempt(account=who, address=where, at=now)
            session.add(mine)
            session.flush()  # from here on, other writers wait
            session.execute(delete(SignInAttempt).where(SignInAttempt.at <= now - WINDOW))
            waits = [
                self._wait(list(session.scalars(_before(mine, same))), most, now)
                for same, most in (
                    (SignInAttempt.account == who, OF_ACCOUNT),
                    (SignInAttempt.address == where, OF_ADDRESS),
                )
            ]
            if max(waits):
                session.delete(mine)
        return max(waits)

    def succeeded(self, account: str) -> None:
        """The tries at this account are forgotten; those of its address at others are not."""
        with self._catalog.session() as session, session.begin():
            session.execute(delete(SignInAttempt).where(SignInAttempt.account == _account(account)))

    def _wait(self, earlier: list[datetime], most: int, now: datetime) -> int:
        """Until fewer than `most` are left within the window."""
        if len(earlier) < most:
            return 0
        return max(1, math.ceil((earlier[len(earlier) - most] + WINDOW - now).total_seconds()))


def _before(mine: SignInAttempt, same: ColumnElement[bool]) -> Select[datetime]:
    """Times of the others, the oldest first."""
    return (
        select(SignInAttempt.at)
        .where(same, SignInAttempt.id != mine.id)
        .order_by(SignInAttempt.at, SignInAttempt.id)
    )


def _account(email: str) -> bytes:
    return passwords.digest(email.strip().lower())


def _address(address: str) -> bytes:
    """Of IPv6, the network that one subscriber has: 64 bits."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return passwords.digest(address)
    if found.version == 6 and found.ipv4_mapped is None:
        return passwords.digest(str(ipaddress.ip_network((int(found), 64), strict=False)))
    return passwords.digest(str(getattr(found, "ipv4_mapped", None) or found))
