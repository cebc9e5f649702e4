"""`--dry_run`: what a job would read and write, said without doing it."""

from __future__ import annotations

import re
import sys
from dataclasses import fields
from typing import Any

from beam_pipelines.connectors import ends
from beam_pipelines.jobs import Job
from beam_pipelines.runners import DryRun
from catalog.settings import Settings

_PASSWORD = re.compile(r"(?<=[^/]):[^:/@]*@")  # of an address such as postgresql://user:it@host


def dry_run(name: str, job: Job, options: Any, flags: list[str], config: Settings) -> None:
    """Print the job's table of ends, its options with what is there now, and its steps.

    The job itself plans and builds its graph as it always does; `runners.run` shows that and
    raises DryRun in place of running it. Stores that are not there yet are not made.
    """
    print(f"{name}: a dry run, nothing is run or written\n\n{_table_of_ends(job)}\n\noptions")
    for spec in fields(options):
        value = getattr(options, spec.name)
        print(f"  {spec.name:<16} {_PASSWORD.sub(':***@', str(value))}")
        for line in ends.state(value) if isinstance(value, str) else ():
            print(f"  {'':<16}   {line}")
    if problem := out_of_reach(options):
        print(f"  a run would be refused now: {problem}")
    if not any(spec.name in ("runner", "dry_run") for spec in fields(options)):
        return
    with ends.standing_in(options) as safe:
        try:
            job.start(safe, flags, config)
        except DryRun:
            return
        print("nothing more to do now")


def out_of_reach(options: Any) -> str:
    """Which of a job's addresses its runner's workers could not reach; empty: none."""
    local = ends.on_this_machine(options) if getattr(options, "runner", "") == "dataflow" else []
    if not local:
        return ""
    return f"Dataflow's workers do not see this machine, where {', '.join(local)} lie"


def _table_of_ends(job: Job) -> str:
    """The part of the job's docstring that says Reads, Writes, Failures."""
    text = sys.modules[job.start.__module__].__doc__ or ""
    return text.partition("\n\n")[2].strip() or text.strip()
