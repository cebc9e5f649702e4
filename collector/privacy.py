"""What is taken of a request itself, and what is left out: addresses, places, user agents.

docs/privacy.md says the same in words, for those who have to answer for it.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
from werkzeug.datastructures import Headers
from werkzeug.middleware.proxy_fix import ProxyFix

from catalog.policy import IpHandling, SourcePolicy
from collector.geo import NOWHERE, Geo
from transforms.bots import LONGEST, is_bot
from transforms.candidates import Candidates
from transforms.flags import Flag

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

_PREFIX = {4: 24, 6: 48}  # bits that are left of a truncated address
_FROM_PEOPLE = ("Mozilla/", "Dalvik/")  # how the user agents of browsers and web views begin
_APP = re.compile(r"CFNetwork|[Aa]ndroid|\biOS\b|-ios/|analytics-(?:swift|kotlin)/")
# What helps to understand a refused event. A list of what to keep forgets no proxy's header.
_KEPT_HEADERS = frozenset(
    {
        "content-encoding",
        "content-length",
        "content-type",
        "dnt",
        "host",
        "origin",
        "posthog-attempt",
        "posthog-sdk-info",
        "sec-gpc",
        "sp-anonymous",
        "transfer-encoding",
        "user-agent",
        "x-retry-count",
    }
)
_MOST_HEADERS = 8_192  # characters kept: they stand in each dead letter of the request
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LOCATED = ("country", "region", "city", "ip")


@dataclass(frozen=True, slots=True)
class Sender:
    """What a request says of who sent it, for as long as it is under way.

    address:   of the client, as text; None: none that is one
    is_device: the visitor's own device sent it, so that address and user agent are the visitor's
    anonymous: SP-Anonymous: the app asks for it
    opted_out: DNT or Sec-GPC: the visitor asks for it
    """

    address: str | None
    user_agent: str
    is_device: bool
    anonymous: bool
    opted_out: bool

    def is_minimal(self, policy: SourcePolicy) -> bool:
        """Whether nothing but the country may be taken of the request."""
        return self.anonymous or (self.opted_out and policy.respect_dnt)


@dataclass(frozen=True, slots=True)
class Enriched:
    """Candidates without the addresses that must not be stored, and what the request adds.

    columns: for Origin.columns; flags: for Origin.flags
    is_dropped: a known crawler of a project that wants none: count it, answer 200, store nothing
    """

    candidates: Candidates
    columns: Mapping[str, Any]
    flags: int
    is_dropped: bool


def behind_proxies(app: WSGIApplication, hops: int) -> WSGIApplication:
    """The app, for which the client's address is what the last `hops` proxies say it is.

    hops: proxies of ours between clients and collector; a longer X-Forwarded-For is not believed
    """
    return ProxyFix(app, x_for=hops, x_proto=0, x_host=0) if hops else app


def sender(environ: WSGIEnvironment) -> Sender:
    """What the request says."""
    agent = environ.get("HTTP_USER_AGENT", "")[:LONGEST]
    return Sender(
        _plain_address(environ.get("REMOTE_ADDR", "")),
        agent,
        "HTTP_ORIGIN" in environ or "HTTP_SEC_FETCH_MODE" in environ or _is_device(agent),
        "HTTP_SP_ANONYMOUS" in environ,
        environ.get("HTTP_DNT") == "1" or environ.get("HTTP_SEC_GPC") == "1",
    )


@lru_cache(16_384)
def _is_device(agent: str) -> bool:
    return agent.startswith(_FROM_PEOPLE) or _APP.search(agent) is not None


class Privacy:
    """What each project asks for. geo: None: no database, no places."""

    def __init__(self, geo: Geo | None) -> None:
        self._geo = geo

    def enrich(self, candidates: Candidates, sender: Sender, policy: SourcePolicy) -> Enriched:
        """What may be stored of the request beyond what its events say themselves."""
        bot = policy.bots != "keep" and is_bot(sender.user_agent)
        minimal = sender.is_minimal(policy)
        columns: dict[str, Any] = {}
        if sender.is_device:
            columns = self._located(sender.address, policy.ip, minimal)
            if not minimal and sender.user_agent.startswith(_FROM_PEOPLE):
                columns["user_agent"] = sender.user_agent
        candidates, columns = self._without_own(candidates, columns, policy.ip, minimal)
        return Enriched(
            candidates,
            columns,
            Flag.BOT.value if bot else 0,
            bot and policy.bots == "drop",
        )

    def _located(self, address: str | None, ip: IpHandling, minimal: bool) -> dict[str, Any]:
        """Columns of an address, only those with a value."""
        if address is None:
            return {}
        place = self._geo.locate(address) if self._geo else NOWHERE
        if minimal:
            return {"country": place.country} if place.country else {}
        found = {**place._asdict(), "ip": stored_address(address, ip)}
        return {name: value for name, value in found.items() if value}

    def _without_own(
        self, candidates: Candidates, columns: dict[str, Any], ip: IpHandling, minimal: bool
    ) -> tuple[Candidates, dict[str, Any]]:
        """Addresses that events carry in `context.ip`, as servers send them for their visitors.

        They are treated as that of the request is, and go before it, for the whole event: a
        country from one address and a city from another would be a place that is not there.
        """
        contexts = candidates.columns.get("context") or ()
        if b'"ip"' not in b"".join(contexts):  # one look at all is cheaper than one at each
            return candidates, columns
        own = {row: text for row, text in enumerate(contexts) if b'"ip"' in text}
        if not own:
            return candidates, columns
        cleaned, located = list(contexts), [columns] * candidates.count
        for row, text in own.items():
            cleaned[row], address = _taken_out(text, "none" if minimal else ip)
            if address is not None:
                located[row] = self._located(address, ip, minimal)
        given: dict[str, list[Any]] = {"context": cleaned}
        for name in _LOCATED:
            before = candidates.columns.get(name) or [None] * candidates.count
            given[name] = [b or one.get(name) for b, one in zip(before, located, strict=True)]
        left = {name: value for name, value in columns.items() if name not in _LOCATED}
        return candidates.with_columns(given), left


def _taken_out(context: bytes, ip: IpHandling) -> tuple[bytes, str | None]:
    """A context with its address as it may be stored, and the address."""
    try:
        members = _OBJECT.decode(context)
        raw = members.pop("ip", None)
        address = None if raw is None else msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return context, None  # broken JSON: judged elsewhere
    if raw is None:
        return context, None
    known = _plain_address(address) if isinstance(address, str) else None
    kept = stored_address(known, ip) if known else None
    if kept is not None:
        members["ip"] = msgspec.Raw(msgspec.json.encode(kept))
    return msgspec.json.encode(members), known


@lru_cache(16_384)
def stored_address(address: str, ip: IpHandling) -> str | None:
    """What is stored of an address: all of it, its /24 or /48 network, or nothing."""
    if ip == "none":
        return None
    if ip == "full":
        return address
    bits = _PREFIX[ipaddress.ip_address(address).version]
    return str(ipaddress.ip_network(f"{address}/{bits}", strict=False).network_address)


@lru_cache(16_384)
def _plain_address(text: str) -> str | None:
    """An address in its one form: without port, brackets and zone, IPv4 not dressed as IPv6."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return str(address)


def kept_headers(headers: Headers, sender: Sender, policy: SourcePolicy) -> str:
    """Headers that a dead letter keeps, as JSON text: no credentials, no addresses."""
    kept: dict[str, str] = {}
    room = _MOST_HEADERS
    for name, value in headers.items():
        known = name.lower()
        if known not in _KEPT_HEADERS or (known == "user-agent" and sender.is_minimal(policy)):
            continue
        room -= len(name) + len(value)
        if room >= 0:
            kept[name] = value
    return json.dumps(kept, ensure_ascii=False)
