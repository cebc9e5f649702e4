"""Command line and drivers against a server with people: a token's scope says what it may do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from sqlalchemy.dialects import registry

from headwater import dbapi
from headwater.cli import main
from tests.reports import access_world, world
from tests.reports.browsing import serving
from tests.streams import NOON, event

SQL = "SELECT COUNT(*) AS n FROM events"


@dataclass
class Served:
    """A server, and tokens of an analyst of `demo` by scope."""

    address: str
    tokens: dict[str, str]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    place = access_world.place(tmp_path_factory.mktemp("tokens"))
    world.archive(place.directory, [event(f"e{n}", NOON + n) for n in range(7)])
    world.archive(place.directory, [event("x", NOON, project="other")])
    tokens = {scope: place.token("lyn", scope) for scope in ("sql", "export", "read")}
    with serving(place.app) as found:
        yield Served(found, tokens)


def query(served: Served, project: str = "demo", **given: str) -> Result:
    words = ["query", SQL, f"--project={project}", f"--server={served.address}", "--format=csv"]
    more = [f"--token={served.tokens[given['scope']]}"] if "scope" in given else []
    env = {"HEADWATER_TOKEN": served.tokens[given["env"]]} if "env" in given else {}
    return CliRunner().invoke(main, [*words, *more], env=env)


def export(served: Served, out: Path, scope: str) -> Result:
    words = ["export", "--sql", SQL, "--project=demo", "--format=jsonl", "--out", str(out)]
    more = ["--server", served.address, "--token", served.tokens[scope]]
    return CliRunner().invoke(main, [*words, *more])


def engine(served: Served, scope: str, project: str = "demo") -> sa.Engine:
    registry.register("headwater", "headwater.sqlalchemy", "HeadwaterDialect")
    host = served.address.removeprefix("http://")
    return sa.create_engine(f"headwater://:{served.tokens[scope]}@{host}/{project}")


def test_a_query_runs_with_the_scope_sql(served: Served) -> None:
    for found in (query(served, scope="sql"), query(served, env="sql")):
        assert (found.exit_code, found.stdout.split()) == (0, ["n", "7"]), found.output


@pytest.mark.parametrize("scope", ["export", "read"])
def test_a_query_does_not_run_with_another_scope(served: Served, scope: str) -> None:
    found = query(served, scope=scope)
    assert (found.exit_code, found.stdout) == (3, "")
    assert "scope" in found.stderr
    assert "sql" in found.stderr


def test_nobody_and_another_project_are_refused(served: Served) -> None:
    assert query(served).exit_code == 3
    found = query(served, project="other", scope="sql")
    assert (found.exit_code, found.stdout) == (3, "")


def test_an_export_is_made_with_the_scope_export(served: Served, tmp_path: Path) -> None:
    found = export(served, tmp_path / "out", "export")
    assert found.exit_code == 0, found.output
    assert json.loads((tmp_path / "out" / "query.jsonl").read_text()) == {"n": 7}
    again = ["export", "--resume", "--project=demo", "--out", str(tmp_path / "out")]
    more = ["--server", served.address, "--token", served.tokens["export"]]
    assert CliRunner().invoke(main, [*again, *more]).exit_code == 0


@pytest.mark.parametrize("scope", ["sql", "read"])
def test_an_export_is_not_made_with_another_scope(
    served: Served, tmp_path: Path, scope: str
) -> None:
    found = export(served, tmp_path / "out", scope)
    assert found.exit_code == 3
    assert "scope" in found.stderr
    assert not list((tmp_path / "out").iterdir())


def test_the_database_driver(served: Served) -> None:
    with_sql = dbapi.connect(served.address, project="demo", token=served.tokens["sql"])
    assert with_sql.cursor().execute(SQL).fetchall() == [(7,)]
    assert "events" in with_sql.tables()
    with_sql.close()
    for scope, project in (("export", "demo"), ("read", "demo"), ("sql", "other")):
        wrong = dbapi.connect(served.address, project=project, token=served.tokens[scope])
        with pytest.raises(dbapi.OperationalError, match=r"scope|project|token"):
            wrong.cursor().execute(SQL)
        with pytest.raises(dbapi.OperationalError):
            wrong.tables()
        wrong.close()


def test_sqlalchemy(served: Served) -> None:
    made = engine(served, "sql")
    with made.connect() as connection:
        assert connection.scalar(sa.text(SQL)) == 7
    assert sa.inspect(made).has_table("events")
    made.dispose()
    for scope, project in (("export", "demo"), ("read", "demo"), ("sql", "other")):
        wrong = engine(served, scope, project)
        with wrong.connect() as connection, pytest.raises(sa.exc.OperationalError):
            connection.execute(sa.text(SQL))
        wrong.dispose()
