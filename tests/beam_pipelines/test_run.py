"""The one entry of all jobs: help, what it refuses, and dry runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.exc import SQLAlchemyError

from beam_pipelines.connectors import ends
from beam_pipelines.connectors.live.sqlite import connect
from beam_pipelines.connectors.warehouse import Added, Warehouse
from beam_pipelines.jobs import JOBS
from beam_pipelines.options import IngestOptions, parse
from beam_pipelines.run import main
from catalog.settings import read
from catalog.store import Catalog
from schemas_avro import block, load
from schemas_avro.segment import segment_name
from schemas_avro.tables import DEAD_LETTERS, EVENTS
from tests.streams import NOON, event, frame_of
from transforms.context import promote
from transforms.positions import Positions

CLOUD = ["--project=my-project", "--region=europe-west1", "--temp_location=gs://my-bucket/tmp",
         "--sdk_container_image=somewhere/headwater:1"]  # fmt: skip


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory that nobody has made yet."""
    for variable in [name for name in os.environ if name.startswith("HEADWATER_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("HEADWATER_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


# What has nothing to do in an empty catalogue, and says so after what it would read and write.
REFUSED = {
    "import": "project 'p' is not in the catalogue",
    "export": "project 'p' is not in the catalogue",
    "copy": "must be bigquery:PROJECT/DATASET",
}


def needed(job: str, tmp_path: Path) -> list[str]:
    """What a job insists on."""
    file = tmp_path / "file"
    file.write_text("")
    given = {"import": ["--project=p", f"--input={file}", "--format=access_log"],
             "export": ["--project=p", f"--output={tmp_path / 'out'}"]}  # fmt: skip
    return given.get(job, [])


@pytest.mark.parametrize("job", JOBS)
def test_help_says_what_the_job_does_and_lists_the_runners_options(job, data, capsys):
    with pytest.raises(SystemExit) as ended:
        main([job, "--help"])
    assert ended.value.code == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert JOBS[job].options.__doc__ in printed
    assert "--dry_run" in printed
    has_runner = "runner" in JOBS[job].options.__dataclass_fields__
    assert ("--job_endpoint" in printed) == has_runner


@pytest.mark.parametrize("job", JOBS)
def test_a_dry_run_of_nothing_says_so_and_makes_nothing(job, data, tmp_path, capsys):
    code = main([job, "--dry_run", *needed(job, tmp_path)])
    printed, said = capsys.readouterr()
    assert code == (2 if job in REFUSED else 0)
    assert REFUSED.get(job, "") in said
    assert printed.startswith(f"{job}: a dry run, nothing is run or written\n")
    assert not data.exists()
    assert not (tmp_path / "out").exists()
    for name, value in vars(
        parse(JOBS[job].options, job, needed(job, tmp_path), read(os.environ))[0]
    ).items():
        if name != "dry_run":
            assert f"  {name:<16} {value}\n" in printed


@pytest.mark.parametrize("job", ["rollup", "sessions", "reconcile", "replay"])
def test_the_first_run_of_a_job_makes_what_it_needs(job, data):
    """Before collector and pipeline ever ran there, as on a machine for batch jobs alone."""
    assert main([job]) == 0
    assert Catalog(f"sqlite:///{data}/catalog.db").time_zones() == {}


def test_an_unknown_job_is_named_with_those_there_are(capsys):
    assert main(["dinner"]) == 2
    said = capsys.readouterr().err
    assert "no job 'dinner'" in said
    assert all(f"\n  {name} " in said for name in JOBS)


def test_a_runner_that_there_is_not(data, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["ingest", "--runner=spark"])
    assert ended.value.code == 2
    assert "invalid choice: 'spark'" in capsys.readouterr().err


def _used(data: Path) -> None:
    """A data directory in which one block of two is archived."""
    topic = data / "spool" / "events" / "p-0"
    topic.mkdir(parents=True)
    (topic / segment_name(3)).write_bytes(b"x" * 1234)
    warehouse = Warehouse(str(data / "archive"))
    frame = frame_of([event("e1", NOON), event("e2", NOON)])
    rows = block.decode(load("event"), frame.payload)[1]
    files = warehouse.write_files(EVENTS, promote(rows))
    warehouse.add(EVENTS, Added(files, Positions.of([("p-0", 0, 4)]), {}, 1))
    warehouse.table(DEAD_LETTERS)
    store = connect(str(data / "live.db"))
    store.execute("INSERT INTO live_progress VALUES (0, 1790000040000000, 0)")
    store.close()
    Catalog(f"sqlite:///{data}/catalog.db").migrate()


def _bytes(directory: Path) -> dict[str, bytes]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(p): p.read_bytes() for p in files if not p.name.endswith(("-shm", "-wal"))}


def test_a_dry_run_says_where_reading_would_begin_and_changes_nothing(data, capsys):
    _used(data)
    before = _bytes(data)
    assert main(["ingest", "--dry_run", "--runner=flink", "--job_endpoint=127.0.0.1:1"]) == 0
    printed = capsys.readouterr().out
    assert "Reads     options.events" in printed
    assert "p-0: blocks from 3 on, 1 segments, 1,234 bytes" in printed
    assert "events: 2 rows; without a gap before block: p-0 to 5" in printed
    assert "minutes final until 2026-09-21T14:14:00+00:00" in printed
    assert "  --checkpointing_interval=10000\n" in printed
    assert "a run would be refused now: --job_endpoint='127.0.0.1:1'" in printed
    assert "\n  ArchiveDeadLetters\n" in printed
    assert _bytes(data) == before


def test_a_dry_run_for_dataflow_builds_its_graph(data, capsys):
    bus = ["--events=pubsub:my-project/t-events", "--dead_letters=pubsub:my-project/t-dead"]
    assert main(["ingest", "--dry_run", "--runner=dataflow", *CLOUD, *bus]) == 0
    printed = capsys.readouterr().out
    assert "runner dataflow (streaming)" in printed
    assert "primitive ones" in printed
    assert "  --project=my-project\n" in printed


def test_dataflow_is_refused_addresses_of_this_machine(data, capsys):
    assert main(["ingest", "--runner=dataflow", *CLOUD]) == 2
    said = capsys.readouterr().err
    assert "Dataflow's workers do not see this machine" in said
    for name in ("events", "dead_letters", "live", "archive"):
        assert f"--{name}='" in said


def test_passwords_of_addresses_are_not_printed(data, capsys):
    secret = "postgresql://me:hunter2@127.0.0.1:1/catalogue"
    with pytest.raises((ModuleNotFoundError, SQLAlchemyError)):  # nobody is there
        main(["rollup", "--dry_run", f"--catalog={secret}"])
    printed = capsys.readouterr().out
    assert "postgresql://me:***@127.0.0.1:1/catalogue" in printed
    assert "hunter2" not in printed


class TestEnds:
    @pytest.mark.parametrize("value", ["", "direct", "pubsub:project/topic", "no such file"])
    def test_what_is_no_address_has_no_state(self, value):
        assert ends.state(value) == []

    @pytest.mark.parametrize("value", ["spool:/no", "sqlite:/no", "iceberg:/no", "sqlite:////no"])
    def test_what_is_not_there(self, value):
        assert ends.state(value) == ["not there yet"]

    def test_several_in_one(self, tmp_path):
        connect(str(tmp_path / "live.db")).close()
        both = f"sqlite:{tmp_path / 'live.db'},bigtable:p/i/t"
        assert ends.state(both) == ["no minute is final yet"]

    def test_a_file_that_is_no_store(self, tmp_path):
        (tmp_path / "live.db").write_bytes(b"rubbish" * 100)
        (said,) = ends.state(f"sqlite:{tmp_path / 'live.db'}")
        assert said.startswith("no live store: ")

    def test_which_addresses_only_this_machine_reaches(self, data):
        options = parse(
            IngestOptions,
            "ingest",
            ["--events=pubsub:p/t", "--live=bigtable:p/i/t,sqlite:/x"],
            read(os.environ),
        )[0]
        found = ends.on_this_machine(options)
        names = [one.partition("=")[0] for one in found]
        assert names == ["--dead_letters", "--live", "--archive", "--catalog"]


def test_sigterm_ends_a_job_whose_threads_do_not() -> None:
    held_up = (
        "import signal, threading, time; from beam_pipelines import run; run._END_S = 1; "
        "threading.Thread(target=time.sleep, args=(60,)).start(); "
        "signal.signal(signal.SIGTERM, run._end); print('ready', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", held_up], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()
        assert process.wait(20) == -signal.SIGALRM
