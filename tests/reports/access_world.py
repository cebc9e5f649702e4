"""A catalogue with people in it, and browsers of theirs, for the tests of access."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from catalog.store import Catalog
from catalog.users import Users
from reports.access.guard import csrf_of
from reports.access.parts import Access
from reports.app import create_app
from tests.reports import world
from tests.reports.world import NOW, ZONES

PASSWORD = "correct horse battery staple"
COOKIE = "headwater_session"
# Role in `demo` by address; root is admin of everything, eve of the other project only.
PEOPLE = {"vic": "viewer", "lyn": "analyst", "adi": "admin", "nob": None, "eve": None, "root": None}
RANKS = ["nobody", "viewer", "analyst", "admin"]


def email(name: str) -> str:
    return f"{name}@example.org"


@cache
def _peopled() -> bytes:
    """Made once: each password costs a tenth of a second."""
    with tempfile.TemporaryDirectory() as made:
        catalog = world.catalogue(Path(made))
        users = Users(catalog)
        for name in ("root", *(n for n in PEOPLE if n != "root")):
            users.add(email(name), password=PASSWORD, is_admin=name == "root")
        for name, role in PEOPLE.items():
            if role is not None:
                users.set_role(email(name), "demo", role)  # type: ignore[arg-type]
        users.set_role(email("eve"), "other", "admin")
        return Path(made, "catalog.db").read_bytes()


@dataclass
class Clock:
    """Now, in us; tests move it."""

    us: int = NOW

    def __call__(self) -> int:
        return self.us

    def forward(self, seconds: float) -> None:
        self.us += int(seconds * 1e6)


@dataclass
class Place:
    """An app with people, whose clock stands still."""

    directory: Path
    app: Flask
    clock: Clock = field(default_factory=Clock)

    @property
    def access(self) -> Access:
        found: Access = self.app.extensions["access"]
        return found

    @property
    def catalog(self) -> Catalog:
        return world.catalogue(self.directory)

    def nobody(self) -> FlaskClient:
        return self.app.test_client()

    def browser(self, name: str) -> Browser:
        """One that is signed in as this person."""
        person = self.access.users.get(email(name))
        return Browser(self.app, self.access.sessions.start(person.id, "127.0.0.1", "tests"))

    def token(self, name: str, *scopes: str, project: str = "demo") -> str:
        return self.access.tokens.make(email(name), project, "of a test", scopes, 30)[0]


class Browser:
    """Sends a session's cookie with every request, and its proof with those that change things."""

    def __init__(self, app: Flask, secret: str) -> None:
        self.secret = secret
        self.client = app.test_client()
        self.client.set_cookie("headwater_session", secret)

    def get(self, path: str, **more: Any) -> TestResponse:
        return self.client.get(path, **more)

    def post(self, path: str, json: Any = None) -> TestResponse:
        return self.send("POST", path, json)

    def send(self, method: str, path: str, json: Any = None) -> TestResponse:
        headers = {"x-csrf-token": csrf_of(self.secret), "origin": "http://localhost"}
        return self.client.open(path, method=method, json=json, headers=headers)


def place(directory: Path, **settings: Any) -> Place:
    """A new one in an empty directory."""
    directory.mkdir(exist_ok=True)
    (directory / "catalog.db").write_bytes(_peopled())
    clock = Clock()
    app = create_app(world.settings(directory, **settings), lambda: ZONES, clock)
    app.testing = False
    return Place(directory, app, clock)


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def sign_in(
    client: FlaskClient, who: str, password: str = PASSWORD, then: str = "/", **more: Any
) -> TestResponse:
    form = {"email": email(who), "password": password, "next": then}
    return client.post("/login", data=form, **more)


def cookie(answer: TestResponse, name: str = COOKIE) -> str:
    """What was set, with its attributes."""
    found = [text for text in answer.headers.getlist("Set-Cookie") if text.startswith(f"{name}=")]
    assert len(found) == 1
    return found[0]


def value(answer: TestResponse, name: str = COOKIE) -> str:
    return cookie(answer, name).partition(";")[0].partition("=")[2]
