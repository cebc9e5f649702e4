"""Google's Bigtable emulator as a real process."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.emulators import Emulator, missing

VARIABLE = "BIGTABLE_EMULATOR_HOST"
_PLACES = (
    "/usr/lib/google-cloud-sdk/platform/bigtable-emulator/cbtemulator",
    "/usr/lib64/google-cloud-sdk/platform/bigtable-emulator/cbtemulator",
    str(Path.home() / "google-cloud-sdk/platform/bigtable-emulator/cbtemulator"),
    str(Path.home() / "go/bin/emulator"),
)


def bigtable() -> Emulator:
    """Not yet started. In CI a missing one is an error, elsewhere the test is left out."""
    found = shutil.which("cbtemulator") or next(filter(os.path.exists, _PLACES), None)
    if not found:
        missing("no Bigtable emulator: install the Cloud SDK's component bigtable")
    return Emulator(lambda port, _: [found or "", "-host=127.0.0.1", f"-port={port}"])


@contextmanager
def bigtable_in_environment() -> Iterator[Emulator]:
    """Running, and named where Google's clients look for it."""
    with bigtable() as emulator, pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, emulator.host)
        yield emulator
