"""Every page and JSON route: what it answers, and to whom it answers nothing."""

from __future__ import annotations

import json
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl
import pytest
from flask import Flask
from flask.testing import FlaskClient

from reports.app import create_app
from reports.routes import bp
from tests.reports import world
from tests.reports.world import NOW, Live
from tests.streams import NOON, event, order
from transforms.statistics import DistinctSketch, Total

EVIL = "<script>alert(1)</script>\"'&"
PAGES = ["", "daily", "sql", "dead-letters"]
API = ["live", "ledger", "daily"]


@pytest.fixture
def client(tmp_path: Path) -> FlaskClient:
    return world.app(tmp_path).test_client()


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    """An app with a little of everything, some of it hostile."""
    directory = tmp_path_factory.mktemp("full")
    world.archive(directory, [order("o", NOON, 1999), event("evil", NOON, name=EVIL)])
    world.refuse(directory, [{"message": EVIL, "original": EVIL.encode() * 200, "source": "web"}])
    world.count_day(
        directory, date(2026, 9, 21),
        ("events", "{}", 2, None), ("events", json.dumps({"name": EVIL}), 1, None),
        ("active_users", "{}", 0, None), ("sessions", "{}", 1, None), ("orders", "{}", 1, None),
        ("revenue", '{"currency":"GBP"}', 1999, None), ("conversion_rate", "{}", 0, 0),
        events_in=2,
    )  # fmt: skip
    live = Live(directory)
    live.put(NOW, "events", Total(2), json.dumps({"name": EVIL}))
    live.put(NOW - 1, "people", DistinctSketch.of(pl.Series(["u1"])))
    live.close()
    return world.app(directory).test_client()


class Elements(HTMLParser):
    """Tags and visible text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def ask(client: FlaskClient, sql: Any) -> tuple[int, Any]:
    answer = client.post("/p/demo/api/sql", json={"sql": sql})
    return answer.status_code, answer.get_json()


# -- Where there is nothing.


def test_home_leads_to_the_first_project_or_says_how_to_make_one(tmp_path: Path) -> None:
    found = world.app(tmp_path).test_client().get("/")
    assert (found.status_code, found.headers["Location"]) == (302, "/p/demo/")
    alone = create_app(world.settings(tmp_path), dict, lambda: NOW).test_client().get("/")
    assert alone.status_code == 200
    assert "python -m catalog add-project" in alone.text


@pytest.mark.parametrize("page", PAGES)
def test_an_unknown_project_is_404_as_a_page(client: FlaskClient, page: str) -> None:
    found = client.get(f"/p/nope/{page}")
    assert found.status_code == 404
    assert "There is no project" in found.text
    assert "<h1>Not Found</h1>" in found.text


@pytest.mark.parametrize("route", API)
def test_an_unknown_project_is_404_as_json(client: FlaskClient, route: str) -> None:
    found = client.get(f"/p/nope/api/{route}")
    assert found.status_code == 404
    assert "There is no project 'nope'" in found.get_json()["message"]
    assert client.post("/p/nope/api/sql", json={"sql": "SELECT 1"}).status_code == 404


def test_a_hostile_project_name_is_only_text(client: FlaskClient) -> None:
    found = client.get(f"/p/{quote(EVIL.replace('/', ''))}/daily")
    assert found.status_code == 404
    scripts = [attributes for tag, attributes in Elements(found.text).tags if tag == "script"]
    assert [one for one in scripts if not (one.get("src") or "").startswith("/static/")] == []
    assert "<script>alert(1)" in Elements(found.text).text


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("", "No events yet today"),
        ("daily", "No finished numbers yet"),
        ("dead-letters", "Nothing was refused"),
        ("sql", "SELECT name, COUNT(*) AS events"),
    ],
)
def test_an_empty_page_says_what_to_do(client: FlaskClient, page: str, text: str) -> None:
    found = client.get(f"/p/demo/{page}")
    assert found.status_code == 200
    assert text in found.text


def test_empty_json(client: FlaskClient) -> None:
    assert client.get("/p/demo/api/live").get_json()["events_today"] == 0
    assert client.get("/p/demo/api/ledger").get_json()["balanced"] is True
    assert client.get("/p/demo/api/daily").get_json()["days"] == []
    assert client.get("/health").get_json() == {"alive": True}


@pytest.mark.parametrize("route", ["daily", "api/daily"])
@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("first=yesterday", "first='yesterday' is no day"),
        ("last=2026-02-30", "last='2026-02-30' is no day"),
        ("first=2026-09-22&last=2026-09-21", "lies after the last"),
        ("first=<b>", "is no day"),
    ],
)
def test_a_bad_day_is_400(
    client: FlaskClient, full: FlaskClient, route: str, query: str, text: str
) -> None:
    for asked in (client, full):
        found = asked.get(f"/p/demo/{route}?{query}")
        assert found.status_code == 400
        shown = found.get_json()["message"] if "api" in route else Elements(found.text).text
        assert text in shown


# -- Where there is something.


def test_every_number_says_as_of_when_and_how_far_it_can_be_trusted(full: FlaskClient) -> None:
    live = full.get("/p/demo/api/live").get_json()
    assert (live["status"], live["events_today"]) == ("live, approximate", 2)
    ledger = full.get("/p/demo/api/ledger").get_json()
    assert (ledger["status"], ledger["as_of"]) == ("exact", "2026-09-21T14:00:00+01:00")
    assert (ledger["archived"], ledger["counted"], ledger["uncounted"]) == (2, 2, 0)
    daily = full.get("/p/demo/api/daily?first=2026-09-21&last=2026-09-21").get_json()
    assert (daily["status"], daily["days"][0]["events"]) == ("exact", 2)
    assert all((live["as_of"], daily["as_of"], daily["days"][0]["complete_until"]))
    for page in ("daily", "dead-letters"):
        assert "Exact · as of 20" in Elements(full.get(f"/p/demo/{page}").text).text


def test_the_daily_page(full: FlaskClient) -> None:
    page = Elements(full.get("/p/demo/daily").text)
    for text in ("2026-09-21", "£19.99", "not computable: no active users", "Europe/London"):
        assert text in page.text
    elsewhen = Elements(full.get("/p/demo/daily?first=2020-01-01&last=2020-01-02").text)
    assert "No day between 2020-01-01 and 2020-01-02 has events." in elsewhen.text
    assert "£19.99" not in elsewhen.text


def test_what_is_hostile_is_only_text(full: FlaskClient) -> None:
    for page in PAGES:
        found = Elements(full.get(f"/p/demo/{page}").text)
        scripts = [attributes for tag, attributes in found.tags if tag == "script"]
        assert all(script.get("src", "").startswith("/static/") for script in scripts)
        assert not [a for _, a in found.tags if any(n.startswith("on") or n == "style" for n in a)]
    letters = Elements(full.get("/p/demo/dead-letters").text).text
    assert EVIL in letters
    assert letters.count("alert(1)") < 200  # cut, and that is shown
    assert " …" in letters


def test_other_projects_see_nothing_of_it(full: FlaskClient) -> None:
    assert "No finished numbers yet" in full.get("/p/other/daily").text
    assert "Nothing was refused" in full.get("/p/other/dead-letters").text
    assert full.get("/p/other/api/live").get_json()["events_today"] == 0


def test_sql_answers(full: FlaskClient) -> None:
    status, found = ask(full, "SELECT name, revenue_minor FROM events ORDER BY name")
    assert status == 200
    assert found["rows"] == [[EVIL, None], ["Order Completed", 1999]]
    assert (found["columns"], found["types"]) == (["name", "revenue_minor"], ["VARCHAR", "BIGINT"])
    assert (found["status"], found["truncated"]) == ("exact", False)
    assert found["as_of"].endswith(("+00:00", "+01:00"))
    live = ask(full, "SELECT value FROM live_minutes WHERE statistic = 'people'")[1]
    assert (live["rows"], live["status"]) == ([[1]], "live, approximate")
    assert live["as_of"]
    nothing = ask(full, "SELECT 9007199254740993, 1.50, TIMESTAMP '2026-01-01'")[1]
    assert nothing["rows"] == [["9007199254740993", "1.50", "2026-01-01T00:00:00+00:00"]]
    assert (nothing["status"], nothing["as_of"]) == (None, None)


@pytest.mark.parametrize(
    ("sql", "line", "column"),
    [("SELECT 1\nFROM nowhere", 2, 6), ("SELECT name,\n nme FROM events", 2, 2)],
)
def test_both_kinds_of_sql_error_have_a_place(
    full: FlaskClient, sql: str, line: int, column: int
) -> None:
    status, found = ask(full, sql)
    assert status == 400
    assert (found["line"], found["column"]) == (line, column)
    assert found["message"]


@pytest.mark.parametrize("sql", [None, 7, ["SELECT 1"], "SELECT " + "1" * 100_000])
def test_what_is_no_query_is_400(client: FlaskClient, sql: Any) -> None:
    status, found = ask(client, sql)
    assert status == 400
    assert found["message"] == 'send {"sql": "SELECT …"} as JSON, at most 100,000 characters'


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_form_of_another_site_cannot_ask(client: FlaskClient, content_type: str) -> None:
    body = b'{"sql": "SELECT 1"}'
    found = client.post("/p/demo/api/sql", data=body, content_type=content_type)
    assert found.status_code == 400


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"SELECT 1"', b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_object_is_400(client: FlaskClient, body: bytes) -> None:
    found = client.post("/p/demo/api/sql", data=body, content_type="application/json")
    assert found.status_code == 400


def test_a_huge_body_is_not_read(client: FlaskClient) -> None:
    body = b'{"sql": "' + b" " * (3 << 20)
    found = client.post("/p/demo/api/sql", data=body, content_type="application/json")
    assert found.status_code in {400, 413}


# -- Every answer.


def test_every_answer_forbids_scripts_and_frames_of_others(full: FlaskClient) -> None:
    for path in ("/", "/p/demo/", "/p/nope/", "/p/demo/api/live", "/static/live.js", "/nowhere"):
        with full.get(path) as answer:
            headers = answer.headers
        assert headers["Content-Security-Policy"].startswith("default-src 'none'; ")
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"


def test_a_fault_of_ours_says_so_and_nothing_of_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive/iceberg.db").write_bytes(b"secret" * 1000)
    client = world.app(tmp_path).test_client()
    page, api = client.get("/p/demo/daily"), client.get("/p/demo/api/daily")
    assert (page.status_code, api.status_code) == (500, 500)
    assert "our fault" in page.text
    assert "our fault" in api.get_json()["message"]
    assert "secret" not in page.text
    assert str(tmp_path) not in page.text
    assert "page failed" in caplog.text


def test_a_page_whose_query_finds_no_room_says_how_to_give_it_some(full: FlaskClient) -> None:
    app: Flask = full.application
    directory = Path(app.extensions["reports"].live_path).parent
    tight = world.app(directory, insight_memory_mb=1).test_client()
    found = tight.get("/p/demo/dead-letters")
    assert found.status_code == 503
    assert "HEADWATER_INSIGHT_MEMORY_MB" in found.text


def test_methods() -> None:
    app = Flask("methods", static_folder=None)
    app.register_blueprint(bp)
    writing = {r.rule for r in app.url_map.iter_rules() if "POST" in (r.methods or ())}
    assert writing == set()
