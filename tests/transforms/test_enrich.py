"""What is derived: by examples whose answers are plain, and by properties."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas_avro import derive, load
from transforms.enrich import enrich, read_agent, read_page, read_referrer
from transforms.flags import Flag

_TYPES = derive.wire(load("event"))
SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/17.4 Mobile/15E148 Safari/604.1"
)
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/124.0.0.0 Safari/537.36"
)
TABLET = (
    "Mozilla/5.0 (Linux; Android 13; SM-X200) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/120.0.0.0 Safari/537.36"
)
GOOGLE = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


def events(*rows: dict[str, object]) -> pl.DataFrame:
    return pl.DataFrame([{"flags": 0, **row} for row in rows], schema=_TYPES, orient="row")


@pytest.mark.parametrize(
    ("agent", "browser", "version", "system", "device"),
    [
        (SAFARI, "Mobile Safari", "17.4", "iOS", "mobile"),
        (CHROME, "Chrome", "124.0", "Windows", "desktop"),
        (TABLET, "Chrome", "120.0", "Android", "tablet"),
        ("curl/8.5.0", "curl", "8.5", None, None),
        ("", None, None, None, None),
    ],
)
def test_a_user_agent_is_read(
    agent: str, browser: str | None, version: str | None, system: str | None, device: str | None
) -> None:
    found = read_agent(agent)
    assert (found["browser_name"], found["browser_version"]) == (browser, version)
    assert (found["os_name"], found["device_type"]) == (system, device)


def test_what_the_sender_says_goes_before_what_is_derived() -> None:
    context = '{"os":{"name":"HarmonyOS"},"campaign":{"source":"letter"}}'
    url = "https://shop.example/a?utm_source=ad&utm_medium=cpc"
    row = enrich(events({"user_agent": SAFARI, "page_url": url, "context": context}))
    assert row["os_name"].item() == "HarmonyOS"
    assert row["browser_name"].item() == "Mobile Safari"
    assert row["campaign_source"].item() == "letter"
    assert row["campaign_medium"].item() == "cpc"


@pytest.mark.parametrize(
    ("url", "host", "path", "source"),
    [
        (
            "https://Shop.Example/x/y?utm_source=n%C3%BCrnberg#top",
            "shop.example",
            "/x/y",
            "nürnberg",
        ),
        ("/only/a/path?utm_source=", None, "/only/a/path", None),
        ("https://[broken", None, None, None),
        ("https://a.example/?" + "&".join(f"utm_{n}=1" for n in range(500)), None, None, None),
        ("", None, None, None),
    ],
)
def test_an_address_is_read(
    url: str, host: str | None, path: str | None, source: str | None
) -> None:
    found = read_page(url)
    assert (found.get("page_host"), found.get("page_path")) == (host, path)
    assert found.get("campaign_source") == source


def test_the_referrer_is_known_by_its_host() -> None:
    assert read_referrer("https://www.google.com/search?q=x")["referrer_host"] == "google.com"
    assert read_referrer("android-app://com.example.app")["referrer_host"] == "com.example.app"
    assert read_referrer("nothing")["referrer_host"] is None


def test_crawlers_are_flagged_and_other_flags_stay() -> None:
    rows = enrich(
        events(
            {"user_agent": GOOGLE, "flags": Flag.CLAMPED.value},
            {"user_agent": CHROME},
            {"user_agent": None},
        )
    )
    assert rows["flags"].to_list() == [Flag.CLAMPED | Flag.BOT, 0, 0]


_TEXT = st.one_of(
    st.none(), st.text(max_size=30), st.sampled_from([SAFARI, CHROME, GOOGLE, "https://a.b/c?utm_"])
)


@given(st.lists(st.tuples(_TEXT, _TEXT, _TEXT), max_size=6))
def test_each_row_for_itself_and_again_changes_nothing(
    rows: list[tuple[str | None, str | None, str | None]],
) -> None:
    made = [{"user_agent": a, "page_url": p, "referrer": r} for a, p, r in rows]
    together = enrich(events(*made)) if made else events()
    for number, row in enumerate(made):
        assert enrich(events(row)).equals(together[number])
    assert enrich(together).equals(together)
