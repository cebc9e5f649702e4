"""Where a job runs. Each runner is checked at start, and says what it is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.runners.portability.portable_runner import PortableRunner
from apache_beam.runners.runner import PipelineResult, PipelineRunner

from beam_pipelines.health import served
from beam_pipelines.options import RunnerOptions, runner_options
from beam_pipelines.runners import dataflow, flink, graph
from beam_pipelines.runners import prism as prism_server
from beam_pipelines.runners.errors import RunnerError
from beam_pipelines.runners.graph import Build, DryRun

# Beam ends a job that it watches, after 300 s as it comes, whatever the job does: its streams of
# state and messages get the time limit of a single request.
_WATCH_FLAG = f"--job_server_timeout={10 * 365 * 86_400}"

__all__ = ["DryRun", "RunnerError", "run"]


def run(name: str, build: Build, flags: Sequence[str], *, streaming: bool) -> PipelineResult:
    """Build the job and run it to its end. SIGTERM and Ctrl-C end a streaming job cleanly.

    flags: those of `RunnerOptions`, and others, for Beam. With `--dry_run` the graph is built and
    printed, and DryRun raised. Raises RunnerError where the runner cannot be had.
    """
    options, rest = runner_options(flags)
    if name == "direct" and streaming:
        raise RunnerError("--runner=direct cannot stream; take --runner=prism or flink")
    given = [*rest, *_beam_flags(name, options, rest, streaming)]
    if options.dry_run:
        _show(name, build, options, given, streaming)
        raise DryRun
    _check(name, options, given)
    with _opened(name, options) as (runner, more):
        pipeline = beam.Pipeline(runner, PipelineOptions([*given, *more], streaming=streaming))
        build(pipeline)
        result = pipeline.run()
        if name == "dataflow" and dataflow.is_template(given):
            return result
        try:
            with served(options.job_name, result, options.health_port if streaming else 0):
                result.wait_until_finish()
        except BaseException:
            if options.job_endpoint:  # a server of our own ends with us, another one goes on
                with suppress(Exception):
                    result.cancel()
            raise
        return result


def _beam_flags(
    name: str, options: RunnerOptions, rest: Sequence[str], streaming: bool
) -> list[str]:
    match name:
        case "prism":
            return ["--environment_type=LOOPBACK", _WATCH_FLAG]
        case "flink":
            return [*flink.beam_flags(options, streaming=streaming), _WATCH_FLAG]
        case "dataflow":
            return dataflow.beam_flags(options, rest)
    return []


def _check(name: str, options: RunnerOptions, given: Sequence[str]) -> None:
    """Raises RunnerError for what the runner is missing, before anything starts."""
    if name == "flink":
        flink.check(options)
    if name == "dataflow":
        dataflow.check(given)


def _show(
    name: str, build: Build, options: RunnerOptions, given: list[str], streaming: bool
) -> None:
    """Print the runner's options, what it is missing and the steps of the job."""
    print(f"runner {name}{' (streaming)' if streaming else ''}")
    for flag in given:
        print(f"  {flag}")
    built = graph.for_dataflow if name == "dataflow" else graph.portable
    try:
        _check(name, options, given)
    except RunnerError as error:
        print(f"  a run would be refused now: {error}")
        built = graph.portable
    print(graph.listing(built(build, PipelineOptions(given, streaming=streaming))))


@contextmanager
def _opened(name: str, options: RunnerOptions) -> Iterator[tuple[PipelineRunner, list[str]]]:
    """The runner, ready, and the flags that lead to it."""
    match name:
        case "direct":
            yield FnApiRunner(), []
        case "prism":
            with prism_server.server(options.prism_location) as endpoint:
                yield PortableRunner(), [f"--job_endpoint={endpoint}"]
        case "flink":
            with flink.server(options) as more:
                yield PortableRunner(), more
        case "dataflow":
            yield DataflowRunner(), []
