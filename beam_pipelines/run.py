"""`python -m beam_pipelines.run JOB [options]`: one entry for every job on every runner.

Nothing that a worker must unpickle is defined here: this module is `__main__`.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence

from beam_pipelines.connectors.uri import UriError
from beam_pipelines.dry_run import dry_run, out_of_reach
from beam_pipelines.jobs import JOBS
from beam_pipelines.options import parse
from beam_pipelines.runners import RunnerError
from catalog import settings
from catalog.store import Catalog, CatalogError
from transforms.mapping import MappingError

_END_S = 20


def main(argv: Sequence[str]) -> int:
    """Parse and run; 0 when the job ended well, 2 when it could not start."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    for library in ("alembic", "apache_beam", "apscheduler", "pyiceberg"):
        logging.getLogger(library).setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, _end)
    if not argv or argv[0] in ("-h", "--help"):
        print(_usage())
        return 0
    job = JOBS.get(argv[0])
    if job is None:
        print(f"run: no job {argv[0]!r}\n\n{_usage()}", file=sys.stderr)
        return 2
    try:
        config = settings.read(os.environ)
        options, flags = parse(job.options, argv[0], argv[1:], config)
        if "--dry_run" in flags:
            dry_run(argv[0], job, options, flags, config)
        elif problem := out_of_reach(options):
            raise RunnerError(problem)
        else:
            if catalogue := getattr(options, "catalog", ""):
                Catalog(catalogue).migrate()  # none yet, or one of an earlier version
            job.start(options, flags, config)
    except (settings.SettingError, UriError, RunnerError, CatalogError, MappingError) as error:
        print(f"{argv[0]}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0
    return 0


def _end(*_: object) -> None:
    """SIGTERM: end cleanly, but end.

    A thread may wait for a runner that is gone. The alarm kills us then, which a job bears at any
    moment.
    """
    signal.alarm(_END_S)
    sys.exit(0)


def _usage() -> str:
    lines = [f"  {name:<9} {job.options.__doc__}" for name, job in JOBS.items()]
    return "\n".join(
        ["usage: python -m beam_pipelines.run JOB [options]", "", "jobs:", *lines, "",
         "Options of a job: python -m beam_pipelines.run JOB --help"]
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
