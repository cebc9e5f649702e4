"""Judging as columns against judging one by one, and what each reason says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.candidates import Candidate, Candidates, time_text
from transforms.failures import Reason, Rejection
from transforms.flags import Flag
from transforms.judge import Origin, judge

NOW = 1_795_557_600_000_000  # 2026-11-24 22:00 UTC
ORIGIN = Origin("shop", "web", NOW)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DECIMALS = {"EUR": 2, "JPY": 0, "KWD": 3}

TIMES = st.one_of(
    st.none(),
    st.datetimes(datetime(1960, 1, 1), datetime(2050, 1, 1)).map(lambda t: t.isoformat() + "Z"),
    st.datetimes(datetime(1990, 1, 1), datetime(2030, 1, 1)).map(datetime.isoformat),
    st.integers(-(10**13), 2 * 10**13),
    st.sampled_from(["", "yesterday", "2026-11-24", "20261124T215959Z", "2026-13-01T00:00:00Z"]),
)
IDS = st.one_of(st.none(), st.sampled_from(["", "u1", "ü" * 100, "x" * 101]), st.text(max_size=5))
CANDIDATES = st.builds(
    Candidate,
    type=st.sampled_from(["track", "page", "identify", "", "nonsense"]),
    name=st.sampled_from([None, "", "View"]),
    event_id=IDS,
    user_id=IDS,
    anonymous_id=IDS,
    timestamp=TIMES,
    sent_time=st.one_of(st.none(), st.integers(NOW - 10**10, NOW + 10**10)),
    revenue=st.sampled_from([None, "", "12", "12.34", "-0.5", "1e2", "12.3456", "many", "NaN"]),
    currency=st.sampled_from([None, "eur", "JPY", "KWD", "XXY"]),
    order_id=IDS,
)


def instant(value: Any) -> int | None:
    """us; raises ValueError."""
    if value is None or value == "":
        return None
    if isinstance(value, int):
        return value * 1000
    parsed = datetime.fromisoformat(value)
    parsed = parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    return (parsed - EPOCH) // timedelta(microseconds=1)


def one_by_one(c: Candidate, origin: Origin) -> dict[str, Any] | Reason:
    """The rules in plain words."""
    if c.type not in ("track", "page", "identify", "screen", "group", "alias"):
        return Reason.UNKNOWN_TYPE
    if c.type == "track" and not c.name:
        return Reason.MISSING_FIELD
    if not c.user_id and not c.anonymous_id:
        return Reason.NO_PERSON
    if any(len(i or "") > 100 for i in (c.event_id, c.user_id, c.anonymous_id, c.order_id)):
        return Reason.ID_TOO_LONG
    try:
        original = instant(c.timestamp)
    except ValueError:
        return Reason.BAD_TIME
    sent = origin.sent_time if c.sent_time is None else c.sent_time
    flags, at = Flag(0), original
    if at is None:
        flags, at = Flag.NO_TIME, origin.received_time
    elif sent is not None and abs(origin.received_time - sent) > 1_000_000:
        flags, at = Flag.CLOCK_CORRECTED, at + origin.received_time - sent
    if at > origin.received_time:
        flags, at = flags | Flag.CLAMPED, origin.received_time
    if at < instant("2000-01-01"):
        return Reason.TIME_OUT_OF_RANGE
    minor = None
    if c.revenue not in (None, ""):
        currency = (c.currency or "").upper()
        try:
            exact = Decimal(c.revenue).scaleb(DECIMALS[currency])
        except (KeyError, InvalidOperation):
            return Reason.BAD_MONEY
        if not exact.is_finite() or exact != int(exact):
            return Reason.BAD_MONEY
        minor = (int(exact), currency)
    if not c.event_id:
        flags |= Flag.MADE_ID
    return {"flags": int(flags), "event_time": at, "original_time": original, "money": minor,
            "event_id": c.event_id or None, "user_id": c.user_id or None}  # fmt: skip


@given(st.lists(CANDIDATES, min_size=1, max_size=12), st.sampled_from([None, NOW - 5_000_000]))
def test_columns_judge_as_one_by_one(made: list[Candidate], sent: int | None) -> None:
    origin = Origin("shop", "web", NOW, sent_time=sent, retry_count=2)
    judged = judge([(Candidates.of(made, [b""] * len(made)), origin)])
    expected = [one_by_one(c, origin) for c in made]
    assert {at: why for at, (why, _) in judged.refused.items()} == {
        at: e for at, e in enumerate(expected) if isinstance(e, Reason)
    }
    rows = [
        {
            "flags": r["flags"], "event_time": r["event_time"],
            "original_time": r["original_time"],
            "money": None if r["revenue_minor"] is None else (r["revenue_minor"], r["currency"]),
            "event_id": None if r["flags"] & Flag.MADE_ID else r["event_id"],
            "user_id": r["user_id"],
        }
        for r in judged.rows.iter_rows(named=True)
    ]  # fmt: skip
    assert rows == [e for e in expected if not isinstance(e, Reason)]
    assert all(r["retry_count"] == 2 for r in judged.rows.iter_rows(named=True))


@given(st.lists(CANDIDATES, min_size=2, max_size=8), st.integers(1, 7))
def test_company_changes_nothing(made: list[Candidate], cut: int) -> None:
    for candidate in made:
        candidate.event_id = candidate.event_id or "given"  # made ids are random

    def rows(*groups: list[Candidate]) -> list[dict[str, Any]]:
        parts = [(Candidates.of(g, [b""] * len(g)), ORIGIN) for g in groups if g]
        return judge(parts).rows.to_dicts()

    together = rows(made[:cut], made[cut:])
    assert together == rows(made) == [row for c in made for row in rows([c])]


def test_requests_keep_their_own_origin_and_shared_columns() -> None:
    view = Candidate(type="page", user_id="u", columns={"city": "Paris"})
    plain = Candidate(type="page", user_id="u", timestamp="2026-11-24T21:00:00Z", sent_time=NOW)
    parts = [
        (Candidates.of([view, plain], [b"", b""]),
         Origin("a", "s1", NOW, flags=16, columns={"city": "Rome", "country": "IT"})),
        (Candidates.of([plain], [b""]), Origin("b", "s2", NOW + 1, sent_time=NOW - 9_000_000)),
    ]  # fmt: skip
    rows = judge(parts).rows
    assert rows["project"].to_list() == ["a", "a", "b"]
    assert rows["city"].to_list() == ["Paris", "Rome", None]
    assert rows["country"].to_list() == ["IT", "IT", None]
    assert [flags & 16 for flags in rows["flags"]] == [16, 16, 0]
    assert rows["sent_time"].to_list() == [None, NOW, NOW], "its own time before the request's"


@pytest.mark.parametrize(
    ("candidate", "reason", "words"),
    [
        (Candidate(type="buy"), Reason.UNKNOWN_TYPE, "type 'buy' is none of alias, group"),
        (Candidate(type="track", user_id="u"), Reason.MISSING_FIELD, "the field `event`"),
        (Candidate(type="page"), Reason.NO_PERSON, "neither user id nor anonymous id"),
        (Candidate(type="page", user_id="x" * 101), Reason.ID_TOO_LONG, "user_id 'xxx"),
        (Candidate(type="page", user_id="u", timestamp="soon"), Reason.BAD_TIME, "time 'soon'"),
        (
            Candidate(type="page", user_id="u", timestamp=0),
            Reason.TIME_OUT_OF_RANGE,
            "time '1970-01-01T00:00:00+00:00' lies before 2000",
        ),
        (
            Candidate(type="page", user_id="u", revenue="1.005", currency="gbp"),
            Reason.BAD_MONEY,
            "more than the 2 decimals of GBP",
        ),
        (
            Candidate(type="page", user_id="u", revenue="1"),
            Reason.BAD_MONEY,
            "revenue 1 has no currency",
        ),
        (
            Candidate(type="page", user_id="u", properties=b'{"a":"\xff"}'),
            Reason.UNREADABLE,
            "properties is not text in UTF-8",
        ),
    ],
)
def test_a_refusal_names_value_and_remedy(candidate: Candidate, reason: Reason, words: str) -> None:
    good = Candidate(type="page", user_id="u")
    candidates = Candidates.of([good, candidate, good], [b"1", b"2", b"3"])
    judged = judge([(candidates, ORIGIN)])
    assert judged.rows.height == 2
    found = candidates.refusals(judged.refused)
    assert list(found) == [1]
    assert found[1].reason == reason
    assert words in found[1].message
    assert found[1].original == b"2"


def test_places_in_the_request_survive_what_was_no_candidate() -> None:
    broken = Rejection(Reason.NOT_AN_OBJECT, "no object", b"0")
    made = [broken, Candidate(type="page", user_id="u"), broken, Candidate(type="page")]
    candidates = Candidates.of(made, [b"0", b"1", b"2", b"3"])
    judged = judge([(candidates, ORIGIN)])
    assert candidates.messages == 4
    assert sorted(candidates.refusals(judged.refused)) == [0, 2, 3]
    assert candidates.refusals(judged.refused)[3].original == b"3"


@pytest.mark.parametrize("year", ["+12345", "-0044", "0000"])
def test_years_that_others_cannot_read_are_no_times(year: str) -> None:
    candidate = Candidate(type="page", user_id="u", timestamp=f"{year}-03-15T12:00:00Z")
    judged = judge([(Candidates.of([candidate], [b""]), ORIGIN)])
    assert [why for why, _ in judged.refused.values()] == [Reason.BAD_TIME]


def test_numbers_as_times() -> None:
    assert time_text(1_795_557_600_500) == "2026-11-24T22:00:00.500000+00:00"
    assert time_text(1e300) == "1e+300"
    assert time_text("now") == "now"
    assert time_text(None) is None
