"""Snowplow's tracker protocol: every kind of event, the pixel, and times by three clocks."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.collector.conftest import KEY, NOW
from tests.collector.promoted import promoted
from transforms.flags import Flag

TP2 = "/com.snowplowanalytics.snowplow/tp2"
HOUR = 3_600_000_000


def described(schema: str, data: Any) -> dict[str, Any]:
    return {"schema": f"iglu:{schema}/jsonschema/1-0-0", "data": data}


def unstructured(schema: str, data: Any) -> dict[str, Any]:
    return described("com.snowplowanalytics.snowplow/unstruct_event", described(schema, data))


def packed(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


def send(collector, *events: dict[str, Any], **headers: str) -> list[dict[str, Any]]:
    body = {"schema": "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4",
            "data": events}  # fmt: skip
    assert collector.post(TP2, body, **headers).status_code == 200
    return collector.rows()


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"e": kind, "eid": "e1", "uid": "u1", **fields}


def test_a_page_view(collector) -> None:
    (row,) = send(
        collector,
        event(
            "pv",
            duid="d1",
            sid="s1",
            url="https://shop.example/a?utm_source=mail&utm_campaign=may",
            page="Shoes",
            refr="https://search.example/",
            lang="en-GB",
            tz="Europe/London",
            ua="Mozilla/5.0",
            tv="js-3.1.0",
            res="1920x1080",
            p="web",
            vp="800x600",
            dtm=str(NOW // 1000),
        ),
    )
    assert {name: row[name] for name in ("type", "name", "event_id", "user_id", "anonymous_id",
                                         "session_id", "event_time", "flags")} == {
        "type": "page", "name": "Shoes", "event_id": "e1", "user_id": "u1", "anonymous_id": "d1",
        "session_id": "s1", "event_time": NOW, "flags": 0,
    }  # fmt: skip
    assert promoted(row) == {
        "page_url": "https://shop.example/a?utm_source=mail&utm_campaign=may",
        "page_path": "/a",
        "page_title": "Shoes",
        "referrer": "https://search.example/",
        "campaign_source": "mail",
        "campaign_name": "may",
        "user_agent": "Mozilla/5.0",
        "locale": "en-GB",
        "time_zone": "Europe/London",
        "library_name": "snowplow-js",
        "library_version": "3.1.0",
    }
    context = json.loads(row["context"])
    assert context["snowplow"] == {"p": "web", "vp": "800x600"}
    assert context["screen"] == {"width": 1920, "height": 1080}


def test_a_structured_event(collector) -> None:
    fields = {"se_ca": "shop", "se_ac": "add", "se_la": "shoe", "se_pr": "size", "se_va": "2.5"}
    (row,) = send(collector, event("se", **fields))
    assert (row["type"], row["name"]) == ("track", "add")
    assert json.loads(row["properties"]) == {
        "category": "shop", "action": "add", "label": "shoe", "property": "size", "value": "2.5",
    }  # fmt: skip


def test_a_page_ping(collector) -> None:
    (row,) = send(collector, event("pp", pp_mix="0", pp_may="900"))
    assert (row["type"], row["name"]) == ("track", "Page Ping")
    assert json.loads(row["properties"]) == {"min_x": "0", "max_y": "900"}


@pytest.mark.parametrize("padding", ["", "="])
@pytest.mark.parametrize("field", ["ue_px", "ue_pr"])
def test_a_self_describing_event(collector, padding, field) -> None:
    value = unstructured("com.acme/link_click", {"href": "ü?>~", "n": 1.10})
    written = packed(value).rstrip("=") if field == "ue_px" else json.dumps(value)
    written += padding * (-len(written) % 4) if field == "ue_px" else ""
    (row,) = send(collector, event("ue", **{field: written}))
    assert (row["type"], row["name"]) == ("track", "link_click")
    assert json.loads(row["properties"]) == {"href": "ü?>~", "n": 1.1}
    assert json.loads(row["context"])["snowplow"]["schema"] == (
        "iglu:com.acme/link_click/jsonschema/1-0-0"
    )


def test_a_screen_view_of_a_phone(collector) -> None:
    """Mobile trackers say who and where only in the entities of an event."""
    screen = unstructured("com.snowplowanalytics.mobile/screen_view", {"id": "1", "name": "Home"})
    entities = [
        described("com.snowplowanalytics.snowplow/client_session",
                  {"userId": "phone 1", "sessionId": "s9"}),
        described("com.snowplowanalytics.snowplow/mobile_context",
                  {"osType": "ios", "osVersion": "17.1", "deviceModel": "iPhone15"}),
        described("com.snowplowanalytics.mobile/application", {"version": "2.0"}),
    ]  # fmt: skip
    contexts = described("com.snowplowanalytics.snowplow/contexts", entities)
    (row,) = send(
        collector, {"e": "ue", "eid": "e", "ue_px": packed(screen), "cx": packed(contexts)}
    )
    assert (row["type"], row["name"]) == ("screen", "Home")
    assert (row["anonymous_id"], row["session_id"]) == ("phone 1", "s9")
    assert promoted(row) == {
        "os_name": "ios", "os_version": "17.1", "device_model": "iPhone15", "app_version": "2.0",
    }  # fmt: skip
    assert json.loads(row["context"])["snowplow"]["contexts"] == entities


def test_a_transaction_and_its_items(collector) -> None:
    transaction = event("tr", tr_id="o1", tr_tt="19.99", tr_cu="gbp", tr_tx="3.33")
    item = event("ti", eid="e2", ti_id="o1", ti_sk="s", ti_pr="19.99", ti_qu="1", ti_cu="GBP")
    first, second = send(collector, transaction, item)
    assert (first["name"], first["order_id"]) == ("Transaction", "o1")
    assert (first["revenue_minor"], first["currency"]) == (1999, "GBP")
    assert json.loads(first["properties"])["tax"] == "3.33"
    assert (second["name"], second["order_id"]) == ("Transaction Item", "o1")
    assert "revenue_minor" not in second


def test_a_number_as_it_was_written(collector) -> None:
    """JSON numbers stand where the protocol has text; none goes through a float."""
    body = b'{"data":[{"e":"tr","uid":7,"eid":"e","tr_id":1,"tr_tt":0.29,"tr_cu":"USD"}]}'
    assert collector.post(TP2, body).status_code == 200
    (row,) = collector.rows()
    assert (row["revenue_minor"], row["user_id"], row["order_id"]) == (29, "7", "1")


@pytest.mark.parametrize(
    ("fields", "happened", "flags"),
    [
        ({"dtm": NOW - HOUR}, NOW - HOUR, Flag(0)),
        ({"dtm": NOW + HOUR, "stm": NOW + 2 * HOUR}, NOW - HOUR, Flag.CLOCK_CORRECTED),
        ({"dtm": NOW + HOUR, "ttm": NOW - 5, "stm": NOW + 2 * HOUR}, NOW - 5, Flag(0)),
        ({}, NOW, Flag.NO_TIME),
    ],
)
def test_times(collector, fields, happened, flags) -> None:
    written = {name: str(at // 1000) for name, at in fields.items()}
    (row,) = send(collector, event("pp", **written))
    assert (row["event_time"] // 1000, Flag(row["flags"])) == (happened // 1000, flags)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"e": "xx"}, "unknown_type"),
        ({"e": "se"}, "missing_field"),
        ({"e": "pp", "uid": None}, "no_person"),
        ({"e": "ue", "ue_px": "!!"}, "unreadable"),
        ({"e": "pp", "cx": packed([1])}, "unreadable"),
        ({"e": "pp", "co": '{"a":'}, "unreadable"),
        ({"e": "tr", "tr_tt": "1.00"}, "bad_money"),
        ({"e": "pp", "dtm": "yesterday"}, "bad_time"),
    ],
)
def test_what_is_no_event(collector, fields, reason) -> None:
    bad = {**event("pp"), **fields}
    (row,) = send(collector, bad, event("pp", eid="good"))
    assert row["event_id"] == "good"
    (letter,) = collector.dead()
    assert json.loads(letter["original"]) == bad
    assert letter["reason"] == reason


def test_network_ids_and_addresses(collector) -> None:
    fields = {"uid": None, "duid": None, "tnuid": "n1", "ip": "203.0.113.9"}
    (row,) = send(collector, event("pp", **fields))
    assert row["anonymous_id"] == "n1"
    assert "203.0.113.9" not in row["context"] + row["properties"]
    send(collector, event("pp", **fields), SP_Anonymous="*")
    (letter,) = collector.dead()
    assert letter["reason"] == "no_person"


class TestPixel:
    def get(self, collector, method: str = "GET", **query: str) -> Any:
        return collector.client.open(f"/i?{urlencode(query)}", method=method)

    def test_it_takes_an_event(self, collector) -> None:
        answer = self.get(collector, e="se", se_ac="x", uid="u", eid="1", aid=KEY)
        assert (answer.status_code, len(answer.data)) == (200, 43)
        assert (answer.mimetype, answer.headers["Cache-Control"]) == ("image/gif", "no-store")
        (row,) = collector.rows()
        assert row["name"] == "x"
        assert "app" not in json.loads(row["context"])  # the key names no app

    def test_head(self, collector) -> None:
        answer = self.get(collector, "HEAD", e="pp", uid="u", eid="1", writeKey=KEY, aid="shop app")
        assert (answer.status_code, answer.data) == (200, b"")
        (row,) = collector.rows()
        assert promoted(row) == {"app_name": "shop app"}

    def test_no_key(self, collector) -> None:
        assert self.get(collector, e="pp", uid="u").status_code == 401


def test_what_trackers_ask_first(collector) -> None:
    assert collector.client.get("/sink-health").json["healthy"] is True
    assert "Disallow: /" in collector.client.get("/robots.txt").text
