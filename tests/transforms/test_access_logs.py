"""Access logs: what is written into a line comes out of it, whatever it is."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.access_logs import Visitors, access_log_rows
from transforms.failures import Reason, Rejection

VISITORS = Visitors(b"k" * 16, "full")
ENGLISH = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def one(line: str, visitors: Visitors = VISITORS) -> dict | Rejection:
    (row,) = access_log_rows([line], visitors)
    return row.content


def quoted(text: str) -> str:
    """As Apache writes it: https://httpd.apache.org/docs/2.4/mod/mod_log_config.html#formats."""
    return "".join(
        f"\\{c}" if c in '"\\'
        else c if " " <= c <= "~"
        else "".join(f"\\x{byte:02x}" for byte in c.encode())
        for c in text
    )  # fmt: skip


words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
shown = words.filter(lambda text: text.strip() == text and text != "-")
times = st.datetimes(
    datetime(1970, 1, 2), datetime(2100, 1, 1),
    timezones=st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m))),
).map(lambda at: at.replace(microsecond=0))  # fmt: skip


@given(times, shown, shown, st.integers(100, 599), st.integers(0, 10**12), st.booleans())
def test_a_combined_line_is_read_back(at, referrer, agent, status, size, has_host):
    offset = at.utcoffset() // timedelta(minutes=1)
    zone = f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02d}{abs(offset) % 60:02d}"
    stamp = f"{at.day:02d}/{ENGLISH[at.month - 1]}/{at.year}:{at:%H:%M:%S} {zone}"
    front = "shop.example:443 " if has_host else ""
    line = (
        f'{front}192.0.2.1 - ann [{stamp}] "GET /a?b=%20c HTTP/1.1" {status} {size} '
        f'"{quoted(referrer)}" "{quoted(agent)}"\n'
    )
    row = one(line)
    assert datetime.fromisoformat(row["time"]) == at
    assert (row["status"], row["bytes"]) == (status, size)
    assert (row["referrer"], row["user_agent"]) == (referrer, agent)
    assert (row["user"], row["address"]) == ("ann", "192.0.2.1")
    assert (row["path"], row["query"]) == ("/a", "b=%20c")
    assert row["url"] == ("https://shop.example/a?b=%20c" if has_host else "/a?b=%20c")


def test_the_example_of_apaches_manual():
    line = '127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326'
    row = one(line)
    assert datetime.fromisoformat(row["time"]) == datetime(2000, 10, 10, 20, 55, 36, tzinfo=UTC)
    assert {k: v for k, v in row.items() if k not in ("time", "visitor")} == {
        "user": "frank", "method": "GET", "url": "/apache_pb.gif", "path": "/apache_pb.gif",
        "protocol": "HTTP/1.0", "status": 200, "bytes": 2326, "address": "127.0.0.1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("hello", "not in the common or combined format"),
        ('192.0.2.1 - - [10/Oct/2000:13:55:36 -0700] "-" 408 -', "is no METHOD PATH PROTOCOL"),
        ('192.0.2.1 - - [10/Okt/2000:13:55:36 -0700] "GET / HTTP/1.0" 200 1', "is not DD/Mon"),
        ('192.0.2.1 - - [31/Feb/2000:13:55:36 -0700] "GET / HTTP/1.0" 200 1', "is not DD/Mon"),
        ('192.0.2.1 - - [10/Oct/2000:13:55:36 -0700] "\\x16\\x03\\x01" 400 0', "is no METHOD"),
        ('192.0.2.1 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.0" 20 1', "not in the common"),
        ("192.0.2.1 " + "x" * 70_000, "70,010 characters"),
    ],
)
def test_a_line_that_is_none_is_refused_with_its_text(line, why):
    refused = one(line)
    assert isinstance(refused, Rejection)
    assert refused.reason is Reason.UNREADABLE
    assert why in refused.message
    assert refused.original.decode()[:60] == line[:60]
    hidden = one(line, Visitors(b"k" * 16)).original.decode()
    assert hidden.startswith("- ") == line.startswith("192.0.2.1")
    assert "192.0.2" not in hidden


@given(st.text(max_size=300))
def test_no_line_trips_it(text):
    for row in access_log_rows([text], VISITORS):
        assert isinstance(row.content, dict | Rejection)


def test_a_hostile_line_costs_no_more_than_it_is_long():
    lines = ["a a a [" + '"' * 60_000, "a " * 30_000, '1 - - [x] "' + "\\" * 60_000, "[" * 60_000]
    began = time.perf_counter()
    for line in lines:
        assert isinstance(one(line), Rejection)
    assert time.perf_counter() - began < 2


def test_addresses_that_are_names_are_kept_only_whole():
    line = 'host.example - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.0" 200 1'
    assert one(line)["address"] == "host.example"
    for ip in ("none", "truncated"):
        assert "address" not in one(line, Visitors(b"k" * 16, ip))
