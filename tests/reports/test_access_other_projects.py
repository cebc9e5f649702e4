"""Whoever is of one project learns nothing of another: no name of it, and no number.

Two systems are the same but for what is in the other project: nothing there in one, much in the
other. Every address that can be read says the same in both to people of the first project.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from werkzeug.routing import Rule

from beam_pipelines.connectors import ledger_table
from beam_pipelines.connectors.warehouse import Warehouse
from catalog.job_runs import Run, RunBook
from collector.bus.spool import SpoolPublisher
from reports.access.needs import needed
from reports.insights.all import __name__ as _kinds  # noqa: F401 - registers the kinds
from reports.insights.kinds import KINDS
from schemas_avro import derive, load
from tests.reports import world
from tests.reports.access_world import Browser, Place, bearer, place
from tests.streams import NOON, event, order
from transforms.statistics import DistinctSketch, Total

DAY = date(2026, 9, 21)
MANY = 4_321  # events of the other project
# When something was read or written is not the same twice, and is no number of a project.
VOLATILE = re.compile(
    r'"(as_of|as_of_us|complete_until|books_as_of|computed_at|created_at|updated_at|elapsed_ms'
    r'|until|seconds)": ?("[^"]*"|[0-9.]+|null)'
    r'|name="csrf" (value|content)="[\w-]*"'
    r"|#b0-(clip|gradient_)[0-9]+|id=\"b0-(clip|gradient_)[0-9]+\""
    r"|(datetime|content)=\"[^\"]*\"|>[0-9: -]{16,19}<|[0-9]+(\.[0-9]+)? (ms|s|min|h|days) ago"
)
SCHEMA = {"type": "record", "name": "Zebra", "fields": [{"name": "zebra", "type": "string"}]}


@dataclass
class Both:
    """The two systems; ids: what the other project has in the full one, by argument of a route."""

    empty: Place
    full: Place
    ids: Mapping[str, list[str]]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    empty, full = (made(tmp_path_factory.mktemp(name)) for name in ("empty", "full"))
    fill_other(full.directory)
    return Both(empty, full, things_of_other(full.browser("root")))


def made(directory: Path) -> Place:
    """With some events of `demo` in every place where events can be."""
    found = place(directory)
    world.archive(directory, [event("a", NOON), order("b", NOON, 1_999), event("x", NOON)], "p-1")
    world.count_day(
        directory, DAY, ("events", "{}", 2, None), ("orders", "{}", 1, None),
        ("events", '{"name":"view"}', 1, None), events_in=2,
    )  # fmt: skip
    letter = {"dead_letter_id": "own", "original": b"own"}
    world.refuse(directory, [letter])
    live = world.Live(directory)
    live.put(world.NOW, "events", Total(2), '{"name":"view"}')
    live.close()
    publish(directory, [event("a", NOON), order("b", NOON, 1_999), event("x", NOON)])
    lines(directory, {"project": "demo", "received": 4, "archived": 3, "dead_lettered": 1})
    RunBook(directory / "runs").look(world.NOW)
    return found


def fill_other(directory: Path) -> None:
    """The same of `other`, and much of it."""
    rows = [
        event(f"z{n}", NOON + n, project="other", revenue_minor=7, currency="GBP", country="ZW",
              user_id=f"zebra {n}", properties='{"zebra": "stripes"}',
              name="Zebra Seen" if n % 2 else "$error")
        for n in range(MANY)
    ]  # fmt: skip
    world.archive(directory, rows, "p-2")
    world.archive(directory, rows[:9], "import-zebra")
    world.count_day(
        directory, DAY, ("events", "{}", MANY, None), ("events", '{"name":"Zebra Seen"}', 9, None),
        events_in=MANY, duplicates=17, project="other",
    )  # fmt: skip
    letters = [
        {"dead_letter_id": f"zebra{n}", "project": "other", "source": "zebra", "message": "zebra"}
        for n in range(55)
    ]
    world.refuse(directory, letters)
    live = world.Live(directory)
    for statistic, value in (
        ("events", Total(MANY)),
        ("people", DistinctSketch.of(pl.Series(["zebra 1", "zebra 2"]))),
    ):
        live.put(world.NOW, statistic, value, '{"name":"Zebra Seen"}', project="other")
    live.close()
    publish(directory, rows)
    lines(
        directory,
        {"project": "demo", "received": 4, "archived": 3, "dead_lettered": 1},
        {"project": "other", "source": "zebra", "received": 9_876, "archived": MANY,
         "in_flight": 5_500, "missing": 1, "problems": "1 missing in events zebra:1"},
    )  # fmt: skip
    ran = {"started_at": NOON, "ended_at": NOON + 7, "exit_code": 1}
    book = RunBook(directory / "runs")
    for job in ("rollup", "import"):
        said = "4,321 rows of other: zebra"
        book.add(Run(job=job, flags=("--project=other",), outcome="ok", message=said, **ran))  # type: ignore[arg-type]


def publish(directory: Path, rows: list[dict[str, Any]]) -> None:
    bus = SpoolPublisher(directory / "spool", segment_bytes=64 << 20)
    none = pl.DataFrame(schema=derive.wire(load("dead_letter")))
    bus.publish(pl.DataFrame(rows, schema=derive.wire(load("event")), orient="row"), none)
    bus.close()


def lines(directory: Path, *found: dict[str, Any]) -> None:
    minute = NOON // 60_000_000 * 60_000_000
    names = ("received", "archived", "duplicates", "dead_lettered", "suppressed", "in_flight",
             "missing", "doubled", "imported")  # fmt: skip
    usual = {"minute": minute, "source": "web", **dict.fromkeys(names, 0), "problems": None,
             "computed_at": world.NOW - 60_000_000}  # fmt: skip
    rows = [{**usual, **one} for one in found]
    frame = pl.DataFrame(rows, schema=derive.wire(load("ledger")), orient="row")
    ledger_table.replace_lines(Warehouse(f"{directory}/archive"), frame, minute)


def things_of_other(root: Browser) -> dict[str, list[str]]:
    """What people kept in the other project, by the argument of the addresses that name it."""

    def kept(path: str, body: dict[str, Any]) -> str:
        answer = root.post(f"/p/other/api/{path}", body)
        assert answer.status_code in (200, 201, 202), answer.text
        return str(answer.get_json().get("id"))

    zebras = {"sql": "SELECT 'zebra' AS zebra", "name": "zebra"}
    panel = {"title": "zebra", "kind": "trend", "question": {}}
    kept("annotations", {"date": "2026-09-21", "text": "zebra"})
    kept("schemas", {"schema": SCHEMA, "type": "track", "name": "Zebra Seen"})
    rule = {"name": "zebra", "definition": {"rule": {"is": "did", "event": {"name": "Zebra Seen"}}}}
    return {
        "query": [kept("sql/queries", zebras)],
        "job": [kept("sql/jobs", zebras)],
        "board": [kept("boards", {"title": "zebra", "panels": [panel]})],
        "id_": [kept("exports", {"format": "json", **zebras})],
        "cohort": [kept("cohorts", rule)],
    }


def addresses(place: Place, ids: Mapping[str, list[str]], role: str) -> Iterator[str]:
    """All that can be read in `demo` with a role, with what there is, and what the other has."""
    known = {
        "kind": list(KINDS),
        "extension": ["json", "svg"],
        "board": ["overview", *ids["board"]],
        "number": ["0", "1"],
        "name": ["manifest.json"],
    }
    for rule in place.app.url_map.iter_rules():
        readable = "GET" in (rule.methods or ()) and rule.rule.startswith("/p/<project>/")
        if not readable or needed(place.app.view_functions[rule.endpoint]) != role:
            continue
        names = sorted(rule.arguments - {"project"})
        values = [known.get(name) or ids.get(name) or ["1"] for name in names]
        for chosen in itertools.product(*values):
            path = built(rule, dict(zip(names, chosen, strict=True)))
            yield from (path + query for query in QUERIES.get(rule.rule, ("",)))


QUERIES = {
    "/p/<project>/api/daily": ("", "?first=2026-09-01&last=2026-09-30"),
    "/p/<project>/api/dead-letters": ("", "?source=zebra", "?q=zebra", "?page=2"),
    "/p/<project>/api/dead-letters/one": ("?id=own", "?id=zebra1"),
    "/p/<project>/dead-letters/one": ("?id=own", "?id=zebra1"),
    "/p/<project>/dead-letters/original": ("?id=own", "?id=zebra1"),
    "/p/<project>/api/schemas/one": ("?name=Zebra+Seen",),
    "/p/<project>/api/schemas/infer": ("?name=view", "?name=Zebra+Seen"),
    "/p/<project>/api/schemas/diff": ("?name=Zebra+Seen&old=1&new=1",),
    "/p/<project>/api/vocabulary/values": ("?property=country", "?property=properties.zebra"),
}  # fmt: skip


def built(rule: Rule, values: dict[str, str]) -> str:
    given: dict[str, Any] = {**values, "project": "demo"}
    if "number" in given:
        given["number"] = int(given["number"])
    _, path = rule.build(given) or ("", "")
    assert path
    return path


def asked(browser: Browser, path: str) -> tuple[int, str]:
    """Status, and what is the same each time it is asked; of a stream its first events."""
    answer = browser.get(path, buffered=False)
    if answer.content_type.startswith("text/event-stream"):
        text = streamed(answer.response, 1 if path.endswith("/tiles") else 2)
        answer.close()
    else:
        text = answer.get_data(as_text=True)
        assert answer.status_code != 500, f"{path}: {text}"
    return answer.status_code, VOLATILE.sub("…", text)


def streamed(chunks: Any, events: int) -> str:
    text = ""
    for chunk in itertools.islice(chunks, 30):
        text += chunk.decode()
        if len(re.findall(r"^event:", text, re.MULTILINE)) >= events:
            break
    return "".join(sorted(text.splitlines(keepends=True)))


@pytest.mark.parametrize(("who", "role"), [("vic", "viewer"), ("lyn", "analyst"), ("adi", "admin")])
def test_no_address_says_anything_of_another_project(both: Both, who: str, role: str) -> None:
    empty, full = both.empty.browser(who), both.full.browser(who)
    answered, wrong = set(), []
    for path in addresses(both.full, both.ids, role):
        status, text = asked(full, path)
        said_before = asked(empty, path)
        named = re.findall("zebra", text.replace(path, ""), re.IGNORECASE)
        if (status, text) != said_before or (named and "zebra" not in path.lower()):
            wrong.append((path, difference(said_before[1], text)))
        if status == 200:
            answered.add(path.partition("?")[0])
    assert not wrong, "\n".join(map(str, wrong))
    must = {
        "viewer": ("api/ledger", "api/health", "api/live", "api/live/events",
                   "api/vocabulary", "api/daily", "health", ""),
        "analyst": ("api/sql/history", "api/replays", "api/exports", "api/sql/queries",
                    "dead-letters", "api/dead-letters"),
        "admin": ("audit", "people"),
    }  # fmt: skip
    assert {f"/p/demo/{name}" for name in must[role]} <= answered


QUERY = {"sql": "SELECT name, COUNT(*) AS n FROM events WHERE country = 'GB' GROUP BY name"}


def test_what_a_query_would_read_says_nothing_of_another_project(both: Both) -> None:
    path, places = "/p/demo/api/sql/estimate", (both.empty, both.full)
    own = [place.browser("lyn").post(path, QUERY).get_json() for place in places]
    assert own[0] == own[1]
    assert (own[0]["rows"], own[0]["bytes"], own[0]["plan"]) == (None, None, "")
    assert [one["table"] for one in own[0]["tables"]] == ["events"]
    assert "only an admin of everything" in own[0]["note"]
    whole = [place.browser("root").post(path, QUERY).get_json() for place in places]
    assert [found["rows"] for found in whole] == [3, 3 + MANY + 9]
    assert all(found["bytes"] and found["plan"] for found in whole)


def test_a_query_that_is_too_large_is_refused_without_its_size(tmp_path: Path) -> None:
    said = []
    for other in (False, True):
        here = place(tmp_path / str(other), sql_max_bytes=1)
        world.archive(here.directory, [event("a", NOON)], "p-1")
        if other:
            fill_other(here.directory)
        answer = here.browser("lyn").post("/p/demo/api/sql", QUERY)
        assert answer.status_code == 413
        said.append(answer.get_json()["message"])
    assert said[0] == said[1]


def difference(before: str, now: str) -> str:
    """Where two answers part."""
    at = next((n for n, (a, b) in enumerate(zip(before, now, strict=False)) if a != b), -1)
    return f"{before[max(0, at - 60) : at + 80]!r} != {now[max(0, at - 60) : at + 80]!r}"


def test_an_admin_of_everything_sees_all_projects_together(both: Both) -> None:
    """Else the test above could find nothing."""
    for path in ("/p/demo/api/ledger", "/p/demo/api/health", "/p/demo/api/live/events"):
        assert asked(both.empty.browser("root"), path) != asked(both.full.browser("root"), path)
    found = both.full.browser("root").get("/p/demo/api/ledger").get_json()
    assert (found["scope"], found["note"], found["books_as_of"]) == ("all projects", "", None)
    assert (found["accepted"], found["archived"]) == (3 + MANY, 3 + MANY + 9)
    health = both.full.browser("root").get("/p/demo/api/health").get_json()
    assert [run["job"] for run in health["runs"]] == ["import", "rollup"]
    assert health["note"] == ""


@pytest.mark.parametrize("who", ["vic", "lyn", "adi"])
def test_the_ledger_of_a_project_is_its_own(both: Both, who: str) -> None:
    found = both.full.browser(who).get("/p/demo/api/ledger").get_json()
    assert found["scope"] == "project"
    assert "only an admin of everything" in found["note"]
    assert found["books_as_of"]
    # Counted by hand: 3 archived, 2 of them counted, 4 on the bus of which 1 was refused.
    assert {name: found[name] for name in ("accepted", "dead_lettered", "in_flight")} == {
        "accepted": 3, "dead_lettered": 1, "in_flight": 0,
    }  # fmt: skip
    assert {name: found[name] for name in ("archived", "imported", "counted", "uncounted")} == {
        "archived": 3, "imported": 0, "counted": 2, "uncounted": 1,
    }  # fmt: skip
    assert found["balanced"] is False
    own = both.full.browser("eve").get("/p/other/api/ledger").get_json()
    assert (own["accepted"], own["archived"], own["imported"]) == (9_876, MANY + 9, 9)
    assert (own["in_flight"], own["balanced"]) == (5_500, False)


def test_a_token_of_an_admin_is_of_one_project(both: Both) -> None:
    secret = both.full.token("root", "read")
    answer = both.full.nobody().get("/p/demo/api/ledger", headers=bearer(secret))
    assert (answer.get_json()["scope"], answer.get_json()["archived"]) == ("project", 3)


def test_a_project_without_books_knows_not_what_is_under_way(tmp_path: Path) -> None:
    here = place(tmp_path / "new")
    world.archive(here.directory, [event("a", NOON)], "p-1")
    found = here.browser("vic").get("/p/demo/api/ledger").get_json()
    assert [found[name] for name in ("accepted", "dead_lettered", "in_flight")] == [None] * 3
    assert (found["archived"], found["balanced"], found["books_as_of"]) == (1, False, None)
    checks = here.browser("vic").get("/p/demo/api/health").get_json()["checks"]
    archive = next(check for check in checks if check["name"] == "archive")
    assert archive["figures"] == {}
    assert "No books were drawn up" in archive["said"]


def test_where_there_is_one_project_everybody_of_it_sees_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.reports.access_world.ZONES", {"demo": "Europe/London"})
    here = place(tmp_path / "one")
    publish(here.directory, [event("a", NOON), event("b", NOON)])
    found = here.browser("vic").get("/p/demo/api/ledger").get_json()
    assert (found["scope"], found["accepted"], found["in_flight"]) == ("all projects", 2, 2)
    page = here.browser("vic").get("/p/demo/").text
    assert "<small>all projects</small>" in page


def test_the_health_of_a_project_keeps_the_states(both: Both) -> None:
    """What is late or down is so for everybody, and the page says what is hidden."""
    whole = both.full.browser("root").get("/p/demo/api/health").get_json()
    own = both.full.browser("vic").get("/p/demo/api/health").get_json()
    states = [{c["name"]: c["state"] for c in found["checks"]} for found in (whole, own)]
    # All that is archived of `demo` and of `other` is not counted, for as long as the last commit.
    assert states[0] == states[1]
    figures = {check["name"]: check["figures"] for check in own["checks"]}
    assert figures["archive"] == {"in flight": 0, "accepted": 3}
    assert (figures["size"], figures["disk"], figures["exact"]) == (
        {"rows": 3}, {}, {"uncounted": 1},
    )  # fmt: skip
    assert own["runs"] == []
    assert "only an admin of everything" in own["note"]
    assert own["note"] in both.full.browser("vic").get("/p/demo/health").text
    said = json.dumps([check["said"] for check in own["checks"]])
    assert said.count("only an admin of everything sees") == 5
