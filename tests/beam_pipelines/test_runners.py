"""Each runner says what it is missing; the graphs hold what a worker needs and nothing more."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions
from apache_beam.testing.util import assert_that, equal_to

from beam_pipelines import runners
from beam_pipelines.options import (
    IngestOptions,
    RunnerOptions,
    parse,
    runner_options,
)
from beam_pipelines.runners import DryRun, RunnerError, dataflow, flink, prism, servers
from catalog.settings import read

CLOUD = ["--project=my-project", "--region=europe-west1", "--temp_location=gs://my-bucket/tmp"]


def defaults(**fields: object) -> RunnerOptions:
    return replace(runner_options([])[0], **fields)


def nothing(_: beam.Pipeline) -> None:
    raise AssertionError("refused before anything is built")


class TestMissing:
    def test_direct_cannot_stream(self):
        with pytest.raises(RunnerError, match="direct cannot stream; take --runner=prism or flink"):
            runners.run("direct", nothing, [], streaming=True)

    def test_prism_is_no_program(self, tmp_path):
        with pytest.raises(RunnerError, match=r"HEADWATER_PRISM_LOCATION=.*is no executable file"):
            prism.binary(str(tmp_path / "prism"))

    def test_flink_without_java(self, monkeypatch, tmp_path):
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(RunnerError, match="needs Java 11 or 17, and no `java` is on the PATH"):
            runners.run("flink", nothing, [], streaming=True)

    def test_flink_without_jars_names_directory_and_remedy(self, monkeypatch, tmp_path):
        java = tmp_path / "java"
        java.write_text("#!/bin/sh\n")
        java.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(RunnerError) as caught:
            runners.run("flink", nothing, [f"--flink_lib={tmp_path}"], streaming=True)
        assert f"--flink_lib='{tmp_path}' holds no beam-runners-flink jar" in str(caught.value)
        assert "mvn -f deploy/flink dependency:copy-dependencies" in str(caught.value)

    @pytest.mark.parametrize(
        "endpoint", ["127.0.0.1:1", "nowhere", ":", "127.0.0.1:flink", "127.0.0.1:99999999999", " "]
    )
    def test_no_job_server_answers(self, endpoint):
        with pytest.raises(RunnerError) as caught:
            runners.run("flink", nothing, [f"--job_endpoint={endpoint}"], streaming=True)
        assert f"--job_endpoint={endpoint!r}: no job server answers" in str(caught.value)

    def test_something_else_answers(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            threading.Thread(target=_hang_up, args=(server,), daemon=True).start()
            endpoint = f"127.0.0.1:{server.getsockname()[1]}"
            with pytest.raises(RunnerError, match="answers, but not as a Beam job server"):
                flink.cancel_left_over(endpoint, "headwater-ingest")
            server.shutdown(socket.SHUT_RDWR)

    @pytest.mark.parametrize("left_out", ["project", "region", "temp_location"])
    def test_dataflow_names_what_is_left_out(self, left_out):
        given = [flag for flag in CLOUD if left_out not in flag]
        with pytest.raises(
            RunnerError, match=rf"--runner=dataflow needs --{left_out} \("
        ) as caught:
            runners.run("dataflow", nothing, given, streaming=True)
        assert str(caught.value).count("--") == 2

    @pytest.mark.parametrize("name", ["temp_location", "staging_location"])
    def test_dataflow_wants_a_bucket(self, name):
        with pytest.raises(RunnerError, match=f"--{name}='/tmp' must look like gs://"):
            runners.run("dataflow", nothing, [*CLOUD, f"--{name}=/tmp"], streaming=True)

    def test_dataflow_wants_a_setup_file_or_an_image(self, tmp_path):
        with pytest.raises(RunnerError, match=r"--setup_file=.*is no file.*--sdk_container_image"):
            dataflow.check([*CLOUD, f"--setup_file={tmp_path / 'setup.py'}"])
        image = [*CLOUD, "--sdk_container_image=somewhere/headwater:1"]
        dataflow.check([*image, *dataflow.beam_flags(defaults(), image)])


def _hang_up(server: socket.socket) -> None:
    with suppress(OSError):
        while True:
            server.accept()[0].close()


class TestServer:
    """The process of our own that a job is handed to."""

    def test_one_that_ends_at_start_says_how(self):
        def command(port: int) -> list[str]:
            return [sys.executable, "-c", "raise SystemExit(7)"]

        with (
            pytest.raises(RunnerError, match="Prism ended at start with exit code 7"),
            servers.job_server("Prism", command, start_s=30),
        ):
            pytest.fail("not reached")

    def test_one_that_does_not_listen_is_ended(self, tmp_path):
        pid = tmp_path / "pid"

        def command(port: int) -> list[str]:
            code = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid()))"
            return [sys.executable, "-c", f"{code}; time.sleep(60)"]

        with (
            pytest.raises(RunnerError, match=r"Flink did not listen on port .* within 1 s"),
            servers.job_server("Flink", command, start_s=1),
        ):
            pytest.fail("not reached")
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid.read_text()), 0)

    @pytest.mark.skipif(sys.platform != "linux", reason="the kernel's promise is Linux only")
    def test_it_dies_with_us(self, tmp_path):
        parent = textwrap.dedent("""
            import sys, time
            from beam_pipelines.runners.servers import job_server
            code = "import os, socket, sys, time; s = socket.create_server(('127.0.0.1', "
            code += "int(sys.argv[1]))); print(os.getpid(), flush=True); time.sleep(60)"
            with job_server("X", lambda port: [sys.executable, "-c", code, str(port)], start_s=30):
                time.sleep(60)
        """)
        process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE)
        assert process.stdout is not None
        with process.stdout:
            child = int(process.stdout.readline())
            os.kill(child, 0)
            process.send_signal(signal.SIGKILL)
            process.wait()
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline and not _is_gone(child):
                time.sleep(0.05)
        assert _is_gone(child)


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state in "ZX"


class TestFlags:
    def test_what_parse_hands_on_is_what_the_runner_reads(self):
        given = ["--job_endpoint=host:1", "--checkpointing_interval=5", "--parallelism=3"]
        _, flags = parse(IngestOptions, "ingest", given, read({"HEADWATER_FLINK_LIB": "/jars"}))
        options, rest = runner_options(flags)
        assert options == defaults(
            job_endpoint="host:1",
            checkpointing_interval=5,
            flink_lib="/jars",
            job_name="headwater-ingest",
        )
        assert rest == ["--parallelism=3"]

    def test_a_failed_job_is_not_started_again_by_flink(self):
        flags = flink.beam_flags(defaults(), streaming=True)
        assert "--number_of_execution_retries=0" in flags
        assert "--checkpointing_interval=10000" in flags
        assert "--environment_type=LOOPBACK" in flags
        assert not any("checkpoint" in f for f in flink.beam_flags(defaults(), streaming=False))

    @pytest.mark.parametrize("name", ["prism", "flink"])
    @pytest.mark.parametrize("streaming", [True, False])
    def test_a_job_may_run_for_longer_than_a_request(self, name, streaming):
        """Beam's own limit, 300 s, would end every one that it watches."""
        flags = runners._beam_flags(name, defaults(), [], streaming)
        a_year_s = 365 * 86_400
        assert PipelineOptions(flags).view_as(PortableOptions).job_server_timeout > a_year_s

    def test_no_flag_is_unknown_to_beam(self, caplog):
        options = defaults()
        flags = [*flink.beam_flags(options, streaming=True), *dataflow.beam_flags(options, CLOUD)]
        more = ["--state_backend=filesystem", "--state_backend_storage_path=file:///x"]
        PipelineOptions([*flags, *CLOUD, *more]).get_all_options()
        assert caplog.text == ""


def sums(root: beam.Pipeline) -> None:
    total = root | beam.Create([1, 2, 3]) | beam.CombineGlobally(sum)
    assert_that(total, equal_to([6]))


def test_direct_runs_to_the_end():
    result = runners.run("direct", sums, [], streaming=False)
    assert result.state == "DONE"


def test_a_dry_run_builds_prints_and_runs_nothing(capsys):
    touched = []

    def build(root: beam.Pipeline) -> None:
        root | "Numbers" >> beam.Create([1]) | "Touch" >> beam.Map(touched.append)

    with pytest.raises(DryRun):
        runners.run("direct", build, ["--dry_run"], streaming=False)
    printed = capsys.readouterr().out
    assert printed.splitlines()[:4] == ["runner direct", "steps", "  Numbers", "  Touch"]
    assert touched == []
