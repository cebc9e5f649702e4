"""Where a job runs. Each runner is checked at start, and says what it is missing."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.runners.portability.portable_runner import PortableRunner
from apache_beam.runners.portability.prism_runner import PrismJobServer
from apache_beam.runners.runner import PipelineResult

_START_S = 30
_PR_SET_PDEATHSIG = 1


class RunnerError(RuntimeError):
    """The runner cannot be had; the message says what is missing and how to get it."""


def run(
    name: str,
    build: Callable[[beam.Pipeline], None],
    flags: Sequence[str],
    *,
    streaming: bool,
    prism: str = "",
) -> PipelineResult:
    """Build the job and run it to its end. SIGTERM and Ctrl-C end a streaming job cleanly."""
    if name == "direct":
        if streaming:
            raise RunnerError("--runner=direct cannot stream; take --runner=prism")
        return _finish(beam.Pipeline(FnApiRunner(), _options(flags, False)), build)
    with _prism_server(prism, flags) as endpoint:
        options = _options(
            [*flags, f"--job_endpoint={endpoint}", "--environment_type=LOOPBACK"], streaming
        )
        return _finish(beam.Pipeline(PortableRunner(), options), build)


def _options(flags: Sequence[str], streaming: bool) -> PipelineOptions:
    return PipelineOptions(list(flags), streaming=streaming)


def _finish(pipeline: beam.Pipeline, build: Callable[[beam.Pipeline], None]) -> PipelineResult:
    build(pipeline)
    result = pipeline.run()
    result.wait_until_finish()
    return result


def prism_binary(configured: str) -> str:
    """Path of the Prism binary: as configured, beside Python, on the PATH, or downloaded."""
    if configured:
        if not os.access(configured, os.X_OK):
            raise RunnerError(f"HEADWATER_PRISM_LOCATION={configured!r} is no executable file")
        return configured
    beside = Path(sys.executable).with_name("prism")
    found = str(beside) if beside.exists() else shutil.which("prism")
    if found:
        return found
    try:
        return PrismJobServer(PipelineOptions()).path_to_binary()
    except Exception as error:
        raise RunnerError(
            "no Prism binary beside Python or on the PATH, and Beam could not download one "
            f"({error}); with Go: `make install`, or set HEADWATER_PRISM_LOCATION"
        ) from error


@contextmanager
def _prism_server(configured: str, flags: Sequence[str]) -> Iterator[str]:
    """A Prism process of our own that cannot outlive us: its state is worth nothing without us."""
    port = _free_port()
    command = [
        prism_binary(configured),
        f"--job_port={port}",
        "--serve_http=false",
        "--log_kind=text",
        "--log_level=warn",
    ]
    process = subprocess.Popen(command, preexec_fn=_die_with_parent)
    try:
        _wait_for(port, process)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _die_with_parent() -> None:
    if sys.platform == "linux":  # elsewhere a Prism left behind ends when its worker is gone
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(_START_S * 10):
        if process.poll() is not None:
            raise RunnerError(f"Prism ended at start with exit code {process.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RunnerError(f"Prism did not listen on port {port} within {_START_S} s")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
