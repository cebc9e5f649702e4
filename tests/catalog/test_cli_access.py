"""`python -m catalog` about people, tokens and the log, as a person types it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.store import Catalog
from catalog.tokens import Tokens
from catalog.users import Users

PHRASE = "correct horse battery staple\n"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("HEADWATER_")}

    def call(*words: str, typed: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "catalog", *words],
            env=environ | {"HEADWATER_DATA_DIR": str(tmp_path)} | more,
            input=typed,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return call


def good(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_people_tokens_and_the_log(run: Run, tmp_path: Path) -> None:
    good(run("add-project", "demo"))
    refused = run("add-user", "ann@example.org", "--password-stdin", typed=PHRASE)
    assert (refused.returncode, refused.stderr) == (
        1,
        "catalog: the first user must be an admin (--admin)\n",
    )
    good(run("add-user", "Ann@example.org", "--admin", "--password-stdin", typed=PHRASE))
    made = good(
        run("add-user", "bob@example.org", "--link", HEADWATER_PUBLIC_URL="https://x.example/")
    )
    assert "within 72 hours, once: https://x.example/set-password#" in made
    assert "set-role bob@example.org PROJECT viewer" in made
    good(run("set-role", "bob@example.org", "demo", "analyst"))
    good(run("set-password", "bob@example.org", "--password-stdin", typed="another long phrase\n"))
    assert good(run("users")).splitlines() == [
        "ann@example.org  ann  admin of everything",
        "bob@example.org  bob  demo: analyst",
    ]
    catalog = Catalog(f"sqlite:///{tmp_path}/catalog.db")
    assert Users(catalog).with_password("bob@example.org", "another long phrase") is not None
    words = ("--name", "ci", "--scope", "read", "--scope", "sql", "--days", "7")
    secret = good(run("add-token", "bob@example.org", "demo", *words)).strip()
    found = Tokens(catalog).find(secret)
    assert found is not None
    assert (found[0].scopes, found[1].email) == (("read", "sql"), "bob@example.org")
    assert "1  bob@example.org  demo  ci  read,sql  until 20" in good(run("tokens"))
    good(run("revoke-token", "1"))
    assert Tokens(catalog).find(secret) is None
    good(run("set-user", "bob@example.org", "--admin", "--disable"))
    assert "admin of everything, disabled, demo: analyst" in good(run("users"))
    good(run("remove-user", "bob@example.org"))
    log = good(run("audit", "--limit", "500"))
    assert [line.split("  ")[3] for line in reversed(log.splitlines())] == [
        *("user.add", "user.add", "role.set", "password.set", "token.make", "token.revoke"),
        *("user.admin", "user.disabled", "user.remove"),
    ]
    for hidden in (secret, PHRASE.strip(), "another long phrase", "set-password#"):
        assert hidden not in log
    assert len(good(run("audit", "--action", "user.", "--actor", "command line")).splitlines()) == 5
    assert good(run("audit", "--project", "demo", "--since", "2100-01-01")) == ""


def test_a_password_nobody_can_type_is_asked_for_elsewhere(run: Run) -> None:
    failed = run("add-user", "ann@example.org", "--admin")
    assert (failed.returncode, "add --password-stdin" in failed.stderr) == (1, True)
    short = run("add-user", "ann@example.org", "--admin", "--password-stdin", typed="short\n")
    assert "12 to 1,024 characters" in short.stderr


def test_errors_are_one_line(run: Run) -> None:
    for words, wanted in [
        (("set-user", "who@example.org", "--disable"), "no user 'who@example.org'"),
        (("set-role", "who@example.org", "demo", "viewer"), "no user"),
        (("password-link", "who@example.org"), "no user"),
        (("revoke-token", "7"), "there is no token 7"),
    ]:
        failed = run(*words)
        assert failed.returncode == 1
        assert failed.stderr.startswith("catalog: ")
        assert wanted in failed.stderr
        assert len(failed.stderr.splitlines()) == 1
