"""A project with a real catalogue, archive and exports, for the tests of exports."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from catalog.settings import Settings
from catalog.store import Catalog
from reports.app import create_app
from reports.exports.shelf import Shelf
from reports.exports.work import shelf_of, work_on
from tests.reports import world
from tests.streams import DAY_US, NOON, event, order

EVIL = '=HYPERLINK("http://evil")'


def catalogue(directory: Path) -> Catalog:
    made = Catalog(f"sqlite:///{directory}/catalog.db")
    made.migrate()
    if not made.time_zones():
        made.add_project("demo", time_zone="Europe/London")
        made.add_project("other")
    return made


def app(directory: Path, *, apart: bool = False, **values: Any) -> Flask:
    """On the real catalogue and clock, as `serve` makes it.

    apart: exports are made by a process of their own, as in earnest; else by this one, at once
    """
    zones = catalogue(directory).time_zones
    settings = world.settings(directory, **values)
    made = create_app(settings, zones, lambda: time.time_ns() // 1000)

    def work(settings: Settings) -> None:
        kept = shelf_of(settings)
        for job in kept.open_jobs():
            work_on(job, kept, settings, made)

    def at_once(settings: Settings) -> None:
        # In a thread: like a process of its own it has no request.
        worker = threading.Thread(target=work, args=(settings,))
        worker.start()
        worker.join()

    if not apart:
        made.extensions["exports"] = replace(made.extensions["exports"], start=at_once)
    return made


def shelf(directory: Path) -> Shelf:
    return shelf_of(world.settings(directory))


def fill(directory: Path) -> list[dict[str, Any]]:
    """Some events, copies of some, and somebody else's; those that count."""
    catalogue(directory)
    rows = [
        event(f"e{n}", NOON + n * DAY_US // 10, name=EVIL if n == 3 else "view",
              user_id=f"u{n % 4}", properties=json.dumps({"n": n, "price": 1.10}))
        for n in range(40)
    ]  # fmt: skip
    rows += [order("o1", NOON, 1999), order("o2", NOON + DAY_US, 500)]
    copies = [{**row, "received_time": row["received_time"] + 9} for row in rows[:5]]
    world.archive(directory, [*rows, *copies])
    world.archive(directory, [{**rows[7], "received_time": NOON + DAY_US}], producer="p-1")
    world.archive(directory, [event("x", NOON, project="other", user_id="u9")])
    return rows


def ended(client: FlaskClient, id_: str, project: str = "demo") -> dict[str, Any]:
    """How an export stands once it is over."""
    until = time.monotonic() + 150
    while time.monotonic() < until:
        found: dict[str, Any] = client.get(f"/p/{project}/api/exports/{id_}").get_json()
        if found["state"] not in ("queued", "running"):
            return found
        time.sleep(0.1)
    raise AssertionError(f"not over in time: {found}")


def export(client: FlaskClient, **asked: Any) -> dict[str, Any]:
    """Make an export and wait for it."""
    answer = client.post("/p/demo/api/exports", json=asked)
    assert answer.status_code == 202, answer.get_json()
    return ended(client, answer.get_json()["id"])


def download(client: FlaskClient, job: dict[str, Any], at: int = 0) -> bytes:
    answer = client.get(job["files"][at]["url"], buffered=True)
    assert answer.status_code == 200
    data: bytes = answer.data
    return data


def lines_of(data: bytes) -> list[dict[str, Any]]:
    """Rows of a file of JSON lines."""
    return [json.loads(line) for line in data.decode().splitlines()]
