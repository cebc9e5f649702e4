"""What an event says between its lines: browser and device, campaign, who referred, crawlers.

Only what the sender left out is filled in: what it says itself goes before. Different user agents
and addresses are few, so each is read once a batch and, by its cache, hardly more than once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from urllib.parse import parse_qs, urlsplit

import polars as pl
import ua_parser

from transforms.bots import LONGEST, is_bot
from transforms.context import PATHS, promote
from transforms.flags import Flag

_REMEMBERED = 65_536
_MOST_FIELDS = 200  # of a query: more is no page's address
_CAMPAIGN = {
    "utm_source": "campaign_source",
    "utm_medium": "campaign_medium",
    "utm_campaign": "campaign_name",
    "utm_term": "campaign_term",
    "utm_content": "campaign_content",
}
_AGENT_COLUMNS = ("browser_name", "browser_version", "os_name", "os_version", "device_type")
_PAGE_COLUMNS = ("page_host", "page_path", *_CAMPAIGN.values())
# Columns of event.avsc that are complete only after `enrich`.
DERIVED = frozenset({*PATHS, *_AGENT_COLUMNS, *_PAGE_COLUMNS, "referrer_host"})
_Found = dict[str, str | None]


def enrich(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` with all that can be derived from them.

    rows: all columns of event.avsc. Each row's result depends on that row alone, and enriching
    again changes nothing.
    """
    rows = promote(rows)
    rows = _fill(rows, "user_agent", _AGENT_COLUMNS, read_agent)
    rows = _fill(rows, "page_url", _PAGE_COLUMNS, read_page)
    rows = _fill(rows, "referrer", ("referrer_host",), read_referrer)
    return _flag_bots(rows)


def _fill(
    rows: pl.DataFrame, by: str, columns: tuple[str, ...], read: Callable[[str], _Found]
) -> pl.DataFrame:
    """Columns that are null become what `read` makes of the column `by`."""
    values = rows[by].drop_nulls().unique()
    if values.is_empty():
        return rows
    found = list(map(read, values))
    read_out = {f"_{name}": [one.get(name) for one in found] for name in columns}
    types = dict.fromkeys(read_out, pl.String)
    table = pl.DataFrame(read_out, schema=types).with_columns(values.alias(by))
    joined = rows.join(table, on=by, how="left", maintain_order="left")
    filled = [pl.coalesce(name, f"_{name}").alias(name) for name in columns]
    return joined.with_columns(filled).select(rows.columns)


def _flag_bots(rows: pl.DataFrame) -> pl.DataFrame:
    """Flag.BOT by the event's own user agent: servers send the events of their visitors."""
    agents = rows["user_agent"].drop_nulls().unique()
    bots = [agent for agent in agents if is_bot(agent[:LONGEST])]
    if not bots:
        return rows
    flagged = pl.col("flags").fill_null(0) | Flag.BOT.value
    return rows.with_columns(
        flags=pl.when(pl.col("user_agent").is_in(bots)).then(flagged).otherwise("flags")
    )


@lru_cache(_REMEMBERED)
def read_agent(agent: str) -> _Found:
    """Browser, operating system and kind of device by the patterns that uap-core keeps."""
    found = ua_parser.parse(agent[:LONGEST])
    browser, system = found.user_agent, found.os
    return {
        "browser_name": browser.family if browser else None,
        "browser_version": _version(browser),
        "os_name": system.family if system else None,
        "os_version": _version(system),
        "device_type": _device_type(agent, system.family if system else ""),
    }


def _version(part: ua_parser.UserAgent | ua_parser.OS | None) -> str | None:
    numbers = (part.major, part.minor) if part else ()
    return ".".join(number for number in numbers if number) or None


def _device_type(agent: str, system: str) -> str | None:
    """mobile, tablet or desktop; None for what is no person's device.

    By what the makers ask for: a phone says Mobile, an Android tablet does not
    (https://developer.chrome.com/docs/multidevice/user-agent).
    """
    if "iPad" in agent or "Tablet" in agent or ("Android" in agent and "Mobile" not in agent):
        return "tablet"
    if "Mobi" in agent or system == "iOS":
        return "mobile"
    known = ("Windows", "Mac OS X", "Linux", "Ubuntu", "Chrome OS", "Fedora", "FreeBSD")
    return "desktop" if system in known else None


@lru_cache(_REMEMBERED)
def read_page(url: str) -> _Found:
    """Host, path and campaign of a page's address."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
        query = parse_qs(parts.query, max_num_fields=_MOST_FIELDS) if "utm_" in url else {}
    except ValueError:
        return {}
    campaign = {column: query.get(name, [""])[0] or None for name, column in _CAMPAIGN.items()}
    return {"page_host": host, "page_path": parts.path or None, **campaign}


@lru_cache(_REMEMBERED)
def read_referrer(url: str) -> _Found:
    """Host of the page before, without www."""
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return {}
    return {"referrer_host": host.removeprefix("www.") if host else None}
