"""Google Cloud Dataflow. What can be checked without it is checked here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    WorkerOptions,
)

from beam_pipelines.options import RunnerOptions
from beam_pipelines.runners.errors import RunnerError

SETUP_FILE = Path(__file__).parents[2] / "setup.py"
_WANTED = {
    "project": "the Google Cloud project that pays",
    "region": "such as europe-west1",
    "temp_location": "gs://BUCKET/DIRECTORY, for files on the way",
}


def beam_flags(options: RunnerOptions, flags: Sequence[str]) -> list[str]:
    """What the job is told besides the person's flags: its name, and where its code is."""
    given = PipelineOptions(list(flags))
    image = given.view_as(WorkerOptions).sdk_container_image
    setup = given.view_as(SetupOptions).setup_file
    return [
        f"--job_name={options.job_name}",
        "--no_save_main_session",  # nothing that a worker needs is defined in __main__
        *([] if image or setup else [f"--setup_file={SETUP_FILE}"]),
    ]


def is_template(flags: Sequence[str]) -> bool:
    """Is this the launcher of a template, which must not wait for the job?"""
    return bool(PipelineOptions(list(flags)).view_as(GoogleCloudOptions).template_location)


def check(flags: Sequence[str]) -> None:
    """Raises RunnerError for what a real run is missing, with the remedy."""
    options = PipelineOptions(list(flags))
    cloud = options.view_as(GoogleCloudOptions)
    absent = [f"--{name} ({what})" for name, what in _WANTED.items() if not getattr(cloud, name)]
    if absent:
        raise RunnerError(f"--runner=dataflow needs {', '.join(absent)}")
    for name in ("temp_location", "staging_location"):
        value = getattr(cloud, name)
        if value and not value.startswith("gs://"):
            raise RunnerError(f"--{name}={value!r} must look like gs://BUCKET/DIRECTORY")
    setup = options.view_as(SetupOptions).setup_file
    if setup and not Path(setup).is_file():
        raise RunnerError(
            f"--setup_file={setup!r} is no file: run from a checkout, or give "
            "--sdk_container_image with Headwater inside (deploy/dataflow)"
        )
