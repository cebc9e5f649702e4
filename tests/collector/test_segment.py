"""Segment messages over HTTP: what of them stands in the blocks."""

from __future__ import annotations

import json
from typing import Any

import pytest

from transforms.flags import Flag

NOW = 1_800_000_000_000_000  # 2027-01-15T08:00:00Z in us, the collector's clock
MINUTE, HOUR, DAY = 60_000_000, 3_600_000_000, 86_400_000_000
TRACK = {"type": "track", "event": "Signed Up", "messageId": "m1", "userId": "u1"}


def one(collector: Any, message: dict[str, Any], path: str = "/v1/batch", **around: Any) -> Any:
    """The one row that the message becomes."""
    body = {"batch": [message], **around} if path == "/v1/batch" else message
    assert collector.post(path, body).json == {"success": True}
    (row,) = collector.rows()
    return row


def refusal(collector: Any, message: dict[str, Any]) -> tuple[str, str]:
    """(reason, message) of the one dead letter that the message becomes."""
    assert collector.post("/v1/batch", {"batch": [message]}).status_code == 200
    assert collector.rows() == []
    (letter,) = collector.dead()
    assert json.loads(letter["original"]) == json.loads(json.dumps(message))
    return letter["reason"], letter["message"]


def test_every_field_has_its_column(collector) -> None:
    row = one(
        collector,
        {
            **TRACK,
            "anonymousId": "a1",
            "originalTimestamp": "2027-01-15T08:59:00+01:00",
            "timestamp": "1999-01-01",
            "properties": {"plan": "pro", "seats": 3},
            "context": {"locale": "en-GB", "custom": {"kept": True}},
            "integrations": {"All": True},
        },
    )
    assert json.loads(row.pop("properties")) == {"plan": "pro", "seats": 3}
    assert json.loads(row.pop("context")) == {"locale": "en-GB", "custom": {"kept": True}}
    row.pop("locale", None)
    assert row == {
        "event_id": "m1",
        "project": "shop",
        "source": "web",
        "type": "track",
        "name": "Signed Up",
        "user_id": "u1",
        "anonymous_id": "a1",
        "event_time": NOW - MINUTE,
        "original_time": NOW - MINUTE,
        "received_time": NOW,
        "flags": 0,
    }


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        *((f"/v1/{name}", name) for name in ("track", "identify", "page", "screen", "group")),
        *(("/v1/t", "track"), ("/v1/i", "identify"), ("/v1/p", "page"), ("/v1/s", "screen")),
        *(("/v1/g", "group"), ("/v1/a", "alias"), ("/v1/alias", "alias")),
    ],
)
def test_the_route_says_the_type(collector, path: str, kind: str) -> None:
    message = {"event": "x", "name": "Home", "userId": "u", "messageId": "m", "type": "nonsense"}
    row = one(collector, message, path)
    assert row["type"] == kind
    assert row.get("name") == ("x" if kind == "track" else "Home")


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/b", "/v1/import"])
def test_a_batch_keeps_its_order(collector, path: str) -> None:
    batch = [{**TRACK, "messageId": f"m{n}"} for n in range(50)]
    assert collector.post(path, {"batch": batch}).status_code == 200
    assert [row["event_id"] for row in collector.rows()] == [f"m{n}" for n in range(50)]


@pytest.mark.parametrize("kind", ["identify", "group"])
def test_traits_are_properties(collector, kind: str) -> None:
    message = {"type": kind, "userId": "u", "traits": {"name": "Ann"}, "properties": {"no": 1}}
    assert json.loads(one(collector, message)["properties"]) == {"name": "Ann"}


def test_the_group_of_a_group_message_is_kept(collector) -> None:
    message = {"type": "group", "userId": "u", "groupId": "g1", "traits": {"size": 3}}
    assert json.loads(one(collector, message)["properties"]) == {"groupId": "g1", "size": 3}


@pytest.mark.parametrize(
    ("ids", "found"),
    [
        ({"previousId": "p"}, "p"),
        ({"previousId": "p", "anonymousId": "a"}, "p"),  # as browsers send it
        ({"anonymousId": "a"}, "a"),
    ],
)
def test_an_alias_is_about_the_previous_id(collector, ids, found: str) -> None:
    row = one(collector, {"type": "alias", "userId": "u", **ids})
    assert (row["user_id"], row["anonymous_id"]) == ("u", found)


def test_the_context_of_the_batch_is_each_messages_own_goes_before(collector) -> None:
    shared = {"library": {"name": "lib"}, "locale": "de-DE"}
    batch = [
        {**TRACK, "messageId": "1", "context": {"locale": "fr-FR"}},
        {**TRACK, "messageId": "2"},
        {**TRACK, "messageId": "3", "context": None},
    ]
    assert collector.post("/v1/batch", {"batch": batch, "context": shared}).status_code == 200
    contexts = [json.loads(row["context"]) for row in collector.rows()]
    assert contexts == [{**shared, "locale": "fr-FR"}, shared, shared]


def test_nulls_stand_anywhere(collector) -> None:
    every = ("anonymousId", "timestamp", "originalTimestamp", "sentAt", "properties", "traits",
             "context", "name", "groupId", "previousId", "integrations")  # fmt: skip
    around = {"sentAt": None, "context": None, "writeKey": None}
    row = one(collector, {**TRACK, **dict.fromkeys(every)}, **around)
    assert (row["event_id"], row["properties"], row["context"]) == ("m1", "{}", "{}")
    assert Flag(row["flags"]) == Flag.NO_TIME


def test_nulls_stand_in_properties_and_context(collector) -> None:
    message = {
        **TRACK,
        "properties": {"revenue": None, "currency": None, "order_id": None},
        "context": {"page": None, "library": {"name": None}, "os": {"version": None}},
    }
    row = one(collector, message)
    assert not {"revenue_minor", "currency", "order_id", "library_name"} & row.keys()


@pytest.mark.parametrize(
    ("number", "text"),
    [(7, "7"), (0, "0"), (-1, "-1"), (2**64, str(2**64)), (10**99, "1" + "0" * 99)],
)
def test_numbers_are_ids(collector, number: int, text: str) -> None:
    row = one(collector, {**TRACK, "userId": number, "messageId": number})
    assert (row["user_id"], row["event_id"]) == (text, text)


@pytest.mark.parametrize(
    "around", [{"sentAt": True}, {"sentAt": {}}, {"context": "x"}, {"context": []}, {"writeKey": 5}]
)
def test_an_odd_member_beside_the_batch_costs_no_event(collector, around) -> None:
    assert one(collector, TRACK, **around)["event_id"] == "m1"


class TestRefused:
    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"type": "charge"}, "unknown_type"),
            ({"type": None}, "unknown_type"),
            ({"event": ""}, "missing_field"),
            ({"event": None}, "missing_field"),
            ({"userId": ""}, "no_person"),
            ({"userId": None}, "no_person"),
            ({"userId": "u" * 101}, "id_too_long"),
            ({"messageId": "ä" * 101}, "id_too_long"),
            ({"messageId": 10**400}, "id_too_long"),
            ({"userId": {"id": 1}}, "wrong_type"),
            ({"userId": True}, "wrong_type"),
            ({"event": 5}, "wrong_type"),
            ({"timestamp": "yesterday"}, "bad_time"),
            ({"timestamp": 10**400}, "bad_time"),
            ({"timestamp": "1970-01-01T00:00:00Z"}, "time_out_of_range"),
            ({"timestamp": 0}, "time_out_of_range"),
        ],
    )
    def test_with_a_reason(self, collector, change, reason: str) -> None:
        assert refusal(collector, {**TRACK, **change})[0] == reason

    def test_a_hundred_characters_are_allowed(self, collector) -> None:
        assert one(collector, {**TRACK, "messageId": "ä" * 100})["event_id"] == "ä" * 100


class TestClock:
    @pytest.mark.parametrize(
        ("original", "sent", "happened", "flags"),
        [
            (None, None, NOW, Flag.NO_TIME),
            (NOW - HOUR, None, NOW - HOUR, Flag(0)),
            (NOW - 14 * DAY, None, NOW - 14 * DAY, Flag(0)),  # a phone that was offline
            (NOW + DAY, None, NOW, Flag.CLAMPED),
            # The device is a day ahead, and the event happened an hour before it was sent.
            (NOW + DAY - HOUR, NOW + DAY, NOW - HOUR, Flag.CLOCK_CORRECTED),
            # The device believes it is 1970: only the difference counts.
            (HOUR, 2 * HOUR, NOW - HOUR, Flag.CLOCK_CORRECTED),
            # The network took half a second: the clock is right.
            (NOW - HOUR, NOW - 500_000, NOW - HOUR, Flag(0)),
            # "Sent before it happened": corrected, and still not after receipt.
            (NOW - HOUR, NOW - 2 * HOUR, NOW, Flag.CLOCK_CORRECTED | Flag.CLAMPED),
        ],
    )
    @pytest.mark.parametrize("where", ["batch", "message"])
    def test_correction(self, collector, original, sent, happened, flags, where) -> None:
        def ms(us: int | None) -> float | None:
            return None if us is None else us / 1000

        message: dict[str, Any] = {**TRACK, "timestamp": ms(original)}
        around = {"sentAt": ms(sent)} if where == "batch" else {}
        if where == "message":
            message["sentAt"] = ms(sent)
        row = one(collector, message, **around)
        assert (row["event_time"], Flag(row["flags"])) == (happened, flags)
        assert (row.get("original_time"), row.get("sent_time")) == (original, sent)

    @pytest.mark.parametrize(
        ("written", "us_before_now"),
        [
            ("2027-01-15T07:59:59.999Z", 1_000),
            ("2027-01-15T07:59:59.999999+00:00", 1),
            ("2027-01-15T13:29:00+05:30", MINUTE),
            ("2027-01-15T07:59:00", MINUTE),  # no offset: UTC
            ("2027-01-15", 8 * HOUR),
            (1_799_999_999_999, 1_000),
            (1_799_999_999_999.5, 500),
        ],
    )
    def test_dates(self, collector, written: Any, us_before_now: int) -> None:
        assert one(collector, {**TRACK, "timestamp": written})["event_time"] == NOW - us_before_now

    def test_an_unreadable_sent_time_corrects_nothing(self, collector) -> None:
        row = one(collector, {**TRACK, "timestamp": (NOW - HOUR) // 1000}, sentAt="soon")
        assert (row["event_time"], row["flags"]) == (NOW - HOUR, 0)


class TestMoney:
    def sold(self, collector: Any, name: str = "Order Completed", **properties: Any) -> Any:
        row = one(collector, {**TRACK, "event": name, "properties": properties})
        return row.get("revenue_minor"), row.get("currency"), row.get("order_id")

    @pytest.mark.parametrize(
        ("revenue", "currency", "minor"),
        [
            (19.99, "GBP", 1999),
            ("19.99", "GBP", 1999),
            (" 19.99 ", "gbp", 1999),
            ("19.9900", "GBP", 1999),
            (5, "EUR", 500),
            (1e2, "EUR", 10_000),
            (-3.5, "EUR", -350),
            (0, "EUR", 0),
            (1999, "JPY", 1999),
            ("1.234", "KWD", 1234),
            ("100000000000000.00", "USD", 10**16),
        ],
    )
    def test_it_is_exact(self, collector, revenue: Any, currency: str, minor: int) -> None:
        found = self.sold(collector, revenue=revenue, currency=currency, order_id=7)
        assert found == (minor, currency.upper(), "7")

    def test_a_number_is_never_a_double(self, collector) -> None:
        """The nearest double to this amount ends in .94."""
        body = b"""{"event":"x","userId":"u",
                    "properties":{"revenue":90071992547409.93,"currency":"USD"}}"""
        assert collector.post("/v1/track", body).status_code == 200
        assert [row["revenue_minor"] for row in collector.rows()] == [9_007_199_254_740_993]

    @pytest.mark.parametrize(
        "properties",
        [
            {"revenue": 5},
            {"revenue": 5, "currency": "XXQ"},
            {"revenue": 5, "currency": 978},
            {"revenue": "5,00", "currency": "EUR"},
            {"revenue": "N/A", "currency": "EUR"},
            {"revenue": {}, "currency": "EUR"},
            {"revenue": True, "currency": "EUR"},
            {"revenue": "1.999", "currency": "EUR"},
            {"revenue": 0.5, "currency": "JPY"},
            {"revenue": "1." + "0" * 40 + "1", "currency": "EUR"},
            {"revenue": "NaN", "currency": "EUR"},
            {"revenue": "sNaN", "currency": "EUR"},
            {"revenue": "-Infinity", "currency": "EUR"},
            {"revenue": "1e999999", "currency": "EUR"},
            {"revenue": "1e-99999999", "currency": "EUR"},
            {"revenue": "100000000000000.01", "currency": "EUR"},
        ],
    )
    def test_what_is_no_exact_amount_is_a_dead_letter(self, collector, properties) -> None:
        assert refusal(collector, {**TRACK, "properties": properties})[0] == "bad_money"

    def test_revenue_counts_and_total_does_not(self, collector) -> None:
        money = {"currency": "EUR", "order_id": "o"}
        assert self.sold(collector, revenue=25, total=29, **money) == (2500, "EUR", "o")

    def test_an_order_with_only_a_total_has_no_revenue(self, collector) -> None:
        assert self.sold(collector, total=29, currency="EUR", order_id="o")[0] is None

    @pytest.mark.parametrize(
        "amounts", [{"total": 10}, {"revenue": 10}, {"revenue": -10}, {"revenue": 10, "total": 12}]
    )
    def test_a_refund_is_negative(self, collector, amounts) -> None:
        found = self.sold(collector, "Order Refunded", currency="EUR", order_id="o", **amounts)
        assert found == (-1000, "EUR", "o")

    @pytest.mark.parametrize("name", ["Checkout Started", "ORDER UPDATED", "Order Cancelled"])
    def test_what_is_not_earned_is_not_counted(self, collector, name: str) -> None:
        found = self.sold(collector, name, revenue=10, currency="EUR", order_id="o")
        assert found == (None, None, None)

    @pytest.mark.parametrize("order_id", [{}, [1], True, None, ""])
    def test_an_order_id_of_another_kind_does_not_cost_the_money(self, collector, order_id) -> None:
        found = self.sold(collector, revenue=10, currency="EUR", order_id=order_id)
        assert found == (1000, "EUR", None)

    def test_only_track_earns(self, collector) -> None:
        message = {"type": "page", "userId": "u", "properties": {"revenue": 1, "currency": "EUR"}}
        assert "revenue_minor" not in one(collector, message)
