"""What a project, and a key of it, asks of the collector. Values only; `policies` keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SchemaMode = Literal["off", "warn", "enforce"]
IpHandling = Literal["none", "truncated", "full"]
BotHandling = Literal["keep", "flag", "drop"]

MAX_PROPERTIES = 1_000


@dataclass(frozen=True, slots=True)
class SourcePolicy:
    """What is kept of the people behind a key's events, and how much the key may send.

    schema_mode:      what becomes of an event that its registered schema does not fit
    ip:               what is stored of an address; truncated: /24 of IPv4, /48 of IPv6
    respect_dnt:      a request with `DNT: 1` or `Sec-GPC: 1` is read as anonymous
    bots:             events of known crawlers: stored, stored with Flag.BOT, or counted only
    rate_limit_per_s: events per second, with bursts of `limits.BURST_S`; None: no limit
    daily_quota:      events per UTC day; None: no limit
    max_properties:   properties at the top level of one event; above: dead letter
    """

    schema_mode: SchemaMode = "off"
    ip: IpHandling = "none"
    respect_dnt: bool = True
    bots: BotHandling = "flag"
    rate_limit_per_s: int | None = None
    daily_quota: int | None = None
    max_properties: int = MAX_PROPERTIES


DEFAULT_POLICY = SourcePolicy()
