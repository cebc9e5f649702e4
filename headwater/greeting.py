"""Says once where everything is, as soon as everything answers."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable

from catalog.settings import Settings
from headwater.ground import SERVERS, address

_SETTLED_S = 3.0  # a process that cannot start has ended by then
_LOOK_EVERY_S = 0.5


def banner(settings: Settings, project: str, key: str) -> str:
    """Where to look, the key, and one line to try."""
    collector, reports = _url(settings, "collector"), _url(settings, "reports")
    body = '{"userId": "u1", "event": "Signed Up"}'
    return f"""
  Headwater is up. Ctrl-C stops it; the next start goes on from here.

  Reports    {reports}/p/{project}/
  Collector  {collector}
  Write key  {key}
  Data       {settings.path()}

  Try it:
  curl -u {key}: -H 'content-type: application/json' -d '{body}' {collector}/v1/track
"""


class Greeter:
    """Called again and again; prints the banner once.

    alive_s: for how long all processes have been alive
    """

    def __init__(
        self,
        settings: Settings,
        text: str,
        alive_s: Callable[[], float],
        show: Callable[[str], None],
    ) -> None:
        self._waiting = [f"{_url(settings, server)}/health" for server in SERVERS]
        self._text, self._alive_s, self._show = text, alive_s, show
        self._greeted, self._next_look = False, 0.0

    def __call__(self) -> None:
        """Look, at most twice a second."""
        if self._greeted or time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _LOOK_EVERY_S
        self._waiting = [url for url in self._waiting if not _answers(url)]
        if not self._waiting and self._alive_s() >= _SETTLED_S:
            self._greeted = True
            self._show(self._text)


def _url(settings: Settings, server: str) -> str:
    host, port = address(settings, server)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # "everywhere" is no address
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _answers(url: str) -> bool:
    # Straight there: a proxy of the environment knows nothing of this machine's ports.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=1):
            return True
    except OSError:
        return False
