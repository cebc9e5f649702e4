"""`headwater query` against a real server: formats, parameters, errors with their place, codes."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from headwater.cli import main
from tests.reports import world
from tests.reports.browsing import serving
from tests.reports.test_query_jobs import ENDLESS
from tests.streams import NOON, event
from tests.system import ROOT, free_port, wait_for
from transforms.csv_safe import STARTS, safe

_BUSY_TICKS = 100  # of processor time: more than a process takes to start


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("server")
    names = ["view", "=1+1", "na\u00efve"]
    world.archive(directory, [event(f"e{n}", NOON + n, name=names[n % 3]) for n in range(30)])
    with serving(world.app(directory)) as found:
        yield found


def query(address: str, sql: str, *more: str, **kw: Any) -> Result:
    words = ["query", sql, "--project=demo", f"--server={address}", *more]
    return CliRunner().invoke(main, words, **kw)


BY_NAME = "SELECT name, COUNT(*) AS n, MAX(revenue_minor) AS most FROM events GROUP BY 1 ORDER BY 1"


def test_a_table_for_people(address: str) -> None:
    found = query(address, BY_NAME)
    assert found.exit_code == 0, found.output
    lines = [line.split() for line in found.stdout.splitlines()]
    assert lines == [["name", "n", "most"], ["=1+1", "10", "NULL"], ["na\u00efve", "10", "NULL"],
                     ["view", "10", "NULL"]]  # fmt: skip
    assert found.stderr.startswith("3 rows in ")
    assert ", exact, as of 20" in found.stderr
    assert found.stderr.rstrip().endswith(", complete until 2026-09-21T13:00:00+01:00")


def test_csv_json_and_lines(address: str) -> None:
    assert query(address, BY_NAME, "--format=csv").stdout.splitlines() == [
        "name,n,most", "'=1+1,10,", "na\u00efve,10,", "view,10,"
    ]  # fmt: skip
    rows = [{"name": name, "n": 10, "most": None} for name in ("=1+1", "na\u00efve", "view")]
    assert json.loads(query(address, BY_NAME, "--format=json").stdout) == rows
    lines = query(address, BY_NAME, "--format=jsonl").stdout.splitlines()
    assert [json.loads(line) for line in lines] == rows


def test_cells_that_a_spreadsheet_would_run_are_guarded_as_everywhere(address: str) -> None:
    cells = [*(f"{start}1+1" for start in STARTS), "-12.50", "+1e3", "-1,5", "a=1", ""]
    columns = ", ".join(f"@c{at} AS c{at}" for at in range(len(cells)))
    given = [f"--param=c{at}={cell}" for at, cell in enumerate(cells)]
    found = query(
        address, f"SELECT {columns}, -3 AS n, -0.5 AS f, NULL AS z", "--format=csv", *given
    )
    assert found.exit_code == 0, found.output
    _, row = csv.reader(io.StringIO(found.stdout, newline=""))
    assert row == [*map(safe, cells), "-3", "-0.5", ""]
    assert row[: len(STARTS)] == [f"'{start}1+1" for start in STARTS]
    head = query(address, "SELECT 1 AS `=1+1`", "--format=csv").stdout
    assert head.splitlines()[0] == "'=1+1"


def test_parameters(address: str) -> None:
    sql = "SELECT COUNT(*) AS n FROM events WHERE name IN UNNEST(@names) AND DATE(event_time) > @d"
    given = ("--param=names:ARRAY<STRING>=view,=1+1", "--param=d:DATE=2026-01-01")
    found = query(address, sql, *given, "--format=csv")
    assert found.stdout.split() == ["n", "20"]
    assert query(address, "SELECT @x AS x", "--param=x=a=b", "--format=csv").stdout.split() == [
        "x", "a=b"
    ]  # fmt: skip
    wrong = query(address, "SELECT @x", "--param", "x")
    assert (wrong.exit_code, "write name=value" in wrong.output) == (2, True)
    wrong = query(address, "SELECT @x", "--param=x:DATE=soon")
    assert (wrong.exit_code, "x='soon' is no DATE" in wrong.stderr) == (1, True)


def test_an_error_points_at_its_place(address: str) -> None:
    for sql in ("SELECT name,\n  nme FROM events", "SELECT name,\n  nme( FROM events"):
        found = query(address, sql)
        assert found.exit_code == 1
        assert found.stdout == ""
        message, *_, line, mark = found.stderr.splitlines()
        assert message.startswith("headwater query: line 2, column ")
        column = int(message.split("column ")[1].split(":")[0])
        assert line[mark.index("^")] == sql.split("\n")[1][column - 1]
    found = query(address, "SELECT name,\nnme FROM events")
    assert found.stderr.splitlines()[-2:] == ["  nme FROM events", "  ^"]


def test_a_query_from_standard_input_with_settings_of_the_environment(address: str) -> None:
    env = {"HEADWATER_REPORTS_PORT": address.rpartition(":")[2]}
    words = ["query", "-", "--project=demo", "--format=csv"]
    found = CliRunner().invoke(main, words, input="SELECT 1 AS one", env=env)
    assert found.stdout.split() == ["one", "1"]


def test_without_a_server_a_project_or_an_address(address: str) -> None:
    nobody = query(f"http://127.0.0.1:{free_port()}", "SELECT 1")
    assert (nobody.exit_code, "is the report server running there?" in nobody.stderr) == (3, True)
    words = ["query", "SELECT 1", "--project=nope", f"--server={address}"]
    unknown = CliRunner().invoke(main, words)
    assert (unknown.exit_code, "There is no project 'nope'" in unknown.stderr) == (3, True)
    assert query("nonsense", "SELECT 1").exit_code == 3


def test_a_token_is_sent_and_a_wrong_one_refused(address: str) -> None:
    for more, env in ((["--token=hw_t_x"], {}), ([], {"HEADWATER_TOKEN": "hw_t_x"})):
        found = query(address, "SELECT 1", *more, env=env)
        assert found.exit_code == 3
        assert "token" in found.stderr


def test_ctrl_c_cancels_the_query(address: str) -> None:
    words = [sys.executable, "-m", "headwater", "query", ENDLESS, "--project=demo",
             f"--server={address}"]  # fmt: skip
    environ = {k: v for k, v in os.environ.items() if not k.startswith("HEADWATER_")}
    with subprocess.Popen(words, cwd=ROOT, env=environ, stderr=subprocess.PIPE) as process:
        children = Path(f"/proc/{os.getpid()}/task")

        def sandboxes() -> list[str]:
            """Those that work: one more waits for the next query."""
            found = []
            for task in children.iterdir():
                for child in (task / "children").read_text().split():
                    line = Path(f"/proc/{child}/cmdline").read_text()
                    stat = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
                    if "reports.warehouse.sandbox" in line and int(stat[11]) > _BUSY_TICKS:
                        found.append(child)
            return found

        wait_for(sandboxes, seconds=30, what="the query's process")
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr is not None
        assert b"cancelled" in process.stderr.read()
    wait_for(lambda: not sandboxes(), seconds=10, what="the end of the query's process")
