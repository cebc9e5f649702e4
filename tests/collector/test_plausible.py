"""Plausible's events, and the ids that are made for visitors who have none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from collector.visitors import Visitors
from tests.collector.conftest import KEY, NOW
from tests.collector.promoted import promoted

PATH = "/api/event"
DAY = 86_400_000_000
AGENT = "Mozilla/5.0 (X11)"


def send(collector, event: dict[str, Any], **headers: str) -> dict[str, Any]:
    answer = collector.post(PATH, event, Content_Type="text/plain", **headers)
    assert (answer.status_code, answer.text) == (200, "ok")
    found: dict[str, Any] = collector.rows()[-1]
    return found


def test_a_page_view(collector) -> None:
    row = send(
        collector,
        {"n": "pageview", "u": "https://a.example/b?utm_source=mail", "d": "a.example",
         "r": "https://search.example/", "w": 1200},
    )  # fmt: skip
    assert (row["type"], row.get("name")) == ("page", None)
    assert promoted(row) == {
        "page_url": "https://a.example/b?utm_source=mail",
        "page_path": "/b",
        "referrer": "https://search.example/",
        "campaign_source": "mail",
    }
    context = json.loads(row["context"])
    assert (context["site"], context["plausible"]) == ("a.example", {"w": 1200})


@pytest.mark.parametrize("name", ["p", "props", "m", "meta"])
@pytest.mark.parametrize("as_text", [False, True])
def test_properties(collector, name, as_text) -> None:
    given = {"plan": "pro"}
    row = send(collector, {"name": "x", "url": "u", name: json.dumps(given) if as_text else given})
    assert (row["type"], row["name"]) == ("track", "x")
    assert json.loads(row["properties"]) == given


@pytest.mark.parametrize("name", ["$", "revenue"])
def test_money(collector, name) -> None:
    row = send(collector, {"n": "Paid", name: {"amount": "19.99", "currency": "GBP"}})
    assert (row["revenue_minor"], row["currency"]) == (1999, "GBP")


def test_the_site_as_the_key(collector) -> None:
    answer = collector.client.post(PATH, json={"n": "pageview", "d": KEY})
    assert answer.status_code == 200
    (row,) = collector.rows()
    assert KEY not in row["context"]


def test_visitors_are_told_apart(collector) -> None:
    event = {"n": "pageview", "u": "https://a.example/"}
    ids = [
        send(collector, event, User_Agent=agent)["anonymous_id"]
        for agent in (AGENT, "Mozilla/5.0 (iPhone)", AGENT)
    ]
    assert ids[0] == ids[2] != ids[1]


def test_who_asks_not_to_be_told_apart(collector) -> None:
    event = {"n": "pageview", "u": "https://a.example/"}
    ids = [
        send(collector, event, User_Agent=agent, SP_Anonymous="*")["anonymous_id"]
        for agent in (AGENT, "Mozilla/5.0 (iPhone)")
    ]
    assert ids[0] == ids[1]
    assert send(collector, event, User_Agent=AGENT)["anonymous_id"] != ids[0]


class TestVisitors:
    def ids(self, directory: Path, day: int) -> str:
        return Visitors(directory, lambda: NOW + day * DAY).id_of("k", "203.0.113.9", AGENT)

    def test_the_same_in_every_worker_on_one_day(self, tmp_path) -> None:
        assert self.ids(tmp_path, 0) == self.ids(tmp_path, 0)

    def test_another_on_the_next_day_and_the_secret_is_gone(self, tmp_path) -> None:
        first = self.ids(tmp_path, 0)
        assert self.ids(tmp_path, 1) != first
        assert [path.stem for path in tmp_path.iterdir()] == ["2027-01-16"]
        assert self.ids(tmp_path, 0) != first

    def test_nobody_else_can_read_the_secret(self, tmp_path) -> None:
        self.ids(tmp_path, 0)
        (path,) = tmp_path.iterdir()
        assert path.stat().st_mode & 0o777 == 0o600

    def test_sites_know_nothing_of_one_another(self, tmp_path) -> None:
        visitors = Visitors(tmp_path, lambda: NOW)
        assert visitors.id_of("a", "203.0.113.9", AGENT) != visitors.id_of(
            "b", "203.0.113.9", AGENT
        )
