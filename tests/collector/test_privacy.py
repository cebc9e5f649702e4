"""What is taken of a request, under each switch, with a real database of places."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import geoip2.database
import netaddr
import pytest
from crawleruseragents import CRAWLER_USER_AGENTS_DATA
from mmdb_writer import MMDBWriter
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder

from catalog.policy import SourcePolicy
from catalog.settings import SettingError
from collector.geo import NOWHERE, Geo, Place
from collector.privacy import (
    Privacy,
    Sender,
    behind_proxies,
    kept_headers,
    sender,
    stored_address,
)
from transforms.bots import is_bot
from transforms.candidates import Candidate, Candidates
from transforms.flags import Flag

# Addresses that RFC 5737 and 3849 keep for documents: nobody's.
LONDON, LYON, NOBODY = "192.0.2.77", "2001:db8:1234:5678::9", "198.51.100.1"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0"
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


def environ_of(headers: dict[str, str]) -> dict[str, str]:
    """The environment of a request from London with these headers."""
    named = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
    return {**named, "REMOTE_ADDR": LONDON}


def place(country: str, region: str, city: str) -> dict[str, Any]:
    return {
        "country": {"iso_code": country, "names": {"en": country}},
        "subdivisions": [{"iso_code": "X", "names": {"en": region}}],
        "city": {"names": {"en": city}},
    }


def write(path: Path, london: dict[str, Any], kind: str = "GeoLite2-City") -> Path:
    made = MMDBWriter(6, kind, ipv4_compatible=True, languages=["en"], description="test")
    made.insert_network(netaddr.IPSet(["192.0.2.0/24"]), london)
    made.insert_network(netaddr.IPSet(["2001:db8:1234::/48"]), place("FR", "Rhône", "Lyon"))
    made.to_db_file(str(path.with_suffix(".new")))
    os.replace(path.with_suffix(".new"), path)
    return path


@pytest.fixture(scope="module")
def database(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("geo") / "city.mmdb"
    return write(path, place("GB", "England", "London"))


@pytest.fixture
def privacy(database) -> Privacy:
    return Privacy(Geo(database, lambda: 0.0))


def visitor(address: str | None = LONDON, **changes: Any) -> Sender:
    given = {"user_agent": FIREFOX, "is_device": True, "anonymous": False, "opted_out": False}
    return Sender(address, **{**given, **changes})


def one(context: bytes = b"{}", **columns: Any) -> Candidates:
    made = Candidate(type="track", name="a", user_id="u", context=context, columns=columns)
    return Candidates.of([made], [b"{}"])


def stored(enriched: Any, row: int = 0) -> dict[str, Any]:
    """What the event has in the end: its own values, and those of the request."""
    own = {
        name: enriched.candidates.columns[name][row]
        for name in ("country", "region", "city", "ip", "user_agent")
        if name in enriched.candidates.columns
    }
    return {n: v for n, v in {**enriched.columns, **own}.items() if v is not None}


# -- The address of the client.


@pytest.mark.parametrize(
    ("hops", "forwarded", "wanted"),
    [
        (0, "192.0.2.77", "203.0.113.9"),  # nobody's word is taken for it
        (1, "192.0.2.77", "192.0.2.77"),
        (1, "10.9.9.9, 192.0.2.77", "192.0.2.77"),  # the rest anybody can write
        (2, "10.9.9.9, 192.0.2.77, 198.51.100.3", "192.0.2.77"),
        (1, "192.0.2.77:51000", "192.0.2.77"),
        (1, "[2001:db8::1]:51000", "2001:db8::1"),
        (1, "::ffff:192.0.2.77", "192.0.2.77"),
        (1, "unknown", None),
        (3, "192.0.2.77", "203.0.113.9"),  # not the way it should have come
        (1, "", "203.0.113.9"),
    ],
)
def test_only_the_proxies_of_ours_are_believed(hops, forwarded, wanted):
    seen = []

    def app(environ, start_response):
        start_response("200 OK", [])
        seen.append(sender(environ).address)
        return []

    environ = EnvironBuilder(
        headers={"X-Forwarded-For": forwarded}, environ_base={"REMOTE_ADDR": "203.0.113.9"}
    ).get_environ()
    behind_proxies(app, hops)(environ, lambda *_: None)
    assert seen == [wanted]


@pytest.mark.parametrize(
    ("address", "ip", "wanted"),
    [
        (LONDON, "full", LONDON),
        (LONDON, "truncated", "192.0.2.0"),
        (LONDON, "none", None),
        (LYON, "full", LYON),
        (LYON, "truncated", "2001:db8:1234::"),
        (LYON, "none", None),
    ],
)
def test_what_is_stored_of_an_address(address, ip, wanted):
    assert stored_address(address, ip) == wanted


# -- What a request adds.


def test_by_default_the_place_is_kept_and_the_address_is_not(privacy):
    found = privacy.enrich(one(), visitor(), SourcePolicy())
    assert stored(found) == {
        "country": "GB",
        "region": "England",
        "city": "London",
        "user_agent": FIREFOX,
    }
    assert LONDON not in repr(found.candidates.columns)
    assert (found.flags, found.is_dropped) == (0, False)


def test_the_address_is_stored_where_the_project_asks_for_it(privacy):
    for ip, wanted in [("full", LYON), ("truncated", "2001:db8:1234::")]:
        found = stored(privacy.enrich(one(), visitor(LYON), SourcePolicy(ip=ip)))
        assert (found["ip"], found["city"]) == (wanted, "Lyon")


@pytest.mark.parametrize("sign", [{"anonymous": True}, {"opted_out": True}])
def test_who_wants_to_be_anonymous_leaves_a_country_and_no_more(privacy, sign):
    found = privacy.enrich(
        one(b'{"ip":"192.0.2.77"}'), visitor(LYON, **sign), SourcePolicy(ip="full")
    )
    assert stored(found) == {"country": "GB"}
    assert found.candidates.columns["context"] == [b"{}"]
    assert stored(privacy.enrich(one(), visitor(LYON, **sign), SourcePolicy())) == {"country": "FR"}


def test_a_project_may_pass_over_dnt_but_not_over_what_the_app_asks_for(privacy):
    policy = SourcePolicy(ip="full", respect_dnt=False)
    assert stored(privacy.enrich(one(), visitor(opted_out=True), policy))["ip"] == LONDON
    assert "ip" not in stored(privacy.enrich(one(), visitor(anonymous=True), policy))


@pytest.mark.parametrize(
    ("headers", "anonymous", "opted_out"),
    [
        ({}, False, False),
        ({"DNT": "1"}, False, True),
        ({"DNT": "0"}, False, False),
        ({"Sec-GPC": "1"}, False, True),
        ({"SP-Anonymous": "*"}, True, False),
    ],
)
def test_signals(headers, anonymous, opted_out):
    found = sender(environ_of(headers))
    assert (found.anonymous, found.opted_out) == (anonymous, opted_out)


@pytest.mark.parametrize(
    ("headers", "is_device"),
    [
        ({"User-Agent": FIREFOX}, True),
        ({"User-Agent": "posthog-android/3.4"}, True),
        ({"User-Agent": "analytics-ios/4.1.8"}, True),
        ({"User-Agent": "App/3 CFNetwork/1494 Darwin/23.4"}, True),
        ({"User-Agent": "odd", "Origin": "https://shop.example"}, True),
        ({"User-Agent": "analytics-python/2.3"}, False),
        ({"User-Agent": "axios/1.6"}, False),
        ({"User-Agent": "okhttp/4.12"}, False),
        ({}, False),
    ],
)
def test_a_server_is_no_visitor(privacy, headers, is_device):
    found = sender(environ_of(headers))
    assert found.is_device == is_device
    added = stored(privacy.enrich(one(), found, SourcePolicy(ip="full")))
    assert ("city" in added) == ("ip" in added) == is_device


def test_the_address_that_a_server_sends_for_its_visitor_is_the_visitors(privacy):
    contexts = [
        b'{"ip":"2001:db8:1234::1","locale":"fr"}',
        b'{"locale":"ip"}',
        b'{"ip":"nonsense"}',
    ]
    made = [Candidate(type="track", name="a", user_id="u", context=c) for c in contexts]
    server = visitor(LONDON, user_agent="analytics-python/2.3", is_device=False)
    found = privacy.enrich(Candidates.of(made, contexts), server, SourcePolicy(ip="truncated"))
    assert found.columns == {}
    assert found.candidates.columns["country"] == ["FR", None, None]
    assert found.candidates.columns["ip"] == ["2001:db8:1234::", None, None]
    assert list(map(json.loads, found.candidates.columns["context"])) == [
        {"locale": "fr", "ip": "2001:db8:1234::"},
        {"locale": "ip"},
        {},
    ]
    none = privacy.enrich(Candidates.of(made, contexts), server, SourcePolicy())
    assert "2001" not in repr(none.candidates.columns)


def test_one_address_of_an_event_is_not_mixed_with_that_of_the_request(privacy):
    made = [one(c).columns["context"][0] for c in (b'{"ip":"198.51.100.1"}', b"{}")]
    both = Candidates({"type": ["track"] * 2, "context": made}, 2, lambda: made)
    found = privacy.enrich(both, visitor(), SourcePolicy())
    assert found.candidates.columns["city"] == [None, "London"]
    assert found.columns == {"user_agent": FIREFOX}


def test_what_the_event_says_itself_goes_before(privacy):
    found = privacy.enrich(one(b'{"ip":"192.0.2.77"}', country="DE"), visitor(), SourcePolicy())
    assert stored(found)["country"] == "DE"


@pytest.mark.parametrize("context", [b'{"ip":', b'{"ip":{"a":1}}', b'["ip"]', b'{"x":{"ip":"1"}}'])
def test_a_context_of_another_shape_stops_nothing(privacy, context):
    privacy.enrich(one(context), visitor(), SourcePolicy())


# -- Places.


def test_without_a_database_or_a_place_nothing_is_said(database):
    assert stored(Privacy(None).enrich(one(), visitor(), SourcePolicy())) == {"user_agent": FIREFOX}
    assert Geo(database, lambda: 0.0).locate(NOBODY) == NOWHERE
    assert Geo(database, lambda: 0.0).locate("no address") == NOWHERE


def test_it_says_what_the_reader_of_the_makers_says(database):
    with geoip2.database.Reader(database) as reader:
        wanted = reader.city(LYON)
    found = Geo(database, lambda: 0.0).locate(LYON)
    assert found == Place(
        wanted.country.iso_code, wanted.subdivisions.most_specific.name, wanted.city.name
    )
    assert found == Place("FR", "Rhône", "Lyon")


def test_a_country_database_gives_the_country(tmp_path):
    path = write(tmp_path / "c.mmdb", {"country": {"iso_code": "GB"}}, "GeoLite2-Country")
    assert Geo(path, lambda: 0.0).locate(LONDON) == Place("GB")


def test_a_newer_file_is_taken_up_and_a_broken_one_is_not(tmp_path, caplog):
    now = 0.0
    path = write(tmp_path / "city.mmdb", place("GB", "England", "London"))
    geo = Geo(path, lambda: now)
    assert geo.locate(LONDON).city == "London"
    write(path, place("GB", "Wales", "Cardiff"))
    assert geo.locate(LONDON).city == "London"
    now = 61.0
    assert geo.locate(LONDON).city == "Cardiff"
    path.write_bytes(b"half a download")
    now = 122.0
    assert geo.locate(LONDON).city == "Cardiff"
    assert "the old serves on" in caplog.text
    path.unlink()
    now = 183.0
    assert geo.locate(LONDON).city == "Cardiff"


def test_a_file_that_is_none_ends_the_start_with_its_name(tmp_path):
    (tmp_path / "bad.mmdb").write_bytes(b"x" * 100)
    asn = write(tmp_path / "asn.mmdb", {"autonomous_system_number": 1}, "GeoLite2-ASN")
    for path in (tmp_path / "bad.mmdb", tmp_path / "gone.mmdb", asn):
        with pytest.raises(SettingError) as caught:
            Geo(path, lambda: 0.0)
        assert f"HEADWATER_GEOIP_DATABASE={str(path)!r}" in str(caught.value)


# -- Bots.


@pytest.mark.parametrize(
    ("bots", "flags", "is_dropped"),
    [("keep", 0, False), ("flag", Flag.BOT, False), ("drop", Flag.BOT, True)],
)
def test_bots(privacy, bots, flags, is_dropped):
    found = privacy.enrich(one(), visitor(user_agent=GOOGLEBOT), SourcePolicy(bots=bots))
    assert (found.flags, found.is_dropped) == (flags, is_dropped)
    person = privacy.enrich(one(), visitor(), SourcePolicy(bots=bots))
    assert (person.flags, person.is_dropped) == (0, False)


def test_every_example_of_the_list_is_found_but_what_apps_send_with():
    assert len(CRAWLER_USER_AGENTS_DATA) > 1_000
    missed = [
        agent
        for known in CRAWLER_USER_AGENTS_DATA
        if "http-library" not in known["tags"]
        for agent in known.get("instances", ())
        if not is_bot(agent[:512])
    ]
    assert missed == []


@pytest.mark.parametrize(
    "agent",
    [
        FIREFOX,
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
        "Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
        "Mozilla/5.0 (Linux; Android 10; CUBOT X30) AppleWebKit/537.36 Chrome/96.0 Mobile Safari",
        "Dalvik/2.1.0 (Linux; U; Android 13; Pixel 7 Build/TQ3A)",
        *("analytics-python/2.3", "okhttp/4.12.0", "python-requests/2.32", "node-fetch/1.0"),
        *("analytics-ios/4.1.8", "snowplow-python", "posthog-android/3.4", "axios/1.6", ""),
    ],
)
def test_people_and_senders_are_none(agent):
    assert not is_bot(agent)


# -- Dead letters.


def test_headers_of_a_dead_letter_name_nobody():
    given = {
        "Content-Type": "application/json",
        "User-Agent": FIREFOX,
        "Authorization": "Basic secret",
        "Cookie": "secret",
        "Cf-Connecting-Ip": LONDON,
        "X-Client-Ip": LONDON,
        "Referer": "https://shop.example/?mail=secret",
        "X-Write-Key": "secret",
        "X-Anything": "secret",
    }
    who = sender(environ_of(given))
    assert json.loads(kept_headers(Headers(given), who, SourcePolicy())) == {
        "Content-Type": "application/json",
        "User-Agent": FIREFOX,
    }
    quiet = sender(environ_of({**given, "Sec-GPC": "1"}))
    assert "Firefox" not in kept_headers(Headers(given), quiet, SourcePolicy())
    long = Headers({"Content-Type": "x", "User-Agent": "a" * 9_000})
    assert json.loads(kept_headers(long, who, SourcePolicy())) == {"Content-Type": "x"}
