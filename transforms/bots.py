"""Known crawlers by their user agent, from the list that the package crawler-user-agents keeps.

Of the lists that were tried (0.4.2 of crawlerdetect, 0.3.7 of is-bot, 6.5.1 of device_detector,
1.0.2 of ua-parser) it is the fastest with few false alarms, and the only one that says which kind
each is.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache

LONGEST = 512  # characters of a user agent that are looked at and kept
_REMEMBERED = 16_384  # user agents; a day's traffic of a site has far fewer
_PER_PATTERN = 25  # one expression of them all is slower
# What apps and servers send events with: no crawlers here.
_SENDERS = "http-library"


@lru_cache(_REMEMBERED)
def is_bot(user_agent: str) -> bool:
    """Whether it is a crawler, a monitor or an automated browser.

    user_agent: at most LONGEST characters, for the time that the patterns may take
    """
    return any(pattern.search(user_agent) for pattern in _patterns())


@cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    # Read when first asked: 1,500 expressions take half a second to compile.
    from crawleruseragents import CRAWLER_USER_AGENTS_DATA  # type: ignore[import-untyped]

    known = [
        one["pattern"] for one in CRAWLER_USER_AGENTS_DATA if _SENDERS not in one.get("tags", ())
    ]
    return tuple(
        re.compile("|".join(known[at : at + _PER_PATTERN]))
        for at in range(0, len(known), _PER_PATTERN)
    )
