"""Apache Flink, through Beam's job server: our own with a Flink inside, or one that runs."""

from __future__ import annotations

import argparse
import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_job_api_pb2 as api
from apache_beam.portability.api import beam_job_api_pb2_grpc as api_grpc

from beam_pipelines.options import RunnerOptions
from beam_pipelines.runners.errors import RunnerError
from beam_pipelines.runners.servers import answers, job_server

log = logging.getLogger(__name__)

LIB = Path(__file__).parents[2] / "deploy" / "flink" / "target" / "dependency"
GET_JARS = "mvn -f deploy/flink dependency:copy-dependencies"
_DRIVER = "org.apache.beam.runners.flink.FlinkJobServerDriver"
_START_S = 120  # about 3 s on an idle machine
_ANSWER_S = 10
_BUNDLE_MS = 100  # a bundle waits that long for more input: part of how old a live number is
_ENDED = (
    api.JobState.DONE,
    api.JobState.FAILED,
    api.JobState.CANCELLED,
    api.JobState.DRAINED,
)
# Flink's serialisers reach into the JDK, which Java 17 allows only by name.
_OPENED = [f"--add-opens=java.base/java.{p}=ALL-UNNAMED" for p in ("util", "lang", "nio")]


class JobServerOptions(PipelineOptions):
    """Options of Beam's job server for Flink that Python would call unparseable otherwise."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        for name in ("checkpointing_interval", "number_of_execution_retries"):
            parser.add_argument(f"--{name}", type=int)
        parser.add_argument("--max_bundle_time_mills", type=int)
        for name in (
            "fail_on_checkpointing_errors",
            "state_backend",
            "state_backend_storage_path",
        ):
            parser.add_argument(f"--{name}")


def beam_flags(options: RunnerOptions, *, streaming: bool) -> list[str]:
    """What the job is told besides where the server is.

    A failed job is not started again by Flink but by whoever started us, as on every runner: the
    sinks say where to go on. A pane of a window that Flink restored could carry a lower number
    than one that is written already, and would lose (docs/adr/0010).
    """
    flags = [f"--environment_type={options.environment_type}", f"--job_name={options.job_name}"]
    if streaming:
        flags += [
            f"--checkpointing_interval={options.checkpointing_interval}",
            "--number_of_execution_retries=0",
            "--fail_on_checkpointing_errors=false",  # nothing is restored from one
            f"--max_bundle_time_mills={_BUNDLE_MS}",
        ]
    return flags


def check(options: RunnerOptions) -> None:
    """Raises RunnerError for what is missing, with the remedy."""
    if not options.job_endpoint:
        java_and_jars(options.flink_lib)
    elif not answers(options.job_endpoint):
        raise RunnerError(
            f"--job_endpoint={options.job_endpoint!r}: no job server answers at this HOST:PORT; "
            "start one (deploy/flink/README.md), or leave the option out for one of our own"
        )


@contextmanager
def server(options: RunnerOptions) -> Iterator[list[str]]:
    """Flags that lead to the job server: the one at `job_endpoint`, or our own."""
    if options.job_endpoint:
        cancel_left_over(options.job_endpoint, options.job_name)
        yield [f"--job_endpoint={options.job_endpoint}"]
        return
    java, lib = java_and_jars(options.flink_lib)
    with tempfile.TemporaryDirectory(prefix="headwater-flink-") as scratch:

        def command(port: int) -> list[str]:
            return server_command(java, lib, port, scratch)

        with job_server("Flink's job server", command, start_s=_START_S) as endpoint:
            yield [
                f"--job_endpoint={endpoint}",
                # In the job manager's memory, which is the default, 5 MB are the end.
                "--state_backend=filesystem",
                f"--state_backend_storage_path=file://{scratch}/checkpoints",
            ]


def java_command(java: str, lib: Path, scratch: str) -> list[str]:
    """Java with the jars of `lib`, up to the name of the class to run."""
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    return [java, *_OPENED, quiet, f"-Djava.io.tmpdir={scratch}", "-cp", f"{lib}/*"]


def server_command(
    java: str, lib: Path, port: int, scratch: str, master: str = "[local]"
) -> list[str]:
    """How a job server is started: for the Flink at `master`, or with one inside."""
    return [
        *java_command(java, lib, scratch),
        _DRIVER,
        "--job-host=127.0.0.1",
        f"--job-port={port}",
        "--artifact-port=0",
        "--expansion-port=0",
        f"--flink-master={master}",
        f"--artifacts-dir={scratch}/artifacts",
    ]


def java_and_jars(configured: str) -> tuple[str, Path]:
    """Path of Java and directory of the job server's jars; RunnerError names what is missing."""
    java = shutil.which("java")
    if java is None:
        raise RunnerError("--runner=flink needs Java 11 or 17, and no `java` is on the PATH")
    lib = Path(configured) if configured else LIB
    if not list(lib.glob("beam-runners-flink-*.jar")):
        raise RunnerError(
            f"--flink_lib={str(lib)!r} holds no beam-runners-flink jar; get the jars with "
            f"`{GET_JARS}` into deploy/flink/target/dependency, or set HEADWATER_FLINK_LIB"
        )
    return java, lib


def cancel_left_over(endpoint: str, name: str) -> None:
    """End jobs of this name that a killed process left on a job server: we take their place."""
    with grpc.insecure_channel(endpoint) as channel:
        service = api_grpc.JobServiceStub(channel)
        try:
            for job in service.GetJobs(api.GetJobsRequest(), timeout=_ANSWER_S).job_info:
                if job.job_name == name and job.state not in _ENDED:
                    log.warning("cancelling %s %s, left over on %s", name, job.job_id, endpoint)
                    request = api.CancelJobRequest(job_id=job.job_id)
                    service.Cancel(request, timeout=_ANSWER_S)
        except grpc.RpcError as error:
            raise RunnerError(
                f"--job_endpoint={endpoint!r} answers, but not as a Beam job server: "
                f"{error.code().name}"
            ) from error
