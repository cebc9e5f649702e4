"""Dead letters: listed by what is asked, shown whole, mended and replayed by the real job."""

from __future__ import annotations

import json
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from flask.testing import FlaskClient

from beam_pipelines.connectors.warehouse import Warehouse
from catalog.settings import read
from collector.protocols import native
from reports.health import replays
from reports.health.letters import hex_dump
from reports.health.replays import previewed, replayed
from schemas_avro.tables import EVENTS
from tests.reports import world
from tests.streams import DAY_US, NOON
from tests.system import wait_for
from transforms.judge import Origin, dead_letter_row, judge

EURO = '[[edit]]\nreason = "bad_money"\nset = { currency = "EUR" }\n'
ODD = b"\x00\xff<script>alert(1)</script>\n"


def refused(count: int, *, source: str = "web", at: int = NOON, **fields: Any) -> list[Any]:
    """Sales without a currency, refused as the collector refuses them."""
    events = [
        {"name": "sale", "event_id": f"{source}-{at}-{n}", "user_id": "u1",
         "time": "2024-02-29T11:59:00Z", "revenue": 12.5, **fields}
        for n in range(count)
    ]  # fmt: skip
    candidates = native.events(json.dumps(events).encode(), read({}))
    origin = Origin("demo", source, received_time=at)
    judged = judge([(candidates, origin)])
    return [
        dead_letter_row(one, origin, step="intake", dead_letter_id=f"{source}/{at}:{n}")
        for n, one in sorted(candidates.refusals(judged.refused).items())
    ]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    world.catalogue(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    made = tmp_path_factory.mktemp("letters")
    world.refuse(made, refused(120))
    world.refuse(made, refused(3, source="app", at=NOON - 5 * DAY_US))
    world.refuse(
        made,
        [
            {"dead_letter_id": "odd", "reason": "unreadable", "original": ODD, "source": "app",
             "headers": '{"user-agent": "x"}', "message": "the line is no JSON"},
            {"dead_letter_id": "theirs", "project": "other", "message": "secret"},
        ],
    )  # fmt: skip
    return world.app(made).test_client()


def listed(client: FlaskClient, query: str = "") -> dict[str, Any]:
    answer = client.get(f"/p/demo/api/dead-letters{query}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.get_json()
    return found


def test_every_letter_is_on_one_page(client: FlaskClient) -> None:
    ids = []
    for page in (1, 2, 3):
        found = listed(client, f"?page={page}")
        assert (found["total"], found["pages"]) == (124, 3)
        ids += [letter["dead_letter_id"] for letter in found["letters"]]
    assert len(ids) == len(set(ids)) == 124
    assert "theirs" not in ids
    assert listed(client, "?page=4")["letters"] == []
    times = [letter["received_time"] for letter in listed(client)["letters"]]
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize(
    ("query", "total"),
    [
        ("?reason=unreadable", 1),
        ("?reason=bad_money", 123),
        ("?source=app", 4),
        ("?source=app&reason=bad_money", 3),
        ("?q=SCRIPT", 1),
        ("?q=no+json", 1),
        ("?q=%25", 0),
        ("?state=open", 124),
        ("?state=returned", 0),
        ("?source='; DROP TABLE dead_letters; --", 0),
    ],
)
def test_filters(client: FlaskClient, query: str, total: int) -> None:
    assert listed(client, query)["total"] == total


def test_days_are_those_of_utc(client: FlaskClient) -> None:
    day = str(pl.Series([NOON - 5 * DAY_US]).cast(pl.Datetime("us")).dt.date()[0])
    assert listed(client, f"?from={day}&to={day}")["total"] == 3
    assert listed(client, f"?to={day}")["total"] == 3
    assert listed(client, f"?from={day}")["total"] == 124


@pytest.mark.parametrize(
    "query",
    ["?reason=none", "?state=x", "?page=0", "?page=-1", "?page=x", "?page=99999999999999999999",
     "?from=soon", "?from=2026-02-02&to=2026-02-01", "?to=9999-12-31", "?from=0001-01-01"],
)  # fmt: skip
def test_a_wrong_question_is_refused_with_its_name(client: FlaskClient, query: str) -> None:
    for address in ("/p/demo/api/dead-letters", "/p/demo/dead-letters"):
        answer = client.get(f"{address}{query}")
        assert answer.status_code == 400
    name = query[1:].split("=")[0] if "to=" not in query else "to"
    assert name in client.get(f"/p/demo/api/dead-letters{query}").get_json()["message"]


def test_one_letter_whole(client: FlaskClient) -> None:
    found = client.get("/p/demo/api/dead-letters/one?id=odd").get_json()
    assert (found["bytes"], found["state"], found["reason_now"]) == (len(ODD), "open", "unreadable")
    assert found["text"] == ODD.decode(errors="replace")
    assert found["hex"].startswith("00000000  00 ff 3c 73")
    assert "valid JSON in UTF-8" in found["remedy"]
    assert json.loads(found["headers"]) == {"user-agent": "x"}
    raw = client.get("/p/demo/dead-letters/original?id=odd")
    assert raw.data == ODD
    assert raw.headers["Content-Type"] == "application/octet-stream"
    assert "attachment" in raw.headers["Content-Disposition"]
    page = client.get("/p/demo/dead-letters/one?id=odd")
    assert page.status_code == 200
    assert "<script>alert" not in page.text
    slash = client.get(f"/p/demo/dead-letters/one?id=web/{NOON}:7")
    assert slash.status_code == 200


@pytest.mark.parametrize("address", ["api/dead-letters/one", "dead-letters/one",
                                     "dead-letters/original"])  # fmt: skip
def test_a_letter_of_others_is_not_there(client: FlaskClient, address: str) -> None:
    assert client.get(f"/p/demo/{address}?id=theirs").status_code == 404
    assert client.get(f"/p/other/{address}?id=odd").status_code == 404
    assert client.get(f"/p/other/{address}?id=theirs").status_code == 200
    assert client.get(f"/p/demo/{address}").status_code == 404


def test_hex() -> None:
    dump = hex_dump(bytes(range(40)))
    assert len(dump.split("\n")) == 3
    assert bytes.fromhex("".join(line[10:57] for line in dump.split("\n"))) == bytes(range(40))


# -- Replays, by the real job


def start(client: FlaskClient, **asked: Any) -> str:
    answer = client.post("/p/demo/api/replays", json=asked)
    assert answer.status_code == 202, answer.text
    id_: str = answer.get_json()["id"]
    return id_


def ended(client: FlaskClient, id_: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = client.get(f"/p/demo/api/replays/{id_}").get_json()
        return found if found["state"] != "running" else None

    return wait_for(look, seconds=90, what="the replay") or {}


def events(data: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (
        Warehouse(str(data / "archive")).table(EVENTS).scan().to_arrow().to_pylist()
    )
    return found


def test_preview_fix_and_replay(data: Path) -> None:
    world.refuse(data, refused(7))
    world.refuse(data, [{"dead_letter_id": "odd", "reason": "unreadable", "original": ODD}])
    client = world.app(data).test_client()
    plain = ended(client, start(client, reason="bad_money"))
    assert (plain["state"], plain["is_preview"]) == ("done", True)
    assert plain["counts"] == [{"reason": "bad_money", "letters": 7, "would_pass": 0}]
    preview = ended(client, start(client, edits=EURO))
    assert preview["counts"] == [
        {"reason": "bad_money", "letters": 7, "would_pass": 7},
        {"reason": "unreadable", "letters": 1, "would_pass": 0},
    ]
    assert events(data) == []  # a preview changes nothing
    assert listed(client, "?state=open")["total"] == 8
    first = start(client, edits=EURO, preview=False)
    busy = client.post("/p/demo/api/replays", json={"preview": False})
    done = ended(client, first)
    assert busy.status_code == 409
    assert "another replay is under way" in busy.get_json()["message"]
    assert (done["state"], done["done"], done["total"]) == ("done", 8, 8)
    assert {k: v for k, v in done["result"].items() if k != "run"} == {
        "tried": 8, "returned": 7, "refused": 1, "suppressed": 0,
    }  # fmt: skip
    assert {row["currency"] for row in events(data)} == {"EUR"}
    assert len(events(data)) == 7
    assert listed(client, "?state=returned")["total"] == 7
    assert listed(client, "?state=refused+again")["total"] == 1
    letter = client.get(f"/p/demo/api/dead-letters/one?id=web/{NOON}:3").get_json()
    assert (letter["state"], letter["event_id"]) == ("returned", f"web-{NOON}-3")
    assert first in [one["id"] for one in client.get("/p/demo/api/replays").get_json()["replays"]]
    again = ended(client, start(client, preview=False, reason="bad_money"))
    audit = client.application.extensions["access"].audit.find(project="demo")
    wanted = [(one.action, one.target) for one in audit if one.action == "dead_letters.replay"]
    assert ("dead_letters.replay", "--reason=bad_money") in wanted
    assert ("dead_letters.replay", "all") in wanted
    assert "no open dead letters fit" in again["output"]
    assert "7 of 8 are events now" in client.get("/p/demo/dead-letters").text


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"reason": "none"}, "reason='none'"),
        ({"from": "soon"}, "from='soon'"),
        ({"edits": "[[edit"}, "edits: the edits are not TOML"),
        ({"edits": "[[edit]]\nset = { nothing = 1 }"}, "'nothing' is no field"),
        ({"edits": "x" * 200_000}, "longer than"),
        ({"preview": "no"}, "preview"),
        ({"source": 7}, "source"),
    ],
)
def test_a_replay_that_makes_no_sense_is_not_started(
    data: Path, asked: dict[str, Any], said: str
) -> None:
    answer = world.app(data).test_client().post("/p/demo/api/replays", json=asked)
    assert answer.status_code == 400
    assert said in answer.get_json()["message"]
    assert not (data / "replays" / "demo").exists()


def test_a_replay_of_others_is_not_there(data: Path) -> None:
    client = world.app(data).test_client()
    id_ = start(client)
    assert client.get(f"/p/other/api/replays/{id_}").status_code == 404
    assert client.get("/p/demo/api/replays/..").status_code == 404
    assert client.get("/p/other/api/replays").get_json()["replays"] == []
    assert "no open dead letters fit" in ended(client, id_)["output"]


def test_a_process_that_was_killed_is_a_failure(data: Path) -> None:
    place = data / "replays" / "demo" / "0000000000000001-00"
    place.mkdir(parents=True)
    asked = {"command": [], "flags": [], "is_preview": True, "author": "a",
             "started_at": 1}  # fmt: skip
    (place / "job.json").write_text(json.dumps(asked))
    found = world.app(data).test_client().get(f"/p/demo/api/replays/{place.name}").get_json()
    assert found["state"] == "failed"
    assert "was killed" in found["output"]


def test_old_ones_go_also_those_that_were_killed_and_none_that_lives(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "KEPT", 2)
    asked = {"command": [], "flags": [], "is_preview": True, "author": "a",
             "started_at": 1}  # fmt: skip
    places = [data / "replays" / "demo" / f"{n:016d}-00" for n in range(1, 6)]
    for place in places:
        place.mkdir(parents=True)
        (place / "job.json").write_text(json.dumps(asked))
    (places[0] / "done.json").write_text('{"exit_code": 0}')
    with (places[1] / "alive").open("a") as alive:
        flock(alive, LOCK_EX)
        client = world.app(data).test_client()
        id_ = start(client)
        # The new one and the newest of the old; of the rest what a process holds.
        assert [place for place in places if place.exists()] == [places[1], places[4]]
    ended(client, id_)


def test_what_the_job_prints_is_read() -> None:
    text = (
        "bad_money: 1,234 letters, 1,000 would pass now\n  1,000 events\n"
        "unreadable: 2 letters, 0 would pass now\n"
    )
    assert previewed(text) == [
        {"reason": "bad_money", "letters": 1234, "would_pass": 1000},
        {"reason": "unreadable", "letters": 2, "would_pass": 0},
    ]
    said = (
        "INFO x\n1,008 dead letters tried: 7 are events now (replay-ab), 1,000 were refused "
        "again, 1 of erased people left out\n"
    )
    assert replayed(said) == {
        "run": "replay-ab", "tried": 1008, "returned": 7, "refused": 1000, "suppressed": 1,
    }  # fmt: skip
    assert replayed("no open dead letters fit") is None
