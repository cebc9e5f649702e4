"""Graphs as runners get them: Dataflow's up to sending, and what its template is made of."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import apache_beam as beam
import pytest
from apache_beam.internal import pickler
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import common_urns, python_urns
from apache_beam.portability.api import beam_runner_api_pb2 as proto

from beam_pipelines.connectors.warehouse import Added, Warehouse
from beam_pipelines.jobs import JOBS, ingest, rollup
from beam_pipelines.options import IngestOptions, RollupOptions, parse, runner_options
from beam_pipelines.runners import dataflow, flink, graph
from catalog.settings import read
from schemas_avro import block, load
from schemas_avro.tables import EVENTS
from tests.streams import NOON, event, frame_of
from tests.system import ROOT
from transforms.context import promote
from transforms.positions import Positions

CLOUD = ["--project=my-project", "--region=europe-west1", "--temp_location=gs://my-bucket/tmp"]
DEFAULTS = runner_options([])[0]

IMAGE = [*CLOUD, "--sdk_container_image=somewhere/headwater:1"]


def ingest_graph(tmp_path: Path, *argv: str) -> proto.Pipeline:
    """Ingest in an empty data directory, as its runner gets it."""
    config = read({"HEADWATER_DATA_DIR": str(tmp_path / "data")})
    options, flags = parse(IngestOptions, "ingest", argv, config)
    rest = runner_options(flags)[1]
    if options.runner == "dataflow":
        built, rest = graph.for_dataflow, [*rest, *dataflow.beam_flags(DEFAULTS, rest)]
    else:
        built, rest = graph.portable, flink.beam_flags(DEFAULTS, streaming=True)
    return built(lambda root: ingest.build(root, options), PipelineOptions(rest, streaming=True))


GRAPHS = {
    "spool": ["--runner=flink"],
    "pubsub": ["--runner=flink", "--events=pubsub:my-project/headwater-events",
               "--dead_letters=pubsub:my-project/headwater-dead_letters"],
    "dataflow": ["--runner=dataflow", "--events=pubsub:my-project/headwater-events",
                 "--dead_letters=pubsub:my-project/headwater-dead_letters", *IMAGE],
}  # fmt: skip


@pytest.mark.parametrize("argv", GRAPHS.values(), ids=GRAPHS)
def test_ingest_has_its_steps_and_one_unbounded_source_per_topic(argv, tmp_path):
    built = ingest_graph(tmp_path, *argv)
    top = [name for depth, name in graph.steps(built) if depth == 0]
    assert top[0] == "Events"
    assert {"Archive", "DeadLetters", "ArchiveDeadLetters"} < set(top)
    unbounded = proto.IsBounded.UNBOUNDED
    for name in ("Events", "DeadLetters"):
        (out,) = _step(built, name).outputs.values()
        assert built.components.pcollections[out].is_bounded == unbounded


def _step(built: proto.Pipeline, name: str) -> proto.PTransform:
    (found,) = [t for t in built.components.transforms.values() if t.unique_name == name]
    return found


def functions(built: proto.Pipeline) -> Iterator[tuple[str, bytes]]:
    """Step and pickled bytes of every DoFn and CombineFn."""
    pardo = common_urns.primitives.PAR_DO.urn
    combine = common_urns.composites.COMBINE_PER_KEY.urn
    for step in built.components.transforms.values():
        if step.spec.urn == pardo:
            spec = proto.ParDoPayload.FromString(step.spec.payload).do_fn
        elif step.spec.urn == combine:
            spec = proto.CombinePayload.FromString(step.spec.payload).combine_fn
        else:
            continue
        if spec.urn in (python_urns.PICKLED_DOFN_INFO, python_urns.PICKLED_COMBINE_FN):
            yield step.unique_name, spec.payload


def test_every_function_can_be_unpickled_elsewhere(tmp_path):
    """In a process that has imported nothing of ours, as a worker's."""
    payloads = {
        f"{name} {step}": payload.decode("latin-1")
        for name, argv in GRAPHS.items()
        for step, payload in functions(ingest_graph(tmp_path / name, *argv))
    }
    assert len(payloads) > 45
    code = (
        "import json, sys\nfrom apache_beam.internal import pickler\n"
        "for payload in json.load(sys.stdin).values():\n"
        "    print(type(pickler.loads(payload.encode('latin-1'))).__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(payloads),
        text=True,
        capture_output=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(done.stdout.splitlines()) == len(payloads)
    # What is known at start, such as the blocks held, travels along: it must stay small.
    assert max(map(len, payloads.values())) < 50_000


def test_dataflow_reads_with_its_own_source_in_containers(tmp_path):
    built = ingest_graph(tmp_path, *GRAPHS["dataflow"])
    urns = {step.spec.urn for step in built.components.transforms.values()}
    assert common_urns.composites.PUBSUB_READ.urn in urns
    assert {env.urn for env in built.components.environments.values()} == {
        common_urns.environments.DOCKER.urn
    }


def test_dataflow_refuses_what_its_own_runner_refuses(tmp_path):
    with pytest.raises(ValueError, match="Invalid Project ID"):
        ingest_graph(tmp_path, *GRAPHS["dataflow"], "--project=x")


def test_rollup_is_a_bounded_graph_for_dataflow(tmp_path):
    config = read({"HEADWATER_DATA_DIR": str(tmp_path / "data")})
    warehouse = Warehouse(str(tmp_path / "data" / "archive"))
    rows = block.decode(load("event"), frame_of([event("e1", NOON)]).payload)[1]
    files = warehouse.write_files(EVENTS, promote(rows))
    warehouse.add(EVENTS, Added(files, Positions(), {"demo": ("2026-09-21",)}, NOON))
    options, _ = parse(RollupOptions, "rollup", [], config)
    plan = rollup.make_plan(warehouse, options, {})
    assert plan is not None
    built = graph.for_dataflow(
        lambda root: rollup.build(root, options, plan, str(tmp_path)),
        PipelineOptions([*IMAGE, *dataflow.beam_flags(DEFAULTS, IMAGE)]),
    )
    bounded = {one.is_bounded for one in built.components.pcollections.values()}
    assert bounded == {proto.IsBounded.BOUNDED}
    assert all(pickler.loads(payload) for _, payload in functions(built))


def test_the_package_for_dataflows_workers_has_records_and_code_in_it(tmp_path):
    """`--setup_file` packs this checkout; what is not Python must come along."""
    flags = [*CLOUD, *dataflow.beam_flags(DEFAULTS, CLOUD)]
    built = graph.for_dataflow(sums_in_words, PipelineOptions(flags))
    (environment,) = built.components.environments.values()
    paths = [
        proto.ArtifactFilePayload.FromString(one.type_payload).path
        for one in environment.dependencies
    ]
    (package,) = [path for path in paths if path.endswith(".tar.gz")]
    with tarfile.open(package) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert {"schemas_avro/event.avsc", "beam_pipelines/jobs/ingest.py", "pyproject.toml"} <= inside


def sums_in_words(root: beam.Pipeline) -> None:
    root | beam.Create([1]) | beam.Map(str)


# -- The flex template.

TEMPLATE = ROOT / "deploy" / "dataflow"


def launcher() -> ModuleType:
    spec = importlib.util.spec_from_file_location("launcher", TEMPLATE / "main.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_parameter_of_the_template_is_an_option_of_its_jobs():
    parameters = json.loads((TEMPLATE / "metadata.json").read_text())["parameters"]
    known = {spec.name for job in ("ingest", "rollup") for spec in fields(JOBS[job].options)}
    assert {one["name"] for one in parameters} - known == {"job"}
    assert all(re.compile(regex) for one in parameters for regex in one.get("regexes", []))


def test_what_the_launcher_gives_becomes_a_job_on_dataflow():
    given = ["--runner=DataflowRunner", "--job=rollup", *CLOUD, "--job_name=mine",
             "--template_location=gs://my-bucket/job"]  # fmt: skip
    job, *argv = launcher().arguments(given)
    assert job == "rollup"
    options, flags = parse(JOBS[job].options, job, argv, read({}))
    assert options.runner == "dataflow"
    ours, rest = runner_options(flags)
    assert ours.job_name == "mine"
    assert dataflow.is_template(rest)
    assert not dataflow.is_template(CLOUD)


def test_the_image_copies_what_there_is_and_starts_what_it_copied():
    text = (TEMPLATE / "Dockerfile").read_text()
    assert f"ARG BEAM={beam.__version__}\n" in text
    copied = [line.split()[1:-1] for line in text.splitlines() if line.startswith("COPY ")]
    inside = [path for paths in copied for path in paths if not path.startswith(("--", "/"))]
    assert [path for path in inside if not (ROOT / path).exists()] == []
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"}
    assert packages <= set(inside)
