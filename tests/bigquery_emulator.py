"""A BigQuery emulator as a real process, in a virtual environment of its own (`make emulators`)."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from beam_pipelines.connectors.bigquery import GRPC_EMULATOR, REST_EMULATOR
from tests.emulators import Emulator, missing
from tests.system import ROOT, wait_for

PROJECT, DATASET = "shop-project", "headwater"
_HOME = ROOT / ".cache" / "bqemulator"
_BINARY = _HOME / "bin" / "bqemulator"


def bigquery_emulator() -> Emulator:
    """Not yet started. In CI a missing one is an error, elsewhere the test is left out."""
    if not (_HOME / ".installed").exists():
        missing("no BigQuery emulator: `make emulators` installs it below .cache/")
    return Emulator(
        lambda rest, grpc: [
            str(_BINARY),
            "start",
            f"--rest-port={rest}",
            f"--grpc-port={grpc}",
            "--log-level=error",
        ]
    )


@contextmanager
def bigquery_in_environment() -> Iterator[Emulator]:
    """Running, with an empty dataset, and named where our clients look for it."""
    with bigquery_emulator() as emulator, pytest.MonkeyPatch.context() as patch:
        rest = f"http://{emulator.host}"
        patch.setenv(REST_EMULATOR, rest)
        patch.setenv(GRPC_EMULATOR, emulator.other_host)
        wait_for(lambda: _answers(rest), seconds=60, what="the BigQuery emulator")
        with google_client() as google:
            google.create_dataset(DATASET, exists_ok=True)
        yield emulator


@contextmanager
def google_client() -> Iterator[bigquery.Client]:
    """Google's client on the emulator in the environment."""
    import os

    client = bigquery.Client(
        project=PROJECT,
        credentials=AnonymousCredentials(),
        client_options=ClientOptions(api_endpoint=os.environ[REST_EMULATOR]),
    )
    yield client
    client.close()


def _answers(rest: str) -> bool:
    url = f"{rest}/bigquery/v2/projects/{PROJECT}/datasets"
    with urllib.request.urlopen(url, timeout=5) as answer:
        return int(answer.status) == 200
