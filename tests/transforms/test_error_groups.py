"""Which errors are the same one: across releases and browsers' noise, and never two that differ."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.test_stacks import CHROME, FIREFOX, JAVA, NODE, PYTHON, SAFARI
from transforms.error_groups import (
    ROWS,
    Problem,
    fingerprint,
    group,
    normalised,
    read,
    spark,
)

MESSAGE = "Cannot read properties of undefined (reading 'price')"


def found(properties: dict[str, Any]) -> Problem:
    problem = read(properties)
    assert problem is not None
    return problem


def tracker(message: str, stack: str, **more: Any) -> Problem:
    return found({"message": message, "stack": stack, **more})


# -- What senders send


def test_what_headwaters_tracker_sends() -> None:
    one = tracker(MESSAGE, CHROME, file="https://shop.example/x.js", line=3)
    assert (one.type, one.message) == ("TypeError", MESSAGE)
    assert one.culprit == "Cart.total in /static/js/main.*.js:2"
    assert one.title == f"TypeError: {MESSAGE}"
    assert one.stack == CHROME


def test_an_error_without_a_stack_has_its_file() -> None:
    one = found({"message": "Script error.", "file": "https://shop.example/a.js?v=3", "line": 7})
    assert (one.type, one.message, one.culprit) == ("", "Script error.", "/a.js:7")


def test_posthog() -> None:
    frames = [
        {"function": "run", "filename": "https://shop.example/b.js", "lineno": 9, "in_app": True},
        {"function": "total", "filename": "https://shop.example/a.js", "lineno": 2, "in_app": True},
    ]
    listed = [
        {"type": "TypeError", "value": MESSAGE, "stacktrace": {"type": "raw", "frames": frames}},
        {"type": "Error", "value": "its cause"},
    ]
    one = found({"$exception_list": listed, "$exception_level": "error"})
    assert (one.type, one.message, one.culprit) == ("TypeError", MESSAGE, "total in /a.js:2")
    older = found(
        {
            "$exception_type": "TypeError",
            "$exception_message": MESSAGE,
            "$exception_stack_trace_raw": json.dumps(frames),
        }
    )
    assert fingerprint(older) == fingerprint(one)
    flat = found({"$exception_types": ["TypeError"], "$exception_values": [MESSAGE]})
    assert (flat.type, flat.message, flat.frames) == ("TypeError", MESSAGE, ())
    own = found({"$exception_list": listed, "$exception_fingerprint": "mine"})
    other = found({"$exception_message": "else", "$exception_fingerprint": "mine"})
    assert fingerprint(own) == fingerprint(other) != fingerprint(one)


def test_sentry_and_error_objects_and_open_telemetry() -> None:
    frames = [{"function": "place", "filename": "shop/orders.py", "lineno": 8, "in_app": True}]
    values = [
        {"type": "KeyError", "value": "its cause"},
        {"type": "OutOfStock", "value": "A-17", "stacktrace": {"frames": frames}},
    ]
    sentry = found({"exception": {"values": values}})
    assert (sentry.type, sentry.message) == ("OutOfStock", "A-17")
    assert sentry.culprit == "place in shop/orders.py:8"
    plain = found({"error": {"name": "TypeError", "message": MESSAGE, "stack": CHROME}})
    assert fingerprint(plain) == fingerprint(tracker(MESSAGE, CHROME))
    otel = found(
        {
            "exception.type": "java.lang.IllegalStateException",
            "exception.message": "cart 4711 is closed",
            "exception.stacktrace": JAVA,
        }
    )
    assert otel.culprit == "com.shop.Cart.add in Cart.java:42"


@pytest.mark.parametrize(
    "properties",
    [{}, {"error": "wrong password"}, {"error": {"code": 5}}, {"exception": []}, {"error": None},
     {"$exception_list": []}, {"$exception_list": ["x"]}, {"exception": {"values": []}}],
)  # fmt: skip
def test_what_says_nothing_of_an_error_is_none(properties: dict[str, Any]) -> None:
    assert read(properties) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["frames", "values", "type", "value", "stacktrace", "function", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)
NAMES = ["$exception_list", "$exception_message", "$exception_stack_trace_raw", "message", "stack",
         "exception", "error", "exception.type", "file", "line",
         "$exception_fingerprint"]  # fmt: skip


@given(st.dictionaries(st.sampled_from(NAMES), JSON, max_size=5))
def test_whatever_was_sent_has_a_fingerprint_or_is_no_error(properties: dict[str, Any]) -> None:
    problem = read(properties)
    if problem is not None:
        assert len(fingerprint(problem)) == 16
        assert problem.title
        assert fingerprint(problem) == fingerprint(found(properties))


# -- The same, and not the same


def moved(stack: str) -> str:
    """The next release: other hash in the file's name, other lines and columns."""
    return (
        stack.replace("3f2a9c1b", "b77e01d4")
        .replace(":48213", ":51999")
        .replace("line 14", "line 20")
        .replace(":42:11", ":61:3")
        .replace("Cart.java:42", "Cart.java:51")
        .replace("$3(", "$4(")
        .replace("0x0000000800c03000", "0x00000008013a1234")
        .replace("Lambda$14", "Lambda$233")
    )


@pytest.mark.parametrize("stack", [CHROME, FIREFOX, SAFARI, NODE, PYTHON, JAVA])
def test_a_release_changes_nothing(stack: str) -> None:
    assert moved(stack) != stack
    assert fingerprint(tracker("", stack)) == fingerprint(tracker("", moved(stack)))


def test_firefox_and_safari_are_the_same_where_message_and_functions_are() -> None:
    assert fingerprint(tracker("x", FIREFOX)) == fingerprint(
        tracker("x", FIREFOX.replace("setup/</<", "setup/<"))
    )


def test_other_callers_far_above_are_the_same_and_others_near_are_not() -> None:
    lines = CHROME.split("\n")
    far = "\n".join([*lines[:4], "    at elsewhere (https://shop.example/other.js:1:1)"])
    near = "\n".join([lines[0], "    at Cart.add (https://shop.example/c.js:1:1)", *lines[1:]])
    assert fingerprint(tracker("", far)) == fingerprint(tracker("", CHROME))
    assert fingerprint(tracker("", near)) != fingerprint(tracker("", CHROME))


def test_the_host_and_the_query_are_no_part_of_it() -> None:
    other = CHROME.replace("https://shop.example/", "https://cdn.example.com/").replace(
        ".js:2", ".js?v=17:2"
    )
    assert fingerprint(tracker("", other)) == fingerprint(tracker("", CHROME))


def test_type_and_words_of_the_message_are() -> None:
    made = [
        Problem("TypeError", "a failed"),
        Problem("RangeError", "a failed"),
        Problem("TypeError", "b failed"),
        Problem("", "TypeError a failed"),
    ]
    assert len({fingerprint(one) for one in made}) == len(made)


@pytest.mark.parametrize(
    ("message", "pattern"),
    [
        ("order 4711 failed after 3.5 s", "order <n> failed after <n> s"),
        ("GET https://api.example/v1/users/17?x=2 was 503", "GET <url> was <n>"),
        ("no user ann.b+x@mail.example.org", "no user <email>"),
        ("id 0f8fad5b-d9cb-469f-a165-70867728950e unknown", "id <uuid> unknown"),
        ("at 2026-11-27T09:30:00.123Z and 2026-11-27", "at <time> and <time>"),
        ("connect 10.0.0.17:5432 refused", "connect <ip>:<n> refused"),
        ("pointer 0xDEADBEEF, commit 3f2a9c1bb2", "pointer <hex>, commit <hex>"),
        ("utf8 and sha256 in es2015", "utf8 and sha256 in es2015"),
        ("reading 'price'\n  of   cart", "reading 'price' of cart"),
    ],
)
def test_what_changes_in_a_message_is_marked(message: str, pattern: str) -> None:
    assert normalised(message) == pattern


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.text(alphabet="abc de", max_size=20))
def test_numbers_never_make_a_group(a: int, b: int, words: str) -> None:
    texts = [Problem("E", f"{words} {n} of") for n in (a, b)]
    assert fingerprint(texts[0]) == fingerprint(texts[1])


# -- Groups against a loop

HOUR = 3_600_000_000
START = 1_790_000_000_000_000 // (24 * HOUR) * 24 * HOUR  # midnight UTC
PROBLEMS = {
    1: Problem("A", "one 1"),
    2: Problem("A", "one 2"),
    3: Problem("B", "two"),
    4: Problem("C", "three"),
}
ROW = st.tuples(
    st.sampled_from([1, 2, 3, 4, 9]),  # 9 is no error
    st.sampled_from(["p1", "p2", "p3", None]),
    st.sampled_from(["1.0", "1.1", None]),
    st.sampled_from(["Chrome 120", "Safari 17", ""]),
    st.integers(1, 5),
    st.integers(0, 72),
)


def rows_of(given: list[tuple[Any, ...]]) -> pl.DataFrame:
    made = [(*row[:5], START + row[5] * HOUR, START + row[5] * HOUR + 60) for row in given]
    return pl.DataFrame(made, schema=dict(ROWS), orient="row")


@given(st.lists(ROW, max_size=40), st.randoms())
def test_groups_are_what_a_loop_finds(given: list[tuple[Any, ...]], rng: random.Random) -> None:
    zone = ZoneInfo("Europe/London")
    by_id: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for row in given:
        if row[0] in PROBLEMS:
            by_id[fingerprint(PROBLEMS[row[0]])].append(row)
    made = {one.id: one for one in group(rows_of(given), PROBLEMS, "Europe/London")}
    assert made.keys() == by_id.keys()
    for id_, rows in by_id.items():
        one = made[id_]
        assert one.events == sum(row[4] for row in rows)
        assert one.people == len({row[1] for row in rows} - {None})
        assert one.first == START + min(row[5] for row in rows) * HOUR
        assert one.last == START + max(row[5] for row in rows) * HOUR + 60
        days: Counter[Any] = Counter()
        versions: Counter[str] = Counter()
        for row in rows:
            at = datetime.fromtimestamp((START + row[5] * HOUR) / 1e6, UTC)
            days[at.astimezone(zone).date()] += row[4]
            versions[row[2] or ""] += row[4]
        assert dict(one.days) == dict(days)
        assert dict(one.versions) == dict(versions)
    shuffled = list(given)
    rng.shuffle(shuffled)
    assert group(rows_of(shuffled), PROBLEMS, "Europe/London") == list(made.values())
    assert [one.events for one in made.values()] == sorted(
        (one.events for one in made.values()), reverse=True
    )


def test_the_example_is_of_the_newest_event() -> None:
    rows = rows_of([(1, "p", None, "", 1, 5), (2, "p", None, "", 1, 6)])
    assert group(rows, PROBLEMS, "UTC")[0].problem == PROBLEMS[2]


def test_a_trend_is_a_bar_for_each_count() -> None:
    assert spark([0, 1, 7, 14]) == "▁▂▅█"
    assert spark([0, 0]) == "▁▁"
    assert spark([]) == ""
