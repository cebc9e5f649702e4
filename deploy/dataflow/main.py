"""What the launcher of the flex template starts: a job, with Dataflow as its runner."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from beam_pipelines.run import main


def arguments(given: Sequence[str]) -> list[str]:
    """The launcher's arguments in the order of `run`: the template's `job` first.

    The launcher names the runner after Beam's class; ours is called dataflow.
    """
    jobs = [one.removeprefix("--job=") for one in given if one.startswith("--job=")]
    rest = [one for one in given if not one.startswith(("--job=", "--runner="))]
    return [jobs[-1] if jobs else "ingest", "--runner=dataflow", *rest]


if __name__ == "__main__":
    sys.exit(main(arguments(sys.argv[1:])))
