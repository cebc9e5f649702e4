"""Nothing of a suppressed person is left, and nothing of anybody else is lost."""

from __future__ import annotations

import json
from hashlib import sha256

from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.candidates import Candidate, Candidates
from transforms.failures import Reason, Rejection
from transforms.suppression import digest, suppress

PEOPLE = {digest("shop", person) for person in ("u1", "42", "ann@example.com", 'q"t')}
ids = st.sampled_from([None, "u1", "u2", "42", "ann@example.com", "bob@example.com", ""])


def refusal(original: bytes) -> Rejection:
    return Rejection(Reason.WRONG_TYPE, "because", original)


def test_the_digest_is_sha256_of_project_and_id():
    assert digest("shop", "u1") == sha256(b"shop\0u1").digest()
    assert digest("sho", "pu1") != digest("shop", "u1")
    assert len(digest("shop", "\ud800")) == 32  # half an emoji as an id stops nobody


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(ids, ids, st.booleans()), max_size=12))
def test_it_is_what_a_loop_over_the_messages_says(messages):
    originals = [json.dumps({"userId": u, "x": [a]}).encode() for u, a, _ in messages]
    made = [
        refusal(original) if refused else Candidate(type="track", user_id=u, anonymous_id=a)
        for (u, a, refused), original in zip(messages, originals, strict=True)
    ]
    found = suppress(Candidates.of(made, originals), "shop", PEOPLE)
    names = {"u1", "42", "ann@example.com"}
    gone = {at for at, (u, a, _) in enumerate(messages) if u in names or a in names}
    assert found.suppressed == gone
    assert found.messages == len(messages)
    kept = {at for at, (_, _, refused) in enumerate(messages) if not refused} - gone
    assert set(found.places) == (kept if found.count else set())
    assert found.refused.keys() == {at for at, (_, _, r) in enumerate(messages) if r} - gone
    assert found.columns["user_id"] == [messages[at][0] for at in found.places]


def gone(original: bytes) -> bool:
    found = suppress(Candidates.of([refusal(original)], [original]), "shop", PEOPLE)
    return bool(found.suppressed)


def test_a_refused_original_is_searched_in_any_shape():
    for original in (
        b'{"event": 5, "userId": "u1"}',
        b'{"distinct_id":"u1","properties":{"$set":1}}',
        b'{"data":[{"uid":"u1"}]}',
        b'{"userId": 42}',
        b'{"userId":"\\u0075\\u0031"}',
        b'{"userId":"q\\"t"}',
        b'["ann@example.com"]',
        # Broken JSON: cut off, a quote too many before the id, bytes that are no UTF-8.
        b'{"userId":"u1","properties":{"a":',
        b'{"a":"x"y","userId":"u1"}',
        b'{"a":"\xff\xfe","userId":"u1"}',
    ):
        assert gone(original), original


def test_what_only_looks_like_the_id_is_kept():
    for original in (
        b'{"userId":"u10"}',
        b'{"userId":"U1"}',
        b'{"userId":420}',
        b'{"text":"about u1 and 43"}',
        b"",
        b'"' * 1_001,
    ):
        assert not gone(original), original


def test_nothing_to_find_leaves_the_candidates_as_they_are():
    given_ = Candidates.of([Candidate(type="track", user_id="u2")], [b"{}"])
    assert suppress(given_, "shop", PEOPLE) is given_
    assert suppress(given_, "blog", PEOPLE) is given_
    assert suppress(Candidates({}, 3, lambda: [b""] * 3), "shop", PEOPLE).count == 3
