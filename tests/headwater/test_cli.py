"""`headwater up` as far as it goes without starting anything."""

from __future__ import annotations

import importlib.util
import json
import shlex
import socket

import pytest
from click.testing import CliRunner

from catalog import settings
from catalog.store import Catalog
from headwater.cli import children, first_key, main
from headwater.greeting import banner


@pytest.fixture
def catalog(tmp_path) -> Catalog:
    made = Catalog(f"sqlite:///{tmp_path}/catalog.db")
    made.migrate()
    return made


def test_help_names_the_command():
    shown = CliRunner().invoke(main, ["--help"])
    assert shown.exit_code == 0
    assert "Start collector, pipeline, schedule and reports" in shown.output


def test_a_bad_setting_is_said_in_one_line(tmp_path):
    env = {"HEADWATER_COLLECTOR_PORT": "many", "HEADWATER_DATA_DIR": str(tmp_path / "data")}
    shown = CliRunner().invoke(main, ["up"], env=env)
    assert shown.exit_code == 1
    assert "HEADWATER_COLLECTOR_PORT='many' is not a whole number" in shown.output
    assert not (tmp_path / "data").exists()


def test_a_port_in_use_stops_before_the_catalogue_is_made(tmp_path):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = str(server.getsockname()[1])
        env = {"HEADWATER_REPORTS_PORT": port, "HEADWATER_DATA_DIR": str(tmp_path / "data")}
        shown = CliRunner().invoke(main, ["up"], env=env)
    assert shown.exit_code == 1
    assert f"port {port} on 127.0.0.1 is in use" in shown.output
    assert not (tmp_path / "data" / "catalog.db").exists()


def test_the_first_start_makes_project_and_key_and_the_next_find_them(catalog):
    project, key = first_key(catalog)
    assert (project, catalog.keys()[key].source) == ("demo", "web")
    assert first_key(catalog) == (project, key)


def test_projects_that_are_there_are_left_as_they_are(catalog):
    catalog.add_project("shop")
    project, key = first_key(catalog)
    assert project == "shop"
    assert list(catalog.time_zones()) == ["shop"]
    assert list(catalog.keys()) == [key]


def test_every_child_is_a_module_that_is_there():
    for child in children():
        assert child.command[1] == "-m"
        assert importlib.util.find_spec(child.command[2]) is not None, child


@pytest.mark.parametrize(
    ("host", "shown"), [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("10.0.0.5", "10.0.0.5")]
)
def test_the_line_to_try_is_a_command_that_can_be_pasted(host, shown):
    config = settings.read({"HEADWATER_COLLECTOR_HOST": host})
    line = next(x for x in banner(config, "demo", "hw_k").splitlines() if "curl" in x)
    words = shlex.split(line)
    assert words[:3] == ["curl", "-u", "hw_k:"]
    assert json.loads(words[words.index("-d") + 1]) == {"userId": "u1", "event": "Signed Up"}
    assert words[-1] == f"http://{shown}:8080/v1/track"
