"""What guarding and the pages about access call; put in place by `guard.install`."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from flask import current_app, g, request

from catalog.attempts import Attempts
from catalog.audit import Audit
from catalog.sessions import Sessions
from catalog.settings import Settings
from catalog.store import Catalog
from catalog.tokens import Tokens
from catalog.users import Users
from reports.access.caller import Caller
from reports.access.oidc import Provider, provider_of
from reports.access.origin import PublicUrl

_QUIET_S = 60
_MOST_KNOWN = 10_000


class Refused:
    """What was refused of late: the same again, within a minute, is not news."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, ...], float] = OrderedDict()

    def is_news(self, key: tuple[str, ...], now_s: float) -> bool:
        """Whether this was not refused within the last minute."""
        with self._lock:
            last = self._known.pop(key, None)
            news = last is None or not 0 <= now_s - last < _QUIET_S
            self._known[key] = now_s if news or last is None else last
            if len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)
            return news


@dataclass(frozen=True)
class Access:
    """The access part of the catalogue, and what the settings say about it."""

    settings: Settings
    public: PublicUrl
    users: Users
    sessions: Sessions
    tokens: Tokens
    attempts: Attempts
    audit: Audit
    provider: Provider | None
    projects: Callable[[], Mapping[str, str]]  # those that the caller may see
    every_project: Callable[[], Mapping[str, str]]  # to know whether there are others; not to show
    clock: Callable[[], datetime]
    refused: Refused = field(default_factory=Refused)

    @classmethod
    def of(
        cls,
        settings: Settings,
        projects: Callable[[], Mapping[str, str]],
        every_project: Callable[[], Mapping[str, str]],
        clock_us: Callable[[], int],
    ) -> Access:
        """Raises SettingError for settings that cannot be used."""

        def clock() -> datetime:
            return datetime.fromtimestamp(clock_us() / 1e6, UTC).replace(tzinfo=None)

        catalog = Catalog(settings.catalog_url)
        return cls(
            settings=settings,
            public=PublicUrl.read(settings.public_url),
            users=Users(catalog, clock),
            sessions=Sessions(catalog, settings.session_idle_h, settings.session_max_h, clock),
            tokens=Tokens(catalog, clock),
            attempts=Attempts(catalog, clock),
            audit=Audit(catalog, clock),
            provider=provider_of(settings),
            projects=projects,
            every_project=every_project,
            clock=clock,
        )


def access() -> Access:
    """That of the app in hand."""
    found: Access = current_app.extensions["access"]
    return found


def caller() -> Caller:
    """Who asks."""
    found: Caller = g.user
    return found


def address() -> str:
    """Theirs, as the last proxy that is trusted saw it."""
    return request.remote_addr or ""
