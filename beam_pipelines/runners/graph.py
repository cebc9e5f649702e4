"""A job's graph, built and not run."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, TestOptions
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner
from apache_beam.runners.portability.portable_runner import PortableRunner

Build = Callable[[beam.Pipeline], None]
Graph = beam_runner_api_pb2.Pipeline
_COMPOSITE = "beam:transform:generic_composite:v1"


class DryRun(Exception):
    """Not an error: the graph was built and printed, and nothing was run."""


def portable(build: Build, options: PipelineOptions) -> Graph:
    """The graph as a job server gets it: every DoFn pickled, every coder named."""
    pipeline = beam.Pipeline(PortableRunner(), options)
    build(pipeline)
    return pipeline.to_runner_api()


def for_dataflow(build: Build, options: PipelineOptions) -> Graph:
    """The graph as Dataflow gets it: checked, rewritten and packed by its own runner, unsent.

    Raises what that runner raises for options or steps that it refuses.
    """
    options.view_as(TestOptions).dry_run = True
    runner = DataflowRunner()
    pipeline = beam.Pipeline(runner, options)
    build(pipeline)
    pipeline.run()
    return runner.proto_pipeline


def steps(graph: Graph) -> Iterator[tuple[int, str]]:
    """(depth, name) of every step in the order of building; what Beam made of it stays inside."""
    parts = graph.components.transforms

    def below(parent: str, depth: int) -> Iterator[tuple[int, str]]:
        for one in parts[parent].subtransforms:
            name = parts[one].unique_name.rsplit("/", 1)[-1]
            if name.isidentifier():  # not Map(decode) and the like
                yield depth, name
                if parts[one].spec.urn == _COMPOSITE:
                    yield from below(one, depth + 1)

    yield from below(graph.root_transform_ids[0], 0)


def listing(graph: Graph) -> str:
    """The steps as text, and how many primitive ones they come to."""
    lines = [f"  {'  ' * depth}{name}" for depth, name in steps(graph)]
    leaves = sum(1 for step in graph.components.transforms.values() if not step.subtransforms)
    size = len(graph.SerializeToString())
    return "\n".join(["steps", *lines, f"({leaves} primitive ones, {size:,} bytes)"])
