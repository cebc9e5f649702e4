"""Beam's Prism: the default for streams on one machine. State lives in its memory."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.prism_runner import PrismJobServer

from beam_pipelines.runners.errors import RunnerError
from beam_pipelines.runners.servers import job_server

_START_S = 30


def binary(configured: str) -> str:
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
def server(configured: str) -> Iterator[str]:
    """Endpoint of a Prism of our own."""
    path = binary(configured)

    def command(port: int) -> list[str]:
        quiet = ["--serve_http=false", "--log_kind=text", "--log_level=warn"]
        return [path, f"--job_port={port}", *quiet]

    with job_server("Prism", command, start_s=_START_S) as endpoint:
        yield endpoint
