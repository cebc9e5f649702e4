"""tracker.js in Chromium, on a page of another origin: what it sees, and what it may not."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.journeys.site import (
    Visitor,
    answers,
    context_of,
    properties_of,
    queued,
    stored,
)
from tests.system import wait_for

pytestmark = [pytest.mark.journey, pytest.mark.browser]


def test_views_of_a_page_and_of_a_single_page_app(visitor: Visitor) -> None:
    page = visitor.visit("/spa/start?utm_source=news&utm_campaign=may&x=1")
    page.evaluate("history.pushState({}, '', '/spa/cart'); document.title = 'Cart'")
    page.wait_for_timeout(50)
    page.evaluate("history.replaceState({}, '', '/spa/pay?step=1')")
    page.wait_for_timeout(50)
    page.evaluate("history.replaceState({scroll: 7}, '', '/spa/pay?step=1')")  # no other address
    page.evaluate("location.hash = 'terms'")  # nor is this one, without data-hash
    page.wait_for_timeout(50)
    page.go_back()  # from #terms to the page itself
    page.go_back()  # to the start
    page.wait_for_timeout(50)
    views = visitor.wait_until_arrived("spa", {"page": 4})
    assert [(v["page_path"], v["page_title"]) for v in views] == [
        ("/spa/start", "/spa/start"),
        ("/spa/cart", "Cart"),
        ("/spa/pay", "Cart"),
        ("/spa/start", "Cart"),
    ]
    start = f"{visitor.origin}/spa/start?utm_source=news&utm_campaign=may&x=1"
    assert [v["referrer"] for v in views] == [
        None,
        start,
        f"{visitor.origin}/spa/cart",
        f"{visitor.origin}/spa/pay?step=1",
    ]
    assert [v["campaign_name"] for v in views] == ["may", None, None, "may"]
    first = views[0]
    assert (first["page_url"], first["campaign_source"]) == (start, "news")
    assert properties_of(first)["search"] == "?utm_source=news&utm_campaign=may&x=1"
    assert (first["locale"], first["time_zone"]) == ("en-GB", "Europe/London")
    facts = visitor.system.get(f"{visitor.system.collector}/tracker.json")
    assert (first["library_name"], first["library_version"]) == ("headwater.js", facts["version"])
    assert first["user_agent"] == page.evaluate("navigator.userAgent")
    assert context_of(first)["screen"] == {"width": 1280, "height": 720}
    assert len({v["anonymous_id"] for v in views}) == 1
    assert len({context_of(v)["sessionId"] for v in views}) == 1
    assert all(v["sent_time"] >= v["original_time"] for v in views)


def test_hash_routes_are_views_where_the_page_says_so(visitor: Visitor) -> None:
    page = visitor.visit("/hash/#/one")
    page.evaluate("location.hash = '/two'")
    page.wait_for_timeout(50)
    views = visitor.wait_until_arrived("hash", {"page": 2})
    assert [v["page_url"].partition("#")[2] for v in views] == ["/one", "/two"]


def test_calls(visitor: Visitor) -> None:
    page = visitor.visit("/calls/")
    page.evaluate(
        """() => {
          headwater.identify(undefined, {city: 'Bath'});  // who this is is not known yet
          headwater.track('Viewed', {sku: 'S1', revenue: 19.99, currency: 'GBP'});
          headwater.identify('user 7', {plan: 'pro'});
          headwater.group('team 3', {seats: 5});
          headwater.identify(undefined, {city: 'York'});  // of the one who is
          headwater.alias('user 8');
          headwater.page('Named', {shelf: 2});
          const loop = {}; loop.self = loop;
          headwater.track('Cannot Be Written', loop);
          headwater.reset();
          return headwater.track('After Reset');
        }"""
    )
    before, *rest = visitor.wait_until_arrived(
        "calls",
        {"page": 1, "Viewed": 1, "identify": 3, "group": 1, "alias": 1, "Named": 1,
         "After Reset": 1},
    )  # fmt: skip
    nobody, viewed, identify, group, more, _, named, after = rest
    assert [row["type"] for row in rest] == [
        *("identify", "track", "identify", "group", "identify", "alias", "page", "track")
    ]
    assert [row["user_id"] for row in (before, *rest)] == [
        *(None, None, None, "user 7", "user 7", "user 7", "user 8", "user 7", None)
    ]
    assert [properties_of(row) for row in (nobody, more)] == [{"city": "Bath"}, {"city": "York"}]
    assert (viewed["revenue_minor"], viewed["currency"]) == (1999, "GBP")
    assert properties_of(identify) == {"plan": "pro"}
    assert properties_of(group) == {"groupId": "team 3", "seats": 5}
    assert properties_of(named)["shelf"] == 2
    assert properties_of(named)["path"] == "/calls/"
    ids = [row["anonymous_id"] for row in (before, viewed, identify, group, named)]
    assert len(set(ids)) == 1
    assert after["anonymous_id"] != ids[0]
    assert context_of(after)["sessionId"] != context_of(viewed)["sessionId"]


def test_errors_ten_a_page(visitor: Visitor) -> None:
    page = visitor.visit("/errors/")
    page.evaluate(
        """() => {
          setTimeout(function late() { null.missing() });
          setTimeout(() => { throw 'only text' });
          Promise.reject(new RangeError('too far'));
        }"""
    )
    page.wait_for_timeout(100)
    page.evaluate(
        "() => { for (let n = 0; n < 20; n++) setTimeout(() => { throw Error('loop') }) }"
    )
    errors = [
        properties_of(row)
        for row in visitor.wait_until_arrived("errors", {"page": 1, "Error": 10})
        if row["name"] == "Error"
    ]
    by_message = {error["message"]: error for error in errors}
    missing = by_message["Cannot read properties of null (reading 'missing')"]
    assert missing["stack"].startswith("TypeError: Cannot read properties of null")
    assert "late" in missing["stack"]
    assert missing["line"] > 0
    assert by_message["too far"]["stack"].startswith("RangeError: too far")
    assert "stack" not in by_message["only text"]
    assert Counter(error["message"] for error in errors)["loop"] == 7


def test_web_vitals_once_when_the_page_is_left(visitor: Visitor) -> None:
    page = visitor.visit("/vitals/")
    page.wait_for_timeout(200)
    page.evaluate(
        """() => document.querySelector('button').onclick = () => {
          const until = performance.now() + 120;
          while (performance.now() < until);
        }"""
    )
    page.locator("button").click()
    page.wait_for_timeout(600)  # a shift within half a second of a click would not count
    page.evaluate(
        """() => {
          const added = document.createElement('div');
          added.style.height = '200px';
          document.body.prepend(added);
        }"""
    )
    page.wait_for_timeout(200)
    seen = page.evaluate(
        """async () => {
          const all = type => new Promise(done => {
            const observer = new PerformanceObserver(list => done(list.getEntries()));
            observer.observe({type, buffered: true});
            setTimeout(() => done([]), 300);
          });
          const shifts = await all('layout-shift'), paints = await all('largest-contentful-paint');
          const clicks = (await all('event')).filter(entry => entry.interactionId);
          return {
            INP: Math.max(...clicks.map(entry => entry.duration)),
            CLS: shifts.reduce((sum, shift) => sum + shift.value, 0),
            LCP: paints[paints.length - 1].startTime,
            FCP: performance.getEntriesByName('first-contentful-paint')[0].startTime,
            TTFB: performance.getEntriesByType('navigation')[0].responseStart,
          };
        }"""
    )
    for _ in range(2):  # out of sight and back, as the browser says it
        page.evaluate("document.dispatchEvent(new Event('visibilitychange', {bubbles: true}))")
    visitor.wait_until_arrived("vitals", {"page": 1, "Web Vitals": 1}, seconds=5)
    wait_for(lambda: queued(page) == 0, seconds=5, what="the beacon's events, confirmed")
    assert Counter(row["name"] for row in visitor.arrived("vitals")) == {
        None: 1,
        "Web Vitals": 2,
    }
    page.goto(f"{visitor.origin}/other/")
    page.wait_for_timeout(1200)
    rows = visitor.wait_until_arrived("vitals", {"page": 1, "Web Vitals": 1})
    vitals = properties_of(rows[-1])
    assert seen["CLS"] > 0.01
    for name, value in seen.items():
        assert vitals[name] == pytest.approx(value, abs=0.001), name
    assert 120 <= vitals["INP"] < 1000
    assert rows[-1]["page_path"] == "/vitals/"


def test_nothing_is_stored_or_sent_before_consent(visitor: Visitor) -> None:
    page = visitor.visit("/pending/?utm_source=ad")
    seen = answers(page)
    page.evaluate("headwater.track('Held'); headwater.identify('user 9')")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange', {bubbles: true}))")
    page.wait_for_timeout(1500)
    assert page.evaluate("localStorage.length") == 0
    assert visitor.context.cookies() == []
    assert seen == []
    assert visitor.arrived("pending") == []
    page.evaluate("headwater.consent('granted')")
    rows = visitor.wait_until_arrived(
        "pending", {"page": 1, "Held": 1, "identify": 1, "Web Vitals": 1}
    )
    assert rows[0]["campaign_source"] == "ad"
    assert len({row["anonymous_id"] for row in rows}) == 1
    page.goto(f"{visitor.origin}/pending/next")  # the answer is remembered
    later = visitor.wait_until_arrived(
        "pending", {"page": 2, "Held": 1, "identify": 1, "Web Vitals": 1}
    )
    assert {row["anonymous_id"] for row in later} == {rows[0]["anonymous_id"]}
    assert later[-1]["user_id"] == "user 9"
    page.wait_for_function("window.headwater && headwater.version")
    page.evaluate("headwater.consent('pending'); headwater.track('Held Again')")
    assert {name for name in stored(page) if name[0] == "q"} == set()


def test_denied_leaves_nothing_behind(visitor: Visitor) -> None:
    page = visitor.visit("/denied/")
    other = visitor.visit("/denied/other")
    visitor.wait_until_arrived("denied", {"page": 2})
    visitor.context.set_offline(True)
    page.evaluate("headwater.identify('user 1'); headwater.track('Never Sent')")
    assert queued(page) == 2
    page.evaluate("headwater.consent('denied'); headwater.track('Never Made')")
    page.evaluate("headwater.identify('user 2')")
    other.evaluate("headwater.track('Nor Here')")  # another tab, told by the first
    visitor.context.set_offline(False)
    page.wait_for_timeout(1500)
    assert stored(page) == {"c": "denied"}
    page.goto(f"{visitor.origin}/denied/next")  # remembered, although the page asks for nothing
    page.wait_for_timeout(1500)
    assert stored(page) == {"c": "denied"}
    page.evaluate("headwater.consent('granted'); headwater.track('Back')")
    rows = visitor.wait_until_arrived("denied", {"page": 2, "Back": 1})
    assert rows[-1]["anonymous_id"] != rows[0]["anonymous_id"]
    assert rows[-1]["user_id"] is None


def test_global_privacy_control_is_respected_where_the_page_says_so(visitor: Visitor) -> None:
    visitor.context.add_init_script(
        "Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', {value: true})"
    )
    page = visitor.visit("/gpc/")
    seen = answers(page)
    page.evaluate("headwater.track('Not Wanted')")
    page.wait_for_timeout(1500)
    assert (seen, stored(page), visitor.arrived("gpc")) == ([], {}, [])


def test_calls_from_before_the_script_was_there(visitor: Visitor) -> None:
    page = visitor.visit("/stub/")
    rows = visitor.wait_until_arrived("stub", {"page": 1, "identify": 1, "Before Loading": 1})
    before = next(row for row in rows if row["name"])
    assert (before["user_id"], properties_of(before)) == ("early bird", {"n": 1})
    assert page.evaluate("typeof headwater.push") == "undefined"
